//! Help, completions and manual pages: generated, so checked as they come out.
//!
//! `UPDATE_GOLDEN=1 cargo test -p scenarios help` writes the golden files anew; read the difference
//! before it is committed.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use scenarios::{Binaries, Finished, PATIENCE, Place, Process, Stdin, Stdout};

/// Every verb of both binaries.
const CONTROLLER: [&[&str]; 30] = [
    &[],
    &["quickstart"],
    &["run"],
    &["attach"],
    &["logs"],
    &["cancel"],
    &["runs"],
    &["shell"],
    &["cp"],
    &["agents"],
    &["capabilities"],
    &["serve"],
    &["serve", "status"],
    &["serve", "reload"],
    &["serve", "stop"],
    &["pki"],
    &["pki", "init"],
    &["pki", "issue"],
    &["pki", "issue", "agent"],
    &["pki", "issue", "controller"],
    &["pki", "issue", "rendezvous"],
    &["pki", "list"],
    &["pki", "inspect"],
    &["pki", "fingerprint"],
    &["profiles"],
    &["profiles", "list"],
    &["profiles", "show"],
    &["completions"],
    &["man"],
    &["help"],
];
const FUNNELCLOUD: [&[&str]; 5] = [
    &[],
    &["agent"],
    &["capabilities"],
    &["completions"],
    &["man"],
];

/// The shells for which there are completions, and how each reads one without running it.
const SHELLS: [(&str, &[&str]); 4] = [
    (
        "bash",
        &[
            "bash",
            "--noprofile",
            "--norc",
            "-c",
            ". /dev/stdin && complete -p \"$0\"",
        ],
    ),
    (
        "zsh",
        &[
            "zsh",
            "-f",
            "-c",
            "autoload -Uz compinit && compinit -D && . /dev/stdin && print -r -- $_comps[$0]",
        ],
    ),
    (
        "fish",
        &[
            "fish",
            "--no-config",
            "-c",
            "source - && complete -C \"$argv[1] \"",
        ],
    ),
    (
        "powershell",
        &[
            "pwsh",
            "-NoProfile",
            "-NonInteractive",
            "-Command",
            "$input | Out-String | Invoke-Expression",
        ],
    ),
];

fn binaries() -> [(&'static str, &'static Path); 2] {
    let Binaries {
        controller,
        funnelcloud,
    } = Binaries::get();
    [("controller", controller), ("funnelcloud", funnelcloud)]
}

fn ask(program: &Path, words: &[&str]) -> Finished {
    let home = env::temp_dir();
    let mut command = Place::here().clean_command(program, &home);
    command.args(words);
    Process::run(command)
}

fn verbs() -> Vec<(String, &'static Path, &'static [&'static str])> {
    let [(controller, of_controller), (funnelcloud, of_funnelcloud)] = binaries();
    let of = |name: &'static str, program: &'static Path, verbs: &[&'static [&'static str]]| {
        let named = verbs.iter().map(|verb| {
            let words: Vec<&str> = std::iter::once(name).chain(verb.iter().copied()).collect();
            (words.join("-"), program, *verb)
        });
        named.collect::<Vec<_>>()
    };
    let mut all = of(controller, of_controller, &CONTROLLER);
    all.extend(of(funnelcloud, of_funnelcloud, &FUNNELCLOUD));
    all
}

fn help_of(program: &Path, verb: &[&str]) -> String {
    let words: Vec<&str> = verb.iter().copied().chain(["--help"]).collect();
    let words = if verb == ["help"] {
        vec!["help"]
    } else {
        words
    };
    let asked = ask(program, &words).expect_success();
    assert_eq!(asked.stderr_text(), "", "{verb:?}");
    asked.stdout_text()
}

#[test]
fn help_of_every_verb_is_as_it_was_last_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/help");
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for (name, program, verb) in verbs() {
        let golden = folder.join(format!("{name}.txt"));
        let help = help_of(program, verb).replace(env::consts::EXE_SUFFIX, "");
        if update {
            fs_err::write(&golden, &help).unwrap();
        }
        if fs_err::read_to_string(&golden).unwrap_or_default() != help {
            changed.push(format!("--- {}\n{help}", golden.display()));
        }
    }

    assert!(
        changed.is_empty(),
        "read these, then write them with UPDATE_GOLDEN=1:\n{}",
        changed.join("\n")
    );
}

#[test]
fn help_of_every_verb_has_an_example_that_begins_as_it_is_typed() {
    for (name, program, verb) in verbs() {
        let help = help_of(program, verb);
        let words: Vec<&str> = name
            .split('-')
            .take(1)
            .chain(verb.iter().copied())
            .collect();
        // `help` shows the help of all.
        let typed = words.join(" ").replace(" help", "");

        let example = help
            .split("Example")
            .nth(1)
            .unwrap_or_else(|| panic!("{name}: {help}"));

        assert!(
            example.lines().skip(1).any(|line| line.contains(&typed)),
            "{name}: {help}"
        );
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{name}: {help}"
        );
    }
}

#[test]
fn list_of_verbs_here_is_complete() {
    for (name, program) in binaries() {
        let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
        let mut found = Vec::new();
        while let Some(verb) = waiting.pop() {
            let words: Vec<&str> = verb.iter().map(String::as_str).collect();
            let help = help_of(program, &words);
            found.push([&[name], words.as_slice()].concat().join("-"));
            let listed = help
                .split_once("\nCommands:\n")
                .map_or("", |(_, rest)| rest);
            for line in listed.lines().take_while(|line| !line.is_empty()) {
                // A name stands at the second column; its description may go on below.
                let Some(line) = line
                    .strip_prefix("  ")
                    .filter(|line| !line.starts_with(' '))
                else {
                    continue;
                };
                let sub = line.split_whitespace().next().unwrap();
                if sub != "help" {
                    waiting.push(verb.iter().cloned().chain([sub.to_owned()]).collect());
                }
            }
        }

        let here = verbs().into_iter().map(|(verb, ..)| verb);
        let mut here: Vec<String> = here
            .filter(|verb| verb.starts_with(name) && !verb.ends_with("-help"))
            .collect();
        here.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, here);
    }
}

#[test]
fn version_is_the_one_of_the_package() {
    for (name, program) in binaries() {
        for flag in ["--version", "-V"] {
            let asked = ask(program, &[flag]).expect_success();

            assert_eq!(
                asked.stdout_text(),
                format!("{name} {}\n", env!("CARGO_PKG_VERSION"))
            );
        }
    }
}

/// Shells that are not installed are not asked; bash, which every developer has, always is.
#[test]
fn completions_load_in_every_shell_that_is_here() {
    let mut asked = Vec::new();
    for (shell, load) in SHELLS {
        if !is_installed(load[0]) {
            continue;
        }
        for (name, program) in binaries() {
            let script = ask(program, &["completions", shell])
                .expect_success()
                .stdout;
            let mut command = Place::here().clean_command(load[0], &env::temp_dir());
            command.args(&load[1..]).arg(name);

            let loaded = Process::start_with(command, Stdin::Bytes(script), Stdout::Captured);
            let loaded = loaded.wait_exit(PATIENCE).expect_success();

            assert_eq!(loaded.stderr_text(), "", "{shell} {name}");
            asked.push(shell);
        }
    }

    #[cfg(unix)]
    assert!(asked.contains(&"bash"), "{asked:?}");
}

#[test]
fn completions_of_every_shell_name_every_verb() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        for (name, program) in binaries() {
            let script = ask(program, &["completions", shell])
                .expect_success()
                .stdout_text();

            for (verb, ..) in verbs().iter().filter(|(verb, ..)| verb.starts_with(name)) {
                let last = verb.rsplit('-').next().unwrap();
                assert!(script.contains(last), "{shell} {verb}");
            }
        }
    }
}

#[test]
fn manual_pages_are_written_for_every_verb_and_render_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    let [(_, controller), (_, funnelcloud)] = binaries();
    let words = ["man", "--out-dir", out.to_str().unwrap()];
    let _ = ask(controller, &words).expect_success();
    let page = ask(funnelcloud, &["man"]).expect_success().stdout;
    fs_err::write(out.join("funnelcloud.1"), page).unwrap();

    for (verb, ..) in verbs()
        .iter()
        .filter(|(verb, ..)| verb.starts_with("controller") && !verb.ends_with("-help"))
    {
        assert!(out.join(format!("{verb}.1")).is_file(), "{verb}.1");
    }
    for entry in fs_err::read_dir(&out).unwrap() {
        let path = entry.unwrap().path();
        let page = fs_err::read_to_string(&path).unwrap();
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(part), "{}: no {part}", path.display());
        }
        if is_installed("groff") {
            let mut groff = Command::new("groff");
            groff.args(["-man", "-Tutf8", "-wall", "-z"]).arg(&path);
            let rendered = Process::run(groff).expect_success();
            assert_eq!(rendered.stderr_text(), "", "{}", path.display());
        }
    }
}

fn is_installed(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| {
        folder
            .join(format!("{program}{}", env::consts::EXE_SUFFIX))
            .is_file()
    })
}
