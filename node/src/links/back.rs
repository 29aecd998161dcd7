//! The way back to an agent whose link went silent or broke.
//!
//! A link that was cut for seconds takes seconds more to notice that the path is back: QUIC doubles the
//! pause between its probes. So a new one is dialled at short intervals, and whichever comes first
//! serves: output flows again a round trip after the path does.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pki::Expect;
use proto::id::{NodeId, Role};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Found, Links, Ways};
use crate::{
    close::CloseCode,
    discovery::Mechanism,
    link::{DialError, Link},
};

/// The pause between two dials at first: a part of the 100 ms in which output is to flow again.
const EAGER: Duration = Duration::from_millis(40);

/// For how long dials are that frequent. Two packets each, they cost 60 KiB a second.
const EAGER_FOR: Duration = Duration::from_secs(90);

/// The pause afterwards.
const PATIENT: Duration = Duration::from_secs(1);

/// How long one dial may take: several round trips of the longest path.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// When the agent is looked for elsewhere, too: it may have moved.
const LOOK_UP_AFTER: Duration = Duration::from_millis(500);

/// How long each look-up takes, and the pause between them.
const LOOK_UP_WINDOW: Duration = Duration::from_secs(5);

impl Links {
    /// Finds the way back to the agent at the other end of `lost`, however long that takes. Where links
    /// are kept, one search serves all runs that lost the same one.
    ///
    /// # Errors
    /// It is there and does not let this controller in any more.
    ///
    /// # Cancel safety
    /// Dropping the future ends the search and its handshakes.
    pub async fn back_to(self: Arc<Self>, lost: Arc<Link>) -> Result<Found, DialError> {
        let Some(warm) = &self.warm else {
            return self.search(&lost).await;
        };
        let seat = warm.seat(&lost.peer().name);
        let _looking = seat.looking.lock().await;
        if let Some(other) = seat.other_than(&lost) {
            return Ok(other);
        }
        let found = self.search(&lost).await?;
        warm.put(&seat, found.clone());
        Ok(found)
    }

    /// Takes the news that a run left `link` for another one.
    pub fn let_go(&self, link: &Link) {
        // A kept one may serve others, who see for themselves what becomes of it.
        if self.warm.is_none() {
            link.close(CloseCode::Superfluous);
        }
    }

    async fn search(&self, lost: &Link) -> Result<Found, DialError> {
        let name = &lost.peer().name;
        let mut search = Search {
            ways: Arc::clone(&self.ways),
            expect: Expect::Node(NodeId {
                role: Role::Agent,
                name: name.clone(),
            }),
            last: lost.remote_address(),
            begun: Instant::now(),
            due: Instant::now(),
            dials: JoinSet::new(),
        };
        let elsewhere = async {
            sleep(LOOK_UP_AFTER).await;
            loop {
                if let Ok(found) = self.ways.to(name, LOOK_UP_WINDOW).await {
                    return found;
                }
                sleep(LOOK_UP_WINDOW).await;
            }
        };
        tokio::select! {
            found = search.dial_until_there() => found,
            found = elsewhere => Ok(found),
        }
    }
}

struct Search {
    ways: Arc<Ways>,
    expect: Expect,
    last: SocketAddr,
    begun: Instant,
    due: Instant,
    dials: JoinSet<Option<Result<Link, DialError>>>,
}

impl Search {
    async fn dial_until_there(&mut self) -> Result<Found, DialError> {
        loop {
            tokio::select! {
                () = sleep_until(self.due) => self.dial(),
                Some(dialled) = self.dials.join_next() => match dialled {
                    Ok(Some(Ok(link))) => return Ok(Found {
                        link: Arc::new(link),
                        mechanism: Mechanism::Fixed,
                    }),
                    Ok(Some(Err(error @ DialError::Refused { .. }))) => return Err(error),
                    Ok(Some(Err(error))) => tracing::debug!(%error, "not yet the way back"),
                    Ok(None) => {}
                    Err(broken) => tracing::error!(error = %broken, "a dial broke"),
                },
            }
        }
    }

    /// Begins another dial, unless there are many already: of one search in the time that the last ones
    /// may take, or of all searches together.
    fn dial(&mut self) {
        let is_eager = self.begun.elapsed() < EAGER_FOR;
        self.due = Instant::now() + if is_eager { EAGER } else { PATIENT };
        let (ways, expect, last) = (Arc::clone(&self.ways), self.expect.clone(), self.last);
        let Ok(turn) = Arc::clone(&ways.searches).try_acquire_owned() else {
            return;
        };
        self.dials.spawn(async move {
            let _turn = turn;
            timeout(DIAL_LIMIT, Link::dial(&ways.transport, last, &expect))
                .await
                .ok()
        });
    }
}
