//! What is typed here.

use std::{io, thread};

use bytes::Bytes;
use tokio::sync::mpsc;

/// How much is read at once: more than anybody types, and a good piece of what somebody pastes.
const CHUNK: usize = 16 << 10;

/// Pieces between the reader and the session.
const QUEUE: usize = 4;

/// Starts to read standard input. The channel ends when the terminal does.
///
/// Reading blocks, so it has a thread of its own, which is left behind at the end: a terminal that
/// nobody types on cannot be woken.
///
/// # Errors
/// The operating system gives no thread.
pub(super) fn read() -> io::Result<mpsc::Receiver<Bytes>> {
    let (pieces, read) = mpsc::channel(QUEUE);
    let reader = thread::Builder::new().name("keyboard".into());
    reader.spawn(move || read_all(&pieces))?;
    Ok(read)
}

fn read_all(pieces: &mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(0) => return,
            Ok(len) => {
                let piece = Bytes::copy_from_slice(&buffer[..len]);
                if pieces.blocking_send(piece).is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            // EIO: the terminal was hung up.
            Err(_) => return,
        }
    }
}
