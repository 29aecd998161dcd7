//! Strategies for well-formed frames of every kind.

mod file;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, strategy::Union};
use proto::{
    capability::{
        Capabilities, Capability, Container, Enclosure, FailureReason, InitSystem, List, Mount, Os,
        OsFamily, ProbeFailure, Program,
    },
    frame::{Cancel, Frame, Hello, Resize},
    id::{Fingerprint, RunId},
    run::{
        Argv, Attach, Attached, Audience, Earlier, Ended, Environment, Exit, Hold, Limit, Limits,
        OnLinkLoss, Refusal, RunRequest, StartFailure, Started, StdinMode, Tree, What, Wire, Word,
    },
    shell::Shell,
    text::Text,
};

/// Any frame that an honest node could send. Data is short, so that many frames fit into a case.
pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    let hello = (text(), any::<u64>()).prop_map(|(version, clock_ms)| {
        let os = OsFamily::Windows;
        Frame::Hello(Hello {
            version,
            os,
            clock_ms,
        })
    });
    let cancel = (any::<[u8; 16]>(), any::<u32>()).prop_map(|(run, grace_ms)| {
        let run = RunId::from_bytes(run);
        Frame::Cancel(Cancel { run, grace_ms })
    });
    prop_oneof![
        hello,
        request().prop_map(|request| Frame::Run(Box::new(request))),
        data().prop_map(Frame::Stdin),
        Just(Frame::StdinEnd),
        started().prop_map(Frame::Started),
        data().prop_map(Frame::Stdout),
        data().prop_map(Frame::Stderr),
        ended().prop_map(Frame::Ended),
        cancel,
        refusal().prop_map(Frame::Refused),
        Just(Frame::AskCapabilities),
        capabilities().prop_map(|document| Frame::Capabilities(Box::new(document))),
        any::<u64>().prop_map(|accepted_at_ms| Frame::Earlier(Earlier { accepted_at_ms })),
        attach().prop_map(Frame::Attach),
        attached().prop_map(Frame::Attached),
        Just(Frame::Probe),
        resize(),
        file::frame(),
    ]
}

fn attach() -> impl Strategy<Value = Attach> {
    let hold = prop_oneof![Just(Hold::Take), Just(Hold::Watch)];
    (any::<[u8; 16]>(), any::<[u64; 2]>(), hold).prop_map(|(run, from, hold)| Attach {
        run: RunId::from_bytes(run),
        stdout_from: from[0],
        stderr_from: from[1],
        hold,
    })
}

fn attached() -> impl Strategy<Value = Attached> {
    any::<([u64; 4], Option<u64>)>().prop_map(|(counts, stdin_from)| {
        let [stdout_from, stderr_from, stdout_to, stderr_to] = counts;
        Attached {
            stdout_from,
            stderr_from,
            stdout_to,
            stderr_to,
            stdin_from,
        }
    })
}

pub(crate) fn request() -> impl Strategy<Value = RunRequest> {
    let head = (
        any::<[u8; 16]>(),
        any::<[u8; 32]>(),
        "[a-z0-9]{1,63}",
        any::<(u64, u32)>(),
        text(),
    );
    let body = (
        what(),
        option::of(word()),
        vec((word(), word()), 0..4),
        stdin(),
        limits(),
        on_link_loss(),
    );
    (head, body).prop_map(|((id, mesh, agent, window, principal), body)| {
        let (what, cwd, environment, stdin, limits, on_link_loss) = body;
        RunRequest {
            id: RunId::from_bytes(id),
            audience: Audience {
                mesh: Fingerprint::from_bytes(mesh),
                agent: agent.parse().expect("the pattern is that of a name"),
            },
            issued_at_ms: window.0,
            valid_for_ms: window.1,
            principal,
            what,
            cwd,
            environment: Environment(environment),
            stdin,
            limits,
            on_link_loss,
        }
    })
}

pub(crate) fn stdin() -> impl Strategy<Value = StdinMode> {
    let terminal =
        (any::<(u16, u16)>(), text()).prop_map(|((columns, rows), term)| StdinMode::Terminal {
            columns,
            rows,
            term,
        });
    prop_oneof![Just(StdinMode::Closed), Just(StdinMode::Piped), terminal]
}

pub(crate) fn resize() -> impl Strategy<Value = Frame> {
    any::<(u16, u16)>().prop_map(|(columns, rows)| Frame::Resize(Resize { columns, rows }))
}

pub(crate) fn on_link_loss() -> impl Strategy<Value = OnLinkLoss> {
    prop_oneof![
        Just(OnLinkLoss::End),
        any::<u64>().prop_map(|orphan_ms| OnLinkLoss::Keep { orphan_ms }),
        Just(OnLinkLoss::Detach),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let argv = (vec(any::<u8>(), 1..40), vec(word(), 0..6)).prop_map(|(program, words)| {
        let words: Vec<Word> = std::iter::once(Word(program)).chain(words).collect();
        What::Argv(Argv::try_from(words).expect("the program has a name"))
    });
    let script = (proptest::sample::select(&Shell::ALL[..]), any::<String>())
        .prop_map(|(shell, text)| What::Script { shell, text });
    let login = option::of(proptest::sample::select(&Shell::ALL[..]))
        .prop_map(|shell| What::LoginShell { shell });
    prop_oneof![argv, script, login]
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<[Option<u64>; 5]>(), any::<u32>()).prop_map(|(limits, grace_ms)| {
        let [wall_ms, idle_ms, output_bytes, memory_bytes, cpu_s] = limits;
        Limits {
            wall_ms,
            idle_ms,
            output_bytes,
            memory_bytes,
            cpu_s,
            grace_ms,
        }
    })
}

pub(crate) fn started() -> impl Strategy<Value = Started> {
    any::<(u32, u64)>().prop_map(|(pid, at_ms)| Started { pid, at_ms })
}

pub(crate) fn ended() -> impl Strategy<Value = Ended> {
    (wire(), tree(), any::<[u64; 3]>()).prop_map(|(result, tree, numbers)| {
        let [stdout_bytes, stderr_bytes, duration_ms] = numbers;
        Ended {
            result,
            tree,
            stdout_bytes,
            stderr_bytes,
            duration_ms,
        }
    })
}

pub(crate) fn wire() -> impl Strategy<Value = Wire> {
    prop_oneof![
        any::<i32>().prop_map(|code| Wire::Finished(Exit::Code(code))),
        any::<i32>().prop_map(|signal| Wire::Finished(Exit::Signal(signal))),
        Just(Wire::Reached(Limit::Wall)),
        Just(Wire::Reached(Limit::Idle)),
        Just(Wire::Reached(Limit::Output)),
        Just(Wire::Cancelled),
        Just(Wire::AgentStopped),
        Just(Wire::LinkLost),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let pids = || vec(any::<u32>(), 0..=Tree::MAX_PIDS);
    prop_oneof![
        Just(Tree::Gone),
        pids().prop_map(|pids| Tree::Left { pids }),
        pids().prop_map(|pids| Tree::Unconfirmed { pids }),
    ]
}

pub(crate) fn refusal() -> impl Strategy<Value = Refusal> {
    let of_words = (text(), text())
        .prop_map(|(program, why)| Refusal::Start(StartFailure::NotExecutable { program, why }));
    let of_numbers = any::<(u64, u32)>().prop_map(|(age_ms, valid_for_ms)| Refusal::TooOld {
        age_ms,
        valid_for_ms,
    });
    Union::new([
        Just(Refusal::Role).boxed(),
        text().prop_map(|agent| Refusal::Audience { agent }).boxed(),
        text().prop_map(|why| Refusal::Request { why }).boxed(),
        of_numbers.boxed(),
        any::<u64>()
            .prop_map(|ahead_ms| Refusal::FromTheFuture { ahead_ms })
            .boxed(),
        any::<u32>()
            .prop_map(|limit| Refusal::Busy { limit })
            .boxed(),
        Just(Refusal::Stopping).boxed(),
        Just(Refusal::UnknownRun).boxed(),
        Just(Refusal::GivenUp).boxed(),
        of_words.boxed(),
    ])
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    let texts = (
        text(),
        option::of(text()),
        option::of(text()),
        text(),
        text(),
    );
    let lists = (vec(text(), 0..20), vec(text(), 0..40), any::<[u64; 3]>());
    (texts, lists).prop_map(|(texts, (programs, failures, numbers))| {
        let (agent_version, architecture, hostname, init, container) = texts;
        let [probed_at_ms, size_bytes, free_bytes] = numbers;
        let path = Text::cut("/srv");
        let mount = Mount {
            path: path.clone(),
            file_system: Text::cut("ext4"),
            size_bytes,
            free_bytes,
            read_only: true,
        };
        let program = |name| Program {
            name,
            path: path.clone(),
            version: None,
        };
        let failure = |part| ProbeFailure {
            capability: Capability::Tools,
            part: Some(part),
            reason: FailureReason::Unsupported,
        };
        Capabilities {
            agent_version,
            probed_at_ms,
            os: Some(linux()),
            architecture,
            hostname,
            shells: None,
            package_managers: None,
            init: Some(InitSystem::Other(init)),
            tools: Some(List::cut(programs.into_iter().map(program).collect()).0),
            domain: None,
            privilege: None,
            mounts: Some(List::cut(vec![mount]).0),
            workspaces: None,
            enclosure: Some(Enclosure {
                container: Some(Container::Other(container)),
                virtual_machine: None,
            }),
            failures: List::cut(failures.into_iter().map(failure).collect()).0,
        }
    })
}

fn linux() -> Os {
    Os {
        family: OsFamily::Linux,
        title: None,
        distribution: Some(Text::cut("debian")),
        resembles: List::default(),
        version: None,
        kernel: None,
    }
}

fn text<const MAX: usize>() -> impl Strategy<Value = Text<MAX>> {
    any::<String>().prop_map(|text| Text::cut(&text))
}

fn word() -> impl Strategy<Value = Word> {
    vec(any::<u8>(), 0..40).prop_map(Word)
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..60).prop_map(Bytes::from)
}
