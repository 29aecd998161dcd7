//! What no agent could carry out, and is refused before anything is recorded.

use proto::run::{Argv, Environment, RequestError, RunRequest, StdinMode, What, Word};
use proto::{shell::Shell, text::Text};

use crate::sample::{argv, request};

#[test]
fn an_ordinary_request_passes() {
    let script = What::Script {
        shell: Shell::Bash,
        text: "uname -a\n".into(),
    };
    let odd = vec![
        Word::from("printf"),
        Word(vec![0xff, 0x0a]),
        Word(Vec::new()),
    ];

    assert_eq!(request().check(), Ok(()));
    assert_eq!(
        RunRequest {
            what: script,
            ..request()
        }
        .check(),
        Ok(())
    );
    let what = What::Argv(odd.try_into().unwrap());
    assert_eq!(RunRequest { what, ..request() }.check(), Ok(()));
}

#[test]
fn a_nul_in_any_argument_is_refused() {
    for words in [["a\0", "b"], ["a", "\0"], ["a", "b\0c"]] {
        let what = What::Argv(argv(&words));
        assert_eq!(
            RunRequest { what, ..request() }.check(),
            Err(RequestError::NulInArgv)
        );
    }
}

#[test]
fn a_nul_in_the_script_is_refused() {
    let what = What::Script {
        shell: Shell::Sh,
        text: "echo a\0b".into(),
    };

    assert_eq!(
        RunRequest { what, ..request() }.check(),
        Err(RequestError::NulInScript)
    );
}

#[test]
fn a_nul_in_the_working_directory_is_refused() {
    let cwd = Some(Word::from("/srv\0/x"));

    assert_eq!(
        RunRequest { cwd, ..request() }.check(),
        Err(RequestError::NulInCwd)
    );
}

#[test]
fn more_words_than_travel_are_refused() {
    let words = |count| What::Argv(vec![Word::from("x"); count].try_into().unwrap());
    let check = |count| {
        RunRequest {
            what: words(count),
            ..request()
        }
        .check()
    };

    assert_eq!(check(Argv::MAX_WORDS), Ok(()));
    assert_eq!(check(Argv::MAX_WORDS + 1), Err(RequestError::TooManyWords));
}

#[test]
fn more_variables_than_travel_are_refused() {
    let variables = |count| Environment(vec![(Word::from("A"), Word::from("b")); count]);
    let check = |count| {
        RunRequest {
            environment: variables(count),
            ..request()
        }
        .check()
    };

    assert_eq!(check(Environment::MAX_VARIABLES), Ok(()));
    assert_eq!(
        check(Environment::MAX_VARIABLES + 1),
        Err(RequestError::TooManyVariables)
    );
}

#[test]
fn a_login_shell_needs_a_terminal() {
    let check = |stdin| {
        RunRequest {
            what: What::LoginShell { shell: None },
            stdin,
            ..request()
        }
        .check()
    };

    assert_eq!(check(terminal("xterm")), Ok(()));
    assert_eq!(check(StdinMode::Piped), Err(RequestError::NoTerminal));
    assert_eq!(check(StdinMode::Closed), Err(RequestError::NoTerminal));
}

#[test]
fn the_kind_of_a_terminal_is_a_plain_name() {
    let check = |term| {
        RunRequest {
            stdin: terminal(term),
            ..request()
        }
        .check()
    };

    for term in [
        "xterm",
        "xterm-256color",
        "rxvt-unicode-256color",
        "9term",
        "a.b_c+d",
    ] {
        assert_eq!(check(term), Ok(()), "{term}");
    }
    for term in [
        "",
        "../x",
        "..",
        "-x",
        "a/b",
        "a b",
        "a\n",
        "\u{1b}[2J",
        "é",
        "a\0",
        "$(id)",
    ] {
        assert_eq!(check(term), Err(RequestError::Term), "{term:?}");
    }
}

#[test]
fn a_command_without_a_program_cannot_be_made() {
    assert!(Argv::try_from(Vec::new()).is_err());
    assert!(Argv::try_from(vec![Word::from(""), Word::from("a")]).is_err());
}

#[test]
fn values_of_variables_are_not_shown() {
    let environment = Environment(vec![(Word::from("TOKEN"), Word::from("canary"))]);

    let shown = format!(
        "{:?}",
        RunRequest {
            environment,
            ..request()
        }
    );

    assert!(
        shown.contains("TOKEN") && !shown.contains("canary"),
        "{shown}"
    );
}

fn terminal(term: &str) -> StdinMode {
    StdinMode::Terminal {
        columns: 80,
        rows: 24,
        term: Text::cut(term),
    }
}
