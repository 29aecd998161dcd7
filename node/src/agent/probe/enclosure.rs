//! Probe: the container or virtual machine around the agent.
//!
//! Each judgement takes the marks that were gathered, so that it can be tested away from the host
//! that leaves them.

use std::{env, path::Path};

use proto::{
    capability::{Container, Enclosure, OsFamily, VirtualMachine},
    text::Text,
};

use super::{
    file,
    found::{Found, ProbeError},
    registry,
    scope::Scope,
};

const BIOS: &str = r"HKLM\HARDWARE\DESCRIPTION\System\BIOS";
const CONTROL: &str = r"HKLM\SYSTEM\CurrentControlSet\Control";

/// Returns what is around the agent; nothing in either field on bare metal.
pub(super) async fn probe(scope: &Scope) -> Result<Found<Enclosure>, ProbeError> {
    let enclosure = match OsFamily::HERE {
        OsFamily::Linux => {
            let marks = scope.blocking.look("enclosure", Marks::gather).await?;
            Enclosure {
                container: container(&marks),
                virtual_machine: virtual_machine(&marks),
            }
        }
        OsFamily::MacOs => macos(scope).await?,
        OsFamily::Windows => windows(scope).await,
        OsFamily::Other => return Err(ProbeError::Unsupported),
    };
    Ok(Found::whole(enclosure))
}

/// What Linux shows of what is around it. What may not be read is empty.
#[derive(Debug, Default)]
struct Marks {
    /// `/.dockerenv` exists, and the root is a container's.
    dockerenv: bool,
    containerenv: bool,
    in_pod: bool,
    /// `container=` of the first process, as systemd hands it on, or in its environment.
    announced: String,
    /// The control groups of the first process.
    cgroup: String,
    kernel: String,
    /// Vendor and product of the board, as the firmware names them.
    board: String,
    cpuinfo: String,
    hypervisor: String,
}

impl Marks {
    fn gather() -> Self {
        let exists = |path: &str| Path::new(path).exists();
        let hint = |path: &str| file::hint(path).unwrap_or_default();
        let board: Vec<String> = ["sys_vendor", "product_name", "board_vendor"]
            .iter()
            .map(|field| {
                hint(&format!("/sys/class/dmi/id/{field}"))
                    .trim()
                    .to_owned()
            })
            .collect();
        Self {
            dockerenv: exists("/.dockerenv") && !on_a_disk(&hint("/proc/self/mounts")),
            containerenv: exists("/run/.containerenv"),
            in_pod: env::var_os("KUBERNETES_SERVICE_HOST").is_some()
                || exists("/var/run/secrets/kubernetes.io"),
            announced: file::hint("/run/systemd/container")
                .or_else(|| announced(&hint("/proc/1/environ")))
                .unwrap_or_default(),
            cgroup: hint("/proc/1/cgroup"),
            kernel: hint("/proc/sys/kernel/osrelease"),
            board: board.join("\n"),
            cpuinfo: hint("/proc/cpuinfo"),
            hypervisor: file::hint("/sys/hypervisor/type")
                .or_else(|| file::hint("/proc/device-tree/hypervisor/compatible"))
                .unwrap_or_default(),
        }
    }
}

/// Tells whether the root is a plain disk's file system: then the host is a machine that was made
/// from a container's image, and the image's `/.dockerenv` says nothing.
fn on_a_disk(mounts: &str) -> bool {
    const DISKS: [&str; 4] = ["/dev/sd", "/dev/vd", "/dev/nvme", "/dev/xvd"];
    mounts
        .lines()
        .filter(|line| line.split(' ').nth(1) == Some("/"))
        .any(|line| DISKS.iter().any(|disk| line.starts_with(disk)))
}

fn announced(environ: &str) -> Option<String> {
    environ
        .split('\0')
        .find_map(|entry| entry.strip_prefix("container="))
        .map(str::to_owned)
}

/// The innermost layer wins: a pod is made of Docker's or others' containers.
fn container(marks: &Marks) -> Option<Container> {
    let in_cgroup = |word: &str| marks.cgroup.contains(word);
    if marks.in_pod || in_cgroup("kubepods") {
        return Some(Container::Kubernetes);
    }
    match marks.announced.trim() {
        "" => {}
        "docker" => return Some(Container::Docker),
        "podman" => return Some(Container::Podman),
        "lxc" | "lxc-libvirt" => return Some(Container::Lxc),
        "systemd-nspawn" => return Some(Container::Nspawn),
        "wsl" => return Some(Container::Wsl),
        other => return Some(Container::Other(Text::cut(other))),
    }
    if marks.containerenv || in_cgroup("/libpod") {
        return Some(Container::Podman);
    }
    if marks.dockerenv || in_cgroup("/docker") {
        return Some(Container::Docker);
    }
    if in_cgroup("/lxc") {
        return Some(Container::Lxc);
    }
    marks
        .kernel
        .to_ascii_lowercase()
        .contains("microsoft")
        .then_some(Container::Wsl)
}

/// The processor's flag decides whether there is a hypervisor; the board names which. Elsewhere
/// than on x86 there is no flag, and the board decides alone.
fn virtual_machine(marks: &Marks) -> Option<VirtualMachine> {
    let mut flags = marks
        .cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"));
    let flagged = flags
        .next()
        .map(|line| line.split_whitespace().any(|flag| flag == "hypervisor"));
    if flagged == Some(false) {
        return None;
    }
    let unknown = || flagged.map(|_| VirtualMachine::Other(Text::cut("unknown")));
    by_name(&marks.board)
        .or_else(|| by_name(&marks.hypervisor))
        .or_else(unknown)
}

/// Knows a hypervisor by what it calls its board or itself.
fn by_name(names: &str) -> Option<VirtualMachine> {
    use VirtualMachine as V;
    let known = [
        ("VMware", V::Vmware),
        ("VirtualBox", V::VirtualBox),
        ("innotek", V::VirtualBox),
        ("Parallels", V::Parallels),
        ("Google Compute Engine", V::GoogleCompute),
        ("Amazon EC2", V::AmazonEc2),
        ("Apple", V::Apple),
        ("Virtual Machine", V::HyperV),
        ("Hyper-V", V::HyperV),
        ("Xen", V::Xen),
        ("xen", V::Xen),
        ("KVM", V::Kvm),
        ("kvm", V::Kvm),
        ("QEMU", V::Kvm),
        ("OpenStack", V::Kvm),
        ("DigitalOcean", V::Kvm),
        ("Hetzner", V::Kvm),
        ("Bochs", V::Other(Text::cut("Bochs"))),
        ("Firecracker", V::Other(Text::cut("Firecracker"))),
    ];
    known
        .into_iter()
        .find(|(name, _)| names.contains(name))
        .map(|(_, kind)| kind)
}

async fn macos(scope: &Scope) -> Result<Enclosure, ProbeError> {
    let said = scope
        .ask(
            "/usr/sbin/sysctl",
            &["-n", "kern.hv_vmm_present", "hw.model"],
        )
        .await?;
    let mut lines = said.stdout.lines();
    let inside = lines.next().is_some_and(|present| present.trim() == "1");
    let model = lines.next().unwrap_or_default();
    Ok(Enclosure {
        container: None,
        // A guest of Apple's own framework calls itself VirtualMac.
        virtual_machine: inside.then(|| by_name(model).unwrap_or(VirtualMachine::Apple)),
    })
}

/// The names alone decide: Windows itself often runs on Hyper-V beside its own virtual machines, so
/// that the processor's flag says nothing.
async fn windows(scope: &Scope) -> Enclosure {
    let vendor = registry::text::<128>(scope, BIOS, "SystemManufacturer").await;
    let product = registry::text::<128>(scope, BIOS, "SystemProductName").await;
    let container = registry::text::<64>(scope, CONTROL, "ContainerType").await;
    let names = [&vendor, &product]
        .into_iter()
        .flatten()
        .map(Text::untrusted)
        .collect::<Vec<_>>()
        .join("\n");
    Enclosure {
        container: container.map(|_| Container::Windows),
        virtual_machine: by_name(&names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_GUEST: &str = "processor : 0\nflags\t\t: fpu sse2 hypervisor lahf_lm\n";
    const X86_METAL: &str = "processor : 0\nflags\t\t: fpu sse2 lahf_lm\n";

    #[test]
    fn each_container_is_known_by_its_marks() {
        let judged = |cgroup: &str, announced: &str| {
            container(&Marks {
                cgroup: cgroup.to_owned(),
                announced: announced.to_owned(),
                ..Marks::default()
            })
        };

        assert_eq!(judged("0::/docker/abc", ""), Some(Container::Docker));
        assert_eq!(
            judged("1:x:/kubepods/burstable/docker", ""),
            Some(Container::Kubernetes)
        );
        assert_eq!(judged("0::/", "podman\n"), Some(Container::Podman));
        assert_eq!(
            judged("0::/", "rkt"),
            Some(Container::Other(Text::cut("rkt")))
        );
        assert_eq!(judged("0::/init.scope", ""), None);
    }

    #[test]
    fn a_machine_made_from_an_image_is_no_container() {
        assert!(on_a_disk("/dev/vda / ext4 rw 0 0\n"));
        assert!(!on_a_disk(
            "overlay / overlay rw 0 0\n/dev/vda /data ext4 rw 0 0\n"
        ));
    }

    #[test]
    fn the_first_process_tells_what_started_it() {
        assert_eq!(
            announced("PATH=/bin\0container=lxc\0").as_deref(),
            Some("lxc")
        );
        assert_eq!(announced("PATH=/bin\0"), None);
    }

    #[test]
    fn a_board_names_the_machine_only_where_there_is_a_hypervisor() {
        let judged = |cpuinfo: &str, board: &str| {
            virtual_machine(&Marks {
                cpuinfo: cpuinfo.to_owned(),
                board: board.to_owned(),
                ..Marks::default()
            })
        };

        assert_eq!(
            judged(X86_GUEST, "Amazon EC2\nt3.micro"),
            Some(VirtualMachine::AmazonEc2)
        );
        assert_eq!(judged(X86_METAL, "Amazon EC2\nc5.metal"), None);
        assert_eq!(
            judged("CPU part : 0xd0c\n", "QEMU\nvirt"),
            Some(VirtualMachine::Kvm)
        );
        assert_eq!(judged("CPU part : 0xd0c\n", ""), None);
        assert_eq!(
            judged(X86_GUEST, ""),
            Some(VirtualMachine::Other(Text::cut("unknown")))
        );
    }
}
