//! From a wish to a run: resolve → dispatch → collect, with room in between for the gate.
//!
//! Owns the order of these steps, and is where every door meets. Knows no command line, HTTP or
//! MCP. Classification, policy, approval and audit take their place between [`Orchestrator::start`]'s
//! two halves; there is no other way to an agent.

mod addresses;
mod copy;
pub mod fleet;
mod run;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use node::{
    capabilities::AskError,
    close::CloseCode,
    discovery::{LookUpError, fixed::KnownAddress},
    link::DialError,
    links::{Found, Links},
    transport::BindError,
};
use pki::{Identity, Revocation};
use proto::{capability::Capabilities, frame::Hello, id::NodeName};
use time::OffsetDateTime;
use tokio::{task::JoinSet, time::timeout};

pub use node::links::{Keep, Lan, Unreachable, WarmLimits, WarmLink};

use crate::told::Told;

pub use self::{
    addresses::{AddressBook, AddressBookError},
    copy::{Copied, Copy, Failed, Folders, News, Skipped, SymbolicLinks, Way},
    run::{AttachRun, Canceller, Command, EndRunError, RunError, Running, Script, StartRun},
};

/// How long an agent may take to describe its host: several times what its own probes may.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(15);

/// The controller's core: one identity, its links, and what it remembers of its agents.
#[derive(Debug)]
pub struct Orchestrator {
    identity: Identity,
    revocation: Revocation,
    links: Arc<Links>,
    /// Agents of which an address was given or remembered.
    known: BTreeSet<NodeName>,
    lan: Lan,
    /// Never locked across an await.
    book: Mutex<AddressBook>,
    keep: Keep,
    /// Links that a look-up made, each for the next that is asked of its agent. Never locked across
    /// an await. Where links are kept anyway, only for a moment: they would be held for ever.
    spare: Mutex<BTreeMap<NodeName, Found>>,
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
        let names = known.iter().map(|known| known.name.clone()).collect();
        let links = Links::bind(&identity, &revocation, known, lan, keep)?;
        Ok(Self {
            identity,
            revocation,
            links: Arc::new(links),
            known: names,
            lan,
            keep,
            book: Mutex::new(book),
            spare: Mutex::default(),
        })
    }

    /// Returns the agents of which an address is known.
    #[must_use]
    pub const fn known(&self) -> &BTreeSet<NodeName> {
        &self.known
    }

    /// Returns whether agents are looked for on the LAN.
    #[must_use]
    pub const fn lan(&self) -> Lan {
        self.lan
    }

    /// Finds the agents that answer within `window`, and keeps the links to them for what is asked
    /// of them next.
    pub async fn discover(&self, window: Duration) -> (BTreeSet<NodeName>, Vec<LookUpError>) {
        let (answers, blind) = self.agents(window).await;
        let names = answers.keys().cloned().collect();
        for (_, answer) in answers {
            self.put_by(answer.found);
        }
        (names, blind)
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

    /// Makes a link to the agent called `name`, for what is asked of it next.
    ///
    /// # Errors
    /// Nobody proved to be it within `window`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the look-up.
    pub async fn link_to(&self, name: &NodeName, window: Duration) -> Result<(), Unreachable> {
        let found = self.linked(name, window).await?;
        self.set_aside(found);
        Ok(())
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
        let found = self.linked(name, window).await;
        let found = found.map_err(|error| DescribeError::Unreachable(Box::new(error)))?;
        let described = timeout(DESCRIBE_LIMIT, node::capabilities::ask(&found.link)).await;
        let described = described.unwrap_or(Err(AskError::Silent));
        let described = described.map_err(|source| DescribeError::Ask {
            name: name.clone(),
            source,
        })?;
        self.note(&found);
        self.put_by(found);
        Ok(described)
    }

    /// Takes the link that is put by, or makes one.
    async fn linked(&self, name: &NodeName, window: Duration) -> Result<Found, Unreachable> {
        let put_by = self.spares().remove(name);
        let now = OffsetDateTime::now_utc();
        let is_good =
            |found: &Found| found.link.closed().is_none() && now <= found.link.trusted_until();
        match put_by.filter(is_good) {
            Some(found) => Ok(found),
            None => self.links.to(name, window).await,
        }
    }

    /// Tells whether a link to `name` is put by.
    #[must_use]
    pub fn is_linked(&self, name: &NodeName) -> bool {
        self.spares().contains_key(name)
    }

    /// Keeps a link for what is asked of its agent next.
    fn put_by(&self, found: Found) {
        match self.keep {
            Keep::Nothing => self.set_aside(found),
            // It is, and the limits of that apply to it.
            Keep::Warm(_) => {}
        }
    }

    fn set_aside(&self, found: Found) {
        let name = found.link.peer().name.clone();
        self.spares().insert(name, found);
    }

    fn spares(&self) -> MutexGuard<'_, BTreeMap<NodeName, Found>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the addresses that were noted and not yet written.
    pub fn keep_addresses(&self) {
        if let Err(error) = self.book().keep() {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the address of an agent could not be remembered");
        }
    }

    /// Closes every link, and waits until the agents know.
    pub async fn shutdown(&self) {
        self.keep_addresses();
        self.links.shutdown().await;
    }

    /// Closes every link because this controller stops: what runs over them is not cancelled.
    pub async fn leave(&self) {
        self.links.close(CloseCode::Stopping).await;
    }

    /// Keeps the address at which an agent proved itself, for the next time.
    fn remember(&self, found: &Found) {
        self.note(found);
        self.keep_addresses();
    }

    /// Notes the address at which an agent proved itself.
    fn note(&self, found: &Found) {
        let name = found.link.peer().name.clone();
        let addr = found.link.remote_address();
        self.links.learn(KnownAddress {
            name: name.clone(),
            addr,
        });
        self.book().note(name, addr);
    }

    /// A book is only a cache: whatever a panic elsewhere left of it will do.
    fn book(&self) -> MutexGuard<'_, AddressBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until an agent that is linked to has introduced itself, which proves that it lets us in.
async fn introduced(found: Found, window: Duration) -> Result<Answer, DialError> {
    let addr = found.link.remote_address();
    let hello = timeout(window, found.link.hello()).await;
    let hello = hello.unwrap_or(Err(DialError::NoHello { addr }))?.clone();
    Ok(Answer { found, hello })
}
