//! Terminals on the wire: their sizes, the end of their input, and who may not speak of them.

use proto::{
    frame::{Frame, Resize},
    run::{Exit, RunRequest, StdinMode, What, Wire as Result},
    text::Text,
};
use scenarios::{
    Lab,
    peer::{Peer, Wire, fresh_id},
};

use crate::props::{Mark, request};

#[test]
fn the_end_of_a_terminals_input_hangs_it_up() {
    let mut lab = Lab::loopback();
    let (_peer, mut wire, mark) = ask(
        &mut lab,
        "trap 'echo gone; exit 9' HUP; echo ready; while :; do sleep 0.01; done",
    );
    wait_for(&mut wire, "ready\r\n");

    wire.send_frame(&Frame::StdinEnd).unwrap();

    let (shown, ended) = rest(&mut wire);
    assert!(shown.ends_with("gone\r\n"), "{shown}");
    assert_eq!(ended, Result::Finished(Exit::Code(9)));
    mark.wait_until_nothing_is_left("a terminal that was hung up");
}

#[test]
fn a_terminal_may_have_any_size_at_any_time() {
    let mut lab = Lab::loopback();
    let (_peer, mut wire, _mark) = ask(&mut lab, "read _; stty size");

    for (columns, rows) in [(0, 0), (u16::MAX, u16::MAX), (132, 43)] {
        wire.send_frame(&Frame::Resize(Resize { columns, rows }))
            .unwrap();
    }
    wire.send_frame(&Frame::Stdin("\n".into())).unwrap();

    let (shown, ended) = rest(&mut wire);
    assert_eq!(ended, Result::Finished(Exit::Code(0)));
    assert!(shown.ends_with("43 132\r\n"), "{shown}");
}

#[test]
fn a_size_for_what_is_no_terminal_closes_the_link() {
    let mut lab = Lab::loopback();
    let size = Frame::Resize(Resize {
        columns: 80,
        rows: 24,
    });
    let cases = [
        (StdinMode::Closed, vec![size.clone()]),
        (StdinMode::Piped, vec![size.clone()]),
        (terminal("xterm"), vec![Frame::StdinEnd, size]),
    ];

    for (stdin, frames) in cases {
        let request = RunRequest {
            stdin,
            ..request(
                &lab,
                &[
                    "sh",
                    "-c",
                    "trap '' HUP; echo ready; sleep 1000; sleep 1000",
                ],
            )
        };
        let mark = Mark::of(request.id);
        let peer = peer(&mut lab);
        let mut wire = peer.ask(&Frame::Run(Box::new(request)));
        wait_for(&mut wire, "ready");
        for frame in &frames {
            wire.send_frame(frame).unwrap();
        }

        let _ = peer.wait_closed();

        mark.wait_until_nothing_is_left("a run whose caller broke the protocol");
    }
}

#[test]
fn a_request_for_a_shell_that_no_terminal_has_is_refused() {
    let mut lab = Lab::loopback();
    let login = What::LoginShell { shell: None };
    let cases = [
        (
            StdinMode::Piped,
            login.clone(),
            "a login shell needs a terminal",
        ),
        (terminal("../x"), login, "TERM"),
    ];

    for (stdin, what, why) in cases {
        let request = RunRequest {
            stdin,
            what,
            ..request(&lab, &["true"])
        };
        let peer = peer(&mut lab);
        let mut wire = peer.ask(&Frame::Run(Box::new(request)));

        match wire.next().unwrap() {
            Some(Frame::Refused(refusal)) => {
                assert!(refusal.to_string().contains(why), "{refusal}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn peer(lab: &mut Lab) -> Peer {
    let identity = lab
        .mesh()
        .issue_controller(&format!("c{}", &fresh_id().to_string()[..8]));
    Peer::honest(lab.agent(0).address(), &identity)
}

/// Asks for a script on a terminal.
fn ask(lab: &mut Lab, script: &str) -> (Peer, Wire, Mark) {
    let request = RunRequest {
        stdin: terminal("xterm"),
        ..request(lab, &["sh", "-c", script])
    };
    let mark = Mark::of(request.id);
    let peer = peer(lab);
    let wire = peer.ask(&Frame::Run(Box::new(request)));
    (peer, wire, mark)
}

fn terminal(term: &str) -> StdinMode {
    StdinMode::Terminal {
        columns: 80,
        rows: 24,
        term: Text::cut(term),
    }
}

#[track_caller]
fn wait_for(wire: &mut Wire, text: &str) {
    let mut shown = String::new();
    while !shown.contains(text) {
        match wire.next().unwrap() {
            Some(Frame::Stdout(bytes)) => shown.push_str(&String::from_utf8_lossy(&bytes)),
            Some(Frame::Started(_)) => {}
            other => panic!("{other:?} after {shown:?}"),
        }
    }
}

/// Returns what is shown from now on, and the end.
#[track_caller]
fn rest(wire: &mut Wire) -> (String, Result) {
    let mut shown = String::new();
    let mut end = None;
    for frame in wire.rest().unwrap() {
        if let Frame::Stdout(bytes) = &frame {
            shown.push_str(&String::from_utf8_lossy(bytes));
        } else if let Frame::Ended(ended) = &frame {
            end = Some(ended.result);
        } else {
            assert!(matches!(frame, Frame::Started(_)), "{frame:?}");
        }
    }
    (shown, end.unwrap())
}
