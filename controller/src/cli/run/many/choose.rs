//! Who exists, and who of them is meant.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use pki::Store;
use proto::{
    capability::Capabilities,
    id::{NodeName, Role},
};
use time::OffsetDateTime;

use super::{super::flags::RunArgs, tell_discovered};
use crate::{
    cli::turns::{Asked, in_turns},
    home::Home,
    orchestrator::{DescribeError, Lan, Orchestrator},
    output::{self, chain, fleet::Discovered},
    runner::Runner,
    targets::{Filter, SelectError, Selection, compact::compact_cut, filter::Fits},
};

/// Names that a message tells of.
const SHOWN: usize = 8;

/// Targets without a known address that are looked up on the LAN one by one. More are looked up
/// together.
const FEW: usize = 4;

/// The frozen targets.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) targets: BTreeSet<NodeName>,
    /// Those of them who did not answer a filter's question, and why.
    pub(super) unreachable: BTreeMap<NodeName, String>,
    /// Who was found, if that mattered.
    pub(super) discovered: Option<Discovered>,
}

/// Finds out who exists, as far as it matters, and who is meant.
pub(super) async fn choose(
    home: &Home,
    runner: &Arc<Runner>,
    selection: &Selection,
    args: &RunArgs,
    window: Duration,
) -> anyhow::Result<Chosen> {
    let (mut existing, mut discovered) = (BTreeSet::new(), None);
    if selection.needs_inventory() {
        let issued = issued(home);
        let begun = Instant::now();
        let here = runner.here().await?;
        let (found, blind) = here.discover(window).await;
        blind.iter().for_each(|error| output::say(&chain(error)));
        let told = arithmetic(&issued.live, &found, selection, begun.elapsed());
        tell_discovered(&told);
        discovered = Some(told);
        existing.extend(here.known().iter().cloned());
        existing.retain(|name| !issued.dead.contains(name));
        existing.extend(found);
        existing.extend(issued.live);
    }
    let targets = selection.freeze(&existing)?;
    let mut absent = match args.targets.plan && args.targets.filter.is_empty() {
        true => BTreeMap::new(),
        // A daemon knows better whom it reaches.
        false if runner.is_daemon() => BTreeMap::new(),
        false => absent(runner.here().await?, &targets, window).await,
    };
    let filters = &args.targets.filter;
    let (targets, unreachable) = match filters.is_empty() {
        true => (targets, BTreeMap::new()),
        false => filtered(runner, targets, &absent, filters, window).await?,
    };
    absent.extend(unreachable);
    Ok(Chosen {
        targets,
        unreachable: absent,
        discovered,
    })
}

/// Looks on the LAN for many targets of which no address is known: together, and for those who do
/// not answer once more. Returns who still did not, and why that is all that can be said.
async fn absent(
    here: &Orchestrator,
    targets: &BTreeSet<NodeName>,
    window: Duration,
) -> BTreeMap<NodeName, String> {
    let mut absent: BTreeSet<&NodeName> = targets.difference(here.known()).collect();
    if here.lan() == Lan::Ignore {
        return BTreeMap::new();
    }
    for _ in 0..2 {
        absent.retain(|name| !here.is_linked(name));
        if absent.len() <= FEW {
            return BTreeMap::new();
        }
        let (_, blind) = here.discover(window).await;
        blind.iter().for_each(|error| output::say(&chain(error)));
    }
    absent.retain(|name| !here.is_linked(name));
    let seconds = window.as_secs_f32();
    let why = |name| format!("{name} is not reachable: no answer on the LAN within {seconds} s");
    absent
        .into_iter()
        .map(|name| (name.clone(), why(name)))
        .collect()
}

/// Agents on record at the CA, if it is here.
#[derive(Debug, Default)]
struct IssuedAgents {
    /// With a certificate that is good.
    live: BTreeSet<NodeName>,
    /// With none that still is.
    dead: BTreeSet<NodeName>,
}

fn issued(home: &Home) -> IssuedAgents {
    let mut agents = IssuedAgents::default();
    if !home.path().join("pki").is_dir() {
        return agents;
    }
    let now = OffsetDateTime::now_utc();
    let opened = Store::open(home.path()).map_err(anyhow::Error::from);
    match opened.and_then(|store| Ok(store.list()?)) {
        Ok(records) => {
            let agent = |record: &pki::Issued| record.node.role == Role::Agent;
            for record in records.into_iter().filter(agent) {
                let is_live = record.revoked.is_none() && record.not_after >= now;
                let of = if is_live {
                    &mut agents.live
                } else {
                    &mut agents.dead
                };
                of.insert(record.node.name);
            }
            agents.dead.retain(|name| !agents.live.contains(name));
        }
        // Without it, nobody is known to be missing, and nothing else is different.
        Err(error) => {
            let why = chain(error.as_ref());
            output::say(&format!("who should be there is not known: {why}"));
        }
    }
    agents
}

fn arithmetic(
    issued: &BTreeSet<NodeName>,
    found: &BTreeSet<NodeName>,
    selection: &Selection,
    elapsed: Duration,
) -> Discovered {
    let meant = |name: &&NodeName| selection.contains(name);
    let expected: BTreeSet<&NodeName> = issued.iter().filter(meant).collect();
    Discovered {
        found: found.iter().filter(meant).count(),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        expected: expected.len(),
        missing: expected
            .into_iter()
            .filter(|name| !found.contains(*name))
            .cloned()
            .collect(),
    }
}

/// Asks each what it is. One that does not answer stays a target, and counts as not reached.
async fn filtered(
    runner: &Arc<Runner>,
    mut candidates: BTreeSet<NodeName>,
    absent: &BTreeMap<NodeName, String>,
    filters: &[Filter],
    window: Duration,
) -> anyhow::Result<(BTreeSet<NodeName>, BTreeMap<NodeName, String>)> {
    let all = candidates.len();
    candidates.retain(|name| !absent.contains_key(name));
    let mut targets: BTreeSet<NodeName> = absent.keys().cloned().collect();
    let (mut unreachable, mut cannot_tell) = (BTreeMap::new(), BTreeSet::new());
    for (name, answer) in asked(runner, candidates, window).await? {
        match answer.map(|document| judged(filters, &document)) {
            Ok(Fits::Yes) => drop(targets.insert(name)),
            Ok(Fits::No) => {}
            Ok(Fits::Unknown) => drop(cannot_tell.insert(name)),
            Err(error) => {
                targets.insert(name.clone());
                unreachable.insert(name, chain(&error));
            }
        }
    }
    if !cannot_tell.is_empty() {
        let names = compact_cut(&cannot_tell, SHOWN);
        output::say(&format!(
            "left out, since they cannot tell whether they fit: {names}"
        ));
    }
    if targets.is_empty() {
        let shown: Vec<String> = filters.iter().map(ToString::to_string).collect();
        let wanted = shown.join(" and ");
        let against = format!("none of the {all} that were asked fits");
        return Err(SelectError::NoMatch { wanted, against }.into());
    }
    Ok((targets, unreachable))
}

fn judged(filters: &[Filter], document: &Capabilities) -> Fits {
    let mut fits = Fits::Yes;
    for filter in filters {
        match filter.fits(document) {
            Fits::No => return Fits::No,
            Fits::Unknown => fits = Fits::Unknown,
            Fits::Yes => {}
        }
    }
    fits
}

type Answers = BTreeMap<NodeName, Result<Capabilities, DescribeError>>;

async fn asked(
    runner: &Arc<Runner>,
    names: BTreeSet<NodeName>,
    window: Duration,
) -> anyhow::Result<Answers> {
    let by = Arc::clone(runner);
    let mut questions = in_turns(names, move |name| {
        let runner = Arc::clone(&by);
        async move {
            match runner.describe(&name, window).await {
                Ok(document) => Asked::Answered((name, Ok(document))),
                Err(error) => Asked::NotReached((name, Err(error))),
            }
        }
    });
    let mut answers = Answers::new();
    while let Some(answered) = questions.join_next().await {
        let (name, answer) = answered?;
        answers.insert(name, answer);
    }
    Ok(answers)
}
