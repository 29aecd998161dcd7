//! `controller capabilities`: what a host is and has, as its agent says.

use std::{fmt::Display, process::ExitCode, time::Duration};

use clap::Args;
use proto::{
    capability::{Capabilities, PrivilegeLevel, Program, WorkspaceKind},
    id::NodeName,
};

use super::{Global, describe_error, setup};
use crate::{
    exit::{code, process_code},
    output::{self, events::harmless_pretty_json},
    timespan::limit,
};

/// Show what an agent's host is and has.
///
/// All of it is the agent's own word: it is shown escaped and never used as a command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  controller capabilities -t srv-linux-01 --json | jq .os")]
pub(super) struct CapabilitiesArgs {
    /// The agent to ask.
    #[arg(short, long, value_name = "NAME")]
    target: NodeName,
    /// How long to look for the agent.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    connect_timeout: Option<Duration>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn capabilities(global: &Global, args: &CapabilitiesArgs) -> ExitCode {
    match setup::block_on(show(global, args)) {
        Ok(()) => process_code(code::OK),
        Err(error) => process_code(describe_error::report(&error, code::UNREACHABLE)),
    }
}

async fn show(global: &Global, args: &CapabilitiesArgs) -> anyhow::Result<()> {
    let context = setup::open(global).await?;
    let window = setup::window(args.connect_timeout, &context.config);
    let document = context.runner.describe(&args.target, window).await?;
    context.runner.shutdown().await;
    if args.json {
        return Ok(output::line(&harmless_pretty_json(&document))?);
    }
    for line in sheet(&document) {
        output::line(&line)?;
    }
    Ok(())
}

/// Returns the document for people, a line each.
pub(super) fn sheet(document: &Capabilities) -> Vec<String> {
    let mut lines = brief(document);
    let mut line = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("{name:<13}{value}")));
    };
    line("tools", document.tools.as_deref().map(programs));
    line(
        "domain",
        document
            .domain
            .as_ref()
            .map(|domain| format!("{} ({})", domain.name, domain.kind)),
    );
    for mount in document.mounts.as_deref().unwrap_or_default() {
        let (size, free) = (gib(mount.size_bytes), gib(mount.free_bytes));
        let mode = if mount.read_only { ", read-only" } else { "" };
        let text = format!(
            "{} {}, {free:.1} of {size:.1} GiB free{mode}",
            mount.path, mount.file_system
        );
        line("mount", Some(text));
    }
    for workspace in document.workspaces.as_deref().unwrap_or_default() {
        line(
            "workspace",
            Some(format!("{} ({})", workspace.path, kind(workspace.kind))),
        );
    }
    line(
        "agent",
        Some(format!("funnelcloud {}", document.agent_version)),
    );
    for failure in document.failures.iter() {
        line("not known", Some(failure.to_string()));
    }
    lines
}

/// Returns the few lines that say what kind of host this is.
pub(super) fn brief(document: &Capabilities) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("{name:<13}{value}")));
    };
    line("hostname", shown(document.hostname.as_ref()));
    if let Some(os) = &document.os {
        let title = os
            .title
            .as_ref()
            .map_or_else(|| os.family.to_string(), ToString::to_string);
        let kernel = os
            .kernel
            .as_ref()
            .map(|kernel| format!(", kernel {kernel}"));
        line("os", Some(format!("{title}{}", kernel.unwrap_or_default())));
    }
    line("architecture", shown(document.architecture.as_ref()));
    line("shells", document.shells.as_deref().map(programs));
    line(
        "packages",
        document.package_managers.as_deref().map(programs),
    );
    line("init", shown(document.init.as_ref()));
    line(
        "privilege",
        document
            .privilege
            .as_ref()
            .map(|privilege| format!("{} as {}", level(privilege.level), privilege.user)),
    );
    if let Some(enclosure) = &document.enclosure {
        line("container", shown(enclosure.container.as_ref()));
        line(
            "machine",
            enclosure
                .virtual_machine
                .as_ref()
                .map(|machine| format!("virtual ({machine})")),
        );
    }
    lines
}

const fn kind(kind: WorkspaceKind) -> &'static str {
    match kind {
        WorkspaceKind::Home => "home",
        WorkspaceKind::Current => "where the agent was started",
        WorkspaceKind::Checkout => "checkout",
    }
}

const fn level(level: PrivilegeLevel) -> &'static str {
    match level {
        PrivilegeLevel::User => "an ordinary user",
        PrivilegeLevel::Administrator => "administrator",
        PrivilegeLevel::Root => "root",
    }
}

fn shown<T: Display>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}

fn programs(programs: &[Program]) -> String {
    let shown = programs.iter().map(|program| match &program.version {
        Some(version) => format!("{} ({version})", program.name),
        None => program.name.to_string(),
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() {
        "none".into()
    } else {
        shown.join(", ")
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
