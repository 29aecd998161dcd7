//! Who is meant.

use std::process::Command;

use scenarios::{Finished, Lab, Process, Stdin, Stdout, Terminal};

use super::{lab_of, script, sorted};

fn groups(lab: &Lab, text: &str) {
    fs_err::write(lab.mesh().home().join("groups.toml"), text).unwrap();
}

/// Runs it and returns what it says, which must not have run anything.
#[track_caller]
fn refused(command: Command, code: i32) -> String {
    let finished = Process::run(command).expect_code(code);
    assert_eq!(finished.stdout_text(), "");
    finished.stderr_text()
}

#[track_caller]
fn planned(lab: &Lab, options: &[&str]) -> Finished {
    let mut words = vec!["run", "--plan"];
    words.extend(options);
    words.extend(["--", "echo", "a b"]);
    lab.run(words).expect_success()
}

#[test]
fn names_ranges_globs_and_groups_choose_and_x_leaves_out() {
    let lab = lab_of(&["web01", "web02", "db1"]);
    groups(
        &lab,
        "front = [\"web[01-02]\"]\nall = [\"@front\", \"db1\"]",
    );
    let table = [
        (&["-t", "web[01-02]"][..], "web01: x\nweb02: x\n"),
        (&["-t", "web*"], "web01: x\nweb02: x\n"),
        (&["-t", "@all", "-x", "web02"], "db1: x\nweb01: x\n"),
        (&["-t", "web01", "-t", "db?,web01"], "db1: x\nweb01: x\n"),
        (&["--all", "--yes", "-x", "@front"], "db1: x\n"),
    ];

    for (options, expected) in table {
        let finished = lab.run(script(options, "echo x")).expect_success();

        assert_eq!(
            sorted(&finished.stdout_text()),
            sorted(expected),
            "{options:?}"
        );
    }
}

#[test]
fn agents_that_should_be_there_and_are_not_are_named_and_tried_and_counted() {
    let lab = lab_of(&["web1", "web2"]);
    let _ = lab.mesh().issue_agent("web3");

    let words = script(&["-t", "web*", "--connect-timeout", "300ms"], "echo x");
    let finished = Process::run(lab.controller(words)).expect_code(4);

    let said = finished.stderr_text();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("Discovered 2 in "), "{said}");
    assert!(
        lines[0].ends_with(" ms (expected 3, missing: web3)"),
        "{said}"
    );
    assert!(
        said.contains("controller: web3 is not reachable: "),
        "{said}"
    );
    let last = lines.last().unwrap();
    assert!(last.starts_with("Finished 2/3 in "), "{said}");
    assert!(last.ends_with(" s: 2 ok, 1 unreachable [web3]"), "{said}");
}

#[test]
fn glob_that_matches_one_agent_is_planned_like_any_other() {
    let lab = lab_of(&["web1"]);

    let finished = planned(&lab, &["-t", "*"]);

    assert_eq!(finished.stdout_text(), "web1 (1)\n  echo \"a b\"\n");
}

#[test]
fn many_names_are_looked_up_on_a_lan_together_and_the_absent_ones_counted() {
    let lab = Lab::on_lan(3);

    let options = ["-t", "srv-linux-[01-09]", "--connect-timeout", "1s"];
    let finished = Process::run(lab.controller(script(&options, "echo x"))).expect_code(4);

    let expected = ["srv-linux-01: x", "srv-linux-02: x", "srv-linux-03: x"];
    assert_eq!(sorted(&finished.stdout_text()), expected);
    let said = finished.stderr_text();
    assert!(
        said.contains("3 ok, 6 unreachable [srv-linux-[04-09]]"),
        "{said}"
    );
    let reason = "srv-linux-04 is not reachable: no answer on the LAN within 1 s\n";
    assert!(said.contains(reason), "{said}");
    let book = fs_err::read_to_string(lab.mesh().home().join("addresses.json")).unwrap();
    assert_eq!(book.matches("srv-linux-0").count(), 3, "{book}");
}

#[test]
fn filters_ask_the_agents_and_count_who_does_not_answer() {
    let lab = lab_of(&["web1", "web2"]);

    let linux = ["-t", "web[1-3]", "-F", "os.family=linux", "-F", "shells=sh"];
    let finished = Process::run(lab.controller(script(&linux, "echo x"))).expect_code(4);
    assert_eq!(sorted(&finished.stdout_text()), ["web1: x", "web2: x"]);
    assert!(
        finished.stderr_text().contains("1 unreachable [web3]"),
        "{finished:?}"
    );

    let windows = ["-t", "web[1-2]", "-F", "os.family=windows"];
    let said = refused(lab.controller(script(&windows, "echo x")), 3);
    assert!(
        said.contains("no target matches os.family=windows: none of the 2 that were asked fits"),
        "{said}"
    );
}

#[test]
fn plan_shows_the_frozen_targets_and_runs_nothing() {
    let lab = lab_of(&["web1", "web2"]);
    let mark = lab.mesh().folder().join("mark");
    let touch = format!("touch {}", mark.display());

    let text = lab
        .run(script(&["--plan", "--all"], &touch))
        .expect_success();
    let json = lab
        .run(script(&["--plan", "--json", "-t", "web1,n[1-3]"], &touch))
        .expect_success();
    let one = lab
        .run(script(&["--plan", "-t", "web1"], &touch))
        .expect_success();

    assert!(
        text.stdout_text()
            .starts_with("web[1-2] (2)\n  sh -c \"touch "),
        "{text:?}"
    );
    assert!(one.stdout_text().starts_with("web1 (1)\n"), "{one:?}");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        json["targets"],
        serde_json::json!(["n1", "n2", "n3", "web1"])
    );
    assert_eq!(json["command"]["argv"][0], "sh");
    assert!(!mark.exists());
}

#[test]
fn no_match_is_no_success_and_says_what_there_was() {
    let lab = lab_of(&["web1", "web2"]);

    let said = refused(lab.controller(script(&["-t", "db*"], "echo x")), 3);
    assert!(
        said.contains("controller: no target matches \"db*\": the 2 known agents are web[1-2]\n"),
        "{said}"
    );
    let said = refused(
        lab.controller(script(&["-t", "web1", "-x", "web*"], "echo x")),
        3,
    );
    assert!(said.contains("-x excludes all of them"), "{said}");
}

#[test]
fn groups_that_make_no_sense_are_refused_with_file_and_chain() {
    let lab = Lab::new();
    groups(
        &lab,
        "a = [\"@b\"]\nb = [\"@a\"]\nempty = []\nbad = [\"@nope\"]",
    );
    let file = lab.mesh().home().join("groups.toml").display().to_string();
    let said = |target: &str, code| refused(lab.controller(script(&["-t", target], "x")), code);

    assert_eq!(
        said("@a", 64),
        format!("controller: {file}: @a → @b → @a goes round in a circle\n")
    );
    assert_eq!(
        said("@bad", 64),
        format!("controller: {file}: @bad → @nope: there is no such group\n")
    );
    assert!(said("@empty", 3).contains("every group is empty"));
    groups(&lab, "a = [\"web[3-1]\"]");
    assert!(said("@a", 64).contains(&format!(
        "{file}, group \"a\": \"web[3-1]\": \"3-1\" ends before"
    )));
    groups(&lab, "a = 7");
    assert!(said("@a", 64).contains(&format!("{file}, line 1: ")));
    fs_err::remove_file(&file).unwrap();
    assert_eq!(
        said("@a", 64),
        format!("controller: there is no groups file {file}, in which @a would be\n")
    );
}

#[test]
fn hundred_thousand_targets_in_a_range_are_refused_at_once() {
    let lab = Lab::new();
    let said = |target: &str| refused(lab.controller(script(&["-t", target], "x")), 64);

    assert_eq!(
        said("web[1-100000]"),
        "controller: \"web[1-100000]\" makes 100000 targets, and a command may have 20000\n"
    );
    assert!(
        said("w[0-999999999][0-999999999][0-999999999]").contains("and a command may have 20000")
    );
}

#[test]
fn words_that_mean_nothing_are_misuse() {
    let lab = Lab::new();
    let table = [
        (&["-t", ""][..], "is not a name"),
        (&["-t", "a,,b"], "is not a name"),
        (&["-t", "web[1-3"], "a bracket without its other half"),
        (&["-t", "a", "-F", ""], "is not a filter"),
        (
            &["-t", "a", "-F", "os.famly=linux"],
            "did you mean \"os.family\"?",
        ),
        (&["-t", "a", "-x", "@"], "is not the name of a group"),
        (&["-t", "a", "--all"], "cannot be used with"),
        (&["-t", "a", "--batch", "x"], "is neither a number"),
        (&["-t", "a", "-f", "0"], "invalid value '0'"),
        (&["-t", "a", "-b", "--json"], "cannot be used with"),
    ];

    for (options, reason) in table {
        let said = refused(lab.controller(script(options, "echo x")), 64);
        assert!(said.contains(reason), "{options:?}: {said}");
    }
}

#[test]
fn everybody_is_asked_for_and_not_meant_by_accident() {
    let lab = lab_of(&["web1"]);
    let mark = lab.mesh().folder().join("mark");
    let touch = format!("touch {}", mark.display());

    for options in [&["--all"][..], &["-t", "*"], &["-t", "**", "-x", "a"]] {
        let said = refused(lab.controller(script(options, &touch)), 64);
        assert!(said.contains("add --yes"), "{said}");
    }
    assert!(!mark.exists());
    let _ = lab
        .run(script(&["--all", "--yes"], &touch))
        .expect_success();
    assert!(mark.exists());
}

#[test]
fn person_is_asked_before_a_command_runs_everywhere() {
    let lab = lab_of(&["web1", "web2"]);
    let mark = lab.mesh().folder().join("mark");
    let touch = format!("touch {}", mark.display());
    let answered = |answer: &str| {
        let command = lab.controller(script(&["--all"], &touch));
        Terminal::run_typing(command, answer)
    };

    for no in ["n\n", "\n", "yessir\n", "\u{4}"] {
        let terminal = answered(no);
        assert_eq!(
            terminal.status.code(),
            Some(130),
            "{no:?}: {}",
            terminal.text()
        );
        assert!(terminal.text().contains("nothing was run"), "{no:?}");
        assert!(!mark.exists(), "{no:?}");
    }
    let terminal = answered("y\n");
    let question = format!("Run sh -c \"{touch}\" on 2 agents (web[1-2])? [y/N] ");
    assert!(terminal.text().contains(&question), "{}", terminal.text());
    assert!(terminal.status.success() && mark.exists());
}

#[test]
fn every_target_reads_the_same_standard_input() {
    let lab = lab_of(&["web1", "web2", "web3"]);
    let input: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();

    for parallel in ["64", "1"] {
        let options = ["-t", "web*", "--stdin", "-b", "-f", parallel];
        let command = lab.controller(script(&options, "exec sha256sum"));
        let stdin = Stdin::Bytes(input.clone());
        let process = Process::start_with(command, stdin, Stdout::Captured);

        let finished = process.wait_exit(scenarios::PATIENCE).expect_success();

        let shown = finished.stdout_text();
        assert!(shown.starts_with("web[1-3] (3)\n  | "), "{shown}");
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }
}

#[test]
fn a_target_that_is_known_not_to_answer_holds_no_standard_input_back() {
    let mut lab = lab_of(&["web1", "web2"]);
    lab.agent(1).kill();
    let input = vec![b'x'; 2_000_000];
    let options = [
        "-t",
        "web1,web2",
        "-F",
        "os.family=linux",
        "--connect-timeout",
        "1s",
        "--stdin",
    ];
    let command = lab.controller(script(&options, "exec wc -c"));

    let process = Process::start_with(command, Stdin::Bytes(input), Stdout::Captured);
    let finished = process.wait_exit(scenarios::PATIENCE).expect_code(4);

    assert!(
        finished.stdout_text().contains("2000000"),
        "{}",
        finished.stdout_text()
    );
    assert!(finished.stderr_text().contains("1 unreachable"));
}
