//! A command on one target: its output as it is, its exit code passed on.

use proto::{
    id::{NodeName, RunId},
    run::{Outcome, Progress},
};

use super::{
    drive::{self, Driven, OnInterrupt, Shown, Stage, drive},
    flags::RunArgs,
    words::Wish,
};
use crate::{
    cli::{
        Global,
        describe_error::{self, Verdict},
        note::Note,
        setup,
    },
    config::DEFAULT_GRACE,
    exit::{Origin, code, of_outcome},
    orchestrator::RunError,
    output::{
        self, View, WriteError, chain,
        report::{self, Gathered, NotStarted, Report},
    },
    runner::Running,
};

const fn shown(args: &RunArgs) -> Shown {
    match (args.json, args.ndjson, args.raw) {
        (true, _, _) => Shown::Json,
        (false, true, _) => Shown::Ndjson,
        (false, false, true) => Shown::Bytes(View::Raw),
        (false, false, false) => Shown::Bytes(View::Auto),
    }
}

/// Does it all, and returns the exit code.
pub(super) fn run(global: &Global, args: &RunArgs, wish: Wish, target: NodeName) -> u8 {
    let asked = Asked {
        id: wish.start.id,
        target,
        shown: shown(args),
    };
    let ended = setup::block_on(whole(global, args, wish, &asked));
    ended.unwrap_or_else(|error| asked.not_started(&error))
}

/// An error proves that nothing was started.
async fn whole(
    global: &Global,
    args: &RunArgs,
    mut wish: Wish,
    asked: &Asked,
) -> anyhow::Result<u8> {
    let context = setup::open(global).await?;
    let config = &context.config;
    let grace = args.grace.or(config.grace).unwrap_or(DEFAULT_GRACE);
    wish.fill(config, grace, setup::window(args.connect_timeout, config));
    let stage = Stage::set(asked.shown, drive::Asked::Now);
    let note = Note::of(&context.home, asked.id);
    if args.run_id.is_some() {
        note.check_remembered([&asked.target])?;
    }
    note.asked(&wish.start.command, [asked.target.clone()]);
    let mut running = match context.runner.start(wish.start).await {
        Ok(running) => running,
        Err(error) => {
            note.not_started([asked.target.clone()]);
            context.runner.shutdown().await;
            return Err(error.into());
        }
    };
    if args.detach && has_begun(&mut running).await {
        context.runner.remember_target(&running);
        context.runner.shutdown().await;
        return Ok(asked.left_on_purpose()?);
    }
    let driven = drive(
        &mut running,
        stage,
        wish.stdin,
        OnInterrupt::Cancel { grace },
    )
    .await;
    if let Some(refusal) = running.not_let_in() {
        note.not_started([asked.target.clone()]);
        return Err(refusal.into());
    }
    context.runner.remember_target(&running);
    context.runner.shutdown().await;
    let code = asked.conclude(&running, driven);
    note.ended([(&asked.target, running.outcome())]);
    Ok(code)
}

/// Waits until the run has begun; false if it has ended instead, which is to be shown.
async fn has_begun(running: &mut Running) -> bool {
    while running.outcome().is_none() {
        if let Some(Progress::Started(_) | Progress::Earlier(_)) = running.next().await {
            return true;
        }
    }
    false
}

/// What was asked for, and how its end is to be shown.
pub(in crate::cli) struct Asked {
    pub(in crate::cli) id: RunId,
    pub(in crate::cli) target: NodeName,
    pub(in crate::cli) shown: Shown,
}

impl Asked {
    /// Says how to come back to a run that was left to itself.
    fn left_on_purpose(&self) -> Result<u8, WriteError> {
        let (id, target) = (self.id, &self.target);
        output::line(&id)?;
        output::say(&format!(
            "{target}: started, and left to itself\n  `controller attach {id}` hears it, `controller logs {id}` shows its output, `controller cancel {id}` ends it"
        ));
        Ok(code::OK)
    }

    /// Says that nothing was started, and why, and returns the exit code.
    fn not_started(&self, error: &anyhow::Error) -> u8 {
        let Verdict { code, .. } = describe_error::judge(error, code::UNREACHABLE);
        if code == code::UNREACHABLE {
            let outcome = match error.downcast_ref() {
                Some(RunError::Unreachable(_)) => NotStarted::Unreachable,
                Some(RunError::Told(told)) if told.unreachable => NotStarted::Unreachable,
                _ => NotStarted::Otherwise,
            };
            let why = chain(error.as_ref());
            let report = Report::not_started(self.id, self.target.clone(), outcome, code, why);
            let last = self.shown.last(report, Gathered::default());
            if let Some(Err(error)) = last.map(|last| output::whole(&last)) {
                return describe_error::report(&error.into(), code);
            }
        }
        describe_error::report(error, code)
    }

    /// Says what the exit code alone does not, and returns it.
    pub(in crate::cli) fn conclude(&self, running: &Running, driven: Driven) -> u8 {
        match driven {
            Driven::Over => {}
            Driven::LeftEarly => return code::INTERRUPTED,
            Driven::OutputFailed(error) => return self.output_failed(running, error),
        }
        let Some(outcome) = running.outcome() else {
            return code::INTERRUPTED;
        };
        let (code, origin) = of_outcome(outcome);
        if origin != Origin::Process {
            let mut text = explain(running, &self.target, outcome);
            if let Some(next) = describe_error::next_after(outcome) {
                text = format!("{text}\n  {next}");
            }
            output::say(&text);
        }
        code
    }

    /// Says that the output did not arrive; the end of the run that follows from it is no news,
    /// unless it is not known.
    fn output_failed(&self, running: &Running, error: WriteError) -> u8 {
        let code = describe_error::report(&error.into(), code::OUTPUT_CLOSED);
        match running.outcome() {
            Some(lost @ Outcome::Lost(_)) => {
                output::say(&explain(running, &self.target, lost));
                of_outcome(lost).0
            }
            Some(
                Outcome::Finished(_)
                | Outcome::Refused(_)
                | Outcome::TimedOut(_)
                | Outcome::Cancelled
                | Outcome::NotStarted,
            )
            | None => code,
        }
    }
}

/// Says how a run ended that did not simply finish.
pub(in crate::cli) fn explain(running: &Running, target: &NodeName, outcome: &Outcome) -> String {
    let mut text = format!("{target}: {}", report::why(outcome).unwrap_or_default());
    if let (Some(broken), Outcome::Lost(_)) = (running.broken(), outcome) {
        text = format!("{text}: {} (run {})", chain(broken), running.id());
    }
    let unconfirmed = running.ended().map(|ended| &ended.tree);
    if let Some(proto::run::Tree::Unconfirmed { pids }) = unconfirmed {
        text = format!("{text}; NOT confirmed: processes {pids:?} could not be ended");
    }
    text
}
