//! Who a node is: its role and its name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::label::{NodeName, ParseLabelError};

/// What a certificate allows its holder to be. Exactly one per certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs what a controller of its mesh sends.
    Agent,
    /// Decides what runs where; the only role that agents obey.
    Controller,
    /// Introduces controllers to agents behind NAT and relays what it cannot read.
    Rendezvous,
}

impl Role {
    /// Returns the word for this role in certificates, files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Controller => "controller",
            Self::Rendezvous => "rendezvous",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        [Self::Agent, Self::Controller, Self::Rendezvous]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(ParseRoleError)
    }
}

/// A text that is none of the three roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role: expected agent, controller or rendezvous")]
pub struct ParseRoleError;

/// A node of a mesh: role and name, written `agent/srv-linux-01`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId {
    /// What the node may be.
    pub role: Role,
    /// What it is called among the nodes of its role.
    pub name: NodeName,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.name)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(text: &str) -> Result<Self, ParseNodeIdError> {
        let (role, name) = text.split_once('/').ok_or(ParseNodeIdError::Form)?;
        Ok(Self {
            role: role.parse()?,
            name: name.parse()?,
        })
    }
}

/// A text that is not `role/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNodeIdError {
    /// There is no slash.
    #[error("not a node: expected role/name, such as agent/srv-linux-01")]
    Form,
    /// The part before the slash is no role.
    #[error(transparent)]
    Role(#[from] ParseRoleError),
    /// The part behind the slash is no name.
    #[error(transparent)]
    Name(#[from] ParseLabelError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_reads_what_it_shows() {
        for text in ["agent/srv-linux-01", "controller/alice", "rendezvous/hub"] {
            assert_eq!(
                text.parse::<NodeId>().map(|id| id.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn node_id_refuses_other_roles_and_forms() {
        for text in ["agent", "Agent/a", "root/a", "agent/", "agent/a/b", "/a"] {
            assert!(text.parse::<NodeId>().is_err(), "{text} was taken");
        }
    }
}
