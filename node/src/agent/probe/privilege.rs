//! Probe: whom the agent is, and so whom runs are executed as.

use proto::{
    capability::{Privilege, PrivilegeLevel},
    text::Text,
};

use super::{
    found::{Found, ProbeError},
    scope::Scope,
};

/// Returns the agent's user.
#[cfg(unix)]
pub(super) async fn probe(scope: &Scope) -> Result<Found<Privilege>, ProbeError> {
    let uid = rustix::process::geteuid();
    let listed = scope
        .blocking
        .look("privilege", || super::file::hint("/etc/passwd"))
        .await?
        .and_then(|passwd| user_of(&passwd, uid.as_raw()));
    let user = match listed {
        Some(user) => user,
        // Users of a directory are not in the file.
        None => scope.ask("/usr/bin/id", &["-un"]).await?.stdout,
    };
    Ok(Found::whole(Privilege {
        level: if uid.is_root() {
            PrivilegeLevel::Root
        } else {
            PrivilegeLevel::User
        },
        user: Text::cut(user.trim()),
        uid: Some(uid.as_raw()),
    }))
}

/// Finds the name of `uid` among `name:password:uid:…` lines.
#[cfg(unix)]
fn user_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Returns the agent's user.
///
/// The registry of the local service (`S-1-5-19`) opens only to elevated administrators and to the
/// system.
#[cfg(not(unix))]
pub(super) async fn probe(scope: &Scope) -> Result<Found<Privilege>, ProbeError> {
    use super::{child::ChildError, scope::system32};

    if !cfg!(windows) {
        return Err(ProbeError::Unsupported);
    }
    let none: [&str; 0] = [];
    let user = scope.ask(system32("whoami.exe"), &none).await?.stdout;
    let level = match scope
        .ask(system32("reg.exe"), &["query", r"HKU\S-1-5-19"])
        .await
    {
        Ok(_) => PrivilegeLevel::Administrator,
        Err(ProbeError::Child {
            source: ChildError::Failed(_),
            ..
        }) => PrivilegeLevel::User,
        Err(error) => return Err(error),
    };
    Ok(Found::whole(Privilege {
        level,
        user: Text::cut(user.trim()),
        uid: None,
    }))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:33::/var/www:/bin/false\n";

        assert_eq!(user_of(passwd, 0).as_deref(), Some("root"));
        assert_eq!(user_of(passwd, 33).as_deref(), Some("web"));
        assert_eq!(user_of(passwd, 3), None);
    }
}
