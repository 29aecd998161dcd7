//! Whom a dialler expects at the other end, and the server name that carries this to the verifier.
//!
//! One TLS configuration serves every dial, since the expectation travels in the `ServerName` that
//! is given at connect. It never goes on the wire: SNI is off.

use proto::id::{NodeId, Role};

use crate::{VerifyError, names};

/// Whom a dialler expects at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// This node and no other.
    Node(NodeId),
    /// Any node of this role; its name is read from its certificate.
    AnyOf(Role),
}

impl Expect {
    /// Returns the server name to connect with, such as `srv-linux-01.agent.mesosync.internal`.
    #[must_use]
    pub fn server_name(&self) -> String {
        match self {
            Self::Node(node) => names::node_dns(node),
            Self::AnyOf(role) => names::role_dns(*role),
        }
    }

    /// Reads a server name back; `None` if no expectation is written like that.
    pub(crate) fn from_server_name(name: &str) -> Option<Self> {
        names::read_role_dns(name)
            .map(Self::AnyOf)
            .or_else(|| names::read_node_dns(name).map(Self::Node))
    }

    /// Decides whether `presented`, a verified peer, is the one that was asked for.
    pub(crate) fn check(&self, presented: &NodeId) -> Result<(), VerifyError> {
        let role = match self {
            Self::Node(node) => node.role,
            Self::AnyOf(role) => *role,
        };
        if presented.role != role {
            return Err(VerifyError::WrongRole {
                accepted: vec![role],
                presented: presented.clone(),
            });
        }
        match self {
            Self::Node(expected) if expected != presented => Err(VerifyError::WrongName {
                expected: expected.clone(),
                presented: presented.clone(),
            }),
            Self::Node(_) | Self::AnyOf(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_survives_the_way_through_a_server_name() {
        for expect in [
            Expect::Node("agent/srv-linux-01".parse().unwrap()),
            Expect::Node("rendezvous/agent".parse().unwrap()),
            Expect::AnyOf(Role::Agent),
            Expect::AnyOf(Role::Controller),
        ] {
            assert_eq!(
                Expect::from_server_name(&expect.server_name()),
                Some(expect)
            );
        }
    }

    #[test]
    fn other_server_names_carry_no_expectation() {
        for name in [
            "",
            "localhost",
            "a.b.agent.mesosync.internal",
            ".agent.mesosync.internal",
            "agent.mesosync.internal.",
        ] {
            assert_eq!(Expect::from_server_name(name), None, "{name}");
        }
    }
}
