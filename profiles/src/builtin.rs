//! The profiles that every controller has.

use std::sync::LazyLock;

use proto::{capability::OsFamily, shell::Shell};

use crate::profile::Profile;

/// Name and text of each file of the folder.
const FILES: [(&str, &str); 3] = [
    ("linux-server", include_str!("../linux-server.yaml")),
    ("macos-admin", include_str!("../macos-admin.yaml")),
    (
        "windows-enterprise",
        include_str!("../windows-enterprise.yaml"),
    ),
];

static PROFILES: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(name, yaml)| {
            Profile::parse(name, yaml).expect("the embedded profiles are parsed by the tests")
        })
        .collect()
});

/// Returns the embedded profiles, by name.
#[must_use]
pub fn builtin() -> &'static [Profile] {
    &PROFILES
}

/// Returns the text of the embedded profile called `name`.
#[must_use]
pub fn builtin_yaml(name: &str) -> Option<&'static str> {
    let (_, yaml) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(yaml)
}

/// Returns the profile for a host of which only the family is known.
///
/// A host of another family is spoken to as the nearest: a Linux server.
#[must_use]
pub fn default_profile(family: OsFamily) -> &'static Profile {
    let family = match family {
        OsFamily::Linux | OsFamily::Other => OsFamily::Linux,
        OsFamily::Windows => OsFamily::Windows,
        OsFamily::MacOs => OsFamily::MacOs,
    };
    builtin()
        .iter()
        .find(|profile| profile.matches.os == family)
        .expect("each family has an embedded profile")
}

/// Returns the shell that a script is written for when nobody names one.
///
/// On a host of another family that is `sh`, the only one that is surely there.
#[must_use]
pub fn default_shell(family: OsFamily) -> Shell {
    match family {
        OsFamily::Other => Shell::Sh,
        OsFamily::Linux | OsFamily::Windows | OsFamily::MacOs => default_profile(family).shell.name,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));

        let files: BTreeSet<String> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();

        let embedded: BTreeSet<String> = builtin()
            .iter()
            .map(|profile| profile.name.to_string())
            .collect();
        assert_eq!(embedded, files);
    }

    #[test]
    fn each_profile_starts_its_shell_as_runs_do() {
        for profile in builtin() {
            let mut argv = profile.shell.launch.clone();
            argv.push("a script".to_owned());

            assert_eq!(argv, profile.shell.name.launch("a script"));
        }
    }

    #[test]
    fn each_family_has_its_shell() {
        assert_eq!(default_shell(OsFamily::Linux), Shell::Bash);
        assert_eq!(default_shell(OsFamily::Windows), Shell::Pwsh);
        assert_eq!(default_shell(OsFamily::MacOs), Shell::Zsh);
        assert_eq!(default_shell(OsFamily::Other), Shell::Sh);
        for family in [OsFamily::Linux, OsFamily::Windows, OsFamily::MacOs] {
            assert_eq!(default_profile(family).matches.os, family);
        }
    }

    #[test]
    fn what_is_done_to_a_package_or_a_service_says_to_which() {
        for profile in builtin() {
            for packages in &profile.packages {
                let named = [Some(&packages.install), packages.remove.as_ref()];
                for command in named.into_iter().flatten() {
                    assert!(command.contains("PACKAGE"), "{}: {command}", profile.name);
                }
            }
            let services = &profile.services;
            for command in [
                &services.status,
                &services.start,
                &services.stop,
                &services.restart,
                &services.enable,
                &services.disable,
                &services.logs,
            ] {
                assert!(command.contains("SERVICE"), "{}: {command}", profile.name);
            }
            for command in [&profile.network.resolve, &profile.network.reach] {
                assert!(command.contains("NAME"), "{}: {command}", profile.name);
            }
        }
    }

    #[test]
    fn no_text_is_empty_or_cut_by_a_comment() {
        for profile in builtin() {
            assert!(profile.idioms.len() >= 8 && profile.avoid.len() >= 5);
            let quoting = profile.shell.quoting.iter();
            let commands = profile.idioms.iter().map(|idiom| &idiom.command);
            for text in quoting.chain(commands) {
                let balanced = |c| text.matches(c).count().is_multiple_of(2);
                assert!(text.len() > 3, "{}: {text:?}", profile.name);
                assert!(
                    !text.ends_with([' ', '|', '{']),
                    "{}: {text:?}",
                    profile.name
                );
                assert!(
                    balanced('\'') || text.contains("'\\''"),
                    "{}: {text:?}",
                    profile.name
                );
            }
        }
    }
}
