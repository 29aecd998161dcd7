//! The opponent of the benchmarks: quinn by itself, as a fair user would use it.
//!
//! A server and a client, each a process with one current-thread runtime, talk mutual TLS 1.3 with
//! certificates of a CA made for the occasion, the same cryptography and the same key exchange as
//! the product. It uses only quinn's public API and shares no code with the product.
//!
//! ```text
//! quinn-peer serve --folder DIR                          prints: listening on 127.0.0.1:PORT
//! quinn-peer round-trips --folder DIR --server ADDR      prints: {"nanos":71234}
//! ```

mod client;
mod credentials;
mod server;
mod wire;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make credentials in the folder and serve until killed
    Serve {
        #[arg(long)]
        folder: PathBuf,
    },
    /// Median time of a round trip of 100 bytes on a new stream of a warm connection
    RoundTrips {
        #[command(flatten)]
        peer: Peer,
        #[arg(long, default_value_t = 1000)]
        count: u32,
    },
    /// Time to receive that many bytes on one stream of a warm connection
    Bulk {
        #[command(flatten)]
        peer: Peer,
        #[arg(long, default_value_t = 1 << 30)]
        bytes: u64,
    },
    /// Mean time of a connection that both sides have verified
    Handshakes {
        #[command(flatten)]
        peer: Peer,
        #[arg(long, default_value_t = 200)]
        count: u32,
        #[arg(long, default_value_t = 1)]
        in_flight: u32,
    },
    /// Median time in which the server starts `/bin/true` and sees it end
    Spawns {
        #[command(flatten)]
        peer: Peer,
        #[arg(long, default_value_t = 300)]
        count: u32,
    },
}

#[derive(Args)]
struct Peer {
    /// The folder that the server was given
    #[arg(long)]
    folder: PathBuf,
    /// The address that the server printed
    #[arg(long)]
    server: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let nanos = match Cli::parse().verb {
        Verb::Serve { folder } => return server::serve(&folder).await,
        Verb::RoundTrips { peer, count } => {
            client::round_trips(&client::connect(&peer.folder, peer.server).await?, count).await?
        }
        Verb::Bulk { peer, bytes } => {
            client::bulk(&client::connect(&peer.folder, peer.server).await?, bytes).await?
        }
        Verb::Handshakes {
            peer,
            count,
            in_flight,
        } => client::handshakes(&peer.folder, peer.server, count, in_flight).await?,
        Verb::Spawns { peer, count } => {
            client::spawns(&client::connect(&peer.folder, peer.server).await?, count).await?
        }
    };

    show(nanos);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of a command-line tool")]
fn show(nanos: u128) {
    println!("{}", serde_json::json!({ "nanos": nanos }));
}
