//! A run in progress: everything that can happen to it, and its one end.
//!
//! **Invariant:** whatever ends a run, its processes are ended first; then those who asked for the
//! end hear of it, and the ledger keeps it, before the caller does. Nothing here waits for a caller
//! that does not read before the processes are gone.

use std::{
    pin::{Pin, pin},
    time::{Duration, SystemTime},
};

use bytes::BytesMut;
use proto::{
    codec::encode,
    frame::{Frame, FrameKind},
    run::{CalleeRun, Ended, Exit, Limit, RunRequest, Started, Tree, Wire},
};
use quinn::{Connection, SendStream};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    input::{Input, InputError},
    keep,
    kept::Kept,
    output::{Activity, Output, Pumped, Until},
};
use crate::{
    agent::{
        Shared,
        process::{self, Process, TreeEnd},
        router::{Stream, millis},
        runs::{CancelRequest, Place},
    },
    close::CloseCode,
    link::send_frame,
};

/// How many process numbers an end names at most.
const MAX_PIDS: usize = 64;

/// Why a run ends.
enum Cause {
    Exit(Exit),
    Reached(Limit),
    Cancelled(CancelRequest),
    AgentStops,
    LinkLost,
}

/// What a run in progress is made of, besides its output.
struct Conduct<'a> {
    process: Process,
    place: Place<'a>,
    request: &'a RunRequest,
    shared: &'a Shared,
    connection: Connection,
    activity: &'a Activity,
}

/// Output on its way, which both halves of a run's life drive on.
struct Pump<'a, F> {
    running: Pin<&'a mut F>,
    done: Option<Pumped>,
}

impl<F: Future<Output = Pumped>> Pump<'_, F> {
    /// Drives the output on; returns once, when it is over, and then never again.
    async fn next(&mut self) -> Pumped {
        if self.done.is_some() {
            return std::future::pending().await;
        }
        let how = self.running.as_mut().await;
        self.done = Some(how);
        how
    }
}

/// Streams a started process to its end, and reports it.
pub(super) async fn conduct(
    stream: Stream,
    mut process: Process,
    place: Place<'_>,
    request: &RunRequest,
    shared: &Shared,
) {
    let Stream {
        mut send,
        frames,
        connection,
        peer,
    } = stream;
    let pid = process.pid();
    tracing::info!(run = %request.id, %peer, principal = %request.principal, pid, "run started");
    let started = Started {
        pid,
        at_ms: millis(SystemTime::now()),
    };
    let mut first = BytesMut::new();
    let fits = encode(&Frame::Started(started), &mut first);
    fits.expect("two numbers are shorter than any limit");

    let mut output = Output::new(
        process.stdout.take(),
        process.stderr.take(),
        request.limits.output_bytes,
    );
    let mut input = Input {
        frames,
        state: CalleeRun::asked(request),
        stdin: process.stdin.take(),
        terminal: process.terminal.clone(),
    };
    let activity = Activity::new();
    let (until, until_seen) = watch::channel(Until::End);
    let abandoned = send.stopped();
    let mut run = Conduct {
        process,
        place,
        request,
        shared,
        connection,
        activity: &activity,
    };
    let (mut ended, complete) = {
        let running = pin!(output.pump(first.freeze(), &mut send, &activity, until_seen));
        let mut pump = Pump {
            running,
            done: None,
        };
        let cause = run.wait_for_cause(&mut pump, &mut input, abandoned).await;
        let ended = run.end(cause, &mut pump).await;
        drop(input);
        keep(shared, request.id, &Kept::Ended(ended.clone()));
        run.place.ended(&ended);
        let complete = run.drain(&ended, &mut pump, &until).await;
        (run.reconsider(ended, &mut pump).await, complete)
    };
    if matches!(ended.tree, Tree::Left { .. }) {
        run.process.release();
    } else {
        drop(run.process);
    }
    drop(run.place);
    ended.stdout_bytes = activity.sent(FrameKind::Stdout);
    ended.stderr_bytes = activity.sent(FrameKind::Stderr);
    tracing::info!(run = %request.id, result = ?ended.result, "run ended");
    report(send, ended, complete).await;
}

impl Conduct<'_> {
    /// Waits for the first thing that ends the run.
    async fn wait_for_cause<F: Future<Output = Pumped>>(
        &mut self,
        pump: &mut Pump<'_, F>,
        input: &mut Input,
        abandoned: impl Future,
    ) -> Cause {
        let limits = self.request.limits;
        let mut feed = pin!(input.feed());
        let mut closed = pin!(self.connection.closed());
        let mut abandoned = pin!(abandoned);
        let mut wall = pin!(deadline(self.activity.start(), limits.wall_ms));
        let idle = limits.idle_ms.map(Duration::from_millis);
        let mut idle = pin!(self.activity.idle_for(idle));
        loop {
            tokio::select! {
                Some(cancel) = self.place.cancel.recv() => return Cause::Cancelled(cancel),
                () = self.shared.stop.cancelled() => return Cause::AgentStops,
                _ = &mut closed => return Cause::LinkLost,
                _ = &mut abandoned => return Cause::LinkLost,
                () = &mut wall => return Cause::Reached(Limit::Wall),
                () = &mut idle => return Cause::Reached(Limit::Idle),
                Err(error) = &mut feed => {
                    self.violated(&error);
                    return Cause::LinkLost;
                }
                how = pump.next() => match how {
                    Pumped::All => {}
                    Pumped::Limit => return Cause::Reached(Limit::Output),
                    Pumped::Abandoned => return Cause::LinkLost,
                },
                exit = self.process.wait() => return Cause::Exit(self.exit(exit)),
            }
        }
    }

    /// Ends the processes where they have not ended by themselves; output goes on meanwhile, since
    /// a process that is asked to end may have something to say.
    async fn end<F: Future<Output = Pumped>>(
        &mut self,
        cause: Cause,
        pump: &mut Pump<'_, F>,
    ) -> Ended {
        let grace = Duration::from_millis(self.request.limits.grace_ms.into());
        let (result, grace) = match cause {
            Cause::Exit(exit) => (Wire::Finished(exit), None),
            Cause::Reached(limit) => (Wire::Reached(limit), Some(grace)),
            Cause::Cancelled(request) => (Wire::Cancelled, Some(request.grace)),
            Cause::AgentStops => (Wire::AgentStopped, Some(grace)),
            Cause::LinkLost => (Wire::LinkLost, Some(grace)),
        };
        let tree = match grace {
            None => left(self.process.leftover()),
            Some(grace) => {
                let mut end = pin!(self.process.end(grace));
                loop {
                    tokio::select! {
                        tree = &mut end => break ended_tree(tree),
                        _ = pump.next() => {}
                    }
                }
            }
        };
        let duration = self.activity.start().elapsed().as_millis();
        Ended {
            result,
            tree,
            stdout_bytes: self.activity.sent(FrameKind::Stdout),
            stderr_bytes: self.activity.sent(FrameKind::Stderr),
            duration_ms: u64::try_from(duration).unwrap_or(u64::MAX),
        }
    }

    /// Sends what the processes left in their pipes; tells whether all of it was sent.
    async fn drain<F: Future<Output = Pumped>>(
        &mut self,
        ended: &Ended,
        pump: &mut Pump<'_, F>,
        until: &watch::Sender<Until>,
    ) -> Complete {
        if ended.result == Wire::LinkLost {
            return Complete::No;
        }
        until.send_replace(Until::Drained);
        if pump.done.is_none() {
            tokio::select! {
                _ = pump.next() => {}
                _ = self.connection.closed() => {}
                // The processes have ended: nothing is left to cancel but the wait for the reader.
                Some(_) = self.place.cancel.recv() => {}
                () = self.shared.stop.cancelled(), if ended.result != Wire::AgentStopped => {}
            }
        }
        match pump.done {
            Some(Pumped::All | Pumped::Limit) => Complete::Yes,
            Some(Pumped::Abandoned) | None => Complete::No,
        }
    }

    /// Corrects the end of a program that left more in its pipes than may be sent: what arrived is
    /// not all that it wrote, so it must not pass for finished.
    async fn reconsider<F: Future<Output = Pumped>>(
        &mut self,
        ended: Ended,
        pump: &mut Pump<'_, F>,
    ) -> Ended {
        if !matches!(ended.result, Wire::Finished(_)) || pump.done != Some(Pumped::Limit) {
            return ended;
        }
        let ended = self.end(Cause::Reached(Limit::Output), pump).await;
        keep(self.shared, self.request.id, &Kept::Ended(ended.clone()));
        ended
    }

    fn exit(&self, exit: std::io::Result<process::Exit>) -> Exit {
        match exit {
            Ok(process::Exit::Code(code)) => Exit::Code(code),
            Ok(process::Exit::Signal(signal)) => Exit::Signal(signal),
            Err(error) => {
                tracing::error!(run = %self.request.id, %error, "the end of a process was not seen");
                Exit::Signal(0)
            }
        }
    }

    fn violated(&self, error: &InputError) {
        tracing::warn!(run = %self.request.id, %error, "protocol violation; the link is closed");
        let code = CloseCode::ProtocolViolation;
        self.connection
            .close(code.number(), code.reason().as_bytes());
    }
}

/// Whether every byte of output was sent.
#[derive(PartialEq, Eq)]
enum Complete {
    Yes,
    No,
}

/// Sends the last frame. Where output is missing, the stream is reset instead: a caller that hears
/// of an end has heard everything before it.
async fn report(mut send: SendStream, ended: Ended, complete: Complete) {
    let sent = complete == Complete::Yes
        && send_frame(&mut send, &Frame::Ended(ended)).await.is_ok()
        && send.finish().is_ok();
    if sent {
        // Either way the stream is over.
        drop(send.stopped().await);
    } else {
        // Fails only if the stream is closed already.
        drop(send.reset(CloseCode::Abandoned.number()));
    }
}

async fn deadline(start: Instant, limit_ms: Option<u64>) {
    match limit_ms {
        Some(ms) => sleep_until(start + Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

fn left(mut pids: Vec<u32>) -> Tree {
    pids.truncate(MAX_PIDS);
    if pids.is_empty() {
        Tree::Gone
    } else {
        Tree::Left { pids }
    }
}

fn ended_tree(end: TreeEnd) -> Tree {
    match end {
        TreeEnd::Gone => Tree::Gone,
        TreeEnd::Unconfirmed { mut pids } => {
            pids.truncate(MAX_PIDS);
            Tree::Unconfirmed { pids }
        }
    }
}
