//! What the kernel knows of processes: who belongs to a run, and what a process costs.

use std::path::Path;

/// Returns the processes whose environment carries `MESOSYNC_RUN_ID=<run>`, in ascending order.
///
/// A process that hides its environment (another user's, or one that overwrote it) is not seen.
#[must_use]
pub fn processes_of_run(run: &str) -> Vec<u32> {
    processes_with("MESOSYNC_RUN_ID", run)
}

/// Returns the processes whose environment carries `key=value`, in ascending order.
///
/// # Panics
/// When `/proc` cannot be listed.
#[must_use]
pub fn processes_with(key: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{key}={value}");
    let entries = match fs_err::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => panic!("{error}"),
    };
    let mut found: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            // A process may end while it is looked at.
            fs_err::read(of(*pid, "environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == wanted.as_bytes())
            })
        })
        .collect();
    found.sort_unstable();
    found
}

/// Returns whether there is a process `pid` that is not a zombie.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

/// Returns the resident memory of a process, in bytes (`VmRSS`).
///
/// # Panics
/// When there is no such process.
#[must_use]
#[track_caller]
pub fn resident_bytes(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// Returns the most resident memory that a process ever had, in bytes (`VmHWM`).
///
/// # Panics
/// When there is no such process.
#[must_use]
#[track_caller]
pub fn peak_resident_bytes(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// Returns the same of a process that may have ended meanwhile.
#[must_use]
pub fn peak_resident_bytes_if_alive(pid: u32) -> Option<u64> {
    field(pid, "VmHWM:").ok().flatten()
}

/// Returns the processor time of a process, user and system, in clock ticks of 10 ms.
///
/// # Panics
/// When there is no such process.
#[must_use]
#[track_caller]
pub fn cpu_ticks(pid: u32) -> u64 {
    let Some(fields) = stat(pid) else {
        panic!("there is no process {pid}")
    };
    // utime and stime are fields 14 and 15 of proc_pid_stat(5); the state, our first, is field 3.
    fields[11..=12]
        .iter()
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum()
}

#[track_caller]
fn memory(pid: u32, name: &str) -> u64 {
    match field(pid, name) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => panic!("process {pid} has no {name} (is it a zombie?)"),
        Err(error) => panic!("{error}"),
    }
}

/// Returns a field of proc_pid_status(5) that is given in KiB, in bytes.
fn field(pid: u32, name: &str) -> std::io::Result<Option<u64>> {
    let status = fs_err::read_to_string(of(pid, "status"))?;
    let kibibytes = status.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    Ok(kibibytes.map(|kibibytes| kibibytes << 10))
}

/// Returns the fields from the state on; before it stands the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs_err::read_to_string(of(pid, "stat")).ok()?;
    let fields: Vec<_> = text[text.rfind(')')? + 1..]
        .split_whitespace()
        .map(ToOwned::to_owned)
        .collect();
    (fields.len() > 12).then_some(fields)
}

fn of(pid: u32, file: &str) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string()).join(file)
}
