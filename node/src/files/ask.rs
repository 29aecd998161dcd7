//! The caller's half: questions about an agent's files, and files to and from it.
//!
//! Everything that the agent answers is untrusted: bounded by `proto`, in an order that is checked
//! here, and never a path of this host.

use std::{path::PathBuf, sync::Arc, time::Duration};

use proto::{
    codec::EncodeError,
    file::{
        Attributes, Entry, FileAction, FileFault, FileKind, FilePath, FileRefusal, FileRequest,
        FileTime, Place, Sum,
    },
    frame::Frame,
    id::{Fingerprint, TransferId},
    run::{Audience, RunRequest},
    text::Text,
};
use quinn::SendStream;

use super::{
    Meter,
    content::{Last, Received, SendContentError, receive, send},
    folder::Folder,
    partial::Partial,
    source::Source,
};
use crate::{
    clock::now_ms,
    close::CloseCode,
    link::{DialError, FrameReader, Link, ReadFrameError, SendFrameError, send_frame},
};

/// How long after a stream the loss of its link may show.
const LOSS_LIMIT: Duration = Duration::from_secs(1);

/// The longest content of a file that claims to have none, as those of the kernel do.
const MAX_UNCLAIMED: u64 = 64 << 20;

/// One agent's files, over one link.
#[derive(Debug, Clone)]
pub struct Files {
    link: Arc<Link>,
    mesh: Fingerprint,
    principal: Text<128>,
}

/// Why a copy, or a question about files, came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The link was lost.
    #[error("the link was lost")]
    Link(#[source] DialError),
    /// The agent ended the stream without a word.
    #[error("the agent ended the stream before the copy's end")]
    Stream,
    /// The agent broke the protocol.
    #[error("the agent does not answer as the protocol asks")]
    Violation,
    /// The agent does not do it.
    #[error(transparent)]
    Refused(Box<FileRefusal>),
    /// Something is wrong with a file of this host.
    #[error("{path} here: {fault}")]
    Here {
        /// Which, escaped.
        path: String,
        /// What.
        fault: FileFault,
    },
    /// The request is too long for a frame.
    #[error("the request is too long to be sent")]
    TooLong(#[source] EncodeError),
    /// A thread of this process broke.
    #[error("the copy broke in this process")]
    Broken,
}

impl CopyError {
    /// Tells whether the same question over another link may be answered.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        match self {
            Self::Link(
                DialError::NoAnswer { .. }
                | DialError::Stopping { .. }
                | DialError::Closed { .. }
                | DialError::NoHello { .. },
            ) => true,
            // Whom we are not to trust, or who does not trust us, will not change its mind.
            Self::Link(
                DialError::Address { .. }
                | DialError::NotTrusted { .. }
                | DialError::Refused { .. }
                | DialError::Version { .. }
                | DialError::NoCertificate { .. }
                | DialError::Misunderstood { .. },
            )
            | Self::Stream
            | Self::Violation
            | Self::Refused(_)
            | Self::Here { .. }
            | Self::TooLong(_)
            | Self::Broken => false,
        }
    }
}

/// A file that was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// What it is: both ends have compared this.
    pub sum: Sum,
    /// How much of it an earlier, broken copy had brought there already.
    pub resumed: u64,
}

/// One file's copy, in either direction.
#[derive(Debug, Clone)]
pub struct Sending {
    /// From where relative paths of this host start.
    pub start: PathBuf,
    /// The file's place on this host.
    pub here: Place,
    /// Its place at the agent.
    pub there: Place,
    /// Names the copy.
    pub transfer: TransferId,
    /// Whether the copy gets the time of its source.
    pub times: Times,
}

/// Which time a copy gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// That of the copying.
    Now,
    /// That of its source.
    Kept,
}

impl Times {
    /// Returns the time to set, if one is.
    #[must_use]
    pub const fn of(self, source: &Attributes) -> Option<FileTime> {
        match self {
            Self::Now => None,
            Self::Kept => Some(source.modified),
        }
    }
}

impl Files {
    /// Asks over `link`, in the mesh `mesh`, for `principal`.
    #[must_use]
    pub fn new(link: Arc<Link>, mesh: Fingerprint, principal: &str) -> Self {
        Self {
            link,
            mesh,
            principal: Text::cut(principal),
        }
    }

    /// Returns what lies at `at`.
    ///
    /// # Errors
    /// Nothing does, or the agent did not say.
    pub async fn look(&self, at: Place) -> Result<Attributes, CopyError> {
        let (_send, mut frames) = self.ask(FileAction::Look { at }).await?;
        let Frame::FileFound(attributes) = self.answer(&mut frames).await? else {
            return Err(CopyError::Violation);
        };
        Ok(attributes)
    }

    /// Lists a folder and all below it, a folder before what is in it.
    ///
    /// # Errors
    /// It cannot be listed, or the agent's list makes no sense.
    pub async fn list(&self, at: Place) -> Result<Vec<Entry>, CopyError> {
        let (_send, mut frames) = self.ask(FileAction::List { at }).await?;
        let mut entries = Vec::new();
        // How deep the next entry may lie.
        let mut room = 0;
        loop {
            let frame = self.answer(&mut frames).await?;
            let Frame::FileEntry(entry) = frame else {
                return done(&frame).map(|()| entries);
            };
            if usize::from(entry.depth) > room || entries.len() >= Entry::MAX_ENTRIES {
                return Err(CopyError::Violation);
            }
            let opens = entry.attributes.kind == FileKind::Folder && entry.fault.is_none();
            room = usize::from(entry.depth) + usize::from(opens);
            entries.push(*entry);
        }
    }

    /// Makes a folder at the agent; tells whether there was none.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn make_folder(&self, at: Place, mode: u16) -> Result<bool, CopyError> {
        let action = FileAction::MakeFolder { at, mode };
        let (_send, mut frames) = self.ask(action).await?;
        let frame = self.answer(&mut frames).await?;
        if let Frame::FileFound(_) = frame {
            return Ok(false);
        }
        done(&frame).map(|()| true)
    }

    /// Gives a folder of the agent its last attributes.
    ///
    /// # Errors
    /// They cannot be set.
    pub async fn settle(
        &self,
        at: Place,
        mode: u16,
        modified: Option<FileTime>,
    ) -> Result<(), CopyError> {
        self.done(FileAction::Settle { at, mode, modified }).await
    }

    /// Makes a symbolic link at the agent.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn make_link(&self, at: Place, target: FilePath) -> Result<(), CopyError> {
        self.done(FileAction::MakeLink { at, target }).await
    }

    /// Sends a file of this host to the agent.
    ///
    /// # Errors
    /// Nothing is changed at the agent under the final name, unless the link was lost after the
    /// last byte: then it may be there, whole.
    ///
    /// # Cancel safety
    /// Dropped, it leaves at the agent what a broken copy does.
    pub async fn put(&self, sending: Sending, meter: &Meter) -> Result<Moved, CopyError> {
        let Sending {
            start, here, there, ..
        } = sending;
        let path = here.to_string();
        let at_fault = |fault| CopyError::Here {
            path: path.clone(),
            fault,
        };
        let source = blocking(move || Source::open(&start, &here)).await?;
        let source = source.map_err(at_fault)?;
        let found = source.attributes();
        let action = FileAction::Put {
            at: there,
            transfer: sending.transfer,
            mode: found.mode,
            modified: sending.times.of(&found),
        };
        let (mut send_to, mut frames) = self.ask(action).await?;
        let Frame::FileHeld(held) = self.answer(&mut frames).await? else {
            return Err(CopyError::Violation);
        };
        let (resumed, sum) = match send(&mut send_to, source, held, meter).await {
            Ok(sent) => sent,
            Err(SendContentError::File(fault)) => {
                // The agent keeps what it has; an error says that the stream is over anyway.
                drop(send_to.reset(CloseCode::Abandoned.number()));
                return Err(at_fault(fault));
            }
            Err(SendContentError::Broken) => return Err(CopyError::Broken),
            // The agent takes no more, and says why.
            Err(SendContentError::Stream(_)) => {
                self.answer(&mut frames).await?;
                return Err(CopyError::Violation);
            }
        };
        drop(send_to.finish());
        done(&self.answer(&mut frames).await?)?;
        Ok(Moved { sum, resumed })
    }

    /// Fetches a file of the agent to this host.
    ///
    /// # Errors
    /// Nothing is changed here under the final name.
    ///
    /// # Cancel safety
    /// Dropped, it leaves here what a broken copy does.
    pub async fn get(&self, sending: Sending, meter: &Meter) -> Result<Moved, CopyError> {
        let Sending {
            start,
            here,
            transfer,
            ..
        } = sending;
        let path = here.to_string();
        let at_fault = |fault| CopyError::Here { path, fault };
        let opened = blocking(move || {
            let (folder, name) = Folder::holding(&start, &here)?;
            Partial::open(folder, name, transfer)
        });
        let partial = match opened.await? {
            Ok(partial) => partial,
            Err(fault) => return Err(at_fault(fault)),
        };
        let action = FileAction::Get {
            at: sending.there,
            held: partial.held(),
        };
        let (_send, mut frames) = self.ask(action).await?;
        let Frame::FileFound(found) = self.answer(&mut frames).await? else {
            return Err(CopyError::Violation);
        };
        let last = Last {
            mode: found.mode,
            modified: sending.times.of(&found),
            most: match found.size {
                0 => MAX_UNCLAIMED,
                size => size,
            },
        };
        match receive(&mut frames, partial, last, meter, None).await {
            Received::Whole { offset, sum } => Ok(Moved {
                sum,
                resumed: offset,
            }),
            Received::File(fault) => {
                frames.stop(CloseCode::Abandoned);
                Err(at_fault(fault))
            }
            Received::Refused(refusal) => Err(CopyError::Refused(refusal)),
            Received::Violation => Err(CopyError::Violation),
            Received::Lost(error) => Err(self.lost(error.as_ref()).await),
            Received::Broken => Err(CopyError::Broken),
        }
    }

    async fn done(&self, action: FileAction) -> Result<(), CopyError> {
        let (_send, mut frames) = self.ask(action).await?;
        done(&self.answer(&mut frames).await?)
    }

    /// Sends a request on a stream of its own, which stays open for a put and is finished otherwise.
    async fn ask(&self, action: FileAction) -> Result<(SendStream, FrameReader), CopyError> {
        let sends_more = matches!(action, FileAction::Put { .. });
        let request = FileRequest {
            audience: Audience {
                mesh: self.mesh,
                agent: self.link.peer().name.clone(),
            },
            issued_at_ms: now_ms(),
            valid_for_ms: RunRequest::DEFAULT_VALID_FOR_MS,
            principal: self.principal.clone(),
            action,
        };
        let (mut send, frames) = self.link.open().await.map_err(CopyError::Link)?;
        match send_frame(&mut send, &Frame::File(Box::new(request))).await {
            Ok(()) => {}
            Err(SendFrameError::Encode(error)) => return Err(CopyError::TooLong(error)),
            Err(SendFrameError::Stream { .. }) => return Err(self.lost(None).await),
        }
        if !sends_more {
            // Fails only if the stream is closed, which reading shows.
            drop(send.finish());
        }
        Ok((send, frames))
    }

    /// Returns the agent's next frame, if it is no refusal.
    async fn answer(&self, frames: &mut FrameReader) -> Result<Frame, CopyError> {
        match frames.next().await {
            Ok(Some(Frame::FileRefused(refusal))) => Err(CopyError::Refused(refusal)),
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(self.lost(None).await),
            Err(error) => Err(self.lost(Some(&error)).await),
        }
    }

    /// Returns why there is no answer. A link that is lost may show a moment after its streams.
    async fn lost(&self, error: Option<&ReadFrameError>) -> CopyError {
        if let Some(ReadFrameError::Decode(_)) = error {
            return CopyError::Violation;
        }
        // Either way the next line tells.
        drop(tokio::time::timeout(LOSS_LIMIT, self.link.until_closed()).await);
        self.link
            .closed()
            .map_or(CopyError::Stream, CopyError::Link)
    }
}

/// Takes the answer that all is done, and no other.
fn done(frame: &Frame) -> Result<(), CopyError> {
    if *frame == Frame::FileDone {
        return Ok(());
    }
    Err(CopyError::Violation)
}

/// Does what may block on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CopyError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| CopyError::Broken)
}
