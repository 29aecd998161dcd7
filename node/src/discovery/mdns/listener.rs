//! A libp2p mDNS behaviour without a swarm, within limits.
//!
//! Owns the behaviour's settings, what it announces, and noticing that it takes too much or has
//! gone deaf. It does not interpret what is heard.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    futures::future::poll_fn,
    mdns::{self, Event},
    swarm::{ExpiredListenAddr, FromSwarm, NetworkBehaviour as _, NewListenAddr, ToSwarm},
};
use tokio::runtime::Handle;

use super::{budget::Budget, generation::WorkClock};

/// How long others may remember an announcement.
///
/// Short, since it is asked for anew each time: agents remember each other's answers so long.
const REMEMBER: Duration = Duration::from_secs(10);

/// How long a behaviour that was answered once waits until it asks again: for ever.
///
/// A year, since libp2p-mdns adds this to the present time.
const ASK_AGAIN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How many entries of others a behaviour may remember.
///
/// Each costs up to some 600 bytes, and each new one is compared with all of them.
const MAX_REMEMBERED: usize = 2048;

/// Why a behaviour should be replaced by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Somebody floods the LAN.
    #[error("too many mDNS packets")]
    Overloaded,
    /// A task of libp2p-mdns ended: its interface is no longer heard.
    #[error("an interface is no longer heard")]
    Deaf,
}

/// Asks and listens on all IPv4 interfaces, and answers with what it was told to announce.
pub(super) struct Listener {
    behaviour: mdns::tokio::Behaviour,
    clock: Arc<WorkClock>,
    budget: Budget,
    hearing: Hearing,
}

impl Listener {
    /// Makes a listener that asks as soon as it is polled. Must live on a runtime of its own.
    ///
    /// # Errors
    ///
    /// The operating system does not let us watch its interfaces.
    pub(super) fn open(peer: PeerId, clock: Arc<WorkClock>) -> io::Result<Self> {
        let config = mdns::Config {
            ttl: REMEMBER,
            query_interval: ASK_AGAIN,
            enable_ipv6: false,
        };

        Ok(Self {
            behaviour: mdns::tokio::Behaviour::new(config, peer)?,
            clock,
            budget: Budget::new(Instant::now()),
            hearing: Hearing::default(),
        })
    }

    /// Answers with `addr` on the interface that has its IP, from now on.
    pub(super) fn announce(&mut self, addr: &Multiaddr) {
        let listener_id = ListenerId::next();
        self.behaviour
            .on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr {
                listener_id,
                addr,
            }));
    }

    /// Undoes [`announce`](Self::announce).
    pub(super) fn withdraw(&mut self, addr: &Multiaddr) {
        let listener_id = ListenerId::next();
        self.behaviour
            .on_swarm_event(FromSwarm::ExpiredListenAddr(ExpiredListenAddr {
                listener_id,
                addr,
            }));
    }

    /// Says how many interfaces there are now, so that one that falls silent is noticed.
    pub(super) fn expect_interfaces(&mut self, count: usize) {
        self.hearing = Hearing {
            expected: count,
            complete: false,
        };
    }

    /// Waits for entries of others that were not remembered: addresses with `/p2p/PEER` at their end.
    ///
    /// # Errors
    ///
    /// The listener must be replaced.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn heard(&mut self) -> Result<Vec<(PeerId, Multiaddr)>, Unfit> {
        poll_fn(|cx| self.poll_heard(cx)).await
    }

    fn poll_heard(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<(PeerId, Multiaddr)>, Unfit>> {
        if let Err(unfit) = self.check() {
            return Poll::Ready(Err(unfit));
        }
        while let Poll::Ready(event) = self.behaviour.poll(cx) {
            if let ToSwarm::GenerateEvent(Event::Discovered(entries)) = event {
                return Poll::Ready(Ok(entries));
            }
        }
        Poll::Pending
    }

    fn check(&mut self) -> Result<(), Unfit> {
        let now = Instant::now();
        if !self.budget.charge(self.clock.worked(now), now)
            || self.behaviour.discovered_nodes().len() > MAX_REMEMBERED
        {
            return Err(Unfit::Overloaded);
        }
        if self
            .hearing
            .is_lost(Handle::current().metrics().num_alive_tasks())
        {
            return Err(Unfit::Deaf);
        }
        Ok(())
    }
}

/// Whether each interface still has its task. libp2p-mdns does not replace one that ended.
#[derive(Debug, Default)]
struct Hearing {
    expected: usize,
    /// All expected tasks were there once, so that a missing one is not merely yet to come.
    complete: bool,
}

impl Hearing {
    fn is_lost(&mut self, tasks: usize) -> bool {
        self.complete |= tasks >= self.expected;
        self.complete && tasks < self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_whose_task_ended_is_lost() {
        let mut hearing = Hearing {
            expected: 2,
            complete: false,
        };

        assert_eq!(
            [0, 1, 2, 2, 1].map(|tasks| hearing.is_lost(tasks)),
            [false, false, false, false, true]
        );
    }
}
