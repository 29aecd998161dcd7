//! What a new process does between its birth and its program: the child's side of a start.
//!
//! Everything is laid out by the parent beforehand, since the child may only make system calls: it is
//! a copy of one thread of many, or even shares the parent's memory (see `start`).
//!
//! **Invariant:** the program starts with default signal actions and none blocked, umask 022, a
//! session of its own and no descriptors but 0, 1 and 2. Guarded by
//! `a_program_starts_with_clean_signals_umask_session_and_descriptors`.

use std::{
    ffi::{CString, OsStr, c_char, c_int},
    os::{
        fd::RawFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    ptr,
};

use super::program;
use crate::agent::process::{Command, OsCode, RUN_ID_VARIABLE, SpawnError, Stdin, Step};

/// Files made by a run are readable by all and writable by their owner, whatever the agent's own
/// habit (a service's is often stricter, since its files are secrets).
const UMASK: libc::mode_t = 0o022;

/// A program, ready to be executed.
pub(super) struct Image {
    path: PathBuf,
    program: CString,
    argv: Words,
    environment: Words,
    cwd: Option<CString>,
    /// Whether standard input is a terminal, which becomes the session's own.
    on_terminal: bool,
    /// `RLIMIT_AS` in bytes.
    pub(super) memory: Option<u64>,
    /// `RLIMIT_CPU` in seconds.
    cpu: Option<u64>,
}

/// The descriptors that the child finds, all of them the parent's and above 2: the standard library
/// has filled 0 to 2 before `main`.
#[derive(Clone, Copy)]
pub(super) struct Descriptors {
    pub(super) stdio: [RawFd; 3],
    /// Where a failure is reported; closed by a successful `execve`.
    pub(super) report: RawFd,
    /// The `cgroup.procs` to enter, if the process is not born in its group.
    pub(super) join: Option<RawFd>,
}

/// Strings ended by NUL, with the array of pointers that `execve` wants.
struct Words {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Image {
    /// Lays out `command`, and finds its program.
    pub(super) fn new(command: &Command) -> Result<Self, SpawnError> {
        let first = command.argv.first().ok_or(SpawnError::Empty)?;
        let argv = command.argv.iter().enumerate().map(|(index, word)| {
            CString::new(word.as_bytes()).map_err(|_| SpawnError::Nul { index })
        });
        let mut argv: Vec<CString> = argv.collect::<Result<_, _>>()?;
        if let Some(arg0) = &command.arg0 {
            argv[0] = CString::new(arg0.as_bytes()).map_err(|_| SpawnError::Nul { index: 0 })?;
        }
        let argv = Words::new(argv);
        let cwd = command.cwd.as_deref().map(directory).transpose()?;
        let path = program::find(
            first,
            command.environment.get("PATH"),
            command.cwd.as_deref(),
        )?;
        Ok(Self {
            program: text(path.clone().into_os_string().into_vec()),
            path,
            argv,
            environment: environment(command),
            cwd,
            on_terminal: matches!(command.stdin, Stdin::Terminal(_)),
            memory: command.limits.memory,
            cpu: command
                .limits
                .cpu
                .map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0)),
        })
    }

    /// Lays out what is no program, to try how far a process gets.
    pub(super) fn impossible() -> Self {
        Self {
            path: "/".into(),
            program: c"/".into(),
            argv: Words::new(Vec::new()),
            environment: Words::new(Vec::new()),
            cwd: None,
            on_terminal: false,
            memory: None,
            cpu: None,
        }
    }

    /// Makes the error of the step that failed in the child.
    pub(super) fn failure(&self, command: &Command, step: Step, errno: i32) -> SpawnError {
        let why = OsCode(errno);
        match (step, errno) {
            (Step::Execute, libc::E2BIG) => SpawnError::TooLong {
                bytes: self.argv.bytes() + self.environment.bytes(),
            },
            (Step::Execute, libc::ENOMEM | libc::EAGAIN | libc::EMFILE | libc::ENFILE) => {
                SpawnError::Resources { step, why }
            }
            (Step::Execute, _) => {
                let first = command.argv.first().map_or(OsStr::new(""), |word| word);
                program::refusal(first, &self.path, command.cwd.as_deref(), errno)
            }
            (Step::Cwd, _) => SpawnError::Cwd {
                path: command.cwd.clone().unwrap_or_default(),
                why,
            },
            (
                Step::Pipes
                | Step::Terminal
                | Step::Cgroup
                | Step::Fork
                | Step::Join
                | Step::Session
                | Step::Limits
                | Step::Stdio,
                _,
            ) => SpawnError::Resources { step, why },
        }
    }

    /// Becomes the program, or reports the step that failed and exits.
    ///
    /// # Safety
    /// To be called in a new process only, with all signals blocked and `descriptors` open. Makes
    /// nothing but async-signal-safe calls.
    #[allow(unsafe_code, reason = "runs between fork and exec")]
    pub(super) unsafe fn enter(&self, descriptors: Descriptors) -> ! {
        // SAFETY: as this function's own.
        let (step, errno, report_to) = unsafe {
            let mut report_to = descriptors.report;
            let step = self.take_steps(descriptors, &mut report_to);
            (step, last_errno(), report_to)
        };
        let [a, b, c, d] = errno.to_ne_bytes();
        let report = [number(step), a, b, c, d];
        // SAFETY: writes from a live array and exits without unwinding or running destructors.
        unsafe {
            libc::write(report_to, report.as_ptr().cast(), report.len());
            libc::_exit(127)
        }
    }

    /// Returns only with the step that failed, its reason being in `errno`; `report` is then where to
    /// report it.
    #[allow(unsafe_code, reason = "runs between fork and exec")]
    unsafe fn take_steps(&self, descriptors: Descriptors, report: &mut RawFd) -> Step {
        // SAFETY: system calls on arguments that the parent has laid out; nothing allocates or locks.
        unsafe {
            if descriptors
                .join
                .is_some_and(|procs| libc::write(procs, c"0".as_ptr().cast(), 1) != 1)
            {
                return Step::Join;
            }
            // A session of its own: Ctrl-C at the agent's terminal does not reach the run, and no
            // program can ask for a password on that terminal.
            if libc::setsid() < 0 {
                return Step::Session;
            }
            libc::umask(UMASK);
            if limit(libc::RLIMIT_AS, self.memory).is_err()
                || limit(libc::RLIMIT_CPU, self.cpu).is_err()
            {
                return Step::Limits;
            }
            for (target, source) in (0..).zip(descriptors.stdio) {
                if libc::dup2(source, target) < 0 {
                    return Step::Stdio;
                }
            }
            if self.on_terminal && !take_terminal() {
                return Step::Terminal;
            }
            if !close_the_rest(report) {
                return Step::Stdio;
            }
            if self
                .cwd
                .as_ref()
                .is_some_and(|cwd| libc::chdir(cwd.as_ptr()) != 0)
            {
                return Step::Cwd;
            }
            reset_signals();
            libc::execve(
                self.program.as_ptr(),
                self.argv.pointers.as_ptr(),
                self.environment.pointers.as_ptr(),
            );
        }
        Step::Execute
    }
}

impl Words {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|word| word.as_ptr())
            .chain([ptr::null()])
            .collect();
        Self { strings, pointers }
    }

    fn bytes(&self) -> usize {
        self.strings
            .iter()
            .map(|word| word.as_bytes_with_nul().len())
            .sum()
    }
}

fn directory(path: &Path) -> Result<CString, SpawnError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SpawnError::Cwd {
        path: path.to_owned(),
        why: OsCode(libc::EINVAL),
    })
}

fn environment(command: &Command) -> Words {
    let mark = text(format!("{RUN_ID_VARIABLE}={}", command.run).into_bytes());
    let entries = command
        .environment
        .iter()
        .map(|(name, value)| text([name.as_bytes(), b"=", value.as_bytes()].concat()));
    Words::new([mark].into_iter().chain(entries).collect())
}

fn text(bytes: Vec<u8>) -> CString {
    CString::new(bytes).expect("argv, PATH and environment were checked for NUL bytes")
}

/// Sets the soft and the hard limit, so that the program cannot raise it again.
#[allow(unsafe_code, reason = "runs between fork and exec")]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe fn limit(resource: libc::__rlimit_resource_t, value: Option<u64>) -> Result<(), ()> {
    // SAFETY: as the caller's.
    unsafe { set_limit(value, |limit| libc::setrlimit(resource, limit)) }
}

/// Sets the soft and the hard limit, so that the program cannot raise it again.
#[allow(unsafe_code, reason = "runs between fork and exec")]
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
unsafe fn limit(resource: c_int, value: Option<u64>) -> Result<(), ()> {
    // SAFETY: as the caller's.
    unsafe { set_limit(value, |limit| libc::setrlimit(resource, limit)) }
}

#[allow(unsafe_code, reason = "runs between fork and exec")]
unsafe fn set_limit(
    value: Option<u64>,
    set: impl Fn(*const libc::rlimit) -> c_int,
) -> Result<(), ()> {
    let Some(value) = value else { return Ok(()) };
    let limit = libc::rlimit {
        rlim_cur: value as libc::rlim_t,
        rlim_max: value as libc::rlim_t,
    };
    if set(&raw const limit) == 0 {
        Ok(())
    } else {
        Err(())
    }
}

/// Makes standard input the terminal of the session that this process leads.
#[allow(unsafe_code, reason = "runs between fork and exec")]
unsafe fn take_terminal() -> bool {
    /// Does not take it from another session, which a new terminal has not got.
    const ONLY_IF_FREE: c_int = 0;
    // SAFETY: a system call without pointers. The request is wider on some systems than on others.
    unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, ONLY_IF_FREE) == 0 }
}

/// Closes everything but the first three descriptors and `report`, which becomes the fourth.
///
/// Close-on-exec is not enough: a working directory or a program on a file system that hangs keeps
/// this process from its exec, and with it whatever it holds of the agent's: the ends of other runs'
/// pipes, which would never end, and the agent's lock and socket.
#[allow(unsafe_code, reason = "runs between fork and exec")]
#[cfg(target_os = "linux")]
unsafe fn close_the_rest(report: &mut RawFd) -> bool {
    const FOURTH: RawFd = 3;
    // SAFETY: system calls without pointers, on this process's own copy of the table of descriptors.
    // Kernels before 5.9 refuse the second; there they close at the exec, since each was opened so.
    unsafe {
        if *report != FOURTH {
            if libc::dup3(*report, FOURTH, libc::O_CLOEXEC) < 0 {
                return false;
            }
            *report = FOURTH;
        }
        libc::syscall(
            libc::SYS_close_range,
            (FOURTH + 1) as libc::c_uint,
            libc::c_uint::MAX,
            0 as libc::c_uint,
        );
    }
    true
}

#[allow(unsafe_code, reason = "runs between fork and exec")]
#[cfg(not(target_os = "linux"))]
unsafe fn close_the_rest(_: &mut RawFd) -> bool {
    true
}

/// Undoes what the agent has set, most of all that it ignores SIGPIPE, which would be inherited.
#[allow(unsafe_code, reason = "runs between fork and exec")]
unsafe fn reset_signals() {
    /// The last signal of any system; those that do not exist are refused, harmlessly.
    const LAST: c_int = 64;
    // SAFETY: `sigset_t` is plain data; the pointer is to a live value.
    unsafe {
        for signal in 1..=LAST {
            set_default(signal);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Asks the kernel itself, since the C library hides the signals that it uses, and they may have been
/// inherited as ignored.
#[allow(unsafe_code, reason = "runs between fork and exec")]
#[cfg(target_os = "linux")]
unsafe fn set_default(signal: c_int) {
    /// Larger than the kernel's structure on any architecture; all zeroes is the default action.
    const DEFAULT: [u64; 8] = [0; 8];
    /// The length of the kernel's set of 64 signals.
    const SET_LEN: usize = 8;
    // SAFETY: the kernel reads its structure from a live array and writes nothing.
    unsafe {
        let none = ptr::null_mut::<u8>();
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            DEFAULT.as_ptr(),
            none,
            SET_LEN,
        );
    }
}

#[allow(unsafe_code, reason = "runs between fork and exec")]
#[cfg(not(target_os = "linux"))]
unsafe fn set_default(signal: c_int) {
    // SAFETY: `sigaction` is plain data, for which all zeroes is the default action; the pointer is to
    // a live value.
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

#[allow(unsafe_code, reason = "errno lives in libc")]
fn last_errno() -> i32 {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe {
        #[cfg(target_os = "linux")]
        return *libc::__errno_location();
        #[cfg(not(target_os = "linux"))]
        return *libc::__error();
    }
}

/// The steps that a child reports, by their place.
const STEPS: [Step; 7] = [
    Step::Join,
    Step::Session,
    Step::Limits,
    Step::Stdio,
    Step::Cwd,
    Step::Execute,
    Step::Terminal,
];

const fn number(step: Step) -> u8 {
    match step {
        Step::Join => 0,
        Step::Session => 1,
        Step::Limits => 2,
        Step::Stdio => 3,
        Step::Cwd => 4,
        Step::Terminal => 6,
        Step::Execute | Step::Pipes | Step::Cgroup | Step::Fork => 5,
    }
}

/// Reads what [`Image::enter`] wrote; `None` if it wrote nothing, because the program runs.
pub(super) fn read_report(report: &[u8]) -> Option<(Step, i32)> {
    let (&step, errno) = report.split_first()?;
    let errno = errno
        .first_chunk()
        .map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    Some((
        STEPS
            .get(usize::from(step))
            .copied()
            .unwrap_or(Step::Execute),
        errno,
    ))
}
