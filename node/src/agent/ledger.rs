//! The durable record of run ids: why a run starts at most once.
//!
//! Owns which ids were accepted, for whom and with which digest, how they ended, and whether a
//! request is in time. Does not start anything; the time is an argument.
//!
//! A request is new only if its id is not on record **and** it was issued later than everything that
//! was ever forgotten (the *floor*). Its window is judged by this host's clock, but the promise does
//! not depend on that clock: set back or ahead, it may make the agent refuse, never repeat.
//!
//! - An id is written before [`Ledger::accept`] says [`Accepted::New`], and synced before
//!   [`Ledger::settle`] allows its start.
//! - An end is written at once and synced with the next acceptance: `kill -9` loses none, a power cut
//!   may lose the last few, whose runs are then reported as lost.
//! - A record that a power cut left half written was never acted on, so it is dropped. Since a
//!   damaged disk looks the same, every request that was issued before that start is refused then.
//! - Damage anywhere else stops the agent: it must not guess what it has run.
//!
//! **Invariant:** of all requests with one id, at most one ever gets [`Accepted::New`], whatever
//! happens to processes, clocks and power in between. Guarded by the tests of this module and by the
//! replay scenarios.

mod file;
mod memory;
mod record;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use proto::id::{NodeName, RunId};

pub use self::file::OpenLedgerError;
pub use self::record::MAX_OUTCOME_LEN;
use self::{
    file::{Log, Ticket},
    memory::Memory,
    record::Record,
};

/// How far the clocks of controller and agent may differ before a request seems to come from the
/// future. NTP keeps hosts within a second; a minute off is a fault worth hearing of.
const SKEW: Duration = Duration::from_secs(30);

/// The longest window that a request may claim.
const MAX_VALID_FOR: Duration = Duration::from_secs(600);

/// How long ids and results are kept for a retry, from the end of the run.
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// How long ids are kept when there are too many: until no request could be repeated in its window.
const SHORTEST_MEMORY: Duration = Duration::from_secs(11 * 60);

/// How many ids are remembered. Each takes some 150 bytes of memory.
const MAX_ENTRIES: usize = 250_000;

/// The record of run ids of one agent.
#[derive(Debug)]
pub struct Ledger {
    index: Mutex<Index>,
}

#[derive(Debug)]
struct Index {
    log: Log,
    memory: Memory,
}

/// An id on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the run would do.
    pub digest: [u8; 32],
    /// The controller that asked.
    pub principal: Arc<NodeName>,
    /// When the first request was made, by the controller's clock.
    pub issued_at: SystemTime,
    /// When it was accepted, by this host's clock.
    pub accepted_at: SystemTime,
    /// When it was accepted, or when it ended: how old it is.
    pub settled_at: SystemTime,
    /// What became of it.
    pub state: State,
}

/// What became of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is in progress, or its end was lost.
    Accepted,
    /// It ended like this.
    Ended(Box<[u8]>),
    /// It was not started and never will be: somebody asked for that before it came, or its acceptance
    /// could not be recorded for certain.
    GivenUp,
}

/// A request to be judged.
#[derive(Debug, Clone)]
pub struct Accept {
    /// The run's id.
    pub id: RunId,
    /// What it would do.
    pub digest: [u8; 32],
    /// The controller that asks, from its certificate.
    pub principal: NodeName,
    /// When the request was made, by the controller's clock.
    pub issued_at: SystemTime,
    /// For how long after that it may be accepted.
    pub valid_for: Duration,
}

/// The judgement of a request.
#[derive(Debug)]
pub enum Accepted {
    /// The id is new and on record: start it when [`Ledger::settle`] has succeeded, not before.
    New(Unsettled),
    /// The same request was accepted before: start nothing.
    Earlier(Entry),
}

/// What became of the wish that an id be never accepted.
#[derive(Debug)]
pub enum GaveUp {
    /// It is on record as given up, since now or before; that may be said when [`Ledger::settle`] has succeeded.
    Now(Unsettled),
    /// It was accepted before.
    Known(Entry),
}

/// A new entry that is not yet known to survive a power cut.
#[derive(Debug)]
#[must_use = "nothing may be started or promised before it is settled"]
pub struct Unsettled {
    id: RunId,
    ticket: Ticket,
}

/// Why a request is not accepted. Nothing may be started for it.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Its window is over.
    #[error("the request was issued {age:?} ago and is valid for {valid_for:?}")]
    TooOld {
        /// This host's clock less the time of issue.
        age: Duration,
        /// The window, at most ten minutes.
        valid_for: Duration,
    },
    /// It was issued in this host's future.
    #[error("the request was issued {ahead:?} in the future")]
    FromTheFuture {
        /// The time of issue less this host's clock.
        ahead: Duration,
    },
    /// It may have been accepted and forgotten.
    #[error("the request is older than the record")]
    OlderThanMemory,
    /// The id was used to do something else.
    #[error("the id was used for another request")]
    DifferentRequest,
    /// The id was used by another controller.
    #[error("the id was used by another controller")]
    OtherPrincipal,
    /// The id will never be accepted.
    #[error("the id was given up")]
    GivenUp,
    /// As many ids are on record as there may be, and none can be forgotten yet.
    #[error("the record is full")]
    Full,
    /// The record could not be written.
    #[error("write the record")]
    Write(#[source] io::Error),
}

/// What an agent finds when it starts again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Runs that were in progress when the agent ended.
    pub lost: Vec<RunId>,
    /// Whether a half-written record was dropped.
    pub torn: bool,
}

impl Ledger {
    /// Opens the record in `home`, or begins one.
    ///
    /// # Errors
    /// Another agent uses it, it is damaged, or the system refuses.
    pub fn open(home: &Path, now: SystemTime) -> Result<(Self, Recovered), OpenLedgerError> {
        Self::open_with(home, now, MAX_ENTRIES)
    }

    fn open_with(
        home: &Path,
        now: SystemTime,
        max_entries: usize,
    ) -> Result<(Self, Recovered), OpenLedgerError> {
        let mut opened = Log::open(home)?;
        let torn = opened.torn;
        let mut memory = Memory::new(max_entries);
        for record in std::mem::take(&mut opened.records) {
            memory.replay(record);
        }
        let lost = memory.entries.iter();
        let lost = lost.filter(|(_, entry)| entry.state == State::Accepted);
        let lost = lost.map(|(id, _)| *id).collect();
        if torn {
            memory.floor = memory.floor.max(now + SKEW);
        }
        // Not by age, while there is room: the clock may be ahead at a start.
        if memory.is_full() {
            memory.forget(now, RETENTION);
        }
        let log = opened.start(&memory.records())?;
        let index = Mutex::new(Index { log, memory });
        Ok((Self { index }, Recovered { lost, torn }))
    }

    /// Judges a request, and puts a new id on record. Nobody else can get [`Accepted::New`] for it
    /// from here on.
    ///
    /// # Errors
    /// It may not be started, and why.
    pub fn accept(&self, asked: &Accept, now: SystemTime) -> Result<Accepted, AcceptError> {
        let mut index = self.lock();
        match index.memory.known(asked)? {
            Some(entry) => Ok(Accepted::Earlier(entry)),
            None => {
                index.memory.check_new(asked, now)?;
                let ticket = index.insert(asked, now)?;
                Ok(Accepted::New(Unsettled {
                    id: asked.id,
                    ticket,
                }))
            }
        }
    }

    /// Returns what is on record of a request.
    ///
    /// # Errors
    /// Its id is another's, or will never be accepted.
    pub fn known(&self, asked: &Accept) -> Result<Option<Entry>, AcceptError> {
        self.lock().memory.known(asked)
    }

    /// Makes sure that an id is never accepted, unless it was.
    ///
    /// # Errors
    /// The record could not be written.
    pub fn give_up(
        &self,
        id: RunId,
        principal: &NodeName,
        now: SystemTime,
    ) -> Result<GaveUp, AcceptError> {
        let mut index = self.lock();
        if let Some(entry) = index.memory.entries.get(&id) {
            if entry.state == State::GivenUp {
                return Ok(GaveUp::Now(index.unsettled(id)));
            }
            return Ok(GaveUp::Known(entry.clone()));
        }
        let ticket = index.insert_given_up(id, principal, now)?;
        Ok(GaveUp::Now(Unsettled { id, ticket }))
    }

    /// Returns what must be [settled](Self::settle) before it may be said that `id` was given up: what
    /// is on record need not survive a power cut yet.
    pub fn given_up(&self, id: RunId) -> Unsettled {
        self.lock().unsettled(id)
    }

    /// Waits until a new id survives a power cut. Blocks for as long as the disk takes; many that
    /// wait at once share one sync.
    ///
    /// # Errors
    /// It is not known to survive. Nothing may be started, and the id is never accepted again.
    pub fn settle(&self, unsettled: &Unsettled) -> Result<(), AcceptError> {
        unsettled.ticket.sync().map_err(|error| {
            if let Some(entry) = self.lock().memory.entries.get_mut(&unsettled.id) {
                entry.state = State::GivenUp;
            }
            AcceptError::Write(error)
        })
    }

    /// Keeps how an accepted run ended, in at most [`MAX_OUTCOME_LEN`] bytes.
    ///
    /// # Errors
    /// The record could not be written; in memory the end is kept.
    ///
    /// # Panics
    /// If `outcome` is longer.
    pub fn ended(&self, id: RunId, outcome: &[u8], now: SystemTime) -> io::Result<()> {
        let mut index = self.lock();
        if let Some(entry) = index.memory.entries.get_mut(&id) {
            entry.state = State::Ended(outcome.into());
            entry.settled_at = now;
        }
        let record = Record::ended(id, now, outcome);
        index.log.append(&record).map(drop)
    }

    /// Returns what is on record of an id.
    #[must_use]
    pub fn get(&self, id: RunId) -> Option<Entry> {
        self.lock().memory.entries.get(&id).cloned()
    }

    /// Tells whether something is written that would not survive a power cut.
    #[cfg(test)]
    fn log_is_unsynced(&self) -> bool {
        self.lock().log.is_unsynced()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // A panic elsewhere leaves the index whole: every change of it is one step.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Returns all that is written, for the sake of `id`.
    fn unsettled(&self, id: RunId) -> Unsettled {
        Unsettled {
            id,
            ticket: self.log.all(),
        }
    }

    /// Enters a new id and queues its record; nobody else can enter it from here on.
    fn insert(&mut self, asked: &Accept, now: SystemTime) -> Result<Ticket, AcceptError> {
        self.make_room(now)?;
        let record = Record::accepted(asked, now);
        let ticket = self.log.append(&record).map_err(AcceptError::Write)?;
        let entry = Entry {
            digest: asked.digest,
            principal: self.memory.intern(asked.principal.clone()),
            issued_at: asked.issued_at,
            accepted_at: now,
            settled_at: now,
            state: State::Accepted,
        };
        self.memory.entries.insert(asked.id, entry);
        Ok(ticket)
    }

    fn insert_given_up(
        &mut self,
        id: RunId,
        principal: &NodeName,
        now: SystemTime,
    ) -> Result<Ticket, AcceptError> {
        self.make_room(now)?;
        let entry = Entry {
            digest: [0; 32],
            principal: self.memory.intern(principal.clone()),
            // The request may still come, issued at any time up to now: when this is forgotten, it is
            // older than the record.
            issued_at: now + SKEW,
            accepted_at: now,
            settled_at: now,
            state: State::GivenUp,
        };
        let record = Record::given_up(id, &entry);
        let ticket = self.log.append(&record).map_err(AcceptError::Write)?;
        self.memory.entries.insert(id, entry);
        Ok(ticket)
    }

    /// Forgets what is old when there are too many entries, and rewrites the file when it has grown
    /// far beyond what is remembered.
    fn make_room(&mut self, now: SystemTime) -> Result<(), AcceptError> {
        let Self { log, memory } = self;
        for keep in [RETENTION, SHORTEST_MEMORY] {
            if memory.is_full() {
                memory.forget(now, keep);
            }
        }
        if memory.is_full() {
            return Err(AcceptError::Full);
        }
        // Two records an entry are usual; beyond twice that the file is mostly past. What is forgotten
        // may stay in the file: whoever reads that knows more.
        if log.records() > 4 * memory.max_entries {
            log.rewrite(&memory.records()).map_err(AcceptError::Write)?;
        }
        Ok(())
    }
}
