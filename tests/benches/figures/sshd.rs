//! An OpenSSH server of the benchmark's own: own port, own keys, own configuration, and gone with
//! the benchmark. Nothing of the machine's ssh is read or changed.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use scenarios::{PATIENCE, Place, Process, eventually};
use tempfile::TempDir;

/// The name of the server in the client's configuration.
const HOST: &str = "bench";

/// The user that the benchmark prefers: made by whoever wants a plain `/bin/sh` at the other end.
const PREFERRED_USER: &str = "mesobench";

/// sshd insists on being called by its whole path.
const SSHD: &str = "/usr/sbin/sshd";

/// Where sshd locks itself in when it is root; made by its service elsewhere.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// An `ssh` that keeps its connection for others.
pub(crate) struct Master {
    _process: Process,
    socket: PathBuf,
}

/// A running server, and the client's way to it.
pub(crate) struct Sshd {
    _server: Process,
    folder: TempDir,
}

impl Sshd {
    /// Makes keys and starts a server for `user`.
    pub(crate) fn start(user: Option<&str>) -> anyhow::Result<Self> {
        ensure!(
            Path::new(SSHD).exists(),
            "{SSHD} is not there: install openssh-server (it need not run as a service)"
        );
        let folder = tempfile::Builder::new().prefix("bench-ssh-").tempdir()?;
        let port = free_port()?;
        let user = user.map_or_else(default_user, |user| Ok(user.to_owned()))?;
        write_configuration(folder.path(), port, &user)?;
        if rustix::process::geteuid().is_root() {
            fs_err::create_dir_all(PRIVILEGE_SEPARATION)?;
        }

        let mut command = Place::here().command(SSHD);
        command
            .args(["-D", "-e", "-f"])
            .arg(folder.path().join("sshd_config"));
        let server = Process::start(command);
        let _ = server.wait_for_line("Server listening on", PATIENCE);
        Ok(Self {
            _server: server,
            folder,
        })
    }

    /// Returns the client's configuration. It leads `127.0.1.*` to the server, too, so that there are
    /// as many hosts as one likes.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("ssh_config")
    }

    /// Starts an `ssh` whose connection others use, as `ControlMaster` and `ControlPersist` have it.
    pub(crate) fn master(&self) -> anyhow::Result<Master> {
        let socket = self.folder.path().join("master");
        let mut command = Place::here().command("ssh");
        command.arg("-F").arg(self.configuration());
        command.arg("-S").arg(&socket).args(["-M", "-N", HOST]);
        command.env_remove("SSH_AUTH_SOCK");
        let process = Process::start(command);
        eventually(PATIENCE, || socket.exists());
        Ok(Master {
            _process: process,
            socket,
        })
    }

    /// Returns an `ssh` that runs `command` over the connection of `master`.
    pub(crate) fn warm_ssh(&self, master: &Master, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.configuration());
        ssh.arg("-S").arg(&master.socket).args([HOST, command]);
        ssh.env_remove("SSH_AUTH_SOCK");
        ssh
    }

    /// Returns a cold `ssh` that runs `command` at the server.
    pub(crate) fn ssh(&self, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.configuration());
        ssh.args(["-o", "ControlMaster=no", "-o", "ControlPath=none"]);
        ssh.args([HOST, command]);
        ssh.env_remove("SSH_AUTH_SOCK");
        ssh
    }

    /// Returns a cold `scp` of `file` to the path `to` at the server.
    pub(crate) fn scp(&self, file: &Path, to: &Path) -> Command {
        let mut scp = Command::new("scp");
        scp.arg("-q")
            .arg("-F")
            .arg(self.folder.path().join("ssh_config"))
            .arg(file)
            .arg(format!("{HOST}:{}", to.display()));
        scp.env_remove("SSH_AUTH_SOCK");
        scp
    }
}

fn write_configuration(folder: &Path, port: u16, user: &str) -> anyhow::Result<()> {
    for key in ["host", "user"] {
        make_key(&folder.join(key))?;
    }
    let shown = folder.display();
    let public_host_key = fs_err::read_to_string(folder.join("host.pub"))?;
    fs_err::write(
        folder.join("known_hosts"),
        format!("{HOST} {public_host_key}"),
    )?;
    fs_err::write(
        folder.join("sshd_config"),
        format!(
            "ListenAddress 127.0.0.1:{port}\n\
             HostKey {shown}/host\n\
             AuthorizedKeysFile {shown}/user.pub\n\
             PidFile none\n\
             StrictModes no\n\
             UsePAM no\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n\
             UseDNS no\n\
             PrintMotd no\n\
             MaxStartups 1000\n\
             Subsystem sftp internal-sftp\n"
        ),
    )?;
    fs_err::write(
        folder.join("ssh_config"),
        format!(
            "Host {HOST} 127.0.1.*\n\
             HostName 127.0.0.1\n\
             HostKeyAlias {HOST}\n\
             Port {port}\n\
             User {user}\n\
             IdentityFile {shown}/user\n\
             IdentitiesOnly yes\n\
             UserKnownHostsFile {shown}/known_hosts\n\
             GlobalKnownHostsFile none\n\
             StrictHostKeyChecking yes\n\
             PreferredAuthentications publickey\n\
             BatchMode yes\n\
             LogLevel ERROR\n"
        ),
    )?;
    // sshd reads the user's keys as that user; the private keys stay 0600.
    #[cfg(unix)]
    fs_err::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

fn make_key(file: &Path) -> anyhow::Result<()> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"])
        .arg(file)
        .status()
        .context("start ssh-keygen")?;
    ensure!(made.success(), "ssh-keygen failed: {made}");
    Ok(())
}

/// sshd cannot choose a port by itself; a loser of the race for this one fails loudly.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn default_user() -> anyhow::Result<String> {
    let preferred = Command::new("id").arg(PREFERRED_USER).output()?;
    if rustix::process::geteuid().is_root() && preferred.status.success() {
        return Ok(PREFERRED_USER.to_owned());
    }
    let current = Command::new("id").arg("-un").output().context("start id")?;
    Ok(String::from_utf8(current.stdout)?.trim().to_owned())
}
