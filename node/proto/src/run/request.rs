//! What a controller asks of an agent.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    capability::{List, within_bound},
    id::{Fingerprint, NodeName, RunId},
    shell::Shell,
    text::Text,
};

/// A request to run one command on one agent, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Names this run for ever; a second request with the same id starts nothing.
    pub id: RunId,
    /// For whom this is, so that it is of no use to another agent.
    pub audience: Audience,
    /// When it was made, by the controller's clock, in milliseconds since 1970.
    pub issued_at_ms: u64,
    /// For how long after that it may be accepted, in milliseconds.
    pub valid_for_ms: u32,
    /// The person or service that asks, for the record; what may be done, the controller decided.
    pub principal: Text<128>,
    /// What to execute.
    pub what: What,
    /// Where; the agent's own choice if absent.
    pub cwd: Option<Word>,
    /// Variables added to the environment that the agent builds.
    pub environment: Environment,
    /// Whether standard input follows.
    pub stdin: StdinMode,
    /// When the agent ends the run on its own.
    pub limits: Limits,
    /// What becomes of the run when its link is lost.
    pub on_link_loss: OnLinkLoss,
}

impl RunRequest {
    /// The window of acceptance unless the request says otherwise, in milliseconds.
    pub const DEFAULT_VALID_FOR_MS: u32 = 60_000;

    /// Checks what the types do not already prove.
    ///
    /// # Errors
    /// Names the part of the request that no agent could carry out.
    pub fn check(&self) -> Result<(), RequestError> {
        let words = match &self.what {
            What::Argv(argv) => argv.words(),
            What::Script { text, .. } if text.contains('\0') => {
                return Err(RequestError::NulInScript);
            }
            What::LoginShell { .. } if !self.stdin.is_terminal() => {
                return Err(RequestError::NoTerminal);
            }
            What::Script { .. } | What::LoginShell { .. } => &[],
        };
        if let StdinMode::Terminal { term, .. } = &self.stdin
            && !is_term(term.untrusted())
        {
            return Err(RequestError::Term);
        }
        if words.len() > Argv::MAX_WORDS {
            return Err(RequestError::TooManyWords);
        }
        if self.environment.0.len() > Environment::MAX_VARIABLES {
            return Err(RequestError::TooManyVariables);
        }
        if words.iter().any(|word| word.0.contains(&0)) {
            return Err(RequestError::NulInArgv);
        }
        if self.cwd.as_ref().is_some_and(|cwd| cwd.0.contains(&0)) {
            return Err(RequestError::NulInCwd);
        }
        Ok(())
    }

    /// Returns SHA-256 over all that the run would do: what a retry with the same id must repeat.
    ///
    /// The window and the issue time are left out, since an honest retry has later ones.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let lasting = Self {
            issued_at_ms: 0,
            valid_for_ms: 0,
            ..self.clone()
        };
        let bytes =
            postcard::to_allocvec(&lasting).expect("our own types always serialize into memory");
        Sha256::digest(bytes).into()
    }
}

/// The one agent that a request is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    /// Which mesh.
    pub mesh: Fingerprint,
    /// Which of its agents.
    pub agent: NodeName,
}

/// What a run executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A program and its arguments, without a shell, unchanged.
    Argv(Argv),
    /// One script for exactly this shell.
    Script {
        /// The shell that the controller parsed it for.
        shell: Shell,
        /// The script.
        text: String,
    },
    /// An interactive shell, started as a login does: it reads its start-up files, and commands from
    /// the run's terminal, which nobody has classified.
    LoginShell {
        /// Which one; the account's own if absent.
        shell: Option<Shell>,
    },
}

/// Bytes of one argument or path: whatever the platform takes, not only UTF-8.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word(pub Vec<u8>);

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// A program and its arguments: at least one word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "List<Word, { Argv::MAX_WORDS }>", into = "Vec<Word>")]
pub struct Argv(Vec<Word>);

impl Argv {
    /// The most words that travel: a longer list is refused off the wire.
    ///
    /// A word takes one byte there and 24 in memory, and this many of them still stay within
    /// [`MAX_FRAME_LEN`](crate::frame::MAX_FRAME_LEN).
    pub const MAX_WORDS: usize = 32 * 1024;

    /// Returns the words, the program first.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        &self.0
    }
}

impl TryFrom<Vec<Word>> for Argv {
    type Error = EmptyArgv;

    fn try_from(words: Vec<Word>) -> Result<Self, EmptyArgv> {
        if words.first().is_none_or(|program| program.0.is_empty()) {
            return Err(EmptyArgv);
        }
        Ok(Self(words))
    }
}

impl TryFrom<List<Word, { Self::MAX_WORDS }>> for Argv {
    type Error = EmptyArgv;

    fn try_from(words: List<Word, { Self::MAX_WORDS }>) -> Result<Self, EmptyArgv> {
        Vec::from(words).try_into()
    }
}

impl From<Argv> for Vec<Word> {
    fn from(argv: Argv) -> Self {
        argv.0
    }
}

/// An argument list that names no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command is empty: name a program after `--`")]
pub struct EmptyArgv;

/// Variables that a request adds, in its order. The agent judges their names.
///
/// `Debug` shows names only, since values may be secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment(
    #[serde(deserialize_with = "within_bound::<_, _, { Environment::MAX_VARIABLES }>")]
    pub  Vec<(Word, Word)>,
);

impl Environment {
    /// The most variables that travel: a longer list is refused off the wire, for the reason of
    /// [`Argv::MAX_WORDS`]. Real ones hold some hundred.
    pub const MAX_VARIABLES: usize = 4 * 1024;
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Whether the process gets a standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StdinMode {
    /// It reads the end of file at once.
    Closed,
    /// It reads what the caller sends.
    Piped,
    /// Its standard streams are a terminal, which is its session's own. All that it shows is standard
    /// output.
    ///
    /// A terminal has no end of input apart from a byte that its modes give that meaning, so
    /// [`StdinEnd`](crate::frame::Frame::StdinEnd) says that nobody sits there any more: it hangs the
    /// terminal up (`SIGHUP`), which ends a shell that does not ignore it.
    Terminal {
        /// The terminal's width in characters; see [`Resize`](crate::frame::Resize).
        columns: u16,
        /// Its height.
        rows: u16,
        /// What kind it is, as the variable `TERM` says: ASCII letters, digits and `._+-`.
        term: Text<32>,
    },
}

impl StdinMode {
    /// Tells whether the standard streams are a terminal.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        match self {
            Self::Terminal { .. } => true,
            Self::Closed | Self::Piped => false,
        }
    }
}

/// Tells whether `term` may be the value of `TERM`: terminfo makes a path of it.
fn is_term(term: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    term.starts_with(|c: char| c.is_ascii_alphanumeric()) && term.chars().all(is_plain)
}

/// When an agent ends a run on its own. An absent limit is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time since the start, in milliseconds.
    pub wall_ms: Option<u64>,
    /// Time without any output, in milliseconds.
    pub idle_ms: Option<u64>,
    /// Bytes of standard output and standard error together.
    pub output_bytes: Option<u64>,
    /// Memory of the run's processes, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time, in seconds.
    pub cpu_s: Option<u64>,
    /// Time between asking the processes to end and killing them, in milliseconds.
    pub grace_ms: u32,
}

/// What becomes of a run when its link is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLinkLoss {
    /// It ends, with all its processes.
    End,
    /// It goes on, and its output is kept for the caller, who attaches again at the byte that it has.
    Keep {
        /// For how long it goes on without a caller before it is cancelled, in milliseconds.
        orphan_ms: u64,
    },
    /// Its caller leaves on purpose: it goes on for as long as it takes, and the newest of its output
    /// is kept.
    Detach,
}

/// A part of a request that no agent can carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// An argument holds a NUL byte, which no operating system passes on.
    #[error("an argument contains a NUL byte")]
    NulInArgv,
    /// The script holds a NUL character.
    #[error("the script contains a NUL character")]
    NulInScript,
    /// There are more words than [`Argv::MAX_WORDS`].
    #[error("the command has more than {} words", Argv::MAX_WORDS)]
    TooManyWords,
    /// There are more variables than [`Environment::MAX_VARIABLES`].
    #[error(
        "more than {} environment variables are set",
        Environment::MAX_VARIABLES
    )]
    TooManyVariables,
    /// A login shell is to read from what is no terminal.
    #[error("a login shell needs a terminal")]
    NoTerminal,
    /// The terminal's kind is no name of one.
    #[error("the terminal's kind (TERM) is not a name of ASCII letters, digits and `._+-`")]
    Term,
    /// The working directory holds a NUL byte.
    #[error("the working directory contains a NUL byte")]
    NulInCwd,
}
