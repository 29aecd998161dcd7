//! Runs that are asked for and that nobody knows.

use scenarios::Lab;
use serde_json::Value;

use crate::props::TARGET;

#[test]
fn a_run_that_its_agent_does_not_know_is_reported_with_the_exit_code_of_the_process() {
    let lab = Lab::loopback();
    let unknown = "07".repeat(16);

    for form in ["--json", "--ndjson"] {
        let finished = lab
            .run(["attach", &unknown, "-t", TARGET, form])
            .expect_code(255);

        let report: Value = serde_json::from_slice(&finished.stdout).unwrap();
        assert_eq!(report["outcome"], "refused");
        assert_eq!(report["origin"], "controller");
        assert_eq!(report["exit_code"], 255);
        let said = finished.stderr_text();
        assert!(said.contains(&format!("{TARGET}: ")), "{said}");
    }
}
