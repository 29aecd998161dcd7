//! What the kernel says of itself.

/// The kernel's own words.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) hostname: Option<String>,
    pub(super) machine: Option<String>,
    pub(super) release: Option<String>,
}

/// Asks the kernel: `uname` on Unix, the environment that Windows gives every process.
#[cfg(unix)]
pub(super) fn ask() -> Kernel {
    let uname = rustix::system::uname();
    let word = |text: &std::ffi::CStr| {
        let text = text.to_string_lossy();
        (!text.is_empty()).then(|| text.into_owned())
    };
    Kernel {
        hostname: word(uname.nodename()),
        machine: word(uname.machine()),
        release: word(uname.release()),
    }
}

/// Asks the kernel: `uname` on Unix, the environment that Windows gives every process.
#[cfg(not(unix))]
pub(super) fn ask() -> Kernel {
    let word = |name: &str| std::env::var(name).ok();
    Kernel {
        hostname: word("COMPUTERNAME"),
        // A 32-bit process on a 64-bit system has the machine's under the second name.
        machine: word("PROCESSOR_ARCHITEW6432").or_else(|| word("PROCESSOR_ARCHITECTURE")),
        release: None,
    }
}
