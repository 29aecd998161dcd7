//! The command line of the agent's binary, `funnelcloud`.
//!
//! Owns words, messages and exit codes; everything else is [`crate::agent`]. It is part of the
//! library so that `controller quickstart` runs the very same agent.
//!
//! Exit codes: 0 stopped as asked, 1 could not start or serve, 64 wrong usage (BSD `sysexits`).

mod emulate;

use std::{
    error::Error,
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
    num::NonZeroU16,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use pki::{Identity, LoadIdentityError, ReadSecretError, Revocation, StaleCrl};
use proto::text::harmless_json;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tracing::Level;

use crate::{
    agent::{
        Agent, AgentOptions, Announce, Served, StartAgentError,
        emulate::{Emulation, StartEmulationError},
        ledger::OpenLedgerError,
        probe::{ProbeLimits, Prober},
    },
    logging, revocation,
    transport::BindError,
};

/// Where an agent serves unless told otherwise: UDP port 4433 on every IPv4 address.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 4433);

/// The exit code for words that make no sense (BSD `EX_USAGE`).
const USAGE: u8 = 64;

/// The agent of a Mesosync mesh: runs what the controllers of its mesh send, and reports honestly.
#[derive(Debug, Parser)]
#[command(
    name = "funnelcloud",
    version,
    max_term_width = 100,
    after_help = "Example:\n  funnelcloud agent --identity srv-linux-01.identity"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Agent(AgentArgs),
    /// Print what this host would tell a controller about itself, as JSON.
    #[command(after_help = "Example:\n  funnelcloud capabilities | jq .os")]
    Capabilities,
    /// Print completions for a shell.
    #[command(
        after_help = "Example:\n  funnelcloud completions bash > /etc/bash_completion.d/funnelcloud"
    )]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff.
    #[command(after_help = "Example:\n  funnelcloud man > /usr/share/man/man1/funnelcloud.1")]
    Man,
}

/// Serve the controllers of this agent's mesh until told to stop (SIGTERM or Ctrl-C).
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  funnelcloud agent --identity srv-linux-01.identity\n\nThe identity comes from `controller pki issue agent NAME --out FILE`."
)]
pub struct AgentArgs {
    /// Who this agent is: the file from `controller pki issue agent`.
    #[arg(long, value_name = "FILE", env = "FUNNELCLOUD_IDENTITY")]
    pub identity: PathBuf,
    /// The UDP address to serve on.
    #[arg(long, value_name = "ADDR", env = "FUNNELCLOUD_LISTEN", default_value_t = DEFAULT_LISTEN, value_parser = address)]
    pub listen: SocketAddr,
    /// Where the agent keeps its record of runs. One agent at a time may use it.
    #[arg(long, value_name = "DIR", env = "FUNNELCLOUD_HOME")]
    pub home: Option<PathBuf>,
    /// Do not answer on the LAN; controllers must know the address.
    #[arg(long)]
    pub no_mdns: bool,
    /// A revocation list of the mesh; unreadable or stale, it keeps every controller out.
    #[arg(long, value_name = "FILE", env = "FUNNELCLOUD_CRL")]
    pub crl: Option<PathBuf>,
    /// Be this many agents, for tests of scale: see [`crate::agent::emulate`].
    #[arg(long, value_name = "N", hide = true)]
    pub emulate: Option<NonZeroU16>,
    /// Where to write the addresses of emulated agents.
    #[arg(long, value_name = "FILE", hide = true, requires = "emulate")]
    pub addresses: Option<PathBuf>,
}

/// What serves: one agent, or many.
#[derive(Debug)]
enum Callee {
    One(Box<Agent>),
    Many(Emulation),
}

impl Callee {
    fn greeting(&self) -> String {
        match self {
            Self::One(agent) => agent.greeting(),
            Self::Many(agents) => agents.greeting(),
        }
    }

    async fn serve(self, stop: impl Future<Output = ()>) -> Served {
        match self {
            Self::One(agent) => agent.serve(stop).await,
            Self::Many(agents) => agents.serve(stop).await,
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "expected an address and a port, such as 0.0.0.0:4433")
}

/// Runs `funnelcloud` with these words, the program's name first.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            return match (error.print(), error.use_stderr()) {
                (_, true) => USAGE.into(),
                (Ok(()), false) => ExitCode::SUCCESS,
                (Err(error), false) => fail(&error, None),
            };
        }
    };
    match cli.verb {
        Verb::Agent(args) => serve(args, std::future::pending()),
        Verb::Capabilities => capabilities(),
        Verb::Completions { shell } => {
            let mut command = Cli::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "funnelcloud", &mut script);
            print(&script)
        }
        Verb::Man => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut page) {
                Ok(()) => print(&page),
                Err(error) => fail(&error, None),
            }
        }
    }
}

/// Serves as an agent until a signal, or until `stop` is done.
pub fn serve(args: AgentArgs, stop: impl Future<Output = ()>) -> ExitCode {
    logging::init(Level::INFO);
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, None),
    };
    let code = runtime.block_on(async {
        allow_many_files();
        let bound = match args.emulate {
            None => bind(args).map(|agent| Callee::One(Box::new(agent))),
            Some(count) => emulate::bind(args, count).map(Callee::Many),
        };
        let agent = match bound {
            Ok(agent) => agent,
            Err(error) => return fail(error.as_ref(), hint(error.as_ref())),
        };
        let signals = match signals() {
            Ok(signals) => signals,
            Err(error) => return fail(&error, None),
        };
        say(&agent.greeting());
        let ended = agent
            .serve(async {
                tokio::select! {
                    () = signals => {}
                    () = stop => {}
                }
            })
            .await;
        say(&format!(
            "stopped; {} runs were ended for it",
            ended.runs_ended
        ));
        ExitCode::SUCCESS
    });
    // A probe may still wait for a dead mount, and is not waited for.
    runtime.shutdown_background();
    code
}

fn bind(args: AgentArgs) -> Result<Agent, Box<dyn Error + Send + Sync>> {
    let now = OffsetDateTime::now_utc();
    let identity = Identity::load(&args.identity, now)?;
    if let Some(days) = identity.days_left_when_due(now) {
        tracing::warn!(node = %identity.node(), days, "this identity ends soon; issue a new one");
    }
    let revocation = match &args.crl {
        None => Revocation::none_known(StaleCrl::Refuse),
        Some(path) => revocation::load(path, &identity)?,
    };
    let home = match args.home {
        Some(home) => home,
        None => default_home(&identity)?,
    };
    let announce = if args.no_mdns {
        Announce::Nowhere
    } else {
        Announce::OnLan
    };
    let options = AgentOptions {
        identity,
        revocation,
        listen: args.listen,
        home,
        announce,
    };
    Ok(Agent::bind(options)?)
}

/// Raises the number of open files to what the system allows: each run holds some seven, and the
/// usual 1,024 would end at a hundred and fifty runs. Without it there are fewer runs, and no fault.
fn allow_many_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files stays");
        }
    }
}

/// There is no folder where an agent of this user could keep its record.
#[derive(Debug, thiserror::Error)]
#[error("this user has no home folder; name one with --home DIR")]
struct NoHome;

/// Returns where an agent keeps its record: for root `/var/lib/funnelcloud/NAME`, else in the user's
/// data folder. The name is part of it, so that several agents of one host do not collide.
fn default_home(identity: &Identity) -> Result<PathBuf, NoHome> {
    let name = identity.node().name.as_str();
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/funnelcloud").join(name));
    }
    let folders = directories::ProjectDirs::from("", "", "funnelcloud").ok_or(NoHome)?;
    Ok(folders.data_local_dir().join(name))
}

#[cfg(unix)]
fn signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn capabilities() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, None),
    };
    let document = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let prober = Prober::spawn(ProbeLimits::default(), &mut tasks);
        prober.capabilities().await
    });
    let document = match document {
        Ok(document) => document,
        Err(error) => return fail(&error, None),
    };
    // What other programs of this host say of themselves is not to be trusted here either.
    match serde_json::to_string_pretty(document.as_ref()) {
        Ok(json) => print(format!("{}\n", harmless_json(&json)).as_bytes()),
        Err(error) => fail(&error, None),
    }
}

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
struct PrintError(#[source] io::Error);

fn print(result: &[u8]) -> ExitCode {
    let mut stdout = io::stdout();
    match stdout.write_all(result).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&PrintError(error), None),
    }
}

/// What the user may do about an error, where the error itself does not say it.
fn hint(error: &(dyn Error + Send + Sync + 'static)) -> Option<&'static str> {
    if let Some(
        LoadIdentityError::File(ReadSecretError::Read(_) | ReadSecretError::Directory { .. })
        | LoadIdentityError::Parse { .. },
    ) = error.downcast_ref()
    {
        return Some(
            "the identity comes from `controller pki issue agent NAME --out FILE`, run where the mesh was made",
        );
    }
    let error = match error.downcast_ref() {
        Some(StartEmulationError::Agent { source, .. }) => Some(source),
        Some(_) => None,
        None => error.downcast_ref(),
    };
    match error {
        Some(StartAgentError::Bind(BindError::Socket { source, .. })) => socket_hint(source.kind()),
        Some(
            StartAgentError::Home { .. }
            | StartAgentError::Ledger {
                source: OpenLedgerError::Io { .. },
                ..
            },
        ) => Some("choose a folder that this user may write with --home DIR"),
        Some(_) | None => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of the standard library, which grows"
)]
const fn socket_hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::AddrInUse => Some(
            "another program uses this port, perhaps another agent: stop it, or choose a port with --listen",
        ),
        io::ErrorKind::PermissionDenied => Some("choose a port above 1023 with --listen"),
        io::ErrorKind::AddrNotAvailable => {
            Some("this host has no such address: use --listen 0.0.0.0:PORT")
        }
        _ => None,
    }
}

/// Prints an error with its whole chain, once.
fn fail(error: &dyn Error, hint: Option<&str>) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    if let Some(hint) = hint {
        let _ = write!(text, "\n  {hint}");
    }
    say(&text);
    ExitCode::FAILURE
}

fn say(text: &str) {
    // Without a standard error there is nobody to tell.
    drop(writeln!(io::stderr(), "funnelcloud: {text}"));
}
