//! The few bytes in which the ledger keeps how a run ended.

use proto::run::{Ended, Tree, Unstarted, Wire};
use serde::{Deserialize, Serialize};

/// How a run ended, as a retry will hear it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// It ran; this was its end.
    Ended(Ended),
    /// It was accepted and could not be started.
    NotStarted(Unstarted),
}

/// The encoded form. Append only: ledgers outlive versions.
#[derive(Serialize, Deserialize)]
enum Record {
    NotStarted(Unstarted),
    Ended {
        result: Wire,
        tree: Remains,
        stdout_bytes: u64,
        stderr_bytes: u64,
        duration_ms: u64,
    },
}

/// What was left of the processes; their numbers mean nothing later.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Remains {
    Gone,
    Left,
    Unconfirmed,
}

impl Remains {
    const fn of(tree: &Tree) -> Self {
        match tree {
            Tree::Gone => Self::Gone,
            Tree::Left { .. } => Self::Left,
            Tree::Unconfirmed { .. } => Self::Unconfirmed,
        }
    }

    const fn tree(self) -> Tree {
        match self {
            Self::Gone => Tree::Gone,
            Self::Left => Tree::Left { pids: Vec::new() },
            Self::Unconfirmed => Tree::Unconfirmed { pids: Vec::new() },
        }
    }
}

/// Counts are kept up to this, so that a record has at most 33 bytes: 72 PB, or two million years.
const MAX_COUNT: u64 = (1 << 56) - 1;

impl Kept {
    pub(super) fn write(&self) -> Vec<u8> {
        let record = match self {
            Self::NotStarted(kind) => Record::NotStarted(*kind),
            Self::Ended(ended) => Record::Ended {
                result: ended.result,
                tree: Remains::of(&ended.tree),
                stdout_bytes: ended.stdout_bytes.min(MAX_COUNT),
                stderr_bytes: ended.stderr_bytes.min(MAX_COUNT),
                duration_ms: ended.duration_ms.min(MAX_COUNT),
            },
        };
        postcard::to_allocvec(&record).expect("our own types always serialize into memory")
    }

    /// Reads a record; one that this version cannot read tells only that the result is lost.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let ended = |result, tree: Remains, stdout_bytes, stderr_bytes, duration_ms| {
            Self::Ended(Ended {
                result,
                tree: tree.tree(),
                stdout_bytes,
                stderr_bytes,
                duration_ms,
            })
        };
        match postcard::from_bytes(bytes) {
            Ok(Record::NotStarted(kind)) => Self::NotStarted(kind),
            Ok(Record::Ended {
                result,
                tree,
                stdout_bytes,
                stderr_bytes,
                duration_ms,
            }) => ended(result, tree, stdout_bytes, stderr_bytes, duration_ms),
            Err(_) => ended(Wire::AgentStopped, Remains::Unconfirmed, 0, 0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::run::Exit;

    use super::*;
    use crate::agent::ledger::MAX_OUTCOME_LEN;

    #[test]
    fn the_longest_record_fits_in_the_ledger() {
        let longest = Kept::Ended(Ended {
            result: Wire::Finished(Exit::Code(i32::MIN)),
            tree: Tree::Gone,
            stdout_bytes: u64::MAX,
            stderr_bytes: u64::MAX,
            duration_ms: u64::MAX,
        });

        assert!(
            longest.write().len() <= MAX_OUTCOME_LEN,
            "{} bytes",
            longest.write().len()
        );
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let ended = Kept::Ended(Ended {
            result: Wire::Finished(Exit::Code(3)),
            tree: Tree::Gone,
            stdout_bytes: 1,
            stderr_bytes: 2,
            duration_ms: 3,
        });

        let not_started = Kept::NotStarted(Unstarted::NotFound);

        assert_eq!(Kept::read(&ended.write()), ended);
        assert_eq!(Kept::read(&not_started.write()), not_started);
    }

    #[test]
    fn an_unreadable_record_is_a_lost_result_and_never_a_success() {
        let Kept::Ended(ended) = Kept::read(&[0xff; 32]) else {
            panic!("garbage was read as never started");
        };

        assert_eq!(ended.result, Wire::AgentStopped);
    }
}
