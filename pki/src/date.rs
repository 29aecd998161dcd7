//! Times: as rustls passes them, as certificates hold them, and as a person reads them.
//!
//! Whole seconds only, since certificates know no less.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The last second that a certificate can name: 9999-12-31 23:59:59 (RFC 5280 §4.1.2.5).
const LAST_SECOND: i64 = 253_402_300_799;

/// Returns the date of `time`; one beyond the year 9999 becomes the end of it.
pub(crate) fn from_unix(time: UnixTime) -> OffsetDateTime {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(LAST_SECOND);
    OffsetDateTime::from_unix_timestamp(seconds.min(LAST_SECOND))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Returns `date` as rustls and webpki want it; one before 1970 becomes 1970.
pub(crate) fn to_unix(date: OffsetDateTime) -> UnixTime {
    let seconds = u64::try_from(date.unix_timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// Shows `date` as RFC 3339 in UTC, to the second.
pub(crate) fn show(date: OffsetDateTime) -> String {
    let whole = OffsetDateTime::from_unix_timestamp(date.unix_timestamp()).unwrap_or(date);
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.to_string())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_date_survives_the_way_through_unix_time() {
        let date = datetime!(2031-05-06 07:08:09 UTC);

        assert_eq!(from_unix(to_unix(date)), date);
        assert_eq!(show(date), "2031-05-06T07:08:09Z");
    }

    #[test]
    fn absurd_times_are_clamped() {
        let end = from_unix(UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX)));

        assert_eq!(show(end), "9999-12-31T23:59:59Z");
        assert_eq!(to_unix(datetime!(1969-01-01 00:00 UTC)).as_secs(), 0);
    }
}
