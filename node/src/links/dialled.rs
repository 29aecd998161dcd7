//! One handshake of a look-up, and what came of it.

use std::{net::SocketAddr, time::Duration};

use libp2p::futures::{StreamExt as _, stream::FuturesUnordered};
use pki::Expect;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    discovery::Candidate,
    link::{DialError, Link},
    transport::Transport,
};

/// How long a handshake may take before the address is dialled again: a few round trips of the longest
/// path, and one packet lost.
const REDIAL: Duration = Duration::from_secs(2);

/// Handshakes with one address at most. With pauses that double, the last begins after 14 s.
const MAX_REDIALS: usize = 4;

/// How long a host may take to say who it is before the next is dialled: a mute one must not keep others
/// waiting.
const HELLO_TURN: Duration = Duration::from_millis(200);

/// What came of an address.
pub(super) struct Dialled {
    pub(super) from: Candidate,
    pub(super) result: Result<Link, DialError>,
    pub(super) taken: Duration,
}

impl Dialled {
    /// Dials one address.
    pub(super) async fn by(transport: Transport, expect: Expect, from: Candidate) -> Self {
        let begun = Instant::now();
        let result = dial(&transport, from.addr, &expect).await;
        // One of many is dialled when the one before has said who it is, or hellos would pile up.
        if let (Ok(link), Expect::AnyOf(_)) = (&result, &expect) {
            // Why not, if not, is asked again by whoever needs the hello.
            drop(timeout(HELLO_TURN, link.hello()).await);
        }
        let taken = begun.elapsed();
        Self {
            from,
            result,
            taken,
        }
    }
}

/// Dials an address, and once more beside that while nothing comes of it.
///
/// A handshake that has begun cannot move: where the peer restarts or a NAT forgets the caller in its
/// middle, it is dead, and only another one gets through.
async fn dial(transport: &Transport, addr: SocketAddr, expect: &Expect) -> Result<Link, DialError> {
    let mut dials = FuturesUnordered::new();
    let mut pause = REDIAL;
    loop {
        dials.push(Link::dial(transport, addr, expect));
        tokio::select! {
            Some(dialled) = dials.next() => return dialled,
            () = sleep(pause), if dials.len() < MAX_REDIALS => pause *= 2,
        }
    }
}
