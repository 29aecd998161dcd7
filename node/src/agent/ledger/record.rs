//! The bytes of one record. Ledgers outlive versions: kinds are added, none is changed.
//!
//! ```text
//!   0      kind: 1 accepted, 2 ended, 3 given up, 4 floor; 0 is space not used yet
//!   1      length of the text or outcome at 66
//!   2..18  run id                      (accepted, ended, given up)
//!  18..26  this host's clock           (all but floor)          milliseconds since 1970, little endian
//!  26..34  time of issue               (accepted, given up, floor)  likewise
//!  34..66  digest                      (accepted)
//!  66..130 principal (accepted, given up) or outcome (ended), the rest zero
//! 130..184 zero
//! 184..192 the first 8 bytes of SHA-256 over 0..184
//! ```
//!
//! **Invariant:** no bytes make the reader panic, and only bytes that the writer made are a record.
//! Guarded by `any_bytes_are_read_or_refused` and `every_change_of_a_record_is_seen`.

use std::time::{Duration, SystemTime};

use proto::id::{NodeName, RunId};
use sha2::{Digest as _, Sha256};

use super::{Accept, Entry};

/// Bytes of a record.
pub(super) const LEN: usize = 192;

/// The longest outcome that is kept, in bytes.
pub const MAX_OUTCOME_LEN: usize = 64;

const CHECKED: usize = LEN - 8;
const TEXT: usize = 66;

/// One fact of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Accepted {
        id: RunId,
        digest: [u8; 32],
        principal: NodeName,
        issued_at: SystemTime,
        at: SystemTime,
    },
    Ended {
        id: RunId,
        at: SystemTime,
        outcome: Box<[u8]>,
    },
    GivenUp {
        id: RunId,
        principal: NodeName,
        issued_at: SystemTime,
        at: SystemTime,
    },
    Floor {
        issued_at: SystemTime,
    },
}

/// What a place in the file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Record(Record),
    Unused,
    Damaged,
}

impl Record {
    pub(super) fn accepted(asked: &Accept, at: SystemTime) -> Self {
        Self::Accepted {
            id: asked.id,
            digest: asked.digest,
            principal: asked.principal.clone(),
            issued_at: asked.issued_at,
            at,
        }
    }

    pub(super) fn of_entry(id: RunId, entry: &Entry) -> Self {
        Self::Accepted {
            id,
            digest: entry.digest,
            principal: NodeName::clone(&entry.principal),
            issued_at: entry.issued_at,
            at: entry.accepted_at,
        }
    }

    pub(super) fn ended(id: RunId, at: SystemTime, outcome: &[u8]) -> Self {
        Self::Ended {
            id,
            at,
            outcome: outcome.into(),
        }
    }

    pub(super) fn given_up(id: RunId, entry: &Entry) -> Self {
        Self::GivenUp {
            id,
            principal: NodeName::clone(&entry.principal),
            issued_at: entry.issued_at,
            at: entry.accepted_at,
        }
    }

    pub(super) const fn floor(issued_at: SystemTime) -> Self {
        Self::Floor { issued_at }
    }

    /// Returns the bytes of the record.
    ///
    /// # Panics
    /// If an outcome is longer than [`MAX_OUTCOME_LEN`].
    pub(super) fn write(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        match self {
            Self::Accepted {
                id,
                digest,
                principal,
                issued_at,
                at,
            } => {
                put(&mut bytes, 1, Some(*id), principal.as_str().as_bytes());
                bytes[18..26].copy_from_slice(&millis(*at).to_le_bytes());
                bytes[26..34].copy_from_slice(&millis(*issued_at).to_le_bytes());
                bytes[34..66].copy_from_slice(digest);
            }
            Self::Ended { id, at, outcome } => {
                put(&mut bytes, 2, Some(*id), outcome);
                bytes[18..26].copy_from_slice(&millis(*at).to_le_bytes());
            }
            Self::GivenUp {
                id,
                principal,
                issued_at,
                at,
            } => {
                put(&mut bytes, 3, Some(*id), principal.as_str().as_bytes());
                bytes[18..26].copy_from_slice(&millis(*at).to_le_bytes());
                bytes[26..34].copy_from_slice(&millis(*issued_at).to_le_bytes());
            }
            Self::Floor { issued_at } => {
                put(&mut bytes, 4, None, &[]);
                bytes[26..34].copy_from_slice(&millis(*issued_at).to_le_bytes());
            }
        }
        let check = check(&bytes);
        bytes[CHECKED..].copy_from_slice(&check);
        bytes
    }
}

impl Place {
    /// Reads what the bytes of one place say.
    pub(super) fn read(bytes: &[u8; LEN]) -> Self {
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Unused;
        }
        if bytes[CHECKED..] != check(bytes) {
            return Self::Damaged;
        }
        read(bytes).map_or(Self::Damaged, Self::Record)
    }
}

fn read(bytes: &[u8; LEN]) -> Option<Record> {
    let text = bytes[TEXT..].get(..usize::from(bytes[1]).min(MAX_OUTCOME_LEN))?;
    let id = RunId::from_bytes(bytes[2..18].try_into().ok()?);
    let at = time(bytes[18..26].try_into().ok()?)?;
    let issued_at = time(bytes[26..34].try_into().ok()?)?;
    Some(match bytes[0] {
        1 => Record::Accepted {
            id,
            digest: bytes[34..66].try_into().ok()?,
            principal: std::str::from_utf8(text).ok()?.parse().ok()?,
            issued_at,
            at,
        },
        2 => Record::Ended {
            id,
            at,
            outcome: text.into(),
        },
        3 => Record::GivenUp {
            id,
            principal: std::str::from_utf8(text).ok()?.parse().ok()?,
            issued_at,
            at,
        },
        4 => Record::Floor { issued_at },
        _ => return None,
    })
}

fn put(bytes: &mut [u8; LEN], kind: u8, id: Option<RunId>, text: &[u8]) {
    assert!(
        text.len() <= MAX_OUTCOME_LEN,
        "an outcome is at most {MAX_OUTCOME_LEN} bytes"
    );
    bytes[0] = kind;
    bytes[1] = u8::try_from(text.len()).expect("checked above");
    if let Some(id) = id {
        bytes[2..18].copy_from_slice(id.as_bytes());
    }
    bytes[TEXT..TEXT + text.len()].copy_from_slice(text);
}

fn check(bytes: &[u8; LEN]) -> [u8; 8] {
    let digest = Sha256::digest(&bytes[..CHECKED]);
    let mut check = [0; 8];
    check.copy_from_slice(&digest[..8]);
    check
}

/// Rounds up, so that a floor never sinks below what it stands for.
fn millis(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn time(millis: [u8; 8]) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(u64::from_le_bytes(millis)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn samples() -> [Record; 4] {
        let id = RunId::from_bytes([7; 16]);
        [
            Record::Accepted {
                id,
                digest: [9; 32],
                principal: "x".repeat(63).parse().unwrap(),
                issued_at: at(1),
                at: at(2),
            },
            Record::Ended {
                id,
                at: at(3),
                outcome: [5; MAX_OUTCOME_LEN].into(),
            },
            Record::GivenUp {
                id,
                principal: "x".repeat(63).parse().unwrap(),
                issued_at: at(5),
                at: at(6),
            },
            Record::Floor { issued_at: at(4) },
        ]
    }

    #[test]
    fn records_read_as_they_were_written() {
        for record in samples() {
            assert_eq!(Place::read(&record.write()), Place::Record(record));
        }
        assert_eq!(Place::read(&[0; LEN]), Place::Unused);
    }

    #[test]
    fn every_change_of_a_record_is_seen() {
        for record in samples() {
            for place in 0..LEN {
                let mut bytes = record.write();
                bytes[place] ^= 1;
                assert_eq!(
                    Place::read(&bytes),
                    Place::Damaged,
                    "byte {place} of {record:?}"
                );
            }
        }
    }

    #[test]
    fn the_bytes_of_a_record_do_not_change_between_versions() {
        let floor = Record::Floor {
            issued_at: at(0x0102_0304_0506),
        };

        let bytes = floor.write();

        assert_eq!(bytes[..2], [4, 0]);
        assert_eq!(bytes[26..34], [6, 5, 4, 3, 2, 1, 0, 0]);
        assert_eq!(bytes[CHECKED..], [228, 227, 70, 65, 175, 48, 48, 251]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::array::uniform32(any::<[u8; 6]>())) {
            let bytes: [u8; LEN] = bytes.concat().try_into().unwrap();
            let mut sealed = bytes;
            sealed[CHECKED..].copy_from_slice(&check(&bytes));

            let _ = Place::read(&bytes);
            let _ = Place::read(&sealed);
        }
    }
}
