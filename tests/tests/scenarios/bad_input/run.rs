//! `controller run`, with words, targets and settings that make no sense.

use std::net::UdpSocket;

use scenarios::{Lab, Process};

use super::{assert_misused, assert_says, failure};

const TARGET: &str = "srv-linux-01";

/// What a target is told that answers to nobody.
fn is_it_running(name: &str) -> String {
    format!(
        "  Is funnelcloud running there? `controller agents` lists who answers; an agent elsewhere \
         needs --address {name}=IP:PORT\n"
    )
}

#[test]
fn unknown_target_is_not_reachable_and_the_message_says_where_it_was_looked_for() {
    let lab = Lab::new();
    let message = format!(
        "controller: srv-9 is not reachable: no address of it is known, and the LAN is not asked \
         (mdns = false)\n{}",
        is_it_running("srv-9")
    );

    assert_says(
        lab.controller(["run", "-t", "srv-9", "--", "true"]),
        255,
        &message,
    );
    assert_says(
        lab.controller(["capabilities", "-t", "srv-9"]),
        255,
        &message,
    );
}

#[cfg(target_os = "linux")]
#[test]
fn unknown_target_on_a_lan_did_not_answer_there() {
    let lab = Lab::on_lan(1);
    let words = [
        "run",
        "-t",
        "srv-9",
        "--connect-timeout",
        "300ms",
        "--",
        "true",
    ];
    let message = format!(
        "controller: srv-9 is not reachable: no answer on the LAN within 0.3 s\n{}",
        is_it_running("srv-9")
    );

    assert_says(lab.controller(words), 255, &message);
}

#[test]
fn agent_that_does_not_answer_at_its_address_is_named_with_that_address() {
    let lab = Lab::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let words = [
        "run",
        "-t",
        TARGET,
        "--connect-timeout",
        "200ms",
        "--",
        "true",
    ];
    let command = lab.controller_knowing([(TARGET, address)], words);
    let message = format!(
        "controller: {TARGET} is not reachable: no answer from {address} (known address)\n{}",
        is_it_running(TARGET)
    );

    assert_says(command, 255, &message);
}

#[test]
fn nobody_on_the_network_is_no_target() {
    let lab = Lab::new();
    let words = ["agents", "--connect-timeout", "200ms"];
    let message = "controller: no agent answered within 200ms\n  Is funnelcloud running, with an \
                   identity of this mesh? An agent elsewhere needs --address NAME=IP:PORT\n";

    assert_says(lab.controller(words), 3, message);
}

#[test]
fn command_that_is_empty_is_refused() {
    let lab = Lab::new();
    let message = "controller: the command is empty: name a program after `--`\n  \
                   `controller run --help` shows examples\n";

    for words in [&[][..], &["--"], &["--", ""]] {
        let mut command = lab.controller(["run", "-t", TARGET]);
        command.args(words);
        assert_says(command, 64, message);
    }
}

#[test]
fn script_of_two_words_is_told_to_be_quoted() {
    let lab = Lab::new();
    let message = "controller: a script is one word, and \"/tmp\" is a second: quote the script, or \
                   leave out --shell to run a program with arguments\n  \
                   `controller run --help` shows examples\n";

    assert_says(
        lab.controller(["run", "-t", TARGET, "--shell", "ls", "/tmp"]),
        64,
        message,
    );
}

#[test]
fn shell_without_a_script_is_refused() {
    let lab = Lab::new();

    let said = failure(lab.controller(["run", "-t", TARGET, "--shell"]), 64);
    assert!(said.contains("--shell needs a script"), "{said}");
    let said = failure(lab.controller(["run", "-t", TARGET, "--shell", " "]), 64);
    assert!(said.contains("the script is empty"), "{said}");
}

#[test]
fn unknown_shell_is_answered_with_the_known_ones() {
    let lab = Lab::new();
    let message = "controller: --shell=tcsh: not a shell: expected bash, sh, zsh, pwsh, powershell \
                   or cmd\n  `controller run --help` shows examples\n";

    assert_says(
        lab.controller(["run", "-t", TARGET, "--shell=tcsh", "ls"]),
        64,
        message,
    );
}

#[test]
fn script_file_that_cannot_be_read_is_named() {
    let lab = Lab::new();
    let folder = lab.mesh().folder();
    let [empty, binary] = ["empty", "binary"].map(|name| folder.join(name));
    fs_err::write(&empty, "\n").unwrap();
    fs_err::write(&binary, [0xff, 0xfe]).unwrap();

    for (path, why) in [
        ("/no/where".as_ref(), "No such file"),
        (folder, "Is a directory"),
        (empty.as_path(), "is empty"),
        (binary.as_path(), "is not UTF-8"),
    ] {
        let mut command = lab.controller(["run", "-t", TARGET, "--script"]);
        command.arg(path);

        let said = failure(command, 64);

        assert!(said.starts_with("controller: --script: "), "{said}");
        assert!(
            said.contains(path.to_str().unwrap()) && said.contains(why),
            "{said}"
        );
    }
}

#[test]
fn input_file_that_is_missing_is_found_out_before_anything_starts() {
    let mut lab = Lab::loopback();
    for path in ["/no/where", "/tmp"] {
        let file = format!("--stdin={path}");

        let said = failure(
            lab.controller(["run", "-t", TARGET, &file, "--", "cat"]),
            64,
        );

        assert!(
            said.starts_with("controller: --stdin: ") && said.contains(path),
            "{said}"
        );
    }
    assert!(
        !lab.agent(0).log().contains("run started"),
        "{}",
        lab.agent(0).log()
    );
}

#[test]
fn variable_without_a_value_is_refused() {
    let lab = Lab::new();

    let said = failure(
        lab.controller(["run", "-t", TARGET, "-e", "HOME", "--", "env"]),
        64,
    );
    assert!(said.contains("-e \"HOME\": expected NAME=VALUE"), "{said}");
    let said = failure(
        lab.controller(["run", "-t", TARGET, "-e", "=x", "--", "env"]),
        64,
    );
    assert!(said.contains("-e \"=x\": the name is empty"), "{said}");
}

#[test]
fn name_that_no_node_can_have_is_refused_with_the_rule() {
    let lab = Lab::new();
    let rule = "is not a name: use 1 to 63 lower-case letters, digits and inner hyphens";

    for name in [
        "Srv",
        "srv.example",
        "bücher",
        "-srv",
        "srv-",
        "",
        "a,",
        "../x",
        "ß\u{202e}",
    ] {
        let target = format!("--target={name}");
        assert_misused(lab.controller(["run", &target, "--", "true"]), rule);
        assert_misused(lab.controller(["capabilities", &target]), rule);
    }
}

#[test]
fn run_id_that_is_none_is_answered_with_its_form() {
    let lab = Lab::new();

    for id in ["12", "xyz", "00112233445566778899aabbccddeefg"] {
        let words = ["run", "-t", TARGET, "--run-id", id, "--", "true"];
        assert_misused(
            lab.controller(words),
            "expected 32 hexadecimal digits, or a UUID",
        );
    }
}

#[test]
fn address_that_is_none_is_answered_with_its_form() {
    let lab = Lab::new();
    let run = |address: &str| {
        let mut command = lab.controller(["run", "-t", TARGET, "--address"]);
        command.args([address, "--", "true"]);
        command
    };

    assert_misused(run("192.0.2.7:4433"), "expected NAME=IP:PORT");
    assert_misused(
        run("srv=192.0.2.7"),
        "expected an address such as 192.0.2.7:4433",
    );
    assert_misused(
        run("srv=host:4433"),
        "expected an address such as 192.0.2.7:4433",
    );
    assert_misused(run("Srv=192.0.2.7:4433"), "is not a name");
}

#[test]
fn time_without_a_unit_is_answered_with_examples() {
    let lab = Lab::new();

    for option in [
        "--timeout",
        "--idle-timeout",
        "--connect-timeout",
        "--grace",
    ] {
        for time in ["soon", "30", "-1s", "5 parsecs"] {
            let option = format!("{option}={time}");
            let words = ["run", "-t", TARGET, &option, "--", "true"];
            assert_misused(
                lab.controller(words),
                "is no length of time: write 500ms, 30s",
            );
        }
    }
    let mut command = lab.controller(["run", "-t", TARGET, "--", "true"]);
    command.env("MESOSYNC_TIMEOUT", "soon");
    assert_misused(command, "is no length of time: write 500ms, 30s");
}

#[test]
fn limit_of_no_time_at_all_is_refused() {
    let lab = Lab::new();

    for option in ["--timeout=0s", "--idle-timeout=0s", "--connect-timeout=0s"] {
        let words = ["run", "-t", TARGET, option, "--", "true"];
        assert_misused(lab.controller(words), "it must be longer than zero");
    }
}

#[test]
fn no_verb_and_a_wrong_verb_are_answered_with_where_to_look() {
    let lab = Lab::new();
    let none: [&str; 0] = [];

    let said = failure(lab.controller(none), 64);
    assert!(said.contains("`controller --help` lists them"), "{said}");
    assert_misused(lab.controller(["rum"]), "unrecognized subcommand 'rum'");
    assert_misused(lab.controller(["run"]), "--target <NAME>");
}

#[test]
fn misspelt_option_is_not_taken_for_the_command() {
    let lab = Lab::loopback();

    let run = lab.controller(["run", "-t", TARGET, "--tiemout", "5s", "--", "true"]);
    assert_misused(run, "unexpected argument '--tiemout'");
    // But everything after the program is the program's.
    let finished = lab.run(["run", "-t", TARGET, "echo", "--json", "-t", "x", "--", "y"]);
    assert_eq!(
        finished.expect_success().stdout_text(),
        "--json -t x -- y\n"
    );
}

#[test]
fn command_longer_than_a_frame_starts_nothing_and_says_how_to_send_it() {
    let mut lab = Lab::loopback();
    let long = "x".repeat(100_000);
    let mut command = lab.controller(["run", "-t", TARGET, "--", "echo"]);
    command.args([&long; 11]);

    let said = failure(command, 255);

    assert!(
        said.starts_with("controller: srv-linux-01: nothing was started: "),
        "{said}"
    );
    assert!(said.contains("longer than the 1048576 bytes"), "{said}");
    assert!(
        said.contains("\n  hand long data over by --stdin"),
        "{said}"
    );
    assert!(
        !lab.agent(0).log().contains("run"),
        "{}",
        lab.agent(0).log()
    );
}

#[test]
fn arguments_just_below_a_frame_arrive_whole() {
    let lab = Lab::loopback();
    let long = "x".repeat(100_000);
    let mut command = lab.controller(["run", "-t", TARGET, "--", "echo"]);
    command.args([&long; 10]);

    let finished = Process::run(command).expect_success();

    assert_eq!(finished.stdout_len, 10 * 100_001);
}

#[test]
fn program_that_cannot_be_started_says_why_and_what_to_do() {
    let lab = Lab::loopback();
    let run = |words: &[&str]| {
        let mut command = lab.controller(["run", "-t", TARGET]);
        command.args(words);
        command
    };

    assert_says(
        run(&["--", "no-such-program"]),
        127,
        "controller: srv-linux-01: no-such-program: command not found\n  `controller capabilities \
         -t NAME` shows what is there; what a shell builds in needs --shell\n",
    );
    assert_says(
        run(&["--", "/etc/passwd"]),
        126,
        "controller: srv-linux-01: /etc/passwd: not executable: permission denied\n  a script that \
         lies there is run by its shell: -- sh PATH\n",
    );
    let said = failure(run(&["--cwd", "/no/where", "--", "true"]), 125);
    assert!(
        said.starts_with("controller: srv-linux-01: working directory /no/where: "),
        "{said}"
    );
    assert!(
        said.ends_with("\n  name a folder of the target with --cwd\n"),
        "{said}"
    );
    let said = failure(run(&["-e", "LD_PRELOAD=x", "--", "true"]), 125);
    assert!(
        said.contains("\"LD_PRELOAD\" changes how programs load"),
        "{said}"
    );
}
