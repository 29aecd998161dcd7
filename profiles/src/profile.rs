//! The schema of a profile.
//!
//! Keys that are not here are refused, so that a misspelt one is an error and not a silence. In the
//! commands, `PACKAGE`, `SERVICE` and `NAME` stand for a word that is to be put in, quoted by the
//! rules of the profile.

use std::num::NonZeroU32;

use proto::{capability::OsFamily, shell::Shell};
use serde::Deserialize;

use crate::name::ProfileName;

/// How one speaks to a kind of host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name, which is also its file's.
    pub name: ProfileName,
    /// What it is called for people.
    pub title: String,
    /// The hosts that it is for.
    #[serde(rename = "match")]
    pub matches: Match,
    /// The shell that scripts are written for.
    pub shell: ShellUse,
    /// What paths look like, and where things are.
    pub paths: Paths,
    /// What the bytes of output mean.
    pub encoding: Encoding,
    /// What ends a line of output.
    pub line_end: LineEnd,
    /// The commands that answer common questions, preferably with data.
    pub idioms: Vec<Idiom>,
    /// What is better not done.
    pub avoid: Vec<Avoid>,
    /// How software is installed, by manager, the commonest first.
    pub packages: Vec<Packages>,
    /// How services are handled.
    pub services: Services,
    /// How the network is looked at.
    pub network: Network,
    /// How users are looked at.
    pub users: Users,
    /// How much output is sensible.
    pub output: Output,
}

/// The hosts that a profile is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Their family; nothing else comes into question.
    pub os: OsFamily,
    /// Ids of distributions that it was written for; others of the family may do as well.
    pub distributions: Vec<String>,
    /// Whether they belong to a directory.
    pub domain: DomainMatch,
}

/// What membership of a directory says for a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainMatch {
    /// Nothing.
    Any,
    /// Members fit better.
    Preferred,
    /// Only members fit.
    Required,
}

/// The shell of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShellUse {
    /// The shell.
    pub name: Shell,
    /// The argv before the script; for people, since [`Shell::launch`] is what is executed.
    pub launch: Vec<String>,
    /// The shells to take instead where it is not installed, best first.
    pub fallbacks: Vec<Shell>,
    /// How words are quoted, as rules for whoever writes a script.
    pub quoting: Vec<String>,
    /// What a script of several steps should begin with, so that it stops at the first failure.
    pub prelude: String,
}

/// What paths look like, and where things are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    /// Whose rules they follow.
    pub style: PathStyle,
    /// What stands between folders.
    pub separator: char,
    /// Whether `A` and `a` are two files, by default.
    pub case_sensitive: bool,
    /// Where files for a moment go.
    pub temporary: String,
    /// Where the configuration of the system is.
    pub configuration: String,
    /// Where logs are.
    pub logs: String,
}

/// Whose rules paths follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathStyle {
    /// One root, slashes.
    Posix,
    /// Drives, backslashes, reserved names.
    Windows,
}

/// What the bytes of output mean, once the prelude has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Encoding {
    /// UTF-8.
    #[serde(rename = "utf-8")]
    Utf8,
}

/// What ends a line of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineEnd {
    /// A line feed.
    Lf,
    /// A carriage return and a line feed.
    Crlf,
}

/// A command that answers a common question.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idiom {
    /// What one wants to know.
    pub need: String,
    /// How one asks.
    pub command: String,
    /// What one should know before.
    pub note: Option<String>,
}

/// Something that is better not done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Avoid {
    /// What not to use.
    #[serde(rename = "use")]
    pub habit: String,
    /// What to use.
    pub instead: String,
    /// Why.
    pub why: String,
}

/// How one package manager is used, without questions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Its name, as the probes call it.
    pub manager: String,
    /// Installs `PACKAGE`.
    pub install: String,
    /// Removes `PACKAGE`, where that is possible.
    pub remove: Option<String>,
    /// Looks for what is offered.
    pub search: String,
    /// Lists what is installed.
    pub list: String,
    /// Brings everything up to date.
    pub update: String,
}

/// How services are handled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Services {
    /// The service manager.
    pub manager: String,
    /// Lists all.
    pub list: String,
    /// Tells the state of `SERVICE`.
    pub status: String,
    /// Starts `SERVICE`.
    pub start: String,
    /// Stops `SERVICE`.
    pub stop: String,
    /// Restarts `SERVICE`.
    pub restart: String,
    /// Makes `SERVICE` start with the host.
    pub enable: String,
    /// Undoes `enable`.
    pub disable: String,
    /// Shows the latest log of `SERVICE`.
    pub logs: String,
}

/// How the network is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The addresses of the interfaces.
    pub addresses: String,
    /// The routes.
    pub routes: String,
    /// Who listens.
    pub listeners: String,
    /// Who is connected.
    pub connections: String,
    /// The neighbours on the link.
    pub neighbours: String,
    /// Resolves `NAME`.
    pub resolve: String,
    /// The name servers.
    pub resolvers: String,
    /// Tells whether `NAME` answers.
    pub reach: String,
    /// The rules of the firewall.
    pub firewall: String,
}

/// How users are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// Who one is.
    pub whoami: String,
    /// The users.
    pub list: String,
    /// The groups.
    pub groups: String,
    /// Who is logged in.
    pub sessions: String,
    /// What to put before a command to run it as the administrator, where that can be done without
    /// a question.
    pub elevate: Option<String>,
}

/// How much output is sensible to ask for at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// In bytes.
    pub max_bytes: NonZeroU32,
    /// In lines.
    pub max_lines: NonZeroU32,
    /// How to stay within.
    pub advice: String,
}
