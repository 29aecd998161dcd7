//! Programs that cannot be started: each reason is told apart.

use super::*;
use crate::agent::process::{OsCode, SpawnError, Unexecutable};

#[tokio::test]
async fn a_missing_program_and_a_missing_directory_are_told_apart() {
    for agent in Agent::each() {
        let nowhere = Path::new("/nonexistent-directory");
        let missing = |program: &str| SpawnError::NotFound {
            program: program.into(),
        };
        let no_cwd = SpawnError::Cwd {
            path: nowhere.into(),
            why: OsCode(libc::ENOENT),
        };
        let there = |argv: &str| Command {
            cwd: Some(nowhere.into()),
            ..command([argv])
        };

        assert_eq!(
            refused(&agent, &command(["no-such-program"])),
            missing("no-such-program")
        );
        assert_eq!(
            refused(&agent, &command(["/no/such/program"])),
            missing("/no/such/program")
        );
        assert_eq!(
            refused(&agent, &command(["/bin/true/x"])),
            missing("/bin/true/x")
        );
        assert_eq!(refused(&agent, &command([""])), missing(""));
        assert_eq!(refused(&agent, &there("/bin/true")), no_cwd);
        assert_eq!(refused(&agent, &there("true")), no_cwd);
        assert_eq!(refused(&agent, &there("no-such-program")), no_cwd);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_entered_says_why() {
    for agent in Agent::each() {
        let command = Command {
            cwd: Some("/etc/passwd".into()),
            ..command(["true"])
        };
        let why = OsCode(libc::ENOTDIR);
        assert_eq!(
            refused(&agent, &command),
            SpawnError::Cwd {
                path: "/etc/passwd".into(),
                why
            }
        );
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_executed_says_why() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, content: &str, permissions: u32| {
        let path = directory.path().join(name);
        fs_err::write(&path, content).unwrap();
        mode(&path, permissions);
        path
    };
    let cases = [
        (file("plain", "x", 0o644), Unexecutable::Permission),
        (
            file("no-format", "echo a shell ran this\n", 0o755),
            Unexecutable::Format,
        ),
        (
            file("no-interpreter", "#!/no/such/interpreter\n", 0o755),
            Unexecutable::Interpreter,
        ),
        (directory.path().to_owned(), Unexecutable::NotAFile),
    ];

    for agent in Agent::each() {
        for (program, why) in &cases {
            let expected = SpawnError::NotExecutable {
                program: program.clone(),
                why: *why,
            };
            assert_eq!(refused(&agent, &command([program])), expected);
        }
        let by_name = Command {
            environment: environment(&[("PATH", directory.path().to_str().unwrap())]),
            ..command(["plain"])
        };
        let (program, why) = cases[0].clone();
        assert_eq!(
            refused(&agent, &by_name),
            SpawnError::NotExecutable { program, why }
        );
    }
}

#[tokio::test]
async fn the_path_of_the_request_decides_relative_to_its_directory() {
    let directory = TempDir::new().unwrap();
    for (place, word) in [("bin", "inner"), (".", "outer")] {
        let place = directory.path().join(place);
        fs_err::create_dir_all(&place).unwrap();
        fs_err::write(place.join("tool"), format!("#!/bin/sh\necho {word}\n")).unwrap();
        mode(&place.join("tool"), 0o755);
    }
    let agent = Agent::best();
    for (path, printed) in [
        ("bin", "inner\n"),
        ("/none:bin:", "inner\n"),
        (":bin", "outer\n"),
    ] {
        let command = Command {
            environment: environment(&[("PATH", path)]),
            cwd: Some(directory.path().into()),
            ..command(["tool"])
        };
        assert_eq!(
            agent.run(&command).await,
            (Exit::Code(0), printed.into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn words_that_cannot_be_passed_are_refused() {
    for agent in Agent::each() {
        let too_long = "x".repeat(128 * 1024);
        assert_eq!(refused(&agent, &command::<&str>([])), SpawnError::Empty);
        assert_eq!(
            refused(&agent, &command(["true", "a\0b"])),
            SpawnError::Nul { index: 1 }
        );
        assert!(matches!(
            refused(&agent, &command(["true", &too_long])),
            SpawnError::TooLong { bytes } if bytes > too_long.len()
        ));
    }
}

fn refused(agent: &Agent, command: &Command) -> SpawnError {
    agent.launcher.spawn(command).unwrap_err()
}
