//! Waiting for what may not be under way, as one arm of a `select!`.

use std::pin::Pin;

/// Waits for something, if there is something to wait for; else for ever.
pub(crate) async fn maybe<F: Future>(waited: Pin<&mut Option<F>>) -> F::Output {
    match waited.as_pin_mut() {
        Some(waited) => waited.await,
        None => std::future::pending().await,
    }
}
