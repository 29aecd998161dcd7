//! The words that `controller run` takes.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::Args;
use proto::id::RunId;

use crate::{
    orchestrator::fleet::{Pacing, Share},
    targets::{Filter, Selector, Terms},
    timespan::{limit, timespan},
};

/// Run a command on agents, and show its output as it is produced.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
controller run [OPTIONS] -t NAMES -- PROGRAM [ARGUMENT]...
       controller run [OPTIONS] -t NAMES --shell[=SHELL] 'SCRIPT'
       controller run [OPTIONS] -t NAMES --script FILE",
    after_help = "\
Examples:
  controller run -t srv-linux-01 -- uname -a
  controller run -t srv-linux-01 --shell 'journalctl -p err | tail -n 5'
  tar c . | controller run -t srv-linux-01 --stdin -- tar x -C /srv/www
  controller run -t 'web[01-20],@db' -x web07 -b -- uptime
  controller run --all -F os.family=linux --batch 25% --max-failures 2 -- systemctl restart ntp

Targets: names, ranges web[01-20], globs db*, and groups @web, which groups.toml in this
controller's folder lists as web = [\"web[01-20]\", \"@edge\"].

Exit codes, one name: the remote one as it is; 124 timed out, 125 not started, 126 not executable,
127 not found, 128+n ended by signal n, 130 interrupted, 141 the output could not be written here,
254 denied, 255 unreachable or lost.
Several targets (a range, glob, group, list or --all, however many match): the sum of 2 some failed,
4 some unreachable or lost, 8 stopped by --max-failures; 3 no target matched; 64 wrong words."
)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    pub(super) targets: TargetFlags,
    /// Run one script by this shell (bash, sh, zsh, pwsh, powershell, cmd), or the target's own.
    #[arg(long, value_name = "SHELL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(super) shell: Option<String>,
    /// Run the script in this file by the shell.
    #[arg(long, value_name = "FILE", conflicts_with = "words")]
    pub(super) script: Option<PathBuf>,
    /// Set a variable for the command.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(super) env: Vec<std::ffi::OsString>,
    /// Run in this folder.
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<std::ffi::OsString>,
    /// Give the command this program's standard input, or a file.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(super) stdin: Option<Option<PathBuf>>,
    /// End the command after this time, such as 30s or 5min.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_TIMEOUT", value_parser = limit)]
    pub(super) timeout: Option<Duration>,
    /// End the command when it writes nothing for this time.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_IDLE_TIMEOUT", value_parser = limit)]
    pub(super) idle_timeout: Option<Duration>,
    /// End the command when it has written this many bytes.
    #[arg(long, value_name = "BYTES")]
    pub(super) max_output: Option<u64>,
    /// Let the command use this many bytes of memory at most.
    #[arg(long, value_name = "BYTES")]
    pub(super) memory: Option<u64>,
    /// Let the command use this many seconds of processor time at most.
    #[arg(long, value_name = "SECONDS")]
    pub(super) cpu: Option<u64>,
    /// Time between asking processes to end and killing them.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_GRACE", value_parser = timespan)]
    pub(super) grace: Option<Duration>,
    /// How long to look for the agent.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    pub(super) connect_timeout: Option<Duration>,
    /// The run's id: asking again with the same id starts nothing and returns the first result.
    #[arg(long, value_name = "ID")]
    pub(super) run_id: Option<RunId>,
    /// End the command when the link to the agent is lost.
    #[arg(long, conflicts_with = "detach")]
    pub(super) tether: bool,
    /// Start the command on one agent and leave it: `attach`, `logs` and `cancel` come back to it.
    #[arg(long, conflicts_with_all = ["stdin", "json", "ndjson"])]
    pub(super) detach: bool,
    /// How long an agent keeps the command running without this controller, when the link is lost.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_ORPHAN_LIMIT", value_parser = limit)]
    pub(super) orphan_limit: Option<Duration>,
    /// Print the outcome and the output as one JSON object.
    #[arg(long, conflicts_with = "ndjson")]
    pub(super) json: bool,
    /// Print what happens as JSON objects, one a line.
    #[arg(long)]
    pub(super) ndjson: bool,
    /// Let remote control characters reach the terminal.
    #[arg(long)]
    pub(super) raw: bool,
    /// The program and its arguments, or one script after --shell.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(super) words: Vec<std::ffi::OsString>,
    // The last, since its heading would be over everything that follows.
    #[command(flatten)]
    pub(super) several: SeveralFlags,
}

impl RunArgs {
    /// Tells whether something is asked for that one target alone has not.
    pub(super) const fn is_for_several(&self) -> bool {
        self.several.fold
            || self.several.diff
            || self.several.out_dir.is_some()
            || self.targets.plan
            || !self.targets.filter.is_empty()
    }
}

/// Which agents.
#[derive(Debug, Args)]
pub(in crate::cli) struct TargetFlags {
    /// The agents to run on: names, ranges, globs, @groups. May be repeated.
    #[arg(short, long, value_name = "NAME", required_unless_present = "all")]
    target: Vec<Terms>,
    /// Agents to leave out, in the same words.
    #[arg(short = 'x', long, value_name = "NAME")]
    exclude: Vec<Terms>,
    /// Only agents whose capabilities fit: KEY=VALUE or KEY!=VALUE, such as os.family=linux.
    #[arg(short = 'F', long, value_name = "FILTER")]
    pub(super) filter: Vec<Filter>,
    /// Run on every agent that is known or found. Asks first.
    #[arg(long, conflicts_with = "target")]
    all: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Show on whom what would run, and run nothing.
    #[arg(long)]
    pub(super) plan: bool,
}

impl TargetFlags {
    pub(super) fn selector(&self) -> Selector {
        Selector {
            include: self.target.clone(),
            exclude: self.exclude.clone(),
            all: self.all,
        }
    }
}

/// What matters for several targets only.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several targets")]
pub(in crate::cli) struct SeveralFlags {
    /// Run on so many at once.
    #[arg(short = 'f', long, value_name = "N", default_value = "64")]
    parallel: NonZeroUsize,
    /// Affect so many, or such a part of all, at once: the next begins when one has ended.
    #[arg(long, value_name = "N|P%")]
    batch: Option<Share>,
    /// Begin no more when more than so many, or such a part of all, have failed.
    #[arg(long, value_name = "N|P%")]
    max_failures: Option<Share>,
    /// Begin no more when one has failed.
    #[arg(long, conflicts_with = "max_failures")]
    fail_fast: bool,
    /// Show identical results once, under the names of all who had them.
    #[arg(short = 'b', long, conflicts_with_all = ["diff", "json", "ndjson", "out_dir"])]
    pub(super) fold: bool,
    /// Show what most said, and how the others differ from it.
    #[arg(long, conflicts_with_all = ["json", "ndjson", "out_dir"])]
    pub(super) diff: bool,
    /// Write NAME.stdout and NAME.stderr, hosts.succeeded and hosts.failed into this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["json", "ndjson"])]
    pub(super) out_dir: Option<PathBuf>,
    /// Let the folder have something in it.
    #[arg(long, requires = "out_dir")]
    pub(super) overwrite: bool,
}

impl SeveralFlags {
    pub(super) fn pacing(&self) -> Pacing {
        Pacing {
            parallel: self.parallel,
            batch: self.batch,
            max_failures: if self.fail_fast {
                Some(Share::Count(0))
            } else {
                self.max_failures
            },
        }
    }
}
