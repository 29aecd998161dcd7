//! What every target said and how it ended, kept until all have: equal output once.
//!
//! **Invariant:** no more than [`MAX_TARGET`] bytes of one target and [`MAX_ALL`] of all are kept,
//! and what is left out is counted. Two results are the same only if all their bytes were, also those
//! that were left out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use proto::id::NodeName;
use sha2::{Digest as _, Sha256};

use crate::{
    orchestrator::fleet::End,
    output::{Stream, report::Gathered},
};

/// The most that is kept of one target, in bytes.
const MAX_TARGET: usize = 4 << 20;

/// The most that is kept of all, in bytes. Showing it as JSON takes a few times as much.
const MAX_ALL: usize = 128 << 20;

/// Everything that is known of the targets.
#[derive(Debug, Default)]
pub struct Results {
    running: BTreeMap<NodeName, Running>,
    /// Outputs that were heard to their end, by their digest.
    heard: HashMap<Digest, Arc<Gathered>>,
    ended: BTreeMap<NodeName, Result>,
    /// Bytes kept of all.
    kept: usize,
}

/// What tells one output from another.
pub(super) type Digest = [u8; 32];

/// How it went on one target.
#[derive(Debug)]
pub struct Result {
    /// How it ended.
    pub end: End,
    /// What it wrote, as far as it was kept.
    pub output: Arc<Gathered>,
    pub(super) digest: Digest,
}

#[derive(Debug, Default)]
struct Running {
    gathered: Gathered,
    kept: usize,
    stdout: Sha256,
    stderr: Sha256,
}

impl Results {
    /// Adds output.
    pub fn push(&mut self, target: &NodeName, stream: Stream, piece: &[u8]) {
        let running = self.running.entry(target.clone()).or_default();
        let room = (MAX_TARGET - running.kept).min(MAX_ALL - self.kept);
        let (to, digest) = match stream {
            Stream::Stdout => (&mut running.gathered.stdout, &mut running.stdout),
            Stream::Stderr => (&mut running.gathered.stderr, &mut running.stderr),
        };
        digest.update(piece);
        let kept = to.push_within(piece, room);
        running.kept += kept;
        self.kept += kept;
    }

    /// Adds an end.
    pub fn end(&mut self, target: NodeName, end: End) {
        let Running {
            gathered,
            kept,
            stdout,
            stderr,
        } = self.running.remove(&target).unwrap_or_default();
        let both = Sha256::new().chain_update(stdout.finalize());
        let digest: Digest = both.chain_update(stderr.finalize()).finalize().into();
        let output = match self.heard.get(&digest) {
            Some(same) if same.left_out() <= gathered.left_out() => {
                self.kept -= kept;
                Arc::clone(same)
            }
            Some(_) | None => {
                let output = Arc::new(gathered);
                self.heard.insert(digest, Arc::clone(&output));
                output
            }
        };
        let result = Result {
            end,
            output,
            digest,
        };
        self.ended.insert(target, result);
    }

    /// Returns those that have ended, by name.
    pub fn ended(&self) -> impl ExactSizeIterator<Item = (&NodeName, &Result)> {
        self.ended.iter()
    }

    /// Returns how many bytes were left out of all that ended.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.ended.values().map(|one| one.output.left_out()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proto::run::{Exit, Outcome};

    use super::*;

    fn ok() -> End {
        End::Over {
            outcome: Outcome::Finished(Exit::Code(0)),
            ended: None,
            broken: None,
            left_out: 0,
        }
    }

    fn results(outputs: &[(&str, Vec<u8>)]) -> Results {
        let mut results = Results::default();
        for (name, bytes) in outputs {
            let name: NodeName = name.parse().unwrap();
            for piece in bytes.chunks(1 << 20) {
                results.push(&name, Stream::Stdout, piece);
            }
            results.end(name, ok());
        }
        results
    }

    #[test]
    fn equal_output_is_kept_once() {
        let output = vec![b'x'; 1 << 20];
        let results = results(&[("a", output.clone()), ("b", output.clone()), ("c", output)]);

        assert_eq!(results.kept, 1 << 20);
        assert_eq!(results.ended().len(), 3);
    }

    #[test]
    fn output_beyond_the_bound_is_counted_and_still_tells_results_apart() {
        let mut longer = vec![b'x'; MAX_TARGET];
        longer.push(b'1');
        let mut other = vec![b'x'; MAX_TARGET];
        other.push(b'2');
        let results = results(&[("a", longer), ("b", other)]);

        let digests: Vec<Digest> = results.ended().map(|(_, result)| result.digest).collect();
        assert_ne!(digests[0], digests[1]);
        assert_eq!(results.left_out(), 2);
        assert_eq!(results.kept, 2 * MAX_TARGET);
    }

    #[test]
    fn output_of_all_is_bounded() {
        let mut results = Results::default();
        let piece = vec![0; MAX_TARGET];
        for n in 0..40_u8 {
            let name: NodeName = format!("w{n}").parse().unwrap();
            results.push(&name, Stream::Stdout, &piece);
            results.push(&name, Stream::Stderr, &[n]);
            results.end(name, ok());
        }

        assert!(results.kept <= MAX_ALL, "{}", results.kept);
        let pushed = 40 * (MAX_TARGET as u64 + 1);
        let distinct = results
            .ended()
            .map(|(_, one)| one.output.left_out())
            .sum::<u64>();
        assert!(distinct > 0 && distinct < pushed);
    }
}
