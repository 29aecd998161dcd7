//! A thread that lives in generations: each has a runtime of its own, and leaves nothing behind.
//!
//! libp2p-mdns spawns tasks that outlive the behaviour that spawned them. A runtime that is dropped
//! takes its tasks, their sockets and their queues with it, so everything that listens runs inside
//! [`live`], one generation after the other, on the thread of a [`Worker`].

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime;
use tokio_util::sync::CancellationToken;

/// A thread that stops, and is waited for, when its owner drops it.
#[derive(Debug)]
pub(super) struct Worker {
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    /// Starts `work` on a thread called `name`. It must end soon after the token is cancelled.
    pub(super) fn spawn(
        name: &str,
        work: impl FnOnce(CancellationToken) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let told = stop.clone();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(told))?;

        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
        // Well under a millisecond: the thread sleeps or handles one packet.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the mDNS thread panicked");
        }
    }
}

/// Runs `work` on a new runtime on this thread; then ends all tasks that it spawned.
///
/// # Errors
///
/// The operating system refused what a runtime needs.
pub(super) fn live<F: Future>(work: impl FnOnce(Arc<WorkClock>) -> F) -> io::Result<F::Output> {
    let clock = Arc::new(WorkClock::new(Instant::now()));
    let (parking, waking) = (clock.clone(), clock.clone());
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(move || parking.pause(Instant::now()))
        .on_thread_unpark(move || waking.resume(Instant::now()))
        // `work` watches what its tasks cost: let it look after each of their turns.
        .event_interval(1)
        .build()?;

    Ok(runtime.block_on(work(clock)))
}

/// Sleeps, unless told to stop. Returns whether to go on.
pub(super) fn sleep(pause: Duration, stop: &CancellationToken) -> io::Result<bool> {
    live(|_| async {
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    })
}

/// How long a thread has worked: the time that it was not parked. Only that thread moves it.
#[derive(Debug)]
pub(super) struct WorkClock {
    start: Instant,
    works: AtomicBool,
    since_nanos: AtomicU64,
    total_nanos: AtomicU64,
}

impl WorkClock {
    fn new(now: Instant) -> Self {
        Self {
            start: now,
            works: AtomicBool::new(true),
            since_nanos: AtomicU64::new(0),
            total_nanos: AtomicU64::new(0),
        }
    }

    fn pause(&self, now: Instant) {
        let worked = self.worked(now);
        self.total_nanos.store(nanos(worked), Ordering::Relaxed);
        self.works.store(false, Ordering::Relaxed);
    }

    fn resume(&self, now: Instant) {
        self.since_nanos
            .store(nanos(now.duration_since(self.start)), Ordering::Relaxed);
        self.works.store(true, Ordering::Relaxed);
    }

    /// Returns the work until `now`.
    pub(super) fn worked(&self, now: Instant) -> Duration {
        let total = Duration::from_nanos(self.total_nanos.load(Ordering::Relaxed));
        if !self.works.load(Ordering::Relaxed) {
            return total;
        }
        let since = Duration::from_nanos(self.since_nanos.load(Ordering::Relaxed));
        total + now.duration_since(self.start).saturating_sub(since)
    }
}

/// Saturates after 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_end_of_a_generation_ends_the_tasks_that_it_spawned() {
        let (alive, ended) = mpsc::sync_channel::<()>(0);

        live(|_| async move {
            #[expect(clippy::disallowed_methods, reason = "spawns as libp2p-mdns does")]
            tokio::spawn(async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
        })
        .unwrap();

        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn dropping_a_worker_waits_for_its_thread() {
        let (alive, ended) = mpsc::sync_channel::<()>(0);
        let worker = Worker::spawn("test", move |stop| {
            let _alive = alive;
            live(|_| stop.cancelled()).unwrap();
        });

        drop(worker.unwrap());

        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn a_parked_thread_does_not_work() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let clock = WorkClock::new(start);

        clock.pause(after(2));
        assert_eq!(clock.worked(after(10)), Duration::from_secs(2));
        clock.resume(after(10));
        assert_eq!(clock.worked(after(11)), Duration::from_secs(3));
        clock.pause(after(13));
        assert_eq!(clock.worked(after(99)), Duration::from_secs(5));
    }
}
