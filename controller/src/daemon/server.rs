//! The daemon's end: takes connections, and hands each to what it asks for.
//!
//! Owns the order of its life: refuse new → tell → leave → close links. What is said to one client is
//! in `conversation`, what happens to a run in `relay`.

mod conversation;
mod relay;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use node::discovery::Mechanism;
use proto::id::{NodeName, RunId};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    place::Occupied,
    protocol::Stamp,
    status::{LinkStatus, RunStatus, Status, millis},
};
use crate::{
    orchestrator::{Canceller, DescribeError, Orchestrator, RunError, WarmLink},
    told::Told,
};

/// Clients served at once: each has a run at most, and costs a file and some memory.
const MAX_CLIENTS: usize = 8192;

/// How often idle links are looked for.
const SWEEP: Duration = Duration::from_secs(15);

/// How long clients are waited for when the daemon stops: they only read their last message.
const FAREWELL: Duration = Duration::from_secs(2);

/// The pause after the system had no room for one more connection.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(50);

/// What the daemon takes from whoever starts it.
pub struct Door {
    /// The folder of its files.
    pub home: PathBuf,
    /// Reads the files, given what was opened before.
    #[expect(clippy::type_complexity, reason = "it is said once")]
    pub open: Box<dyn Fn(Option<&Orchestrator>) -> Result<Opened, NotOpened> + Send + Sync>,
    /// Puts a run's error into words.
    pub explain_run: fn(RunError) -> Told,
    /// Puts another error into words.
    pub explain_describe: fn(DescribeError) -> Told,
}

/// What came of reading the files.
pub struct Opened {
    /// What works with them.
    pub orchestrator: Orchestrator,
    /// Whether it looks for agents on the LAN.
    pub mdns: bool,
    /// Where they are.
    pub files: Files,
    /// What was read.
    pub stamps: Stamps,
}

/// Nothing came of reading the files.
pub enum NotOpened {
    /// They are of no use: whoever reads them now does nothing.
    Unreadable(Told),
    /// They would take back what was revoked: the list that was read before is the better one.
    TakesBack(Told),
}

impl NotOpened {
    fn told(self) -> Told {
        match self {
            Self::Unreadable(told) | Self::TakesBack(told) => told,
        }
    }
}

/// The files that a controller is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The settings.
    pub config: PathBuf,
    /// Who it is.
    pub identity: PathBuf,
    /// What is revoked.
    pub crl: PathBuf,
}

/// The states of [`Files`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    /// Of the settings.
    pub config: Stamp,
    /// Of the identity.
    pub identity: Stamp,
    /// Of the revocation list.
    pub crl: Stamp,
}

impl Files {
    /// Looks at the files.
    #[must_use]
    pub fn stamps(&self) -> Stamps {
        Stamps {
            config: Stamp::of(&self.config),
            identity: Stamp::of(&self.identity),
            crl: Stamp::of(&self.crl),
        }
    }
}

impl Stamp {
    /// Looks at the file at `path`.
    #[must_use]
    pub fn of(path: &std::path::Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(is) = fs_err::metadata(path) else {
            return Self::default();
        };
        Self {
            file: (is.dev(), is.ino()),
            len: is.size(),
            changed_ns: i128::from(is.mtime()) * 1_000_000_000 + i128::from(is.mtime_nsec()),
        }
    }
}

/// A daemon that serves.
pub struct Server {
    place: Occupied,
    state: Arc<State>,
}

struct State {
    door: Door,
    /// Never locked across an await, as all of these.
    current: Mutex<Current>,
    runs: Mutex<BTreeMap<u64, InProgress>>,
    next_run: AtomicU64,
    since: Instant,
    stop: watch::Sender<bool>,
}

struct Current {
    orchestrator: Arc<Orchestrator>,
    mdns: bool,
    files: Files,
    stamps: Stamps,
    reloads: u64,
    /// The state of the files that was not taken over, and why.
    failed: Option<NotTaken>,
}

struct NotTaken {
    stamps: Stamps,
    why: String,
    /// Whether a client by itself would do nothing now.
    is_unreadable: bool,
}

struct InProgress {
    run: RunId,
    target: NodeName,
    since: Instant,
    canceller: Canceller,
}

impl Server {
    /// Reads the files and is ready to serve at `place`.
    ///
    /// # Errors
    /// The files are of no use.
    pub fn new(place: Occupied, door: Door) -> Result<Self, Told> {
        let opened = (door.open)(None).map_err(NotOpened::told)?;
        let current = Current {
            orchestrator: Arc::new(opened.orchestrator),
            mdns: opened.mdns,
            files: opened.files,
            stamps: opened.stamps,
            reloads: 0,
            failed: None,
        };
        let state = Arc::new(State {
            door,
            current: Mutex::new(current),
            runs: Mutex::default(),
            next_run: AtomicU64::new(0),
            since: Instant::now(),
            stop: watch::Sender::new(false),
        });
        Ok(Self { place, state })
    }

    /// Serves until `stop` resolves or a client asks for it; reads the files again each time that
    /// `reload` resolves.
    pub async fn run(self, stop: impl Future<Output = ()>, mut reload: impl AsyncFnMut()) {
        let Self { place, state } = self;
        let mut stop = std::pin::pin!(stop);
        let mut asked = state.stop.subscribe();
        let mut clients = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased; // stopping wins over accepting
                () = &mut stop => break,
                () = told(&mut asked) => break,
                () = reload() => drop(state.reload()),
                Some(_) = clients.join_next() => {}
                client = place.accept() => match client {
                    Ok(client) => {
                        let has_room = clients.len() < MAX_CLIENTS;
                        clients.spawn(conversation::hold(Arc::clone(&state), client, has_room));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a client cannot be taken");
                        tokio::time::sleep(NO_ROOM_PAUSE).await;
                    }
                },
                _ = sweep.tick() => state.orchestrator().sweep(),
            }
        }
        tracing::info!(
            runs = state.runs().len(),
            "stopping; runs go on at their agents"
        );
        state.stop.send_replace(true);
        let all_told = async { while clients.join_next().await.is_some() {} };
        if timeout(FAREWELL, all_told).await.is_err() {
            tracing::warn!(
                clients = clients.len(),
                "some clients do not read their last message"
            );
        }
        clients.shutdown().await;
        state.orchestrator().leave().await;
        drop(place);
    }
}

/// Waits until the daemon is to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // The sender lives as long as anybody could wait.
    drop(stop.wait_for(|stop| *stop).await.map(|_| ()));
}

impl State {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<u64, InProgress>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orchestrator(&self) -> Arc<Orchestrator> {
        Arc::clone(&self.current().orchestrator)
    }

    /// Reads the files again if they are others than those that were read: what was revoked a
    /// moment ago is to be revoked here, too.
    ///
    /// # Errors
    /// They are of no use as they are now: nobody is to be trusted by what they said before.
    fn refresh(&self) -> Result<(), String> {
        let now = self.current().files.stamps();
        let is_new = {
            let current = self.current();
            let failed = current.failed.as_ref().map(|failed| failed.stamps);
            now != current.stamps && Some(now) != failed
        };
        if is_new {
            // It is in the log and the status, too.
            drop(self.reload());
        }
        let current = self.current();
        match &current.failed {
            Some(failed) if failed.is_unreadable && now != current.stamps => {
                Err(failed.why.clone())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Reads the files again. Links to agents are made anew then; runs in progress keep theirs.
    fn reload(&self) -> Result<(), Told> {
        let before = self.orchestrator();
        let opened = (self.door.open)(Some(&before));
        let mut current = self.current();
        match opened {
            Ok(opened) => {
                current.orchestrator = Arc::new(opened.orchestrator);
                current.mdns = opened.mdns;
                current.files = opened.files;
                current.stamps = opened.stamps;
                current.failed = None;
                current.reloads += 1;
                tracing::info!(
                    "the configuration, the identity and the revocation list were read again"
                );
                Ok(())
            }
            Err(error) => {
                let is_unreadable = matches!(error, NotOpened::Unreadable(_));
                let told = error.told();
                current.failed = Some(NotTaken {
                    stamps: current.files.stamps(),
                    why: told.text.clone(),
                    is_unreadable,
                });
                tracing::warn!(why = %told, "what was to be read again is of no use; the state before is in force");
                Err(told)
            }
        }
    }

    fn status(&self) -> Status {
        let current = self.current();
        let identity = current.orchestrator.identity();
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_ms: millis(self.since.elapsed()),
            identity: identity.node().to_string(),
            mesh: identity.fingerprint().to_string(),
            reloads: current.reloads,
            reload_failed: current.failed.as_ref().map(|failed| failed.why.clone()),
            links: current.orchestrator.kept().into_iter().map(link).collect(),
            runs: self
                .runs()
                .values()
                .map(|one| RunStatus::new(one.run, one.target.clone(), one.since.elapsed()))
                .collect(),
        }
    }

    /// Notes a run for as long as the result lives.
    fn note(self: &Arc<Self>, run: RunId, target: NodeName, canceller: Canceller) -> Noted {
        let number = self.next_run.fetch_add(1, Ordering::Relaxed);
        let noted = InProgress {
            run,
            target,
            since: Instant::now(),
            canceller,
        };
        self.runs().insert(number, noted);
        Noted {
            state: Arc::clone(self),
            number,
        }
    }

    fn canceller(&self, run: RunId, target: &NodeName) -> Option<Canceller> {
        let runs = self.runs();
        let mut latest_first = runs.values().rev();
        latest_first
            .find(|one| one.run == run && one.target == *target)
            .map(|one| one.canceller.clone())
    }
}

/// A run that is noted as in progress.
struct Noted {
    state: Arc<State>,
    number: u64,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.state.runs().remove(&self.number);
    }
}

fn link(kept: WarmLink) -> LinkStatus {
    LinkStatus {
        name: kept.name,
        address: kept.addr.to_string(),
        path: match kept.mechanism {
            Mechanism::Mdns => "lan",
            Mechanism::Fixed if kept.addr.ip().is_loopback() => "local",
            Mechanism::Fixed => "direct",
        }
        .into(),
        rtt_us: u64::try_from(kept.rtt.as_micros()).unwrap_or(u64::MAX),
        idle_ms: millis(kept.idle),
    }
}
