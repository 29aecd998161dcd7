//! Ending everything that a program has become.

use super::*;
use crate::agent::process::TreeEnd;

const NO_GRACE: Duration = Duration::ZERO;

/// Scripts that leave processes behind in the ordinary ways, and how many they make.
const TREES: &[(&str, &str, usize)] = &[
    ("children", "sleep 1000 & sleep 1000 & wait", 3),
    ("setsid", "setsid sleep 1000 & sleep 1000", 3),
    (
        "double fork",
        "(setsid sh -c 'sleep 1000 & sleep 1000' &) ; sleep 1000",
        4,
    ),
    (
        "ignored TERM",
        "trap '' TERM; sleep 1000 & while :; do sleep 1000; done",
        3,
    ),
    ("stopped", "sleep 1000 & kill -STOP $!; sleep 1000", 3),
    ("no environment", "env -i setsid sleep 1000 & wait", 1),
];

#[tokio::test]
async fn nothing_is_left_of_a_tree_that_was_ended() {
    for agent in Agent::each() {
        for (what, script, count) in TREES {
            let command = shell(script);
            let mut process = agent.spawn(&command);
            eventually(what, || marked(command.run).len() >= *count).await;

            let end = process.end(Duration::from_millis(100)).await;

            assert_eq!(
                (end, marked(command.run)),
                (TreeEnd::Gone, vec![]),
                "{what}"
            );
            assert!(!is_alive(process.pid()), "{what}");
            assert_eq!(process.leftover().await, Some(Vec::new()));
            assert_eq!(process.end(NO_GRACE).await, TreeEnd::Gone);
        }
    }
}

#[tokio::test]
async fn a_process_without_a_mark_is_ended_by_its_descent() {
    for agent in Agent::each() {
        let mut process = agent.spawn(&shell("env -i setsid sleep 1000 & echo $!; wait"));
        let stray = read_number(&mut process).await;
        eventually("it runs sleep", || name(stray) == "sleep").await;

        let end = process.end(NO_GRACE).await;

        assert_eq!((end, is_alive(stray)), (TreeEnd::Gone, false));
    }
}

#[tokio::test]
async fn what_the_first_process_leaves_is_seen_and_ended_although_it_holds_the_output() {
    for agent in Agent::each() {
        let command = shell("setsid sh -c 'sleep 1000; :' & exit 3");
        let mut process = agent.spawn(&command);
        assert_eq!(process.wait().await.unwrap(), Exit::Code(3));
        eventually("both run", || marked(command.run).len() == 2).await;

        let mut seen = process.leftover().await.unwrap();
        let end = process.end(Duration::from_secs(10)).await;

        seen.sort_unstable();
        assert_eq!(seen.len(), 2);
        assert_eq!((end, marked(command.run)), (TreeEnd::Gone, vec![]));
        assert_eq!(read(&mut process).await, b"");
    }
}

#[tokio::test]
async fn a_program_that_obeys_gets_its_grace() {
    for agent in Agent::each() {
        let mut process = agent.spawn(&shell(
            "trap 'echo obeyed; exit 5' TERM; echo ready; while :; do sleep 0.01; done",
        ));
        let mut ready = [0; 6];
        process
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .await
            .unwrap();

        let end = process.end(PATIENCE).await;

        assert_eq!(end, TreeEnd::Gone);
        assert_eq!(read(&mut process).await, b"obeyed\n");
        assert_eq!(process.wait().await.unwrap(), Exit::Code(5));
    }
}

#[tokio::test]
async fn a_storm_of_forks_ends() {
    // 64 processes in as many sessions, each of which replaces itself by a child all the time.
    let storm = "import os, time\n\
                 end = time.time() + 20\n\
                 for depth in range(6):\n\
                 \x20   if os.fork() == 0: os.setsid()\n\
                 while time.time() < end:\n\
                 \x20   if os.fork(): os._exit(0)\n\
                 \x20   time.sleep(0.1)\n";
    for agent in Agent::each() {
        let command = command(["python3", "-c", storm]);
        let mut process = agent.spawn(&command);
        eventually("the storm blows", || marked(command.run).len() > 50).await;

        let end = process.end(NO_GRACE).await;

        assert_eq!((end, marked(command.run)), (TreeEnd::Gone, vec![]));
    }
}

#[tokio::test]
async fn dropping_a_process_kills_its_tree() {
    for agent in Agent::each() {
        let command = shell("setsid sleep 1000 & sleep 1000");
        let process = agent.spawn(&command);
        eventually("all run", || marked(command.run).len() == 3).await;

        drop(process);

        eventually("nothing is left", || marked(command.run).is_empty()).await;
    }
}

#[tokio::test]
async fn a_run_after_a_killed_one_is_not_killed_with_it() {
    for agent in Agent::each() {
        for _ in 0..3 {
            let mut process = agent.spawn(&shell("trap '' TERM; echo ready; sleep 1000"));
            process.stdout.as_mut().unwrap().read_u8().await.unwrap();
            assert_eq!(process.end(NO_GRACE).await, TreeEnd::Gone);
            drop(process);

            assert_eq!(agent.run(&command(["true"])).await.0, Exit::Code(0));
        }
    }
}

#[tokio::test]
async fn ending_one_run_does_not_touch_another() {
    for agent in Agent::each() {
        let (one, other) = (shell("sleep 1000 & wait"), shell("sleep 1000 & wait"));
        let (mut ended, mut kept) = (agent.spawn(&one), agent.spawn(&other));
        eventually("both run", || {
            marked(one.run).len() + marked(other.run).len() == 4
        })
        .await;

        assert_eq!(ended.end(NO_GRACE).await, TreeEnd::Gone);

        assert_eq!(marked(other.run).len(), 2);
        assert_eq!(kept.end(NO_GRACE).await, TreeEnd::Gone);
    }
}

#[tokio::test]
async fn lost_runs_are_killed_by_their_mark() {
    let agent = Agent::best();
    let command = shell("sleep 1000 & wait");
    let _process = agent.spawn(&command);
    eventually("both run", || marked(command.run).len() == 2).await;

    let survivors = agent
        .launcher
        .kill_lost(&[command.run, RunId::from_bytes([9; 16])]);

    assert_eq!((survivors, marked(command.run)), (vec![], vec![]));
}

async fn read_number(process: &mut Process) -> u32 {
    let mut digits = Vec::new();
    loop {
        match process.stdout.as_mut().unwrap().read_u8().await.unwrap() {
            b'\n' => return String::from_utf8(digits).unwrap().parse().unwrap(),
            digit => digits.push(digit),
        }
    }
}

fn name(pid: u32) -> String {
    fs_err::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}
