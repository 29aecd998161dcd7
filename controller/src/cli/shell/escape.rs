//! What is typed for this program: `~.` after a newline, as with ssh.
//!
//! Pure: bytes in, what they mean out. Everything else passes unchanged and in order.

use std::str::FromStr;

use bytes::{Bytes, BytesMut};

/// The character that begins an escape, if any does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Escape(Option<u8>);

impl FromStr for Escape {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            b"none" => Ok(Self(None)),
            [character @ b'!'..=b'~'] => Ok(Self(Some(*character))),
            _ => Err("expected one visible ASCII character, or `none`"),
        }
    }
}

/// A part of what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// For the other side.
    Bytes(Bytes),
    /// For this program: leave.
    Leave,
    /// For this program: what can be said to it.
    Help,
}

/// Finds escapes in what is typed, piece by piece.
#[derive(Debug)]
pub(super) struct Escapes {
    escape: Option<u8>,
    state: State,
}

/// Where in a line the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    /// After the escape character at its beginning, which is held back.
    Escaped,
    Within,
}

impl Escapes {
    pub(super) const fn new(Escape(escape): Escape) -> Self {
        Self {
            escape,
            state: State::Begin,
        }
    }

    /// Returns what these bytes mean.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let Some(escape) = self.escape else {
            return vec![Typed::Bytes(Bytes::copy_from_slice(bytes))];
        };
        let mut typed = Vec::new();
        let mut passing = BytesMut::new();
        for &byte in bytes {
            let (own, next) = match (self.state, byte) {
                (State::Begin, _) if byte == escape => (None, State::Escaped),
                (State::Escaped, b'.') => (Some(Typed::Leave), State::Begin),
                (State::Escaped, b'?') => (Some(Typed::Help), State::Begin),
                (State::Escaped, _) if byte == escape => {
                    passing.extend([escape]);
                    (None, State::Within)
                }
                (state, _) => {
                    if state == State::Escaped {
                        passing.extend([escape]);
                    }
                    passing.extend([byte]);
                    let ends_line = matches!(byte, b'\r' | b'\n');
                    (
                        None,
                        if ends_line {
                            State::Begin
                        } else {
                            State::Within
                        },
                    )
                }
            };
            self.state = next;
            if let Some(own) = own {
                flush(&mut passing, &mut typed);
                typed.push(own);
            }
        }
        flush(&mut passing, &mut typed);
        typed
    }
}

fn flush(passing: &mut BytesMut, typed: &mut Vec<Typed>) {
    if !passing.is_empty() {
        typed.push(Typed::Bytes(passing.split().freeze()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str]) -> Vec<Typed> {
        let mut escapes = Escapes::new("~".parse().unwrap());
        let pieces = pieces.iter();
        pieces
            .flat_map(|piece| escapes.push(piece.as_bytes()))
            .collect()
    }

    fn bytes(text: &'static str) -> Typed {
        Typed::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn an_escape_stands_at_the_beginning_of_a_line_alone() {
        assert_eq!(typed(&["~."]), [Typed::Leave]);
        assert_eq!(typed(&["ls\r~."]), [bytes("ls\r"), Typed::Leave]);
        assert_eq!(typed(&["\n~?x"]), [bytes("\n"), Typed::Help, bytes("x")]);
        assert_eq!(typed(&["ls ~.\r"]), [bytes("ls ~.\r")]);
        assert_eq!(typed(&["cd ~\r"]), [bytes("cd ~\r")]);
    }

    #[test]
    fn an_escape_typed_slowly_is_held_back_until_it_is_known() {
        assert_eq!(typed(&["\r", "~"]), [bytes("\r")]);
        assert_eq!(typed(&["\r", "~", "."]), [bytes("\r"), Typed::Leave]);
        assert_eq!(typed(&["~", "/bin"]), [bytes("~/bin")]);
    }

    #[test]
    fn a_doubled_escape_is_one_character_and_begins_nothing() {
        assert_eq!(typed(&["~~"]), [bytes("~")]);
        assert_eq!(typed(&["~~."]), [bytes("~.")]);
        assert_eq!(typed(&["~\r~."]), [bytes("~\r"), Typed::Leave]);
    }

    #[test]
    fn leaving_can_be_repeated_without_a_newline() {
        assert_eq!(typed(&["~.~."]), [Typed::Leave, Typed::Leave]);
    }

    #[test]
    fn without_an_escape_everything_passes() {
        let mut escapes = Escapes::new("none".parse().unwrap());

        assert_eq!(
            escapes.push(b"\r~.\xff"),
            [Typed::Bytes(Bytes::from_static(b"\r~.\xff"))]
        );
    }

    #[test]
    fn every_other_byte_passes_in_its_place() {
        let all: Vec<u8> = (0..=255).cycle().take(1024).collect();
        let mut escapes = Escapes::new("%".parse().unwrap());
        let mut passed = Vec::new();
        for piece in all.chunks(7) {
            for typed in escapes.push(piece) {
                let Typed::Bytes(bytes) = typed else {
                    panic!("{typed:?}")
                };
                passed.extend_from_slice(&bytes);
            }
        }

        assert_eq!(passed, all);
    }

    #[test]
    fn an_escape_is_one_visible_character_or_none() {
        for wrong in ["", "ab", " ", "é", "\n", "None"] {
            assert!(wrong.parse::<Escape>().is_err(), "{wrong:?}");
        }
        assert_eq!("%".parse(), Ok(Escape(Some(b'%'))));
    }
}
