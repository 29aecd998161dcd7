//! The account that the agent runs as, from the system's user database.

use std::{
    env,
    ffi::{CStr, OsStr, OsString},
    os::unix::ffi::OsStrExt,
    ptr,
};

use crate::agent::process::{Base, environment::Account};

/// Room for the strings of one entry; `getpwuid_r` says when it is not enough, and then the account
/// stays nameless.
const ENTRY_LEN: usize = 16 * 1024;

impl Base {
    /// Reads what the base of every run's environment is made of: the account of this process, and
    /// this process's own `PATH` and `TMPDIR`.
    #[must_use]
    pub fn of_this_process() -> Self {
        let account = current().unwrap_or_default();
        Self::new(
            account,
            env::var_os("PATH").as_deref(),
            env::var_os("TMPDIR").as_deref(),
        )
    }
}

#[allow(
    unsafe_code,
    reason = "the user database is only reachable through libc"
)]
fn current() -> Option<Account> {
    let uid = rustix::process::getuid().as_raw();
    let mut strings = vec![0; ENTRY_LEN];
    let mut found = ptr::null_mut();
    // SAFETY: `passwd` is plain data for which all zeroes is a value.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    // SAFETY: all pointers are to live values of ours, and the length is that of `strings`.
    let code = unsafe {
        libc::getpwuid_r(
            uid,
            &raw mut entry,
            strings.as_mut_ptr(),
            strings.len(),
            &raw mut found,
        )
    };
    if code != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so these point to strings ended by NUL inside `strings`.
    let [user, home, shell] = unsafe {
        [entry.pw_name, entry.pw_dir, entry.pw_shell].map(|text| copy(CStr::from_ptr(text)))
    };
    Some(Account { user, home, shell })
}

fn copy(text: &CStr) -> OsString {
    OsStr::from_bytes(text.to_bytes()).to_owned()
}
