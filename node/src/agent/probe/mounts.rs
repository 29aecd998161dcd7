//! Probe: the file systems that hold data, their size and what is free.
//!
//! Kernel interfaces, images (`squashfs`), layers of containers and automount points are left out;
//! asking the last would mount them. A device that is mounted in several places is listed once, at
//! its shortest path. Each is asked on its own, so that one dead server costs one entry.

use std::{sync::Arc, time::Duration};

use proto::{
    capability::{List, Mount, OsFamily},
    text::Text,
};
use tokio::{task::JoinSet, time::timeout};

use super::{
    file,
    found::{Found, Gap, ProbeError},
    scope::{Scope, system32},
};

/// Prints a line for each drive that is ready; a drive without a medium would block.
const LIST_DRIVES: &str = "[IO.DriveInfo]::GetDrives() | Where-Object IsReady | ForEach-Object { \
    '{0}|{1}|{2}|{3}' -f $_.Name, $_.DriveFormat, $_.TotalSize, $_.AvailableFreeSpace }";

/// Returns the mounts, each with its numbers.
pub(super) async fn probe(scope: Arc<Scope>) -> Result<Found<List<Mount, 32>>, ProbeError> {
    let points = match OsFamily::HERE {
        OsFamily::Linux => {
            let table = scope
                .blocking
                .look("mounts", || file::read("/proc/self/mounts"))
                .await??;
            with_data(linux(&table.unwrap_or_default()))
        }
        OsFamily::MacOs => {
            let none: [&str; 0] = [];
            with_data(macos(&scope.ask("/sbin/mount", &none).await?.stdout))
        }
        OsFamily::Windows => return windows(&scope).await,
        OsFamily::Other => return Err(ProbeError::Unsupported),
    };
    Ok(measured(scope, points).await)
}

/// A line of a mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Point {
    source: String,
    path: String,
    file_system: String,
}

/// Reads `source path type options 0 0`, in which blanks are octal escapes; see fstab(5).
fn linux(table: &str) -> Vec<Point> {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            Some(Point {
                source: unescaped(fields.next()?),
                path: unescaped(fields.next()?),
                file_system: fields.next()?.to_owned(),
            })
        })
        .collect()
}

fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part
            .get(..3)
            .and_then(|octal| u8::from_str_radix(octal, 8).ok())
        {
            Some(byte) => {
                plain.push(byte);
                plain.extend(&part.as_bytes()[3..]);
            }
            None => {
                plain.push(b'\\');
                plain.extend(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Reads `source on path (type, options)`.
fn macos(printed: &str) -> Vec<Point> {
    printed
        .lines()
        .filter_map(|line| {
            let (source, rest) = line.split_once(" on ")?;
            let (path, options) = rest.rsplit_once(" (")?;
            let file_system = options.split([',', ')']).next()?;
            Some(Point {
                source: source.to_owned(),
                path: path.to_owned(),
                file_system: file_system.to_owned(),
            })
        })
        .collect()
}

/// Keeps what holds data: the last mount on each path, and one path of each device.
fn with_data(table: Vec<Point>) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    for point in table {
        kept.retain(|earlier| earlier.path != point.path);
        kept.push(point);
    }
    kept.retain(holds_data);
    // Stable: of equal lengths, the first mounted stays.
    kept.sort_by_key(|point| point.path.len());
    let mut devices = std::collections::HashSet::new();
    kept.retain(|point| !point.source.starts_with("/dev/") || devices.insert(point.source.clone()));
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    kept
}

fn holds_data(point: &Point) -> bool {
    match point.file_system.as_str() {
        // In memory, and data only where people put it.
        "tmpfs" | "ramfs" => ["/", "/tmp", "/var/tmp"].contains(&point.path.as_str()),
        // A container's root; elsewhere, a layer of somebody's container.
        "overlay" | "aufs" | "fuse-overlayfs" => point.path == "/",
        "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "zfs" | "f2fs" | "jfs" | "reiserfs"
        | "bcachefs" | "nilfs2" | "ufs" | "erofs" | "vfat" | "msdos" | "exfat" | "ntfs"
        | "ntfs3" | "fuseblk" | "iso9660" | "udf" | "hfs" | "hfsplus" | "apfs" | "nfs" | "nfs4"
        | "cifs" | "smb3" | "smbfs" | "afpfs" | "webdav" | "9p" | "virtiofs" | "ceph"
        | "glusterfs" | "lustre" | "gpfs" | "ocfs2" | "gfs2" | "beegfs" | "afs" | "drvfs"
        | "vboxsf" | "prl_fs" => true,
        other => other.strip_prefix("fuse.").is_some_and(|kind| {
            // Doors to other programs, not places.
            !["gvfsd-fuse", "portal", "lxcfs", "snapfuse", "squashfuse"].contains(&kind)
        }),
    }
}

/// Asks each point for its numbers, all at once.
async fn measured(scope: Arc<Scope>, points: Vec<Point>) -> Found<List<Mount, 32>> {
    // Before the probe's own limit, so that the living are told with the dead left out.
    let limit = scope.limit * 3 / 4;
    let mut asked = JoinSet::new();
    for (order, point) in points.into_iter().enumerate() {
        let scope = Arc::clone(&scope);
        asked.spawn(async move {
            let usage = measure(&scope, &point, limit).await;
            (order, point, usage)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(order, ..)| *order);

    let (mut mounts, mut gaps) = (Vec::new(), Vec::new());
    for (_, point, usage) in answers {
        match usage {
            // A mount without blocks is an interface after all.
            Ok(usage) if usage.size_bytes == 0 => {}
            Ok(usage) => mounts.push(Mount {
                path: Text::cut(&point.path),
                file_system: Text::cut(&point.file_system),
                size_bytes: usage.size_bytes,
                free_bytes: usage.free_bytes,
                read_only: usage.read_only,
            }),
            Err(error) => gaps.push(Gap {
                part: Some(point.path),
                reason: error.into(),
            }),
        }
    }
    Found::listed(mounts, gaps)
}

struct Usage {
    size_bytes: u64,
    free_bytes: u64,
    read_only: bool,
}

async fn measure(scope: &Scope, point: &Point, limit: Duration) -> Result<Usage, ProbeError> {
    let path = point.path.clone();
    timeout(
        limit,
        scope.blocking.look(&point.path, move || usage(&path)),
    )
    .await
    .map_err(|_| ProbeError::TimedOut {
        after_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
    })?
    .and_then(|usage| usage)
}

#[cfg(unix)]
fn usage(path: &str) -> Result<Usage, ProbeError> {
    let numbers = rustix::fs::statvfs(path).map_err(|errno| ProbeError::Read {
        path: path.into(),
        source: errno.into(),
    })?;
    Ok(Usage {
        size_bytes: numbers.f_blocks.saturating_mul(numbers.f_frsize),
        free_bytes: numbers.f_bavail.saturating_mul(numbers.f_frsize),
        read_only: numbers
            .f_flag
            .contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

#[cfg(not(unix))]
fn usage(_path: &str) -> Result<Usage, ProbeError> {
    Err(ProbeError::Unsupported)
}

async fn windows(scope: &Scope) -> Result<Found<List<Mount, 32>>, ProbeError> {
    let powershell = system32(r"WindowsPowerShell\v1.0\powershell.exe");
    let words = ["-NoProfile", "-NonInteractive", "-Command", LIST_DRIVES];
    let said = scope.ask(powershell, &words).await?;
    let drives = said.stdout.lines().filter_map(drive).collect();
    Ok(Found::listed(drives, Vec::new()))
}

/// Reads a line of [`LIST_DRIVES`].
fn drive(line: &str) -> Option<Mount> {
    let fields: Vec<&str> = line.trim().split('|').collect();
    let [path, file_system, size, free] = fields[..] else {
        return None;
    };
    Some(Mount {
        path: Text::cut(path),
        file_system: Text::cut(file_system),
        size_bytes: size.parse().ok()?,
        free_bytes: free.parse().ok()?,
        read_only: ["CDFS", "UDF"].contains(&file_system),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(table: &str) -> Vec<String> {
        with_data(linux(table))
            .into_iter()
            .map(|point| point.path)
            .collect()
    }

    #[test]
    fn what_holds_no_data_is_left_out() {
        let table = "proc /proc proc rw 0 0\ntmpfs /run tmpfs rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n\
                     /dev/loop0 /snap/core/1 squashfs ro 0 0\nsystemd-1 /mnt/auto autofs rw 0 0\n\
                     overlay /var/lib/docker/overlay2/1/merged overlay rw 0 0\n\
                     gvfsd-fuse /run/user/1/gvfs fuse.gvfsd-fuse rw 0 0\n\
                     host:/x /srv fuse.sshfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n";

        assert_eq!(paths(table), ["/", "/srv", "/tmp"]);
    }

    #[test]
    fn a_device_is_listed_once_and_the_last_mount_on_a_path_counts() {
        let table = "/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /etc/hosts ext4 rw 0 0\n\
                     /dev/sdb1 /data ext4 rw 0 0\nhost:/data /data nfs4 rw 0 0\n";

        assert_eq!(paths(table), ["/", "/data"]);
        assert_eq!(with_data(linux(table))[1].file_system, "nfs4");
    }

    #[test]
    fn blanks_in_a_path_are_read_as_the_kernel_writes_them() {
        let line = r"//nas/x /mnt/my\040files\134x\9 cifs rw 0 0";

        assert_eq!(linux(line)[0].path, r"/mnt/my files\x\9");
    }

    #[test]
    fn macos_and_windows_tables_are_read() {
        let mac =
            macos("/dev/disk3s1s1 on / (apfs, sealed, local)\ndevfs on /dev (devfs, local)\n");

        assert_eq!(with_data(mac).len(), 1);
        let drive = drive("C:\\|NTFS|1000|400\r").unwrap();
        assert_eq!((drive.size_bytes, drive.free_bytes), (1000, 400));
        assert_eq!(super::drive("Exception: x"), None);
    }

    #[tokio::test]
    async fn a_mount_that_is_gone_is_a_gap_and_costs_no_other() {
        let point = |path: &str| Point {
            source: "x".to_owned(),
            path: path.to_owned(),
            file_system: "ext4".to_owned(),
        };
        let scope = Arc::new(Scope::new(
            &super::super::ProbeLimits::default(),
            super::super::blocking::Blocking::default(),
        ));

        let found = measured(scope, vec![point("/gone/away"), point("/")]).await;

        assert_eq!(found.gaps.len(), 1);
        assert_eq!(found.gaps[0].part.as_deref(), Some("/gone/away"));
        assert_eq!(found.value.len(), 1);
    }
}
