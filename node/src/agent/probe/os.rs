//! Probe: the operating system, its distribution and kernel.

use std::collections::HashMap;

use proto::{
    capability::{List, Os, OsFamily},
    text::Text,
};

use super::{
    file,
    found::{Found, ProbeError},
    kernel, registry,
    scope::Scope,
};

/// The key where Windows keeps its name and build.
const CURRENT_VERSION: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";

/// The first build of Windows 11, whose product name still says 10.
const WINDOWS_11: u32 = 22_000;

/// Returns the operating system.
pub(super) async fn probe(scope: &Scope) -> Result<Found<Os>, ProbeError> {
    let os = match OsFamily::HERE {
        OsFamily::Linux => scope.blocking.look("os", linux).await??,
        OsFamily::MacOs => macos(scope).await?,
        OsFamily::Windows => windows(scope).await?,
        OsFamily::Other => plain(OsFamily::Other),
    };
    Ok(Found::whole(os))
}

/// Returns what is known without asking anybody.
fn plain(family: OsFamily) -> Os {
    Os {
        family,
        title: None,
        distribution: None,
        resembles: List::default(),
        version: None,
        kernel: kernel::ask().release.map(|release| Text::cut(&release)),
    }
}

fn linux() -> Result<Os, ProbeError> {
    let release = match file::read("/etc/os-release")? {
        Some(text) => Some(text),
        None => file::read("/usr/lib/os-release")?,
    };
    Ok(named(plain(OsFamily::Linux), &release.unwrap_or_default()))
}

/// Adds what `os-release` says; see os-release(5).
fn named(os: Os, release: &str) -> Os {
    let fields = fields(release);
    let field = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let like = field("ID_LIKE").map_or("", String::as_str);
    Os {
        title: field("PRETTY_NAME").map(|text| Text::cut(text)),
        distribution: field("ID").map(|text| Text::cut(text)),
        resembles: List::cut(like.split_whitespace().map(Text::cut).collect()).0,
        version: field("VERSION_ID")
            .or_else(|| field("BUILD_ID"))
            .map(|text| Text::cut(text)),
        ..os
    }
}

/// Reads shell assignments, of which quotes and backslashes are undone and nothing is expanded.
fn fields(text: &str) -> HashMap<&str, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, unquoted(value)))
        .collect()
}

fn unquoted(value: &str) -> String {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(literal) = within('\'') {
        return literal.to_owned();
    }
    let mut plain = String::new();
    let mut chars = within('"').unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

async fn macos(scope: &Scope) -> Result<Os, ProbeError> {
    let sw_vers = "/usr/bin/sw_vers";
    let name = scope.ask(sw_vers, &["-productName"]).await?;
    let version = scope.ask(sw_vers, &["-productVersion"]).await?;
    let (name, version) = (name.stdout.trim(), version.stdout.trim());
    Ok(Os {
        title: Some(Text::cut(&format!("{name} {version}"))),
        distribution: Some(Text::cut("macos")),
        version: Some(Text::cut(version)),
        ..plain(OsFamily::MacOs)
    })
}

async fn windows(scope: &Scope) -> Result<Os, ProbeError> {
    let build = registry::value(scope, CURRENT_VERSION, "CurrentBuild").await?;
    let product = registry::value(scope, CURRENT_VERSION, "ProductName").await?;
    let release = registry::value(scope, CURRENT_VERSION, "DisplayVersion")
        .await
        .ok();
    let server = product.contains("Server");
    Ok(Os {
        title: Some(Text::cut(&windows_title(
            &product,
            &build,
            release.as_deref(),
        ))),
        distribution: Some(Text::cut(if server { "windows-server" } else { "windows" })),
        version: Some(Text::cut(&format!("10.0.{build}"))),
        ..plain(OsFamily::Windows)
    })
}

/// Names a Windows as its users do.
fn windows_title(product: &str, build: &str, release: Option<&str>) -> String {
    let is_11 = build.parse().is_ok_and(|build: u32| build >= WINDOWS_11);
    let product = if is_11 {
        product.replace("Windows 10", "Windows 11")
    } else {
        product.to_owned()
    };
    match release {
        Some(release) => format!("{product} {release}"),
        None => product,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_read_as_it_names_itself() {
        let release = "# comment\nPRETTY_NAME=\"Rocky \\\"Linux\\\" 9.4\"\nID='rocky'\n\
                       ID_LIKE=\"rhel centos fedora\"\nVERSION_ID=9.4\nNAME=\n";

        let os = named(plain(OsFamily::Linux), release);

        assert_eq!(os.title, Some(Text::cut("Rocky \"Linux\" 9.4")));
        assert_eq!(os.distribution, Some(Text::cut("rocky")));
        assert_eq!(os.resembles.len(), 3);
        assert_eq!(os.version, Some(Text::cut("9.4")));
    }

    #[test]
    fn a_system_without_a_name_stays_without() {
        let os = named(plain(OsFamily::Linux), "ID=\nnot an assignment\n");

        assert_eq!((os.title, os.distribution, os.version), (None, None, None));
    }

    #[test]
    fn windows_11_is_not_called_10() {
        let title = |build| windows_title("Windows 10 Pro", build, Some("23H2"));

        assert_eq!(title("22631"), "Windows 11 Pro 23H2");
        assert_eq!(title("19045"), "Windows 10 Pro 23H2");
    }
}
