//! Announces an agent on the LAN, or shows who announces itself: to find out whether multicast
//! works between two machines, without certificates and without an agent.
//!
//! ```text
//! cargo run -p node --example discover -- announce srv-linux-01 0.0.0.0:4433
//! cargo run -p node --example discover -- ask [srv-linux-01]
//! ```
//!
//! Both ends take the mesh to be the one whose CA certificate is in the file `$MESH`, or a test
//! mesh without it. `ask` listens for two seconds and prints milliseconds and addresses.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use node::discovery::{
    Candidate, Discovery as _, Wanted,
    mdns::{Announcement, Announcer, Mdns, usable_interfaces},
};
use proto::id::Fingerprint;
use tokio::sync::mpsc;

const WINDOW: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let words: Vec<String> = std::env::args().skip(1).collect();

    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["announce", name, listen] => announce(name, listen).await,
        ["ask"] => ask(Wanted::AllAgents).await,
        ["ask", name] => ask(Wanted::Agent(name.parse()?)).await,
        _ => bail!("usage: discover announce NAME ADDRESS:PORT | discover ask [NAME]"),
    }
}

async fn announce(name: &str, listen: &str) -> anyhow::Result<()> {
    let listen: SocketAddr = listen.parse().context("read the address")?;
    let announcer = Announcer::spawn(Announcement {
        mesh: mesh()?,
        name: name.parse()?,
        listen,
    })?;

    tokio::signal::ctrl_c().await?;

    drop(announcer);
    Ok(())
}

async fn ask(wanted: Wanted) -> anyhow::Result<()> {
    let mdns = Mdns::new(mesh()?);
    let (found, mut candidates) = mpsc::channel::<Candidate>(16);
    let mut out = io::stdout();
    writeln!(out, "asking on {:?}", usable_interfaces()?)?;

    let start = Instant::now();
    let print = async {
        while let Some(candidate) = candidates.recv().await {
            let millis = start.elapsed().as_secs_f64() * 1e3;
            writeln!(out, "{millis:8.2} ms  {}", candidate.addr)?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = mdns.look_up(&wanted, found) => ended?,
        printed = print => printed?,
        () = tokio::time::sleep(WINDOW) => {}
    }
    Ok(())
}

fn mesh() -> anyhow::Result<Fingerprint> {
    let certificate = match std::env::var_os("MESH") {
        Some(path) => fs_err::read(path)?,
        None => b"a mesh for trying".to_vec(),
    };
    Ok(Fingerprint::of_certificate(&certificate))
}
