//! What reaches the eyes of a person: remote bytes, and what agents and peers say of themselves.
//!
//! Nothing of it may steer the terminal, pass for another's words, or break a line of a log.

#[cfg(target_os = "linux")]
mod capabilities;
mod errors;
mod output;

/// Asserts that `text` holds no character that a terminal obeys, or that hides what stands there.
#[track_caller]
pub(crate) fn assert_harmless(text: &str) {
    let harmful: Vec<char> = text
        .chars()
        .filter(|c| *c != '\n' && *c != '\t' && proto::text::is_hidden(*c))
        .collect();
    assert!(harmful.is_empty(), "{harmful:?} in {text:?}");
}
