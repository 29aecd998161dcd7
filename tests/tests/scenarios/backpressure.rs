//! Much output, slow readers and many runs: nobody is harmed but who does not read.
#![cfg(target_os = "linux")]

use std::path::PathBuf;

use proto::{
    frame::Frame,
    run::{Exit, RunRequest, Wire as Result},
};
use rustix::process::Signal;
use scenarios::{
    Lab, PATIENCE, Process, Stdin, Stdout, eventually, eventually_some,
    peer::Peer,
    procfs::{peak_resident_bytes, resident_bytes},
};

use crate::props::{Counter, Mark, request, run, run_command, run_groups};

/// How much more memory than an idle one an agent may use for a reader that does not read.
const ROOM: u64 = 16 << 20;

/// Starts `sh -c script` for a reader that never reads.
#[track_caller]
fn start_unread(lab: &Lab, mark: &Mark, script: &str) -> Process {
    let id = mark.id();
    let options = vec!["--run-id", &id, "--grace", "100ms"];
    let command = run_command(lab, options, vec!["sh", "-c", script]);
    Process::start_with(command, Stdin::Empty, Stdout::Unread)
}

/// Waits until no process of the run has written anything for a while.
#[track_caller]
fn wait_until_blocked(mark: &Mark) {
    let (mut last, mut unchanged) = (0, 0);
    eventually(PATIENCE * 2, || {
        let written = written_by(mark);
        unchanged = if written == last && written > 0 {
            unchanged + 1
        } else {
            0
        };
        last = written;
        unchanged >= 60
    });
}

/// Returns how many bytes the run's processes have written.
fn written_by(mark: &Mark) -> u64 {
    let io = |pid: u32| fs_err::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let count = |text: String| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
        line.map_or(0, |count| count.parse().unwrap())
    };
    mark.processes().into_iter().map(io).map(count).sum()
}

#[track_caller]
fn assert_within_room(lab: &mut Lab, idle: u64) {
    let peak = peak_resident_bytes(lab.agent(0).pid());
    let used = peak.saturating_sub(idle);
    assert!(used <= ROOM, "{} KiB more than idle", used >> 10);
}

/// Makes a lab whose agent has served once, and tells the memory that it has then.
fn lab_at_rest() -> (Lab, u64) {
    let mut lab = Lab::loopback();
    let _ = run(&lab, vec![], vec!["true"]).expect_success();
    let idle = resident_bytes(lab.agent(0).pid());
    (lab, idle)
}

#[test]
fn reader_that_stops_stops_the_program_and_not_the_agent() {
    let (mut lab, idle) = lab_at_rest();
    let mark = Mark::new();
    let _stalled = start_unread(&lab, &mark, "head -c 10G /dev/zero");

    wait_until_blocked(&mark);

    assert!(written_by(&mark) < 64 << 20, "{} bytes", written_by(&mark));
    assert_within_room(&mut lab, idle);
}

#[test]
fn program_that_writes_byte_by_byte_to_a_stalled_reader_costs_no_more() {
    let (mut lab, idle) = lab_at_rest();
    let mark = Mark::new();
    // What fits between the two is filled first, so that every byte that follows waits.
    let script = "head -c 24M /dev/zero; exec dd if=/dev/zero bs=1 status=none";
    let _stalled = start_unread(&lab, &mark, script);

    wait_until_blocked(&mark);

    assert_within_room(&mut lab, idle);
}

/// What is left unread in a link lies there in pieces, and quinn gives up a link with too many: long
/// ones and short ones in turn are put together the least.
#[test]
fn many_pieces_for_a_stalled_reader_do_not_cost_the_link() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let counter = Counter::new(&lab);
    // Between two pieces a process starts and ends, so that they leave the agent one by one.
    let pieces = "i=0; while [ $i -lt 1000 ]; do printf %01100d 0; /bin/true; printf x; \
                  /bin/true; printf y; /bin/true; i=$((i + 1)); done";
    let script = format!("{pieces}; {}", counter.script("exit 3"));
    let mut stalled = start_unread(&lab, &mark, &script);

    // All of it is under way, unread.
    eventually(PATIENCE * 2, || counter.starts() == 1);
    stalled.read_on();

    let finished = stalled.wait_exit(PATIENCE).expect_code(3);
    assert_eq!(finished.stdout_len, 1_102_000);
}

#[test]
fn other_runs_go_on_beside_stalled_readers() {
    let (mut lab, idle) = lab_at_rest();
    let marks = [Mark::new(), Mark::new(), Mark::new()];
    let _stalled = marks
        .each_ref()
        .map(|mark| start_unread(&lab, mark, "cat /dev/zero"));
    marks.iter().for_each(wait_until_blocked);

    for number in 0..3 {
        let script = format!("head -c 8M /dev/zero; exit {number}");
        let finished = run(&lab, vec![], vec!["sh", "-c", &script]).expect_code(number);
        assert_eq!(finished.stdout_len, 8 << 20);
    }

    // Each stalled link may keep its window.
    let peak = peak_resident_bytes(lab.agent(0).pid());
    assert!(
        peak - idle <= 3 * ROOM,
        "{} KiB more than idle",
        (peak - idle) >> 10
    );
}

#[test]
fn cancel_is_acknowledged_while_the_reader_is_stalled() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let script = "trap '' TERM; cat /dev/zero; cat /dev/zero";
    let mut stalled = start_unread(&lab, &mark, script);
    wait_until_blocked(&mark);

    stalled.signal(Signal::INT);
    let _ = stalled.wait_for_line("ended there; its output waits for its reader", PATIENCE);
    mark.assert_nothing_left("a run whose reader is stalled");
    stalled.signal(Signal::INT);

    let said = stalled.wait_exit(PATIENCE).expect_code(130).stderr_text();
    assert!(!said.contains("confirm"), "{said}");
}

#[test]
fn time_limit_holds_while_the_reader_is_stalled() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let options = vec!["--run-id", &id, "--timeout", "1s", "--grace", "100ms"];
    let command = run_command(&lab, options, vec!["cat", "/dev/zero"]);
    let mut stalled = Process::start_with(command, Stdin::Empty, Stdout::Unread);
    eventually(PATIENCE, || !mark.processes().is_empty());

    mark.wait_until_nothing_is_left("a run over its time limit");
    stalled.read_on();

    let _ = stalled.wait_exit(PATIENCE).expect_code(124);
}

#[test]
fn stalled_reader_that_reads_on_gets_every_byte() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let mut stalled = start_unread(&lab, &mark, "seq 1 6000000; exit 3");
    wait_until_blocked(&mark);

    stalled.read_on();

    let finished = stalled.wait_exit(PATIENCE * 2).expect_code(3);
    let expected: String = (1..=6_000_000)
        .map(|number| format!("{number}\n"))
        .collect();
    assert!(finished.stdout == expected.as_bytes());
}

#[test]
fn sixty_four_mebibytes_without_a_newline_arrive_whole() {
    let (mut lab, idle) = lab_at_rest();

    let words = vec!["head", "-c", "67108864", "/dev/zero"];
    let finished = run(&lab, vec![], words).expect_success();

    assert_eq!(finished.stdout_len, 64 << 20);
    assert!(finished.stdout.iter().all(|byte| *byte == 0));
    assert_within_room(&mut lab, idle);
}

#[test]
fn program_that_does_not_read_stops_the_sender_and_not_the_agent() {
    let (mut lab, idle) = lab_at_rest();
    let much = lab.mesh().folder().join("much");
    fs_err::write(&much, vec![7; 64 << 20]).unwrap();
    let mark = Mark::new();
    let (id, stdin) = (mark.id(), format!("--stdin={}", much.display()));
    let options = vec!["--run-id", &id, &stdin, "--grace", "100ms"];
    let mut deaf = Process::start(run_command(
        &lab,
        options,
        vec!["sh", "-c", "echo on; sleep 1000"],
    ));
    let _ = deaf.wait_for_line("on", PATIENCE);

    let other = run(&lab, vec![], vec!["echo", "other"]).expect_success();
    deaf.signal(Signal::INT);

    assert_eq!(other.stdout, b"other\n");
    let _ = deaf.wait_exit(PATIENCE).expect_code(130);
    mark.assert_nothing_left("a program that does not read");
    assert_within_room(&mut lab, idle);
}

#[test]
fn several_runs_at_once_keep_their_output_apart() {
    let lab = Lab::loopback();
    let script = |number: i32| format!("seq -f '{number} %g' 1 20000; exit {number}");
    let started: Vec<_> = (1..=8)
        .map(|number| {
            Process::start(run_command(
                &lab,
                vec![],
                vec!["sh".to_owned(), "-c".into(), script(number)],
            ))
        })
        .collect();

    for (number, process) in (1..=8).zip(started) {
        let finished = process.wait_exit(PATIENCE * 2).expect_code(number);

        let expected: String = (1..=20_000)
            .map(|line| format!("{number} {line}\n"))
            .collect();
        assert!(finished.stdout == expected.as_bytes(), "run {number}");
    }
}

#[test]
fn many_runs_on_one_link_share_it_with_one_that_is_not_read() {
    let mut lab = Lab::loopback();
    let alice = lab.mesh().issue_controller("alice");
    let peer = Peer::honest(lab.agent(0).address(), &alice);
    let unread = request(&lab, &["cat", "/dev/zero"]);
    let mark = Mark::of(unread.id);
    let _unread = peer.ask(&Frame::Run(Box::new(unread)));
    wait_until_blocked(&mark);

    let mut wires: Vec<_> = (0..30)
        .map(|_| peer.ask(&Frame::Run(Box::new(request(&lab, &["echo", "hello"])))))
        .collect();

    for wire in &mut wires {
        let answer = wire.rest().unwrap();
        assert!(
            answer.contains(&Frame::Stdout("hello\n".into())),
            "{answer:?}"
        );
    }
}

/// What a thousand runs must not add to.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    children: usize,
    groups: usize,
    memory: u64,
}

impl Held {
    fn by(lab: &mut Lab, groups: Option<&PathBuf>) -> Self {
        let pid = lab.agent(0).pid();
        let count = |folder: PathBuf| fs_err::read_dir(folder).unwrap().count();
        let children = fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        Self {
            descriptors: count(format!("/proc/{pid}/fd").into()),
            children: children.split_whitespace().count(),
            groups: groups.map_or(0, |folder| count(folder.clone())),
            memory: resident_bytes(pid),
        }
    }
}

#[test]
fn thousand_runs_leave_nothing_behind_in_the_agent() {
    let mut lab = Lab::loopback();
    let alice = lab.mesh().issue_controller("alice");
    let peer = Peer::honest(lab.agent(0).address(), &alice);
    let quick = request(&lab, &["sh", "-c", "echo x; exit 1"]);
    let batch = |runs: usize| {
        let fresh = || RunRequest {
            id: scenarios::peer::fresh_id(),
            issued_at_ms: node::clock::now_ms(),
            ..quick.clone()
        };
        let mut wires: Vec<_> = (0..runs)
            .map(|_| peer.ask(&Frame::Run(Box::new(fresh()))))
            .collect();
        for wire in &mut wires {
            let Some(Frame::Ended(ended)) = wire.rest().unwrap().pop() else {
                panic!("no end")
            };
            assert_eq!(ended.result, Result::Finished(Exit::Code(1)));
        }
    };
    let groups = run_groups(&lab);
    (0..5).for_each(|_| batch(20));
    let before = Held::by(&mut lab, groups.as_ref());

    (0..50).for_each(|_| batch(20));

    // What the last runs held is let go of behind their answers.
    let after = eventually_some(PATIENCE, || {
        let now = Held::by(&mut lab, groups.as_ref());
        (now.children == 0 && now.descriptors <= before.descriptors + 2).then_some(now)
    });
    assert!(after.groups <= before.groups + 2, "{before:?} {after:?}");
    assert!(
        after.memory <= before.memory + (3 << 20),
        "{before:?} {after:?}"
    );
}
