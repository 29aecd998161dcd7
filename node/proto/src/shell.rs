//! The shells that a script may be written for, and how each is started for one script.
//!
//! Owns the names and the launch argv. Which shell an agent prefers is its profile's business, and
//! what a script means is the classifier's.
//!
//! **Invariant:** the script is one word of the argv, unchanged but for the space described at
//! [`Shell::launch`], and no start-up file is read before it; so what runs is what was classified.
//! Guarded by `each_shell_is_started_without_its_startup_files` and
//! `a_script_is_never_read_as_an_option`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A shell that runs one script.
///
/// Travels by position: append only, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// The POSIX shell of the host: dash, busybox ash, or another in its guise.
    Sh,
    /// The Z shell.
    Zsh,
    /// PowerShell 7 and later, on any platform.
    Pwsh,
    /// Windows PowerShell 5.1.
    Powershell,
    /// The command processor of Windows.
    Cmd,
}

impl Shell {
    /// Every shell, in the order of the wire.
    pub const ALL: [Self; 6] = [
        Self::Bash,
        Self::Sh,
        Self::Zsh,
        Self::Pwsh,
        Self::Powershell,
        Self::Cmd,
    ];

    /// Returns the shell's name, which is also its program's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Sh => "sh",
            Self::Zsh => "zsh",
            Self::Pwsh => "pwsh",
            Self::Powershell => "powershell",
            Self::Cmd => "cmd",
        }
    }

    /// Returns the words that stand between the program and the script.
    ///
    /// They keep start-up files out, so that the script alone decides what happens. `sh` reads none
    /// when it is neither a login shell nor interactive; `ENV` is kept out by the environment.
    #[must_use]
    pub const fn launch_options(self) -> &'static [&'static str] {
        match self {
            Self::Bash => &["--noprofile", "--norc", "-c"],
            Self::Sh => &["-c"],
            Self::Zsh => &["-f", "-c"],
            Self::Pwsh | Self::Powershell => &["-NoProfile", "-NonInteractive", "-Command"],
            Self::Cmd => &["/d", "/s", "/v:off", "/c"],
        }
    }

    /// Returns the argv that runs `script`: program, options, script.
    ///
    /// A script that begins with `-` or `+` is preceded by one space, which no shell gives a
    /// meaning: otherwise bash, sh and zsh take it for an option, and PowerShell takes the script
    /// `-` for "read the commands from stdin", which nobody has classified.
    ///
    /// On Windows the words must reach `cmd` unescaped, as `/s` asks for: there the script is
    /// passed as a raw argument within one pair of quotes.
    #[must_use]
    pub fn launch(self, script: &str) -> Vec<String> {
        let script = if script.starts_with(['-', '+']) {
            format!(" {script}")
        } else {
            script.to_owned()
        };
        std::iter::once(self.as_str())
            .chain(self.launch_options().iter().copied())
            .map(str::to_owned)
            .chain(std::iter::once(script))
            .collect()
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Shell {
    type Err = ParseShellError;

    fn from_str(text: &str) -> Result<Self, ParseShellError> {
        Self::ALL
            .into_iter()
            .find(|shell| shell.as_str() == text)
            .ok_or(ParseShellError)
    }
}

/// A text that names none of the shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a shell: expected bash, sh, zsh, pwsh, powershell or cmd")]
pub struct ParseShellError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_reads_what_it_shows() {
        for shell in Shell::ALL {
            assert_eq!(shell.to_string().parse(), Ok(shell));
        }
        assert_eq!("fish".parse::<Shell>(), Err(ParseShellError));
        assert_eq!("Bash".parse::<Shell>(), Err(ParseShellError));
    }

    #[test]
    fn each_shell_keeps_its_number_on_the_wire() {
        for (number, shell) in (0_u8..).zip(Shell::ALL) {
            assert_eq!(postcard::to_allocvec(&shell), Ok(vec![number]));
            assert_eq!(postcard::from_bytes(&[number]), Ok(shell));
        }
        assert!(postcard::from_bytes::<Shell>(&[6]).is_err());
    }

    #[test]
    fn each_shell_is_started_without_its_startup_files() {
        let lines = Shell::ALL.map(|shell| shell.launch("a 'b'").join("|"));

        assert_eq!(
            lines,
            [
                "bash|--noprofile|--norc|-c|a 'b'",
                "sh|-c|a 'b'",
                "zsh|-f|-c|a 'b'",
                "pwsh|-NoProfile|-NonInteractive|-Command|a 'b'",
                "powershell|-NoProfile|-NonInteractive|-Command|a 'b'",
                "cmd|/d|/s|/v:off|/c|a 'b'",
            ]
        );
    }

    #[test]
    fn a_script_is_never_read_as_an_option() {
        for script in ["-", "-s", "--rcfile", "+x"] {
            for shell in Shell::ALL {
                let argv = shell.launch(script);

                assert_eq!(argv.last(), Some(&format!(" {script}")));
            }
        }
    }
}
