//! Probe: the directory that the host has joined.
//!
//! On Linux by the configuration of those who join: FreeIPA, SSSD, Samba. A configuration that
//! exists and may not be read is a failure, never "has joined none".

use proto::{
    capability::{Domain, DomainKind, OsFamily},
    text::Text,
};

use super::{
    file,
    found::{Found, ProbeError},
    scope::{Scope, system32},
};

/// Returns the domain, or nothing if the host has joined none.
pub(super) async fn probe(scope: &Scope) -> Result<Found<Option<Domain>>, ProbeError> {
    let domain = match OsFamily::HERE {
        OsFamily::Linux => scope.blocking.look("domain", linux).await??,
        OsFamily::MacOs => {
            let said = scope.ask("/usr/sbin/dsconfigad", &["-show"]).await?;
            by_dsconfigad(&said.stdout)
        }
        OsFamily::Windows => {
            let said = scope.ask(system32("dsregcmd.exe"), &["/status"]).await?;
            by_dsregcmd(&said.stdout)
        }
        OsFamily::Other => return Err(ProbeError::Unsupported),
    };
    Ok(Found::whole(domain))
}

/// Finds the domain in one kind of configuration.
type Reader = fn(&str) -> Option<Domain>;

fn linux() -> Result<Option<Domain>, ProbeError> {
    let sources: [(&str, Reader); 3] = [
        ("/etc/ipa/default.conf", by_ipa),
        ("/etc/sssd/sssd.conf", by_sssd),
        ("/etc/samba/smb.conf", by_samba),
    ];
    for (path, read) in sources {
        let domain = file::read(path)?.and_then(|text| read(&text));
        if domain.is_some() {
            return Ok(domain);
        }
    }
    Ok(None)
}

fn joined(name: &str, kind: DomainKind) -> Option<Domain> {
    (!name.is_empty()).then(|| Domain {
        name: Text::cut(name),
        kind,
    })
}

fn by_ipa(conf: &str) -> Option<Domain> {
    let name = setting(conf, '=', "domain").or_else(|| setting(conf, '=', "realm"))?;
    joined(name, DomainKind::FreeIpa)
}

/// Takes the first domain section, and its provider for the kind.
fn by_sssd(conf: &str) -> Option<Domain> {
    let (_, section) = conf.split_once("\n[domain/")?;
    let (name, rest) = section.split_once(']')?;
    let body = rest.split("\n[").next().unwrap_or(rest);
    let kind = match setting(body, '=', "id_provider")? {
        "ad" => DomainKind::ActiveDirectory,
        "ipa" => DomainKind::FreeIpa,
        "ldap" => DomainKind::Ldap,
        // Accounts of this host only, by another road.
        "files" | "proxy" => return None,
        other => DomainKind::Other(Text::cut(other)),
    };
    joined(name, kind)
}

/// Samba is a member only with `security = ads`; a realm alone is no proof.
fn by_samba(conf: &str) -> Option<Domain> {
    let security = setting(conf, '=', "security")?;
    security
        .eq_ignore_ascii_case("ads")
        .then(|| setting(conf, '=', "realm"))?
        .and_then(|realm| joined(realm, DomainKind::ActiveDirectory))
}

fn by_dsconfigad(printed: &str) -> Option<Domain> {
    joined(
        setting(printed, '=', "Active Directory Domain")?,
        DomainKind::ActiveDirectory,
    )
}

/// A host that has joined both is known by its Active Directory, as its policies are.
fn by_dsregcmd(printed: &str) -> Option<Domain> {
    let field = |name| setting(printed, ':', name);
    let yes = |name| field(name).is_some_and(|answer| answer == "YES");
    if yes("DomainJoined") {
        return joined(field("DomainName")?, DomainKind::ActiveDirectory);
    }
    if yes("AzureAdJoined") {
        let tenant = field("TenantName").or_else(|| field("TenantId"))?;
        return joined(tenant, DomainKind::EntraId);
    }
    None
}

/// Returns the value of the first line `name SEPARATOR value`.
fn setting<'a>(text: &'a str, separator: char, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(found, _)| found.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str, kind: DomainKind) -> Option<Domain> {
        joined(name, kind)
    }

    #[test]
    fn sssd_tells_the_domain_and_its_kind() {
        let conf = |provider: &str| {
            format!(
                "[sssd]\ndomains = corp.example\n[domain/corp.example]\nid_provider = {provider}\n[nss]\nid_provider = x\n"
            )
        };

        let read = |provider| by_sssd(&conf(provider));

        assert_eq!(
            read("ad"),
            domain("corp.example", DomainKind::ActiveDirectory)
        );
        assert_eq!(read("ldap"), domain("corp.example", DomainKind::Ldap));
        assert_eq!(read("files"), None);
        assert_eq!(by_sssd("[sssd]\nservices = nss\n"), None);
    }

    #[test]
    fn samba_is_a_member_only_by_its_security_mode() {
        let ads = "[global]\n  security = ADS\n  realm = CORP.EXAMPLE\n";

        assert_eq!(
            by_samba(ads),
            domain("CORP.EXAMPLE", DomainKind::ActiveDirectory)
        );
        assert_eq!(by_samba("[global]\n security = user\n realm = X\n"), None);
    }

    #[test]
    fn windows_tells_the_nearest_directory() {
        let state = |entra: &str, ad: &str| {
            format!(
                "| Device State |\r\n   AzureAdJoined : {entra}\r\n   DomainJoined : {ad}\r\n   \
                 DomainName : CORP\r\n   TenantName : Contoso\r\n"
            )
        };

        let read = |entra, ad| by_dsregcmd(&state(entra, ad));

        assert_eq!(
            read("YES", "YES"),
            domain("CORP", DomainKind::ActiveDirectory)
        );
        assert_eq!(read("YES", "NO"), domain("Contoso", DomainKind::EntraId));
        assert_eq!(read("NO", "NO"), None);
    }

    #[test]
    fn macos_without_a_directory_has_joined_none() {
        let bound = "Active Directory Forest          = example.com\n\
                     Active Directory Domain          = corp.example.com\n";

        assert_eq!(
            by_dsconfigad(bound),
            domain("corp.example.com", DomainKind::ActiveDirectory)
        );
        assert_eq!(by_dsconfigad(""), None);
    }
}
