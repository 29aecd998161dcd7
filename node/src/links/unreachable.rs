//! Why an agent was not found, in words.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use proto::id::NodeName;

use super::Lan;
use crate::{
    discovery::{Candidate, LookUpError, Mechanism},
    link::DialError,
};

/// Addresses that a message tells of, so that a liar on the LAN cannot fill the screen.
const MAX_REASONS: usize = 4;

/// Nobody proved to be the wanted node in time.
#[derive(Debug, Clone)]
pub struct Unreachable {
    /// Who was wanted.
    pub name: NodeName,
    /// How long was waited.
    pub window: Duration,
    /// What came of each address.
    pub tried: Vec<(Candidate, DialError)>,
    /// Whether the LAN was asked.
    pub lan: Lan,
    /// Mechanisms that could not look at all.
    pub blind: Vec<Arc<LookUpError>>,
}

impl std::error::Error for Unreachable {}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            window,
            tried,
            blind,
            lan,
        } = self;
        let looked = *lan == Lan::Ask;
        write!(f, "{name} is not reachable: ")?;
        let mut reasons = Vec::new();
        if tried.is_empty() && !looked {
            reasons
                .push("no address of it is known, and the LAN is not asked (mdns = false)".into());
        } else if looked
            && blind.is_empty()
            && !tried
                .iter()
                .any(|(from, _)| from.mechanism == Mechanism::Mdns)
        {
            reasons.push(format!(
                "no answer on the LAN within {} s",
                window.as_secs_f32()
            ));
        }
        for error in blind {
            reasons.push(chain(error.as_ref()));
        }
        let most = tried.iter().map(|(_, error)| error.weight()).max();
        let telling = tried
            .iter()
            .filter(|(_, error)| Some(error.weight()) == most);
        for (from, error) in telling.clone().take(MAX_REASONS) {
            reasons.push(format!("{} ({})", chain(error), from.mechanism));
        }
        let more = telling.skip(MAX_REASONS).count();
        if more > 0 {
            reasons.push(format!("and {more} more addresses alike"));
        }
        f.write_str(&reasons.join("; "))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
