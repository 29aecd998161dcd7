//! The table of processes, from `libproc`.
//!
//! The environment of another process is not read: macOS shows it to root alone, and hides that of
//! protected programs from root as well. So a process escapes that has left session and parent.

use std::mem::{MaybeUninit, size_of};

use super::Entry;

/// The state of a process that has exited (`SZOMB` of `sys/proc.h`).
const ZOMBIE: u32 = 5;

/// Room for processes that start between asking for their number and asking for their ids.
const SPARE: usize = 256;

/// Calls `visit` with each process.
#[allow(unsafe_code, reason = "libproc is only reachable through libc")]
pub(super) fn visit(visit: impl FnMut(Entry)) {
    // SAFETY: without a buffer, the call returns the number of processes.
    let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
    let mut pids = vec![0_i32; usize::try_from(count).unwrap_or(0) + SPARE];
    let bytes = i32::try_from(pids.len() * size_of::<i32>()).unwrap_or(i32::MAX);
    // SAFETY: the buffer is live and as long as said.
    let count = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), bytes) };
    pids.truncate(usize::try_from(count).unwrap_or(0));
    pids.into_iter().filter_map(entry).for_each(visit);
}

/// Returns when `pid` started, if it is still there.
pub(super) fn started(pid: u32) -> Option<u64> {
    i32::try_from(pid)
        .ok()
        .and_then(entry)
        .map(|entry| entry.started)
}

/// Always says no; see the module documentation.
pub(super) fn environment_contains(_pid: u32, _line: &[u8]) -> bool {
    false
}

#[allow(unsafe_code, reason = "libproc is only reachable through libc")]
fn entry(pid: i32) -> Option<Entry> {
    let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let len = i32::try_from(size_of::<libc::proc_bsdinfo>()).ok()?;
    // SAFETY: the buffer is live and as long as said.
    let read = unsafe {
        libc::proc_pidinfo(
            pid,
            libc::PROC_PIDTBSDINFO,
            0,
            info.as_mut_ptr().cast(),
            len,
        )
    };
    if read != len {
        return None;
    }
    // SAFETY: the call has filled all of it.
    let info = unsafe { info.assume_init() };
    // SAFETY: a system call without pointers.
    let session = unsafe { libc::getsid(pid) };
    Some(Entry {
        pid: info.pbi_pid,
        parent: info.pbi_ppid,
        group: info.pbi_pgid,
        session: u32::try_from(session).unwrap_or(0),
        dead: info.pbi_status == ZOMBIE,
        started: info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec,
    })
}
