//! What befalls an agent and its line, one thing after the other.

use std::{
    sync::mpsc::{Receiver, SyncSender},
    thread::sleep,
    time::Duration,
};

use rustix::process::Signal;
use scenarios::{Agent, proxy::Weather};

use super::{super::stream::Dice, Storm};

/// Torments an agent until there were faults enough; then says that it is calm, and keeps the agent
/// until it is released. Whoever started a process must outlive it.
pub(super) fn torment(
    storm: &Storm,
    number: usize,
    mut agent: Agent,
    calm: &SyncSender<()>,
    released: &Receiver<()>,
) {
    let mut dice = Dice::new(storm.seed ^ (0x99 << 32) ^ number as u64);
    while storm.rages() {
        befall(storm, number, &mut agent, &mut dice);
        storm.fault();
        sleep(Duration::from_millis(10 + dice.below(50)));
    }
    let proxy = &storm.targets[number].proxy;
    proxy.set_weather(Weather::default());
    proxy.rebind();
    // The test may be gone already, by a panic; then nothing holds this either.
    let _ = calm.send(());
    let _ = released.recv();
}

fn befall(storm: &Storm, number: usize, agent: &mut Agent, dice: &mut Dice) {
    let proxy = &storm.targets[number].proxy;
    let span = Duration::from_millis(50 + dice.below(350));
    match dice.below(100) {
        0..35 => {
            proxy.cut();
            sleep(span);
            proxy.mend();
        }
        35..60 => proxy.rebind(),
        60..75 => {
            proxy.set_weather(Weather {
                lost_per_mille: dice.below(200) as u16,
                doubled_per_mille: dice.below(200) as u16,
                reordered_per_mille: dice.below(300) as u16,
                detour: Duration::from_millis(dice.below(20)),
                ..Weather::default()
            });
            sleep(span);
            proxy.set_weather(Weather::default());
        }
        75..88 => {
            agent.process().signal(Signal::STOP);
            sleep(span);
            agent.process().signal(Signal::CONT);
        }
        _ => agent.restart(),
    }
}
