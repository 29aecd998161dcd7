//! Making a process that becomes an [`Image`].
//!
//! On Linux a process is born inside its control group by `clone3`, sharing the agent's memory until
//! it executes its program, as `posix_spawn` does: moving a process into a group afterwards costs
//! more, and copying the agent's page tables grows with the agent. Where a kernel or a sandbox does not
//! offer that, `fork` does the same work.

use std::{
    io::{self, PipeReader, Read as _},
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    ptr,
};

use super::image::{Descriptors, Image, read_report};
use crate::agent::process::{OsCode, Step};

/// How processes are made on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// `clone3`, without copying memory.
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    Clone3,
    /// `fork`.
    Fork,
}

impl Method {
    /// All, best first.
    pub(super) const ALL: &[Self] = &[
        #[cfg(all(
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64")
        ))]
        Self::Clone3,
        Self::Fork,
    ];
}

/// The control group of the new process.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// Its directory, for `clone3`.
    pub(super) directory: RawFd,
    /// Its `cgroup.procs`, for `fork`.
    pub(super) procs: RawFd,
}

/// A process that has become its program.
pub(super) struct Started {
    pub(super) pid: u32,
    /// Names the process where the kernel can; readable once it has exited.
    pub(super) pidfd: Option<OwnedFd>,
}

/// A process that did not come to be, or not its program; nothing of it is left.
pub(super) struct Failed {
    pub(super) step: Step,
    pub(super) errno: i32,
}

impl Failed {
    pub(super) fn at(step: Step) -> impl Fn(io::Error) -> Self {
        move |error| Self {
            step,
            errno: OsCode::of(&error).0,
        }
    }
}

/// Starts `image` with `stdio`, and returns once its program runs.
///
/// Blocks while the kernel loads the program, as every start does.
pub(super) fn start(
    method: Method,
    image: &Image,
    stdio: [RawFd; 3],
    group: Option<Group>,
) -> Result<Started, Failed> {
    let (mut failures, report) = io::pipe().map_err(Failed::at(Step::Pipes))?;
    let mut descriptors = Descriptors {
        stdio,
        report: report.as_raw_fd(),
        join: None,
    };
    let started = with_signals_blocked(|| match method {
        #[cfg(all(
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64")
        ))]
        Method::Clone3 => {
            super::clone3::start(image, descriptors, group.map(|group| group.directory))
        }
        Method::Fork => {
            descriptors.join = group.map(|group| group.procs);
            fork(image, descriptors)
        }
    });
    let started = started.map_err(Failed::at(Step::Fork))?;
    drop(report);
    match read_failure(&mut failures) {
        None => Ok(started),
        Some((step, errno)) => {
            reap(started.pid);
            Err(Failed { step, errno })
        }
    }
}

fn read_failure(failures: &mut PipeReader) -> Option<(Step, i32)> {
    let mut report = Vec::with_capacity(8);
    match failures.read_to_end(&mut report) {
        Ok(_) => read_report(&report),
        Err(error) => Some((Step::Execute, OsCode::of(&error).0)),
    }
}

/// Keeps the agent's signal handlers from running in the child, which may share its memory.
#[allow(unsafe_code, reason = "signal masks are only reachable through libc")]
fn with_signals_blocked<T>(make: impl FnOnce() -> T) -> T {
    // SAFETY: the masks are plain data and live; the mask of this thread is put back afterwards, and
    // `make` does not unwind, since it only makes system calls.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let made = make();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        made
    }
}

#[allow(unsafe_code, reason = "fork is only reachable through libc")]
fn fork(image: &Image, descriptors: Descriptors) -> io::Result<Started> {
    // SAFETY: the child calls nothing but `Image::enter`, whose conditions hold.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            image.enter(descriptors);
        }
        pid
    };
    let Some(pid) = u32::try_from(pid).ok() else {
        return Err(io::Error::last_os_error());
    };
    Ok(Started {
        pid,
        pidfd: pidfd(pid),
    })
}

#[cfg(target_os = "linux")]
fn pidfd(pid: u32) -> Option<OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    pidfd_open(
        Pid::from_raw(i32::try_from(pid).ok()?)?,
        PidfdFlags::empty(),
    )
    .ok()
}

#[cfg(not(target_os = "linux"))]
fn pidfd(_pid: u32) -> Option<OwnedFd> {
    None
}

/// Takes leave of a child that is about to exit.
fn reap(pid: u32) {
    use rustix::process::{Pid, WaitOptions, waitpid};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    while let Err(rustix::io::Errno::INTR) = waitpid(pid, WaitOptions::empty()) {}
}
