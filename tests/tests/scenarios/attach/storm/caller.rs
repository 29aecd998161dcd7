//! A caller within the test's own process: as stubborn as a controller, and cheaper.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use node::{
    close::CloseCode,
    discovery::fixed::KnownAddress,
    link::Link,
    links::{Keep, Lan, Links},
    run::{CancelError, Run, cancel, probe},
};
use pki::{Identity, Revocation, StaleCrl};
use proto::{
    id::NodeName,
    run::{Exit, Outcome, Progress, Refusal, RunRequest, Wire},
};
use scenarios::PATIENCE;
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Silence after which an agent is asked whether it is there.
const QUIET: Duration = Duration::from_millis(300);

/// How long its answer may take.
const ANSWER: Duration = Duration::from_millis(300);

/// What a caller does besides hearing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    /// It is gone without a word.
    pub(super) vanish_after: Option<Duration>,
    /// It cancels the run.
    pub(super) cancel_after: Option<Duration>,
}

/// How a run ended, as a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Finished(i32),
    Cancelled,
    NeverStarted,
    /// By the agent's word.
    LostWithAgent,
    /// For want of any word.
    Lost,
}

impl Verdict {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Finished(_) => "finished",
            Self::Cancelled => "cancelled",
            Self::NeverStarted => "never started",
            Self::LostWithAgent => "lost with its agent",
            Self::Lost => "lost",
        }
    }
}

/// What a caller was told.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) verdict: Verdict,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) left_out: u64,
}

/// One who runs things on one agent.
pub(super) struct Operator {
    // Dropped first: then nothing is said any more, as by a process that was killed.
    runtime: Runtime,
    links: Arc<Links>,
    name: NodeName,
}

impl Operator {
    pub(super) fn new(identity: &Identity, name: NodeName, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let known = KnownAddress {
            name: name.clone(),
            addr: address,
        };
        let links = {
            let _entered = runtime.enter();
            let revocation = Revocation::none_known(StaleCrl::Refuse);
            Links::bind(
                identity,
                &revocation,
                vec![known],
                Lan::Ignore,
                Keep::Nothing,
            )
            .unwrap()
        };
        Self {
            runtime,
            links: Arc::new(links),
            name,
        }
    }

    /// Asks for a run and hears it to its end; nothing if the plan is to vanish before. This operator
    /// is of no use then.
    #[track_caller]
    pub(super) fn hear(&self, request: &RunRequest, plan: Plan) -> Option<Heard> {
        self.runtime.block_on(async {
            tokio::select! {
                heard = timeout(2 * PATIENCE, self.whole(request, plan)) => match heard {
                    Ok(heard) => Some(heard),
                    Err(_) => panic!("run {} has no end", request.id),
                },
                () = after(plan.vanish_after) => None,
            }
        })
    }

    async fn whole(&self, request: &RunRequest, plan: Plan) -> Heard {
        let mut hearing = Hearing {
            run: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            cancel_at: plan.cancel_after.map(|after| Instant::now() + after),
        };
        let mut link = self.first_link().await;
        loop {
            if hearing.ask(&link, request).await {
                hearing.hear(&link, request).await;
            }
            if let Some(heard) = hearing.end(request) {
                link.close(CloseCode::Done);
                return heard;
            }
            let back = Arc::clone(&self.links).back_to(Arc::clone(&link)).await;
            link.close(CloseCode::Superfluous);
            link = back.unwrap().link;
        }
    }

    async fn first_link(&self) -> Arc<Link> {
        loop {
            if let Ok(found) = self.links.to(&self.name, ANSWER * 4).await {
                return found.link;
            }
        }
    }
}

/// A run on its way.
struct Hearing {
    run: Option<Run>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    cancel_at: Option<Instant>,
}

impl Hearing {
    /// Asks on a new link; false if that broke as well.
    async fn ask(&mut self, link: &Link, request: &RunRequest) -> bool {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let request = RunRequest {
            issued_at_ms: u64::try_from(now).unwrap(),
            ..request.clone()
        };
        match &mut self.run {
            Some(run) => run.resume(link, Some(&request)).await.is_ok(),
            None => {
                self.run = Run::start(link, &request).await.ok();
                self.run.is_some()
            }
        }
    }

    /// Hears the run until its end, or until the link is of no use.
    async fn hear(&mut self, link: &Link, request: &RunRequest) {
        let Some(run) = &mut self.run else { return };
        loop {
            tokio::select! {
                progress = run.next(link) => match progress {
                    Some(Progress::Stdout(bytes)) => self.stdout.extend_from_slice(&bytes),
                    Some(Progress::Stderr(bytes)) => self.stderr.extend_from_slice(&bytes),
                    Some(Progress::Started(_) | Progress::Attached { .. }) => {}
                    Some(Progress::Earlier(_)) => {
                        run.leave();
                        if run.resume(link, None).await.is_err() {
                            return;
                        }
                    }
                    Some(Progress::Over) | None => return,
                    Some(Progress::Away) => return,
                },
                () = sleep(QUIET) => {
                    if !matches!(timeout(ANSWER, probe(link)).await, Ok(Ok(()))) {
                        return run.leave();
                    }
                }
                () = at(self.cancel_at) => {
                    self.cancel_at = cancelled(run, link, request).await;
                }
            }
        }
    }

    /// Returns how the run ended, once it has.
    #[track_caller]
    fn end(&mut self, request: &RunRequest) -> Option<Heard> {
        let run = self.run.as_ref()?;
        let verdict = match run.outcome()? {
            Outcome::Finished(Exit::Code(code)) => Verdict::Finished(*code),
            Outcome::Cancelled => Verdict::Cancelled,
            Outcome::NotStarted | Outcome::Refused(Refusal::GivenUp) => Verdict::NeverStarted,
            Outcome::Lost(known) if known.ended == Some(Wire::AgentStopped) => {
                Verdict::LostWithAgent
            }
            Outcome::Lost(_) if run.broken().is_none() => Verdict::Lost,
            other @ (Outcome::Finished(Exit::Signal(_))
            | Outcome::Refused(_)
            | Outcome::TimedOut(_)
            | Outcome::Lost(_)) => {
                panic!("run {}: {other:?}, {:?}", request.id, run.broken())
            }
        };
        Some(Heard {
            verdict,
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
            left_out: run.left_out(),
        })
    }
}

/// Cancels a run; returns when to try that again.
async fn cancelled(run: &mut Run, link: &Link, request: &RunRequest) -> Option<Instant> {
    let grace = Duration::from_millis(100);
    match timeout(3 * ANSWER, cancel(link, request.id, grace)).await {
        Ok(Err(CancelError::Refused(Refusal::GivenUp))) => {
            assert!(!run.known().started, "run {} was started", request.id);
            run.not_started();
            None
        }
        Ok(Ok(_) | Err(CancelError::Refused(_))) => None,
        Ok(Err(CancelError::Violation)) if link.closed().is_none() => {
            panic!("run {}: no answer to its cancellation", request.id)
        }
        Ok(Err(CancelError::Link(_) | CancelError::Violation)) | Err(_) => {
            Some(Instant::now() + ANSWER)
        }
    }
}

async fn after(span: Option<Duration>) {
    match span {
        Some(span) => sleep(span).await,
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
