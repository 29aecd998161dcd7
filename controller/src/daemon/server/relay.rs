//! One run between its agent and its client.
//!
//! **Invariant:** a client that does not read costs [`BACKLOG`] bytes and what quinn holds of one
//! stream, and holds up no other run: its output is then left unread, which stops its process's pipe
//! and nothing else. And a client that left before it heard of a start leaves nothing that runs.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use node::run::{CancelError, StartRunError};
use proto::run::{KnownOfLost, OnLinkLoss, Outcome, Progress, Refusal};
use tokio::{
    net::UnixStream,
    time::{Instant, sleep, timeout},
};

use super::{Noted, State, conversation::reply, told};
use crate::{
    daemon::{
        protocol::{Data, Over, Reply, Request, Wish, encode, encode_data},
        stream::{ReadError, Reader, write_all, write_some},
    },
    exit::code,
    orchestrator::{EndRunError, Orchestrator, RunError, Running, StartRun},
    output::raw_chain,
    told::Told,
};

/// Output that waits for its client, in bytes, before no more is read.
const BACKLOG: usize = 4 << 20;

/// How long what is not output waits for company. A command that ends at once then wakes its client
/// once, and nobody sees the delay of the others.
const COMPANY: Duration = Duration::from_millis(3);

/// How long a client may take to read that the daemon stops.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long an agent may take to end the run of a client that left.
const CLEARING: Duration = Duration::from_secs(60);

/// Carries out a wish, and tells its client what happens.
pub(super) async fn run(
    state: Arc<State>,
    stream: Arc<UnixStream>,
    reader: Reader<Request>,
    wish: Wish,
    mut out: BytesMut,
) -> Result<(), ReadError> {
    let orchestrator = state.orchestrator();
    orchestrator.learn(wish.known());
    let mut left = Box::pin(left(reader));
    let running = match start_for(&orchestrator, &wish.start, &mut left).await {
        Ok(running) => running,
        Err(Nothing::Failed(error)) => {
            let told = (state.door.explain_run)(error);
            return reply(&stream, out, &Reply::Failed(told)).await;
        }
        Err(Nothing::Left(answer)) => {
            if let Reply::Over(_) = answer {
                let _ = encode(&Reply::Asked, &mut out);
            }
            return reply(&stream, out, &answer).await;
        }
    };
    let mut relay = Relay {
        _noted: note(&state, &running),
        state,
        stream,
        orchestrator,
        start: wish.start,
        out,
        urgent: false,
        running,
    };
    relay.say(&Reply::Asked);
    if relay.until_over(left).await == End::ClientLeft {
        relay.clear().await;
    }
    Ok(())
}

/// Why nothing is relayed.
enum Nothing {
    Failed(RunError),
    /// The client does not want it any more. It may have closed its half alone, and read this.
    Left(Reply),
}

/// Starts the run, unless its client leaves meanwhile.
async fn start_for(
    orchestrator: &Orchestrator,
    wish: &StartRun,
    mut left: impl Future<Output = ()> + Unpin,
) -> Result<Running, Nothing> {
    tokio::select! {
        biased; // nothing is begun for nobody
        () = &mut left => return Err(Nothing::Left(never_started(wish))),
        linked = orchestrator.link_to(&wish.target, wish.window) => linked.map_err(|error| {
            Nothing::Failed(RunError::Unreachable(Box::new(error)))
        })?,
    }
    // With a link to it, the request is on its way in a moment.
    tokio::select! {
        biased;
        started = start(orchestrator, wish) => started.map_err(Nothing::Failed),
        () = left => Err(Nothing::Left(give_up(orchestrator, wish).await)),
    }
}

/// Sees to it that a run does not go on that may have been asked for, and says what came of it.
async fn give_up(orchestrator: &Orchestrator, wish: &StartRun) -> Reply {
    let grace = Duration::from_millis(wish.limits.grace_ms.into());
    let ended = orchestrator.cancel(wish.id, &wish.target, grace, wish.window);
    let (outcome, ended, broken) = match timeout(CLEARING, ended).await {
        Ok(Ok(ended)) => (ended.result.outcome(), Some(ended), None),
        Ok(Err(EndRunError::Cancel {
            source: CancelError::Refused(Refusal::GivenUp | Refusal::NotStartedEarlier(_)),
            ..
        })) => return never_started(wish),
        Ok(Err(error)) => (None, None, Some(raw_chain(&error))),
        Err(_) => (None, None, Some("the agent does not answer".to_owned())),
    };
    Reply::Over(Box::new(Over {
        outcome: outcome.unwrap_or_else(unknown),
        ended,
        broken,
        not_let_in: None,
    }))
}

fn never_started(wish: &StartRun) -> Reply {
    Reply::Failed(Told {
        text: format!("{}: its caller left, so nothing was started", wish.target),
        next: None,
        code: code::INTERRUPTED,
        unreachable: false,
    })
}

const fn unknown() -> Outcome {
    Outcome::Lost(KnownOfLost {
        sent: true,
        started: false,
        ended: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
    })
}

/// Starts the run; over a link that turned out to be dead, once more over a new one.
async fn start(orchestrator: &Orchestrator, start: &StartRun) -> Result<Running, RunError> {
    match orchestrator.start(start.clone()).await {
        Err(RunError::Start {
            source: StartRunError::Link(_),
            ..
        }) => orchestrator.start(start.clone()).await,
        started => started,
    }
}

fn note(state: &Arc<State>, running: &Running) -> Noted {
    state.note(running.id(), running.target().clone(), running.canceller())
}

struct Relay {
    /// Lets others find the run for as long as it is relayed.
    _noted: Noted,
    state: Arc<State>,
    stream: Arc<UnixStream>,
    orchestrator: Arc<Orchestrator>,
    start: StartRun,
    running: Running,
    /// What the client has not read.
    out: BytesMut,
    /// Whether it is to leave now.
    urgent: bool,
}

/// How relaying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client knows how the run ended, or that the daemon stops.
    Told,
    ClientLeft,
}

impl Relay {
    async fn until_over(&mut self, left: impl Future<Output = ()>) -> End {
        let mut left = std::pin::pin!(left);
        let mut stopping = self.state.stop.subscribe();
        let mut over = false;
        let mut company = std::pin::pin!(sleep(COMPANY));
        while !over || !self.out.is_empty() {
            let takes_more = !over && self.out.len() < BACKLOG;
            tokio::select! {
                biased; // output may always be ready, and the rest must be heard
                () = told(&mut stopping) => {
                    self.say(&Reply::Stopping);
                    let told = write_all(&self.stream, &mut self.out);
                    drop(timeout(LAST_WORD, told).await);
                    return End::Told;
                }
                () = &mut left => return End::ClientLeft,
                written = write_some(&self.stream, &mut self.out), if self.urgent => {
                    if written.is_err() {
                        return End::ClientLeft;
                    }
                    self.urgent = !self.out.is_empty();
                }
                () = &mut company, if !self.urgent && !self.out.is_empty() => self.urgent = true,
                progress = self.running.next(), if takes_more => {
                    if self.out.is_empty() {
                        company.as_mut().reset(Instant::now() + COMPANY);
                    }
                    over = self.take(progress);
                }
            }
        }
        End::Told
    }

    /// Turns what happened into what the client hears; true at the end.
    fn take(&mut self, progress: Option<Progress>) -> bool {
        match progress {
            Some(Progress::Started(started)) => self.say(&Reply::Started(started)),
            Some(Progress::Earlier(earlier)) => self.say(&Reply::Earlier(earlier)),
            Some(Progress::Attached { attached, left_out }) => {
                self.say(&Reply::Attached(attached, left_out));
            }
            Some(Progress::Away) => {
                self.say(&Reply::Away);
                self.urgent = true;
            }
            Some(Progress::Stdout(bytes)) => self.show(Data::Stdout, &bytes),
            Some(Progress::Stderr(bytes)) => self.show(Data::Stderr, &bytes),
            Some(Progress::Over) | None => {
                self.orchestrator.remember_target(&self.running);
                let over = self.over();
                self.say(&over);
                self.urgent = true;
                return true;
            }
        }
        false
    }

    fn over(&self) -> Reply {
        let running = &self.running;
        Reply::Over(Box::new(Over {
            outcome: running.outcome().cloned().unwrap_or_else(unknown),
            ended: running.ended().cloned(),
            broken: running.broken().map(|error| raw_chain(error)),
            not_let_in: running.not_let_in().map(self.state.door.explain_run),
        }))
    }

    fn show(&mut self, stream: Data, bytes: &[u8]) {
        encode_data(stream, bytes, &mut self.out);
        self.urgent = true;
    }

    fn say(&mut self, reply: &Reply) {
        if let Err(error) = encode(reply, &mut self.out) {
            tracing::error!(%error, "a run's message cannot be sent");
        }
    }

    /// Does for a client that left what its link's loss would have done.
    async fn clear(self) {
        match self.start.on_link_loss {
            // Nobody was told that it runs.
            _ if !self.running.known().started => {}
            OnLinkLoss::End => {}
            // The agent goes on, and keeps the output.
            OnLinkLoss::Keep { .. } | OnLinkLoss::Detach => return,
        }
        let grace = Duration::from_millis(self.start.limits.grace_ms.into());
        let canceller = self.running.canceller();
        let cancelled = timeout(CLEARING, canceller.cancel(grace)).await;
        if !matches!(cancelled, Ok(Ok(_))) {
            tracing::warn!(run = %self.running.id(), target = %self.running.target(), "the run of a client that left is not seen to end");
        }
    }
}

/// Waits until the client is gone, or says what no program of ours says here.
async fn left(mut reader: Reader<Request>) {
    drop(reader.next().await);
}
