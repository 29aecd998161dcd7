//! From a request to a process, or to the reason why there is none.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, time::Duration};

use proto::{
    run::{RunRequest, StartFailure, StdinMode, What, Word},
    text::Text,
};

use crate::agent::{
    Shared,
    process::{Command, Environment, Limits, LoaderNames, Process, SpawnError, Stdin},
};

/// Starts the process that `request` asks for.
pub(super) fn start(request: &RunRequest, shared: &Shared) -> Result<Process, StartFailure> {
    let environment = environment(request, shared)?;
    let argv = argv(&request.what);
    let program = argv.first().map(shown).unwrap_or_default();
    let command = Command {
        run: request.id,
        argv,
        environment,
        cwd: request.cwd.clone().map(|cwd| PathBuf::from(os_string(cwd))),
        stdin: match request.stdin {
            StdinMode::Closed => Stdin::Closed,
            StdinMode::Piped => Stdin::Piped,
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

fn argv(what: &What) -> Vec<OsString> {
    match what {
        What::Argv(argv) => argv.words().iter().cloned().map(os_string).collect(),
        What::Script { shell, text } => {
            shell.launch(text).into_iter().map(OsString::from).collect()
        }
    }
}

fn environment(request: &RunRequest, shared: &Shared) -> Result<Environment, StartFailure> {
    let wanted = request.environment.0.iter();
    let wanted = wanted.map(|(name, value)| (os_string(name.clone()), os_string(value.clone())));
    Environment::new(&shared.base, wanted, LoaderNames::Refuse).map_err(|error| {
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
