//! A run in progress, as those see it who hear it.

use std::sync::Arc;

use proto::{frame::Resize, run::StdinMode, text::Text};
use tokio::{io::AsyncWriteExt as _, net::unix::pipe::Sender, sync::Mutex};

use crate::agent::{
    process::{Terminal, TerminalSize},
    spool::Spool,
};

/// What a run shares with the streams on which it is heard.
#[derive(Debug)]
pub(crate) struct Live {
    pub(super) spool: Arc<Spool>,
    /// Locked by the one caller whose input the process reads.
    pub(super) stdin: Mutex<Stdin>,
}

impl Live {
    pub(super) fn new(
        spool: Arc<Spool>,
        stdin: Option<Sender>,
        terminal: Option<Terminal>,
    ) -> Self {
        Self {
            spool,
            stdin: Mutex::new(Stdin::new(stdin, terminal)),
        }
    }
}

/// The process's standard input.
#[derive(Debug)]
pub(super) struct Stdin {
    /// Nothing when it is complete, or when the process reads no more.
    pipe: Option<Sender>,
    /// Bytes that the pipe took: where another caller goes on.
    taken: u64,
    /// The terminal that it is, if it is one.
    terminal: Option<Terminal>,
}

impl Stdin {
    pub(super) const fn new(pipe: Option<Sender>, terminal: Option<Terminal>) -> Self {
        Self {
            pipe,
            taken: 0,
            terminal,
        }
    }

    /// Returns what may still come.
    pub(super) fn mode(&self) -> StdinMode {
        match (&self.pipe, &self.terminal) {
            (Some(_), None) => StdinMode::Piped,
            (Some(_), Some(_)) => StdinMode::Terminal {
                columns: 0,
                rows: 0,
                term: Text::default(),
            },
            (None, _) => StdinMode::Closed,
        }
    }

    /// Returns where input goes on, if the process takes any.
    pub(super) fn from(&self) -> Option<u64> {
        self.pipe.as_ref().map(|_| self.taken)
    }

    /// Writes bytes to the process, as fast as it reads.
    ///
    /// # Cancel safety
    /// What the pipe took is counted.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) {
        while let Some(pipe) = &mut self.pipe
            && !bytes.is_empty()
        {
            match pipe.write(bytes).await {
                Ok(len) => {
                    self.taken += len as u64;
                    bytes = &bytes[len..];
                }
                // The process reads no more. What follows is thrown away, as a shell's pipe does.
                Err(_) => self.pipe = None,
            }
        }
    }

    /// Tells the process that its input is complete; a terminal is hung up.
    pub(super) fn close(&mut self) {
        self.pipe = None;
        if let Some(terminal) = &self.terminal {
            terminal.hang_up();
        }
    }

    /// Gives the terminal another size.
    pub(super) fn resize(&self, Resize { columns, rows }: Resize) {
        let Some(terminal) = &self.terminal else {
            return;
        };
        if let Err(error) = terminal.resize(TerminalSize { columns, rows }) {
            tracing::warn!(%error, "a terminal keeps its size");
        }
    }
}
