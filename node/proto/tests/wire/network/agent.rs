//! The model of an agent: an honest one, with a durable record of the one id that there is.
//!
//! It holds what it must for all that a caller may believe: at most one start, output kept wholly or
//! up to a bound, one driver whom the run waits for. It restarts, and is cut off at any byte.

use bytes::{Bytes, BytesMut};
use proto::{
    codec::{Decoder, encode},
    frame::{Frame, FrameKind},
    run::{
        Attached, Earlier, Ended, Exit, Hold, OnLinkLoss, Refusal, StartFailure, Started, Tree,
        Unstarted, Wire,
    },
    text::Text,
};

/// The number of a stream, in the order in which they were opened.
pub(crate) type StreamId = usize;

/// What an agent has to say on a stream.
pub(crate) type Said = Vec<(StreamId, Frame)>;

#[derive(Debug)]
pub(crate) struct Agent {
    record: Record,
    /// How often a process was started.
    pub(crate) starts: u32,
    logs: [Log; 2],
    streams: Vec<(StreamId, Served)>,
    driver: Option<StreamId>,
    stopping: bool,
    on_link_loss: OnLinkLoss,
    /// How many bytes of each output it keeps; without a bound, all.
    bound: Option<u64>,
    /// How often it refused without a look into its record.
    pub(crate) blind_refusals: u32,
}

/// What is durably known of the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Nothing,
    Accepted,
    Running,
    NotStarted,
    GivenUp,
    Ended(Wire),
}

/// One output of the process, and which part of it is kept.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// All that the process ever wrote, as only the test knows.
    pub(crate) written: Vec<u8>,
    /// How much the agent believes that was.
    total: u64,
    from: u64,
    to: u64,
}

/// A stream as the agent sees it.
#[derive(Debug)]
enum Served {
    Unasked(Decoder),
    /// For the start, or its failure.
    Waits(Ask),
    Hears([u64; 2]),
    Done,
}

#[derive(Debug, Clone, Copy)]
enum Ask {
    First,
    Again,
    Attach([u64; 2]),
}

impl Log {
    /// Tells whether the byte was dropped.
    pub(crate) const fn is_gone(&self, at: u64) -> bool {
        at < self.from || at >= self.to
    }

    /// The next byte for somebody who has all before `at`.
    const fn next(&self, at: u64) -> u64 {
        if at < self.from {
            self.from
        } else if at >= self.to && at < self.total {
            self.total
        } else {
            at
        }
    }
}

impl Agent {
    pub(crate) fn new(on_link_loss: OnLinkLoss, bound: Option<u64>) -> Self {
        Self {
            record: Record::Nothing,
            starts: 0,
            logs: Default::default(),
            streams: Vec::new(),
            driver: None,
            stopping: false,
            on_link_loss,
            bound,
            blind_refusals: 0,
        }
    }

    pub(crate) const fn record(&self) -> Record {
        self.record
    }

    pub(crate) const fn logs(&self) -> &[Log; 2] {
        &self.logs
    }

    /// A piece of a caller's stream arrives.
    pub(crate) fn hear(&mut self, stream: StreamId, mut piece: Bytes) -> Said {
        let frame = match self.streams.iter_mut().find(|(id, _)| *id == stream) {
            Some((_, Served::Unasked(decoder))) => decoder.next(&mut piece).unwrap(),
            Some(_) => return Said::new(),
            None => {
                let mut decoder = Decoder::default();
                let frame = decoder.next(&mut piece).unwrap();
                self.streams.push((stream, Served::Unasked(decoder)));
                frame
            }
        };
        frame.map_or_else(Said::new, |frame| self.ask(stream, &frame))
    }

    fn ask(&mut self, stream: StreamId, frame: &Frame) -> Said {
        if let Frame::Cancel(_) = frame {
            return self.cancel(stream);
        }
        if self.stopping {
            self.blind_refusals += 1;
            return self.refuse(stream, Refusal::Stopping);
        }
        let (ask, takes) = if let Frame::Attach(attach) = frame {
            let from = [attach.stdout_from, attach.stderr_from];
            (Ask::Attach(from), attach.hold == Hold::Take)
        } else {
            assert_eq!(frame.kind(), FrameKind::Run, "callers ask for nothing else");
            (Ask::Again, true)
        };
        match (self.record, ask) {
            (Record::Nothing, Ask::Attach(_)) => return self.refuse(stream, Refusal::UnknownRun),
            (Record::Nothing, Ask::First | Ask::Again) => {
                self.record = Record::Accepted;
                self.serve(stream, Served::Waits(Ask::First));
            }
            (Record::Accepted, _) => self.serve(stream, Served::Waits(ask)),
            (Record::GivenUp, _) => return self.refuse(stream, Refusal::GivenUp),
            (Record::NotStarted, _) => {
                let why = Refusal::NotStartedEarlier(Unstarted::NotFound);
                return self.refuse(stream, why);
            }
            (Record::Running | Record::Ended(_), _) => {}
        }
        if takes {
            self.driver = Some(stream);
        }
        match self.record {
            Record::Running | Record::Ended(_) => self.place(stream, ask),
            Record::Nothing | Record::Accepted | Record::NotStarted | Record::GivenUp => {
                Said::new()
            }
        }
    }

    fn cancel(&mut self, stream: StreamId) -> Said {
        match self.record {
            Record::Nothing => self.record = Record::GivenUp,
            // Accepted and not yet started: ended as soon as it is.
            Record::Accepted | Record::Running => self.end(Wire::Cancelled),
            Record::NotStarted | Record::GivenUp | Record::Ended(_) => {}
        }
        let answer = match self.record {
            Record::Ended(result) => Frame::Ended(self.ended(result)),
            Record::NotStarted => Frame::Refused(Refusal::NotStartedEarlier(Unstarted::NotFound)),
            Record::Nothing | Record::Accepted | Record::Running | Record::GivenUp => {
                Frame::Refused(Refusal::GivenUp)
            }
        };
        self.serve(stream, Served::Done);
        let mut said = self.release();
        said.push((stream, answer));
        said
    }

    /// The accepted run starts, or fails to.
    pub(crate) fn start(&mut self, fails: bool) -> Said {
        if self.record != Record::Accepted {
            return Said::new();
        }
        if fails {
            self.record = Record::NotStarted;
        } else {
            self.record = Record::Running;
            self.starts += 1;
        }
        self.release()
    }

    /// Answers who waits, once there is an answer.
    fn release(&mut self) -> Said {
        let waiting: Vec<(StreamId, Ask)> = self
            .streams
            .iter()
            .filter_map(|(id, served)| match served {
                Served::Waits(ask) => Some((*id, *ask)),
                Served::Unasked(_) | Served::Hears(_) | Served::Done => None,
            })
            .collect();
        let mut said = Said::new();
        for (stream, ask) in waiting {
            said.extend(match self.record {
                Record::Running | Record::Ended(_) => self.place(stream, ask),
                Record::NotStarted => self.refuse(stream, unstarted(ask)),
                Record::Nothing | Record::Accepted | Record::GivenUp => Said::new(),
            });
        }
        said
    }

    fn place(&mut self, stream: StreamId, ask: Ask) -> Said {
        let from = match ask {
            Ask::First | Ask::Again => [0, 0],
            Ask::Attach(from) => from,
        };
        match ask {
            Ask::First if self.record == Record::Running => {
                self.serve(stream, Served::Hears(from));
                let started = Started { pid: 7, at_ms: 0 };
                vec![(stream, Frame::Started(started))]
            }
            Ask::First | Ask::Again => {
                let earlier = Frame::Earlier(Earlier { accepted_at_ms: 0 });
                vec![(stream, earlier), self.attached(stream, from)]
            }
            Ask::Attach(_) => vec![self.attached(stream, from)],
        }
    }

    fn attached(&mut self, stream: StreamId, from: [u64; 2]) -> (StreamId, Frame) {
        let at = [self.logs[0].next(from[0]), self.logs[1].next(from[1])];
        self.serve(stream, Served::Hears(at));
        let attached = Attached {
            stdout_from: at[0],
            stderr_from: at[1],
            stdout_to: self.logs[0].total,
            stderr_to: self.logs[1].total,
            stdin_from: None,
        };
        (stream, Frame::Attached(attached))
    }

    fn refuse(&mut self, stream: StreamId, refusal: Refusal) -> Said {
        self.serve(stream, Served::Done);
        vec![(stream, Frame::Refused(refusal))]
    }

    /// The process writes, unless it has to wait for its driver.
    pub(crate) fn write(&mut self, which: usize, len: usize) {
        if self.record != Record::Running {
            return;
        }
        let driven = self.driver.and_then(|driver| self.heard_by(driver));
        let log = &mut self.logs[which];
        let to = log.to + len as u64;
        let from = self.bound.map_or(0, |bound| to.saturating_sub(bound));
        if driven.is_some_and(|at| at[which] < from) {
            return;
        }
        // Bytes that tell their place.
        let bytes =
            (log.to..to).map(|at| (at * 37 + at / 251 + which as u64 * 101).to_le_bytes()[0]);
        log.written.extend(bytes);
        (log.total, log.to) = (to, to);
        log.from = log.from.max(from);
    }

    fn heard_by(&self, stream: StreamId) -> Option<[u64; 2]> {
        self.streams.iter().find_map(|(id, served)| match served {
            Served::Hears(at) if *id == stream => Some(*at),
            Served::Hears(_) | Served::Unasked(_) | Served::Waits(_) | Served::Done => None,
        })
    }

    /// Says up to `len` bytes more of one output to whoever hears the run on this stream, and how it
    /// ended once all is said.
    pub(crate) fn tell(&mut self, stream: StreamId, which: usize, len: usize) -> Said {
        let Some(mut at) = self.heard_by(stream) else {
            return Said::new();
        };
        let log = &self.logs[which];
        if log.next(at[which]) != at[which] {
            return vec![self.attached(stream, at)];
        }
        let mut said = Said::new();
        let to = log.to.min(at[which] + len as u64);
        if at[which] < to {
            let place = |at: u64| usize::try_from(at).unwrap();
            let bytes = Bytes::copy_from_slice(&log.written[place(at[which])..place(to)]);
            let frame = [Frame::Stdout, Frame::Stderr][which](bytes);
            said.push((stream, frame));
            at[which] = to;
        }
        self.serve(stream, Served::Hears(at));
        let is_all_said = at[0] >= self.logs[0].total && at[1] >= self.logs[1].total;
        if let (Record::Ended(result), true) = (self.record, is_all_said) {
            said.push((stream, Frame::Ended(self.ended(result))));
            self.serve(stream, Served::Done);
        }
        said
    }

    pub(crate) fn finish(&mut self, code: i32) {
        if self.record == Record::Running {
            self.end(Wire::Finished(Exit::Code(code)));
        }
    }

    /// Nobody drove the run for as long as it may.
    pub(crate) fn orphan_limit(&mut self) {
        if self.record == Record::Running && self.driver.is_none() {
            self.end(Wire::Cancelled);
        }
    }

    pub(crate) const fn stop(&mut self) {
        self.stopping = true;
    }

    pub(crate) const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Tells whether more may come on a stream.
    pub(crate) fn serves(&self, stream: StreamId) -> bool {
        let mut served = self.streams.iter();
        served.any(|(id, it)| *id == stream && !matches!(it, Served::Done))
    }

    /// The agent dies and comes back, with so much of each output on its disk.
    pub(crate) fn restart(&mut self, survive: u64) {
        self.streams.clear();
        (self.driver, self.stopping) = (None, false);
        for log in &mut self.logs {
            log.to = log.to.min(survive).max(log.from);
        }
        if let Record::Accepted | Record::Running = self.record {
            // It knows no better than its disk.
            self.logs.iter_mut().for_each(|log| log.total = log.to);
            self.end(Wire::AgentStopped);
        }
    }

    /// The agent finds that a stream is lost, or believes so.
    pub(crate) fn lose(&mut self, stream: StreamId) {
        self.serve(stream, Served::Done);
        if self.driver == Some(stream) {
            self.driver = None;
            if self.on_link_loss == OnLinkLoss::End && self.record == Record::Running {
                self.end(Wire::LinkLost);
            }
        }
    }

    fn end(&mut self, result: Wire) {
        self.record = Record::Ended(result);
    }

    const fn ended(&self, result: Wire) -> Ended {
        Ended {
            result,
            tree: Tree::Gone,
            stdout_bytes: self.logs[0].total,
            stderr_bytes: self.logs[1].total,
            duration_ms: 0,
        }
    }

    fn serve(&mut self, stream: StreamId, served: Served) {
        match self.streams.iter_mut().find(|(id, _)| *id == stream) {
            Some((_, was)) => *was = served,
            None => self.streams.push((stream, served)),
        }
    }
}

fn unstarted(ask: Ask) -> Refusal {
    match ask {
        Ask::First => Refusal::Start(StartFailure::NotFound {
            program: Text::cut("true"),
        }),
        Ask::Again | Ask::Attach(_) => Refusal::NotStartedEarlier(Unstarted::NotFound),
    }
}

pub(crate) fn bytes_of(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(frame, &mut bytes).unwrap();
    bytes
}
