//! A run in progress: everything that can happen to it, and its one end.
//!
//! Belongs to the agent, and not to the stream on which the run was asked for: who hears the run, and
//! whether anybody does, is the spool's to know.
//!
//! **Invariant:** whatever ends a run, its processes are ended first; then its output is in files and
//! the ledger keeps how it ended; only then anybody hears of the end. Nothing here waits for a caller
//! that does not read.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use proto::run::{Ended, Exit, Limit, RunRequest, Tree, Wire};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    keep,
    kept::Kept,
    pipes::{Activity, Pipes, Pumped, Until},
};
use crate::{
    agent::{
        Shared,
        process::{self, Process, TreeEnd},
        runs::{CancelRequest, Place},
        spool::Spool,
    },
    fault,
};

/// Why a run ends.
enum Cause {
    Exit(Exit),
    Reached(Limit),
    Cancelled(CancelRequest),
    AgentStops,
    /// Its link was lost, and its caller did not come back in time.
    Orphaned,
}

/// What a run in progress is made of, besides its output.
struct Conduct {
    process: Process,
    place: Place,
    request: Arc<RunRequest>,
    shared: Arc<Shared>,
    spool: Arc<Spool>,
    activity: Arc<Activity>,
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

    /// Drives the output to its end.
    async fn rest(&mut self) {
        if self.done.is_none() {
            self.done = Some(self.running.as_mut().await);
        }
    }
}

/// Conducts a started process to its end.
pub(super) async fn conduct(
    mut process: Process,
    place: Place,
    spool: Arc<Spool>,
    request: Arc<RunRequest>,
    shared: Arc<Shared>,
) {
    let mut pipes = Pipes::new(
        process.stdout.take(),
        process.stderr.take(),
        request.limits.output_bytes,
    );
    let activity = Arc::new(Activity::new());
    let mut run = Conduct {
        process,
        place,
        request,
        shared,
        spool: Arc::clone(&spool),
        activity: Arc::clone(&activity),
    };
    let (until, until_seen) = watch::channel(Until::End);
    let ended = {
        let running = pin!(async {
            tokio::select! {
                how = pipes.pump(&spool, &activity, until_seen) => how,
                never = spool.keep_spilling() => match never {},
            }
        });
        let mut pump = Pump {
            running,
            done: None,
        };
        let cause = run.wait_for_cause(&mut pump).await;
        let ended = run.end(cause, &mut pump).await;
        until.send_replace(Until::Drained);
        pump.rest().await;
        run.reconsider(ended, &mut pump).await
    };
    run.conclude(ended).await;
}

impl Conduct {
    /// Waits for the first thing that ends the run.
    async fn wait_for_cause<F: Future<Output = Pumped>>(
        &mut self,
        pump: &mut Pump<'_, F>,
    ) -> Cause {
        let limits = self.request.limits;
        let spool = Arc::clone(&self.spool);
        let activity = Arc::clone(&self.activity);
        let mut orphaned = pin!(spool.orphaned());
        let mut wall = pin!(deadline(activity.start(), limits.wall_ms));
        let idle = limits.idle_ms.map(Duration::from_millis);
        let mut idle = pin!(activity.idle_for(idle));
        loop {
            tokio::select! {
                Some(cancel) = self.place.cancel.recv() => return Cause::Cancelled(cancel),
                () = self.shared.stop.cancelled() => return Cause::AgentStops,
                () = &mut orphaned => return Cause::Orphaned,
                () = &mut wall => return Cause::Reached(Limit::Wall),
                () = &mut idle => return Cause::Reached(Limit::Idle),
                how = pump.next() => match how {
                    Pumped::All => {}
                    Pumped::Limit => return Cause::Reached(Limit::Output),
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
            Cause::Orphaned => (Wire::LinkLost, Some(grace)),
        };
        let tree = match grace {
            None => left(self.process.leftover().await),
            Some(grace) => self.end_tree(grace, pump).await,
        };
        self.ended(result, tree)
    }

    /// Ends the processes; somebody who gives them less time is heard.
    async fn end_tree<F: Future<Output = Pumped>>(
        &mut self,
        mut grace: Duration,
        pump: &mut Pump<'_, F>,
    ) -> Tree {
        loop {
            let mut end = pin!(self.process.end(grace));
            loop {
                tokio::select! {
                    tree = &mut end => return ended_tree(tree),
                    Some(hurry) = self.place.cancel.recv() => if hurry.grace < grace {
                        grace = hurry.grace;
                        break;
                    },
                    _ = pump.next() => {}
                }
            }
        }
    }

    fn ended(&self, result: Wire, tree: Tree) -> Ended {
        let duration = self.activity.start().elapsed().as_millis();
        let output = self.spool.end();
        Ended {
            result,
            tree,
            stdout_bytes: output.stdout,
            stderr_bytes: output.stderr,
            duration_ms: u64::try_from(duration).unwrap_or(u64::MAX),
        }
    }

    /// Corrects the end of a program that left more in its pipes than may be sent: what arrived is
    /// not all that it wrote, so it must not pass for finished.
    async fn reconsider<F: Future<Output = Pumped>>(
        &mut self,
        ended: Ended,
        pump: &mut Pump<'_, F>,
    ) -> Ended {
        if matches!(ended.result, Wire::Finished(_)) && pump.done == Some(Pumped::Limit) {
            return self.end(Cause::Reached(Limit::Output), pump).await;
        }
        ended
    }

    /// Makes the end known: to the files, to the ledger, and to those who wait for it.
    async fn conclude(self, mut ended: Ended) {
        let output = self.spool.end();
        (ended.stdout_bytes, ended.stderr_bytes) = (output.stdout, output.stderr);
        fault::point("run-before-output-kept");
        if output.total() > 0 {
            self.spool.flush().await;
        }
        fault::point("run-before-end-kept");
        keep(&self.shared, self.request.id, &Kept::Ended(ended.clone()));
        fault::point("run-after-end-kept");
        self.place.ended(&ended);
        if matches!(ended.tree, Tree::Left { .. }) {
            self.process.release();
        } else {
            drop(self.process);
        }
        tracing::info!(run = %self.request.id, result = ?ended.result, "run ended");
        self.spool.finish(ended);
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
}

async fn deadline(start: Instant, limit_ms: Option<u64>) {
    match limit_ms {
        Some(ms) => sleep_until(start + Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

fn left(pids: Option<Vec<u32>>) -> Tree {
    let Some(mut pids) = pids else {
        return Tree::Unconfirmed { pids: Vec::new() };
    };
    pids.truncate(Tree::MAX_PIDS);
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
            pids.truncate(Tree::MAX_PIDS);
            Tree::Unconfirmed { pids }
        }
    }
}
