//! What an agent remembers of run ids, without the file: what is new, what is known, what is forgotten.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use proto::id::{NodeName, RunId};

use super::{Accept, AcceptError, Entry, MAX_VALID_FOR, SKEW, State, record::Record};

/// What is remembered, without the file.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) entries: HashMap<RunId, Entry>,
    /// Every request that was issued at or before this may have been forgotten.
    pub(super) floor: SystemTime,
    /// One copy of each controller's name.
    pub(super) principals: HashSet<Arc<NodeName>>,
    pub(super) max_entries: usize,
}

impl Memory {
    pub(super) fn new(max_entries: usize) -> Self {
        Self {
            entries: HashMap::new(),
            floor: SystemTime::UNIX_EPOCH,
            principals: HashSet::new(),
            max_entries,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.max_entries
    }

    /// Checks that a request of which nothing is known may be accepted.
    pub(super) fn check_new(&self, asked: &Accept, now: SystemTime) -> Result<(), AcceptError> {
        check_window(asked, now)?;
        match asked.issued_at <= self.floor {
            true => Err(AcceptError::OlderThanMemory),
            false => Ok(()),
        }
    }

    /// Returns the entry of a request that was accepted before. That starts nothing, so it may be asked
    /// for at any time.
    pub(super) fn known(&self, asked: &Accept) -> Result<Option<Entry>, AcceptError> {
        let Some(entry) = self.entries.get(&asked.id) else {
            return Ok(None);
        };
        if entry.state == State::GivenUp {
            return Err(AcceptError::GivenUp);
        }
        if *entry.principal != asked.principal {
            return Err(AcceptError::OtherPrincipal);
        }
        if entry.digest != asked.digest {
            return Err(AcceptError::DifferentRequest);
        }
        Ok(Some(entry.clone()))
    }

    /// Forgets ids whose runs ended longer than `memory` ago, and raises the floor above each of them.
    pub(super) fn forget(&mut self, now: SystemTime, memory: Duration) {
        let mut floor = self.floor;
        self.entries.retain(|_, entry| {
            let age = now.duration_since(entry.settled_at).unwrap_or_default();
            let kept = age <= memory || entry.state == State::Accepted;
            if !kept {
                floor = floor.max(entry.issued_at);
            }
            kept
        });
        self.floor = floor;
        let Self {
            principals,
            entries,
            ..
        } = self;
        principals.retain(|name| entries.values().any(|entry| entry.principal == *name));
    }

    /// Returns records from which the index can be made again.
    pub(super) fn records(&self) -> Vec<Record> {
        let floor = std::iter::once(Record::floor(self.floor));
        let entries = self.entries.iter().flat_map(|(id, entry)| {
            let (first, second) = match &entry.state {
                State::Accepted => (Record::of_entry(*id, entry), None),
                State::Ended(outcome) => {
                    let ended = Record::ended(*id, entry.settled_at, outcome);
                    (Record::of_entry(*id, entry), Some(ended))
                }
                State::GivenUp => (Record::given_up(*id, entry), None),
            };
            std::iter::once(first).chain(second)
        });
        floor.chain(entries).collect()
    }

    pub(super) fn replay(&mut self, record: Record) {
        match record {
            Record::Accepted {
                id,
                digest,
                principal,
                issued_at,
                at,
            } => {
                let entry = Entry {
                    digest,
                    principal: self.intern(principal),
                    issued_at,
                    accepted_at: at,
                    settled_at: at,
                    state: State::Accepted,
                };
                self.entries.insert(id, entry);
            }
            Record::Ended { id, outcome, at } => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.state = State::Ended(outcome);
                    entry.settled_at = at;
                }
            }
            Record::GivenUp {
                id,
                principal,
                issued_at,
                at,
            } => {
                let entry = Entry {
                    digest: [0; 32],
                    principal: self.intern(principal),
                    issued_at,
                    accepted_at: at,
                    settled_at: at,
                    state: State::GivenUp,
                };
                self.entries.insert(id, entry);
            }
            Record::Floor { issued_at } => self.floor = self.floor.max(issued_at),
        }
    }

    pub(super) fn intern(&mut self, name: NodeName) -> Arc<NodeName> {
        if let Some(known) = self.principals.get(&name) {
            return Arc::clone(known);
        }
        let name = Arc::new(name);
        self.principals.insert(Arc::clone(&name));
        name
    }
}

fn check_window(asked: &Accept, now: SystemTime) -> Result<(), AcceptError> {
    match now.duration_since(asked.issued_at) {
        Ok(age) => {
            let valid_for = asked.valid_for.min(MAX_VALID_FOR);
            if age > valid_for {
                return Err(AcceptError::TooOld { age, valid_for });
            }
        }
        Err(error) => {
            let ahead = error.duration();
            if ahead > SKEW {
                return Err(AcceptError::FromTheFuture { ahead });
            }
        }
    }
    Ok(())
}
