//! The promises of the ledger, each across a restart where that makes a difference.

use std::os::unix::fs::FileExt as _;

use tempfile::TempDir;

use super::{record::LEN, *};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn home() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(home: &TempDir, now: SystemTime) -> (Ledger, Recovered) {
    Ledger::open(home.path(), now).expect("a sound ledger")
}

fn asked(id: u128, issued_at: SystemTime) -> Accept {
    Accept {
        id: RunId::from_bytes(id.to_be_bytes()),
        digest: [1; 32],
        principal: "alice".parse().expect("a name"),
        issued_at,
        valid_for: MINUTE,
    }
}

fn reopen(home: &TempDir, ledger: Ledger, now: SystemTime) -> (Ledger, Recovered) {
    drop(ledger);
    opened(home, now).unwrap_or_else(|error| panic!("{error}"))
}

/// Opens once the thread of a ledger that was dropped has let go of the lock.
fn opened(home: &TempDir, now: SystemTime) -> Result<(Ledger, Recovered), OpenLedgerError> {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match Ledger::open(home.path(), now) {
            Err(OpenLedgerError::Locked { .. }) if std::time::Instant::now() < deadline => {
                std::thread::yield_now();
            }
            opened => return opened,
        }
    }
}

/// Judges a request, and settles it if it is new.
fn accept(ledger: &Ledger, asked: &Accept, now: SystemTime) -> Result<Accepted, AcceptError> {
    let judged = ledger.accept(asked, now)?;
    if let Accepted::New(unsettled) = &judged {
        ledger.settle(unsettled)?;
    }
    Ok(judged)
}

/// Judges many at once; they share the sync of the last.
fn accept_all(ledger: &Ledger, many: &[Accept]) -> Vec<Result<Accepted, AcceptError>> {
    let judged: Vec<_> = many.iter().map(|one| ledger.accept(one, noon())).collect();
    for one in judged.iter().rev() {
        if let Ok(Accepted::New(unsettled)) = one {
            ledger.settle(unsettled).expect("synced");
        }
    }
    judged
}

fn is_new(judged: &Result<Accepted, AcceptError>) -> bool {
    matches!(judged, Ok(Accepted::New(_)))
}

fn is_earlier(judged: &Result<Accepted, AcceptError>) -> bool {
    matches!(judged, Ok(Accepted::Earlier(_)))
}

#[test]
fn an_id_is_new_once_and_known_ever_after() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    assert!(is_new(&accept(&ledger, &asked(1, noon()), noon())));
    assert!(is_earlier(&accept(&ledger, &asked(1, noon()), noon())));

    let (ledger, recovered) = reopen(&home, ledger, noon());

    assert_eq!(recovered.lost, [asked(1, noon()).id]);
    assert!(is_earlier(&accept(&ledger, &asked(1, noon()), noon())));
}

#[test]
fn an_end_is_kept_across_a_restart() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    let id = asked(1, noon()).id;
    assert!(is_new(&accept(&ledger, &asked(1, noon()), noon())));
    ledger.ended(id, b"exit 3", noon()).expect("written");

    let (ledger, recovered) = reopen(&home, ledger, noon());

    assert_eq!(recovered, Recovered::default());
    assert_eq!(
        ledger.get(id).expect("known").state,
        State::Ended(b"exit 3"[..].into())
    );
}

#[test]
fn another_request_or_controller_cannot_use_an_id_again() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    assert!(is_new(&accept(&ledger, &asked(1, noon()), noon())));
    let changed = Accept {
        digest: [2; 32],
        ..asked(1, noon())
    };
    let stolen = Accept {
        principal: "mallory".parse().unwrap(),
        ..asked(1, noon())
    };

    assert!(matches!(
        accept(&ledger, &changed, noon()),
        Err(AcceptError::DifferentRequest)
    ));
    assert!(matches!(
        accept(&ledger, &stolen, noon()),
        Err(AcceptError::OtherPrincipal)
    ));
}

#[test]
fn the_window_is_exact_at_both_edges() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    let ms = Duration::from_millis(1);
    let judge = |id, issued_at| accept(&ledger, &asked(id, issued_at), noon());

    assert!(is_new(&judge(1, noon() - MINUTE)));
    assert!(matches!(
        judge(2, noon() - MINUTE - ms),
        Err(AcceptError::TooOld { .. })
    ));
    assert!(is_new(&judge(3, noon() + SKEW)));
    assert!(matches!(
        judge(4, noon() + SKEW + ms),
        Err(AcceptError::FromTheFuture { .. })
    ));
}

#[test]
fn a_window_longer_than_ten_minutes_counts_as_ten() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    let long = Accept {
        valid_for: DAY,
        ..asked(1, noon() - 11 * MINUTE)
    };

    let judged = accept(&ledger, &long, noon());

    assert!(matches!(
        judged,
        Err(AcceptError::TooOld {
            valid_for: MAX_VALID_FOR,
            ..
        })
    ));
}

#[test]
fn with_the_clock_set_back_nothing_that_was_accepted_is_new() {
    // Enough for the file to be rewritten, so that the floor alone remembers.
    const FULL: usize = 2001;
    let home = home();
    let open = |now| Ledger::open_with(home.path(), now, FULL).expect("a sound ledger");
    let (ledger, _) = open(noon());
    let many: Vec<Accept> = (1000..3000).map(|n| asked(n, noon())).collect();
    let judged = accept_all(&ledger, &many);
    assert!(judged.iter().all(is_new));
    assert!(is_new(&accept(&ledger, &asked(1, noon()), noon())));
    for asked in many.iter().chain([&asked(1, noon())]) {
        ledger.ended(asked.id, b"so", noon()).unwrap();
    }
    drop(ledger);
    let (ledger, _) = open(noon() + 2 * DAY);
    assert_eq!(
        ledger.get(asked(1, noon()).id),
        None,
        "a day is what is remembered when there is no room for more"
    );

    drop(ledger);
    let (ledger, _) = open(noon());
    let judged = accept(&ledger, &asked(1, noon()), noon());

    assert!(
        matches!(judged, Err(AcceptError::OlderThanMemory)),
        "{judged:?}"
    );
    assert!(is_new(&accept(
        &ledger,
        &asked(2, noon() + Duration::from_secs(1)),
        noon()
    )));
}

#[test]
fn a_run_is_remembered_for_a_day_after_its_end_however_long_it_took() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    let (long, lost) = (asked(1, noon()), asked(2, noon()));
    assert!(is_new(&accept(&ledger, &long, noon())));
    assert!(is_new(&accept(&ledger, &lost, noon())));
    ledger.ended(long.id, b"so", noon() + 3 * DAY).unwrap();

    let (ledger, recovered) = reopen(&home, ledger, noon() + 3 * DAY + MINUTE);

    assert_eq!(recovered.lost, [lost.id]);
    for id in [1, 2] {
        let later = noon() + 3 * DAY + MINUTE;
        assert!(is_earlier(&accept(&ledger, &asked(id, later), later)));
    }
}

#[test]
fn an_id_that_was_given_up_is_never_accepted_also_after_a_restart() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    let asked = asked(1, noon());
    let gave_up = ledger.give_up(asked.id, &asked.principal, noon()).unwrap();
    let GaveUp::Now(unsettled) = gave_up else {
        panic!("nobody asked for it before");
    };
    ledger.settle(&unsettled).unwrap();

    let (ledger, _) = reopen(&home, ledger, noon());

    let judged = accept(&ledger, &asked, noon());
    assert!(matches!(judged, Err(AcceptError::GivenUp)));
}

#[test]
fn who_asks_again_that_an_id_be_given_up_waits_for_the_disk_as_the_first_one_does() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    let asked = asked(1, noon());
    let first = ledger.give_up(asked.id, &asked.principal, noon()).unwrap();
    assert!(matches!(first, GaveUp::Now(_)));

    let second = ledger.give_up(asked.id, &asked.principal, noon()).unwrap();

    assert!(matches!(second, GaveUp::Now(_)));
    assert!(ledger.log_is_unsynced());
    ledger.settle(&ledger.given_up(asked.id)).unwrap();
    assert!(!ledger.log_is_unsynced());
}

#[test]
fn a_restart_with_the_clock_ahead_forgets_no_run() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    let one = asked(1, noon());
    assert!(is_new(&accept(&ledger, &one, noon())));
    ledger.ended(one.id, b"so", noon()).unwrap();

    let (ledger, _) = reopen(&home, ledger, noon() + 2 * DAY);
    let later = noon() + MINUTE;

    assert!(is_earlier(&accept(&ledger, &asked(1, later), later)));
}

#[test]
fn a_rewritten_file_does_not_pass_for_synced_because_the_former_one_was() {
    let home = home();
    let (ledger, _) = Ledger::open_with(home.path(), noon(), 10).expect("a sound ledger");
    let settled = |id: u128, now| {
        let one = asked(id, now);
        assert!(is_new(&accept(&ledger, &one, now)));
        ledger.ended(one.id, b"ok", now).unwrap();
    };
    let (mut id, mut now) = (0, noon());
    // One more record, and the next acceptance rewrites the file.
    while ledger.lock().log.records() < 4 * 10 {
        settled(id, now);
        (id, now) = (id + 1, now + 12 * MINUTE);
    }
    let before = ledger.accept(&asked(id, now), now).unwrap();
    let after = ledger.accept(&asked(id + 1, now), now).unwrap();
    assert!(ledger.lock().log.records() < 4 * 10, "it was rewritten");
    let Accepted::New(before) = before else {
        panic!("{before:?}")
    };

    ledger.settle(&before).unwrap();

    assert!(ledger.log_is_unsynced());
    let Accepted::New(after) = after else {
        panic!("{after:?}")
    };
    ledger.settle(&after).unwrap();
    assert!(!ledger.log_is_unsynced());
}

#[test]
fn a_hundred_thousand_other_ids_do_not_push_one_out() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    assert!(is_new(&accept(&ledger, &asked(0, noon()), noon())));
    for round in 0..100_u128 {
        let many: Vec<Accept> = (1..=1000)
            .map(|n| asked(round * 1000 + n, noon()))
            .collect();
        let judged = accept_all(&ledger, &many);
        assert!(judged.iter().all(is_new));
    }

    assert!(is_earlier(&accept(&ledger, &asked(0, noon()), noon())));
    let (ledger, recovered) = reopen(&home, ledger, noon());
    assert_eq!(recovered.lost.len(), 100_001);
    assert!(is_earlier(&accept(&ledger, &asked(0, noon()), noon())));
}

#[test]
fn a_full_ledger_refuses_until_something_may_be_forgotten() {
    let home = home();
    let (ledger, _) = Ledger::open_with(home.path(), noon(), 2).expect("a sound ledger");
    for id in [1, 2] {
        assert!(is_new(&accept(&ledger, &asked(id, noon()), noon())));
    }
    ledger
        .ended(asked(1, noon()).id, b"", noon())
        .expect("written");
    assert!(matches!(
        accept(&ledger, &asked(3, noon()), noon()),
        Err(AcceptError::Full)
    ));

    let later = noon() + 12 * MINUTE;
    assert!(is_new(&accept(&ledger, &asked(3, later), later)));

    assert!(
        ledger.get(asked(1, noon()).id).is_none(),
        "the ended one makes room"
    );
    assert!(
        ledger.get(asked(2, noon()).id).is_some(),
        "the one in progress stays"
    );
    let judged = accept(&ledger, &asked(1, noon()), noon());
    assert!(
        matches!(judged, Err(AcceptError::OlderThanMemory)),
        "{judged:?}"
    );
}

#[test]
fn a_power_cut_within_the_last_record_loses_only_that_and_closes_the_past() {
    for cut in 1..LEN {
        let home = home();
        let (ledger, _) = open(&home, noon());
        assert!(is_new(&accept(&ledger, &asked(1, noon()), noon())));
        assert!(is_new(&accept(&ledger, &asked(2, noon()), noon())));
        let (ledger, _) = reopen(&home, ledger, noon());
        drop(ledger);
        let file = fs_err::OpenOptions::new()
            .write(true)
            .open(home.path().join("ledger"))
            .unwrap();
        let zeros = vec![0; LEN - cut];
        file.file()
            .write_all_at(&zeros, (LEN + cut) as u64)
            .expect("written");

        // The first opening mends the file; the second one shows that the mend lasts.
        let (mended, _) = opened(&home, noon()).expect("mended");
        let (ledger, recovered) = reopen(&home, mended, noon());

        let first = accept(&ledger, &asked(1, noon()), noon());
        assert!(is_earlier(&first), "cut at {cut}: {first:?}");
        let second = accept(&ledger, &asked(2, noon()), noon());
        let closed = matches!(second, Err(AcceptError::OlderThanMemory)) || is_earlier(&second);
        assert!(closed, "cut at {cut}: {second:?}, {recovered:?}");
    }
}

#[test]
fn damage_in_the_middle_stops_the_agent_and_names_the_place() {
    let home = home();
    let (ledger, _) = open(&home, noon());
    let many: Vec<Accept> = (0..6000).map(|n| asked(n, noon())).collect();
    let judged = accept_all(&ledger, &many);
    assert!(judged.iter().all(is_new));
    drop(reopen(&home, ledger, noon()));
    let file = fs_err::OpenOptions::new()
        .write(true)
        .open(home.path().join("ledger"))
        .unwrap();
    file.file()
        .write_all_at(b"x", 100 * LEN as u64 + 5)
        .expect("written");

    let error = opened(&home, noon())
        .map(drop)
        .expect_err("a damaged ledger was opened");

    assert!(matches!(error, OpenLedgerError::Damaged { offset, .. } if offset == 100 * LEN as u64));
}

#[test]
fn a_second_agent_on_the_same_home_is_refused() {
    let home = home();
    let (_ledger, _) = open(&home, noon());

    let second = Ledger::open(home.path(), noon());

    assert!(matches!(second, Err(OpenLedgerError::Locked { .. })));
}

#[test]
fn when_the_record_cannot_be_written_nothing_is_accepted() {
    // A home that the writer cannot grow in: the file is replaced by the device that is always full.
    let home = home();
    std::os::unix::fs::symlink("/dev/full", home.path().join("ledger")).expect("linked");
    let Ok((ledger, _)) = Ledger::open(home.path(), noon()) else {
        return; // refused at once is as good
    };

    let judged = accept(&ledger, &asked(1, noon()), noon());
    assert!(matches!(judged, Err(AcceptError::Write(_))), "{judged:?}");
    let again = accept(&ledger, &asked(1, noon()), noon());
    assert!(matches!(again, Err(AcceptError::Write(_))), "{again:?}");
}

#[test]
fn the_file_shrinks_when_most_of_it_is_past() {
    let home = home();
    let (ledger, _) = Ledger::open_with(home.path(), noon(), 10).expect("a sound ledger");
    for id in 0..100 {
        let now = noon() + 12 * MINUTE * id;
        let one = asked(id.into(), now);
        assert!(is_new(&accept(&ledger, &one, now)));
        ledger.ended(one.id, b"ok", now).expect("written");
    }

    let used = fs_err::read(home.path().join("ledger")).expect("readable");
    let places = used
        .chunks(LEN)
        .filter(|place| place.iter().any(|byte| *byte != 0))
        .count();

    assert!(places <= 50, "{places} records for 10 entries");
}
