//! `controller logs`: what a run printed, as far as its agent keeps it.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use proto::{
    id::{NodeName, RunId},
    run::{Attached, Hold, KnownOfLost, Outcome, Progress},
};

use super::{Global, describe_error, interrupt::Interrupts, setup, which::Which};
use crate::{
    exit::{code, process_code},
    orchestrator::{AttachRun, Running},
    output::{self, Sink, Stream, View, report},
    timespan::limit,
};

/// Show what a run has printed so far, and whether it still goes on.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  controller logs -f 3f2a

An agent keeps the output of a run for a day: all of it up to 64 MiB, of more the end.

Exit codes: 0 shown, 255 the agent was not reached, knows no such run, or was lost before all was shown.")]
pub(super) struct LogsArgs {
    #[command(flatten)]
    which: Which,
    /// Go on until the run ends. Unlike `attach`, this never holds the run up.
    #[arg(short, long)]
    follow: bool,
    /// Let remote control characters reach the terminal.
    #[arg(long)]
    raw: bool,
    /// How long to look for the agent.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    connect_timeout: Option<Duration>,
}

/// Runs the verb.
pub(super) fn logs(global: &Global, args: &LogsArgs) -> ExitCode {
    let (run, target) = match args.which.look_up_one(global) {
        Ok(meant) => meant,
        Err(error) => return process_code(describe_error::report(&error, code::USAGE)),
    };
    match setup::block_on(show(global, args, run, target)) {
        Ok(code) => process_code(code),
        Err(error) => process_code(describe_error::report(&error, code::UNREACHABLE)),
    }
}

async fn show(global: &Global, args: &LogsArgs, id: RunId, target: NodeName) -> anyhow::Result<u8> {
    let context = setup::open(global).await?;
    let wish = AttachRun {
        id,
        target: target.clone(),
        hold: Hold::Watch,
        window: setup::window(args.connect_timeout, &context.config),
    };
    let here = context.runner.here().await?;
    let mut running = here.attach(wish).await?;
    let view = if args.raw { View::Raw } else { View::Auto };
    let sink = Sink::new(view);
    let mut interrupts = Interrupts::listen();
    let printing = async {
        let is_whole = print(&mut running, &sink, args.follow).await;
        sink.finish().await.map(|()| is_whole)
    };
    let is_whole = tokio::select! {
        is_whole = printing => is_whole?,
        () = interrupts.next() => return Ok(code::INTERRUPTED),
    };
    here.remember_target(&running);
    here.shutdown().await;
    let (text, code) = conclude(running.outcome(), is_whole);
    output::say(&format!("{target}: {text}"));
    Ok(code)
}

/// Prints what there is, and with `follow` what comes; tells whether the agent answered.
async fn print(running: &mut Running, sink: &Sink, follow: bool) -> bool {
    let mut goal = None;
    loop {
        if let (Some(goal), false) = (goal, follow)
            && has(running.known(), goal)
        {
            return true;
        }
        let (stream, bytes) = match running.next().await {
            Some(Progress::Stdout(bytes)) => (Stream::Stdout, bytes),
            Some(Progress::Stderr(bytes)) => (Stream::Stderr, bytes),
            Some(Progress::Attached { attached, left_out }) => {
                goal.get_or_insert(attached);
                if left_out > 0 {
                    output::say(&format!(
                        "{}: {left_out} bytes of its output are no longer kept",
                        running.target()
                    ));
                }
                continue;
            }
            Some(Progress::Started(_) | Progress::Earlier(_) | Progress::Away) => continue,
            Some(Progress::Over) | None => return goal.is_some(),
        };
        match sink.ready().await {
            Ok(place) => place.write(stream, bytes),
            Err(_) => return true,
        }
    }
}

const fn has(known: KnownOfLost, goal: Attached) -> bool {
    known.stdout_bytes >= goal.stdout_to && known.stderr_bytes >= goal.stderr_to
}

/// Says how it is with the run, and returns the exit code: what is missing is no success.
fn conclude(outcome: Option<&Outcome>, answered: bool) -> (String, u8) {
    match outcome {
        Some(Outcome::Refused(refusal)) => (refusal.to_string(), code::UNREACHABLE),
        Some(lost @ Outcome::Lost(KnownOfLost { ended: None, .. })) => {
            let why = report::ended(lost);
            let text = format!("{why}; there may be more output than is shown");
            (text, code::UNREACHABLE)
        }
        Some(outcome) if answered => (report::ended(outcome), code::OK),
        Some(outcome) => (report::ended(outcome), code::UNREACHABLE),
        None => ("it still goes on".into(), code::OK),
    }
}

#[cfg(test)]
mod tests {
    use proto::run::Exit;

    use super::*;

    #[test]
    fn output_that_was_lost_on_the_way_is_no_success() {
        let lost = Outcome::Lost(KnownOfLost {
            sent: true,
            started: true,
            ended: None,
            stdout_bytes: 5,
            stderr_bytes: 0,
        });

        let (text, code) = conclude(Some(&lost), true);

        assert_eq!(code, code::UNREACHABLE);
        assert!(text.ends_with("more output than is shown"), "{text}");
        let ended = Outcome::Finished(Exit::Code(3));
        assert_eq!(conclude(Some(&ended), true).1, code::OK);
        assert_eq!(conclude(None, true).1, code::OK);
    }
}
