//! The table of processes, from `/proc`.
//!
//! **Invariant:** a process that keeps replacing itself by a child is not missed, although the table is
//! not read at one instant: whatever was born meanwhile has a number that the kernel gave out since,
//! and those are visited until there are no more.

use std::io::Read as _;

use fs_err::{self as fs, File};

use super::Entry;

/// How much of an environment is searched for the mark; Linux allows argv and environment a quarter
/// of the stack limit together, usually 2 MiB.
const MAX_ENVIRONMENT_LEN: u64 = 8 * 1024 * 1024;

/// How often those are visited that were born meanwhile. Visiting a few takes less time than a fork, so
/// nobody is quick enough to be missed that often; and on a busy machine others are born all the time.
const MAX_ROUNDS: usize = 16;

/// Calls `visit` with each process, some of them twice.
pub(super) fn visit(mut visit: impl FnMut(Entry)) {
    let mut newest = newest();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(entry)
        .for_each(&mut visit);
    for _ in 0..MAX_ROUNDS {
        let before = std::mem::replace(&mut newest, self::newest());
        if newest == before {
            return;
        }
        given_out_since(before, newest)
            .filter_map(entry)
            .for_each(&mut visit);
    }
}

/// Returns the process id that was given out last (the last field of `proc_loadavg(5)`).
fn newest() -> u32 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_ascii_whitespace()
        .last()
        .and_then(|pid| pid.parse().ok())
        .unwrap_or(0)
}

/// Returns the numbers after `before` up to `newest`; they begin anew after the largest.
fn given_out_since(before: u32, newest: u32) -> impl Iterator<Item = u32> {
    let (to_the_end, from_the_start) = if newest < before {
        let largest = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
        // This one is called a maximum, but is the first number that is not given out.
        (
            before + 1..largest.trim().parse().unwrap_or(0),
            1..newest + 1,
        )
    } else {
        (before + 1..newest + 1, 0..0)
    };
    to_the_end.chain(from_the_start)
}

/// Returns when `pid` started, if it is still there.
pub(super) fn started(pid: u32) -> Option<u64> {
    entry(pid).map(|entry| entry.started)
}

/// Tells whether `line` is an entry of the environment that `pid` was executed with.
pub(super) fn environment_contains(pid: u32, line: &[u8]) -> bool {
    let mut environment = Vec::new();
    File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(MAX_ENVIRONMENT_LEN).read_to_end(&mut environment))
        .is_ok_and(|_| {
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == line)
        })
}

fn entry(pid: u32) -> Option<Entry> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &stat)
}

/// Reads the fields 3 to 6, 20 and 22 of `proc_pid_stat(5)`. The second, a name that the process
/// chooses, is in parentheses and may contain anything, also parentheses.
fn parse(pid: u32, stat: &[u8]) -> Option<Entry> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let [parent, group, session] = [fields.next()?, fields.next()?, fields.next()?];
    let threads: u32 = fields.nth(13)?.parse().ok()?;
    Some(Entry {
        pid,
        // A process whose first thread has ended looks like a zombie while the others go on.
        dead: is_zombie && threads <= 1,
        parent: parent.parse().ok()?,
        group: group.parse().ok()?,
        session: session.parse().ok()?,
        started: fields.nth(1)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_lie_by_its_name() {
        let stat = b"42 (a) Z 1 1 1 ) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 9 9\n";

        let entry = parse(42, stat).unwrap();

        assert_eq!((entry.parent, entry.group, entry.session), (7, 8, 9));
        assert_eq!((entry.started, entry.dead), (1234, false));
    }

    #[test]
    fn a_process_is_dead_only_with_its_last_thread() {
        let stat = |threads: u32| {
            format!("42 (a) Z 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 1234 9 9\n")
        };

        assert!(parse(42, stat(1).as_bytes()).unwrap().dead);
        assert!(!parse(42, stat(2).as_bytes()).unwrap().dead);
    }

    #[test]
    fn numbers_begin_anew_after_the_largest() {
        let first_not_used: u32 = fs::read_to_string("/proc/sys/kernel/pid_max")
            .unwrap()
            .trim()
            .parse()
            .unwrap();

        assert_eq!(given_out_since(5, 8).collect::<Vec<_>>(), [6, 7, 8]);
        assert_eq!(
            given_out_since(first_not_used - 2, 2).collect::<Vec<_>>(),
            [first_not_used - 1, 1, 2]
        );
    }

    #[test]
    fn this_process_is_in_the_table() {
        let this = std::process::id();

        let mut found = None;
        visit(|entry| {
            if entry.pid == this {
                found = Some(entry.started);
            }
        });

        assert!(found.is_some());
        assert_eq!(found, started(this));
    }
}
