//! Remote bytes on a terminal: shown, never obeyed.
//!
//! A terminal obeys control characters: they write the clipboard (OSC 52), clear the screen, move
//! the cursor over what was printed before. Whoever controls one host must not control the
//! operator's screen. Colour is lost as well; `--raw` brings it back for a host that is trusted.
//!
//! **Invariant:** the result holds no control character but newline and tab, whatever the input and
//! wherever it is cut in pieces. Guarded by `no_input_in_any_pieces_yields_a_control_character`.

use std::fmt::Write as _;

use proto::text::is_hidden;

/// The longest UTF-8 sequence, in bytes.
const MAX_SEQUENCE: usize = 4;

/// Makes the bytes of one stream harmless, piece by piece.
#[derive(Debug, Default)]
pub struct Neutraliser {
    /// The beginning of a character, or a carriage return, whose rest has not arrived.
    pending: Vec<u8>,
}

impl Neutraliser {
    /// Returns the harmless form of the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut input = std::mem::take(&mut self.pending);
        input.extend_from_slice(bytes);
        let keep = unfinished(&input);
        self.pending = input.split_off(input.len() - keep);
        show(&input)
    }

    /// Returns what was held back, at the end of the stream.
    pub fn finish(&mut self) -> String {
        show(&std::mem::take(&mut self.pending))
    }
}

/// Returns how many bytes at the end of `input` may be the beginning of something.
fn unfinished(input: &[u8]) -> usize {
    if input.last() == Some(&b'\r') {
        return 1;
    }
    let tail = &input[input.len().saturating_sub(MAX_SEQUENCE)..];
    let Some(last) = tail.utf8_chunks().last() else {
        return 0;
    };
    match std::str::from_utf8(last.invalid()) {
        // No length: the bytes are a prefix of a character rather than none.
        Err(error) if error.error_len().is_none() => last.invalid().len(),
        Ok(_) | Err(_) => 0,
    }
}

fn show(input: &[u8]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> String {
        let mut neutraliser = Neutraliser::default();
        let mut shown = neutraliser.push(bytes);
        shown.push_str(&neutraliser.finish());
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
        let mut neutraliser = Neutraliser::default();
        let euro = "€".as_bytes();

        assert_eq!(neutraliser.push(&euro[..1]), "");
        assert_eq!(neutraliser.push(&euro[1..2]), "");
        assert_eq!(neutraliser.push(&euro[2..]), "€");
    }

    #[test]
    fn no_input_in_any_pieces_yields_a_control_character() {
        // Every pair of bytes, whole and cut between them, after the beginning of a character.
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let mut neutraliser = Neutraliser::default();
                let mut shown = neutraliser.push(&[0xe2, first]);
                shown.push_str(&neutraliser.push(&[second]));
                shown.push_str(&neutraliser.finish());
                shown.push_str(&whole(&[first, second]));

                let harmless = shown
                    .chars()
                    .all(|c| matches!(c, '\n' | '\t') || !c.is_control());
                assert!(harmless, "{first:#x} {second:#x} gave {shown:?}");
            }
        }
    }
}
