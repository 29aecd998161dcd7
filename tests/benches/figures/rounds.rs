//! Interleaved rounds: every contender once a round, each time in another order, so that
//! whatever disturbs the machine disturbs all of them alike.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

/// Measures one thing once.
pub(crate) type Contender<'a> = Box<dyn FnMut() -> anyhow::Result<Duration> + 'a>;

/// Runs `rounds` rounds after one that does not count, and returns each contender's median.
pub(crate) fn medians<const N: usize>(
    rounds: usize,
    contenders: [Contender<'_>; N],
) -> anyhow::Result<[Duration; N]> {
    Ok(sorted(rounds, contenders)?.map(|taken| quantile(&taken, 0.5)))
}

/// Runs `rounds` rounds after one that does not count, and returns all times of each contender, the
/// shortest first.
pub(crate) fn sorted<const N: usize>(
    rounds: usize,
    mut contenders: [Contender<'_>; N],
) -> anyhow::Result<[Vec<Duration>; N]> {
    let mut taken = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for step in 0..N {
            let turn = (round + step) % N;
            let time = contenders[turn]()?;
            if round > 0 {
                taken[turn].push(time);
            }
        }
    }
    taken.iter_mut().for_each(|times| times.sort_unstable());
    Ok(taken)
}

/// Returns the time that `share` of all `sorted` ones do not exceed.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let index = (sorted.len() as f64 * share) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(index.min(last)).copied().unwrap_or_default()
}

/// Measures a whole process: from its start until its end, its output going nowhere.
pub(crate) fn whole_process(command: &mut Command) -> anyhow::Result<Duration> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let begun = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let complaint = child
        .stderr
        .take()
        .map(std::io::read_to_string)
        .transpose()?;
    let status = child.wait()?;
    let taken = begun.elapsed();
    ensure!(
        status.success(),
        "{command:?} failed: {status}\n{}",
        complaint.unwrap_or_default()
    );
    Ok(taken)
}

/// Returns how many times `whole` is `part`.
pub(crate) fn ratio(whole: Duration, part: Duration) -> f64 {
    whole.as_secs_f64() / part.as_secs_f64()
}
