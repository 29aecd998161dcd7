//! Streams with bytes that are known beforehand, and what a controller's standard error is without its
//! own words.

use std::fmt::Write as _;

/// Returns what `seq FROM TO` prints.
pub(super) fn numbers(from: u32, to: u32) -> Vec<u8> {
    let mut text = String::new();
    for number in from..=to {
        writeln!(text, "{number}").unwrap();
    }
    text.into_bytes()
}

/// Returns bytes that no text has and no two places share, from a seed (SplitMix64).
pub(super) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let words = std::iter::repeat_with(|| dice.draw().to_le_bytes());
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}

/// A seeded generator.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
}

/// Removes the controller's own lines, which may stand in the middle of others.
pub(super) fn without_notices(stderr: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut at = 0;
    while at < stderr.len() {
        if stderr[at..].starts_with(b"controller: ") {
            let line = stderr[at..].iter().position(|byte| *byte == b'\n');
            at = line.map_or(stderr.len(), |end| at + end + 1);
            continue;
        }
        rest.push(stderr[at]);
        at += 1;
    }
    rest
}

/// Panics where bytes differ, with the place and not with megabytes of text.
#[track_caller]
pub(super) fn assert_same(got: &[u8], wanted: &[u8], of_what: &str) {
    if got == wanted {
        return;
    }
    let same = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    panic!(
        "{of_what}: {} bytes came of {}, and they differ from byte {same}",
        got.len(),
        wanted.len()
    );
}
