//! The addresses at which agents last proved who they are: a cache that makes the next command
//! quick, and nothing more. The handshake decides each time.

use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf};

use node::discovery::fixed::KnownAddress;
use proto::id::{Fingerprint, NodeName};
use serde::{Deserialize, Serialize};

/// Addresses kept for one agent, the latest first: a laptop has a few places.
const PER_AGENT: usize = 3;

/// A book larger than this is not ours, and is started anew. 100,000 agents need less.
const MAX_BYTES: u64 = 32 << 20;

/// The remembered addresses of one mesh.
#[derive(Debug)]
pub struct AddressBook {
    path: PathBuf,
    mesh: Fingerprint,
    by_name: BTreeMap<NodeName, Vec<SocketAddr>>,
    /// Whether something was noted that is not written.
    is_news: bool,
}

#[derive(Serialize, Deserialize)]
struct File {
    mesh: String,
    addresses: BTreeMap<NodeName, Vec<SocketAddr>>,
}

/// Why an address was not kept.
#[derive(Debug, thiserror::Error)]
pub enum AddressBookError {
    /// The file cannot be written.
    #[error("write the remembered addresses")]
    Write {
        /// The reason, with the path.
        #[source]
        source: io::Error,
    },
}

impl AddressBook {
    /// Reads the book of `mesh`. One that is missing, unreadable or of another mesh is empty: it is
    /// only a cache.
    #[must_use]
    pub fn open(path: PathBuf, mesh: Fingerprint) -> Self {
        let by_name = read(&path)
            .filter(|file| file.mesh == mesh.to_string())
            .map(|file| file.addresses)
            .unwrap_or_default();
        Self {
            path,
            mesh,
            by_name,
            is_news: false,
        }
    }

    /// Returns every remembered address.
    pub fn known(&self) -> impl Iterator<Item = KnownAddress> + '_ {
        self.by_name.iter().flat_map(|(name, addrs)| {
            addrs.iter().map(|addr| KnownAddress {
                name: name.clone(),
                addr: *addr,
            })
        })
    }

    /// Tells whether `addr` is the latest address of `name`.
    #[must_use]
    pub fn contains(&self, name: &NodeName, addr: SocketAddr) -> bool {
        self.by_name.get(name).and_then(|addrs| addrs.first()) == Some(&addr)
    }

    /// Puts `addr` first among the addresses of `name`, and writes the book.
    ///
    /// # Errors
    /// It could not be written.
    pub fn remember(&mut self, name: NodeName, addr: SocketAddr) -> Result<(), AddressBookError> {
        self.note(name, addr);
        self.keep()
    }

    /// Puts `addr` first among the addresses of `name`, to be [kept](Self::keep) with others.
    pub fn note(&mut self, name: NodeName, addr: SocketAddr) {
        if self.contains(&name, addr) {
            return;
        }
        self.is_news = true;
        let addrs = self.by_name.entry(name).or_default();
        addrs.retain(|known| *known != addr);
        addrs.insert(0, addr);
        addrs.truncate(PER_AGENT);
    }

    /// Writes the book, if something was noted.
    ///
    /// # Errors
    /// It could not be written.
    pub fn keep(&mut self) -> Result<(), AddressBookError> {
        if !std::mem::take(&mut self.is_news) {
            return Ok(());
        }
        self.write()
            .map_err(|source| AddressBookError::Write { source })
    }

    /// Writes beside and renames, so that a reader never sees half a book.
    fn write(&self) -> io::Result<()> {
        let file = File {
            mesh: self.mesh.to_string(),
            addresses: self.by_name.clone(),
        };
        let text = serde_json::to_string_pretty(&file).map_err(io::Error::other)?;
        let beside = self
            .path
            .with_extension(format!("{}.tmp", std::process::id()));
        if let Some(folder) = self.path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        fs_err::write(&beside, text)?;
        fs_err::rename(&beside, &self.path)
    }
}

fn read(path: &std::path::Path) -> Option<File> {
    let size = fs_err::metadata(path).ok()?.len();
    if size > MAX_BYTES {
        return None;
    }
    serde_json::from_str(&fs_err::read_to_string(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(of: &[u8]) -> Fingerprint {
        Fingerprint::of_certificate(of)
    }

    #[test]
    fn the_latest_address_comes_first_and_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("addresses.json");
        let name: NodeName = "srv-1".parse().expect("a name");
        let (old, new) = (
            "192.0.2.1:1".parse().unwrap(),
            "192.0.2.2:2".parse().unwrap(),
        );
        let mut book = AddressBook::open(path.clone(), mesh(b"ours"));
        book.remember(name.clone(), old).expect("written");
        book.remember(name.clone(), new).expect("written");

        let again = AddressBook::open(path, mesh(b"ours"));

        let addrs: Vec<SocketAddr> = again.known().map(|known| known.addr).collect();
        assert_eq!(addrs, [new, old]);
        assert!(again.contains(&name, new));
    }

    #[test]
    fn a_book_of_another_mesh_or_of_garbage_is_empty() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("addresses.json");
        let mut book = AddressBook::open(path.clone(), mesh(b"ours"));
        book.remember("srv-1".parse().unwrap(), "192.0.2.1:1".parse().unwrap())
            .expect("written");

        assert_eq!(
            AddressBook::open(path.clone(), mesh(b"theirs"))
                .known()
                .count(),
            0
        );
        fs_err::write(&path, b"{garbage").expect("written");
        assert_eq!(AddressBook::open(path, mesh(b"ours")).known().count(), 0);
    }
}
