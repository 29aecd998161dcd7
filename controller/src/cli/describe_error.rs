//! What a person can do about an error, and the exit code that goes with it.

use node::{links::Unreachable, run::StartRunError};
use proto::run::{Limit, Outcome, Refusal, StartFailure};

use super::{
    interrupt::Interrupted, note::NoLongerRemembered, run::NotConfirmed, setup::IdentityError,
};
#[cfg(unix)]
use super::{
    serve::{NoDaemon, next_to_occupy},
    setup::{ForeignDaemon, WrongDaemonSetting},
};
#[cfg(unix)]
use crate::daemon::{client::AskError, place::OccupyError, protocol::Declined};
use crate::{
    config::ConfigError,
    exit::code,
    history::FindRunError,
    home::NoHome,
    orchestrator::{DescribeError, EndRunError, RunError, fleet::InputError},
    output::{self, WriteError, fleet::FolderError},
    targets::SelectError,
    told::Told,
};

/// What helps where a certificate is not accepted.
const INSPECT: &str = "`controller pki inspect FILE` shows what an identity may do and until when";

/// An exit code, and the next step.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: u8,
    pub(super) next: Option<String>,
}

/// Prints `error` with its chain and the next step, and returns the exit code: `otherwise` where
/// the error does not have one of its own.
pub(super) fn report(error: &anyhow::Error, otherwise: u8) -> u8 {
    let verdict = judge(error, otherwise);
    if !cause::<WriteError>(error).is_some_and(WriteError::is_closed) {
        output::fail(error.as_ref(), verdict.next.as_deref());
    }
    verdict.code
}

/// Returns what follows from `error`.
pub(super) fn judge(error: &anyhow::Error, otherwise: u8) -> Verdict {
    let verdict = |code, next: Option<String>| Verdict { code, next };
    if cause::<WriteError>(error).is_some() {
        return verdict(code::OUTPUT_CLOSED, None);
    }
    if cause::<Interrupted>(error).is_some() {
        return verdict(code::INTERRUPTED, None);
    }
    if cause::<ConfigError>(error).is_some() || cause::<NoHome>(error).is_some() {
        return verdict(code::USAGE, None);
    }
    if let Some(error) = cause::<SelectError>(error) {
        return select(error);
    }
    if let Some(FindRunError::NoId { .. } | FindRunError::Unknown { .. }) = cause(error) {
        let next = "`controller runs` lists the runs on note here; with -t NAME, the agent is asked for a whole id";
        return verdict(code::USAGE, Some(next.into()));
    }
    let is_usage = cause::<NotConfirmed>(error).is_some()
        || cause::<NoLongerRemembered>(error).is_some()
        || cause::<Usage>(error).is_some();
    if is_usage || cause::<InputError>(error).is_some() {
        return verdict(code::USAGE, None);
    }
    match cause::<FolderError>(error) {
        Some(FolderError::NotEmpty { .. }) => return verdict(code::USAGE, None),
        Some(_) => return verdict(code::OUTPUT_CLOSED, None),
        None => {}
    }
    if let Some(error) = cause::<IdentityError>(error) {
        return verdict(code::UNREACHABLE, Some(error.next_step()));
    }
    if let Some(EndRunError::Unreachable(why)) = cause(error) {
        return verdict(code::UNREACHABLE, Some(next_to_reach(why)));
    }
    #[cfg(unix)]
    if let Some(verdict) = of_daemon(error, otherwise) {
        return verdict;
    }
    if let Some(told) = cause::<Told>(error) {
        return verdict(told.code, told.next.clone());
    }
    if let Some(DescribeError::Told(told)) = cause(error) {
        return verdict(told.code, told.next.clone());
    }
    if let Some(DescribeError::Unreachable(why)) = cause(error) {
        return verdict(code::UNREACHABLE, Some(next_to_reach(why)));
    }
    if let Some(why) = cause::<Unreachable>(error) {
        return verdict(code::UNREACHABLE, Some(next_to_reach(why)));
    }
    match cause(error) {
        Some(RunError::Unreachable(why)) => verdict(code::UNREACHABLE, Some(next_to_reach(why))),
        Some(RunError::Told(told)) => verdict(told.code, told.next.clone()),
        Some(RunError::Request(_)) => verdict(code::USAGE, None),
        Some(RunError::NotLetIn { .. }) => verdict(code::UNREACHABLE, Some(INSPECT.into())),
        Some(RunError::Start {
            source: StartRunError::TooLong(_),
            ..
        }) => verdict(
            code::UNREACHABLE,
            Some("hand long data over by --stdin, or by a file on the target".into()),
        ),
        Some(RunError::Hello { .. } | RunError::Start { .. } | RunError::Attach { .. }) => {
            verdict(code::UNREACHABLE, None)
        }
        None => verdict(otherwise, None),
    }
}

/// Words that make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) &'static str);

fn select(error: &SelectError) -> Verdict {
    match error {
        SelectError::NoMatch { .. } => Verdict {
            code: code::NO_TARGET,
            next: Some("`controller agents` lists who answers now".into()),
        },
        SelectError::Groups(_) | SelectError::Name(_) | SelectError::TooMany { .. } => Verdict {
            code: code::USAGE,
            next: None,
        },
    }
}

/// Returns what follows where the daemon is not to be had as it should.
#[cfg(unix)]
fn of_daemon(error: &anyhow::Error, otherwise: u8) -> Option<Verdict> {
    let verdict = |code, next: Option<String>| Some(Verdict { code, next });
    if let Some(error) = cause::<OccupyError>(error) {
        return verdict(otherwise, next_to_occupy(error).map(Into::into));
    }
    if cause::<WrongDaemonSetting>(error).is_some() {
        return verdict(code::USAGE, None);
    }
    if cause::<NoDaemon>(error).is_some() {
        return verdict(otherwise, Some("`controller serve` starts one".into()));
    }
    if cause::<ForeignDaemon>(error).is_some() {
        let next = "--no-daemon works without it; --socket FILE names another";
        return verdict(code::UNREACHABLE, Some(next.into()));
    }
    match cause::<AskError>(error) {
        Some(AskError::Told(told)) => verdict(otherwise, told.next.clone()),
        Some(AskError::Silent { pid: Some(pid) }) => verdict(
            otherwise,
            Some(format!(
                "`kill -CONT {pid}` lets a stopped one go on, `kill -KILL {pid}` ends it; runs go on at their agents"
            )),
        ),
        Some(AskError::Declined(Declined::Version { .. })) => verdict(
            otherwise,
            Some("stop it with the release that started it, or by SIGTERM".into()),
        ),
        Some(_) | None => None,
    }
}

/// Returns an error as another process shows it.
pub(super) fn told(error: &anyhow::Error) -> Told {
    let Verdict { code, next } = judge(error, code::UNREACHABLE);
    let is_unreachable = matches!(cause(error), Some(RunError::Unreachable(_)));
    Told {
        text: output::raw_chain(error.as_ref()),
        next,
        code,
        unreachable: is_unreachable,
    }
}

fn cause<E: std::error::Error + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn next_to_reach(unreachable: &Unreachable) -> String {
    let name = &unreachable.name;
    match unreachable
        .tried
        .iter()
        .map(|(_, error)| error.weight())
        .max()
    {
        None | Some(0) => format!(
            "Is funnelcloud running there? `controller agents` lists who answers; an agent elsewhere needs --address {name}=IP:PORT"
        ),
        Some(_) => INSPECT.into(),
    }
}

/// Returns what one can do about a run that did not simply finish.
pub(super) fn next_after(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Refused(Refusal::Start(failure)) => next_after_failure(failure),
        Outcome::TimedOut(Limit::Wall) => Some("--timeout TIME sets the limit"),
        Outcome::TimedOut(Limit::Idle) => Some("--idle-timeout TIME sets the limit"),
        Outcome::TimedOut(Limit::Output) => Some("--max-output BYTES sets the limit"),
        // The reasons of the others name the remedy, where there is one.
        Outcome::Refused(_)
        | Outcome::Finished(_)
        | Outcome::Cancelled
        | Outcome::NotStarted
        | Outcome::Lost(_) => None,
    }
}

const fn next_after_failure(failure: &StartFailure) -> Option<&'static str> {
    match failure {
        StartFailure::NotFound { .. } => Some(
            "`controller capabilities -t NAME` shows what is there; what a shell builds in needs --shell",
        ),
        StartFailure::NotExecutable { .. } => {
            Some("a script that lies there is run by its shell: -- sh PATH")
        }
        StartFailure::Cwd { .. } => Some("name a folder of the target with --cwd"),
        StartFailure::Environment { .. } => Some("leave that variable out"),
        StartFailure::Other { .. } => None,
    }
}
