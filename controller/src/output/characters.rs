//! Where a piece of a byte stream ends within a character.

/// The longest UTF-8 sequence, in bytes.
const MAX_SEQUENCE: usize = 4;

/// Returns how many bytes at the end of `input` are the beginning of a character whose rest may
/// follow.
pub(super) fn unfinished(input: &[u8]) -> usize {
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

/// Cuts a byte stream between characters, whatever pieces it comes in.
#[derive(Debug, Default)]
pub struct Characters {
    held: Vec<u8>,
}

impl Characters {
    /// Returns the next bytes up to the end of a character.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece);
        self.held = bytes.split_off(bytes.len() - unfinished(&bytes));
        bytes
    }

    /// Returns what was held back, at the end of the stream.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_any_two_pieces_is_cut_between_characters() {
        let text = "aä€👋z";
        for cut in 0..=text.len() {
            let mut characters = Characters::default();
            let first = characters.push(&text.as_bytes()[..cut]);
            let second = characters.push(&text.as_bytes()[cut..]);

            assert!(std::str::from_utf8(&first).is_ok(), "cut at {cut}");
            assert!(std::str::from_utf8(&second).is_ok(), "cut at {cut}");
            assert_eq!([first, second].concat(), text.as_bytes());
            assert_eq!(characters.finish(), b"");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_held_back_at_most_for_one_piece() {
        let mut characters = Characters::default();

        assert_eq!(characters.push(b"\xff\xe2"), b"\xff");
        assert_eq!(characters.push(b"\xff"), b"\xe2\xff");
        assert_eq!(characters.push(b"\xe2\x82"), b"");
        assert_eq!(characters.finish(), b"\xe2\x82");
    }
}
