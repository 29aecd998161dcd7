//! Addresses known beforehand: written into an identity file, given by a flag, or remembered.
//!
//! Owns nothing but the list it was given: where the addresses come from, and forgetting those
//! that no longer answer, is the caller's business. Yields them at once and ends.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use libp2p::futures::future::{BoxFuture, FutureExt as _};
use proto::id::NodeName;
use tokio::sync::mpsc;

use super::{Candidate, Discovery, LookUpError, Mechanism, Wanted};

/// Where an agent answered before, or where somebody says that it will.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnownAddress {
    /// The agent.
    pub name: NodeName,
    /// Where to dial it.
    pub addr: SocketAddr,
}

/// The mechanism that only repeats what it was told; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    known: Arc<Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<KnownAddress>,
    /// Where the addresses of each agent stand: one of thousands is looked for thousands of times.
    by_name: HashMap<NodeName, Vec<usize>>,
}

impl Fixed {
    /// Takes the known addresses, the likeliest first.
    #[must_use]
    pub fn new(addresses: Vec<KnownAddress>) -> Self {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for (index, known) in addresses.iter().enumerate() {
            by_name.entry(known.name.clone()).or_default().push(index);
        }
        Self {
            known: Arc::new(Known { addresses, by_name }),
        }
    }

    /// Returns the addresses at which `wanted` may answer, the likeliest first.
    fn of<'a>(&'a self, wanted: &Wanted) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let Known { addresses, by_name } = &*self.known;
        let (all, some) = match wanted {
            Wanted::AllAgents => (&addresses[..], None),
            Wanted::Agent(name) => (&[][..], by_name.get(name)),
        };
        let some = some.into_iter().flatten().map(|index| &addresses[*index]);
        all.iter().chain(some).map(|known| known.addr)
    }
}

impl Discovery for Fixed {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Fixed
    }

    fn look_up<'a>(
        &'a self,
        wanted: &'a Wanted,
        found: mpsc::Sender<Candidate>,
    ) -> BoxFuture<'a, Result<(), LookUpError>> {
        async move {
            for addr in self.of(wanted) {
                let candidate = Candidate {
                    addr,
                    mechanism: Mechanism::Fixed,
                };
                if found.send(candidate).await.is_err() {
                    break; // nobody wants more
                }
            }
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_agent_is_looked_up_at_its_own_addresses_in_order() {
        let fixed = Fixed::new(vec![
            known("alpha", "192.0.2.7:4433"),
            known("beta", "192.0.2.8:4433"),
            known("alpha", "192.0.2.1:4433"),
        ]);

        let found = collect(&fixed, &Wanted::Agent("alpha".parse().unwrap())).await;

        assert_eq!(found, ["192.0.2.7:4433", "192.0.2.1:4433"]);
    }

    #[tokio::test]
    async fn all_agents_are_all_known_addresses() {
        let fixed = Fixed::new(vec![
            known("alpha", "192.0.2.7:4433"),
            known("beta", "[2001:db8::8]:4433"),
        ]);

        let found = collect(&fixed, &Wanted::AllAgents).await;

        assert_eq!(found, ["192.0.2.7:4433", "[2001:db8::8]:4433"]);
    }

    #[tokio::test]
    async fn a_look_up_ends_when_nobody_listens_any_more() {
        let fixed = Fixed::new(vec![known("alpha", "192.0.2.7:4433"); 3]);
        let (found, receiver) = mpsc::channel(1);
        drop(receiver);

        let ended = fixed.look_up(&Wanted::AllAgents, found).await;

        assert!(ended.is_ok());
    }

    fn known(name: &str, addr: &str) -> KnownAddress {
        KnownAddress {
            name: name.parse().unwrap(),
            addr: addr.parse().unwrap(),
        }
    }

    async fn collect(fixed: &Fixed, wanted: &Wanted) -> Vec<String> {
        let (found, mut candidates) = mpsc::channel(16);
        fixed.look_up(wanted, found).await.unwrap();

        let mut addrs = Vec::new();
        while let Some(candidate) = candidates.recv().await {
            assert_eq!(candidate.mechanism, Mechanism::Fixed);
            addrs.push(candidate.addr.to_string());
        }
        addrs
    }
}
