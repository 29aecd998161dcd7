//! Both halves of a run over a simulated network: streams that break at any byte, requests that come
//! late or twice, an agent that restarts, a caller that gives up.
//!
//! There are no clocks and no threads: a history is a list of steps, each of which delivers a piece,
//! breaks something or lets one end act. What must hold is checked after each step.

mod agent; // what an honest agent keeps and says
mod caller; // the state machine, as the real caller drives it

use bytes::BytesMut;
use proptest::{collection::vec, option, prelude::*};
use proto::{
    frame::Frame,
    run::{OnLinkLoss, Outcome, Wire},
};

use self::{
    agent::{Agent, Record, Said, StreamId, bytes_of},
    caller::Caller,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_500))]

    #[test]
    fn a_run_is_exact_over_any_network(
        on_link_loss in habit(),
        bound in option::of(1..40_u64),
        steps in vec(step(), 0..200),
    ) {
        let mut world = World::new(on_link_loss, bound);
        for step in steps {
            world.take(step);
            world.check();
        }

        world.heal();

        prop_assert!(world.caller.outcome().is_some(), "no outcome: {:#?}", world);
        world.deliver_all_that_is_late();
        world.check();
    }
}

/// One thing that happens. Streams are picked from the newest on.
#[derive(Debug, Clone)]
enum Step {
    ReachAgent {
        pick: usize,
        bytes: usize,
    },
    ReachCaller {
        pick: usize,
        bytes: usize,
    },
    /// Nothing more arrives, in either direction.
    Cut {
        pick: usize,
    },
    CallerLoses,
    AgentLoses {
        pick: usize,
    },
    CallerAsksAgain,
    CallerHandsOver,
    /// An old request arrives once more.
    Repeat {
        pick: usize,
    },
    Cancel,
    GiveUp,
    Start {
        fails: bool,
    },
    Write {
        which: usize,
        bytes: usize,
    },
    Tell {
        pick: usize,
        which: usize,
        bytes: usize,
    },
    Finish {
        code: i32,
    },
    OrphanLimit,
    AgentStops,
    AgentRestarts {
        survive: u64,
    },
}

#[derive(Debug)]
struct World {
    on_link_loss: OnLinkLoss,
    agent: Agent,
    caller: Caller,
    streams: Vec<Stream>,
    /// The outcome when it came, and how many starts there had been.
    end: Option<(Outcome, u32)>,
}

/// What is under way between the two ends, in both directions.
#[derive(Debug)]
struct Stream {
    request: BytesMut,
    to_agent: BytesMut,
    to_caller: BytesMut,
    is_cut: bool,
}

impl World {
    fn new(on_link_loss: OnLinkLoss, bound: Option<u64>) -> Self {
        let mut world = Self {
            on_link_loss,
            agent: Agent::new(on_link_loss, bound),
            caller: Caller::new(on_link_loss),
            streams: Vec::new(),
            end: None,
        };
        let request = world.caller.begin(0);
        world.open(&request);
        world
    }

    fn open(&mut self, request: &Frame) {
        let request = bytes_of(request);
        self.streams.push(Stream {
            to_agent: request.clone(),
            request,
            to_caller: BytesMut::new(),
            is_cut: false,
        });
    }

    fn pick(&self, pick: usize) -> StreamId {
        self.streams.len().saturating_sub(1 + pick)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::ReachAgent { pick, bytes } => self.reach_agent(self.pick(pick), bytes),
            Step::ReachCaller { pick, bytes } => self.reach_caller(self.pick(pick), bytes),
            Step::Cut { pick } => {
                let stream = self.pick(pick);
                self.streams[stream].is_cut = true;
            }
            Step::CallerLoses => self.caller.lose(),
            Step::AgentLoses { pick } => self.agent.lose(self.pick(pick)),
            Step::CallerAsksAgain => self.ask_again(),
            Step::CallerHandsOver => self.caller.hand_over(),
            Step::Repeat { pick } => self.repeat(self.pick(pick)),
            Step::Cancel => {
                let request = self.caller.cancel(self.streams.len());
                self.open(&request);
            }
            Step::GiveUp => self.caller.give_up(),
            Step::Start { fails } => {
                let said = self.agent.start(fails);
                self.send(said);
            }
            Step::Write { which, bytes } => self.agent.write(which, bytes),
            Step::Tell { pick, which, bytes } => {
                let said = self.agent.tell(self.pick(pick), which, bytes);
                self.send(said);
            }
            Step::Finish { code } => self.agent.finish(code),
            Step::OrphanLimit => self.agent.orphan_limit(),
            Step::AgentStops => self.agent.stop(),
            Step::AgentRestarts { survive } => self.restart(survive),
        }
    }

    fn send(&mut self, said: Said) {
        for (stream, frame) in said {
            self.streams[stream].to_caller.extend(bytes_of(&frame));
        }
    }

    fn reach_agent(&mut self, stream: StreamId, bytes: usize) {
        let wire = &mut self.streams[stream];
        let piece = wire.to_agent.split_to(bytes.min(wire.to_agent.len()));
        if wire.is_cut || piece.is_empty() {
            return;
        }
        let said = self.agent.hear(stream, piece.freeze());
        self.send(said);
    }

    fn reach_caller(&mut self, stream: StreamId, bytes: usize) {
        let wire = &mut self.streams[stream];
        let piece = wire.to_caller.split_to(bytes.min(wire.to_caller.len()));
        if !wire.is_cut && !piece.is_empty() {
            self.caller.hear(stream, piece.freeze());
        }
    }

    fn ask_again(&mut self) {
        if self.caller.run.is_away() {
            let request = self.caller.again(self.streams.len());
            self.open(&request);
        }
    }

    /// A copy is of a request that its caller no longer counts on, and nobody hears the answer.
    fn repeat(&mut self, stream: StreamId) {
        if self.caller.stream() == Some(stream) || self.caller.cancel_stream() == Some(stream) {
            return;
        }
        let request = self.streams[stream].request.clone();
        self.streams.push(Stream {
            to_agent: request.clone(),
            request,
            to_caller: BytesMut::new(),
            is_cut: false,
        });
    }

    /// The streams end with the agent that served them; a request that it had not read is void.
    fn restart(&mut self, survive: u64) {
        self.agent.restart(survive);
        for stream in &mut self.streams {
            stream.to_agent.clear();
        }
    }

    /// The network works from now on, and both ends notice what was lost.
    fn heal(&mut self) {
        if self.agent.is_stopping() {
            self.restart(u64::MAX);
        }
        let heard = [self.caller.stream(), self.caller.cancel_stream()];
        for stream in 0..self.streams.len() {
            if !heard.contains(&Some(stream)) || self.streams[stream].is_cut {
                self.agent.lose(stream);
            }
        }
        for _ in 0..10 {
            self.round();
            self.check();
        }
    }

    /// Each end does what it can, and all that was said arrives.
    fn round(&mut self) {
        let is_dead = |stream: StreamId| {
            let wire = &self.streams[stream];
            let is_silent = wire.to_agent.is_empty() && wire.to_caller.is_empty();
            wire.is_cut || (is_silent && !self.agent.serves(stream))
        };
        if self.caller.stream().is_some_and(is_dead) {
            self.caller.lose();
        }
        self.ask_again();
        let Some(stream) = self.caller.stream() else {
            return;
        };
        self.reach_agent(stream, usize::MAX);
        self.take(Step::Start { fails: false });
        self.agent.write(0, 3);
        for which in [0, 1, 0, 1] {
            let said = self.agent.tell(stream, which, usize::MAX >> 1);
            self.send(said);
        }
        self.agent.finish(0);
        let said = self.agent.tell(stream, 0, 1);
        self.send(said);
        self.reach_caller(stream, usize::MAX);
    }

    fn deliver_all_that_is_late(&mut self) {
        for stream in 0..self.streams.len() {
            self.streams[stream].is_cut = false;
            self.reach_agent(stream, usize::MAX);
            self.repeat(stream);
            self.reach_agent(self.streams.len() - 1, usize::MAX);
            self.take(Step::Start { fails: false });
        }
    }

    fn check(&mut self) {
        assert!(self.agent.starts <= 1, "the id was started twice");
        self.check_output();
        let Some(outcome) = self.caller.outcome() else {
            return;
        };
        let (end, starts) = self
            .end
            .get_or_insert_with(|| (outcome.clone(), self.agent.starts));
        assert_eq!(outcome, end, "the end is the end");
        match end {
            Outcome::Finished(exit) => {
                assert_eq!(self.agent.record(), Record::Ended(Wire::Finished(*exit)));
                for (got, log) in self.caller.got.iter().zip(self.agent.logs()) {
                    assert_eq!(
                        got.len(),
                        log.written.len(),
                        "finished, and not all was told"
                    );
                }
            }
            Outcome::Cancelled => {
                assert_eq!(self.agent.record(), Record::Ended(Wire::Cancelled));
            }
            Outcome::NotStarted => assert_eq!(self.agent.starts, 0, "it was started after all"),
            Outcome::Refused(refusal) if refusal.tells_of_the_id() => {
                assert_eq!(self.agent.starts, 0, "it was started after all");
            }
            Outcome::Refused(_) => assert_eq!(*starts, 0, "it was started before"),
            Outcome::Lost(known) => {
                let is_link_lost = self.on_link_loss == OnLinkLoss::End;
                let is_refused = self.agent.blind_refusals > 0;
                let is_why = self.caller.gave_up || is_link_lost || is_refused;
                assert!(is_why || known.ended.is_some(), "lost without a reason");
            }
            Outcome::TimedOut(_) => unreachable!("there are no limits"),
        }
    }

    /// All that was got is what was written, in its place, but for gaps that were told of bytes that
    /// are gone.
    fn check_output(&self) {
        let known = self.caller.run.known();
        let counts = [known.stdout_bytes, known.stderr_bytes];
        let mut left_out = 0;
        for ((got, log), count) in self.caller.got.iter().zip(self.agent.logs()).zip(counts) {
            assert_eq!(got.len() as u64, count);
            for (at, byte) in got.iter().enumerate() {
                match byte {
                    Some(byte) => assert_eq!(Some(byte), log.written.get(at), "at byte {at}"),
                    None => {
                        left_out += 1;
                        assert!(log.is_gone(at as u64), "byte {at} was kept and left out");
                    }
                }
            }
        }
        assert_eq!(self.caller.run.left_out(), left_out);
    }
}

fn habit() -> impl Strategy<Value = OnLinkLoss> {
    prop_oneof![
        10 => Just(OnLinkLoss::Keep { orphan_ms: 600_000 }),
        1 => Just(OnLinkLoss::Detach),
        1 => Just(OnLinkLoss::End),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let pick = || prop_oneof![6 => Just(0_usize), 2 => Just(1), 1 => 2..6_usize];
    let bytes = || prop_oneof![4 => 1..16_usize, 1 => 1..200_usize];
    let which = || 0..2_usize;
    let moving = prop_oneof![
        (pick(), prop_oneof![Just(200_usize), bytes()])
            .prop_map(|(pick, bytes)| Step::ReachAgent { pick, bytes }),
        (pick(), bytes()).prop_map(|(pick, bytes)| Step::ReachCaller { pick, bytes }),
        (pick(), bytes()).prop_map(|(pick, bytes)| Step::ReachCaller { pick, bytes }),
    ];
    let running = prop_oneof![
        8 => (0..20_u8).prop_map(|luck| Step::Start { fails: luck == 0 }),
        16 => (which(), bytes()).prop_map(|(which, bytes)| Step::Write { which, bytes }),
        20 => (pick(), which(), bytes())
            .prop_map(|(pick, which, bytes)| Step::Tell { pick, which, bytes }),
        1 => any::<i32>().prop_map(|code| Step::Finish { code }),
    ];
    let breaking = prop_oneof![
        4 => pick().prop_map(|pick| Step::Cut { pick }),
        6 => Just(Step::CallerLoses),
        4 => pick().prop_map(|pick| Step::AgentLoses { pick }),
        10 => Just(Step::CallerAsksAgain),
        1 => Just(Step::CallerHandsOver),
        4 => pick().prop_map(|pick| Step::Repeat { pick }),
    ];
    let ending = prop_oneof![
        4 => Just(Step::Cancel),
        1 => Just(Step::GiveUp),
        1 => Just(Step::OrphanLimit),
        1 => Just(Step::AgentStops),
        2 => (0..200_u64).prop_map(|survive| Step::AgentRestarts { survive }),
    ];
    prop_oneof![60 => moving, 60 => running, 20 => breaking, 1 => ending]
}
