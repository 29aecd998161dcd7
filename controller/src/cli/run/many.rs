//! A command on several targets: chosen, confirmed, run, and told in one summary.

mod choose;
mod confirm;
mod drive;
mod form;
mod plan;

use std::{sync::Arc, time::Duration};

use self::{
    choose::{Chosen, choose},
    drive::{Driven, drive},
    form::Form,
};
use super::{flags::RunArgs, words::Wish};
use crate::{
    cli::{Global, describe_error, note::Note, setup},
    config::DEFAULT_GRACE,
    exit::{code, of_outcome},
    home::Home,
    orchestrator::fleet::{End, Fleet, Input, Plan},
    output::{self, fleet},
    runner::Runner,
    targets::{Groups, Selection, Selector},
};

pub(in crate::cli) use self::{confirm::NotConfirmed, plan::shown};

/// Does it all, and returns the exit code.
pub(super) fn run(global: &Global, args: &RunArgs, selector: &Selector, wish: Wish) -> u8 {
    let ended = setup::block_on(whole(global, args, selector, wish));
    ended.unwrap_or_else(|error| describe_error::report(&error, code::UNREACHABLE))
}

/// An error proves that nothing was started.
async fn whole(
    global: &Global,
    args: &RunArgs,
    selector: &Selector,
    mut wish: Wish,
) -> anyhow::Result<u8> {
    anyhow::ensure!(
        !args.detach,
        describe_error::Usage("--detach leaves a command on one agent: name one")
    );
    // What is wrong with the words shows before anybody is looked for.
    let selection = resolve(global, selector)?;
    let asks = selection.is_everybody() && !args.targets.yes && !args.targets.plan;
    if asks {
        confirm::possible(args.stdin.is_some())?;
    }
    let context = setup::open(global).await?;
    let config = &context.config;
    let grace = args.grace.or(config.grace).unwrap_or(DEFAULT_GRACE);
    wish.fill(config, grace, setup::window(args.connect_timeout, config));
    let runner = Arc::new(context.runner);
    let all = All {
        home: &context.home,
        runner: &runner,
        args,
        selection: &selection,
        single: selector.one().is_some(),
        asks,
    };
    let ended = all.carry_out(wish, grace).await;
    runner.shutdown().await;
    ended
}

/// What the whole is made of.
struct All<'a> {
    home: &'a Home,
    runner: &'a Arc<Runner>,
    args: &'a RunArgs,
    selection: &'a Selection,
    single: bool,
    /// Whether somebody has to say yes.
    asks: bool,
}

impl All<'_> {
    async fn carry_out(&self, wish: Wish, grace: Duration) -> anyhow::Result<u8> {
        let Self { args, runner, .. } = self;
        let window = wish.start.window;
        let chosen = choose(self.home, runner, self.selection, args, window).await?;
        if args.targets.plan {
            return plan::show(&chosen, &wish.start.command, args.json);
        }
        let Chosen {
            targets,
            unreachable,
            discovered,
        } = chosen;
        if self.asks && !confirm::confirmed(&targets, &wish.start.command).await? {
            output::say(&"nothing was run");
            return Ok(code::INTERRUPTED);
        }
        let form = Form::new(args, &targets, wish.start.id, discovered.as_ref())?;
        let pacing = args.several.pacing();
        let at_once = pacing.at_once(targets.len()) == targets.len();
        let input = match wish.stdin {
            Some(source) if at_once => Some(Input::pass(source, targets.len())?),
            Some(source) => Some(tokio::task::spawn_blocking(|| Input::keep(source)).await??),
            None => None,
        };
        let plan = Plan {
            targets,
            unreachable,
            wish: wish.start,
            pacing,
            input,
            grace,
        };
        self.conclude(plan, form).await
    }

    /// Runs it, and returns the exit code.
    async fn conclude(&self, plan: Plan, form: Form) -> anyhow::Result<u8> {
        let targets = plan.targets.clone();
        let note = Note::of(self.home, plan.wish.id);
        if self.args.run_id.is_some() {
            note.check_remembered(&targets)?;
        }
        note.asked(&plan.wish.command, targets.clone());
        let fleet = Fleet::new(Arc::clone(self.runner), plan);
        let Driven {
            summary,
            last,
            outcomes,
            not_started,
            trouble,
        } = drive(fleet, targets, form).await;
        note.ended(
            outcomes
                .iter()
                .map(|(target, outcome)| (target, Some(outcome))),
        );
        note.not_started(not_started);
        output::tell(&summary.line());
        if let Some(trouble) = trouble {
            return Ok(describe_error::report(&trouble, code::OUTPUT_CLOSED));
        }
        Ok(match (self.single, last) {
            (true, Some(end)) => of_end(&end),
            (_, _) => summary.several().code(),
        })
    }
}

fn resolve(global: &Global, selector: &Selector) -> anyhow::Result<Selection> {
    let groups = match selector.has_groups() {
        true => {
            let home = Home::find(global.home.clone())?;
            let loaded = Groups::load(&home.groups());
            Some(loaded.map_err(crate::targets::SelectError::Groups)?)
        }
        false => None,
    };
    Ok(selector.resolve(groups.as_ref())?)
}

/// Returns the exit code of the only target.
fn of_end(end: &End) -> u8 {
    match end {
        End::Over { outcome, .. } => of_outcome(outcome).0,
        End::NotStarted { .. } => code::UNREACHABLE,
        End::Skipped(_) | End::Left => code::INTERRUPTED,
    }
}

/// Says who was found.
fn tell_discovered(discovered: &fleet::Discovered) {
    let fleet::Discovered {
        found,
        expected,
        ref missing,
        ..
    } = *discovered;
    let line = fleet::discovered(found, discovered.time(), expected, missing);
    output::tell(&line);
}
