//! One standard input for many targets: read once, in bounded memory.
//!
//! Where all targets run at once, each piece goes to each of them before the next one is read, so
//! the slowest holds the others back. Where they have their turns after each other, the whole of it
//! has to be there for the last one, and so has a bound.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Pieces that wait for one target: enough to overlap reading and sending.
const QUEUE: usize = 4;

/// The most that is kept for targets whose turn comes later, in bytes.
const MAX_KEPT: u64 = 64 << 20;

/// Where standard input comes from.
pub type Source = Box<dyn Read + Send>;

/// The standard input of a fleet.
pub struct Input(Way);

enum Way {
    /// It is passed on while it is read.
    Passed(Vec<Option<mpsc::Receiver<Piece>>>),
    /// All of it is here.
    Kept(Arc<[Bytes]>),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Input")
    }
}

/// Some bytes, or why there are no more that count.
type Piece = Result<Bytes, String>;

/// Standard input that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("read standard input")]
    Read(#[source] io::Error),
    /// It is too long to be kept.
    #[error(
        "standard input has more than the {MAX_KEPT} bytes that are kept for targets whose turn comes later; raise --parallel above the number of targets, or copy a file there first"
    )]
    TooLong,
    /// The operating system gives no thread.
    #[error("start the thread that reads standard input")]
    Thread(#[source] io::Error),
}

impl Input {
    /// Begins to read for `targets` that run at once. Blocks nobody.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn pass(source: Source, targets: usize) -> Result<Self, InputError> {
        let channels = (0..targets).map(|_| mpsc::channel(QUEUE));
        let (to, from): (Vec<_>, Vec<_>) = channels.unzip();
        let reader = thread::Builder::new().name("stdin".into());
        reader
            .spawn(move || pass_all(source, to))
            .map_err(InputError::Thread)?;
        Ok(Self(Way::Passed(from.into_iter().map(Some).collect())))
    }

    /// Reads all of it. Blocks until its end.
    ///
    /// # Errors
    /// It cannot be read, or is too long.
    pub fn keep(source: Source) -> Result<Self, InputError> {
        let mut bytes = Vec::new();
        let mut bounded = source.take(MAX_KEPT + 1);
        bounded.read_to_end(&mut bytes).map_err(InputError::Read)?;
        if bytes.len() as u64 > MAX_KEPT {
            return Err(InputError::TooLong);
        }
        let mut rest = Bytes::from(bytes);
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            pieces.push(rest.split_to(rest.len().min(CHUNK)));
        }
        Ok(Self(Way::Kept(pieces.into())))
    }

    /// Takes what the target with this number is to read. A feed that is dropped holds nobody back.
    pub(super) fn feed(&mut self, at: usize) -> Feed {
        match &mut self.0 {
            Way::Passed(feeds) => match feeds.get_mut(at).and_then(Option::take) {
                Some(pieces) => Feed::Passed(pieces),
                None => Feed::Kept(Arc::from([]), 0),
            },
            Way::Kept(pieces) => Feed::Kept(Arc::clone(pieces), 0),
        }
    }
}

/// The standard input of one target.
pub(super) enum Feed {
    Passed(mpsc::Receiver<Piece>),
    Kept(Arc<[Bytes]>, usize),
}

impl Feed {
    /// Returns the next piece.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        match self {
            Self::Passed(pieces) => pieces.recv().await,
            Self::Kept(pieces, at) => {
                let piece = pieces.get(*at).cloned();
                *at += 1;
                piece.map(Ok)
            }
        }
    }
}

fn pass_all(mut source: Source, mut to: Vec<mpsc::Sender<Piece>>) {
    let mut buffer = vec![0; CHUNK];
    while !to.is_empty() {
        let piece = match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => Ok(Bytes::copy_from_slice(&buffer[..len])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error.to_string()),
        };
        to.retain(|one| one.blocking_send(piece.clone()).is_ok());
        if piece.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut feed: Feed) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(piece) = feed.next().await {
            bytes.extend_from_slice(&piece.expect("readable"));
        }
        bytes
    }

    fn source(len: usize) -> Source {
        Box::new(io::Cursor::new(vec![b'x'; len]))
    }

    #[tokio::test]
    async fn every_target_reads_all_of_it_and_who_is_gone_holds_nobody_back() {
        let len = (QUEUE + 3) * CHUNK + 1;
        let mut passed = Input::pass(source(len), 3).unwrap();
        let mut kept = Input::keep(source(len)).unwrap();

        drop(passed.feed(1));
        let (first, third) = tokio::join!(all(passed.feed(0)), all(passed.feed(2)));

        assert_eq!((first.len(), third.len()), (len, len));
        for at in [0, 7] {
            assert_eq!(all(kept.feed(at)).await.len(), len);
        }
    }

    #[test]
    fn more_than_can_be_kept_is_refused() {
        let endless: Source = Box::new(io::repeat(b'x'));

        assert!(matches!(Input::keep(endless), Err(InputError::TooLong)));
    }
}
