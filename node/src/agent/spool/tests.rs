use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use libp2p::futures::FutureExt as _;
use proptest::prelude::*;
use proto::{
    codec::{HEADER_LEN, header},
    frame::FrameKind,
    run::{Exit, OnLinkLoss, Tree, Wire},
};

use super::{
    kept::{KEEP, MEMORY, MEMORY_LIMIT, RESUME},
    *,
};

const KEPT: OnLinkLoss = OnLinkLoss::Keep { orphan_ms: 60_000 };
const PIECE: usize = 256 << 10;

pub(super) fn frame(kind: FrameKind, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_LEN + body.len());
    frame.put_slice(&header(kind, body.len()));
    frame.put_slice(body);
    frame.freeze()
}

/// A folder, and a spool in it.
struct Lab {
    home: tempfile::TempDir,
    folder: Arc<Folder>,
    spool: Spool,
    ticket: Ticket,
    /// What was appended of both streams.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lab {
    fn new(on_link_loss: OnLinkLoss) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::open(home.path(), |_| true).unwrap());
        let (spool, ticket) = Spool::new(run(), Arc::clone(&folder), on_link_loss);
        Self {
            home,
            folder,
            spool,
            ticket,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    fn append(&mut self, kind: FrameKind, body: &[u8]) {
        let all = if kind == FrameKind::Stderr {
            &mut self.stderr
        } else {
            &mut self.stdout
        };
        all.extend_from_slice(body);
        self.spool.append(frame(kind, body));
    }

    /// Appends mebibytes of output, each byte telling of its place.
    fn append_mebibytes(&mut self, count: usize) {
        for _ in 0..count * (1 << 20) / PIECE {
            let at = self.stdout.len();
            let body: Vec<u8> = (at..at + PIECE).map(|at| (at / 251) as u8).collect();
            self.append(FrameKind::Stdout, &body);
        }
    }

    fn finish(&self) -> Ended {
        let ended = Ended {
            result: Wire::Finished(Exit::Code(0)),
            tree: Tree::Gone,
            stdout_bytes: self.stdout.len() as u64,
            stderr_bytes: self.stderr.len() as u64,
            duration_ms: 0,
        };
        self.spool.finish(ended.clone());
        ended
    }

    /// Checks that whoever has `have` gets all the rest, but for `gap` bytes.
    async fn check(&self, spool: &Spool, have: Counts, gap: u64) {
        let mut cursor = spool.cursor(have);
        let mut at = cursor.have();
        let mut left_out = at.total() - have.total();
        loop {
            match spool.read(&mut cursor).await {
                Item::Frame(frame) => {
                    let (kind, len) = segment::head(&frame).unwrap();
                    let from = *at.of(kind) as usize;
                    let all = if kind == FrameKind::Stderr {
                        &self.stderr
                    } else {
                        &self.stdout
                    };
                    assert!(frame[HEADER_LEN..] == all[from..from + len], "at {from}");
                    *at.of(kind) += len as u64;
                }
                Item::Gap(to) => {
                    left_out += to.total() - at.total();
                    at = to;
                }
                Item::Ended(ended) => {
                    assert_eq!(at, Counts::of_ended(&ended));
                    break;
                }
            }
        }
        assert_eq!(left_out, gap);
    }

    /// Spills for as long as there is something to spill.
    async fn spill_all(&self) {
        loop {
            let next = self.spool.lock().to_spill();
            match next {
                Some(sequence) => self.spool.spill(sequence).await,
                None => return,
            }
        }
    }
}

fn run() -> RunId {
    RunId::from_bytes([7; 16])
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn stdout_at(stdout: u64) -> Counts {
    Counts { stdout, stderr: 0 }
}

proptest! {
    #[test]
    fn whoever_has_a_part_gets_the_rest(
        pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..40)), 0..30),
        have in any::<(prop::sample::Index, prop::sample::Index)>(),
        is_flushed in any::<bool>(),
    ) {
        let mut lab = Lab::new(KEPT);
        for (is_stderr, body) in &pieces {
            let kind = if *is_stderr { FrameKind::Stderr } else { FrameKind::Stdout };
            lab.append(kind, body);
        }
        let have = Counts {
            stdout: have.0.index(lab.stdout.len() + 1) as u64,
            stderr: have.1.index(lab.stderr.len() + 1) as u64,
        };

        block_on(async {
            if is_flushed {
                lab.spool.flush().await;
            }
            let ended = lab.finish();
            lab.check(&lab.spool, have, 0).await;
            if is_flushed {
                let again = Spool::reopen(run(), Arc::clone(&lab.folder), ended);
                lab.check(&again, have, 0).await;
            }
        });
    }
}

#[test]
fn output_beyond_the_memory_goes_to_files_and_comes_back_the_same() {
    let mut lab = Lab::new(KEPT);

    block_on(async {
        for _ in 0..6 {
            lab.append_mebibytes(1);
            lab.append(FrameKind::Stderr, b"between");
            lab.spill_all().await;
            assert!(lab.spool.lock().memory() <= MEMORY + (1 << 20) + PIECE as u64);
        }
        lab.spool.flush().await;
        let ended = lab.finish();

        lab.check(&lab.spool, Counts::default(), 0).await;
        lab.check(&lab.spool, stdout_at(3_000_001), 0).await;
        let folder = Arc::new(Folder::open(lab.home.path(), |_| true).unwrap());
        lab.check(&Spool::reopen(run(), folder, ended), stdout_at(5), 0)
            .await;
    });
}

#[test]
fn a_caller_who_keeps_up_with_gigabytes_finds_what_its_link_may_lose_and_no_more_memory() {
    let mut lab = Lab::new(KEPT);
    let mut cursor = lab.spool.cursor(Counts::default());

    block_on(async {
        for _ in 0..KEEP / (1 << 20) + 20 {
            lab.append_mebibytes(1);
            for _ in 0..(1 << 20) / PIECE {
                assert!(matches!(lab.spool.read(&mut cursor).await, Item::Frame(_)));
                lab.spool.given(lab.ticket, cursor.position());
            }
            lab.spill_all().await;
        }
        assert!(lab.spool.lock().memory() <= MEMORY_LIMIT);
        lab.spool.left(lab.ticket);
        lab.finish();

        let lost = lab.stdout.len() as u64 - (RESUME - (1 << 20));
        lab.check(&lab.spool, stdout_at(lost), 0).await;
    });
}

#[test]
fn a_run_without_its_caller_waits_rather_than_lose_a_byte() {
    let mut lab = Lab::new(KEPT);
    lab.spool.left(lab.ticket);

    block_on(async {
        while lab.spool.lock().has_room() {
            lab.append_mebibytes(1);
            lab.spill_all().await;
        }
        assert!(lab.stdout.len() as u64 >= KEEP);
        assert!(lab.stdout.len() as u64 <= KEEP + (2 << 20));
        lab.finish();

        lab.check(&lab.spool, Counts::default(), 0).await;
    });
}

#[test]
fn a_run_that_was_left_on_purpose_keeps_its_newest_output() {
    let mut lab = Lab::new(OnLinkLoss::Detach);
    lab.spool.left(lab.ticket);

    block_on(async {
        for _ in 0..KEEP / (1 << 20) + 10 {
            assert!(lab.spool.lock().has_room());
            lab.append_mebibytes(1);
            lab.spill_all().await;
        }
        lab.spool.flush().await;
        lab.finish();

        let oldest = lab.spool.cursor(Counts::default()).have().stdout;
        assert!(oldest > 0);
        lab.check(&lab.spool, Counts::default(), oldest).await;
        let files = fs_err::read_dir(lab.home.path().join("output")).unwrap();
        assert!(files.count() as u64 <= KEEP / (1 << 20) + 1);
    });
}

#[test]
fn a_full_disk_costs_what_is_kept_and_not_what_is_on_its_way() {
    let mut lab = Lab::new(KEPT);
    fs_err::remove_dir_all(lab.home.path().join("output")).unwrap();
    let mut cursor = lab.spool.cursor(Counts::default());

    block_on(async {
        for _ in 0..30 {
            lab.append_mebibytes(1);
            for _ in 0..(1 << 20) / PIECE {
                assert!(matches!(lab.spool.read(&mut cursor).await, Item::Frame(_)));
                lab.spool.given(lab.ticket, cursor.position());
            }
            lab.spill_all().await;
        }
        lab.finish();

        let lost = lab.stdout.len() as u64 - (RESUME - (1 << 20));
        lab.check(&lab.spool, stdout_at(lost), 0).await;
        assert!(lab.spool.lock().memory() <= MEMORY_LIMIT);
    });
}

#[test]
fn output_that_a_power_cut_took_is_a_gap() {
    let mut lab = Lab::new(KEPT);

    block_on(async {
        lab.append_mebibytes(2);
        lab.spool.flush().await;
        let ended = lab.finish();
        let last = fs_err::read_dir(lab.home.path().join("output")).unwrap();
        let last = last.map(|entry| entry.unwrap().path()).max().unwrap();
        fs_err::remove_file(last).unwrap();

        let again = Spool::reopen(run(), Arc::clone(&lab.folder), ended);

        lab.check(&again, Counts::default(), lab.stdout.len() as u64)
            .await;
    });
}

#[test]
fn output_of_runs_that_nobody_remembers_is_removed_at_the_start() {
    let mut lab = Lab::new(KEPT);
    block_on(async {
        lab.append(FrameKind::Stdout, b"x");
        lab.spool.flush().await;
    });

    Folder::open(lab.home.path(), |_| false).unwrap();

    assert_eq!(
        fs_err::read_dir(lab.home.path().join("output"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_run_is_an_orphan_after_its_limit_unless_somebody_comes() {
    let lab = Lab::new(OnLinkLoss::Keep { orphan_ms: 0 });

    block_on(async {
        lab.spool.left(lab.ticket);
        lab.spool.orphaned().await;

        let again = lab.spool.take();
        assert!(lab.spool.orphaned().now_or_never().is_none());
        lab.spool.left(lab.ticket);
        assert!(lab.spool.has_caller(), "who was superseded cannot leave");

        lab.spool.left(again);
        lab.spool.orphaned().await;
    });
}
