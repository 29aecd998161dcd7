//! The names of a node inside its certificate, written and read here only.
//!
//! One URI, `spiffe://<mesh>/<role>/<name>`, says what the holder may be; one DNS name,
//! `<name>.<role>.mesosync.internal`, says the same in the form that TLS asks a server for. The CA
//! itself bears `spiffe://<mesh>`. Reading accepts exactly what writing produces.

use proto::id::{MeshName, NodeId, Role};

/// The domain of all nodes; `.internal` is reserved for private use and never resolves.
const DOMAIN_SUFFIX: &str = ".mesosync.internal";

const SCHEME: &str = "spiffe://";

pub(crate) fn mesh_uri(mesh: &MeshName) -> String {
    format!("{SCHEME}{mesh}")
}

pub(crate) fn node_uri(mesh: &MeshName, node: &NodeId) -> String {
    format!("{SCHEME}{mesh}/{node}")
}

pub(crate) fn node_dns(node: &NodeId) -> String {
    format!("{}.{}{DOMAIN_SUFFIX}", node.name, node.role)
}

pub(crate) fn role_dns(role: Role) -> String {
    format!("{role}{DOMAIN_SUFFIX}")
}

pub(crate) fn read_mesh_uri(uri: &str) -> Option<MeshName> {
    uri.strip_prefix(SCHEME)?.parse().ok()
}

pub(crate) fn read_node_uri(uri: &str) -> Option<(MeshName, NodeId)> {
    let (mesh, node) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    Some((mesh.parse().ok()?, node.parse().ok()?))
}

pub(crate) fn read_node_dns(dns: &str) -> Option<NodeId> {
    let (name, role) = dns.strip_suffix(DOMAIN_SUFFIX)?.split_once('.')?;
    Some(NodeId {
        role: role.parse().ok()?,
        name: name.parse().ok()?,
    })
}

pub(crate) fn read_role_dns(dns: &str) -> Option<Role> {
    dns.strip_suffix(DOMAIN_SUFFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_of_a_node_are_those_of_the_design() {
        let mesh: MeshName = "home".parse().unwrap();
        let node: NodeId = "agent/srv-linux-01".parse().unwrap();

        assert_eq!(node_uri(&mesh, &node), "spiffe://home/agent/srv-linux-01");
        assert_eq!(node_dns(&node), "srv-linux-01.agent.mesosync.internal");
        assert_eq!(role_dns(Role::Agent), "agent.mesosync.internal");
    }

    proptest! {
        #[test]
        fn only_what_was_written_is_read(text in "spiffe://\\PC{0,40}|spiffe://[a-z/.]{0,30}") {
            if let Some((mesh, node)) = read_node_uri(&text) {
                prop_assert_eq!(node_uri(&mesh, &node), text);
            }
        }

        #[test]
        fn only_a_dns_name_that_was_written_is_read(
            text in "\\PC{0,40}|[a-z.]{0,9}\\.(agent|controller)\\.mesosync\\.internal"
        ) {
            if let Some(node) = read_node_dns(&text) {
                prop_assert_eq!(node_dns(&node), text);
            }
        }
    }
}
