//! The document as a whole: its bound, its bytes, and what a decoder makes of other bytes.

use proptest::prelude::*;

use super::*;

/// [`example`] as it travels. It changes only together with the protocol's version, since other
/// readers hold these bytes too.
const GOLDEN: &[u8] =
    b"\x050.1.0\x80\xd0\xea\xb6\xb73\x01\x00\x01\x0cUbuntu 24.04\x01\x06ubuntu\x01\x06debian\
    \x01\x0524.04\x01\x056.8.0\x01\x06x86_64\x01\x03srv\x01\x01\x04bash\t/bin/bash\x01\x035.\
    2\x01\x01\x07apt-get\x0c/bin/apt-get\x00\x01\x00\x01\x00\x00\x01\x02\x04root\x01\x00\x01\
    \x01\x01/\x04ext4\x80\x80\x80\x80\x80 \x80\x80\x80\x80\x04\x00\x01\x01\x05/root\x00\x01\
    \x01\x07\x04zone\x01\x00\x02\t\x01\x04/nfs\x00\xd0\x0f\x07\x00\x03";

#[test]
fn the_document_keeps_its_bytes() {
    let bytes = postcard::to_allocvec(&example()).unwrap();

    assert_eq!(
        bytes.escape_ascii().to_string(),
        GOLDEN.escape_ascii().to_string()
    );
    assert_eq!(postcard::from_bytes(GOLDEN), Ok(example()));
}

#[test]
fn each_variant_keeps_its_number_on_the_wire() {
    use {Container as C, DomainKind as D, InitSystem as I, VirtualMachine as V};
    let other = || Text::cut("");

    numbered(&[
        OsFamily::Linux,
        OsFamily::Windows,
        OsFamily::MacOs,
        OsFamily::Other,
    ]);
    numbered(&[
        I::Systemd,
        I::OpenRc,
        I::Runit,
        I::S6,
        I::Dinit,
        I::SysV,
        I::Launchd,
        I::WindowsServices,
        I::Other(other()),
    ]);
    numbered(&[
        D::ActiveDirectory,
        D::EntraId,
        D::FreeIpa,
        D::Ldap,
        D::Other(other()),
    ]);
    numbered(&[
        PrivilegeLevel::User,
        PrivilegeLevel::Administrator,
        PrivilegeLevel::Root,
    ]);
    numbered(&[
        C::Docker,
        C::Podman,
        C::Kubernetes,
        C::Lxc,
        C::Nspawn,
        C::Wsl,
        C::Windows,
        C::Other(other()),
    ]);
    numbered(&[
        V::Kvm,
        V::Vmware,
        V::VirtualBox,
        V::HyperV,
        V::Xen,
        V::Parallels,
        V::Apple,
        V::AmazonEc2,
        V::GoogleCompute,
        V::Other(other()),
    ]);
    numbered(&[
        WorkspaceKind::Home,
        WorkspaceKind::Current,
        WorkspaceKind::Checkout,
    ]);
    numbered(&[
        FailureReason::TimedOut { after_ms: 0 },
        FailureReason::Failed { why: Text::cut("") },
        FailureReason::LeftOut { count: 0 },
        FailureReason::Unsupported,
    ]);
}

#[test]
fn only_a_failure_of_the_whole_answers_why_a_capability_is_missing() {
    let document = example();

    assert_eq!(
        document.failure(Capability::Domain),
        Some(&FailureReason::Unsupported)
    );
    assert_eq!(document.failure(Capability::Mounts), None);
}

#[test]
fn the_largest_document_keeps_its_bound() {
    let largest = postcard::to_allocvec(&largest()).unwrap();

    assert!(largest.len() <= Capabilities::MAX_LEN, "{}", largest.len());
    assert!(
        largest.len() > Capabilities::MAX_LEN * 3 / 4,
        "the bound is too wide for {}",
        largest.len()
    );
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
        let _ = postcard::from_bytes::<Capabilities>(&bytes);
    }

    #[test]
    fn a_damaged_document_is_refused_or_still_within_its_bound(
        at in 0..GOLDEN.len(),
        byte in any::<u8>(),
    ) {
        let mut bytes = GOLDEN.to_vec();
        bytes[at] = byte;

        if let Ok(document) = postcard::from_bytes::<Capabilities>(&bytes) {
            let again = postcard::to_allocvec(&document).unwrap();
            prop_assert!(again.len() <= Capabilities::MAX_LEN);
        }
    }
}

/// Checks that `variants` travel as 0, 1, 2 … and that no further one is read.
fn numbered<T: Serialize + for<'de> Deserialize<'de>>(variants: &[T]) {
    for (number, variant) in (0_u8..).zip(variants) {
        let bytes = postcard::to_allocvec(variant).unwrap();
        assert_eq!(bytes[0], number);
    }
    let next = u8::try_from(variants.len()).unwrap();
    assert!(postcard::from_bytes::<T>(&[next, 0, 0]).is_err());
}

/// A small document in which every field but the domain has a value.
fn example() -> Capabilities {
    let program = |name: &str, path: &str, version: Option<&str>| Program {
        name: Text::cut(name),
        path: Text::cut(path),
        version: version.map(Text::cut),
    };
    Capabilities {
        agent_version: Text::cut("0.1.0"),
        probed_at_ms: 1_767_225_600_000,
        os: Some(Os {
            family: OsFamily::Linux,
            title: Some(Text::cut("Ubuntu 24.04")),
            distribution: Some(Text::cut("ubuntu")),
            resembles: List::cut(vec![Text::cut("debian")]).0,
            version: Some(Text::cut("24.04")),
            kernel: Some(Text::cut("6.8.0")),
        }),
        architecture: Some(Text::cut("x86_64")),
        hostname: Some(Text::cut("srv")),
        shells: Some(List::cut(vec![program("bash", "/bin/bash", Some("5.2"))]).0),
        package_managers: Some(List::cut(vec![program("apt-get", "/bin/apt-get", None)]).0),
        init: Some(InitSystem::Systemd),
        tools: Some(List::default()),
        domain: None,
        privilege: Some(Privilege {
            level: PrivilegeLevel::Root,
            user: Text::cut("root"),
            uid: Some(0),
        }),
        mounts: Some(
            List::cut(vec![Mount {
                path: Text::cut("/"),
                file_system: Text::cut("ext4"),
                size_bytes: 1 << 40,
                free_bytes: 1 << 30,
                read_only: false,
            }])
            .0,
        ),
        workspaces: Some(
            List::cut(vec![Workspace {
                path: Text::cut("/root"),
                kind: WorkspaceKind::Home,
            }])
            .0,
        ),
        enclosure: Some(Enclosure {
            container: Some(Container::Other(Text::cut("zone"))),
            virtual_machine: Some(VirtualMachine::Kvm),
        }),
        failures: List::cut(vec![
            ProbeFailure {
                capability: Capability::Mounts,
                part: Some(Text::cut("/nfs")),
                reason: FailureReason::TimedOut { after_ms: 2000 },
            },
            ProbeFailure {
                capability: Capability::Domain,
                part: None,
                reason: FailureReason::Unsupported,
            },
        ])
        .0,
    }
}

fn text<const MAX: usize>() -> Text<MAX> {
    Text::cut(&"x".repeat(MAX))
}

fn full<T: Clone, const MAX: usize>(item: T) -> List<T, MAX> {
    List::cut(vec![item; MAX]).0
}

fn largest() -> Capabilities {
    let program = Program {
        name: text(),
        path: text(),
        version: Some(text()),
    };
    Capabilities {
        agent_version: text(),
        probed_at_ms: u64::MAX,
        os: Some(Os {
            family: OsFamily::Other,
            title: Some(text()),
            distribution: Some(text()),
            resembles: full(text()),
            version: Some(text()),
            kernel: Some(text()),
        }),
        architecture: Some(text()),
        hostname: Some(text()),
        shells: Some(full(program.clone())),
        package_managers: Some(full(program.clone())),
        init: Some(InitSystem::Other(text())),
        tools: Some(full(program)),
        domain: Some(Domain {
            name: text(),
            kind: DomainKind::Other(text()),
        }),
        privilege: Some(Privilege {
            level: PrivilegeLevel::Root,
            user: text(),
            uid: Some(u32::MAX),
        }),
        mounts: Some(full(Mount {
            path: text(),
            file_system: text(),
            size_bytes: u64::MAX,
            free_bytes: u64::MAX,
            read_only: true,
        })),
        workspaces: Some(full(Workspace {
            path: text(),
            kind: WorkspaceKind::Checkout,
        })),
        enclosure: Some(Enclosure {
            container: Some(Container::Other(text())),
            virtual_machine: Some(VirtualMachine::Other(text())),
        }),
        failures: full(ProbeFailure {
            capability: Capability::Enclosure,
            part: Some(text()),
            reason: FailureReason::Failed { why: text() },
        }),
    }
}
