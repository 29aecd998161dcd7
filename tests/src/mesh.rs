//! A mesh of its own: a CA and an operator, made by `controller pki` as a person makes them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use proto::id::Fingerprint;
use tempfile::TempDir;

use crate::{Binaries, Finished, Place, Process};

/// A mesh, and the folder that holds its secrets.
#[derive(Debug)]
pub struct Mesh {
    folder: TempDir,
}

impl Mesh {
    /// Makes a mesh with a CA and one controller.
    ///
    /// # Panics
    /// When `controller pki init` fails.
    #[must_use]
    #[track_caller]
    pub fn init(name: &str) -> Self {
        let folder = match tempfile::Builder::new().prefix("mesosync-").tempdir() {
            Ok(folder) => folder,
            Err(error) => panic!("no folder for a mesh: {error}"),
        };
        let mesh = Self { folder };
        let _ = mesh.run(["pki", "init", "--name", name]).expect_success();
        mesh
    }

    /// Returns the folder of this mesh: identities, and the homes of agents.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the operator's `MESOSYNC_HOME`.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.folder().join("controller")
    }

    /// Returns the fingerprint of its CA.
    ///
    /// # Panics
    /// When `controller pki fingerprint` fails.
    #[must_use]
    #[track_caller]
    pub fn fingerprint(&self) -> Fingerprint {
        let said = self.run(["pki", "fingerprint"]).expect_success();
        match said.stdout_text().trim().parse() {
            Ok(fingerprint) => fingerprint,
            Err(error) => panic!("{said:?}: {error}"),
        }
    }

    /// Issues an identity for an agent, and returns its file.
    ///
    /// # Panics
    /// When `controller pki issue` fails.
    #[track_caller]
    pub fn issue_agent(&self, name: &str) -> PathBuf {
        self.issue("agent", name)
    }

    /// Issues an identity for another operator, and returns its file.
    ///
    /// # Panics
    /// When `controller pki issue` fails.
    #[track_caller]
    pub fn issue_controller(&self, name: &str) -> PathBuf {
        self.issue("controller", name)
    }

    /// Returns `controller` with `arguments`, on this machine.
    #[must_use]
    pub fn controller<W: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = W>) -> Command {
        self.controller_at(&Place::here(), arguments)
    }

    /// Returns `controller` with `arguments`, in `place`, as this mesh's operator.
    #[must_use]
    pub fn controller_at<W: AsRef<OsStr>>(
        &self,
        place: &Place,
        arguments: impl IntoIterator<Item = W>,
    ) -> Command {
        let mut command = place.clean_command(&Binaries::get().controller, self.folder());
        command.env("MESOSYNC_HOME", self.home()).args(arguments);
        command
    }

    /// Runs `controller` with `arguments` to its end.
    ///
    /// # Panics
    /// When it hangs.
    #[track_caller]
    pub fn run<W: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = W>) -> Finished {
        Process::run(self.controller(arguments))
    }

    #[track_caller]
    fn issue(&self, role: &str, name: &str) -> PathBuf {
        let file = self.folder().join(format!("{role}-{name}.identity"));
        let words = ["pki", "issue", role, name, "--out"].map(OsStr::new);
        let _ = self
            .run(words.into_iter().chain([file.as_os_str()]))
            .expect_success();
        file
    }
}
