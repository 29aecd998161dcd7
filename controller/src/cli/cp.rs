//! `controller cp`: files to and from a target.

mod progress;
mod report;
mod words;

use std::{cell::RefCell, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use node::files::Meter;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::{progress::Progress, report::Report};
use super::{Global, describe_error, interrupt::Interrupts, setup};
use crate::{
    exit::{code, process_code},
    orchestrator::{Copied, Copy, News, Unreachable},
    output::{self, chain, events::harmless_pretty_json},
    timespan::limit,
};

/// How often the progress is shown anew.
const TICK: Duration = Duration::from_millis(200);

/// How many reasons are told one by one.
const MAX_TOLD: usize = 20;

/// Copy files to or from a target.
///
/// A file gets its name when all of it has arrived and its SHA-256 is right; until then the old one
/// stays. The same command again goes on where a broken one stopped. Permission bits are kept.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
controller cp [OPTIONS] SOURCE... NAME:PATH
       controller cp [OPTIONS] NAME:PATH... DESTINATION",
    after_help = "\
Examples:
  controller cp report.pdf srv-linux-01:/tmp/
  controller cp -r srv-linux-01:/etc/nginx ./nginx-of-srv-linux-01

A remote path that does not begin with / starts in the home folder of the agent's user. A file here
whose name has a colon is written ./a:b.

Exit codes: 0 all copied, 1 something could not be copied, 64 usage, 130 interrupted,
255 unreachable or lost."
)]
pub(super) struct CpArgs {
    /// Copy folders, with all that is in them.
    #[arg(short, long)]
    recursive: bool,
    /// Keep the times of files and folders.
    #[arg(short, long)]
    preserve: bool,
    /// Copy symbolic links in folders as links; without this they are left out. None is followed.
    #[arg(long)]
    links: bool,
    /// How long to look for the agent.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    connect_timeout: Option<Duration>,
    /// Print what was copied as one JSON object.
    #[arg(long)]
    json: bool,
    /// The files, and where they go: one of both sides is NAME:PATH.
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    paths: Vec<std::ffi::OsString>,
}

/// Runs the verb.
pub(super) fn cp(global: &Global, args: &CpArgs) -> ExitCode {
    let wish = match words::wish(args) {
        Ok(wish) => wish,
        Err(error) => {
            output::fail(
                error.as_ref(),
                Some("`controller cp --help` shows examples"),
            );
            return process_code(code::USAGE);
        }
    };
    let ended = setup::block_on(whole(global, args, wish));
    process_code(ended.unwrap_or_else(|error| describe_error::report(&error, code::UNREACHABLE)))
}

async fn whole(global: &Global, args: &CpArgs, mut wish: Copy) -> anyhow::Result<u8> {
    let context = setup::open(global).await?;
    wish.window = setup::window(args.connect_timeout, &context.config);
    let here = context.runner.here().await?;
    let meter = Arc::<Meter>::default();
    let began = Instant::now();
    let ended = watch(here, &wish, &meter).await;
    here.shutdown().await;
    let report = match &ended {
        Ended::Done(copied) => Report::of(&wish, copied, began.elapsed()),
        Ended::Interrupted => Report::interrupted(&wish, began.elapsed()),
        Ended::Unreachable(why) => Report::unreachable(&wish, why, began.elapsed()),
    };
    if args.json {
        output::line(&harmless_pretty_json(&report))?;
    }
    match ended {
        Ended::Done(copied) => tell(&wish, &copied),
        Ended::Interrupted => output::say(
            &"interrupted; what is whole stays, and the same command goes on where this one stopped",
        ),
        Ended::Unreachable(why) => return Err(why.into()),
    }
    Ok(report.exit_code)
}

/// How the copying ended.
enum Ended {
    Done(Copied),
    Interrupted,
    Unreachable(Unreachable),
}

/// Copies, shows how far it is, and listens to Ctrl-C.
async fn watch(
    orchestrator: &crate::orchestrator::Orchestrator,
    wish: &Copy,
    meter: &Arc<Meter>,
) -> Ended {
    let progress = RefCell::new(Progress::new(Arc::clone(meter)));
    let news = |news: News<'_>| {
        progress.borrow_mut().clear();
        match news {
            News::Lost { error, pause } => output::say(&format!(
                "{}: {}; dialling again in {} s",
                wish.target,
                chain(error),
                pause.as_secs()
            )),
            News::Back => output::say(&format!("{}: linked again, going on", wish.target)),
        }
    };
    let mut interrupts = Interrupts::listen();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let copying = orchestrator.copy(wish, meter, &news);
    tokio::pin!(copying);
    let ended = loop {
        tokio::select! {
            copied = &mut copying => break copied.map_or_else(Ended::Unreachable, Ended::Done),
            () = interrupts.next() => break Ended::Interrupted,
            _ = ticks.tick() => progress.borrow_mut().show(),
        }
    };
    progress.borrow_mut().clear();
    ended
}

/// Says what was left out and what failed, and why.
fn tell(wish: &Copy, copied: &Copied) {
    for skipped in copied.skipped.iter().take(MAX_TOLD) {
        output::say(&format!("{}: left out: is {}", skipped.path, skipped.kind));
    }
    more(copied.skipped.len(), "are left out");
    for failed in copied.failed.iter().take(MAX_TOLD) {
        output::say(&report::why(wish, &failed.error));
    }
    more(copied.failed.len(), "are not copied");
    if let Some(error) = &copied.broken_off {
        let next = match error.is_lost() {
            true => "\n  the same command goes on where this one stopped",
            false => "",
        };
        output::say(&format!("{}{next}", report::why(wish, error)));
    }
}

fn more(count: usize, what: &str) {
    if let Some(more) = count.checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        output::say(&format!("{more} more {what}; --json lists all"));
    }
}
