//! Remote bytes on a terminal: shown, never obeyed.
//!
//! A terminal obeys control characters: they write the clipboard (OSC 52), clear the screen, move
//! the cursor over what was printed before. Whoever controls one host must not control the
//! operator's screen. Colour is lost as well; `--raw` brings it back for a host that is trusted.
//! Nor may a host speak in this program's voice: a remote line that begins as our own messages do
//! is marked.
//!
//! **Invariant:** the result holds no control character but newline and tab, whatever the input and
//! wherever it is cut in pieces. Guarded by `no_input_in_any_pieces_yields_a_control_character`.

use std::fmt::Write as _;

use proto::text::is_hidden;

use super::characters;

/// How this program's own messages begin.
pub const OURS: &str = "controller:";

/// What is put before the colon of a remote line that begins like one of ours.
const MARK: &str = " (remote)";

/// The line that is being written to standard error, or to the terminal that both streams share.
#[derive(Debug)]
pub struct Line {
    /// How many characters of [`OURS`] the line consists of; nothing once it is any other line.
    ours: Option<usize>,
}

impl Line {
    /// Returns an empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { ours: Some(0) }
    }

    /// Tells whether nothing stands on it yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ours == Some(0)
    }

    /// Notes bytes that are written as they are.
    pub fn pass(&mut self, bytes: &[u8]) {
        match bytes.last() {
            Some(b'\n') => *self = Self::new(),
            Some(_) => self.ours = None,
            None => {}
        }
    }

    /// Notes the next character, and tells whether it makes the line begin like one of ours.
    fn completes(&mut self, c: char) -> bool {
        if c == '\n' {
            *self = Self::new();
            return false;
        }
        let matched = self.ours.filter(|at| OURS[*at..].starts_with(c));
        self.ours = matched.map(|at| at + 1).filter(|at| *at < OURS.len());
        matched.is_some() && self.ours.is_none()
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the bytes of one stream harmless, piece by piece.
#[derive(Debug, Default)]
pub struct Neutraliser {
    /// The beginning of a character, or a carriage return, whose rest has not arrived.
    pending: Vec<u8>,
}

impl Neutraliser {
    /// Returns the harmless form of the next bytes, which go on `line`.
    pub fn push(&mut self, bytes: &[u8], line: &mut Line) -> String {
        let mut input = std::mem::take(&mut self.pending);
        input.extend_from_slice(bytes);
        let keep = unfinished(&input);
        self.pending = input.split_off(input.len() - keep);
        marked(&show(&input), line)
    }

    /// Returns what was held back, at the end of the stream.
    pub fn finish(&mut self, line: &mut Line) -> String {
        marked(&show(&std::mem::take(&mut self.pending)), line)
    }
}

/// Returns how many bytes at the end of `input` may be the beginning of something.
fn unfinished(input: &[u8]) -> usize {
    match input.last() {
        Some(b'\r') => 1,
        Some(_) | None => characters::unfinished(input),
    }
}

/// Returns the harmless form of `input`, which is whole.
pub(super) fn show(input: &[u8]) -> String {
    let mut shown = String::with_capacity(input.len());
    for chunk in input.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\n' | '\t' => shown.push(c),
                '\r' if chars.peek() == Some(&'\n') => {}
                '\0'..='\u{1f}' => {
                    // Caret notation: ^[ for ESC.
                    shown.push('^');
                    shown.push(char::from(c as u8 ^ 0x40));
                }
                '\u{7f}' => shown.push_str("^?"),
                c if c.is_control() || is_hidden(c) => {
                    // Writing to a string cannot fail.
                    let _ = write!(shown, "<U+{:04X}>", u32::from(c));
                }
                c => shown.push(c),
            }
        }
        if !chunk.invalid().is_empty() {
            shown.push(char::REPLACEMENT_CHARACTER);
        }
    }
    shown
}

/// Marks what begins like one of our own lines, wherever it was cut in pieces.
fn marked(text: &str, line: &mut Line) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if line.completes(c) {
            out.push_str(MARK);
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> String {
        let mut neutraliser = Neutraliser::default();
        let mut line = Line::new();
        let mut shown = neutraliser.push(bytes, &mut line);
        shown.push_str(&neutraliser.finish(&mut line));
        shown
    }

    #[test]
    fn ordinary_text_passes_unchanged() {
        let text = "Grüße, 世界 👋\tcolumn\nnext\n";

        assert_eq!(whole(text.as_bytes()), text);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(whole(b"\x1b]52;c;ZXZpbA==\x07"), "^[]52;c;ZXZpbA==^G");
        assert_eq!(whole(b"\x1b[2J\x9b2J"), "^[[2J\u{fffd}2J");
        assert_eq!(whole("\u{9b}2J\u{202e}".as_bytes()), "<U+009B>2J<U+202E>");
        assert_eq!(whole(b"ok\rfake: done"), "ok^Mfake: done");
        assert_eq!(whole(b"dos\r\n\x7f"), "dos\n^?");
    }

    #[test]
    fn a_character_cut_in_two_is_shown_whole() {
        let (mut neutraliser, mut line) = (Neutraliser::default(), Line::new());
        let euro = "€".as_bytes();

        assert_eq!(neutraliser.push(&euro[..1], &mut line), "");
        assert_eq!(neutraliser.push(&euro[1..2], &mut line), "");
        assert_eq!(neutraliser.push(&euro[2..], &mut line), "€");
    }

    #[test]
    fn a_remote_line_that_begins_like_ours_is_marked() {
        let forged = "controller: x: cancelled";

        assert_eq!(
            whole(format!("a\n{forged}\r\n{forged}").as_bytes()),
            "a\ncontroller (remote): x: cancelled\ncontroller (remote): x: cancelled"
        );
        for honest in [
            "the controller: on",
            "controllers: 2",
            "controller",
            " controller: ",
        ] {
            assert_eq!(whole(honest.as_bytes()), honest);
        }
    }

    #[test]
    fn a_forged_line_is_marked_even_when_two_streams_write_it_together() {
        let (mut stdout, mut stderr) = (Neutraliser::default(), Neutraliser::default());
        let mut line = Line::new();

        let mut shown = stdout.push(b"contr", &mut line);
        shown.push_str(&stderr.push(b"oller", &mut line));
        shown.push_str(&stdout.push(b": done\n", &mut line));

        assert_eq!(shown, "controller (remote): done\n");
        assert!(line.is_empty());
    }

    #[test]
    fn no_input_in_any_pieces_yields_a_control_character() {
        // Every pair of bytes, whole and cut between them, after the beginning of a character.
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let (mut neutraliser, mut line) = (Neutraliser::default(), Line::new());
                let mut shown = neutraliser.push(&[0xe2, first], &mut line);
                shown.push_str(&neutraliser.push(&[second], &mut line));
                shown.push_str(&neutraliser.finish(&mut line));
                shown.push_str(&whole(&[first, second]));

                let harmless = shown
                    .chars()
                    .all(|c| matches!(c, '\n' | '\t') || !c.is_control());
                assert!(harmless, "{first:#x} {second:#x} gave {shown:?}");
            }
        }
    }
}
