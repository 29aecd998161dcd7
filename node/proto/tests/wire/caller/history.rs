//! The model of a caller's run: no state, only all that happened and how each of it had to be taken.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever is not named here is out of turn"
)]

use proto::{
    frame::Frame,
    run::{
        Again, Attached, CallerRun, CallerViolation, Ended, KnownOfLost, OnLinkLoss, Outcome,
        Progress, Wire,
    },
};

/// How a caller comes to its run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Begin {
    Sent,
    Attaching,
    Away { known: KnownOfLost, left_out: u64 },
}

/// What happens to it then.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Hears(Frame),
    LosesTheStream,
    AsksAgain,
    HearsNotStarted,
    GivesUp,
}

/// How an event has to be taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Is(Result<Progress, CallerViolation>),
    Asks(Again),
    /// There is nothing to say.
    Silent,
}

#[derive(Debug)]
pub(crate) struct History {
    begin: Begin,
    on_link_loss: OnLinkLoss,
    events: Vec<(Event, Answer)>,
}

impl Event {
    pub(crate) fn befalls(&self, run: &mut CallerRun) -> Answer {
        match self {
            Self::Hears(frame) => Answer::Is(run.handle_frame(frame.clone())),
            Self::LosesTheStream => Answer::Is(Ok(run.handle_lost())),
            Self::AsksAgain => Answer::Asks(run.again()),
            Self::HearsNotStarted => {
                run.handle_not_started();
                Answer::Silent
            }
            Self::GivesUp => {
                run.give_up();
                Answer::Silent
            }
        }
    }
}

impl Begin {
    pub(crate) const fn run(self, on_link_loss: OnLinkLoss) -> CallerRun {
        match self {
            Self::Sent => CallerRun::sent(on_link_loss),
            Self::Attaching => CallerRun::attaching(on_link_loss),
            Self::Away { known, left_out } => CallerRun::away(known, left_out, on_link_loss),
        }
    }

    const fn known(self) -> KnownOfLost {
        match self {
            Self::Sent | Self::Attaching => KnownOfLost {
                sent: true,
                started: false,
                ended: None,
                stdout_bytes: 0,
                stderr_bytes: 0,
            },
            Self::Away { known, .. } => known,
        }
    }
}

impl History {
    pub(crate) const fn new(begin: Begin, on_link_loss: OnLinkLoss) -> Self {
        Self {
            begin,
            on_link_loss,
            events: Vec::new(),
        }
    }

    /// Returns how this has to be taken after all that was.
    pub(crate) fn add(&mut self, event: Event) -> Answer {
        let answer = match &event {
            Event::Hears(frame) => Answer::Is(self.expected(frame)),
            Event::LosesTheStream => {
                let ends = self.is_over() || self.on_link_loss == OnLinkLoss::End;
                Answer::Is(Ok(if ends { Progress::Over } else { Progress::Away }))
            }
            Event::AsksAgain => Answer::Asks(self.asks_again()),
            Event::HearsNotStarted | Event::GivesUp => Answer::Silent,
        };
        self.events.push((event, answer.clone()));
        answer
    }

    /// Returns how the run ended, by the first event that ended it and whether anything was said later.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let end = self.end()?;
        let lost = Outcome::Lost(self.known());
        let is_said_after = |(event, _): &_| matches!(event, Event::Hears(_));
        if self.events[end + 1..].iter().any(is_said_after) {
            return Some(lost);
        }
        let before = self.until(end);
        Some(match &self.events[end] {
            (Event::HearsNotStarted, _) => Outcome::NotStarted,
            (Event::Hears(Frame::Refused(refusal)), Answer::Is(Ok(_)))
                if before.is_answer_final() || refusal.tells_of_the_id() && !before.started() =>
            {
                Outcome::Refused(refusal.clone())
            }
            (Event::Hears(Frame::Ended(ended)), Answer::Is(Ok(_))) => match ended.result {
                Wire::Finished(exit) => Outcome::Finished(exit),
                Wire::Reached(limit) => Outcome::TimedOut(limit),
                Wire::Cancelled => Outcome::Cancelled,
                Wire::AgentStopped | Wire::LinkLost => lost,
            },
            _ => lost,
        })
    }

    /// Returns the agent's account, if it is what ended the run and nothing was said later.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        let end = self.end()?;
        let (first, rest) = self.events[end..].split_first()?;
        let is_last = !rest
            .iter()
            .any(|(event, _)| matches!(event, Event::Hears(_)));
        match first {
            (Event::Hears(Frame::Ended(ended)), Answer::Is(Ok(_))) if is_last => Some(ended),
            _ => None,
        }
    }

    pub(crate) fn known(&self) -> KnownOfLost {
        let begin = self.begin.known();
        let said = self.heard().find_map(|frame| match frame {
            Frame::Ended(ended) => Some(ended.result),
            _ => None,
        });
        KnownOfLost {
            started: self.started(),
            ended: said
                .filter(|how| matches!(how, Wire::AgentStopped | Wire::LinkLost))
                .or(begin.ended),
            stdout_bytes: self.counted(begin.stdout_bytes, |it| it.stdout_from, is_stdout),
            stderr_bytes: self.counted(begin.stderr_bytes, |it| it.stderr_from, is_stderr),
            ..begin
        }
    }

    pub(crate) fn left_out(&self) -> u64 {
        let begin = match self.begin {
            Begin::Sent | Begin::Attaching => 0,
            Begin::Away { left_out, .. } => left_out,
        };
        self.events
            .iter()
            .filter_map(|(_, answer)| match answer {
                Answer::Is(Ok(Progress::Attached { left_out, .. })) => Some(*left_out),
                _ => None,
            })
            .fold(begin, u64::saturating_add)
    }

    pub(crate) fn is_away(&self) -> bool {
        let begun_away = matches!(self.begin, Begin::Away { .. }) && self.asked_at().is_none();
        let is_lost = |(event, _): &_| matches!(event, Event::LosesTheStream);
        !self.is_over() && (begun_away || self.stream().iter().any(is_lost))
    }

    fn until(&self, end: usize) -> Self {
        Self {
            events: self.events[..end].to_vec(),
            ..*self
        }
    }

    /// The first event that left the run with an outcome.
    fn end(&self) -> Option<usize> {
        (0..self.events.len()).find(|at| match &self.events[*at] {
            (_, Answer::Is(Ok(Progress::Over) | Err(_))) | (Event::GivesUp, _) => true,
            (Event::HearsNotStarted, _) => !self.until(*at).started(),
            _ => false,
        })
    }

    fn is_over(&self) -> bool {
        self.end().is_some()
    }

    /// All that the agent said in its turn.
    fn heard(&self) -> impl DoubleEndedIterator<Item = &Frame> {
        self.events
            .iter()
            .filter_map(|(event, answer)| match (event, answer) {
                (Event::Hears(frame), Answer::Is(Ok(_))) => Some(frame),
                _ => None,
            })
    }

    fn started(&self) -> bool {
        let says_so = |it: &_| {
            matches!(
                it,
                Frame::Started(_) | Frame::Earlier(_) | Frame::Attached(_)
            )
        };
        self.begin.known().started || self.heard().any(says_so)
    }

    /// Where the last word on a stream's beginning put it, and the bytes since.
    fn counted(
        &self,
        begin: u64,
        from: fn(&Attached) -> u64,
        is_counted: fn(&Frame) -> Option<usize>,
    ) -> u64 {
        let heard: Vec<&Frame> = self.heard().collect();
        let last = heard.iter().enumerate().rev().find_map(|(at, it)| {
            let Frame::Attached(attached) = it else {
                return None;
            };
            Some((at, from(attached)))
        });
        let (at, base) = last.unwrap_or((0, begin));
        heard[at..]
            .iter()
            .filter_map(|it| is_counted(it))
            .fold(base, |sum, len| sum.saturating_add(len as u64))
    }

    /// When the stream in use was asked for; `None` for the first.
    fn asked_at(&self) -> Option<usize> {
        let asks = |(event, _): &_| matches!(event, Event::AsksAgain);
        self.events.iter().rposition(asks)
    }

    /// All that happened on the stream in use.
    fn stream(&self) -> &[(Event, Answer)] {
        &self.events[self.asked_at().map_or(0, |at| at + 1)..]
    }

    fn asks_again(&self) -> Again {
        if !self.started() && !matches!(self.begin, Begin::Attaching) {
            return Again::Request;
        }
        let known = self.known();
        Again::Attach {
            stdout_from: known.stdout_bytes,
            stderr_from: known.stderr_bytes,
        }
    }

    /// What was asked on the stream in use.
    fn asked(&self) -> Again {
        match self.asked_at().map(|at| &self.events[at].1) {
            Some(Answer::Asks(again)) => *again,
            Some(_) => unreachable!("who asks again knows what"),
            None if matches!(self.begin, Begin::Attaching) => Again::Attach {
                stdout_from: 0,
                stderr_from: 0,
            },
            None => Again::Request,
        }
    }

    /// Whether a refusal now can only mean that nothing was started, or is not there to attach to.
    fn is_answer_final(&self) -> bool {
        let is_first = self.asked_at().is_none();
        match self.asked() {
            Again::Request => is_first && !self.started(),
            Again::Attach { .. } => !self.started(),
        }
    }

    /// The last frame on the stream in use that is not output.
    fn last_control(&self) -> Option<&Frame> {
        let output = |it: &Frame| is_stdout(it).or(is_stderr(it)).is_some();
        self.stream()
            .iter()
            .rev()
            .find_map(|(event, _)| match event {
                Event::Hears(frame) if !output(frame) => Some(frame),
                _ => None,
            })
    }

    fn expected(&self, frame: &Frame) -> Result<Progress, CallerViolation> {
        let out_of_turn = Err(CallerViolation::OutOfTurn { got: frame.kind() });
        if self.is_over() || self.is_away() {
            return out_of_turn;
        }
        let nothing_yet = self.last_control().is_none();
        let is_requested = self.asked() == Again::Request;
        let goes_on = matches!(
            self.last_control(),
            Some(Frame::Started(_) | Frame::Attached(_))
        );
        let is_earlier = matches!(self.last_control(), Some(Frame::Earlier(_)));
        match frame {
            Frame::Started(it) if nothing_yet && is_requested => Ok(Progress::Started(*it)),
            Frame::Earlier(it) if nothing_yet && is_requested => Ok(Progress::Earlier(*it)),
            Frame::Refused(_) if nothing_yet || is_earlier => Ok(Progress::Over),
            Frame::Attached(it) if goes_on || is_earlier || (nothing_yet && !is_requested) => {
                self.expected_place(*it)
            }
            Frame::Stdout(bytes) if goes_on => Ok(Progress::Stdout(bytes.clone())),
            Frame::Stderr(bytes) if goes_on => Ok(Progress::Stderr(bytes.clone())),
            Frame::Ended(ended) if goes_on => self.expected_end(ended),
            _ => out_of_turn,
        }
    }

    fn expected_place(&self, attached: Attached) -> Result<Progress, CallerViolation> {
        let known = self.known();
        let stdout = attached.stdout_from.checked_sub(known.stdout_bytes);
        let stderr = attached.stderr_from.checked_sub(known.stderr_bytes);
        match (stdout, stderr) {
            (Some(stdout), Some(stderr)) => Ok(Progress::Attached {
                attached,
                left_out: stdout.saturating_add(stderr),
            }),
            _ => Err(CallerViolation::Repeats {
                from: attached.stdout_from.saturating_add(attached.stderr_from),
                received: known.stdout_bytes.saturating_add(known.stderr_bytes),
            }),
        }
    }

    fn expected_end(&self, ended: &Ended) -> Result<Progress, CallerViolation> {
        let known = self.known();
        let is_complete =
            (ended.stdout_bytes, ended.stderr_bytes) == (known.stdout_bytes, known.stderr_bytes);
        if is_complete || matches!(ended.result, Wire::AgentStopped | Wire::LinkLost) {
            return Ok(Progress::Over);
        }
        Err(CallerViolation::Truncated {
            reported: ended.stdout_bytes.saturating_add(ended.stderr_bytes),
            received: known.stdout_bytes.saturating_add(known.stderr_bytes),
        })
    }
}

const fn is_stdout(frame: &Frame) -> Option<usize> {
    if let Frame::Stdout(bytes) = frame {
        Some(bytes.len())
    } else {
        None
    }
}

const fn is_stderr(frame: &Frame) -> Option<usize> {
    if let Frame::Stderr(bytes) = frame {
        Some(bytes.len())
    } else {
        None
    }
}
