//! Packets that were recorded, and come again.

use super::*;

#[test]
fn recorded_packets_start_nothing_when_they_are_replayed() {
    let mut lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let proxy = Proxy::start(lab.agent(0).address(), 7);
    let mut command = lab.controller_knowing([(TARGET, proxy.address())], ["run", "-t", TARGET]);
    let canary = "a-canary-that-nobody-may-read";
    command.args(["--", "sh", "-c", &counter.script(&format!("echo {canary}"))]);
    let _ = Process::run(command).expect_success();
    let record = proxy.record();

    replay_all(&proxy);
    let served = run(&lab, vec![], vec!["echo", "alive"]).expect_success();
    lab.agent(0).restart();
    replay_all(&proxy);

    assert_eq!(served.stdout, b"alive\n");
    let _ = run(&lab, vec![], vec!["true"]).expect_success();
    assert_eq!(counter.starts(), 1);
    assert!(!record.contains(canary.as_bytes()));
}

/// Sends all that went to the server once more: as from the same client, and as from a stranger.
fn replay_all(proxy: &Proxy) {
    let record = proxy.record();
    let sent: Vec<_> = record.on_way(Way::ToServer).collect();
    assert!(sent.len() >= 5, "{} packets are no run", sent.len());
    for packet in &sent {
        proxy.replay(packet);
    }
    for packet in &sent {
        proxy.inject_from_stranger(packet.bytes.clone());
    }
}
