//! Programs on a terminal: whose it is, what it does for them, and that nothing stays when it goes.

use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::agent::process::{TerminalSize, TreeEnd};

pub(super) const SIZE: TerminalSize = TerminalSize {
    columns: 101,
    rows: 37,
};

/// A program on a terminal, and all that it has shown.
struct Seat {
    process: Process,
    shown: Vec<u8>,
}

impl Seat {
    fn take(agent: &Agent, command: &Command) -> Self {
        let command = Command {
            stdin: Stdin::Terminal(SIZE),
            ..command.clone()
        };
        Self {
            process: agent.spawn(&command),
            shown: Vec::new(),
        }
    }

    async fn type_in(&mut self, bytes: &[u8]) {
        let keyboard = self.process.stdin.as_mut().unwrap();
        keyboard.write_all(bytes).await.unwrap();
    }

    /// Reads on until `text` has been shown after all that was awaited before.
    async fn wait_for(&mut self, text: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(at) = find(&self.shown, text.as_bytes()) {
                self.shown.drain(..at + text.len());
                return;
            }
            let read = self.read();
            let len = tokio::time::timeout_at(deadline, read).await;
            assert_ne!(len, Ok(0), "{text:?} was not shown: {}", self.text());
            assert!(len.is_ok(), "{text:?} was not shown: {}", self.text());
        }
    }

    /// Reads on to the end, and returns what was shown since the last that was awaited.
    async fn rest(&mut self) -> String {
        let all = async { while self.read().await > 0 {} };
        let all = tokio::time::timeout(PATIENCE, all).await;
        assert!(all.is_ok(), "the terminal does not end: {}", self.text());
        self.text()
    }

    async fn read(&mut self) -> usize {
        let screen = self.process.stdout.as_mut().unwrap();
        match screen.read_buf(&mut self.shown).await {
            Ok(len) => len,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
                0
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

#[tokio::test]
async fn every_standard_stream_is_a_terminal_of_the_size_that_was_asked_for() {
    for agent in Agent::each() {
        let script = "for fd in 0 1 2; do test -t $fd && echo \"tty $fd\"; done; stty size; \
                      echo error >&2";
        let mut seat = Seat::take(&agent, &shell(script));

        let shown = seat.rest().await;

        assert_eq!(shown, "tty 0\r\ntty 1\r\ntty 2\r\n37 101\r\nerror\r\n");
        assert_eq!(seat.process.wait().await.unwrap(), Exit::Code(0));
    }
}

#[tokio::test]
async fn the_terminal_is_that_of_the_programs_session() {
    for agent in Agent::each() {
        // Field 7 is the terminal of the session, 8 the process group in front.
        let script = "cut -d' ' -f5-8 /proc/$$/stat; stat -c %t:%T \"$(tty)\"; echo open >/dev/tty";
        let mut seat = Seat::take(&agent, &shell(script));
        let pid = seat.process.pid();

        let shown = seat.rest().await;

        let mut lines = shown.lines();
        let numbers: Vec<u32> = lines
            .next()
            .unwrap()
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        let [group, session, terminal, front] = numbers[..] else {
            panic!("{shown}")
        };
        assert_eq!([group, session], [pid, pid]);
        assert_ne!((terminal, front), (0, 0), "{shown}");
        let (_, minor) = lines.next().unwrap().split_once(':').unwrap();
        let minor = u32::from_str_radix(minor, 16).unwrap();
        assert_eq!(terminal & 0xff, minor & 0xff, "{shown}");
        assert_eq!(lines.next(), Some("open"));
        let own = fs_err::read_to_string("/proc/self/stat").unwrap();
        let own_terminal = own.rsplit_once(')').unwrap().1.split(' ').nth(5);
        assert_ne!(own_terminal.unwrap().parse(), Ok(terminal));
    }
}

#[tokio::test]
async fn a_new_size_is_told_to_the_program_in_front() {
    for agent in Agent::each() {
        let script = "trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.01; done";
        let mut seat = Seat::take(&agent, &shell(script));
        seat.wait_for("ready").await;

        let size = TerminalSize {
            columns: 132,
            rows: 0,
        };
        seat.process
            .terminal
            .as_ref()
            .unwrap()
            .resize(size)
            .unwrap();

        seat.wait_for("0 132").await;
        assert_eq!(seat.process.wait().await.unwrap(), Exit::Code(5));
    }
}

#[tokio::test]
async fn control_c_ends_the_job_in_front_and_not_its_shell() {
    for agent in Agent::each() {
        let bash = command(["bash", "--norc", "--noprofile", "-i"]);
        let mut seat = Seat::take(&agent, &bash);
        seat.type_in(b"sh -c 'echo fr''ont; exec sleep 1000'\n")
            .await;
        seat.wait_for("front").await;
        eventually("it sleeps", || marked(bash.run).len() == 2).await;

        seat.type_in(b"\x03").await;
        seat.type_in(b"echo code $?; exit 7\n").await;

        seat.wait_for("code 130").await;
        assert_eq!(seat.process.wait().await.unwrap(), Exit::Code(7));
    }
}

#[tokio::test]
async fn a_stopped_job_leaves_the_shell_in_front() {
    for agent in Agent::each() {
        let bash = command(["bash", "--norc", "--noprofile", "-i"]);
        let mut seat = Seat::take(&agent, &bash);
        seat.type_in(b"sh -c 'echo fr''ont; exec sleep 1000'\n")
            .await;
        seat.wait_for("front").await;
        eventually("it sleeps", || marked(bash.run).len() == 2).await;

        seat.type_in(b"\x1a").await;
        seat.wait_for("Stopped").await;
        let end = seat.process.end(Duration::from_secs(10)).await;

        assert_eq!((end, marked(bash.run)), (TreeEnd::Gone, vec![]));
    }
}

#[tokio::test]
async fn control_d_is_the_end_of_what_a_program_reads() {
    for agent in Agent::each() {
        let mut seat = Seat::take(&agent, &shell("stty -echo; echo ready; wc -c"));
        seat.wait_for("ready").await;

        seat.type_in(b"four\x04\x04").await;

        assert_eq!(seat.rest().await.trim(), "4");
        assert_eq!(seat.process.wait().await.unwrap(), Exit::Code(0));
    }
}

#[tokio::test]
async fn every_byte_passes_both_ways_where_the_program_wants_so() {
    let all: Vec<u8> = (0..=255).collect();
    for agent in Agent::each() {
        let script = "stty raw -echo; echo ready; dd bs=1 count=256 2>/dev/null";
        let mut seat = Seat::take(&agent, &shell(script));
        seat.wait_for("ready\n").await;

        seat.type_in(&all).await;
        let _ = seat.rest().await;

        assert_eq!(seat.shown, all);
    }
}

#[tokio::test]
async fn a_program_may_be_told_another_name_than_that_by_which_it_is_found() {
    for agent in Agent::each() {
        let named = Command {
            arg0: Some("-sh".into()),
            ..shell("echo $0; tr '\\0' ' ' </proc/$$/cmdline")
        };

        let (exit, output) = agent.run(&named).await;

        assert_eq!(exit, Exit::Code(0));
        let output = String::from_utf8(output).unwrap();
        assert!(output.starts_with("-sh\n-sh -c "), "{output}");
    }
}

#[tokio::test]
async fn a_shell_that_ignores_term_ends_at_once_with_all_its_jobs_when_it_is_ended() {
    for agent in Agent::each() {
        let bash = command(["bash", "--norc", "--noprofile", "-i"]);
        let mut seat = Seat::take(&agent, &bash);
        seat.type_in(b"sleep 1000 & nohup sleep 1001 >/dev/null 2>&1 &\n")
            .await;
        seat.type_in(b"setsid sleep 1002 &\necho rea''dy\n").await;
        seat.wait_for("ready").await;
        eventually("they sleep", || marked(bash.run).len() == 4).await;

        // Long enough to fail by PATIENCE if it were needed.
        let end = tokio::time::timeout(PATIENCE, seat.process.end(PATIENCE * 3)).await;

        assert_eq!((end, marked(bash.run)), (Ok(TreeEnd::Gone), vec![]));
    }
}

#[tokio::test]
async fn a_hung_up_terminal_ends_its_program_and_what_it_says_last_is_heard() {
    for agent in Agent::each() {
        let script = "trap 'echo farewell; exit 3' HUP; echo ready; while :; do sleep 0.01; done";
        let mut seat = Seat::take(&agent, &shell(script));
        seat.wait_for("ready").await;

        seat.process.terminal.as_ref().unwrap().hang_up();

        seat.wait_for("farewell").await;
        assert_eq!(seat.process.wait().await.unwrap(), Exit::Code(3));
    }
}

#[tokio::test]
async fn a_dropped_process_takes_its_terminal_along() {
    for agent in Agent::each() {
        let command = shell("trap '' HUP; echo ready; sleep 1000; sleep 1000");
        let mut seat = Seat::take(&agent, &command);
        seat.wait_for("ready").await;

        drop(seat);

        eventually("all are gone", || marked(command.run).is_empty()).await;
    }
}

#[tokio::test]
async fn a_program_on_a_terminal_that_is_not_there_is_not_found() {
    for agent in Agent::each() {
        let command = Command {
            stdin: Stdin::Terminal(SIZE),
            ..command(["mesosync-no-such-program"])
        };

        let refused = agent.launcher.spawn(&command).unwrap_err();

        assert!(refused.to_string().contains("not found"), "{refused}");
    }
}

#[tokio::test]
async fn a_program_on_a_terminal_is_in_the_control_group_of_its_run() {
    let agent = Agent::best();
    if agent.launcher.containment() != Containment::Cgroup {
        return;
    }
    let directory = agent.launcher.shared.means.group_directory().unwrap();
    let mut seat = Seat::take(&agent, &shell("cat /proc/self/cgroup"));

    let shown = seat.rest().await;

    let own = directory.file_name().unwrap().to_str().unwrap();
    assert!(shown.contains(&format!("/{own}/")), "{shown}");
}

fn find(all: &[u8], part: &[u8]) -> Option<usize> {
    all.windows(part.len()).position(|window| window == part)
}
