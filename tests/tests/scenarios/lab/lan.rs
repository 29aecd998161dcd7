//! The LAN: hosts that hear each other, and nothing else.

use std::{net::Ipv4Addr, process::Command};

use scenarios::{Host, Lan, PATIENCE, Process, eventually, procfs};

/// Joins the group of mDNS on a port of its own, tells when, and shows the first packet.
const LISTEN: &str = "
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 5399))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
             struct.pack('4s4s', socket.inet_aton('224.0.0.251'), socket.inet_aton(sys.argv[1])))
print('joined', flush=True)
said, (host, _) = s.recvfrom(100)
print('heard', said.decode(), 'from', host, flush=True)
";

const SAY: &str = "
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hello', ('224.0.0.251', 5399))
";

fn python(lan: &Lan, host: Host, script: &str) -> Command {
    let interpreter = ["/usr/bin/python3", "/usr/local/bin/python3"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let mut command = lan.command(host, interpreter.unwrap_or("python3"));
    command
        .arg("-c")
        .arg(script)
        .arg(host.address().to_string());
    command
}

#[test]
fn two_hosts_hear_each_others_multicast() {
    let lan = Lan::new(2);
    for (listener, speaker) in [(lan.host(1), lan.host(2)), (lan.host(2), lan.host(1))] {
        let listening = Process::start(python(&lan, listener, LISTEN));
        let _ = listening.wait_for_line("joined", PATIENCE);

        let _ = Process::run(python(&lan, speaker, SAY)).expect_success();

        let heard = listening.wait_for_line("heard", PATIENCE);
        assert_eq!(heard, format!("heard hello from {}", speaker.address()));
    }
}

#[test]
fn silent_lan_counts_nothing_and_a_packet_counts_one() {
    let lan = Lan::new(2);
    let (speaker, other) = (lan.host(1), lan.host(2));
    let before = lan.counters(speaker);
    assert_eq!(lan.counters(other).received, 0, "{:?}", lan.counters(other));

    let _ = Process::run(python(&lan, speaker, SAY)).expect_success();

    eventually(PATIENCE, || lan.counters(other).received == 1);
    assert_eq!(lan.counters(speaker).sent, before.sent + 1);
}

#[test]
fn unplugged_host_hears_nothing_until_it_is_plugged_in() {
    let lan = Lan::new(2);
    let (listener, speaker) = (lan.host(1), lan.host(2));
    let listening = Process::start(python(&lan, listener, LISTEN));
    let _ = listening.wait_for_line("joined", PATIENCE);

    lan.unplug(listener);
    let _ = Process::run(python(&lan, speaker, SAY)).expect_success();
    eventually(PATIENCE, || lan.counters(speaker).sent >= 1);
    assert_eq!(listening.stdout(), b"joined\n");
    lan.plug(listener);
    let _ = Process::run(python(&lan, speaker, SAY)).expect_success();

    let _ = listening.wait_for_line("heard hello", PATIENCE);
}

#[test]
fn addresses_and_links_come_and_go() {
    let lan = Lan::new(1);
    let host = lan.host(1);
    let second = Ipv4Addr::new(10, 77, 0, 250);

    lan.add_address(host, second);
    assert!(lan.ip_on(host, &["addr"]).contains("10.77.0.250/24"));
    lan.remove_address(host, second);
    assert!(!lan.ip_on(host, &["addr"]).contains("10.77.0.250/24"));
    lan.remove_link(host);
    assert!(!lan.ip_on(host, &["addr"]).contains("eth0"));
    lan.add_link(host);
    assert!(lan.ip_on(host, &["addr"]).contains("10.77.0.1/24"));
}

#[test]
fn host_without_default_route_cannot_send_multicast() {
    let lan = Lan::new(1);
    let host = lan.host(1);

    lan.remove_default_route(host);
    let failed = Process::run(python(&lan, host, SAY));

    assert!(
        failed.stderr_text().contains("Network is unreachable"),
        "{}",
        failed.stderr_text()
    );
    lan.add_default_route(host);
    let _ = Process::run(python(&lan, host, SAY)).expect_success();
}

#[test]
fn program_on_a_host_sees_cgroups_and_only_its_own_network() {
    let lan = Lan::new(1);

    let mut command = lan.command(lan.host(1), "sh");
    command.args([
        "-c",
        "cat /proc/self/cgroup; grep cgroup2 /proc/self/mountinfo; cat /proc/net/dev",
    ]);
    let shown = Process::run(command).expect_success().stdout_text();

    let here = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(
        shown.contains("cgroup2"),
        here.contains("cgroup2"),
        "{shown}"
    );
    let interfaces = shown
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| rest.split_whitespace().count() == 16);
    assert_eq!(
        interfaces.map(|(name, _)| name.trim()).collect::<Vec<_>>(),
        ["lo", "eth0"]
    );
}

#[test]
fn lan_and_its_programs_are_gone_when_its_test_is_killed() {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args([
        "--exact",
        "lab::lan::test_that_will_be_killed",
        "--ignored",
        "--nocapture",
    ]);
    let mut test = Process::start(test);
    let line = test.wait_for_line("program ", PATIENCE);
    let program: u32 = line.rsplit("program ").next().unwrap().parse().unwrap();
    let namespace = fs_err::read_link(format!("/proc/{program}/ns/net")).unwrap();
    assert!(others_in(&namespace).contains(&program));

    // The test process alone: what it started is in process groups of its own.
    test.kill();

    eventually(PATIENCE, || {
        !procfs::is_alive(program) && others_in(&namespace).is_empty()
    });
}

/// The processes that live in a network namespace.
fn others_in(namespace: &std::path::Path) -> Vec<u32> {
    let pids = fs_err::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        fs_err::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|of| of == namespace)
    })
    .collect()
}

#[test]
#[ignore = "started, and killed, by the test above"]
fn test_that_will_be_killed() {
    let lan = Lan::new(1);
    let mut command = lan.command(lan.host(1), "sleep");
    command.arg("1000");
    let program = Process::start(command);
    // The wrappers, which enter the LAN and arm the signal, have done so when they are replaced.
    let name = format!("/proc/{}/comm", program.id());
    eventually(PATIENCE, || {
        fs_err::read_to_string(&name).is_ok_and(|name| name == "sleep\n")
    });
    println!("program {}", program.id());
    eventually(std::time::Duration::from_secs(600), || false);
}
