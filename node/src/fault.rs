//! Points at which a test ends this process, as a power cut or `kill -9` would.
//!
//! `MESOSYNC_FAULT=NAME:COUNT` ends it by SIGKILL when it comes to the point NAME for the COUNTth time
//! (from 1). Only builds with debug assertions look.

/// Dies here if a test wants it.
pub fn point(name: &str) {
    #[cfg(all(debug_assertions, unix))]
    imp::point(name);
    #[cfg(not(all(debug_assertions, unix)))]
    let _ = name;
}

#[cfg(all(debug_assertions, unix))]
mod imp {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    struct Fault {
        name: String,
        passes_left: AtomicU64,
    }

    static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let wanted = std::env::var("MESOSYNC_FAULT").ok()?;
        let (name, count) = wanted.split_once(':')?;
        Some(Fault {
            name: name.to_owned(),
            passes_left: AtomicU64::new(count.parse().ok()?),
        })
    });

    pub(super) fn point(name: &str) {
        let Some(fault) = FAULT.as_ref() else {
            return;
        };
        if fault.name == name && fault.passes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let this = rustix::process::getpid();
            let killed = rustix::process::kill_process(this, rustix::process::Signal::KILL);
            killed.expect("a process may end itself");
        }
    }
}
