//! What the agent itself keeps: descriptors, children, control groups.

use std::process::Command as Alone;

use super::*;
use crate::agent::process::TreeEnd;

/// Set in a process of its own, where no other test opens descriptors meanwhile.
const ALONE: &str = "MESOSYNC_TEST_ALONE";

#[test]
fn two_hundred_runs_leave_no_descriptor_no_child_and_no_group() {
    if std::env::var_os(ALONE).is_none() {
        let name = "two_hundred_runs_leave_no_descriptor_no_child_and_no_group";
        let module = module_path!().split_once("::").unwrap().1;
        let output = Alone::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::{name}"), "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{output:?}"
        );
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for agent in Agent::each() {
            let directory = agent.launcher.shared.means.group_directory();
            use_everything(&agent, 0).await;
            let before = descriptors();
            for number in 0..200 {
                use_everything(&agent, number).await;
            }

            // What is dropped goes on a thread; the first of it may have been under way, too.
            let clean = || descriptors() <= before && children() == 0;
            eventually("no descriptor and no child is left", clean).await;
            if let Some(directory) = directory {
                assert_eq!(groups(&directory), 2, "those kept for later runs");
                drop(agent);
                assert!(!directory.exists());
            }
        }
    });
}

/// Has two runs at once, one of which fails, and ends every other properly.
async fn use_everything(agent: &Agent, number: usize) {
    let mut process = agent.spawn(&command(["true"]));
    process.wait().await.unwrap();
    assert!(agent.launcher.spawn(&command(["/etc/passwd"])).is_err());
    let mut on_terminal = agent.spawn(&Command {
        stdin: Stdin::Terminal(terminal::SIZE),
        ..command(["true"])
    });
    on_terminal.wait().await.unwrap();
    if number.is_multiple_of(2) {
        assert_eq!(process.end(Duration::ZERO).await, TreeEnd::Gone);
    }
}

#[tokio::test]
async fn an_agent_kills_what_its_dead_predecessor_left() {
    let home = TempDir::new().unwrap();
    let command = shell("trap '' TERM; setsid sleep 1000 & sleep 1000");
    let predecessor = Launcher::open(home.path(), Containment::Cgroup).unwrap();
    if predecessor.containment() != Containment::Cgroup {
        return; // Without a control group, the ledger names the lost runs: see `kill_lost`.
    }
    let process = predecessor.spawn(&command).unwrap();
    eventually("all run", || marked(command.run).len() == 3).await;
    let directory = predecessor.shared.means.group_directory();
    std::mem::forget((predecessor, process)); // as if it had been killed

    let successor = Launcher::open(home.path(), Containment::Cgroup).unwrap();

    assert_eq!(marked(command.run), Vec::<u32>::new());
    assert_eq!(successor.containment(), Containment::Cgroup);
    assert_eq!(successor.shared.means.group_directory(), directory);
}

#[test]
fn empty_groups_of_dead_agents_are_removed_and_those_of_living_ones_are_not() {
    let [dead, living, new] = [(); 3].map(|()| TempDir::new().unwrap());
    let open = |home: &TempDir| Launcher::open(home.path(), Containment::Cgroup).unwrap();
    let living = open(&living);
    let Some(kept) = living.shared.means.group_directory() else {
        return; // There are no control groups here.
    };
    let abandoned = {
        let dead = open(&dead);
        dead.shared.means.group_directory().unwrap()
    };
    fs_err::create_dir_all(abandoned.join("run-0")).unwrap();

    let _new = open(&new);

    assert!(!abandoned.exists());
    assert!(kept.join("run-0").exists());
}

#[tokio::test]
async fn groups_that_somebody_else_removed_are_made_again() {
    let agent = Agent::best();
    if let Some(directory) = agent.launcher.shared.means.group_directory() {
        fs_err::remove_dir(directory.join("run-0")).unwrap();
        fs_err::remove_dir(directory).unwrap();
    }

    let (exit, _) = agent.run(&command(["true"])).await;

    assert_eq!(exit, Exit::Code(0));
}

#[test]
fn a_home_that_is_not_there_is_named() {
    let error = Launcher::open(Path::new("/no/such/home"), Containment::Cgroup).unwrap_err();

    assert_eq!(error.to_string(), "find the agent's home /no/such/home");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children() -> usize {
    let this = std::process::id();
    let children = fs_err::read_to_string(format!("/proc/{this}/task/{this}/children")).unwrap();
    children.split_ascii_whitespace().count()
}

fn groups(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .count()
}
