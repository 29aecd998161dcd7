//! A LAN of network namespaces on one bridge, for root and for ordinary users.
//!
//! One process, the holder, owns a network namespace with the bridge and a mount namespace with a
//! `/run` of its own, in which `ip netns` keeps the hosts. The holder waits on a pipe from the
//! test: when the test ends, by whatever cause, the pipe closes, the holder ends, and the kernel
//! removes every interface. Nothing outside is touched.
//!
//! Programs enter by `nsenter`, not by `ip netns exec`, which mounts a new `/sys` and so hides
//! the cgroups from an agent.
//!
//! IPv6 link-local addresses are switched off, since the kernel's own chatter on them would drown
//! the question whether an idle agent is silent.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    process::{Child, Command, Output, Stdio},
};

use serde::Deserialize;

use crate::Place;

/// Makes `$1` hosts and tells when they are ready.
const SETUP: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
ip link set lo up
ip link add bridge address 02:00:00:4d:00:ff type bridge mcast_snooping 0 stp_state 0
ip link set bridge addrgenmode none
ip link set bridge up
host=1
while [ "$host" -le "$1" ]; do
    ip netns add "h$host"
    ip link add "port$host" type veth peer name eth0 netns "h$host"
    ip link set "port$host" addrgenmode none
    ip link set "port$host" master bridge up
    ip -n "h$host" link set lo up
    ip -n "h$host" link set eth0 addrgenmode none
    ip -n "h$host" link set eth0 up
    ip -n "h$host" addr add "10.77.0.$host/24" dev eth0
    ip -n "h$host" route add default dev eth0
    host=$((host + 1))
done
echo ready
exec cat
"#;

/// The ways to get namespaces of one's own: as root, else as the root of a user namespace.
const WAYS: [&[&str]; 2] = [
    &["--net", "--mount"],
    &["--user", "--map-root-user", "--net", "--mount"],
];

/// The most hosts that one LAN has: the addresses are `10.77.0.1` and so on.
const MOST_HOSTS: u8 = 200;

/// A LAN that lives as long as this value.
#[derive(Debug)]
pub struct Lan {
    holder: Child,
    way: &'static [&'static str],
    hosts: u8,
}

/// A host of a [`Lan`], with the interface `eth0` on its bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host(u8);

/// What has passed an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Packets that the host sent.
    pub sent: u64,
    /// Packets that the host received.
    pub received: u64,
    /// Bytes that the host sent, with their link headers.
    pub sent_bytes: u64,
    /// Bytes that the host received, with their link headers.
    pub received_bytes: u64,
}

impl Lan {
    /// Makes a LAN of `hosts` hosts.
    ///
    /// # Panics
    /// When this machine gives no namespaces; the message says what to do about it.
    #[must_use]
    pub fn new(hosts: u8) -> Self {
        assert!(
            (1..=MOST_HOSTS).contains(&hosts),
            "a LAN has 1 to {MOST_HOSTS} hosts"
        );
        let way = available_way();
        let mut holder = Command::new("unshare");
        holder
            .args(way)
            .args(["sh", "-c", SETUP, "lan"])
            .arg(hosts.to_string());
        holder
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let holder = match holder.spawn() {
            Ok(holder) => holder,
            Err(error) => panic!("the holder of the LAN cannot be started: {error}"),
        };

        let mut lan = Self { holder, way, hosts };
        lan.wait_until_ready();
        lan
    }

    /// Returns host `number`, counted from 1 as its address is.
    ///
    /// # Panics
    /// When the LAN has no such host.
    #[must_use]
    #[track_caller]
    pub fn host(&self, number: u8) -> Host {
        assert!(
            (1..=self.hosts).contains(&number),
            "there are hosts 1 to {}",
            self.hosts
        );
        Host(number)
    }

    /// Returns the place for programs on `host`.
    #[must_use]
    pub fn place(&self, host: Host) -> Place {
        let mut enter = self.enter();
        let holder = self.holder.id();
        enter.push(format!("--net=/proc/{holder}/root/run/netns/{}", host.netns()).into());
        enter.push("--".into());
        Place::entered_by(enter)
    }

    /// Returns a command for `program` on `host`.
    #[must_use]
    pub fn command(&self, host: Host, program: &str) -> Command {
        self.place(host).command(program)
    }

    /// Returns what has passed `eth0` of `host`.
    ///
    /// # Panics
    /// When the host has no `eth0` any more.
    #[must_use]
    #[track_caller]
    pub fn counters(&self, host: Host) -> Counters {
        let text = self.ip_on(host, &["-j", "-s", "link", "show", "eth0"]);
        let shown: Vec<ShownLink> = match serde_json::from_str(&text) {
            Ok(shown) => shown,
            Err(error) => panic!("`ip` wrote {text:?}: {error}"),
        };
        let [
            ShownLink {
                stats64: Statistics { tx, rx },
            },
        ] = &shown[..]
        else {
            panic!("`ip` did not show one interface: {text:?}");
        };
        Counters {
            sent: tx.packets,
            received: rx.packets,
            sent_bytes: tx.bytes,
            received_bytes: rx.bytes,
        }
    }

    /// Adds an address to `eth0` of `host`.
    pub fn add_address(&self, host: Host, address: Ipv4Addr) {
        self.ip_on(
            host,
            &["addr", "add", &format!("{address}/24"), "dev", "eth0"],
        );
    }

    /// Takes an address from `eth0` of `host`; the first one takes all others with it.
    pub fn remove_address(&self, host: Host, address: Ipv4Addr) {
        self.ip_on(
            host,
            &["addr", "del", &format!("{address}/24"), "dev", "eth0"],
        );
    }

    /// Pulls the cable of `host`: its `eth0` stays, without a carrier.
    pub fn unplug(&self, host: Host) {
        self.ip(&["link", "set", &host.port(), "down"]);
    }

    /// Puts the cable of `host` back.
    pub fn plug(&self, host: Host) {
        self.ip(&["link", "set", &host.port(), "up"]);
    }

    /// Removes `eth0` of `host`, as when a card is pulled out.
    pub fn remove_link(&self, host: Host) {
        self.ip(&["link", "del", &host.port()]);
    }

    /// Gives `host` a new `eth0` with its old address, after [`remove_link`](Self::remove_link).
    pub fn add_link(&self, host: Host) {
        let port = host.port();
        let netns = host.netns();
        self.ip(&[
            "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &netns,
        ]);
        self.ip(&["link", "set", &port, "addrgenmode", "none"]);
        self.ip(&["link", "set", &port, "master", "bridge", "up"]);
        self.ip_on(host, &["link", "set", "eth0", "addrgenmode", "none"]);
        self.ip_on(host, &["link", "set", "eth0", "up"]);
        self.add_address(host, host.address());
        self.add_default_route(host);
    }

    /// Gives `host` its default route, which multicast needs, back.
    pub fn add_default_route(&self, host: Host) {
        self.ip_on(host, &["route", "add", "default", "dev", "eth0"]);
    }

    /// Takes the default route of `host`: it can no longer send multicast.
    pub fn remove_default_route(&self, host: Host) {
        self.ip_on(host, &["route", "del", "default", "dev", "eth0"]);
    }

    /// Runs `ip` for the interfaces of `host`, and returns what it wrote.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ip_on(&self, host: Host, arguments: &[&str]) -> String {
        let netns = host.netns();
        self.ip(&[&["-n", netns.as_str()], arguments].concat())
    }

    /// Runs `ip` where the bridge is, and returns what it wrote.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ip(&self, arguments: &[&str]) -> String {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        command
            .args(&enter[1..])
            .args(["--net", "--", "ip"])
            .args(arguments);
        match command.output() {
            Ok(Output { status, stdout, .. }) if status.success() => {
                String::from_utf8_lossy(&stdout).into_owned()
            }
            Ok(failed) => {
                panic!(
                    "`ip {arguments:?}`: {}",
                    String::from_utf8_lossy(&failed.stderr)
                )
            }
            Err(error) => panic!("nsenter cannot be started: {error}"),
        }
    }

    /// Returns the start of a command that enters the holder's namespaces but for the network.
    fn enter(&self) -> Vec<OsString> {
        let holder = self.holder.id().to_string();
        let mut words = vec!["nsenter", "--target", &holder, "--mount"];
        if self.way.contains(&"--user") {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.into_iter().map(OsString::from).collect()
    }

    fn wait_until_ready(&mut self) {
        let mut line = String::new();
        if let Some(stdout) = &mut self.holder.stdout {
            // Its end or an error leaves the line empty, which is judged below.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        if line.trim_end() == "ready" {
            return;
        }
        let mut complaint = String::new();
        if let Some(stderr) = &mut self.holder.stderr {
            let _ = std::io::Read::read_to_string(stderr, &mut complaint);
        }
        panic!(
            "the LAN could not be made (are iproute2 and the bridge module there?): {complaint}"
        );
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Host {
    /// Returns the first address of the host.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.0)
    }

    fn netns(self) -> String {
        format!("h{}", self.0)
    }

    /// Returns the other end of the host's cable, at the bridge.
    fn port(self) -> String {
        format!("port{}", self.0)
    }
}

/// Returns the first way to namespaces that this machine allows.
fn available_way() -> &'static [&'static str] {
    let mut refusals = String::new();
    for way in WAYS {
        match Command::new("unshare").args(way).arg("true").output() {
            Ok(output) if output.status.success() => return way,
            Ok(output) => refusals += &String::from_utf8_lossy(&output.stderr),
            Err(error) => refusals += &format!("unshare: {error}\n"),
        }
    }
    panic!(
        "this machine gives no network namespaces, which this scenario needs. Allow user \
         namespaces (sysctl kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces) or run as \
         root; the tools are util-linux and iproute2.\n{refusals}"
    );
}

#[derive(Deserialize)]
struct ShownLink {
    stats64: Statistics,
}

#[derive(Deserialize)]
struct Statistics {
    rx: Count,
    tx: Count,
}

#[derive(Deserialize)]
struct Count {
    bytes: u64,
    packets: u64,
}
