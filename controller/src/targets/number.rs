//! The numbers in names: `01`, `7`, and ranges of them with their padding.

/// More digits than this are text: no fleet counts so far, and sums of them cannot overflow.
pub(super) const MAX_DIGITS: usize = 9;

/// Numbers in a row, written alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
    /// The digits that a number has at least, filled up with zeros.
    pub(super) width: usize,
}

impl Span {
    pub(super) const fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// Tells whether `digits` is one of these numbers, written as they are.
    pub(super) fn contains(self, digits: &str) -> bool {
        let number = number(digits).filter(|number| (self.first..=self.last).contains(number));
        number.is_some_and(|number| written(number, self.width) == digits)
    }
}

/// Reads a number that is not too long.
pub(super) fn number(digits: &str) -> Option<u64> {
    let is_number = (1..=MAX_DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Returns the width that `digits` shows by a leading zero, and zero if it shows none.
pub(super) fn shown_width(digits: &str) -> usize {
    if digits.len() > 1 && digits.starts_with('0') {
        digits.len()
    } else {
        0
    }
}

pub(super) fn written(number: u64, width: usize) -> String {
    format!("{number:0width$}")
}
