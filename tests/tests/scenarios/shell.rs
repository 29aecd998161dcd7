//! `controller shell`: a person at a terminal here and a program on a terminal there.
#![cfg(target_os = "linux")]

mod wire; // what a peer says of a terminal, honest or not

use rustix::process::{Pid, Signal, kill_process};
use scenarios::{Lab, Modes, PATIENCE, Seat, eventually, peer::fresh_id, procfs::processes_with};

use crate::props::TARGET;

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
        command.env("TERM", "xterm-256color").args(words);
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
    sitting.seat.wait_for("37 101\r\n");
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
    sitting.seat.type_in("echo a''b~.\r");
    sitting.seat.wait_for("ab~.\r\n");
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
fn a_terminal_that_shows_nothing_does_not_keep_the_shell() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin(&lab, ["--", "yes"]);
    sitting.seat.wait_for("y\r\n");

    sitting.seat.freeze();
    sitting.seat.signal(Signal::TERM);
    eventually(PATIENCE, || sitting.processes().is_empty());
    sitting.seat.signal(Signal::TERM);

    assert_eq!(sitting.seat.wait_exit(), Some(130));
    sitting.assert_nothing_left();
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
fn what_a_shell_leaves_in_the_background_lives_on_when_it_exits() {
    let lab = Lab::loopback();
    let mut sitting = Sitting::begin_shell(&lab);

    sitting.seat.type_in("sleep 1000 &\rexit\r");

    assert_eq!(sitting.seat.wait_exit(), Some(0));
    let left = sitting.processes();
    for pid in &left {
        let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
    assert_eq!(left.len(), 1);
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
fn a_terminal_without_a_name_is_a_plain_one_and_another_name_may_be_set() {
    let lab = Lab::loopback();
    let script = "echo \"<$TERM>\"";
    let cases: [(&[&str], &str); 2] = [(&[], "<dumb>"), (&["-e", "TERM=vt100"], "<vt100>")];

    for (options, said) in cases {
        let mut command = lab.controller(["shell", "-t", TARGET]);
        command.args(options);
        command.args(["--", "sh", "-c", script]);
        let mut seat = Seat::take(&command, 80, 24);

        seat.wait_for(said);
        assert_eq!(seat.wait_exit(), Some(0));
    }
}
