//! The two tags of an announcement: is this agent ours, and is it the one that we look for?
//!
//! A tag is SHA-256 over its purpose, the mesh's fingerprint, the announcement's peer id and, for
//! an agent, its name. Who knows the fingerprint can recompute it. Who does not can neither read
//! nor guess a name, nor tell that two announcements are of one mesh, nor recognise an agent after
//! a restart, since the peer id is random each time.
//!
//! A tag is no proof: whoever heard it can repeat it.

use libp2p::{PeerId, multihash::Multihash};
use proto::id::{Fingerprint, NodeName};
use sha2::{Digest as _, Sha256};

/// The multihash code of SHA-256.
const SHA2_256: u64 = 0x12;

/// Purposes, of one length so that none is a prefix of another.
const OF_MESH: &[u8; 28] = b"mesosync mdns tag of mesh  1";
const OF_AGENT: &[u8; 28] = b"mesosync mdns tag of agent 1";

/// A tag, in the form in which a multiaddr carries it as `/certhash/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(pub(super) Multihash<64>);

impl Tag {
    /// Returns the tag that every agent of `mesh` announces under `peer`.
    pub(super) fn of_mesh(mesh: &Fingerprint, peer: &PeerId) -> Self {
        Self::new(OF_MESH, mesh, peer, b"")
    }

    /// Returns the tag that only the agent `name` of `mesh` announces under `peer`.
    pub(super) fn of_agent(mesh: &Fingerprint, peer: &PeerId, name: &NodeName) -> Self {
        Self::new(OF_AGENT, mesh, peer, name.as_str().as_bytes())
    }

    fn new(purpose: &[u8; 28], mesh: &Fingerprint, peer: &PeerId, name: &[u8]) -> Self {
        // Only the name is of free length and without a length before it, and it is last: a
        // multihash states its own.
        let digest = Sha256::new()
            .chain_update(purpose)
            .chain_update(mesh.as_bytes())
            .chain_update(peer.to_bytes())
            .chain_update(name)
            .finalize();

        Self(Multihash::wrap(SHA2_256, &digest).expect("32 bytes fit into 64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_the_mesh_recomputes_both_tags() {
        let (mesh, peer) = (mesh(b"ours"), PeerId::random());

        assert_eq!(Tag::of_mesh(&mesh, &peer), Tag::of_mesh(&mesh, &peer));
        assert_eq!(
            Tag::of_agent(&mesh, &peer, &name("srv-linux-01")),
            Tag::of_agent(&mesh, &peer, &name("srv-linux-01"))
        );
    }

    #[test]
    fn tags_differ_by_mesh_name_purpose_and_start() {
        let (ours, peer) = (mesh(b"ours"), PeerId::random());
        let tags = [
            Tag::of_mesh(&ours, &peer),
            Tag::of_mesh(&ours, &PeerId::random()),
            Tag::of_mesh(&mesh(b"theirs"), &peer),
            Tag::of_agent(&ours, &peer, &name("a")),
            Tag::of_agent(&ours, &peer, &name("b")),
            Tag::of_agent(&ours, &PeerId::random(), &name("a")),
            Tag::of_agent(&mesh(b"theirs"), &peer, &name("a")),
        ];

        for (i, one) in tags.iter().enumerate() {
            assert!(!tags[..i].contains(one), "tag {i} is not alone");
        }
    }

    #[test]
    fn a_tag_is_a_sha2_256_multihash() {
        let tag = Tag::of_mesh(&mesh(b"ours"), &PeerId::random());

        assert_eq!((tag.0.code(), tag.0.size()), (0x12, 32));
    }

    fn mesh(certificate: &[u8]) -> Fingerprint {
        Fingerprint::of_certificate(certificate)
    }

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }
}
