//! Text that another node wrote: bounded, and harmless where it is shown.
//!
//! Owns the bound, and the one table of characters that may not reach a terminal, a page or a
//! prompt as they are. Does not judge what a text says.
//!
//! **Invariant:** a [`Text`] never holds more than its bound of bytes, whether it was made here or
//! came off the wire; and its `Display` and `Debug` never write a character for which
//! [`is_hidden`] holds. Guarded by `no_shown_text_holds_a_hidden_character` and
//! `a_longer_text_is_refused_off_the_wire`.

use std::fmt::{self, Write as _};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};

/// Text of at most `MAX` bytes of UTF-8, written by somebody who is not trusted.
///
/// `Display` is the escaped form. The text itself is had only by [`Text::untrusted`], whose name is
/// the warning. Serde carries the text as it is; whoever writes JSON to a terminal escapes by
/// [`is_hidden`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Takes `text`, cut at the last character boundary within the bound.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(MAX)].to_owned())
    }

    /// Returns the text as its writer wrote it: to compare, never to show or to interpolate.
    #[must_use]
    pub fn untrusted(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escaped(&self.0))
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", escaped(&self.0))
    }
}

/// Returns `text` with each hidden character as `\n`, `\r`, `\t` or `\u{…}`.
///
/// A backslash stays one backslash, so that Windows paths stay readable: the result is for eyes, and
/// cannot be turned back.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_hidden(c) => {
                write!(shown, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String cannot fail")
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Returns JSON that means the same, in which each hidden character is written as `\uXXXX`.
///
/// The line feeds between the tokens stay; within a string JSON has none.
#[must_use]
pub fn harmless_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_hidden(c) {
            shown.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            write!(shown, "\\u{unit:04x}").expect("writing to a String cannot fail");
        }
    }
    shown
}

/// Tells whether `c` steers a terminal, reorders what stands beside it, or cannot be seen.
///
/// The controls C0, DEL and C1; line and paragraph separators; the marks, embeddings, overrides and
/// isolates of bidirectional text; and characters of no width or no ink, in which instructions for
/// a language model can be hidden.
#[must_use]
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{2028}' | '\u{2029}'
        // Bidirectional: ALM, LRM, RLM, embeddings and overrides, isolates.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // No width: soft hyphen, joiners, word joiner and invisible operators, BOM, annotations.
        | '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        // No ink: Hangul fillers, Khmer inherent vowels.
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}'
        // Variation selectors and tags, both used to smuggle text.
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}'
    )
}

impl<const MAX: usize> Serialize for Text<MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WithinBound::<MAX>)
    }
}

/// Refuses a longer text before it is copied.
struct WithinBound<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for WithinBound<MAX> {
    type Value = Text<MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {MAX} bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.len() > MAX {
            return Err(E::invalid_length(text.len(), &self));
        }
        Ok(Text(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_longer_text_is_cut_between_characters() {
        assert_eq!(Text::<4>::cut("abcdef").untrusted(), "abcd");
        assert_eq!(Text::<4>::cut("abcé").untrusted(), "abc");
        assert_eq!(Text::<4>::cut("äé").untrusted(), "äé");
        assert_eq!(Text::<0>::cut("a").untrusted(), "");
    }

    #[test]
    fn a_longer_text_is_refused_off_the_wire() {
        let four = postcard::to_allocvec("abcd").unwrap();
        let five = postcard::to_allocvec("abcde").unwrap();

        assert_eq!(postcard::from_bytes(&four), Ok(Text::<4>::cut("abcd")));
        assert!(postcard::from_bytes::<Text<4>>(&five).is_err());
    }

    #[test]
    fn what_steers_a_terminal_or_a_reader_is_shown_escaped() {
        let shown = |text: &str| Text::<64>::cut(text).to_string();

        assert_eq!(shown("\u{1b}[2J"), "\\u{1b}[2J");
        assert_eq!(shown("a\r\n\tb\0"), "a\\r\\n\\tb\\u{0}");
        assert_eq!(shown("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(shown("txt\u{202e}exe"), "txt\\u{202e}exe");
        assert_eq!(shown("a\u{200b}b\u{feff}"), "a\\u{200b}b\\u{feff}");
        assert_eq!(shown("\u{e0041}"), "\\u{e0041}");
    }

    #[test]
    fn ordinary_text_is_shown_as_it_is() {
        let text = r"C:\Users\Zoë — 東京 Ubuntu 24.04 (64-bit)";

        assert_eq!(Text::<64>::cut(text).to_string(), text);
        assert_eq!(format!("{:>4}|", Text::<64>::cut("ab")), "  ab|");
    }

    proptest! {
        #[test]
        fn no_shown_text_holds_a_hidden_character(text in any::<String>()) {
            let text = Text::<32>::cut(&text);
            let (shown, debugged) = (text.to_string(), format!("{text:?}"));

            prop_assert!(text.untrusted().len() <= 32);
            prop_assert!(!shown.chars().any(is_hidden));
            prop_assert!(!debugged.chars().any(is_hidden));
        }

        #[test]
        fn a_text_survives_the_wire(text in any::<String>()) {
            let text = Text::<32>::cut(&text);

            let bytes = postcard::to_allocvec(&text).unwrap();

            prop_assert_eq!(postcard::from_bytes(&bytes), Ok(text));
        }
    }
}
