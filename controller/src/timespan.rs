//! A length of time as people write it: `500ms`, `30s`, `5min`, `1h 30m`.

use std::time::Duration;

/// The longest that is understood, in seconds: a century, which no deadline needs and every clock can
/// count.
const MAX_SECS: u64 = 100 * 31_557_600;

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimespanError {
    /// It cannot be read.
    #[error("\"{shown}\" is no length of time: write 500ms, 30s, 5min or 1h30m")]
    Malformed {
        /// The text, escaped.
        shown: String,
    },
    /// It is longer than anybody lives.
    #[error("\"{shown}\" is too long: a hundred years is the most")]
    TooLong {
        /// The text, escaped.
        shown: String,
    },
    /// It is nothing at all, where that makes no sense.
    #[error("it must be longer than zero")]
    Zero,
}

/// Reads a length of time.
///
/// # Errors
/// The text is none.
pub fn timespan(text: &str) -> Result<Duration, ParseTimespanError> {
    let shown = || proto::text::escaped(text);
    match humantime::parse_duration(text) {
        Ok(time) if time <= Duration::from_secs(MAX_SECS) => Ok(time),
        Ok(_) | Err(humantime::DurationError::NumberOverflow) => {
            Err(ParseTimespanError::TooLong { shown: shown() })
        }
        Err(_) => Err(ParseTimespanError::Malformed { shown: shown() }),
    }
}

/// Reads a length of time that is not zero: with a limit of zero nothing could be done.
///
/// # Errors
/// The text is none.
pub fn limit(text: &str) -> Result<Duration, ParseTimespanError> {
    match timespan(text)? {
        Duration::ZERO => Err(ParseTimespanError::Zero),
        limit => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_unit_is_told_how_to_write_one() {
        let error = timespan("30").expect_err("no unit").to_string();

        assert!(
            error.contains("\"30\" is no length of time: write 500ms, 30s"),
            "{error}"
        );
        assert_eq!(timespan("1h 30m"), Ok(Duration::from_secs(5400)));
    }

    #[test]
    fn what_no_clock_could_count_is_too_long() {
        let century = Duration::from_secs(MAX_SECS);
        assert_eq!(limit("100years"), Ok(century));

        for long in ["101y", "300000000000y", "99999999999999999999999s"] {
            let error = limit(long).expect_err("too long").to_string();
            assert!(error.contains("is too long: a hundred years"), "{error}");
        }
        assert!(std::time::Instant::now().checked_add(century).is_some());
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        assert_eq!(limit("0s"), Err(ParseTimespanError::Zero));
        assert_eq!(timespan("0s"), Ok(Duration::ZERO));
    }
}
