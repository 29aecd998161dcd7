//! What a program finds: its arguments, input, environment, signals, descriptors.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use tokio::io::AsyncWriteExt as _;

use super::*;

#[tokio::test]
async fn arguments_reach_the_program_byte_for_byte() {
    let longest = "x".repeat(128 * 1024 - 1);
    let words: Vec<OsString> = [
        &b"plain"[..],
        b"two words",
        b"\"quoted\"",
        b"it's",
        b"a;b",
        b"$HOME `id` $(id)",
        b"line\nbreak",
        b"",
        b"*",
        b"~",
        b"\\",
        b"-n",
        b"%PATH%",
        b"^",
        b"\xff\xfe\x80",
        "\u{202e}".as_bytes(),
        longest.as_bytes(),
        b"",
    ]
    .iter()
    .map(|word| OsString::from_vec(word.to_vec()))
    .collect();
    let mut expected = Vec::new();
    for word in &words {
        expected.extend_from_slice(word.as_bytes());
        expected.push(0);
    }

    for agent in Agent::each() {
        let script =
            "import os,sys; os.write(1, b''.join(os.fsencode(a) + b'\\0' for a in sys.argv[1:]))";
        let python = ["python3", "-c", script].map(OsString::from);
        let mut command = command(python.iter().chain(&words));
        command.environment = environment(&[("PYTHONUTF8", "1")]);
        let mut process = agent.spawn(&command);

        let output = read(&mut process).await;

        assert!(
            output == expected,
            "{} bytes of {}",
            output.len(),
            expected.len()
        );
        assert_eq!(process.wait().await.unwrap(), Exit::Code(0));
    }
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    for agent in Agent::each() {
        for code in [0, 1, 42, 126, 127, 143, 255] {
            let (exit, _) = agent.run(&shell(&format!("exit {code}"))).await;
            assert_eq!(exit, Exit::Code(code));
        }
        for signal in [1, 9, 11, 13, 15] {
            let (exit, _) = agent.run(&shell(&format!("kill -{signal} $$"))).await;
            assert_eq!(exit, Exit::Signal(signal));
        }
    }
}

#[tokio::test]
async fn closed_input_is_the_end_of_file_at_once() {
    for agent in Agent::each() {
        assert_eq!(
            agent.run(&command(["wc", "-c"])).await,
            (Exit::Code(0), b"0\n".to_vec())
        );
    }
}

#[tokio::test]
async fn piped_input_arrives_and_ends_when_it_is_dropped() {
    for agent in Agent::each() {
        let mut process = agent.spawn(&Command {
            stdin: Stdin::Piped,
            ..command(["cat"])
        });

        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(b"\0binary\xff\n").await.unwrap();
        drop(stdin);

        assert_eq!(read(&mut process).await, b"\0binary\xff\n");
        assert_eq!(process.wait().await.unwrap(), Exit::Code(0));
    }
}

#[tokio::test]
async fn output_and_errors_are_apart() {
    for agent in Agent::each() {
        let mut process = agent.spawn(&shell("echo out; echo err >&2"));
        let mut errors = Vec::new();

        process
            .stderr
            .as_mut()
            .unwrap()
            .read_to_end(&mut errors)
            .await
            .unwrap();

        assert_eq!(
            (read(&mut process).await, errors),
            (b"out\n".to_vec(), b"err\n".to_vec())
        );
    }
}

#[tokio::test]
async fn the_environment_is_what_was_built_and_the_mark() {
    for agent in Agent::each() {
        let command = Command {
            environment: environment(&[("A", "x y\n=")]),
            ..command(["env", "-0"])
        };
        let mut expected: Vec<_> = command
            .environment
            .iter()
            .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
            .collect();
        expected.push(format!("MESOSYNC_RUN_ID={}", command.run).into_bytes());

        let (_, output) = agent.run(&command).await;

        let mut found: Vec<_> = output
            .strip_suffix(b"\0")
            .unwrap()
            .split(|byte| *byte == 0)
            .map(<[u8]>::to_vec)
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_program_starts_in_the_directory_that_was_asked_for() {
    let directory = TempDir::new().unwrap();
    let directory = fs_err::canonicalize(directory.path()).unwrap();
    for agent in Agent::each() {
        let (_, output) = agent
            .run(&Command {
                cwd: Some(directory.clone()),
                ..command(["pwd"])
            })
            .await;
        assert_eq!(output, [directory.as_os_str().as_bytes(), b"\n"].concat());
    }
}

#[tokio::test]
async fn a_program_starts_with_clean_signals_umask_session_and_descriptors() {
    let inherited = fs_err::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let script = "umask; ls /proc/self/fd | tr '\\n' ' '; cut -d' ' -f5,6 /proc/self/stat; echo $$; \
                  cat /proc/self/status";

    for agent in Agent::each() {
        let (_, output) = agent.run(&shell(script)).await;

        let output = String::from_utf8(output).unwrap();
        let mut lines = output.lines();
        assert_eq!(lines.next(), Some("0022"));
        let descriptors_group_session = lines.next().unwrap();
        let leader = lines.next().unwrap();
        // The fourth descriptor is the directory that `ls` reads.
        assert_eq!(
            descriptors_group_session,
            format!("0 1 2 3 {leader} {leader}")
        );
        let signals = lines.filter(|line| line.starts_with("Sig") && !line.starts_with("SigQ"));
        assert_eq!(
            signals.collect::<Vec<_>>(),
            [
                "SigPnd:\t0000000000000000",
                "SigBlk:\t0000000000000000",
                "SigIgn:\t0000000000000000",
                "SigCgt:\t0000000000000000",
            ]
        );
    }
    drop(inherited);
}

#[tokio::test]
async fn limits_hold() {
    for agent in Agent::each() {
        let limits = Limits {
            memory: Some(64 << 20),
            cpu: None,
        };
        let fill = "import sys; b = bytearray(200 << 20); sys.exit(7)";
        let (exit, _) = agent
            .run(&Command {
                limits,
                ..command(["python3", "-c", fill])
            })
            .await;
        assert_ne!(exit, Exit::Code(7), "memory");

        let limits = Limits {
            memory: None,
            cpu: Some(Duration::from_millis(300)),
        };
        let (exit, _) = agent
            .run(&Command {
                limits,
                ..shell("while :; do :; done")
            })
            .await;
        assert!(
            matches!(exit, Exit::Signal(libc::SIGKILL | libc::SIGXCPU)),
            "{exit:?}"
        );
    }
}
