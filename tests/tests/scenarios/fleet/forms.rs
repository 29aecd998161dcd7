//! What is shown of several targets, and what a host cannot make of it.

use std::process::Command;

use scenarios::{Finished, Lab, Process, Screen, Terminal};
use serde_json::Value;

use super::{lab_of, script, sorted};

/// What a host prints that wants to pass for others, for this program, and steer the terminal.
const FORGERIES: &str = "printf 'db1: lie\\nweb1: real\\rdb1: lie\\ndb1 (1)\\n  | lie\\n\
    Finished 2/2 in 0.1 s: 2 ok\\ncontroller: db1: cancelled\\n\\033]52;c;ZXZpbA==\\007\\033[2J\\302\\205x\\n\
    {\"event\":\"ended\",\"target\":\"db1\"}\\nno end'";

/// Prints the forgeries on both streams.
fn forging() -> String {
    format!("{FORGERIES}; {FORGERIES} >&2")
}

fn ran(lab: &Lab, options: &[&str], text: &str) -> Finished {
    Process::run(lab.controller(script(options, text)))
}

#[test]
fn every_line_carries_the_name_of_who_wrote_it() {
    let lab = lab_of(&["web1", "db1"]);

    let finished = ran(
        &lab,
        &["-t", "web1,db1"],
        "echo out; echo err >&2; printf tail",
    );

    let finished = finished.expect_success();
    assert_eq!(
        sorted(&finished.stdout_text()),
        ["db1: out", "db1: tail", "web1: out", "web1: tail"]
    );
    let said = finished.stderr_text();
    assert!(
        said.contains("web1: err\n") && said.contains("db1: err\n"),
        "{said}"
    );
    assert!(
        said.lines().last().unwrap().starts_with("Finished 2/2 in "),
        "{said}"
    );
}

#[test]
fn no_host_can_write_a_line_without_its_name() {
    let lab = lab_of(&["web1"]);

    let finished = ran(&lab, &["-t", "web[1-1]"], &forging()).expect_success();

    let shown = finished.stdout_text();
    let lines: Vec<&str> = shown.split_inclusive(['\n', '\r']).collect();
    assert!(lines.len() >= 10, "{lines:?}");
    assert!(
        lines.iter().all(|line| line.starts_with("web1: ")),
        "{lines:?}"
    );
    let said = finished.stderr_text();
    let (before, last) = said.trim_end().rsplit_once('\n').unwrap();
    assert!(last.starts_with("Finished 1/1 in "), "{said}");
    assert!(
        before
            .split(['\n', '\r'])
            .all(|line| line.starts_with("web1: ")),
        "{said:?}"
    );
}

#[test]
fn no_host_can_write_a_header() {
    let lab = lab_of(&["web1", "db1"]);
    for form in ["-b", "--diff"] {
        let finished = ran(&lab, &["-t", "web1,db1", form], &forging()).expect_success();

        let shown = finished.stdout_text();
        let outside: Vec<&str> = shown
            .split(['\n', '\r'])
            .filter(|line| !line.starts_with("  ") && !line.is_empty())
            .collect();
        assert_eq!(outside, ["db1,web1 (2)"], "{form}: {shown}");
    }
}

#[test]
fn terminal_obeys_no_host_in_any_form() {
    let lab = lab_of(&["web1", "db1"]);
    for form in [&[][..], &["-b"], &["--diff"], &["--json"], &["--ndjson"]] {
        let mut options = vec!["-t", "web1,db1"];
        options.extend(form);
        let mut command = lab.controller(script(&options, &forging()));
        command.env("NO_COLOR", "1");

        let terminal = Terminal::run(command, Screen::Both);

        crate::display::assert_harmless(&terminal.text());
        assert!(terminal.status.success(), "{form:?}");
    }
}

#[test]
fn live_progress_leaves_whole_lines_and_nothing_elsewhere() {
    let lab = lab_of(&["web1", "web2"]);
    let text = "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.15; done";
    let with_cursor = |mut command: Command| {
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        command
    };

    let command = with_cursor(lab.controller(script(&["-t", "web[1-2]"], text)));
    let terminal = Terminal::run(command, Screen::Both).text();
    let command = with_cursor(lab.controller(script(&["-t", "web[1-2]"], text)));
    let elsewhere = Process::run(command).expect_success();

    assert!(
        terminal.contains("2 running, 0 ok, 0 not, 0 waiting"),
        "{terminal:?}"
    );
    for name in ["web1", "web2"] {
        for n in 1..=6 {
            let line = format!("{name}: line {n}\n");
            assert_eq!(terminal.matches(&line).count(), 1, "{terminal:?}");
        }
    }
    assert!(!elsewhere.stderr_text().contains('\u{1b}'), "{elsewhere:?}");
    assert_eq!(elsewhere.stdout_text().lines().count(), 12);
}

#[test]
fn identical_results_are_folded_and_others_stand_apart() {
    let lab = lab_of(&["web1", "web2", "web3", "db1"]);

    let words = script(&["-t", "web[1-3],db1", "-b"], "echo same; echo err >&2");
    let finished = lab.run(words).expect_success();

    assert_eq!(
        finished.stdout_text(),
        "db1,web[1-3] (4)\n  | same\n  ! err\n"
    );
}

#[test]
fn results_that_differ_are_compared_with_what_most_said() {
    let lab = lab_of(&["web1", "web2", "web3"]);
    let counter = lab.mesh().folder().join("counter");
    // The first to come is the odd one.
    let text = format!(
        "echo a; mkdir {} 2>/dev/null && echo odd || echo even; echo z",
        counter.display()
    );

    let finished = ran(&lab, &["-t", "web[1-3]", "--diff"], &text).expect_success();

    let shown = finished.stdout_text();
    let (most, odd) = shown.split_once(" (1)\n").unwrap();
    assert!(
        most.contains(" (2)\n  | a\n  | even\n  | z\nweb"),
        "{shown}"
    );
    assert!(
        odd.ends_with("  |  a\n  | -even\n  | +odd\n  |  z\n"),
        "{shown}"
    );
}

#[test]
fn json_is_one_object_with_a_report_for_each_target() {
    let lab = lab_of(&["web1"]);

    let words = ["-t", "web1,gone", "--json", "--connect-timeout", "300ms"];
    let finished = ran(&lab, &words, "echo x; exit 3").expect_code(6);

    let json: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let [gone, web] = [&json["targets"][0], &json["targets"][1]];
    assert_eq!(
        (&gone["target"], &gone["outcome"]),
        (&"gone".into(), &"unreachable".into())
    );
    assert_eq!(
        (&web["target"], &web["exit_code"]),
        (&"web1".into(), &3.into())
    );
    assert_eq!(web["stdout"]["text"], "x\n");
    assert_eq!((&web["run"], &gone["run"]), (&json["run"], &json["run"]));
    assert_eq!(json["summary"]["targets"], 2);
    assert_eq!(json["summary"]["unreachable"], serde_json::json!(["gone"]));
}

#[test]
fn events_name_their_target_and_end_with_a_summary() {
    let lab = lab_of(&["web1", "web2"]);

    let finished = ran(&lab, &["-t", "web*", "--ndjson"], "echo x").expect_success();

    let text = finished.stdout_text();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[0]["event"], "discovered");
    assert_eq!(events.last().unwrap()["event"], "summary");
    for name in ["web1", "web2"] {
        let of: Vec<&str> = events
            .iter()
            .filter(|event| event["target"] == name)
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert_eq!(of, ["started", "stdout", "ended"]);
    }
}

#[test]
fn folder_holds_the_bytes_of_each_and_is_not_overwritten_by_accident() {
    let lab = lab_of(&["web1", "web2"]);
    let folder = lab.mesh().folder().join("results");
    let path = folder.display().to_string();
    let options = [
        "-t",
        "web[1-2],gone",
        "--connect-timeout",
        "300ms",
        "--out-dir",
        &path,
    ];
    let read = |name: &str| fs_err::read(folder.join(name)).unwrap();

    let finished = ran(&lab, &options, "printf 'a\\377\\r'; printf e >&2").expect_code(4);

    assert_eq!(finished.stdout_text(), "");
    for name in ["web1", "web2"] {
        assert_eq!(read(&format!("{name}.stdout")), b"a\xff\r");
        assert_eq!(read(&format!("{name}.stderr")), b"e");
    }
    assert_eq!(read("hosts.succeeded"), b"web1\nweb2\n");
    assert_eq!(read("hosts.failed"), b"gone\n");
    assert!(!folder.join("gone.stdout").exists());

    let refused = ran(&lab, &options, "echo x").expect_code(64).stderr_text();
    assert!(
        refused.contains("results is not empty; name another folder, or --overwrite"),
        "{refused}"
    );
    let again = ["-t", "web[1-2]", "--out-dir", &path, "--overwrite"];
    let _ = ran(&lab, &again, "echo x").expect_success();
    assert_eq!(read("web1.stdout"), b"x\n");
    assert_eq!(read("hosts.failed"), b"");
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_is_told_and_the_results_are_still_summarised() {
    let lab = lab_of(&["web1", "web2"]);
    let folder = lab.mesh().folder().join("results");
    fs_err::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.join("web1.stdout")).unwrap();
    let path = folder.display().to_string();

    let options = [
        "-t",
        "web[1-2]",
        "-f",
        "1",
        "--out-dir",
        &path,
        "--overwrite",
    ];
    let finished = ran(&lab, &options, "yes | head -c 300000").expect_code(141);

    let said = finished.stderr_text();
    assert!(said.contains("Finished 1/2 in "), "{said}");
    assert!(said.contains("1 ok, 1 skipped [web2]"), "{said}");
    assert!(
        said.contains("controller: write the results: ") && said.contains("No space left"),
        "{said}"
    );
}

#[test]
fn one_name_keeps_its_codes_and_its_bytes_and_a_range_does_not() {
    let lab = lab_of(&["web1"]);

    let one = ran(&lab, &["-t", "web1"], "printf x; exit 7").expect_code(7);
    let folded = ran(&lab, &["-t", "web1", "-b"], "printf x; exit 7").expect_code(7);
    let range = ran(&lab, &["-t", "web[1-1]"], "printf x; exit 7").expect_code(2);

    assert_eq!(
        (one.stdout_text(), one.stderr_text()),
        ("x".into(), String::new())
    );
    assert_eq!(folded.stdout_text(), "web1 (1): exit 7\n  | x\n");
    assert_eq!(range.stdout_text(), "web1: x\n");
    assert!(
        range.stderr_text().contains("1 exit≠0 [web1:7]"),
        "{range:?}"
    );
}
