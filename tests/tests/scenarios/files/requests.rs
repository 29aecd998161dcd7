//! Controllers that lie: what an agent refuses, and that it serves on.

use node::clock::now_ms;
use proto::{
    file::{FileAction, FileFault, FileRefusal, FileRequest, Place, Start, Sum},
    frame::Frame,
    id::TransferId,
};
use scenarios::{
    Lab,
    peer::{Peer, Wire},
};

use super::{AGENT, Folders, cp, names, remote};

struct Liar {
    peer: Peer,
    lab: Lab,
    folders: Folders,
}

impl Liar {
    fn new() -> Self {
        let lab = Lab::loopback();
        let identity = lab.mesh().issue_controller("liar");
        Self {
            peer: Peer::honest(lab.address_of(0), &identity),
            lab,
            folders: Folders::new(),
        }
    }

    fn request(&self, action: FileAction) -> FileRequest {
        let honest = Peer::request(self.lab.mesh().fingerprint(), AGENT, &["true"]);
        FileRequest {
            audience: honest.audience,
            issued_at_ms: honest.issued_at_ms,
            valid_for_ms: honest.valid_for_ms,
            principal: honest.principal,
            action,
        }
    }

    /// Begins a put of `x`, numbered so that it is no other's.
    fn put(&self, number: u8) -> Wire {
        let path = self
            .folders
            .there("x")
            .to_str()
            .unwrap()
            .as_bytes()
            .to_vec();
        let (folder, name) = proto::file::FilePath::try_from(path)
            .unwrap()
            .split()
            .unwrap();
        let action = FileAction::Put {
            at: Place::at(folder).child(name).unwrap(),
            transfer: TransferId::from_bytes([number; 16]),
            mode: 0o644,
            modified: None,
        };
        self.ask(self.request(action))
    }

    fn ask(&self, request: FileRequest) -> Wire {
        self.peer.ask(&Frame::File(Box::new(request)))
    }

    #[track_caller]
    fn assert_serves_on(&self) {
        let paths = [remote("/proc/version"), self.folders.here("x").into()];
        let _ = cp(&self.lab, &[], paths).expect_success();
        assert_eq!(names(&self.folders.there), [""; 0]);
    }
}

fn root() -> FileAction {
    let root = b"/".to_vec().try_into().unwrap();
    FileAction::Look {
        at: Place::at(root),
    }
}

#[track_caller]
fn refusal(mut wire: Wire) -> FileRefusal {
    match wire.next() {
        Ok(Some(Frame::FileRefused(refusal))) => *refusal,
        other => panic!("{other:?}"),
    }
}

fn held(wire: &mut Wire) -> Sum {
    match wire.next() {
        Ok(Some(Frame::FileHeld(sum))) => sum,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_for_another_agent_mesh_or_time_is_refused() {
    let liar = Liar::new();
    let (mut agent, mut mesh) = (liar.request(root()), liar.request(root()));
    let (mut old, mut early) = (liar.request(root()), liar.request(root()));
    agent.audience.agent = "srv-linux-02".parse().unwrap();
    mesh.audience.mesh = proto::id::Fingerprint::of_certificate(b"theirs");
    old.issued_at_ms = now_ms() - 61_000;
    early.issued_at_ms = now_ms() + 90_000;

    for request in [agent, mesh] {
        let refused = refusal(liar.ask(request));
        assert!(matches!(refused, FileRefusal::Audience { .. }), "{refused}");
    }
    let refused = refusal(liar.ask(old));
    assert!(matches!(refused, FileRefusal::TooOld { .. }), "{refused}");
    let refused = refusal(liar.ask(early));
    assert!(
        matches!(refused, FileRefusal::FromTheFuture { .. }),
        "{refused}"
    );
    liar.assert_serves_on();
}

#[test]
fn content_that_is_not_what_its_sender_said_is_dropped() {
    let liar = Liar::new();
    let mut wire = liar.put(1);
    assert_eq!(held(&mut wire).bytes, 0);

    wire.send_frame(&Frame::FileStart(Start { offset: 0 }))
        .unwrap();
    wire.send_frame(&Frame::FileBytes(b"damaged".to_vec().into()))
        .unwrap();
    let (bytes, sha256) = (7, [7; 32]);
    wire.send_frame(&Frame::FileEnd(Sum { bytes, sha256 }))
        .unwrap();

    let FileRefusal::File { fault, .. } = refusal(wire) else {
        panic!("it is about the file")
    };
    assert_eq!(fault, FileFault::Damaged);
    liar.assert_serves_on();
}

#[test]
fn frames_out_of_order_end_the_link_and_leave_nothing() {
    let sum = Sum::of_nothing();
    for hostile in [
        vec![Frame::FileBytes(b"early".to_vec().into())],
        vec![Frame::FileEnd(sum)],
        vec![Frame::FileStart(Start { offset: 5 })],
        vec![
            Frame::FileStart(Start { offset: 0 }),
            Frame::FileStart(Start { offset: 0 }),
        ],
        vec![Frame::FileStart(Start { offset: 0 }), Frame::FileDone],
        vec![Frame::StdinEnd],
    ] {
        let liar = Liar::new();
        let mut wire = liar.put(1);
        let _ = held(&mut wire);

        for frame in &hostile {
            // The link may be closed before the last of them.
            drop(wire.send_frame(frame));
        }

        let _ = liar.peer.wait_closed();
        liar.assert_serves_on();
    }
}

#[test]
fn content_whose_end_does_not_come_gets_no_name() {
    let liar = Liar::new();
    let mut wire = liar.put(1);
    let _ = held(&mut wire);

    wire.send_frame(&Frame::FileStart(Start { offset: 0 }))
        .unwrap();
    wire.send_frame(&Frame::FileBytes(b"truncated".to_vec().into()))
        .unwrap();
    wire.finish();
    drop(wire);

    // The next one takes over, and finds what came.
    scenarios::eventually(scenarios::PATIENCE, || held(&mut liar.put(1)).bytes == 9);
    assert!(!liar.folders.there("x").exists());
}

#[test]
fn an_agent_serves_so_many_copies_at_once_and_says_so() {
    let liar = Liar::new();
    let mut open: Vec<Wire> = (0..32).map(|number| liar.put(number)).collect();
    for wire in &mut open {
        let _ = held(wire);
    }

    let refused = refusal(liar.put(99));

    assert!(
        matches!(refused, FileRefusal::Busy { limit: 32 }),
        "{refused}"
    );
    drop(open);
    liar.peer.close(0);
}
