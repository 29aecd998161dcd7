//! Programs under test: output, end, death.
#![cfg(unix)]

use std::{process::Command, time::Duration};

use scenarios::{PATIENCE, Process, Stdin, Stdout, eventually};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn both_streams_are_kept_apart_as_bytes() {
    let finished = Process::run(shell(r"printf 'a\377\000b'; printf 'c' >&2; exit 7"));

    assert_eq!(finished.stdout, b"a\xff\0b");
    assert_eq!(finished.stderr, b"c");
    assert_eq!(finished.code(), Some(7));
}

#[test]
fn line_is_seen_while_the_program_still_runs() {
    let mut process = Process::start(shell("echo ready on 7; exec sleep 1000"));

    assert_eq!(process.wait_for_line("ready", PATIENCE), "ready on 7");
    assert!(process.is_running());
}

#[test]
#[should_panic(expected = "what it said instead")]
fn missing_line_is_reported_with_the_output() {
    let process = Process::start(shell("echo what it said instead >&2"));

    let _ = process.wait_for_line("ready", PATIENCE);
}

#[test]
#[should_panic(expected = "something holds its output open")]
fn leftover_child_that_holds_the_output_is_reported() {
    let mut process = Process::start(shell("sleep 1000 & exit 0"));
    eventually(PATIENCE, || !process.is_running());

    let _ = process.wait_exit(Duration::from_millis(100));
}

#[cfg(target_os = "linux")]
#[test]
fn leftover_child_of_a_failed_test_is_killed() {
    let process = Process::start(shell("sleep 1000 & echo $!"));
    let child = process.wait_for_line("", PATIENCE).parse().unwrap();

    let failed = std::panic::catch_unwind(|| process.wait_exit(Duration::from_millis(100)));

    assert!(failed.is_err());
    eventually(PATIENCE, || !scenarios::procfs::is_alive(child));
}

#[test]
fn input_larger_than_a_pipe_comes_back_whole() {
    let input: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();

    let process = Process::start_with(
        Command::new("cat"),
        Stdin::Bytes(input.clone()),
        Stdout::Captured,
    );

    assert_eq!(process.wait_exit(PATIENCE).stdout, input);
}

#[test]
fn unread_output_blocks_the_program_until_it_is_read() {
    let script = "head -c 1000000 /dev/zero; echo written >&2";
    let mut process = Process::start_with(shell(script), Stdin::Empty, Stdout::Unread);

    #[cfg(target_os = "linux")]
    eventually(PATIENCE, || wait_channel_is_a_pipe(process.id()));
    assert_eq!(process.stderr(), b"");
    process.read_on();

    assert_eq!(process.wait_exit(PATIENCE).stdout_len, 1_000_000);
}

/// Whether `head`, the child of the shell, sleeps in the middle of its write.
#[cfg(target_os = "linux")]
fn wait_channel_is_a_pipe(shell: u32) -> bool {
    let children = format!("/proc/{shell}/task/{shell}/children");
    let head = fs_err::read_to_string(children).unwrap();
    let Some(head) = head.split_whitespace().next() else {
        return false;
    };
    fs_err::read_to_string(format!("/proc/{head}/io")).is_ok_and(|io| io.contains("wchar: 65536"))
}

#[cfg(target_os = "linux")]
#[test]
fn dropped_process_is_gone_with_its_children() {
    let process = Process::start(shell("sleep 1000 & echo $!; wait"));
    let child = process.wait_for_line("", PATIENCE).parse().unwrap();
    assert!(scenarios::procfs::is_alive(child));

    drop(process);

    eventually(PATIENCE, || !scenarios::procfs::is_alive(child));
}

#[cfg(target_os = "linux")]
#[test]
fn processes_are_found_by_their_environment() {
    let run = format!("{:032x}", std::process::id());
    let mut sleeper = Command::new("sleep");
    let process = {
        sleeper.arg("1000").env("MESOSYNC_RUN_ID", &run);
        Process::start(sleeper)
    };

    eventually(PATIENCE, || {
        scenarios::procfs::processes_of_run(&run) == [process.id()]
    });
    drop(process);

    assert_eq!(scenarios::procfs::processes_of_run(&run), [0; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_and_time_of_a_process_are_read() {
    let process = Process::start(shell("while :; do :; done"));

    eventually(PATIENCE, || scenarios::procfs::cpu_ticks(process.id()) >= 5);

    let resident = scenarios::procfs::resident_bytes(process.id());
    assert!((100 << 10..64 << 20).contains(&resident), "{resident}");
    assert!(scenarios::procfs::peak_resident_bytes(process.id()) >= resident);
}
