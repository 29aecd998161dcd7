//! One probing: every probe at once, each within its limit, into one document.

use std::{
    future::{Future, ready},
    sync::Arc,
    time::Duration,
};

use proto::{
    capability::{Capabilities, Capability, FailureReason, List, ProbeFailure},
    text::Text,
};
use tokio::time::timeout;

use super::{
    architecture, domain, enclosure,
    found::{Found, Gap, ProbeError},
    hostname, init, mounts, os, package_managers, privilege,
    scope::Scope,
    shells, tools, workspaces,
};
use crate::clock::now_ms;

/// How many failures the document holds.
const MAX_FAILURES: usize = 64;

/// Runs every probe, and returns what they found and what they did not.
///
/// # Cancel safety
///
/// Dropping the future kills the children that live.
pub(super) async fn capabilities(scope: Arc<Scope>) -> Capabilities {
    let limit = scope.limit;
    let (
        os,
        architecture,
        hostname,
        shells,
        package_managers,
        init,
        tools,
        domain,
        privilege,
        mounts,
        workspaces,
        enclosure,
    ) = tokio::join!(
        within(limit, os::probe(&scope)),
        within(limit, ready(architecture::probe())),
        within(limit, ready(hostname::probe())),
        within(limit, shells::probe(Arc::clone(&scope))),
        within(limit, package_managers::probe(Arc::clone(&scope))),
        within(limit, init::probe(&scope)),
        within(limit, tools::probe(Arc::clone(&scope))),
        within(limit, domain::probe(&scope)),
        within(limit, privilege::probe(&scope)),
        within(limit, mounts::probe(Arc::clone(&scope))),
        within(limit, workspaces::probe(&scope)),
        within(limit, enclosure::probe(&scope)),
    );

    let mut failures = Failures::default();
    Capabilities {
        agent_version: Text::cut(env!("CARGO_PKG_VERSION")),
        probed_at_ms: now_ms(),
        os: failures.sift(Capability::Os, os),
        architecture: failures.sift(Capability::Architecture, architecture),
        hostname: failures.sift(Capability::Hostname, hostname),
        shells: failures.sift(Capability::Shells, shells),
        package_managers: failures.sift(Capability::PackageManagers, package_managers),
        init: failures.sift(Capability::Init, init),
        tools: failures.sift(Capability::Tools, tools),
        domain: failures.sift(Capability::Domain, domain).flatten(),
        privilege: failures.sift(Capability::Privilege, privilege),
        mounts: failures.sift(Capability::Mounts, mounts),
        workspaces: failures.sift(Capability::Workspaces, workspaces),
        enclosure: failures.sift(Capability::Enclosure, enclosure),
        failures: failures.listed(),
    }
}

async fn within<T>(
    limit: Duration,
    probe: impl Future<Output = Result<Found<T>, ProbeError>>,
) -> Result<Found<T>, ProbeError> {
    timeout(limit, probe).await.unwrap_or_else(|_| {
        Err(ProbeError::TimedOut {
            after_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
        })
    })
}

/// What could not be told.
#[derive(Default)]
struct Failures(Vec<ProbeFailure>);

impl Failures {
    /// Takes an outcome apart: its value is returned, its gaps are kept.
    fn sift<T>(
        &mut self,
        capability: Capability,
        outcome: Result<Found<T>, ProbeError>,
    ) -> Option<T> {
        let (value, gaps) = match outcome {
            Ok(found) => (Some(found.value), found.gaps),
            Err(error) => {
                let whole = Gap {
                    part: None,
                    reason: error.into(),
                };
                (None, vec![whole])
            }
        };
        self.0.extend(gaps.into_iter().map(|gap| ProbeFailure {
            capability,
            part: gap.part.as_deref().map(Text::cut),
            reason: gap.reason,
        }));
        value
    }

    /// Returns those of whole capabilities first. If there are more than the document holds, the
    /// last says how many more.
    fn listed(mut self) -> List<ProbeFailure, MAX_FAILURES> {
        self.0.sort_by_key(|failure| failure.part.is_some());
        let count = self.0.len();
        if count > MAX_FAILURES {
            let last = &mut self.0[MAX_FAILURES - 1];
            last.part = Some(Text::cut("failures"));
            last.reason = FailureReason::LeftOut {
                count: u32::try_from(count - MAX_FAILURES + 1).unwrap_or(u32::MAX),
            };
        }
        List::cut(self.0).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_that_never_answers_is_given_up() {
        let outcome = within::<()>(Duration::from_millis(5), std::future::pending()).await;

        let mut failures = Failures::default();
        let value = failures.sift(Capability::Init, outcome);

        assert_eq!(value, None);
        assert_eq!(
            failures.listed()[0].reason,
            FailureReason::TimedOut { after_ms: 5 }
        );
    }

    #[test]
    fn more_failures_than_the_document_holds_are_counted() {
        let gap = |part: Option<String>| Gap {
            part,
            reason: FailureReason::Unsupported,
        };
        let mut failures = Failures::default();
        let gaps = (0..80).map(|n| gap(Some(n.to_string()))).collect();

        let value = failures.sift(Capability::Tools, Ok(Found { value: (), gaps }));
        let none = failures.sift::<()>(Capability::Os, Err(ProbeError::Unsupported));
        let listed = failures.listed();

        assert_eq!((value, none), (Some(()), None));
        assert_eq!(listed[0].capability, Capability::Os);
        assert_eq!(listed[63].reason, FailureReason::LeftOut { count: 18 });
    }
}
