//! The caller's half of asking an agent what its host is and has.

use proto::{capability::Capabilities, frame::Frame};

use crate::link::{DialError, Link, send_frame};

/// Why an agent did not describe its host.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The link was lost.
    #[error("the link was lost")]
    Link(#[source] DialError),
    /// The agent took the question and did not answer.
    #[error("it does not answer")]
    Silent,
    /// The agent broke the protocol.
    #[error("the agent does not answer as the protocol asks")]
    Violation,
}

/// Asks the agent at the other end of `link` for its capabilities. All text in them is the agent's
/// word, and untrusted.
///
/// # Errors
/// There was no answer, or none that the protocol allows.
pub async fn ask(link: &Link) -> Result<Capabilities, AskError> {
    let lost = || match link.closed() {
        Some(error) => AskError::Link(error),
        None => AskError::Violation,
    };
    let (mut send, mut frames) = link.open().await.map_err(AskError::Link)?;
    send_frame(&mut send, &Frame::AskCapabilities)
        .await
        .map_err(|_| lost())?;
    // Fails only if the stream is closed, which reading shows.
    drop(send.finish());
    match frames.next().await {
        Ok(Some(Frame::Capabilities(document))) => Ok(*document),
        Ok(Some(_)) => Err(AskError::Violation),
        Ok(None) | Err(_) => Err(lost()),
    }
}
