//! One run by `controller run`: what reaches the program, what comes back, and how it is said.
#![cfg(target_os = "linux")]

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
    process::Command,
};

use scenarios::{Finished, Lab, PATIENCE, Process, Stdin, Stdout};

use crate::props::{Counter, Gate, TARGET, run, run_command};

/// The longest word that Linux passes to a program (`MAX_ARG_STRLEN`), without its NUL.
const LONGEST_WORD: usize = (128 << 10) - 1;

#[track_caller]
fn shell(lab: &Lab, options: &[&str], script: &str) -> Finished {
    run(lab, options.to_vec(), vec!["sh", "-c", script])
}

/// The last message of the controller itself, with the next step that it names.
fn own(text: &str) -> &str {
    text.rfind("controller: ")
        .map_or("", |start| &text[start..])
}

fn last_line(text: &str) -> &str {
    own(text).lines().next().unwrap_or_default()
}

#[test]
fn every_word_reaches_the_program_unchanged() {
    let lab = Lab::loopback();
    let hard = [
        "two words",
        " ",
        "it's",
        "\"quoted\"",
        "a;b|c&d>e<f",
        "line\nline",
        "\r\n\t",
        "%PATH%",
        "^caret^",
        "trailing\\",
        "\\\"",
        "",
        "$HOME ${HOME} $(id) `id`",
        "*?[a-z]~{a,b}!",
        "--help",
        "--",
        "-",
        "é\u{202e}\u{1b}[2J",
    ];
    let mut words: Vec<OsString> = ["printf", "%s\\0"].map(Into::into).into();
    words.extend(hard.map(Into::into));
    words.push(OsString::from_vec(b"not\xff\xfeUTF-8\x80".to_vec()));
    words.push("".into());

    let finished = run(&lab, Vec::new(), words.clone()).expect_success();

    let expected: Vec<u8> = words[2..]
        .iter()
        .flat_map(|word| [word.as_bytes(), b"\0"].concat())
        .collect();
    assert_eq!(
        finished.stdout.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

#[test]
fn longest_word_that_linux_takes_arrives_whole() {
    let lab = Lab::loopback();
    let word = "w".repeat(LONGEST_WORD);

    let finished = run(&lab, vec![], vec!["printf", "%s", &word]).expect_success();

    assert!(
        finished.stdout == word.as_bytes(),
        "{}",
        finished.stdout_len
    );
}

#[test]
fn default_shell_is_the_one_of_the_targets_profile() {
    let lab = Lab::loopback();

    let finished = run(&lab, vec!["--shell"], vec!["echo $0; echo $((6 * 7))"]);

    assert_eq!(finished.expect_success().stdout_text(), "bash\n42\n");
}

#[test]
fn script_reaches_the_shell_that_was_named_as_one_word() {
    let lab = Lab::loopback();
    let script = "echo \"$0 $#\"; cat <<'E' | tr a-z A-Z\nit's \"here\"; $HOME\nE\nexit 9";

    for name in ["sh", "bash"] {
        let option = format!("--shell={name}");
        let finished = run(&lab, vec![option.as_str()], vec![script]).expect_code(9);

        let expected = format!("{name} 0\nIT'S \"HERE\"; $HOME\n");
        assert_eq!(finished.stdout_text(), expected);
    }
}

#[test]
fn script_from_a_file_runs_whole() {
    let lab = Lab::loopback();
    let file = lab.mesh().folder().join("script");
    fs_err::write(&file, "for i in 1 2 3\ndo\n  echo $i\ndone\n").unwrap();
    let command = lab.controller(["run", "-t", TARGET, "--script", file.to_str().unwrap()]);

    assert_eq!(
        Process::run(command).expect_success().stdout_text(),
        "1\n2\n3\n"
    );
}

#[test]
fn no_startup_file_runs_before_a_script() {
    let lab = Lab::loopback();
    let home = lab.mesh().folder().join("home-with-startup-files");
    fs_err::create_dir_all(&home).unwrap();
    for file in [".bashrc", ".bash_profile", ".profile", ".zshenv", ".shrc"] {
        fs_err::write(home.join(file), "echo startup file\n").unwrap();
    }
    let home = format!("HOME={}", home.display());

    for option in ["--shell", "--shell=bash", "--shell=sh"] {
        let finished = run(&lab, vec![option, "-e", &home], vec!["echo script"]);

        assert_eq!(
            finished.expect_success().stdout_text(),
            "script\n",
            "{option}"
        );
    }
}

#[test]
fn several_words_after_shell_are_refused_before_anything_runs() {
    let lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let script = counter.script("");

    let finished = run(&lab, vec!["--shell"], vec![script.as_str(), "more"]).expect_code(64);

    assert!(finished.stderr_text().contains("one word"));
    assert_eq!(counter.starts(), 0);
}

#[test]
fn empty_command_is_wrong_usage() {
    let lab = Lab::loopback();

    let nothing = run::<&str>(&lab, [], []).expect_code(64);
    let no_program = run(&lab, vec![], vec!["", "x"]).expect_code(64);

    assert!(nothing.stderr_text().contains("the command is empty"));
    assert!(no_program.stderr_text().contains("the command is empty"));
}

#[test]
fn run_happens_in_the_folder_that_was_named() {
    let lab = Lab::loopback();
    let folder = lab.mesh().folder().join("with space\nand newline");
    fs_err::create_dir_all(&folder).unwrap();
    let folder = folder.to_str().unwrap();

    let finished = run(&lab, vec!["--cwd", folder], vec!["sh", "-c", "pwd -P"]).expect_success();

    let expected = fs_err::canonicalize(folder).unwrap();
    assert_eq!(finished.stdout_text(), format!("{}\n", expected.display()));
}

#[test]
fn missing_folder_is_said_and_nothing_runs() {
    let lab = Lab::loopback();
    let counter = Counter::new(&lab);

    for folder in ["/no/such/folder", "/etc/passwd"] {
        let script = counter.script("");
        let finished = shell(&lab, &["--cwd", folder], &script).expect_code(125);

        let said = finished.stderr_text();
        assert!(last_line(&said).contains(folder), "{said}");
    }
    assert_eq!(counter.starts(), 0);
}

#[test]
fn environment_is_built_and_not_inherited() {
    let lab = Lab::loopback();

    let finished = run(&lab, vec![], vec!["env", "-0"]).expect_success();

    let text = finished.stdout_text();
    let mut names: Vec<&str> = text
        .split_terminator('\0')
        .filter_map(|entry| entry.split('=').next())
        .filter(|name| *name != "TMPDIR")
        .collect();
    names.sort_unstable();
    let expected = [
        "HOME",
        "LANG",
        "LOGNAME",
        "MESOSYNC_RUN_ID",
        "PATH",
        "SHELL",
        "TERM",
        "USER",
    ];
    assert_eq!(names, expected);
    // The agent's own home is not the account's.
    assert!(
        !text.contains(lab.mesh().folder().to_str().unwrap()),
        "{text}"
    );
}

#[test]
fn variables_arrive_as_they_were_set() {
    let lab = Lab::loopback();
    let options: Vec<OsString> = [
        "-e",
        "SPACED= a b ",
        "-e",
        "EQUALS=a=b=",
        "-e",
        "EMPTY=",
        "-e",
        "LINES=a\nb\n",
        "-e",
        "LANG=C",
        "-e",
        "odd.name-1=x",
    ]
    .map(Into::into)
    .into_iter()
    .chain(["-e".into(), OsString::from_vec(b"BYTES=\xff\x80".to_vec())])
    .collect();

    let words = ["env", "-0"].map(OsString::from);
    let finished = run(&lab, options, words).expect_success();

    let entries: Vec<&[u8]> = finished.stdout.split(|byte| *byte == 0).collect();
    let set: [&[u8]; 7] = [
        b"SPACED= a b ",
        b"EQUALS=a=b=",
        b"EMPTY=",
        b"LINES=a\nb\n",
        b"LANG=C",
        b"odd.name-1=x",
        b"BYTES=\xff\x80",
    ];
    for entry in set {
        assert!(entries.contains(&entry), "{}", entry.escape_ascii());
    }
}

#[test]
fn variables_that_change_how_programs_load_are_refused() {
    let lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let names = [
        "LD_PRELOAD",
        "LD_AUDIT",
        "DYLD_INSERT_LIBRARIES",
        "BASH_ENV",
        "ENV",
        "PROMPT_COMMAND",
        "PYTHONSTARTUP",
        "NODE_OPTIONS",
        "GIT_SSH_COMMAND",
        "BASH_FUNC_ls%%",
        "MESOSYNC_RUN_ID",
    ];

    for name in names {
        let assignment = format!("{name}=/tmp/evil");
        let script = counter.script("");
        let finished = shell(&lab, &["-e", &assignment], &script).expect_code(125);

        let said = finished.stderr_text();
        assert!(last_line(&said).contains(name), "{name}: {said}");
    }
    assert_eq!(counter.starts(), 0);
}

#[test]
fn name_of_a_variable_with_a_newline_is_refused_in_one_line() {
    let lab = Lab::loopback();
    let counter = Counter::new(&lab);

    let script = counter.script("");
    let finished = shell(&lab, &["-e", "A\nLD_PRELOAD=x"], &script).expect_code(125);

    let said = finished.stderr_text();
    assert_eq!(own(&said), said, "{said}");
    assert_eq!(counter.starts(), 0);
}

#[test]
fn standard_input_is_at_its_end_unless_asked_for() {
    let lab = Lab::loopback();
    let command = run_command(&lab, vec![], vec!["wc", "-c"]);

    let process = Process::start_with(
        command,
        Stdin::Bytes(b"not for you".into()),
        Stdout::Captured,
    );

    assert_eq!(
        process.wait_exit(PATIENCE).expect_success().stdout_text(),
        "0\n"
    );
}

#[test]
fn standard_input_from_a_pipe_arrives_as_it_is_typed() {
    use std::io::Write as _;
    let lab = Lab::loopback();
    let command = run_command(&lab, vec!["--stdin"], vec!["cat"]);
    let mut process = Process::start_with(command, Stdin::Open, Stdout::Captured);

    for line in ["first", "second"] {
        let typed = format!("{line}\n");
        process
            .stdin()
            .as_mut()
            .unwrap()
            .write_all(typed.as_bytes())
            .unwrap();
        // The pipe stays open, so the line comes back before the end of the file.
        assert_eq!(process.wait_for_line(line, PATIENCE), line);
    }
    drop(process.stdin().take());

    assert_eq!(
        process.wait_exit(PATIENCE).expect_success().stdout,
        b"first\nsecond\n"
    );
}

#[test]
fn a_hundred_mebibytes_through_cat_come_back_byte_for_byte() {
    let lab = Lab::loopback();
    let (there, back) = (
        lab.mesh().folder().join("there"),
        lab.mesh().folder().join("back"),
    );
    fs_err::write(&there, noise(100 << 20)).unwrap();
    let stdin = format!("--stdin={}", there.display());
    let command = run_command(&lab, vec![stdin.as_str()], vec!["cat"]);

    let _ = Process::run(into_file(&command, &back)).expect_success();

    assert!(fs_err::read(&back).unwrap() == fs_err::read(&there).unwrap());
}

/// Bytes without any pattern that a cut or a swap would keep.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// Returns `command` with its standard output in a file.
fn into_file(command: &Command, file: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "file=$1; shift; exec \"$@\" >\"$file\"", "sh"]);
    shell
        .arg(file)
        .arg(command.get_program())
        .args(command.get_args());
    shell.env_clear();
    let kept = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    shell.envs(kept.collect::<Vec<(&OsStr, &OsStr)>>());
    shell
}

#[test]
fn program_that_reads_no_input_ends_all_the_same() {
    let lab = Lab::loopback();
    let much = lab.mesh().folder().join("much");
    fs_err::write(&much, noise(16 << 20)).unwrap();
    let stdin = format!("--stdin={}", much.display());

    let at_once = run(&lab, vec![stdin.as_str()], vec!["true"]);
    let deaf = shell(&lab, &[&stdin], "exec <&-; echo on; exit 4");

    let _ = at_once.expect_success();
    assert_eq!(deaf.expect_code(4).stdout, b"on\n");
}

#[test]
fn run_ends_though_nobody_closes_its_input() {
    let lab = Lab::loopback();
    let command = run_command(&lab, vec!["--stdin"], vec!["sh", "-c", "exit 6"]);

    let mut process = Process::start_with(command, Stdin::Open, Stdout::Captured);
    let held = process.stdin().take();

    let _ = process.wait_exit(PATIENCE).expect_code(6);
    drop(held);
}

#[test]
fn input_that_breaks_off_cancels_the_run_and_is_never_taken_for_the_whole() {
    let lab = Lab::loopback();
    let counter = Counter::new(&lab);

    // A file that can be opened, and whose first byte cannot be read.
    let script = format!("cat && {}", counter.script("true"));
    let finished = shell(&lab, &["--stdin=/proc/self/mem"], &script).expect_code(130);

    let said = finished.stderr_text();
    assert!(
        said.contains("standard input cannot be read to its end"),
        "{said}"
    );
    assert_eq!(counter.starts(), 0);
}

#[test]
fn input_file_that_cannot_be_read_is_said_and_nothing_is_left_running() {
    let lab = Lab::loopback();

    let finished = run(&lab, vec!["--stdin=/no/such/file"], vec!["cat"]);

    assert_ne!(finished.code(), Some(0));
    assert!(
        finished.stderr_text().contains("/no/such/file"),
        "{finished:?}"
    );
}

#[test]
fn both_streams_come_apart_each_in_order_and_as_bytes() {
    let lab = Lab::loopback();
    let all = "for i in 0 1 2 3; do for j in 0 1 2 3 4 5 6 7; do for k in 0 1 2 3 4 5 6 7; do \
               printf \"\\\\$i$j$k\"; printf \"\\\\$i$j$k.\" >&2; done; done; done";

    let finished = shell(&lab, &[], all).expect_success();

    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(finished.stdout, bytes);
    let dotted: Vec<u8> = bytes.iter().flat_map(|byte| [*byte, b'.']).collect();
    assert_eq!(finished.stderr, dotted);
}

#[test]
fn long_output_on_both_streams_at_once_keeps_its_order() {
    let lab = Lab::loopback();

    let script = "seq 1 200000 & seq 1 200000 >&2; wait";
    let finished = shell(&lab, &[], script).expect_success();

    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(finished.stdout_text() == expected, "stdout");
    assert!(finished.stderr_text() == expected, "stderr");
}

#[test]
fn line_is_seen_before_the_process_ends() {
    let lab = Lab::loopback();
    let gate = Gate::new(lab.mesh().folder());
    let script = format!("echo out; echo err >&2; {}; echo late; exit 3", gate.wait());
    let command = run_command(&lab, vec![], vec!["sh", "-c", &script]);

    let process = Process::start(command);
    let _ = process.wait_for_line("out", PATIENCE);
    let _ = process.wait_for_line("err", PATIENCE);
    assert_eq!(process.stdout(), b"out\n");
    let _open = gate.open();

    let finished = process.wait_exit(PATIENCE).expect_code(3);
    assert_eq!(finished.stdout, b"out\nlate\n");
}

#[test]
fn part_of_a_line_is_not_held_back() {
    let lab = Lab::loopback();
    let gate = Gate::new(lab.mesh().folder());
    let script = format!("printf 'password: '; {}", gate.wait());

    let process = Process::start(run_command(&lab, vec![], vec!["sh", "-c", &script]));
    scenarios::eventually(PATIENCE, || process.stdout() == b"password: ");
    let _open = gate.open();

    let _ = process.wait_exit(PATIENCE).expect_success();
}

#[test]
fn exit_code_of_the_program_is_passed_on() {
    let lab = Lab::loopback();

    for code in [0, 1, 2, 64, 124, 125, 126, 127, 128, 130, 137, 254, 255] {
        let finished = shell(&lab, &[], &format!("exit {code}")).expect_code(code);

        assert_eq!(
            finished.stderr_text(),
            "",
            "a remote code is not commented on"
        );
    }
}

#[test]
fn death_by_signal_is_128_and_its_number() {
    let lab = Lab::loopback();

    for (name, number) in [
        ("HUP", 1),
        ("KILL", 9),
        ("SEGV", 11),
        ("PIPE", 13),
        ("TERM", 15),
    ] {
        let script = format!("ulimit -c 0; kill -{name} $$");
        let finished = shell(&lab, &["--json"], &script).expect_code(128 + number);

        let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
        assert_eq!(report["signal"], number);
        assert_eq!(report["outcome"], "finished");
        assert_eq!(report["origin"], "process");
    }
}

#[test]
fn program_that_is_not_there_is_127() {
    let lab = Lab::loopback();

    for program in ["no-such-program", "/no/such/program", "./no-such-program"] {
        let finished = run(&lab, vec![], vec![program]).expect_code(127);

        let said = finished.stderr_text();
        let expected = format!("controller: {TARGET}: {program}: command not found");
        assert_eq!(last_line(&said), expected);
    }
}

#[test]
fn program_that_cannot_be_executed_is_126() {
    let lab = Lab::loopback();
    let plain = lab.mesh().folder().join("plain");
    fs_err::write(&plain, "not a program").unwrap();

    for program in [plain.to_str().unwrap(), "/etc", "/dev/null"] {
        let finished = run(&lab, vec![], vec![program]).expect_code(126);

        let said = finished.stderr_text();
        assert!(last_line(&said).contains(program), "{said}");
        assert!(last_line(&said).starts_with("controller: "), "{said}");
    }
}

#[test]
fn json_tells_a_missing_program_from_a_remote_127() {
    let lab = Lab::loopback();

    let missing = run(&lab, vec!["--json"], vec!["no-such-program"]).expect_code(127);
    let remote = shell(&lab, &["--json"], "exit 127").expect_code(127);

    let origin = |finished: &Finished| {
        let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
        (report["outcome"].clone(), report["origin"].clone())
    };
    assert_eq!(origin(&missing), ("refused".into(), "agent".into()));
    assert_eq!(origin(&remote), ("finished".into(), "process".into()));
}

#[test]
fn time_limit_ends_a_run_with_124() {
    let lab = Lab::loopback();

    let finished = shell(&lab, &["--timeout", "200ms"], "echo on; sleep 1000").expect_code(124);

    assert_eq!(finished.stdout, b"on\n");
    assert!(
        finished
            .stderr_text()
            .contains("longer than its time limit")
    );
}

#[test]
fn silence_longer_than_the_idle_limit_ends_a_run_with_124() {
    let lab = Lab::loopback();

    let finished = shell(&lab, &["--idle-timeout", "200ms"], "echo on; sleep 1000");

    let finished = finished.expect_code(124);
    assert_eq!(finished.stdout, b"on\n");
    assert!(finished.stderr_text().contains("silent for longer"));
}

#[test]
fn output_beyond_its_limit_ends_a_run_after_exactly_so_many_bytes() {
    let lab = Lab::loopback();

    for (limit, script) in [
        ("0", "yes"),
        ("1", "yes"),
        ("100000", "yes & yes >&2"),
        ("7", "echo 1234567"),
    ] {
        let finished = shell(&lab, &["--max-output", limit], script).expect_code(124);

        let said = finished.stderr_text();
        let (said, remote) = (own(&said).len(), finished.stderr.len());
        let output = finished.stdout.len() + remote - said;
        assert_eq!(output.to_string(), limit);
    }
}

#[test]
fn output_of_just_the_limit_is_no_reason_to_end() {
    let lab = Lab::loopback();

    let finished = shell(&lab, &["--max-output", "8"], "echo 1234567; exit 3").expect_code(3);

    assert_eq!(finished.stdout, b"1234567\n");
}
