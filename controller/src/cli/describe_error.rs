//! What a person can do about an error, and the exit code that goes with it.

use node::links::Unreachable;

use crate::{
    exit::code,
    orchestrator::{DescribeError, RunError},
    output,
};

/// What helps where a certificate is not accepted.
const INSPECT: &str = "`controller pki inspect FILE` shows what an identity may do and until when";

/// Prints `error` with its chain and the next step, and returns the exit code.
pub(super) fn report(error: &anyhow::Error) -> u8 {
    let (code, next) = judge(error);
    output::fail(error.as_ref(), next.as_deref());
    code
}

fn judge(error: &anyhow::Error) -> (u8, Option<String>) {
    if let Some(RunError::Request(_)) = error.downcast_ref() {
        return (code::USAGE, None);
    }
    if let Some(RunError::NotLetIn { .. }) = error.downcast_ref() {
        return (code::UNREACHABLE, Some(INSPECT.into()));
    }
    let unreachable = match (
        error.downcast_ref::<RunError>(),
        error.downcast_ref::<DescribeError>(),
    ) {
        (Some(RunError::Unreachable(why)), _) | (_, Some(DescribeError::Unreachable(why))) => {
            Some(why)
        }
        _ => None,
    };
    (code::UNREACHABLE, unreachable.map(|why| next_step(why)))
}

fn next_step(unreachable: &Unreachable) -> String {
    let name = &unreachable.name;
    match unreachable
        .tried
        .iter()
        .map(|(_, error)| error.weight())
        .max()
    {
        None | Some(0) => format!(
            "Is funnelcloud running there? `controller agents` lists who answers; an agent elsewhere needs --address {name}=IP:PORT"
        ),
        Some(_) => INSPECT.into(),
    }
}
