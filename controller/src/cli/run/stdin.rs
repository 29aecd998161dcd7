//! Standard input on its way to a run.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    thread,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use node::run::StdinSender;

/// Where a run's standard input comes from.
pub(in crate::cli) type Source = Box<dyn io::Read + Send>;

/// Opens `file`, or this process's own standard input.
///
/// # Errors
/// It is not there, or cannot be read as a file.
pub(super) fn open(file: Option<&Path>) -> anyhow::Result<Source> {
    let Some(path) = file else {
        return Ok(Box::new(io::stdin()));
    };
    let file = fs_err::File::open(path)?;
    anyhow::ensure!(
        !file.metadata()?.is_dir(),
        "{} is a directory",
        path.display()
    );
    Ok(Box::new(File::from(file)))
}

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Pieces between the reader and the link.
const QUEUE: usize = 4;

/// Sends everything that `source` holds, and says that it is complete only if it was.
///
/// Reading blocks, so it has a thread of its own, which is left behind when the run ends first: a
/// terminal that nobody types on cannot be woken.
///
/// # Errors
/// It cannot be read to its end. The process was not told that its input is complete, so the run is
/// to be cancelled.
pub(super) async fn feed(mut to: StdinSender, source: Source) -> io::Result<()> {
    let (pieces, mut read) = mpsc::channel(QUEUE);
    let reader = thread::Builder::new().name("stdin".into());
    reader.spawn(move || read_all(source, &pieces))?;
    while let Some(piece) = read.recv().await {
        if to.send(piece?).await.is_err() {
            return Ok(()); // the run has ended, which says more
        }
    }
    to.finish().await;
    Ok(())
}

fn read_all(mut source: Source, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => {
                let piece = Bytes::copy_from_slice(&buffer[..len]);
                if pieces.blocking_send(Ok(piece)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                // Nobody to tell: the run has ended.
                drop(pieces.blocking_send(Err(error)));
                return;
            }
        }
    }
}
