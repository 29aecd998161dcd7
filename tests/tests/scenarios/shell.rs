//! `controller shell`: a person at a terminal here and a program on a terminal there.
#![cfg(target_os = "linux")]

use proto::{
    frame::{Frame, Resize},
    run::{Exit, RunRequest, StdinMode, What, Wire as Result},
    text::Text,
};
use rustix::process::Signal;
use scenarios::{
    Lab, Modes, PATIENCE, Seat, eventually,
    peer::{Peer, Wire, fresh_id},
    procfs::processes_with,
};

use crate::props::{Mark, TARGET, request};

const PLAIN_SHELL: [&str; 2] = ["--shell", "sh"];

/// A variable by which the processes of one session are found.
const SEAT: &str = "SCENARIO_SEAT";

/// A session, and what finds its processes.
struct Sitting {
    seat: Seat,
    /// The terminal's modes before the program began.
    before: Modes,
    mark: String,
}

impl Sitting {
    #[track_caller]
    fn begin<'a>(lab: &Lab, words: impl IntoIterator<Item = &'a str>) -> Self {
        let mark = fresh_id().to_string();
        // A shell writes no history, which would be the developer's.
        let set = format!("{SEAT}={mark}");
        let mut command = lab.controller(["shell", "-t", TARGET, "-e", &set, "-e", "HISTFILE="]);
        command.args(words);
        let (seat, before) = Seat::take_at_rest(&command, 101, 37);
        Self { seat, before, mark }
    }

    /// Begins a plain shell, and waits until it listens.
    #[track_caller]
    fn begin_shell(lab: &Lab) -> Self {
        let mut this = Self::begin(lab, PLAIN_SHELL);
        this.seat.type_in("echo rea''dy\r");
        this.seat.wait_for("ready\r\n");
        this
    }

    fn processes(&self) -> Vec<u32> {
        processes_with(SEAT, &self.mark)
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), [0; 0]);
        assert_eq!(
            self.seat.modes(),
            self.before,
            "the terminal is not as it was"
        );
    }
}

#[test]
fn what_is_typed_runs_there_and_its_exit_code_comes_back() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin(&lab, PLAIN_SHELL);

    sitting.seat.type_in("echo $((6 * 7)) $TERM\r");
    sitting.seat.wait_for("42 xterm-256color\r\n");
    assert_ne!(sitting.seat.modes(), sitting.before);
    sitting.seat.type_in("exit 7\r");

    assert_eq!(sitting.seat.wait_exit(), Some(7));
    sitting.assert_nothing_left();
}

#[test]
fn the_shell_is_that_of_the_account_and_begins_in_its_home() {
    let lab = Lab::loopback();
    let account = lab.run([
        "run",
        "-t",
        TARGET,
        "--",
        "sh",
        "-c",
        "echo ${SHELL##*/}; echo ~",
    ]);
    let account = account.expect_success().stdout_text();
    let mut lines = account.lines();
    let (shell, home) = (lines.next().unwrap(), lines.next().unwrap());
    let mut sitting = Sitting::begin(&lab, []);

    sitting.seat.type_in("echo \"<$0> <$PWD> <$(tty)>\"\r");
    sitting
        .seat
        .wait_for(format!("<-{shell}> <{home}> </dev/pts/"));
    sitting.seat.type_in("exit\r");

    assert_eq!(sitting.seat.wait_exit(), Some(0));
    sitting.assert_nothing_left();
}

#[test]
fn the_other_terminal_has_the_size_of_this_one_and_follows_it() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin_shell(&lab);

    sitting.seat.type_in("stty size\r");
    sitting.seat.wait_for("\r\n37 101\r\n");
    sitting.seat.type_in("trap 'stty size' WINCH; echo se''t\r");
    sitting.seat.wait_for("set\r\n");
    sitting.seat.resize(132, 43);
    // dash runs the trap when it has read its next line.
    eventually(PATIENCE, || {
        sitting.seat.type_in("stty size\r");
        let shown = String::from_utf8_lossy(&sitting.seat.shown_since()).into_owned();
        shown.contains("43 132")
    });
    sitting.seat.type_in("exit\r");

    assert_eq!(sitting.seat.wait_exit(), Some(0));
}

#[test]
fn control_c_is_for_the_program_in_front() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin(&lab, ["--shell", "bash"]);

    sitting
        .seat
        .type_in("sh -c 'echo fr''ont; exec sleep 1000'\r");
    sitting.seat.wait_for("front\r\n");
    sitting.seat.type_in("\x03");
    sitting.seat.type_in("echo code $?\r");
    sitting.seat.wait_for("code 130\r\n");
    sitting.seat.type_in("exit 3\r");

    assert_eq!(sitting.seat.wait_exit(), Some(3));
}

#[test]
fn a_program_takes_the_place_of_the_shell() {
    let lab = Lab::loopback();
    let script = "stty raw -echo; printf go; dd bs=1 count=3 2>/dev/null; exit 4";
    let mut sitting = Sitting::begin(&lab, ["--", "sh", "-c", script]);

    sitting.seat.wait_for("go");
    sitting.seat.type_in("q");
    sitting.seat.wait_for("q");
    sitting.seat.type_in("\x03\x1b");
    sitting.seat.wait_for("\x03\x1b");

    assert_eq!(sitting.seat.wait_exit(), Some(4));
    assert_eq!(sitting.seat.shown_since(), b"");
    sitting.assert_nothing_left();
}

#[test]
fn every_byte_passes_both_ways_when_no_escape_is_wanted() {
    let lab = Lab::loopback();
    let all: Vec<u8> = (0..=255).rev().collect();
    let script = "stty raw -echo; printf go; dd bs=1 count=256 2>/dev/null";
    let mut sitting = Sitting::begin(&lab, ["--escape", "none", "--", "sh", "-c", script]);

    sitting.seat.wait_for("go");
    sitting.seat.type_in(&all);
    sitting.seat.wait_for(&all);

    assert_eq!(sitting.seat.wait_exit(), Some(0));
    assert_eq!(sitting.seat.shown_since(), b"");
}

#[test]
fn much_output_arrives_whole_and_in_order() {
    let lab = Lab::loopback();
    let script = "stty -opost; seq 1 200000; printf end";
    let mut sitting = Sitting::begin(&lab, ["--", "sh", "-c", script]);
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();

    assert_eq!(sitting.seat.wait_exit(), Some(0));

    sitting.seat.wait_for(expected + "end");
    assert_eq!(sitting.seat.shown_since(), b"");
    sitting.assert_nothing_left();
}

#[test]
fn the_escape_leaves_and_nothing_is_left_there() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin_shell(&lab);
    sitting
        .seat
        .type_in("trap '' TERM; setsid sleep 1000 & sleep 1001\r");
    eventually(PATIENCE, || sitting.processes().len() == 3);

    sitting.seat.type_in("\r~.");

    assert_eq!(sitting.seat.wait_exit(), Some(130));
    sitting.seat.wait_for("ending what runs there");
    sitting.seat.wait_for("cancelled\n");
    sitting.assert_nothing_left();
}

#[test]
fn the_escape_explains_itself_and_a_doubled_one_is_passed_on() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin_shell(&lab);

    sitting.seat.type_in("\r~?");
    sitting
        .seat
        .wait_for("\r\n[mesosync: after a newline: ~. leaves");
    sitting.seat.type_in("echo a~.\r");
    sitting.seat.wait_for("\r\na~.\r\n");
    sitting.seat.type_in("~~.\r");
    sitting.seat.wait_for("not found");
    sitting.seat.type_in("exit 5\r");

    assert_eq!(sitting.seat.wait_exit(), Some(5));
}

#[test]
fn another_escape_may_be_chosen() {
    let lab = Lab::loopback();
    let words = ["--escape", "%", "--", "sh", "-c", "echo ready; exec cat"];
    let mut sitting = Sitting::begin(&lab, words);
    sitting.seat.wait_for("ready\r\n");

    sitting.seat.type_in("~.\r");
    sitting.seat.wait_for("~.\r\n~.\r\n");
    sitting.seat.type_in("%.");

    assert_eq!(sitting.seat.wait_exit(), Some(130));
    sitting.assert_nothing_left();
}

#[test]
fn a_signal_gives_the_terminal_back_and_ends_the_shell() {
    let lab = Lab::loopback();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut sitting = Sitting::begin_shell(&lab);

        sitting.seat.signal(signal);

        assert_eq!(sitting.seat.wait_exit(), Some(130), "{signal:?}");
        sitting.assert_nothing_left();
    }
}

#[test]
fn a_closed_window_ends_the_shell() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin_shell(&lab);
    sitting.seat.type_in("sleep 1000\r");
    eventually(PATIENCE, || sitting.processes().len() == 2);

    sitting.seat.hang_up();

    let _ = sitting.seat.wait_exit();
    assert_eq!(sitting.processes(), [0; 0]);
}

#[test]
fn a_stopped_controller_takes_the_terminal_again_when_it_goes_on() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin_shell(&lab);
    let raw = sitting.seat.modes();

    sitting.seat.signal(Signal::STOP);
    sitting.seat.set_modes(&sitting.before);
    sitting.seat.signal(Signal::CONT);
    eventually(PATIENCE, || sitting.seat.modes() == raw);
    sitting.seat.type_in("exit 6\r");

    assert_eq!(sitting.seat.wait_exit(), Some(6));
    sitting.assert_nothing_left();
}

#[test]
fn a_shell_whose_agent_stops_gives_the_terminal_back_and_says_why() {
    let mut lab = Lab::loopback();
    let mut sitting = Sitting::begin_shell(&lab);

    let _ = lab.take_agent(0).stop().expect_success();

    assert_eq!(sitting.seat.wait_exit(), Some(255));
    sitting.seat.wait_for("its agent stopped under it");
    sitting.assert_nothing_left();
}

#[test]
fn a_program_that_is_not_there_is_not_found_and_the_terminal_is_as_it_was() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin(&lab, ["--", "no-such-program"]);

    assert_eq!(sitting.seat.wait_exit(), Some(127));
    sitting
        .seat
        .wait_for("no-such-program: command not found\n");
    sitting.assert_nothing_left();
}

#[test]
fn what_is_no_terminal_is_refused_with_another_way() {
    let lab = Lab::loopback();

    let refused = lab.run(["shell", "-t", TARGET]).expect_code(64);

    assert_eq!(
        refused.stderr_text(),
        "controller: standard input is not a terminal, and a shell needs one\n  \
         `controller run -t NAME --shell 'SCRIPT'` needs none; --stdin gives it an input\n"
    );
}

#[test]
fn words_that_make_no_sense_are_named() {
    let lab = Lab::loopback();
    let wrong: [(&[&str], &str); 4] = [
        (&["--escape", "ab"], "expected one visible ASCII character"),
        (&["--shell", "fish"], "not a shell"),
        (&["--shell", "sh", "--", "top"], "cannot be used with"),
        (&["-e", "NOTHING"], "expected NAME=VALUE"),
    ];

    for (words, said) in wrong {
        let mut sitting = Sitting::begin(&lab, words.iter().copied());

        assert_eq!(sitting.seat.wait_exit(), Some(64), "{words:?}");
        sitting.seat.wait_for(said);
    }
}

#[test]
fn a_terminal_with_a_name_that_is_none_is_refused() {
    let lab = Lab::loopback();
    for term in [
        "../../etc/passwd",
        "x y",
        "0123456789012345678901234567890123",
    ] {
        let mut command = lab.controller(["shell", "-t", TARGET]);
        command.env("TERM", term);
        let (mut seat, before) = Seat::take_at_rest(&command, 80, 24);

        assert_eq!(seat.wait_exit(), Some(64), "{term}");
        seat.wait_for("TERM");
        assert_eq!(seat.modes(), before);
    }
}

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
            ..request(&lab, &["sh", "-c", "trap '' HUP; sleep 1000; sleep 1000"])
        };
        let mark = Mark::of(request.id);
        let peer = peer(&mut lab);
        let mut wire = peer.ask(&Frame::Run(Box::new(request)));
        assert!(matches!(wire.next().unwrap(), Some(Frame::Started(_))));
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
