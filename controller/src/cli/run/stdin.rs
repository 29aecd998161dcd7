//! Standard input on its way to a run.

use std::{fs::File, io::Read, thread};

use bytes::Bytes;
use node::run::StdinSender;
use tokio::sync::mpsc;

use super::words::Source;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Pieces between the reader and the link.
const QUEUE: usize = 4;

/// Sends everything that `source` holds.
///
/// Reading blocks, so it has a thread of its own, which is left behind when the run ends first: a
/// terminal that nobody types on cannot be woken.
pub(super) async fn feed(mut to: StdinSender, source: Box<dyn Read + Send>) {
    let (pieces, mut read) = mpsc::channel(QUEUE);
    let reader = thread::Builder::new().name("stdin".into());
    if let Err(error) = reader.spawn(move || read_all(source, &pieces)) {
        tracing::error!(%error, "standard input cannot be read");
        return to.finish().await;
    }
    while let Some(piece) = read.recv().await {
        if to.send(piece).await.is_err() {
            return; // the run has ended, which says more
        }
    }
    to.finish().await;
}

/// Opens what is to be read.
pub(super) fn open(source: Source) -> anyhow::Result<Box<dyn Read + Send>> {
    Ok(match source {
        Source::Inherited => Box::new(std::io::stdin()),
        Source::File(path) => Box::new(File::from(fs_err::File::open(path)?)),
    })
}

fn read_all(mut source: Box<dyn Read + Send>, pieces: &mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => {
                let piece = Bytes::copy_from_slice(&buffer[..len]);
                if pieces.blocking_send(piece).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(%error, "standard input cannot be read any further");
                return;
            }
        }
    }
}
