//! From a wish to a run: resolve → dispatch → collect, with room in between for the gate.
//!
//! Owns the order of these steps, and is where every door meets. Knows no command line, HTTP or
//! MCP. Classification, policy, approval and audit take their place between [`Orchestrator::start`]'s
//! two halves; there is no other way to an agent.

mod addresses;
mod run;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use node::{
    capabilities::AskError,
    close::CloseCode,
    discovery::{LookUpError, Mechanism, fixed::KnownAddress},
    link::DialError,
    links::{Found, Links},
    transport::BindError,
};
use pki::{Identity, Revocation};
use proto::{capability::Capabilities, frame::Hello, id::NodeName};
use tokio::{task::JoinSet, time::timeout};

pub use node::links::{Keep, Lan, Unreachable, WarmLimits, WarmLink};

use crate::told::Told;

pub use self::{
    addresses::{AddressBook, AddressBookError},
    run::{Canceller, Command, RunError, Running, Script, StartRun},
};

/// How long an agent may take to describe its host: several times what its own probes may.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(15);

/// The controller's core: one identity, its links, and what it remembers of its agents.
#[derive(Debug)]
pub struct Orchestrator {
    identity: Identity,
    revocation: Revocation,
    links: Links,
    /// Never locked across an await.
    book: Mutex<AddressBook>,
}

/// What an orchestrator needs.
#[derive(Debug)]
pub struct Setup {
    /// Who this controller is.
    pub identity: Identity,
    /// Which certificates are no longer good.
    pub revocation: Revocation,
    /// Addresses that the operator gave, the likeliest first.
    pub known: Vec<KnownAddress>,
    /// Whether agents are looked for on the LAN.
    pub lan: Lan,
    /// Where addresses are remembered.
    pub address_book: PathBuf,
    /// What becomes of links after their use.
    pub keep: Keep,
}

/// An agent that answered.
#[derive(Debug)]
pub struct Answer {
    /// Who was asked.
    pub found: Found,
    /// What it said of itself.
    pub hello: Hello,
}

/// An agent whose capabilities are not known.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// It was not found.
    #[error(transparent)]
    Unreachable(Box<Unreachable>),
    /// It was found and did not answer.
    #[error("ask {name} for its capabilities")]
    Ask {
        /// Who.
        name: NodeName,
        /// Why not.
        #[source]
        source: AskError,
    },
    /// The daemon says so.
    #[error(transparent)]
    Told(Box<Told>),
}

impl Orchestrator {
    /// Binds the socket to dial from and reads the remembered addresses.
    ///
    /// # Errors
    /// The socket or TLS could not be set up.
    pub fn bind(setup: Setup) -> Result<Self, BindError> {
        let Setup {
            identity,
            revocation,
            mut known,
            lan,
            address_book,
            keep,
        } = setup;
        let book = AddressBook::open(address_book, identity.fingerprint());
        known.extend(book.known());
        let links = Links::bind(&identity, &revocation, known, lan, keep)?;
        Ok(Self {
            identity,
            revocation,
            links,
            book: Mutex::new(book),
        })
    }

    /// Lists the agents that answer within `window`.
    pub async fn agents(&self, window: Duration) -> (BTreeMap<NodeName, Answer>, Vec<LookUpError>) {
        let (found, blind) = self.links.all(window).await;
        let mut introductions = JoinSet::new();
        for (name, found) in found {
            introductions.spawn(async move { (name, introduced(found, window).await) });
        }
        let mut answers = BTreeMap::new();
        while let Some(ended) = introductions.join_next().await {
            match ended {
                Ok((name, Ok(answer))) => drop(answers.insert(name, answer)),
                Ok((name, Err(error))) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(agent = %name, error, "an agent answered, and then not as it should");
                }
                Err(broken) => tracing::error!(error = %broken, "an introduction broke"),
            }
        }
        (answers, blind)
    }

    /// Returns who this controller is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns which certificates it holds for revoked.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// Takes note of addresses at which agents may answer.
    pub fn learn(&self, addresses: impl IntoIterator<Item = KnownAddress>) {
        addresses.into_iter().for_each(|one| self.links.learn(one));
    }

    /// Returns the links that are kept up.
    #[must_use]
    pub fn kept(&self) -> Vec<WarmLink> {
        self.links.kept()
    }

    /// Lets go of links that have been idle for too long.
    pub fn sweep(&self) {
        self.links.sweep();
    }

    /// Finds one agent and links to it, without asking anything of it.
    ///
    /// # Errors
    /// Nobody proved to be it within `window`.
    pub async fn find(&self, name: &NodeName, window: Duration) -> Result<Found, Unreachable> {
        self.links.to(name, window).await
    }

    /// Asks one agent what its host is and has.
    ///
    /// # Errors
    /// It was not found, or did not answer.
    pub async fn describe(
        &self,
        name: &NodeName,
        window: Duration,
    ) -> Result<Capabilities, DescribeError> {
        let found = self.links.to(name, window).await;
        let found = found.map_err(|error| DescribeError::Unreachable(Box::new(error)))?;
        let described = timeout(DESCRIBE_LIMIT, node::capabilities::ask(&found.link)).await;
        let described = described.unwrap_or(Err(AskError::Silent));
        let described = described.map_err(|source| DescribeError::Ask {
            name: name.clone(),
            source,
        })?;
        self.remember(&found);
        Ok(described)
    }

    /// Closes every link, and waits until the agents know.
    pub async fn shutdown(&self) {
        self.links.shutdown().await;
    }

    /// Closes every link because this controller stops: what runs over them is not cancelled.
    pub async fn leave(&self) {
        self.links.close(CloseCode::Stopping).await;
    }

    /// Keeps the address at which an agent proved itself, for the next time.
    fn remember(&self, found: &Found) {
        let name = &found.link.peer().name;
        let addr = found.link.remote_address();
        // A book is only a cache: whatever a panic elsewhere left of it will do.
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if found.mechanism == Mechanism::Fixed && book.contains(name, addr) {
            return;
        }
        let name_at = KnownAddress {
            name: name.clone(),
            addr,
        };
        self.links.learn(name_at);
        if let Err(error) = book.remember(name.clone(), addr) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the address of an agent could not be remembered");
        }
    }
}

/// Waits until an agent that is linked to has introduced itself, which proves that it lets us in.
async fn introduced(found: Found, window: Duration) -> Result<Answer, DialError> {
    let addr = found.link.remote_address();
    let hello = timeout(window, found.link.hello()).await;
    let hello = hello.unwrap_or(Err(DialError::NoHello { addr }))?.clone();
    Ok(Answer { found, hello })
}
