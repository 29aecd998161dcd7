//! The same run id once more, when agents may have forgotten it.

use scenarios::{Finished, Lab, PATIENCE, eventually};
use serde_json::Value;

use super::{lab_of, script};

/// A day and an hour, which is more than agents promise to remember.
const LONG_MS: u64 = 25 * 3_600_000;

const ID: &str = "07070707070707070707070707070707";

/// Makes everything on note so much older.
fn age(lab: &Lab) {
    let path = lab.mesh().home().join("runs.jsonl");
    let text = fs_err::read_to_string(&path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["at_ms"] = (line["at_ms"].as_u64().unwrap() - LONG_MS).into();
        format!("\n{line}")
    });
    let aged: String = lines.collect();
    fs_err::write(path, aged).unwrap();
}

#[test]
fn a_retry_is_refused_for_those_who_may_have_forgotten_and_for_nobody_else() {
    let mut lab = lab_of(&["web1", "web2", "web3"]);
    lab.agent(2).kill();
    let mark = lab.mesh().folder().join("mark");
    let touch = format!("echo x >> {}", mark.display());
    let retry = |lab: &Lab, target: &str, more: &[&str]| -> Finished {
        let options = ["-t", target, "--run-id", ID, "--connect-timeout", "2s"];
        lab.run(script(&[&options, more].concat(), &touch))
    };
    let _ = retry(&lab, "web1,web3", &[]).expect_code(4);
    let _ = retry(&lab, "web2", &["--detach"]).expect_success();
    lab.agent(2).restart();

    age(&lab);
    let ended = retry(&lab, "web1,web3", &[]).expect_code(64);
    let left = retry(&lab, "web2", &[]).expect_code(64);
    let _ = retry(&lab, "web3", &[]).expect_success();

    let said = ended.stderr_text();
    assert!(said.contains("ended on web1 25 hours ago"), "{said}");
    let said = left.stderr_text();
    assert!(said.contains("was asked of web2 25 hours ago"), "{said}");
    assert!(
        said.contains(&format!("`controller attach {ID}`")),
        "{said}"
    );
    // Once on each; the one that was left to itself writes when it likes.
    eventually(PATIENCE, || fs_err::read(&mark).unwrap() == b"x\nx\nx\n");
}
