//! A caller as the real one is: the state machine, one decoder a stream, and what it was told.

use bytes::Bytes;
use proto::{
    codec::Decoder,
    frame::{Cancel, Frame},
    run::{Again, Attach, CallerRun, Hold, OnLinkLoss, Outcome, Progress, Refusal, RunRequest},
};

use super::agent::StreamId;
use crate::sample;

#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) run: CallerRun,
    request: RunRequest,
    stream: Option<(StreamId, Decoder)>,
    cancel: Option<(StreamId, Decoder)>,
    /// Both outputs, each byte in its place; `None` where a gap was told.
    pub(crate) got: [Vec<Option<u8>>; 2],
    pub(crate) gave_up: bool,
}

impl Caller {
    pub(crate) fn new(on_link_loss: OnLinkLoss) -> Self {
        Self {
            run: CallerRun::sent(on_link_loss),
            request: RunRequest {
                on_link_loss,
                ..sample::request()
            },
            stream: None,
            cancel: None,
            got: Default::default(),
            gave_up: false,
        }
    }

    pub(crate) fn stream(&self) -> Option<StreamId> {
        self.stream.as_ref().map(|(stream, _)| *stream)
    }

    pub(crate) fn cancel_stream(&self) -> Option<StreamId> {
        self.cancel.as_ref().map(|(stream, _)| *stream)
    }

    /// Opens the first stream of the run.
    pub(crate) fn begin(&mut self, stream: StreamId) -> Frame {
        self.stream = Some((stream, Decoder::default()));
        Frame::Run(Box::new(self.request.clone()))
    }

    /// Opens another one.
    pub(crate) fn again(&mut self, stream: StreamId) -> Frame {
        self.stream = Some((stream, Decoder::default()));
        match self.run.again() {
            Again::Request => Frame::Run(Box::new(self.request.clone())),
            Again::Attach {
                stdout_from,
                stderr_from,
            } => Frame::Attach(Attach {
                run: self.request.id,
                stdout_from,
                stderr_from,
                hold: Hold::Take,
            }),
        }
    }

    pub(crate) fn cancel(&mut self, stream: StreamId) -> Frame {
        self.cancel = Some((stream, Decoder::default()));
        Frame::Cancel(Cancel {
            run: self.request.id,
            grace_ms: 0,
        })
    }

    /// A piece of some stream arrives; of old ones nobody listens to it.
    pub(crate) fn hear(&mut self, stream: StreamId, mut piece: Bytes) {
        if let Some((_, decoder)) = self.cancel.as_mut().filter(|(id, _)| *id == stream) {
            if let Some(Frame::Refused(refusal)) = decoder.next(&mut piece).unwrap() {
                self.hear_of_the_cancel(&refusal);
            }
            return;
        }
        while let Some((_, decoder)) = self.stream.as_mut().filter(|(id, _)| *id == stream) {
            let Some(frame) = decoder.next(&mut piece).unwrap() else {
                break;
            };
            let progress = self.run.handle_frame(frame);
            self.note(progress.expect("an honest agent breaks no rule"));
        }
    }

    fn hear_of_the_cancel(&mut self, refusal: &Refusal) {
        if *refusal == Refusal::GivenUp {
            self.run.handle_not_started();
        }
        self.close_if_over();
    }

    fn note(&mut self, progress: Progress) {
        match progress {
            Progress::Stdout(bytes) => self.got[0].extend(bytes.iter().copied().map(Some)),
            Progress::Stderr(bytes) => self.got[1].extend(bytes.iter().copied().map(Some)),
            Progress::Attached { attached, .. } => {
                let from = [attached.stdout_from, attached.stderr_from];
                for (got, from) in self.got.iter_mut().zip(from) {
                    got.resize(usize::try_from(from).unwrap().max(got.len()), None);
                }
            }
            Progress::Started(_) | Progress::Earlier(_) => {}
            Progress::Away | Progress::Over => self.stream = None,
        }
        self.close_if_over();
    }

    /// Its process is gone, and another goes on with what it wrote down.
    pub(crate) fn hand_over(&mut self) {
        if self.run.outcome().is_none() {
            let (known, left_out) = (self.run.known(), self.run.left_out());
            (self.stream, self.cancel) = (None, None);
            self.run = CallerRun::away(known, left_out, self.request.on_link_loss);
        }
    }

    /// It finds that its stream is lost, or believes so.
    pub(crate) fn lose(&mut self) {
        if self.stream.take().is_some() {
            let progress = self.run.handle_lost();
            self.note(progress);
        }
    }

    pub(crate) fn give_up(&mut self) {
        self.gave_up |= self.run.outcome().is_none();
        self.run.give_up();
        self.close_if_over();
    }

    fn close_if_over(&mut self) {
        if self.run.outcome().is_some() {
            self.stream = None;
        }
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.run.outcome()
    }
}
