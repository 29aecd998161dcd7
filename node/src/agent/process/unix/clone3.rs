//! `clone3`, as `posix_spawn` uses it: the parent's thread stops and the child borrows its memory
//! until it executes a program.
//!
//! The C library offers no such call (glibc 2.39 has `posix_spawnattr_setcgroup_np`, which is too
//! new), and a plain system call would let the child return on the parent's stack. So the one
//! instruction and the switch to the child's own stack are written here.

use std::{
    arch::asm,
    io,
    mem::MaybeUninit,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

use super::{
    image::{Descriptors, Image},
    start::Started,
};

const CLONE_VM: u64 = 0x100;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Room for a handful of small frames, also unoptimised.
const STACK_LEN: usize = 64 * 1024;

/// `struct clone_args` of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

#[repr(C, align(16))]
struct Stack(MaybeUninit<[u8; STACK_LEN]>);

struct Errand<'a> {
    image: &'a Image,
    descriptors: Descriptors,
}

/// Starts `image` inside the control group whose directory is `group`.
///
/// To be called with all signals blocked.
#[allow(unsafe_code, reason = "see the module documentation")]
pub(super) fn start(
    image: &Image,
    descriptors: Descriptors,
    group: Option<RawFd>,
) -> io::Result<Started> {
    let mut stack = Box::<Stack>::new_uninit();
    let mut pidfd: RawFd = -1;
    let errand = Errand { image, descriptors };
    let (into_cgroup, cgroup) = match group.map(u64::try_from) {
        Some(Ok(directory)) => (CLONE_INTO_CGROUP, directory),
        Some(Err(_)) => return Err(io::ErrorKind::InvalidInput.into()),
        None => (0, 0),
    };
    let args = CloneArgs {
        flags: CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | into_cgroup,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: STACK_LEN as u64,
        cgroup,
        ..CloneArgs::default()
    };
    // SAFETY: the stack is ours, aligned and large enough; `errand` outlives the child's use of this
    // memory, because CLONE_VFORK stops this thread until then.
    let pid = unsafe { clone3(&args, run, &errand) };
    let Ok(pid) = u32::try_from(pid) else {
        return Err(io::Error::from_raw_os_error(
            i32::try_from(-pid).unwrap_or(libc::EINVAL),
        ));
    };
    // SAFETY: the kernel has just opened this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Started {
        pid,
        pidfd: Some(pidfd),
    })
}

#[allow(unsafe_code, reason = "see the module documentation")]
unsafe extern "C" fn run(errand: &Errand<'_>) -> ! {
    // SAFETY: this is a new process, with signals blocked and the descriptors copied.
    unsafe { errand.image.enter(errand.descriptors) }
}

/// Returns the child's id or a negative error number; in the child, calls `entry` and never returns.
///
/// # Safety
/// `args` describes a stack of the child's own, and `entry` may run on it with `errand`.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "see the module documentation")]
unsafe fn clone3(
    args: &CloneArgs,
    entry: unsafe extern "C" fn(&Errand<'_>) -> !,
    errand: &Errand<'_>,
) -> i64 {
    let mut result = libc::SYS_clone3;
    // SAFETY: the child sees zero in rax, never touches the parent's stack, and ends in `entry`; the
    // parent sees an ordinary system call, which clobbers rcx and r11. The kernel puts the child's
    // stack pointer at the end of its stack, which is aligned to 16 as `call` needs.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") result,
            in("rdi") std::ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") std::ptr::from_ref(errand),
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Returns the child's id or a negative error number; in the child, calls `entry` and never returns.
///
/// # Safety
/// `args` describes a stack of the child's own, and `entry` may run on it with `errand`.
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "see the module documentation")]
unsafe fn clone3(
    args: &CloneArgs,
    entry: unsafe extern "C" fn(&Errand<'_>) -> !,
    errand: &Errand<'_>,
) -> i64 {
    let mut result = std::ptr::from_ref(args) as i64;
    // SAFETY: the child sees zero in x0, never touches the parent's stack, and ends in `entry`; the
    // parent sees an ordinary system call, which keeps all registers but x0. The kernel puts the
    // child's stack pointer at the end of its stack, which is aligned to 16.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            inlateout("x0") result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x20") std::ptr::from_ref(errand),
            in("x21") entry,
        );
    }
    result
}
