//! From a request to a process, or to the reason why there is none.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    time::Duration,
};

use proto::{
    run::{RunRequest, StartFailure, StdinMode, What, Word},
    text::Text,
};

use crate::agent::{
    Shared,
    process::{
        Command, Environment, Limits, LoaderNames, Process, SpawnError, Stdin, TerminalSize,
    },
};

/// Starts the process that `request` asks for.
pub(super) fn start(request: &RunRequest, shared: &Shared) -> Result<Process, StartFailure> {
    let environment = environment(request, shared)?;
    let Executed { argv, arg0, cwd } = executed(&request.what, shared);
    let program = argv.first().map(shown).unwrap_or_default();
    let asked = request.cwd.clone().map(|cwd| PathBuf::from(os_string(cwd)));
    let command = Command {
        run: request.id,
        argv,
        arg0,
        environment,
        cwd: asked.or(cwd),
        stdin: match &request.stdin {
            StdinMode::Closed => Stdin::Closed,
            StdinMode::Piped => Stdin::Piped,
            StdinMode::Terminal { columns, rows, .. } => Stdin::Terminal(TerminalSize {
                columns: *columns,
                rows: *rows,
            }),
        },
        limits: Limits {
            memory: request.limits.memory_bytes,
            cpu: request.limits.cpu_s.map(Duration::from_secs),
        },
    };
    shared
        .launcher
        .spawn(&command)
        .map_err(|error| failure(&error, &program))
}

/// What is executed, and where if the request does not say.
struct Executed {
    argv: Vec<OsString>,
    arg0: Option<OsString>,
    cwd: Option<PathBuf>,
}

impl Executed {
    fn plainly(argv: Vec<OsString>) -> Self {
        let (arg0, cwd) = (None, None);
        Self { argv, arg0, cwd }
    }
}

fn executed(what: &What, shared: &Shared) -> Executed {
    match what {
        What::Argv(argv) => {
            Executed::plainly(argv.words().iter().cloned().map(os_string).collect())
        }
        What::Script { shell, text } => {
            Executed::plainly(shell.launch(text).into_iter().map(OsString::from).collect())
        }
        What::LoginShell { shell } => {
            let program = match shell {
                Some(shell) => shell.as_str().into(),
                None => shared.base.shell().to_owned(),
            };
            login(program, shared.base.home())
        }
    }
}

/// Starts a shell as login(1) does: its own name begins with a hyphen, which every shell of Unix takes
/// for the word to read the files of a login, and its folder is the account's home, or else `/`.
fn login(program: OsString, home: &OsStr) -> Executed {
    let name = Path::new(&program).file_name().unwrap_or(&program);
    let mut arg0 = OsString::from("-");
    arg0.push(name);
    let home = PathBuf::from(home);
    Executed {
        arg0: Some(arg0),
        argv: vec![program],
        cwd: Some(if home.is_dir() { home } else { "/".into() }),
    }
}

fn environment(request: &RunRequest, shared: &Shared) -> Result<Environment, StartFailure> {
    let term = match &request.stdin {
        StdinMode::Terminal { term, .. } => Some(("TERM".into(), term.untrusted().into())),
        StdinMode::Closed | StdinMode::Piped => None,
    };
    let wanted = request.environment.0.iter();
    let wanted = wanted.map(|(name, value)| (os_string(name.clone()), os_string(value.clone())));
    let set = term.into_iter().chain(wanted);
    Environment::new(&shared.base, set, LoaderNames::Refuse).map_err(|error| {
        StartFailure::Environment {
            why: Text::cut(&error.to_string()),
        }
    })
}

fn os_string(word: Word) -> OsString {
    OsString::from_vec(word.0)
}

fn shown(word: &OsString) -> String {
    word.to_string_lossy().into_owned()
}

fn failure(error: &SpawnError, program: &str) -> StartFailure {
    match error {
        SpawnError::NotFound { program } => StartFailure::NotFound {
            program: Text::cut(&shown(program)),
        },
        SpawnError::NotExecutable { program, why } => StartFailure::NotExecutable {
            program: Text::cut(&program.to_string_lossy()),
            why: Text::cut(&why.to_string()),
        },
        SpawnError::Cwd { path, why } => StartFailure::Cwd {
            cwd: Text::cut(&path.to_string_lossy()),
            why: Text::cut(&why.to_string()),
        },
        SpawnError::Empty
        | SpawnError::Nul { .. }
        | SpawnError::TooLong { .. }
        | SpawnError::Resources { .. } => StartFailure::Other {
            program: Text::cut(program),
            why: Text::cut(&error.to_string()),
        },
    }
}
