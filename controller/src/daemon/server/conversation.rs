//! What is said to one client: a greeting, a request, an answer.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use node::{discovery::Mechanism, run::CancelError};
use time::OffsetDateTime;
use tokio::{net::UnixStream, time::timeout};

use super::{State, relay, told};
use crate::{
    daemon::{
        place::is_trusted,
        protocol::{
            Answer, Answers, CancelAnswer, CancelRun, Declined, Frame, Hello, Look, Reply, Request,
            VERSION, encode,
        },
        stream::{ReadError, Reader, write_all},
    },
    orchestrator::Answer as Answered,
    output::raw_chain,
    told::Told,
};

/// How long a client may take to greet: a program does it at once.
const GREETING: Duration = Duration::from_secs(10);

/// Talks to a client until it has what it asked for.
pub(super) async fn hold(state: Arc<State>, stream: UnixStream, has_room: bool) {
    let talking = talk(state, Arc::new(stream), has_room);
    if let Err(error) = talking.await {
        tracing::debug!(%error, "a client was not understood");
    }
}

async fn talk(state: Arc<State>, stream: Arc<UnixStream>, has_room: bool) -> Result<(), ReadError> {
    let mut reader = Reader::<Request>::new(Arc::clone(&stream));
    let Ok(greeting) = timeout(GREETING, reader.next()).await else {
        return Ok(());
    };
    let Some(Frame::Message(Request::Hello(hello))) = greeting? else {
        return Ok(());
    };
    if let Err(declined) = welcome(&state, &stream, &hello, has_room) {
        return reply(&stream, BytesMut::new(), &Reply::Declined(declined)).await;
    }
    // At once, whatever the answer takes: a client that does not hear it leaves. And before anything
    // is done, since one that left may do the same itself.
    let mut out = BytesMut::new();
    let _ = encode(&Reply::Welcome, &mut out);
    let told_so = write_all(&stream, &mut out).await;
    told_so.map_err(ReadError::Broken)?;
    let mut stopping = state.stop.subscribe();
    let asked = tokio::select! {
        biased; // a request that came too late is left alone
        () = told(&mut stopping) => None,
        asked = reader.next() => Some(asked?),
    };
    let Some(asked) = asked else {
        return reply(&stream, out, &Reply::Stopping).await;
    };
    let Some(Frame::Message(request)) = asked else {
        return Ok(());
    };
    let answer = match request {
        Request::Run(wish) => return relay::run(state, stream, reader, *wish, out).await,
        Request::Agents(look) => agents(&state, &look).await,
        Request::Describe(name, look) => {
            let orchestrator = state.orchestrator();
            orchestrator.learn(look.known());
            match orchestrator.describe(&name, look.window).await {
                Ok(document) => Reply::Capabilities(Box::new(document)),
                Err(error) => Reply::Failed((state.door.explain_describe)(error)),
            }
        }
        Request::Cancel(cancel) => Reply::Cancelled(end(&state, cancel).await),
        Request::Status => Reply::Status(Box::new(state.status())),
        Request::Reload => match state.reload() {
            Ok(()) => Reply::Done,
            Err(told) => Reply::Failed(told),
        },
        Request::Stop => {
            state.stop.send_replace(true);
            Reply::Done
        }
        Request::Hello(_) => return Ok(()),
    };
    reply(&stream, out, &answer).await
}

/// Decides whether this client would have done the same as this daemon does.
fn welcome(
    state: &State,
    stream: &UnixStream,
    hello: &Hello,
    has_room: bool,
) -> Result<(), Declined> {
    if !stream.peer_cred().is_ok_and(|peer| is_trusted(peer.uid())) {
        return Err(Declined::User);
    }
    let release = env!("CARGO_PKG_VERSION");
    if hello.version != VERSION || hello.release != release {
        let release = release.into();
        return Err(Declined::Version { release });
    }
    if *state.stop.borrow() {
        return Err(Declined::Stopping);
    }
    if !has_room {
        return Err(Declined::Busy(super::MAX_CLIENTS));
    }
    if hello.home.is_empty() {
        return Ok(()); // it asks nothing of the mesh
    }
    let home = state.door.home.as_path().into();
    if hello.home != home {
        return Err(Declined::Home(home));
    }
    state.refresh().map_err(Declined::Unreadable)?;
    if OffsetDateTime::now_utc() > state.orchestrator().identity().not_after() {
        return Err(Declined::Ended);
    }
    if hello.identity != state.current().stamps.identity {
        return Err(Declined::Identity);
    }
    if hello.mdns.is_some() && hello.mdns != Some(state.current().mdns) {
        return Err(Declined::Mdns);
    }
    Ok(())
}

async fn agents(state: &State, look: &Look) -> Reply {
    let orchestrator = state.orchestrator();
    orchestrator.learn(look.known());
    let (answers, blind) = orchestrator.agents(look.window).await;
    let agents = answers.into_iter().map(|(name, answered)| {
        let Answered { found, hello } = answered;
        Answer {
            name,
            addr: found.link.remote_address(),
            by_mdns: found.mechanism == Mechanism::Mdns,
            rtt: found.link.rtt(),
            hello,
        }
    });
    Reply::Answers(Answers {
        agents: agents.collect(),
        blind: blind.iter().map(|error| raw_chain(error)).collect(),
    })
}

/// Ends a run of this daemon, whoever asked for it.
async fn end(state: &State, cancel: CancelRun) -> CancelAnswer {
    let Some(canceller) = state.canceller(cancel.run, &cancel.target) else {
        return CancelAnswer::Refused(proto::run::Refusal::UnknownRun);
    };
    match canceller.cancel(cancel.grace).await {
        Ok(ended) => CancelAnswer::Ended(ended),
        Err(CancelError::Refused(refusal)) => CancelAnswer::Refused(refusal),
        Err(error @ (CancelError::Link(_) | CancelError::Violation)) => {
            CancelAnswer::Failed(raw_chain(&error))
        }
    }
}

/// Sends the answer after what is in `out`. A client that left does not want it.
pub(super) async fn reply(
    stream: &UnixStream,
    mut out: BytesMut,
    answer: &Reply,
) -> Result<(), ReadError> {
    if let Err(error) = encode(answer, &mut out) {
        let told = Told {
            text: format!("the daemon's answer cannot be sent: {error}"),
            next: Some("--no-daemon works without it".into()),
            code: crate::exit::code::UNREACHABLE,
            unreachable: false,
        };
        // It is short, whatever the answer was.
        let _ = encode(&Reply::Failed(told), &mut out);
    }
    let sent = write_all(stream, &mut out).await;
    sent.map_err(ReadError::Broken)
}
