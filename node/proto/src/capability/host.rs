//! How a host is run: its service manager, its directory, whom the agent is, what is around it.
//!
//! The enums here travel by position: append only, never reorder. A reader refuses a position that
//! it does not know, so within one protocol version an agent sends what has no variant yet as
//! `Other`, with its name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::Text;

macro_rules! shown {
    ($kind:ident { $($variant:ident => $word:literal,)+ }) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.pad($word),)+
                    Self::Other(name) => name.fmt(f),
                }
            }
        }
    };
}

/// What starts and supervises services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitSystem {
    /// systemd.
    Systemd,
    /// OpenRC, of Alpine and Gentoo.
    OpenRc,
    /// runit, of Void.
    Runit,
    /// s6.
    S6,
    /// dinit, of Chimera.
    Dinit,
    /// Scripts of System V.
    SysV,
    /// launchd, of macOS.
    Launchd,
    /// The service control manager of Windows.
    WindowsServices,
    /// Another first process, by its name; in a container, often the application itself.
    Other(Text<64>),
}

shown!(InitSystem {
    Systemd => "systemd",
    OpenRc => "OpenRC",
    Runit => "runit",
    S6 => "s6",
    Dinit => "dinit",
    SysV => "System V init",
    Launchd => "launchd",
    WindowsServices => "Windows services",
});

/// The directory that a host has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The domain, realm or tenant.
    pub name: Text<256>,
    /// What kind of directory it is.
    pub kind: DomainKind,
}

/// A kind of directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainKind {
    /// Active Directory, or Samba in its guise.
    ActiveDirectory,
    /// Microsoft Entra ID, once Azure AD.
    EntraId,
    /// FreeIPA.
    FreeIpa,
    /// Plain LDAP.
    Ldap,
    /// Another, by its name.
    Other(Text<64>),
}

shown!(DomainKind {
    ActiveDirectory => "Active Directory",
    EntraId => "Entra ID",
    FreeIpa => "FreeIPA",
    Ldap => "LDAP",
});

/// Whom the agent is, and therefore whom runs are executed as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privilege {
    /// What the user may do.
    pub level: PrivilegeLevel,
    /// The user's name.
    pub user: Text<256>,
    /// The effective user id, where there is one.
    pub uid: Option<u32>,
}

/// What a user may do on a host, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivilegeLevel {
    /// What any user may.
    User,
    /// An elevated member of the administrators, or the system itself, on Windows.
    Administrator,
    /// User id 0. In a container that may be less than it sounds.
    Root,
}

/// What stands between the agent and the hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// The container that the agent is in.
    pub container: Option<Container>,
    /// The virtual machine that the agent is in.
    pub virtual_machine: Option<VirtualMachine>,
}

/// A kind of container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// A pod of Kubernetes.
    Kubernetes,
    /// LXC, LXD or Incus.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// The Windows Subsystem for Linux.
    Wsl,
    /// A container of Windows.
    Windows,
    /// Another, by its name.
    Other(Text<64>),
}

shown!(Container {
    Docker => "Docker",
    Podman => "Podman",
    Kubernetes => "Kubernetes",
    Lxc => "LXC",
    Nspawn => "systemd-nspawn",
    Wsl => "WSL",
    Windows => "Windows container",
});

/// A kind of virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VirtualMachine {
    /// KVM or QEMU.
    Kvm,
    /// VMware.
    Vmware,
    /// VirtualBox.
    VirtualBox,
    /// Hyper-V, also as Azure uses it.
    HyperV,
    /// Xen.
    Xen,
    /// Parallels.
    Parallels,
    /// Apple's virtualization framework.
    Apple,
    /// An instance of Amazon EC2.
    AmazonEc2,
    /// An instance of Google Compute Engine.
    GoogleCompute,
    /// Another, by what it calls itself, or `unknown`.
    Other(Text<64>),
}

shown!(VirtualMachine {
    Kvm => "KVM",
    Vmware => "VMware",
    VirtualBox => "VirtualBox",
    HyperV => "Hyper-V",
    Xen => "Xen",
    Parallels => "Parallels",
    Apple => "Apple virtualization",
    AmazonEc2 => "Amazon EC2",
    GoogleCompute => "Google Compute Engine",
});
