//! The controller's folder, `MESOSYNC_HOME`: where its own state lives.
//!
//! Owns the names of the files that are not the CA's (those are `pki::Store`'s): the
//! configuration, the groups of targets, and the addresses at which agents last answered.

use std::path::{Path, PathBuf};

use crate::history::History;

/// The variable that names the folder.
pub const HOME_VARIABLE: &str = "MESOSYNC_HOME";

/// The controller's folder.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

/// There is no folder where this user's state could live.
#[derive(Debug, thiserror::Error)]
#[error("this user has no home folder; name one with --home DIR or {HOME_VARIABLE}")]
pub struct NoHome;

impl Home {
    /// Takes the folder that was named, else the platform's data folder.
    ///
    /// # Errors
    /// None was named, and the platform has none for this user.
    pub fn find(named: Option<PathBuf>) -> Result<Self, NoHome> {
        if let Some(folder) = named {
            return Ok(Self(folder));
        }
        let folders = directories::ProjectDirs::from("", "", "mesosync").ok_or(NoHome)?;
        Ok(Self(folders.data_dir().to_owned()))
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("controller.toml")
    }

    /// Returns the path of the addresses at which agents last answered.
    #[must_use]
    pub fn addresses(&self) -> PathBuf {
        self.0.join("addresses.json")
    }

    /// Returns the note of the runs that were asked for.
    #[must_use]
    pub fn history(&self) -> History {
        History::of(&self.0)
    }

    /// Returns the path of the groups of targets.
    #[must_use]
    pub fn groups(&self) -> PathBuf {
        self.0.join("groups.toml")
    }

    /// Returns the path of the mesh's revocation list, if one was received or made.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.0.join("pki").join("crl.pem")
    }
}
