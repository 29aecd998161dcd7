//! The serving half: echoes, floods, and starts processes.

use std::{path::Path, process::Stdio, sync::Arc, time::Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use quinn::{Connection, Incoming, RecvStream, SendStream, ServerConfig};
use tokio::{process::Command, task::JoinSet};

use crate::{
    credentials,
    wire::{self, ask},
};

/// The piece in which bulk data is written: it fills many packets, and stays in the cache.
const PIECE: usize = 64 << 10;

/// Serves until the process is killed; a failed connection ends alone.
pub(crate) async fn serve(folder: &Path) -> anyhow::Result<()> {
    let mut config = ServerConfig::with_crypto(Arc::new(credentials::make(folder)?));
    config.transport_config(wire::transport());
    let endpoint = wire::endpoint(Some(config))?;
    announce(&endpoint)?;

    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(incoming) = endpoint.accept() => {
                connections.spawn(serve_connection(incoming));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the address is what a client waits for"
)]
fn announce(endpoint: &quinn::Endpoint) -> anyhow::Result<()> {
    println!("listening on {}", endpoint.local_addr()?);
    Ok(())
}

async fn serve_connection(incoming: Incoming) -> anyhow::Result<()> {
    let connection: Connection = incoming.await?;
    // The client counts itself connected when this byte says that its certificate was accepted.
    let mut welcome = connection.open_uni().await?;
    welcome.write_all(&[1]).await?;
    welcome.finish()?;

    loop {
        let (send, receive) = connection.accept_bi().await?;
        answer(send, receive).await?;
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream) -> anyhow::Result<()> {
    let question = receive.read_to_end(1024).await?;
    match question.split_first().context("an empty question")? {
        (&ask::ECHO, _) => send.write_all(&question).await?,
        (&ask::BULK, length) => flood(&mut send, u64::from_be_bytes(length.try_into()?)).await?,
        (&ask::SPAWN, _) => send.write_all(&spawn().await?.to_be_bytes()).await?,
        (other, _) => bail!("no question begins with {other}"),
    }
    send.finish()?;
    Ok(())
}

async fn flood(send: &mut SendStream, mut left: u64) -> anyhow::Result<()> {
    let piece = Bytes::from_static(&[0; PIECE]);
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        send.write_chunk(piece.slice(..length)).await?;
        left -= length as u64;
    }
    Ok(())
}

/// Returns how many nanoseconds it took to start `/bin/true` and to see it end.
async fn spawn() -> anyhow::Result<u128> {
    let begun = Instant::now();
    let status = Command::new("/bin/true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?
        .wait()
        .await?;
    let taken = begun.elapsed();
    anyhow::ensure!(status.success(), "/bin/true failed: {status}");
    Ok(taken.as_nanos())
}
