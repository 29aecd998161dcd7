//! The environment of a run: built, never inherited.
//!
//! Owns the small base that every program finds, and the names that a request may not set. Pure: the
//! facts about the account are passed in as [`Base`].
//!
//! **Invariant:** an [`Environment`] has no name with `=` or NUL in it, none that is empty, and no
//! value with NUL, so that every entry is one string `name=value` that reads back as it was set.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use super::RUN_ID_VARIABLE;

/// Where programs are looked for if the agent's own `PATH` names no absolute directory.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The text encoding and language of programs that are read by other programs.
const DEFAULT_LANG: &str = "C.UTF-8";

/// Names that change what a program loads or runs before it does what its arguments say.
const LOADER_NAMES: &[&str] = &[
    "BASHOPTS",
    "BASH_ENV",
    "CLASSPATH",
    "DOTNET_STARTUP_HOOKS",
    "ENV",
    "GCONV_PATH",
    "GIT_ASKPASS",
    "GIT_EDITOR",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_PROXY_COMMAND",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_TEMPLATE_DIR",
    "GLIBC_TUNABLES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCPATH",
    "LUA_CPATH",
    "LUA_INIT",
    "LUA_PATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PROMPT_COMMAND",
    "PS4",
    "PSModulePath",
    "PYTHONBREAKPOINT",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "RUBYLIB",
    "RUBYOPT",
    "SHELLOPTS",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "ZDOTDIR",
    "_JAVA_OPTIONS",
];

/// Beginnings of such names.
const LOADER_PREFIXES: &[&str] = &[
    "BASH_FUNC_",
    "CORECLR_",
    "COR_",
    "DYLD_",
    "GIT_CONFIG",
    "LD_",
    "LUA_CPATH_",
    "LUA_INIT_",
    "LUA_PATH_",
];

/// Whether a request may set names that change how programs load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoaderNames {
    /// They are an error that names them.
    Refuse,
    /// Policy has allowed them.
    Allow,
}

/// What every program finds in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    entries: BTreeMap<OsString, OsString>,
}

/// The facts about an account that a [`Base`] is made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub(super) user: OsString,
    pub(super) home: OsString,
    pub(super) shell: OsString,
}

impl Base {
    /// Makes the base for `account` from the agent's own `PATH` and `TMPDIR`.
    ///
    /// Of `path` the absolute directories are kept: what a relative one means would depend on the
    /// run's working directory.
    pub(super) fn new(account: Account, path: Option<&OsStr>, tmpdir: Option<&OsStr>) -> Self {
        let mut entries = BTreeMap::from([
            ("HOME".into(), or(account.home, "/")),
            ("LANG".into(), DEFAULT_LANG.into()),
            ("LOGNAME".into(), account.user.clone()),
            ("PATH".into(), sane_path(path)),
            ("SHELL".into(), or(account.shell, "/bin/sh")),
            ("TERM".into(), "dumb".into()),
            ("USER".into(), account.user),
        ]);
        if let Some(tmpdir) = tmpdir.filter(|dir| std::path::Path::new(dir).is_absolute()) {
            entries.insert("TMPDIR".into(), tmpdir.to_owned());
        }
        Self { entries }
    }

    /// Returns the home folder of the agent's user.
    pub(crate) fn home(&self) -> std::path::PathBuf {
        self.entries
            .get(OsStr::new("HOME"))
            .map_or_else(|| "/".into(), Into::into)
    }
}

fn or(value: OsString, default: &str) -> OsString {
    if value.is_empty() {
        default.into()
    } else {
        value
    }
}

fn sane_path(path: Option<&OsStr>) -> OsString {
    let absolute = path
        .map(std::env::split_paths)
        .into_iter()
        .flatten()
        .filter(|dir| dir.is_absolute());
    match std::env::join_paths(absolute) {
        Ok(kept) if !kept.is_empty() => kept,
        Ok(_) | Err(_) => DEFAULT_PATH.into(),
    }
}

/// All variables of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    entries: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Puts what a request sets on top of the base.
    ///
    /// # Errors
    /// On the first name or value that cannot be passed on, or may not be.
    pub fn new(
        base: &Base,
        set: impl IntoIterator<Item = (OsString, OsString)>,
        loaders: LoaderNames,
    ) -> Result<Self, EnvironmentError> {
        let mut entries = base.entries.clone();
        for (name, value) in set {
            check(&name, &value, loaders)?;
            entries.insert(name, value);
        }
        Ok(Self { entries })
    }

    /// Returns the value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.entries.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Returns names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

fn check(name: &OsStr, value: &OsStr, loaders: LoaderNames) -> Result<(), EnvironmentError> {
    let bytes = name.as_encoded_bytes();
    if bytes.is_empty()
        || bytes
            .iter()
            .any(|byte| matches!(byte, b'=' | b'\0' | b'\n' | b'\r'))
    {
        return Err(EnvironmentError::Name {
            name: name.to_owned(),
        });
    }
    if value.as_encoded_bytes().contains(&b'\0') {
        return Err(EnvironmentError::Value {
            name: name.to_owned(),
        });
    }
    if same(bytes, RUN_ID_VARIABLE) {
        return Err(EnvironmentError::Reserved {
            name: name.to_owned(),
        });
    }
    match loaders {
        LoaderNames::Refuse if changes_loading(bytes) => Err(EnvironmentError::Loader {
            name: name.to_owned(),
        }),
        LoaderNames::Refuse | LoaderNames::Allow => Ok(()),
    }
}

fn changes_loading(name: &[u8]) -> bool {
    LOADER_NAMES.iter().any(|loader| same(name, loader))
        || LOADER_PREFIXES.iter().any(|prefix| {
            name.get(..prefix.len())
                .is_some_and(|start| same(start, prefix))
        })
}

/// Compares as the platform does: Windows takes `Path` and `PATH` for the same name.
fn same(name: &[u8], other: &str) -> bool {
    if cfg!(windows) {
        name.eq_ignore_ascii_case(other.as_bytes())
    } else {
        name == other.as_bytes()
    }
}

/// A variable that a request may not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// The name is empty, or contains `=`, NUL or a line break.
    #[error("{name:?} is not the name of a variable")]
    Name {
        /// As requested.
        name: OsString,
    },
    /// The value contains NUL.
    #[error("the value of {name:?} contains a NUL byte")]
    Value {
        /// As requested.
        name: OsString,
    },
    /// The agent sets it itself.
    #[error("{name:?} is set by the agent")]
    Reserved {
        /// As requested.
        name: OsString,
    },
    /// The name changes how programs load.
    #[error("{name:?} changes how programs load, and policy does not allow it")]
    Loader {
        /// As requested.
        name: OsString,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_complete_and_a_request_goes_on_top() {
        let base = Base::new(account(), Some(OsStr::new("/usr/bin:.:lib:/bin")), None);

        let built = environment(&base, "LANG", "de_DE.UTF-8").unwrap();

        let entries: Vec<_> = built
            .iter()
            .map(|(n, v)| (n.to_str(), v.to_str()))
            .collect();
        assert_eq!(
            entries,
            [
                (Some("HOME"), Some("/home/ann")),
                (Some("LANG"), Some("de_DE.UTF-8")),
                (Some("LOGNAME"), Some("ann")),
                (Some("PATH"), Some("/usr/bin:/bin")),
                (Some("SHELL"), Some("/bin/sh")),
                (Some("TERM"), Some("dumb")),
                (Some("USER"), Some("ann")),
            ]
        );
    }

    #[test]
    fn a_path_without_an_absolute_directory_is_replaced() {
        for path in [None, Some(""), Some("."), Some("bin:lib")] {
            assert_eq!(sane_path(path.map(OsStr::new)), DEFAULT_PATH);
        }
    }

    #[test]
    fn names_and_values_that_cannot_be_passed_on_are_refused() {
        for name in ["", "A=B", "A\0", "A\nB", "A\rB"] {
            let refused = environment(&base(), name, "x").unwrap_err();
            assert_eq!(refused, EnvironmentError::Name { name: name.into() });
        }
        assert_eq!(
            environment(&base(), "A", "x\0y").unwrap_err(),
            EnvironmentError::Value { name: "A".into() }
        );
    }

    #[test]
    fn names_that_change_how_programs_load_are_refused_by_name() {
        for name in [
            "LD_PRELOAD",
            "DYLD_INSERT_LIBRARIES",
            "BASH_ENV",
            "ENV",
            "PROMPT_COMMAND",
            "PYTHONSTARTUP",
            "NODE_OPTIONS",
            "PSModulePath",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "BASH_FUNC_ls%%",
            "IFS",
            "PERL5OPT",
            "RUBYOPT",
            "LD_",
        ] {
            let refused = environment(&base(), name, "x").unwrap_err();
            assert_eq!(refused, EnvironmentError::Loader { name: name.into() });
            assert!(refused.to_string().contains(name));
        }
        for harmless in ["env", "LDAP_SERVER", "ENVIRONMENT", "LD", "GIT_AUTHOR_NAME"] {
            assert!(environment(&base(), harmless, "x").is_ok(), "{harmless}");
        }
    }

    #[test]
    fn policy_can_allow_loader_names_but_never_the_mark_of_the_run() {
        let set =
            |name: &str| Environment::new(&base(), [(name.into(), "x".into())], LoaderNames::Allow);

        assert!(set("LD_PRELOAD").is_ok());
        assert_eq!(
            set(RUN_ID_VARIABLE),
            Err(EnvironmentError::Reserved {
                name: RUN_ID_VARIABLE.into()
            })
        );
    }

    fn environment(base: &Base, name: &str, value: &str) -> Result<Environment, EnvironmentError> {
        Environment::new(base, [(name.into(), value.into())], LoaderNames::Refuse)
    }

    fn base() -> Base {
        Base::new(account(), None, None)
    }

    fn account() -> Account {
        Account {
            user: "ann".into(),
            home: "/home/ann".into(),
            shell: "/bin/sh".into(),
        }
    }
}
