//! Links, processes and disks that fail in the middle: the old file or the new one, and a copy that
//! goes on where it broke.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use scenarios::{
    Finished, Lab, PATIENCE, Process, Screen, Terminal, eventually,
    proxy::{Proxy, Weather},
};

use super::{AGENT, Folders, names, random, remote, report, words};

/// Long enough to be still under way when its first part has arrived over a slow line.
const LONG: usize = 48 << 20;

/// What must have arrived before something breaks.
const ENOUGH: u64 = 2 << 20;

/// A line on which a long file takes some seconds.
const SLOW: Weather = Weather {
    delay: Duration::from_millis(25),
    lost_per_mille: 0,
    doubled_per_mille: 0,
    reordered_per_mille: 0,
    detour: Duration::ZERO,
    cut: false,
};

fn slow_line(lab: &Lab) -> Proxy {
    let proxy = Proxy::start(lab.address_of(0), 7);
    proxy.set_weather(SLOW);
    proxy
}

/// Starts a copy over `proxy`.
#[track_caller]
fn start(lab: &Lab, proxy: &Proxy, paths: [OsString; 2]) -> Process {
    let known = [(AGENT, proxy.address())];
    Process::start(lab.controller_knowing(known, words(&["--json"], paths)))
}

/// Runs the same copy over a good line.
#[track_caller]
fn again(lab: &Lab, paths: [OsString; 2]) -> Finished {
    Process::run(lab.controller(words(&["--json"], paths)))
}

/// Returns how much has arrived of the one file that is arriving in `folder`.
fn arrived(folder: &Path) -> u64 {
    let hidden = names(folder)
        .into_iter()
        .find(|name| name.starts_with('.') && name.ends_with(".part"));
    let len = |name| fs_err::metadata(folder.join(name)).map_or(0, |found| found.len());
    hidden.map_or(0, len)
}

#[track_caller]
fn wait_for_some(folder: &Path) {
    eventually(PATIENCE, || arrived(folder) >= ENOUGH);
}

#[track_caller]
fn assert_resumed(done: Finished) {
    let report = report(&done.expect_success());
    let resumed = report["resumed_bytes"].as_u64().unwrap();
    assert!(resumed >= ENOUGH, "{report}");
    assert_eq!(report["bytes"], LONG);
}

#[track_caller]
fn assert_arrived(folder: &Path, content: &[u8]) {
    assert!(fs_err::read(folder.join("x")).unwrap() == content);
    assert_eq!(names(folder), ["x"]);
}

#[test]
fn a_put_whose_controller_was_killed_goes_on_where_it_broke() {
    let lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    let content = random(LONG);
    fs_err::write(folders.here("x"), &content).unwrap();
    let paths = || [folders.here("x").into(), remote(&folders.there)];
    let mut broken = start(&lab, &proxy, paths());
    wait_for_some(&folders.there);

    broken.kill();
    assert!(!folders.there("x").exists());

    assert_resumed(again(&lab, paths()));
    assert_arrived(&folders.there, &content);
}

#[test]
fn a_get_whose_controller_was_killed_goes_on_where_it_broke() {
    let lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    let content = random(LONG);
    fs_err::write(folders.there("x"), &content).unwrap();
    let paths = || [remote(folders.there("x")), folders.here.clone().into()];
    let mut broken = start(&lab, &proxy, paths());
    wait_for_some(&folders.here);

    broken.kill();
    assert!(!folders.here("x").exists());

    assert_resumed(again(&lab, paths()));
    assert_arrived(&folders.here, &content);
}

#[test]
fn a_put_whose_agent_was_killed_goes_on_where_it_broke() {
    let mut lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    let content = random(LONG);
    fs_err::write(folders.here("x"), &content).unwrap();
    let paths = || [folders.here("x").into(), remote(&folders.there)];
    let mut broken = start(&lab, &proxy, paths());
    wait_for_some(&folders.there);

    lab.agent(0).kill();
    broken.kill();
    lab.agent(0).restart();

    assert_resumed(again(&lab, paths()));
    assert_arrived(&folders.there, &content);
    // No record is left of what is whole.
    assert_eq!(names(&lab.agent(0).home().join("copies")), [""; 0]);
}

#[test]
fn a_copy_outlives_a_restart_of_its_agent() {
    let mut lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    let content = random(LONG);
    fs_err::write(folders.here("x"), &content).unwrap();
    let copying = start(
        &lab,
        &proxy,
        [folders.here("x").into(), remote(&folders.there)],
    );
    wait_for_some(&folders.there);

    lab.agent(0).process().signal(Signal::TERM);
    let _ = copying.wait_for_line("dialling again", PATIENCE);
    lab.agent(0).restart();
    proxy.set_weather(Weather::default());
    proxy.redirect(lab.address_of(0));

    let done = copying.wait_exit(PATIENCE * 2);
    assert!(done.stderr_text().contains("linked again"), "{done:?}");
    assert_resumed(done);
    assert_arrived(&folders.there, &content);
}

#[test]
fn a_copy_outlives_a_line_that_is_cut_for_longer_than_its_link_lives() {
    let lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    let content = random(LONG);
    fs_err::write(folders.there("x"), &content).unwrap();
    let paths = [remote(folders.there("x")), folders.here.clone().into()];
    let copying = start(&lab, &proxy, paths);
    wait_for_some(&folders.here);

    proxy.cut();
    // Half a minute of silence ends a link.
    let _ = copying.wait_for_line("dialling again", PATIENCE * 2);
    proxy.set_weather(Weather::default());

    assert_resumed(copying.wait_exit(PATIENCE * 2));
    assert_arrived(&folders.here, &content);
}

#[test]
fn a_copy_that_is_interrupted_says_so_and_goes_on_later() {
    let lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    let content = random(LONG);
    fs_err::write(folders.there("x"), &content).unwrap();
    let paths = || [remote(folders.there("x")), folders.here.clone().into()];
    let mut copying = start(&lab, &proxy, paths());
    wait_for_some(&folders.here);

    copying.signal(Signal::INT);

    let ended = copying.wait_exit(PATIENCE).expect_code(130);
    assert_eq!(report(&ended)["outcome"], "interrupted");
    assert!(ended.stderr_text().contains("the same command goes on"));
    assert!(!folders.here("x").exists());
    assert_resumed(again(&lab, paths()));
    assert_arrived(&folders.here, &content);
}

#[test]
fn the_same_copy_started_again_takes_over() {
    let lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    let content = random(LONG);
    fs_err::write(folders.here("x"), &content).unwrap();
    let paths = || [folders.here("x").into(), remote(&folders.there)];
    let first = start(&lab, &proxy, paths());
    wait_for_some(&folders.there);

    assert_resumed(again(&lab, paths()));

    let said = first.wait_exit(PATIENCE).expect_code(1).stderr_text();
    assert!(said.contains("has taken over"), "{said}");
    assert_arrived(&folders.there, &content);
}

#[test]
fn of_two_copies_to_one_name_at_once_one_wins_whole() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    let contents = [random(8 << 20), random(8 << 20)];
    for (name, content) in ["a", "b"].iter().zip(&contents) {
        fs_err::write(folders.here(name), content).unwrap();
    }

    let copying = ["a", "b"].map(|name| {
        let paths = [folders.here(name).into(), remote(folders.there("x"))];
        Process::start(lab.controller(words(&[], paths)))
    });
    for one in copying {
        let _ = one.wait_exit(PATIENCE).expect_success();
    }

    assert!(contents.contains(&fs_err::read(folders.there("x")).unwrap()));
    assert_eq!(names(&folders.there), ["x"]);
}

#[test]
fn a_source_that_changed_in_between_is_copied_anew() {
    let lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    fs_err::write(folders.here("x"), random(LONG)).unwrap();
    let paths = || [folders.here("x").into(), remote(&folders.there)];
    let mut broken = start(&lab, &proxy, paths());
    wait_for_some(&folders.there);
    broken.kill();

    let content = random(LONG);
    fs_err::write(folders.here("x"), &content).unwrap();

    let done = again(&lab, paths()).expect_success();
    assert_eq!(report(&done)["resumed_bytes"], 0);
    assert_arrived(&folders.there, &content);
}

#[test]
fn progress_is_shown_on_a_terminal_and_taken_away() {
    let lab = Lab::loopback();
    let (folders, proxy) = (Folders::new(), slow_line(&lab));
    fs_err::write(folders.here("x"), random(8 << 20)).unwrap();
    let paths = [folders.here("x").into(), remote(&folders.there)];
    let known = [(AGENT, proxy.address())];
    let command = lab.controller_knowing(known, words(&[], paths));

    let shown = Terminal::run(command, Screen::Both).text();

    assert!(shown.contains("MiB of 8.0 MiB, "), "{shown:?}");
    assert!(shown.ends_with("\r\u{1b}[K"), "{shown:?}");
}

/// Lets `command` see a small disk at `folder`, in a mount namespace of its own.
fn with_small_disk(folder: &Path, command: &Command, then: &str) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        wrapped.arg("--map-root-user");
    }
    let script = format!("mount -t tmpfs -o size=4m tmpfs \"$0\" && {then}");
    wrapped.args(["sh", "-c", &script]).arg(folder);
    wrapped.arg(command.get_program()).args(command.get_args());
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    wrapped.env_clear().envs(set);
    wrapped
}

#[test]
fn a_full_disk_at_the_agent_changes_nothing_and_is_named() {
    let mut lab = Lab::loopback();
    let folders = Folders::new();
    lab.agent(0).kill();
    let command = with_small_disk(&folders.there, &lab.agent(0).command(), "exec \"$@\"");
    let agent = Process::start(command);
    let line = agent.wait_for_line("listening on ", PATIENCE);
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    let disk = Path::new("/proc")
        .join(agent.id().to_string())
        .join("root")
        .join(folders.there.strip_prefix("/").unwrap());
    let copy = |name: &str| {
        let paths = [folders.here(name).into(), remote(folders.there("x"))];
        Process::run(lab.controller_knowing([(AGENT, address)], words(&[], paths)))
    };
    fs_err::write(folders.here("small"), "old").unwrap();
    fs_err::write(folders.here("large"), random(8 << 20)).unwrap();
    let _ = copy("small").expect_success();

    let full = copy("large").expect_code(1);

    let said = full.stderr_text();
    assert!(said.contains("no space left there"), "{said}");
    assert!(said.contains(&format!("{AGENT}:")), "{said}");
    assert_eq!(fs_err::read(disk.join("x")).unwrap(), b"old");
    assert_eq!(names(&disk), ["x"]);
}

#[test]
fn a_full_disk_here_changes_nothing_and_is_named() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    fs_err::write(folders.there("x"), random(8 << 20)).unwrap();
    let paths = [remote(folders.there("x")), folders.here("x").into()];
    let command = lab.controller(words(&[], paths));
    let then = "echo old >\"$0/x\"; \"$@\"; code=$?; ls -A \"$0\"; cat \"$0/x\"; exit $code";

    let full = Process::run(with_small_disk(&folders.here, &command, then)).expect_code(1);

    let said = full.stderr_text();
    assert!(said.contains("x here: no space left there"), "{said}");
    assert_eq!(full.stdout_text(), "x\nold\n");
}

/// Not a disk that is full, but a folder in which this user may not write.
#[test]
fn a_read_only_place_is_named() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    fs_err::write(folders.there("x"), "x").unwrap();
    let paths = [remote(folders.there("x")), folders.here("x").into()];
    let command = lab.controller(words(&[], paths));
    let then = "mount -o remount,ro \"$0\" && exec \"$@\"";

    let refused = Process::run(with_small_disk(&folders.here, &command, then)).expect_code(1);

    let said = refused.stderr_text();
    assert!(said.contains("the file system is read-only"), "{said}");
    assert_eq!(names(OsStr::new(&folders.here).as_ref()), [""; 0]);
}
