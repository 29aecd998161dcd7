//! `controller cp`: files arrive whole or not at all, whatever happens on the way and whoever lies.

mod broken; // links, processes and disks that fail in the middle
mod folders; // trees, their attributes and what is in them besides files
mod hostile; // agents that lie
mod places; // what a destination means, and what cannot be one
pub(crate) mod points; // either end killed around each durable write
mod requests; // controllers that lie

use std::{
    ffi::{OsStr, OsString},
    io::Read as _,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use scenarios::{Finished, Lab, Process};
use tempfile::TempDir;

const AGENT: &str = "srv-linux-01";

/// The folder of a test: `here` is the operator's, `there` the agent's.
struct Folders {
    _all: TempDir,
    here: PathBuf,
    there: PathBuf,
}

impl Folders {
    fn new() -> Self {
        let all = tempfile::Builder::new().prefix("cp-").tempdir().unwrap();
        let [here, there] = ["here", "there"].map(|name| {
            let folder = all.path().join(name);
            fs_err::create_dir_all(&folder).unwrap();
            folder
        });
        Self {
            _all: all,
            here,
            there,
        }
    }

    fn here(&self, name: &str) -> PathBuf {
        self.here.join(name)
    }

    fn there(&self, name: &str) -> PathBuf {
        self.there.join(name)
    }
}

/// Writes `NAME:path` for the lab's agent.
fn remote(path: impl AsRef<Path>) -> OsString {
    let path = path.as_ref().as_os_str().as_bytes();
    OsString::from_vec([AGENT.as_bytes(), b":", path].concat())
}

fn words<W: AsRef<OsStr>>(options: &[&str], paths: impl IntoIterator<Item = W>) -> Vec<OsString> {
    let options = options.iter().map(OsString::from);
    let paths = paths.into_iter().map(|path| path.as_ref().to_owned());
    [OsString::from("cp")]
        .into_iter()
        .chain(options)
        .chain(paths)
        .collect()
}

/// Runs `controller cp` to its end.
#[track_caller]
fn cp<W: AsRef<OsStr>>(
    lab: &Lab,
    options: &[&str],
    paths: impl IntoIterator<Item = W>,
) -> Finished {
    Process::run(lab.controller(words(options, paths)))
}

/// Runs `controller cp --json`, and returns its report.
#[track_caller]
fn report(finished: &Finished) -> serde_json::Value {
    match serde_json::from_slice(&finished.stdout) {
        Ok(report) => report,
        Err(error) => panic!("{error}: {finished:?}"),
    }
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut source = fs_err::File::open("/dev/urandom").unwrap();
    source.read_exact(&mut bytes).unwrap();
    bytes
}

/// Returns the names in a folder, sorted, as text.
#[track_caller]
fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The byte-exact promise, for each kind of content and both directions.
#[test]
fn files_of_every_size_and_name_arrive_byte_by_byte_in_both_directions() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    let mut sparse = vec![0; 3 << 20];
    sparse[2 << 20] = 1;
    let files: [(&[u8], Vec<u8>); 6] = [
        (b"empty", Vec::new()),
        (b"one byte", vec![b'x']),
        (b"random", random(5 << 20)),
        (b"sparse", sparse),
        (b"\xff\xfe not UTF-8", b"bytes".to_vec()),
        (b"ESC \x1b[2J and\nline", b"harmless".to_vec()),
    ];
    for (name, content) in &files {
        let path = folders.here.join(OsStr::from_bytes(name));
        fs_err::write(&path, content).unwrap();
        set_mode(&path, 0o4751);

        let copied = folders.there.join(OsStr::from_bytes(name));
        let _ = cp(&lab, &[], [path, remote(&copied).into()]).expect_success();
        let back = folders.here("back");
        let _ = cp(&lab, &[], [remote(&copied), back.clone().into()]).expect_success();

        assert!(fs_err::read(&copied).unwrap() == *content, "{name:?} there");
        assert!(fs_err::read(&back).unwrap() == *content, "{name:?} back");
        // Permission bits are kept; set-user-id never travels.
        assert_eq!((mode(&copied), mode(&back)), (0o751, 0o751));
    }
    assert_eq!(names(&folders.there).len(), files.len());
}

#[test]
fn a_report_tells_what_was_copied() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    fs_err::write(folders.here("a"), "12345").unwrap();

    let done = cp(
        &lab,
        &["--json"],
        [folders.here("a").into(), remote(&folders.there)],
    );

    let report = report(&done.expect_success());
    assert_eq!(report["outcome"], "copied");
    assert_eq!((&report["files"], &report["bytes"]), (&1.into(), &5.into()));
    assert_eq!(
        (&report["target"], &report["direction"]),
        (&AGENT.into(), &"put".into())
    );
}

#[test]
fn times_are_kept_on_demand() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
    let file = fs_err::File::create(folders.here("a")).unwrap();
    file.file().set_modified(long_ago).unwrap();
    let modified = |path: PathBuf| fs_err::metadata(path).unwrap().modified().unwrap();

    let _ = cp(
        &lab,
        &[],
        [folders.here("a").into(), remote(folders.there("now"))],
    );
    let _ = cp(
        &lab,
        &["-p"],
        [folders.here("a").into(), remote(folders.there("kept"))],
    );
    let _ = cp(
        &lab,
        &["-p"],
        [remote(folders.there("kept")), folders.here("back").into()],
    );

    assert_ne!(modified(folders.there("now")), long_ago);
    assert_eq!(modified(folders.there("kept")), long_ago);
    assert_eq!(modified(folders.here("back")), long_ago);
}
