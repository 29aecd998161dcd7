//! Discovery among honest hosts, by real multicast between network namespaces.

use std::{net::Ipv4Addr, path::PathBuf, process::Command, time::Instant};

use scenarios::{Counters, Finished, Host, Lab, Lan, Mesh, PATIENCE, Process, eventually, procfs};

use crate::{
    identity::{assert_says, message},
    started::{self, Started},
};

const AGENT: &str = "srv-linux-01";

const UNAME: [&str; 6] = ["run", "-t", AGENT, "--", "uname", "-a"];

/// How long nothing may happen on an idle agent's cable in the test of that.
const IDLE_WINDOW: std::time::Duration = std::time::Duration::from_secs(20);

/// How long a host's cable must be quiet before it counts as settled: the kernel has words of its
/// own. It repeats group memberships within two seconds (RFC 3376 §8.11), and asks for a neighbour
/// again five seconds after it last wrote to it.
const SETTLED: std::time::Duration = std::time::Duration::from_secs(7);

/// Gives a look-up all the time that a loaded machine may need.
fn patient(mut command: Command) -> Command {
    command.env("MESOSYNC_CONNECT_TIMEOUT", "25s");
    command
}

/// Runs `uname -a` on `srv-linux-01`, which only mDNS finds, and asserts that it ran.
#[track_caller]
fn assert_found(lab: &Lab) {
    assert_ran(&Process::run(patient(lab.controller(UNAME))));
}

#[track_caller]
fn assert_ran(ran: &Finished) {
    let mut here = Command::new("uname");
    here.arg("-a");
    let here = Process::run(here).expect_success();
    assert_eq!(ran.code(), Some(0), "{}", ran.stderr_text());
    assert_eq!(ran.stdout_text(), here.stdout_text());
    assert_eq!(ran.stderr_text(), "");
}

/// The addresses that the operator remembers.
fn remembered(lab: &Lab) -> String {
    fs_err::read_to_string(lab.mesh().home().join("addresses.json")).unwrap_or_default()
}

fn host_of_agent(lab: &Lab) -> Host {
    lab.lan().host(2)
}

fn operator(lab: &Lab) -> Host {
    lab.lan().host(1)
}

#[test]
fn a_command_runs_between_two_hosts_with_no_address_configured_anywhere() {
    let lab = Lab::on_lan(1);
    assert_eq!(remembered(&lab), "");

    assert_found(&lab);
}

#[test]
fn listing_shows_each_agent_of_the_lan_once() {
    let lab = Lab::on_lan(3);
    let begun = Instant::now();

    let listed = Process::run(patient(lab.controller(["agents", "--json"])));

    // It ends after the last answer, and does not wait for the whole window of 25 s.
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    let listed = listed.expect_success();
    let shown: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let agents = shown["agents"].as_array().unwrap();
    for (number, agent) in (1..).zip(agents) {
        assert_eq!(agent["name"], format!("srv-linux-{number:02}"));
        assert_eq!(agent["os"], "linux");
        assert_eq!(agent["path"], "lan");
        assert!(agent["rtt_us"].as_u64().unwrap() > 0, "{agent}");
        let address = agent["address"].as_str().unwrap();
        assert!(address.starts_with(&format!("10.77.0.{}:", number + 1)));
    }
    assert_eq!(agents.len(), 3, "{shown}");
}

#[test]
fn listing_for_people_has_a_line_for_each_agent() {
    let lab = Lab::on_lan(2);

    let listed = Process::run(patient(lab.controller(["agents"]))).expect_success();

    let text = listed.stdout_text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_says(lines[0], &["NAME", "OS", "PATH", "RTT"]);
    assert_says(lines[1], &["srv-linux-01", "linux", "lan", " ms"]);
    assert_says(lines[2], &["srv-linux-02", "linux", "lan", " ms"]);
    assert_eq!(listed.stderr_text(), "");
}

#[test]
fn a_lan_without_agents_is_said_to_be_so() {
    let mut lab = Lab::on_lan(1);
    drop(lab.take_agent(0));

    let listed = lab.run(["agents"]).expect_code(3);
    let ran = lab.run(UNAME).expect_code(255);

    assert_says(
        &listed.stderr_text(),
        &["no agent answered within 2s", "Is funnelcloud running"],
    );
    assert_says(
        &message(ran),
        &[
            "srv-linux-01 is not reachable: no answer on the LAN within 2 s",
            "Is funnelcloud running there?",
            "--address srv-linux-01=IP:PORT",
        ],
    );
}

#[test]
fn an_agent_that_starts_after_the_question_is_found() {
    let mut lab = Lab::on_lan(1);
    lab.agent(0).kill();
    let before = lab.lan().counters(operator(&lab)).sent;
    let asking = Process::start(patient(lab.controller(UNAME)));
    eventually(PATIENCE, || {
        lab.lan().counters(operator(&lab)).sent > before
    });

    lab.agent(0).restart();

    assert_ran(&asking.wait_exit(PATIENCE));
}

#[test]
fn an_agent_that_starts_before_its_host_has_an_address_is_found_when_it_has_one() {
    let mut lab = Lab::on_lan(1);
    let host = host_of_agent(&lab);
    lab.agent(0).kill();
    lab.lan().remove_address(host, host.address());
    lab.agent(0).restart();

    lab.lan().add_address(host, host.address());
    lab.lan().add_default_route(host);

    assert_found(&lab);
}

#[test]
fn an_agent_is_found_again_after_its_cable_was_pulled() {
    let mut lab = Lab::on_lan(1);
    let host = host_of_agent(&lab);
    assert_found(&lab);

    lab.lan().unplug(host);
    let lost = lab.run(UNAME).expect_code(255);
    lab.lan().plug(host);

    let address = lab.agent(0).address().port();
    assert_says(
        &message(lost),
        &[
            "no answer on the LAN within 2 s",
            &format!("no answer from 10.77.0.2:{address} (known address)"),
        ],
    );
    assert_found(&lab);
}

#[test]
fn an_agent_that_moved_to_another_address_is_found_there() {
    let mut lab = Lab::on_lan(1);
    let (host, new) = (host_of_agent(&lab), Ipv4Addr::new(10, 77, 0, 52));
    let port = lab.agent(0).address().port();
    assert_found(&lab);
    assert_says(&remembered(&lab), &[&format!("10.77.0.2:{port}")]);

    lab.lan().remove_address(host, host.address());
    lab.lan().add_address(host, new);
    lab.lan().add_default_route(host);

    assert_found(&lab);
    let book = remembered(&lab);
    let (first, second) = (
        book.find(&format!("10.77.0.52:{port}")),
        book.find(&format!("10.77.0.2:{port}")),
    );
    assert!(first.is_some() && first < second, "{book}");
}

#[test]
fn an_agent_is_found_on_each_of_its_interfaces() {
    let mut lab = Lab::new_with_lan_of(3);
    let (first, second, neighbour) = (lab.lan().host(1), lab.lan().host(2), lab.lan().host(3));
    add_cable(lab.lan(), second, neighbour);
    lab.start_agent_on(second, AGENT);
    lab.lan().unplug(neighbour);
    lab.lan().remove_default_route(neighbour);
    let route = ["route", "add", "default", "dev", "eth1"];
    lab.lan().ip_on(neighbour, &route);

    for (operator, expected) in [(first, "10.77.0.2:"), (neighbour, "10.88.0.2:")] {
        let place = lab.lan().place(operator);
        let _ = fs_err::remove_file(lab.mesh().home().join("addresses.json"));

        let ran = Process::run(patient(lab.mesh().controller_at(&place, UNAME)));

        assert_ran(&ran);
        assert_says(&remembered(&lab), &[expected]);
    }
}

/// Joins two hosts by a second cable: `eth1` with `10.88.0.2` and `10.88.0.3`.
fn add_cable(lan: &Lan, one: Host, other: Host) {
    let words = "link add eth1 netns h2 type veth peer name eth1 netns h3";
    lan.ip(&words.split(' ').collect::<Vec<_>>());
    for (host, address) in [(one, "10.88.0.2/24"), (other, "10.88.0.3/24")] {
        lan.ip_on(host, &["link", "set", "eth1", "addrgenmode", "none"]);
        lan.ip_on(host, &["link", "set", "eth1", "up"]);
        lan.ip_on(host, &["addr", "add", address, "dev", "eth1"]);
    }
}

#[test]
fn an_interface_that_comes_later_is_used() {
    let mut lab = Lab::new_with_lan_of(3);
    let (agent, neighbour) = (lab.lan().host(2), lab.lan().host(3));
    lab.start_agent_on(agent, AGENT);
    lab.lan().unplug(neighbour);
    lab.lan().remove_default_route(neighbour);

    add_cable(lab.lan(), agent, neighbour);
    let route = ["route", "add", "default", "dev", "eth1"];
    lab.lan().ip_on(neighbour, &route);

    let place = lab.lan().place(neighbour);
    assert_ran(&Process::run(patient(
        lab.mesh().controller_at(&place, UNAME),
    )));
}

#[test]
fn an_idle_agent_sends_nothing_and_uses_no_processor_time() {
    let mut lab = Lab::on_lan(1);
    assert_found(&lab);
    let (host, pid) = (host_of_agent(&lab), lab.agent(0).pid());
    let look = || {
        let Counters { sent, .. } = lab.lan().counters(host);
        (sent, procfs::cpu_ticks(pid))
    };
    let mut settled = (Instant::now(), look());
    eventually(PATIENCE, || {
        let now = look();
        if now != settled.1 {
            settled = (Instant::now(), now);
        }
        settled.0.elapsed() > SETTLED
    });

    let before = look();
    // The window itself is what is measured: nothing is waited for.
    std::thread::sleep(IDLE_WINDOW);

    assert_eq!(look(), before, "packets sent, and processor ticks");
    assert_found(&lab);
}

#[test]
fn an_agent_without_mdns_is_silent_and_serves_who_knows_its_address() {
    let lab = Lab::new_with_lan_of(2);
    let identity = lab.mesh().issue_agent(AGENT);
    let place = lab.lan().place(host_of_agent(&lab));
    let mut command = started::agent(&place, &identity, "0.0.0.0:0");
    command.arg("--no-mdns");
    let silent = Started::by(command);

    let lost = lab.run(UNAME).expect_code(255);

    assert_says(&message(lost), &["no answer on the LAN within 2 s"]);
    assert_eq!(lab.lan().counters(host_of_agent(&lab)).sent, 0);
    let known = format!("{AGENT}=10.77.0.2:{}", silent.listen.port());
    let words = ["--address", &known].into_iter().chain(UNAME);
    assert_ran(&Process::run(patient(lab.controller(words))));
}

#[test]
fn a_controller_without_mdns_sends_no_multicast() {
    let lab = Lab::on_lan(1);
    let home = lab.mesh().home();
    let before = lab.lan().counters(operator(&lab)).sent;
    let expected = "srv-linux-01 is not reachable: no address of it is known, and the LAN is not asked (mdns = false)";

    let words = ["--mdns", "false"].into_iter();
    let by_flag = Process::run(lab.controller(words.chain(UNAME))).expect_code(255);
    let mut command = lab.controller(UNAME);
    command.env("MESOSYNC_MDNS", "false");
    let by_variable = Process::run(command).expect_code(255);
    fs_err::write(home.join("controller.toml"), "mdns = false\n").unwrap();
    let by_file = lab.run(UNAME).expect_code(255);
    let listed = lab.run(["agents"]);

    for refused in [by_flag, by_variable, by_file] {
        assert_says(&message(refused), &[expected, "--address"]);
    }
    assert_eq!(listed.code(), Some(3), "{}", listed.stderr_text());
    assert_eq!(lab.lan().counters(operator(&lab)).sent, before);
}

#[test]
fn a_host_without_a_default_route_finds_agents() {
    let lab = Lab::on_lan(1);
    lab.lan().remove_default_route(operator(&lab));
    lab.lan().remove_default_route(host_of_agent(&lab));

    assert_found(&lab);
}

#[test]
fn without_an_interface_for_multicast_known_addresses_work_and_the_rest_is_explained() {
    let lab = Lab::new_with_lan_of(1);
    lab.lan().remove_link(operator(&lab));
    let identity = lab.mesh().issue_agent(AGENT);
    let place = lab.lan().place(operator(&lab));
    let agent = Started::by(started::agent(&place, &identity, "127.0.0.1:0"));

    let blind = lab.run(UNAME).expect_code(255);
    let listed = lab.run(["agents"]).expect_code(255);
    let known = format!("{AGENT}={}", agent.listen);
    let words = ["--address", &known].into_iter().chain(UNAME);
    let ran = Process::run(patient(lab.controller(words)));

    let why = "no network interface with an IPv4 address can multicast: connect this machine to the LAN, or give the agent's address";
    assert_says(&message(blind), &["srv-linux-01 is not reachable", why]);
    assert_says(&listed.stderr_text(), &[why]);
    assert_ran(&ran);
}

#[test]
fn two_meshes_on_one_lan_do_not_see_each_other() {
    let mut lab = Lab::new_with_lan_of(3);
    let (ours, theirs) = (lab.lan().host(2), lab.lan().host(3));
    lab.start_agent_on(ours, AGENT);
    let other = Mesh::init("lab");
    let place = lab.lan().place(theirs);
    // The same name in both meshes, and one that only theirs has.
    let twin = other.issue_agent(AGENT);
    let only = other.issue_agent("srv-linux-09");
    let _twin = Started::by(started::agent(&place, &twin, "0.0.0.0:0"));
    let _only = Started::by(started::agent(&place, &only, "0.0.0.0:0"));
    let seat = lab.lan().place(operator(&lab));

    let of_ours = Process::run(patient(lab.controller(["agents", "--json"]))).expect_success();
    let of_theirs =
        Process::run(patient(other.controller_at(&seat, ["agents", "--json"]))).expect_success();
    let words = ["run", "-t", "srv-linux-09", "--", "true"];
    let lost = lab.run(words).expect_code(255);

    assert_eq!(names(&of_ours), [AGENT]);
    assert_eq!(names(&of_theirs), [AGENT, "srv-linux-09"]);
    assert_says(&message(lost), &["no answer on the LAN within 2 s"]);
    assert_found(&lab);
    // Not even dialled: an address of another mesh is recognised before.
    assert_eq!(lab.agent(0).log().matches("a link was refused").count(), 0);
}

fn names(listed: &Finished) -> Vec<String> {
    let shown: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let agents = shown["agents"].as_array().unwrap();
    agents
        .iter()
        .map(|agent| agent["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_port_in_use_is_said_with_the_remedy() {
    let mut lab = Lab::loopback();
    let identity: PathBuf = lab.mesh().issue_agent("srv-linux-02");
    let taken = lab.agent(0).address().to_string();
    let mut command = started::agent(&scenarios::Place::here(), &identity, &taken);
    command.arg("--no-mdns");

    let refused = Process::run(command).expect_code(1);

    assert_says(
        &refused.stderr_text(),
        &[
            &format!("listen on UDP {taken}"),
            "another program uses this port",
            "choose a port with --listen",
        ],
    );
    let words = ["run", "-t", AGENT, "--", "true"];
    let _ = lab.run(words).expect_success();
}
