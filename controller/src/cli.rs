//! The command line: words to wishes, results to text and exit codes. One file a verb.
//!
//! Owns parsing, messages and nothing else; what happens is the orchestrator's.

mod agents;
mod attach;
mod cancel;
mod capabilities;
mod completions;
mod cp;
mod describe_error;
mod funnelcloud;
mod interrupt;
mod logs;
mod man;
mod note;
mod pki;
mod profiles;
mod quickstart;
mod run;
mod runs;
#[cfg(unix)]
mod serve;
mod setup;
#[cfg(unix)]
mod shell;
mod turns;
mod which;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, error::ErrorKind};
use proto::id::NodeName;
use tracing::Level;

use crate::{
    exit::{code, process_code},
    output,
};

/// Mesosync: run commands on your own machines, over a mesh that you alone trust.
#[derive(Debug, Parser)]
#[command(
    name = "controller",
    version,
    max_term_width = 100,
    after_help = "Example:\n  controller run -t srv-linux-01 -- uname -a\n\nNew here? `controller quickstart` shows it all on this machine."
)]
pub struct Cli {
    #[command(flatten, next_help_heading = "For every verb")]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb needs.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// This controller's folder (default: the platform's data folder).
    #[arg(long, global = true, value_name = "DIR", env = crate::home::HOME_VARIABLE)]
    home: Option<PathBuf>,
    /// This controller's identity file (default: the one that `pki init` made).
    #[arg(long, global = true, value_name = "FILE", env = "MESOSYNC_IDENTITY")]
    identity: Option<PathBuf>,
    /// An address at which an agent answers, besides where discovery finds it. May be repeated.
    #[arg(long, global = true, value_name = "NAME=IP:PORT", env = "MESOSYNC_ADDRESSES", value_delimiter = ',', value_parser = setup::address)]
    address: Vec<Option<(NodeName, SocketAddr)>>,
    /// Whether to look for agents on the LAN (default: true).
    #[arg(long, global = true, value_name = "BOOL", env = "MESOSYNC_MDNS")]
    mdns: Option<bool>,
    /// The daemon's socket (default: `daemon.sock` in this controller's folder).
    #[arg(long, global = true, value_name = "FILE", env = "MESOSYNC_SOCKET")]
    socket: Option<PathBuf>,
    /// Do not use the daemon, though one runs (also MESOSYNC_DAEMON=never).
    #[arg(long, global = true)]
    no_daemon: bool,
    /// Say more on standard error; twice for all.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Quickstart(quickstart::QuickstartArgs),
    Run(Box<run::RunArgs>),
    Attach(attach::AttachArgs),
    Logs(logs::LogsArgs),
    Cancel(cancel::CancelArgs),
    Runs(runs::RunsArgs),
    #[cfg(unix)]
    Shell(shell::ShellArgs),
    Cp(cp::CpArgs),
    Agents(agents::AgentsArgs),
    Capabilities(capabilities::CapabilitiesArgs),
    #[cfg(unix)]
    Serve(serve::ServeArgs),
    #[command(subcommand)]
    Pki(pki::PkiVerb),
    #[command(subcommand)]
    Profiles(profiles::ProfilesVerb),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    #[command(hide = true)]
    Funnelcloud(funnelcloud::FunnelcloudArgs),
}

/// The command line as it mostly is. To describe all verbs to the parser takes it longer than the
/// rest of a command's way to the daemon.
#[derive(Debug, Parser)]
#[command(name = "controller")]
struct RunCli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: RunVerb,
}

#[derive(Debug, Subcommand)]
enum RunVerb {
    Run(Box<run::RunArgs>),
}

/// Reads the words of a run; `None` for all else, and where something is wrong with them.
fn run_at_once(words: &[OsString]) -> Option<Cli> {
    let is_run = words.get(1).is_some_and(|verb| verb == "run");
    let RunCli {
        global,
        verb: RunVerb::Run(args),
    } = is_run.then(|| RunCli::try_parse_from(words).ok())??;
    let verb = Verb::Run(args);
    Some(Cli { global, verb })
}

/// Runs `controller` with these words, the program's name first.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = parse_and_dispatch(words.into_iter().collect());
    interrupt::messages_are_told();
    code
}

fn parse_and_dispatch(words: Vec<OsString>) -> ExitCode {
    if let Some(cli) = run_at_once(&words) {
        return dispatch(cli);
    }
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return process_code(say_instead(&error)),
    };
    dispatch(cli)
}

/// Prints what was asked for instead of a verb, or what is wrong with the words.
fn say_instead(error: &clap::Error) -> u8 {
    if error.kind() == ErrorKind::MissingSubcommand {
        // clap would list every verb on one line, the hidden ones too.
        output::say(
            &"name a verb\n  `controller --help` lists them, `controller quickstart` shows it all",
        );
        return code::USAGE;
    }
    match (error.print(), error.use_stderr()) {
        (_, true) => code::USAGE,
        (Ok(()), false) => code::OK,
        (Err(source), false) => {
            let stream = output::Stream::Stdout;
            let error = output::WriteError { stream, source };
            describe_error::report(&error.into(), code::FAILURE)
        }
    }
}

fn dispatch(Cli { global, verb }: Cli) -> ExitCode {
    let level = match global.verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        3.. => Level::TRACE,
    };
    if !matches!(verb, Verb::Funnelcloud(_)) {
        node::logging::init(level);
    }
    match verb {
        Verb::Quickstart(args) => quickstart::quickstart(&args),
        Verb::Run(args) => run::run(&global, *args),
        Verb::Attach(args) => attach::attach(&global, &args),
        Verb::Logs(args) => logs::logs(&global, &args),
        Verb::Cancel(args) => cancel::cancel(&global, &args),
        Verb::Runs(args) => runs::runs(&global, &args),
        #[cfg(unix)]
        Verb::Shell(args) => shell::shell(&global, &args),
        Verb::Cp(args) => cp::cp(&global, &args),
        Verb::Agents(args) => agents::agents(&global, &args),
        Verb::Capabilities(args) => capabilities::capabilities(&global, &args),
        #[cfg(unix)]
        Verb::Serve(args) => serve::serve(&global, &args),
        Verb::Pki(verb) => pki::pki(&global, verb),
        Verb::Profiles(verb) => profiles::profiles(verb),
        Verb::Completions(args) => completions::completions(&args),
        Verb::Man(args) => man::man(&args),
        Verb::Funnelcloud(args) => funnelcloud::funnelcloud(args),
    }
}
