//! One handshake of a look-up, and what came of it.

use std::time::Duration;

use pki::Expect;
use tokio::time::Instant;

use crate::{
    discovery::Candidate,
    link::{DialError, Link},
    transport::Transport,
};

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
        let result = Link::dial(&transport, from.addr, &expect).await;
        // One of many is dialled when the one before has said who it is, or hellos would pile up.
        if let (Ok(link), Expect::AnyOf(_)) = (&result, &expect) {
            // Why not, if not, is asked again by whoever needs the hello.
            drop(link.hello().await);
        }
        let taken = begun.elapsed();
        Self {
            from,
            result,
            taken,
        }
    }
}
