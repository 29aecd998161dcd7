//! The command line as a whole: the newcomer's path, which setting wins, and what becomes of output
//! that cannot be written.

use std::{ffi::OsStr, net::UdpSocket, os::fd::OwnedFd, process::Command};

use scenarios::{Binaries, Finished, Lab, PATIENCE, Process, eventually};

const TARGET: &str = "srv-linux-01";

/// The commands of the README, each as it is typed.
#[cfg(target_os = "linux")]
#[test]
fn newcomer_gets_from_nothing_to_a_command_on_another_host_by_four_commands() {
    let lan = scenarios::Lan::new(2);
    let folder = tempfile::tempdir().unwrap();
    let at = |host: u8, line: &str| {
        let place = lan.place(lan.host(host));
        typed(
            place.clean_command("sh", folder.path()),
            folder.path(),
            line,
        )
    };
    // What an agent of root keeps in /var/lib must not come from this machine, nor stay on it.
    let on_target = |line: &str| {
        at(
            2,
            &format!("unshare --mount sh -c 'mount -t tmpfs tmpfs /var/lib && exec {line}'"),
        )
    };

    let made = Process::run(at(1, "controller pki init")).expect_success();
    let issue = "controller pki issue agent srv-linux-01 --out srv-linux-01.identity";
    let _ = Process::run(at(1, issue)).expect_success();
    let agent = Process::start(on_target(
        "funnelcloud agent --identity srv-linux-01.identity",
    ));
    let _ = agent.wait_for_line("listening on 0.0.0.0:4433", PATIENCE);
    let ran = Process::run(at(1, "controller run -t srv-linux-01 -- uname -a")).expect_success();

    let mut uname = Command::new("uname");
    uname.arg("-a");
    assert_eq!(ran.stdout_text(), Process::run(uname).stdout_text());
    assert_eq!(ran.stderr_text(), "");
    // Each step names the next one.
    assert!(
        made.stderr_text()
            .contains("controller pki issue agent NAME"),
        "{made:?}"
    );
    assert!(
        made.stderr_text()
            .contains("funnelcloud agent --identity NAME.identity"),
        "{made:?}"
    );
}

/// A line as a person types it, with both binaries on the path.
#[cfg(target_os = "linux")]
fn typed(mut shell: Command, folder: &std::path::Path, line: &str) -> Command {
    let binaries = Binaries::get().controller.parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap();
    shell.env("PATH", format!("{}:{path}", binaries.display()));
    // Entering a host leaves the working directory behind.
    shell
        .args(["-c", "cd \"$0\" && eval \"$1\""])
        .arg(folder)
        .arg(line);
    shell
}

/// The three sources of a setting, of which the first that speaks wins.
struct Sources<'a> {
    flag: Option<&'a str>,
    variable: Option<&'a str>,
    file: Option<&'a str>,
}

/// Of two values `GOOD` must win over `BAD` in each of these.
const GOOD_WINS: [[Option<bool>; 3]; 4] = [
    [None, None, Some(true)],
    [None, Some(true), Some(false)],
    [Some(true), None, Some(false)],
    [Some(true), Some(false), Some(false)],
];

/// Calls `check` for every way in which `good` is to win over `bad`.
fn for_every_order(good: &str, bad: &str, check: impl Fn(&Sources<'_>)) {
    for [flag, variable, file] in GOOD_WINS {
        let of = |which: Option<bool>| which.map(|is_good| if is_good { good } else { bad });
        check(&Sources {
            flag: of(flag),
            variable: of(variable),
            file: of(file),
        });
    }
}

fn configured(
    mut command: Command,
    lab: &Lab,
    key: &str,
    sources: &Sources<'_>,
    rest: &[&str],
) -> Command {
    let file = lab.mesh().home().join("controller.toml");
    let line = sources.file.map(|value| format!("{key} = \"{value}\"\n"));
    fs_err::write(file, line.unwrap_or_default()).unwrap();
    if let Some(value) = sources.variable {
        let variable = format!("MESOSYNC_{}", key.replace('-', "_").to_uppercase());
        command.env(variable, value);
    }
    if let Some(value) = sources.flag {
        command.arg(format!("--{key}")).arg(value);
    }
    command.args(rest);
    command
}

#[test]
fn time_limit_of_the_flag_wins_over_the_variable_and_that_over_the_file() {
    let lab = Lab::loopback();
    let run = ["run", "-t", TARGET];

    for_every_order("1h", "1ms", |sources| {
        let rest = ["--", "sleep", "0.1"];
        let command = configured(lab.controller(run), &lab, "timeout", sources, &rest);
        let _ = Process::run(command).expect_success();
    });
    for_every_order("1ms", "1h", |sources| {
        let rest = ["--", "sleep", "1000"];
        let command = configured(lab.controller(run), &lab, "timeout", sources, &rest);
        let _ = Process::run(command).expect_code(124);
    });
}

#[test]
fn time_to_look_for_an_agent_of_the_flag_wins_over_the_variable_and_that_over_the_file() {
    let lab = Lab::new();
    // Takes everything and never answers, so that only the limit ends the search.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let known = [(TARGET, silent.local_addr().unwrap())];

    for_every_order("100ms", "1h", |sources| {
        let run = lab.controller_knowing(known, ["run", "-t", TARGET]);
        let command = configured(run, &lab, "connect-timeout", sources, &["--", "true"]);

        let refused = Process::run(command).expect_code(255);

        let said = format!("no answer from {}", known[0].1);
        assert!(refused.stderr_text().contains(&said), "{refused:?}");
    });
}

#[test]
fn identity_of_the_flag_wins_over_the_variable_and_that_over_the_file() {
    let mut lab = Lab::loopback();
    let [good, bad] = ["alice", "mallory"].map(|name| lab.mesh().issue_controller(name));
    let [good, bad] = [&good, &bad].map(|path| path.to_str().unwrap());

    for_every_order(good, bad, |sources| {
        let rest = ["run", "-t", TARGET, "--", "true"];
        let none: [&str; 0] = [];
        let command = configured(lab.controller(none), &lab, "identity", sources, &rest);
        let _ = Process::run(command).expect_success();
    });

    let log = || lab.agent(0).log();
    let mut log = log;
    eventually(PATIENCE, || {
        log().matches("run started").count() == GOOD_WINS.len()
    });
    assert_eq!(
        log().matches("peer=alice").count(),
        GOOD_WINS.len(),
        "{}",
        log()
    );
}

/// How a stream of a program is taken away from it.
fn redirected(mut command: Command, redirection: &str) -> Finished {
    let program = command.get_program().to_owned();
    let script = format!("exec \"$@\" {redirection}");
    let mut shell = Command::new("sh");
    shell.args([
        OsStr::new("-c"),
        OsStr::new(&script),
        OsStr::new("sh"),
        &program,
    ]);
    shell.args(command.get_args()).env_clear();
    for (key, value) in command.get_envs() {
        shell.env(key, value.unwrap());
    }
    command.env_clear();
    Process::run(shell)
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_meets_a_full_disk_is_never_silently_ok() {
    let lab = Lab::loopback();
    let identity = lab.mesh().issue_agent("x");
    let identity = identity.to_str().unwrap();
    let cases: [&[&str]; 15] = [
        &["run", "-t", TARGET, "--", "echo", "hi"],
        &["run", "-t", TARGET, "--json", "--", "true"],
        &["run", "-t", TARGET, "--ndjson", "--", "true"],
        &["run", "-t", "nobody", "--json", "--", "true"],
        &["agents"],
        &["agents", "--json"],
        &["capabilities", "-t", TARGET],
        &["pki", "list"],
        &["pki", "fingerprint"],
        &["pki", "inspect", identity],
        &["profiles", "list"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--version"],
    ];
    for words in cases {
        let finished = redirected(lab.controller(words), ">/dev/full").expect_code(141);

        assert!(
            finished.stderr_text().starts_with(
                "controller: standard output cannot be written: No space left on device"
            ),
            "{words:?}: {finished:?}"
        );
    }
    for words in [
        &["capabilities"][..],
        &["completions", "bash"],
        &["man"],
        &["--help"],
    ] {
        let mut command = scenarios::Place::here()
            .clean_command(&Binaries::get().funnelcloud, lab.mesh().folder());
        command.args(words);

        let finished = redirected(command, ">/dev/full").expect_code(1);

        assert!(
            finished.stderr_text().contains("No space left on device"),
            "{finished:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_under_standard_error_fails_the_run_as_well() {
    let lab = Lab::loopback();
    let command = lab.controller(["run", "-t", TARGET, "--", "sh", "-c", "echo lost >&2"]);

    let _ = redirected(command, "2>/dev/full").expect_code(141);
}

#[test]
fn run_that_nobody_reads_any_more_ends_without_a_word() {
    let lab = Lab::loopback();
    let mut command = lab.controller(["run", "-t", TARGET, "--run-id"]);
    let id = "0f0e0d0c0b0a09080706050403020100";
    command.args([id, "--", "yes"]);

    let finished = redirected(command, "| head -n 1");

    assert_eq!(finished.stdout_text(), "y\n");
    assert_eq!(finished.stderr_text(), "");
    #[cfg(target_os = "linux")]
    eventually(PATIENCE, || {
        scenarios::procfs::processes_of_run(id).is_empty()
    });
}

#[test]
fn run_with_a_closed_stream_ends_as_its_command_does() {
    let lab = Lab::loopback();
    let script = "cat; echo out; echo err >&2; exit 7";
    for (stream, out, err) in [
        (">&-", "", "err\n"),
        ("2>&-", "out\n", ""),
        ("<&-", "out\n", "err\n"),
    ] {
        let words = ["run", "-t", TARGET, "--stdin", "--", "sh", "-c", script];

        let finished = redirected(lab.controller(words), stream).expect_code(7);

        assert_eq!(finished.stdout_text(), out, "{stream}");
        assert_eq!(finished.stderr_text(), err, "{stream}");
    }
}

#[test]
fn agent_whose_messages_nobody_reads_serves_all_the_same() {
    let mut lab = Lab::loopback();
    // The lab's agent gives way to one whose standard error is a pipe without a reader.
    let address = lab.agent(0).address();
    let mut command = lab.agent(0).command();
    lab.agent(0).kill();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.arg("--listen").arg(address.to_string());
    let command = without_first_listen(&command);
    let _agent = Deaf::start(command, writer.into());

    let ran = lab.controller([
        "run",
        "-t",
        TARGET,
        "--connect-timeout",
        "30s",
        "--",
        "echo",
        "hi",
    ]);

    assert_eq!(Process::run(ran).expect_success().stdout_text(), "hi\n");
}

/// Returns `command` without its first `--listen ADDRESS`.
fn without_first_listen(command: &Command) -> Command {
    let words: Vec<&OsStr> = command.get_args().collect();
    let at = words.iter().position(|word| *word == "--listen").unwrap();
    let mut other = Command::new(command.get_program());
    other.args(&words[..at]).args(&words[at + 2..]).env_clear();
    for (key, value) in command.get_envs() {
        other.env(key, value.unwrap());
    }
    other
}

/// A program with a standard error of the test's choice, killed when this is dropped.
struct Deaf(std::process::Child);

impl Deaf {
    fn start(mut command: Command, stderr: OwnedFd) -> Self {
        Self(command.stderr(stderr).spawn().unwrap())
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn language_of_the_caller_changes_neither_messages_nor_bytes() {
    let lab = Lab::loopback();
    for language in ["C", "C.UTF-8", "tr_TR.UTF-8", ""] {
        let mut command = lab.controller(["run", "-t", TARGET, "--", "printf", "%s", "Grüße 世界"]);
        command.env("LANG", language).env("LC_ALL", language);

        let finished = Process::run(command).expect_success();

        assert_eq!(finished.stdout_text(), "Grüße 世界", "{language}");
    }
}

#[test]
fn no_colour_is_used_where_it_is_not_wanted() {
    use scenarios::{Screen, Terminal};

    let lab = Lab::new();
    for words in [
        &["run"][..],
        &["--help"],
        &["run", "-t", "A"],
        &["agents"],
        &["pki", "list"],
    ] {
        let mut command = lab.controller(words);
        command.env("NO_COLOR", "1").env("TERM", "xterm-256color");

        let elsewhere = Process::run(lab.controller(words));
        let terminal = Terminal::run(command, Screen::Both);

        for text in [
            terminal.text(),
            elsewhere.stdout_text(),
            elsewhere.stderr_text(),
        ] {
            assert!(!text.contains('\u{1b}'), "{words:?}: {text:?}");
        }
    }
}
