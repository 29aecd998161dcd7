//! The asking half: it measures, and says how long things took, in nanoseconds.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, ensure};
use quinn::{ClientConfig, Connection, Endpoint};
use tokio::task::JoinSet;

use crate::{
    credentials,
    wire::{self, ECHO_LEN, SERVER, ask},
};

/// Round trips before the first measured one, in which caches and congestion window warm up.
const WARM_UP: u32 = 50;

/// A connection and the endpoint that carries it.
pub(crate) struct Warm {
    connection: Connection,
    _endpoint: Endpoint,
}

/// Connects to the server with the credentials that it left in `folder`.
pub(crate) async fn connect(folder: &Path, server: SocketAddr) -> anyhow::Result<Warm> {
    let endpoint = endpoint(folder)?;
    Ok(Warm {
        connection: handshake(&endpoint, server).await?,
        _endpoint: endpoint,
    })
}

/// Measures the median of `count` echoes, each on a stream of its own.
pub(crate) async fn round_trips(warm: &Warm, count: u32) -> anyhow::Result<u128> {
    let question = [ask::ECHO; ECHO_LEN];
    let mut taken = Vec::new();
    for number in 0..WARM_UP + count {
        let begun = Instant::now();
        let answer = asked(&warm.connection, &question, ECHO_LEN).await?;
        if number >= WARM_UP {
            taken.push(begun.elapsed().as_nanos());
        }
        ensure!(answer == question, "the echo differs");
    }
    median(taken)
}

/// Measures from the question to the last of `bytes` bytes.
pub(crate) async fn bulk(warm: &Warm, bytes: u64) -> anyhow::Result<u128> {
    let begun = Instant::now();
    let (mut send, mut receive) = warm.connection.open_bi().await?;
    send.write_all(&[&[ask::BULK][..], &bytes.to_be_bytes()].concat())
        .await?;
    send.finish()?;
    let mut received = 0;
    while let Some(chunk) = receive.read_chunk(usize::MAX, true).await? {
        received += chunk.bytes.len() as u64;
    }
    let taken = begun.elapsed().as_nanos();
    ensure!(
        received == bytes,
        "{received} bytes came instead of {bytes}"
    );
    Ok(taken)
}

/// Measures the mean time of `count` handshakes, `in_flight` at a time.
pub(crate) async fn handshakes(
    folder: &Path,
    server: SocketAddr,
    count: u32,
    in_flight: u32,
) -> anyhow::Result<u128> {
    let endpoint = endpoint(folder)?;
    handshake(&endpoint, server).await?;

    let begun = Instant::now();
    let mut pending = JoinSet::new();
    for number in 0..count {
        if number >= in_flight
            && let Some(done) = pending.join_next().await
        {
            done??;
        }
        let endpoint = endpoint.clone();
        pending.spawn(async move { handshake(&endpoint, server).await.map(drop) });
    }
    while let Some(done) = pending.join_next().await {
        done??;
    }
    Ok(begun.elapsed().as_nanos() / u128::from(count))
}

/// Asks for the median time of `count` starts of a process.
pub(crate) async fn spawns(warm: &Warm, count: u32) -> anyhow::Result<u128> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let answer = asked(&warm.connection, &[ask::SPAWN], size_of::<u128>()).await?;
        taken.push(u128::from_be_bytes(answer.as_slice().try_into()?));
    }
    median(taken)
}

fn endpoint(folder: &Path) -> anyhow::Result<Endpoint> {
    let mut config = ClientConfig::new(Arc::new(credentials::read(folder)?));
    config.transport_config(wire::transport());
    let mut endpoint = wire::endpoint(None)?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// Connects, and waits until the server has accepted this side's certificate too.
async fn handshake(endpoint: &Endpoint, server: SocketAddr) -> anyhow::Result<Connection> {
    let connection = endpoint.connect(server, SERVER)?.await?;
    let mut welcome = connection
        .accept_uni()
        .await
        .context("be accepted by the server")?;
    welcome.read_to_end(1).await?;
    Ok(connection)
}

async fn asked(
    connection: &Connection,
    question: &[u8],
    longest: usize,
) -> anyhow::Result<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(question).await?;
    send.finish()?;
    Ok(receive.read_to_end(longest).await?)
}

fn median(mut taken: Vec<u128>) -> anyhow::Result<u128> {
    taken.sort_unstable();
    taken
        .get(taken.len() / 2)
        .copied()
        .context("nothing was measured")
}
