//! Bytes to lines, whatever pieces they come in.

use crate::output::characters;

/// The longest line that is kept together, in bytes. A longer one is cut.
const MAX_LINE: usize = 8 << 10;

/// Cuts a stream into lines. A carriage return ends one as well: what follows it would be written
/// over what stands before the line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// Whether the last byte was a carriage return, which may be the first half of a line's end.
    returned: bool,
}

impl Lines {
    /// Hands each line that is complete by now to `line`, without its end.
    pub(super) fn push(&mut self, piece: &[u8], mut line: impl FnMut(&[u8])) {
        for part in piece.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, end) = match part.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                Some(_) | None => (part, None),
            };
            if self.returned && !(text.is_empty() && end == Some(b'\n')) {
                self.give_held(&mut line);
            }
            self.returned = false;
            self.take(text, &mut line);
            match end {
                Some(b'\n') => {
                    line(&self.held);
                    self.held.clear();
                }
                Some(_) => self.returned = true,
                None => {}
            }
        }
    }

    /// Hands over what is left at the end of the stream.
    pub(super) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        self.give_held(&mut line);
        self.returned = false;
    }

    fn give_held(&mut self, line: &mut impl FnMut(&[u8])) {
        if !self.held.is_empty() {
            line(&self.held);
            self.held.clear();
        }
    }

    fn take(&mut self, mut text: &[u8], line: &mut impl FnMut(&[u8])) {
        while self.held.len() + text.len() > MAX_LINE {
            let (now, later) = text.split_at(MAX_LINE - self.held.len());
            self.held.extend_from_slice(now);
            let whole = self.held.len() - characters::unfinished(&self.held);
            line(&self.held[..whole]);
            self.held.drain(..whole);
            text = later;
        }
        self.held.extend_from_slice(text);
    }
}

/// Returns the lines of a whole text.
pub(super) fn all(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut lines = Lines::default();
    lines.push(text, |line| all.push(line.to_vec()));
    lines.finish(|line| all.push(line.to_vec()));
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let all = all(text.as_bytes());
        all.into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect()
    }

    #[test]
    fn every_kind_of_line_end_is_one() {
        assert_eq!(shown("a\nb\r\nc\rd"), ["a", "b", "c", "d"]);
        assert_eq!(shown("\n\r\n\na"), ["", "", "", "a"]);
        assert_eq!(shown("\r10%\r20%\r\n"), ["10%", "20%"]);
        assert_eq!(shown(""), [""; 0]);
    }

    #[test]
    fn long_line_is_cut_between_characters() {
        let lines = shown(&"€".repeat(MAX_LINE));

        assert!(lines.len() >= 3);
        assert_eq!(lines.concat(), "€".repeat(MAX_LINE));
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_pieces(text in "[ab\n\r]{0,30}", cut in 0_usize..31) {
            let cut = cut.min(text.len());
            let mut lines = Lines::default();
            let mut pieces = Vec::new();
            lines.push(&text.as_bytes()[..cut], |line| pieces.push(line.to_vec()));
            lines.push(&text.as_bytes()[cut..], |line| pieces.push(line.to_vec()));
            lines.finish(|line| pieces.push(line.to_vec()));

            prop_assert_eq!(pieces, all(text.as_bytes()));
        }
    }
}
