//! Where the real binaries are, built once with the profile of the tests.
//!
//! The place is read off the running test's own path, `<target>[/<triple>]/<profile>/deps/<test>`,
//! so that `CARGO_TARGET_DIR`, `--target` and `--release` are honoured without being told.
//! `MESOSYNC_BIN_DIR` names a folder of ready binaries instead, to test a package.
//!
//! Several test processes may build at once: cargo's own lock makes the later ones wait and find
//! nothing to do. Under nextest, which starts a process for each test, only the first process of a
//! nextest run asks cargo at all.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, ensure};

/// The paths of the binaries under test.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The operator's side.
    pub controller: PathBuf,
    /// The agent's side.
    pub funnelcloud: PathBuf,
}

impl Binaries {
    /// Returns the binaries, building them at the first call of this process.
    ///
    /// # Panics
    /// When they cannot be built or found.
    #[must_use]
    pub fn get() -> &'static Self {
        static FOUND: OnceLock<Binaries> = OnceLock::new();
        FOUND.get_or_init(|| match Self::find() {
            Ok(binaries) => binaries,
            Err(error) => panic!("the binaries under test: {error:?}"),
        })
    }

    fn find() -> anyhow::Result<Self> {
        if let Some(folder) = env::var_os("MESOSYNC_BIN_DIR") {
            return Self::within(Path::new(&folder));
        }

        let build = Build::of_this_test()?;
        if !build.is_done() {
            build.run()?;
        }
        Self::within(&build.folder)
    }

    fn within(folder: &Path) -> anyhow::Result<Self> {
        let binary = |name: &str| {
            let path = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
            ensure!(path.is_file(), "{} is not there", path.display());
            Ok(path)
        };
        Ok(Self {
            controller: binary("controller")?,
            funnelcloud: binary("funnelcloud")?,
        })
    }
}

/// How the running test was built, so that the binaries are built alike.
#[derive(Debug, PartialEq, Eq)]
struct Build {
    /// Where cargo puts the finished binaries.
    folder: PathBuf,
    /// The root of cargo's output.
    target: PathBuf,
    /// The platform, where one was named with `--target`.
    triple: Option<OsString>,
    profile: OsString,
}

impl Build {
    fn of_this_test() -> anyhow::Result<Self> {
        let test = env::current_exe().context("find the path of the running test")?;
        Self::of_test(&test)
            .with_context(|| format!("{} does not lie in a cargo target folder", test.display()))
    }

    fn of_test(test: &Path) -> Option<Self> {
        let folder = test
            .ancestors()
            .find(|folder| folder.ends_with("deps"))?
            .parent()?;
        // A triple may stand between root and profile.
        let target = folder.ancestors().find(|at| is_root_of_output(at))?;
        let triple = match folder.parent()? {
            parent if parent == target => None,
            parent => parent.file_name().map(ToOwned::to_owned),
        };
        let profile = match folder.file_name()? {
            name if name == "debug" => OsString::from("dev"),
            name => name.to_owned(),
        };
        Some(Self {
            folder: folder.to_owned(),
            target: target.to_owned(),
            triple,
            profile,
        })
    }

    /// Builds the binaries, and notes for which nextest run it was done.
    fn run(&self) -> anyhow::Result<()> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.args([
            "build",
            "--quiet",
            "-p",
            "node",
            "-p",
            "controller",
            "--bins",
        ]);
        cargo
            .arg("--manifest-path")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        cargo
            .arg("--target-dir")
            .arg(&self.target)
            .arg("--profile")
            .arg(&self.profile);
        if let Some(triple) = &self.triple {
            cargo.arg("--target").arg(triple);
        }

        let output = cargo.output().context("start cargo")?;

        ensure!(
            output.status.success(),
            "{cargo:?} failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if let Some(run) = env::var_os("NEXTEST_RUN_ID") {
            fs_err::write(self.note(), run.as_encoded_bytes())?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        env::var_os("NEXTEST_RUN_ID").is_some_and(|run| {
            fs_err::read(self.note()).is_ok_and(|noted| noted == run.as_encoded_bytes())
        })
    }

    fn note(&self) -> PathBuf {
        self.folder.join(".scenarios-built")
    }
}

/// Tells whether `folder` is one that cargo has marked as the root of its output: it writes the first of
/// the marks only into a folder that it makes, and the second one unless it is told not to.
fn is_root_of_output(folder: &Path) -> bool {
    let marks = ["CACHEDIR.TAG", ".rustc_info.json"];
    marks.iter().any(|mark| folder.join(mark).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_folder() -> tempfile::TempDir {
        let target = tempfile::tempdir().unwrap();
        fs_err::write(target.path().join("CACHEDIR.TAG"), "").unwrap();
        target
    }

    #[test]
    fn debug_folder_means_the_dev_profile() {
        let target = target_folder();

        let build = Build::of_test(&target.path().join("debug/deps/scenarios-1f")).unwrap();

        assert_eq!(build.profile, "dev");
        assert_eq!(build.folder, target.path().join("debug"));
        assert_eq!(
            (build.target.as_path(), build.triple),
            (target.path(), None)
        );
    }

    #[test]
    fn target_folder_that_was_there_before_cargo_is_recognised() {
        let target = tempfile::tempdir().unwrap();
        fs_err::write(target.path().join(".rustc_info.json"), "{}").unwrap();

        let build = Build::of_test(&target.path().join("debug/deps/scenarios-1f")).unwrap();

        assert_eq!(build.target, target.path());
    }

    #[test]
    fn folder_between_target_and_profile_is_the_platform() {
        let target = target_folder();

        let test = target
            .path()
            .join("x86_64-unknown-linux-musl/release/deps/scenarios-1f");
        let build = Build::of_test(&test).unwrap();

        assert_eq!(build.profile, "release");
        assert_eq!(build.triple.unwrap(), "x86_64-unknown-linux-musl");
        assert_eq!(build.target, target.path());
    }

    #[test]
    fn test_that_was_copied_elsewhere_is_told_so() {
        let elsewhere = tempfile::tempdir().unwrap();

        assert_eq!(Build::of_test(&elsewhere.path().join("scenarios-1f")), None);
    }
}
