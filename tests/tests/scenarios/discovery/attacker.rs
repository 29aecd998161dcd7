//! The attacker of `discovery`: this test's program, started again inside a host of the LAN.

#![allow(
    clippy::print_stdout,
    reason = "its standard output is what its test waits for"
)]

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use node::discovery::mdns::{Announcement, Announcer};
use scenarios::{Place, eventually};
use serde::{Deserialize, Serialize};

use super::mdns::{self, Group, OVERSIZED, PEER};
use crate::identity::{
    credentials::Credentials,
    peer::{ALPN, Callee},
};

/// The variable that tells the attacker what to do, as JSON.
const VARIABLE: &str = "MESOSYNC_TEST_ATTACK";

/// Longer than every test: the attacker is killed by its test.
const FOR_EVER: Duration = Duration::from_secs(600);

/// How many packets are a flood: seconds of work for whoever reads them all.
const FLOOD: u32 = 20_000;

/// What the attacker does.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Attack {
    /// Announces `name` in the mesh of `identity`, and answers there with `identity`.
    Impersonate { identity: PathBuf, name: String },
    /// Announces `name` in the mesh of `fingerprint`, and answers there with `identity`.
    ImpersonateMesh {
        identity: PathBuf,
        name: String,
        fingerprint: String,
    },
    /// Repeats what agents announce, with other ports.
    Repeat,
    /// Answers as libp2p programs of other people do.
    Foreign,
    /// Sends what is too long, cut short, or no DNS.
    Garbage,
    /// Sends as many questions and answers as it can.
    Flood,
}

impl Attack {
    /// Returns the command that attacks from `place`, whose address is `ip`.
    pub(super) fn command(&self, place: Place, ip: Ipv4Addr) -> Command {
        let mut command = place.command(env::current_exe().unwrap());
        command.args([
            "--exact",
            "discovery::attacker::attack",
            "--ignored",
            "--nocapture",
        ]);
        command.env(VARIABLE, serde_json::to_string(&(self, ip)).unwrap());
        command
    }

    fn run(&self, ip: Ipv4Addr) {
        let group = Group::join(ip).unwrap();
        match self {
            Self::Impersonate { identity, name } => {
                let text = fs_err::read_to_string(identity).unwrap();
                let line = text
                    .lines()
                    .find_map(|line| line.strip_prefix("fingerprint = "));
                impersonate(identity, name, line.unwrap().trim_matches('"'));
            }
            Self::ImpersonateMesh {
                identity,
                name,
                fingerprint,
            } => impersonate(identity, name, fingerprint),
            Self::Repeat => repeat(&group),
            Self::Foreign => answer_as_foreigners(&group),
            Self::Garbage => send_garbage(&group),
            Self::Flood => flood(&group),
        }
    }
}

#[test]
#[ignore = "started by the tests of `discovery`, inside a host of their LAN"]
fn attack() {
    let wish = env::var(VARIABLE).unwrap();
    let (attack, ip): (Attack, Ipv4Addr) = serde_json::from_str(&wish).unwrap();
    attack.run(ip);
}

fn begin() {
    println!("attack begins");
}

fn impersonate(identity: &std::path::Path, name: &str, fingerprint: &str) {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let callee = Callee::at(any, &Credentials::of_identity(identity), ALPN);
    let _announcer = Announcer::spawn(Announcement {
        mesh: fingerprint.parse().unwrap(),
        name: name.parse().unwrap(),
        listen: SocketAddr::new(any.ip(), callee.address().port()),
    })
    .unwrap();
    begin();
    let mut told = 0;
    eventually(FOR_EVER, || {
        let heard = callee.heard().len();
        if heard > told {
            println!("heard {}", heard - told);
            told = heard;
        }
        false
    });
}

fn repeat(group: &Group) {
    group.send(&mdns::question()).unwrap();
    begin();
    let mut answer = None;
    loop {
        let heard = group.receive().unwrap();
        if !mdns::is_question(&heard) {
            answer = Some(heard);
        }
        let Some(answer) = &answer else { continue };
        for port in 20_000..20_100 {
            // A full queue loses packets, which an attacker does not mind.
            let _ = group.send(&mdns::with_port(answer, port));
        }
        println!("repeated");
    }
}

fn answer_as_foreigners(group: &Group) {
    const HASH: &str = "/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g";
    let addresses = [
        format!("/ip4/10.77.0.3/tcp/4001/p2p/{PEER}"),
        format!("/ip4/10.77.0.3/udp/4001/quic-v1/p2p/{PEER}"),
        format!("/ip4/10.77.0.3/udp/4001/quic-v1{HASH}/p2p/{PEER}"),
        format!("/ip4/10.77.0.3/udp/4001/quic-v1{HASH}{HASH}/p2p/{PEER}"),
        format!("/ip6/fe80::1/udp/4001/quic-v1{HASH}{HASH}/p2p/{PEER}"),
        format!("/dns4/example.org/udp/4001/quic-v1/p2p/{PEER}"),
        "/ip4/not/an/address".to_owned(),
        String::new(),
    ];
    begin();
    loop {
        if mdns::is_question(&group.receive().unwrap()) {
            let _ = group.send(&mdns::answer(&addresses));
        }
    }
}

fn send_garbage(group: &Group) {
    let answer = mdns::answer(&[format!("/ip4/10.77.0.3/udp/4001/quic-v1/p2p/{PEER}")]);
    begin();
    loop {
        // One round for each question, so that it arrives while somebody listens.
        let heard = group.receive().unwrap();
        for length in 0..answer.len() {
            let _ = group.send(&answer[..length]);
        }
        for length in OVERSIZED {
            let _ = group.send(&vec![0xc0; length]);
            let mut long = answer.clone();
            long.resize(length, b'/');
            let _ = group.send(&long);
        }
        let pointing_at_itself = [&answer[..12], &[0xc0, 12, 0, 12, 0, 1]].concat();
        let _ = group.send(&pointing_at_itself);
        let _ = group.send(&heard.repeat(20));
    }
}

fn flood(group: &Group) {
    begin();
    let question = mdns::question();
    for number in 0.. {
        let addresses: Vec<String> = (0..20)
            .map(|entry| {
                let port = 1 + (number * 20 + entry) % 65_000;
                format!("/ip4/10.77.0.3/udp/{port}/quic-v1/p2p/{PEER}")
            })
            .collect();
        let _ = group.send(&mdns::answer(&addresses));
        let _ = group.send(&question);
        if number == FLOOD {
            println!("flooded");
        }
    }
}
