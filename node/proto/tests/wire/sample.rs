//! One small request, which tests vary.

use proto::{
    file::{FileAction, FilePath, FileRequest, Place},
    id::{Fingerprint, RunId},
    run::{Argv, Audience, Environment, Limits, OnLinkLoss, RunRequest, StdinMode, What, Word},
    text::Text,
};

pub(crate) fn run_id() -> RunId {
    RunId::from_bytes([0x11; 16])
}

pub(crate) fn argv(words: &[&str]) -> Argv {
    let words: Vec<Word> = words.iter().copied().map(Word::from).collect();
    words.try_into().unwrap()
}

/// `true`, without anything that a request may leave out.
pub(crate) fn request() -> RunRequest {
    RunRequest {
        id: run_id(),
        audience: Audience {
            mesh: Fingerprint::from_bytes([0x22; 32]),
            agent: "srv".parse().unwrap(),
        },
        issued_at_ms: 1_767_225_600_000,
        valid_for_ms: RunRequest::DEFAULT_VALID_FOR_MS,
        principal: Text::cut("alice"),
        what: What::Argv(argv(&["true"])),
        cwd: None,
        environment: Environment::default(),
        stdin: StdinMode::Closed,
        limits: Limits {
            wall_ms: None,
            idle_ms: None,
            output_bytes: None,
            memory_bytes: None,
            cpu_s: None,
            grace_ms: 2000,
        },
        on_link_loss: OnLinkLoss::End,
    }
}

pub(crate) fn path(text: &str) -> FilePath {
    text.as_bytes().to_vec().try_into().unwrap()
}

pub(crate) fn place(root: &str, below: &[&str]) -> Place {
    below.iter().fold(Place::at(path(root)), |place, name| {
        let name = name.as_bytes().to_vec().try_into().unwrap();
        place.child(name).unwrap()
    })
}

/// A request about files, as honest as [`request`].
pub(crate) fn file_request(action: FileAction) -> FileRequest {
    let run = request();
    FileRequest {
        audience: run.audience,
        issued_at_ms: run.issued_at_ms,
        valid_for_ms: run.valid_for_ms,
        principal: run.principal,
        action,
    }
}
