//! Lines behind the name of who wrote them, as they come.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
};

use proto::id::NodeName;

use super::lines::Lines;
use crate::output::{
    Stream, View,
    terminal::{OURS, show},
};

/// Names are lined up to this width; longer ones stand out.
const WIDTH: usize = 24;

/// The colours of names: those that can be read on light and dark.
const COLOURS: [u8; 6] = [36, 32, 33, 35, 34, 31];

/// How lines of one stream look.
#[derive(Debug, Clone, Copy, Default)]
struct Looks {
    /// Names are filled up to this width.
    width: usize,
    coloured: bool,
    neutralised: bool,
}

/// Puts names before lines.
#[derive(Debug)]
pub struct Prefixes {
    stdout: Looks,
    stderr: Looks,
    lines: BTreeMap<NodeName, [Lines; 2]>,
}

impl Prefixes {
    /// Chooses the looks for these targets. Elsewhere than on a terminal a line is the name, a colon,
    /// a space, and the bytes as they came.
    #[must_use]
    pub fn new<'a>(targets: impl IntoIterator<Item = &'a NodeName>, view: View) -> Self {
        let longest = targets.into_iter().map(|name| name.as_str().len()).max();
        let width = longest.unwrap_or_default().min(WIDTH);
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        let looks = |terminal: bool| {
            let terminal_looks = Looks {
                width,
                coloured: !no_colour,
                neutralised: view == View::Auto,
            };
            if terminal {
                terminal_looks
            } else {
                Looks::default()
            }
        };
        Self {
            stdout: looks(io::stdout().is_terminal()),
            stderr: looks(io::stderr().is_terminal()),
            lines: BTreeMap::new(),
        }
    }

    /// Returns the lines that are complete by now.
    pub fn push(&mut self, target: &NodeName, stream: Stream, piece: &[u8]) -> Vec<u8> {
        let looks = self.looks(stream);
        let lines = self.lines.entry(target.clone()).or_default();
        let mut shown = Vec::with_capacity(piece.len() + piece.len() / 4);
        let prefix = looks.prefix(target);
        lines[index(stream)].push(piece, |line| looks.line(&prefix, line, &mut shown));
        shown
    }

    /// Returns what is left of both streams at the end.
    pub fn finish(&mut self, target: &NodeName) -> [(Stream, Vec<u8>); 2] {
        let mut lines = self.lines.remove(target).unwrap_or_default();
        [Stream::Stdout, Stream::Stderr].map(|stream| {
            let looks = self.looks(stream);
            let (prefix, mut shown) = (looks.prefix(target), Vec::new());
            lines[index(stream)].finish(|line| looks.line(&prefix, line, &mut shown));
            (stream, shown)
        })
    }

    const fn looks(&self, stream: Stream) -> Looks {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }
}

const fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

impl Looks {
    fn prefix(self, target: &NodeName) -> String {
        let name = target.as_str();
        // An agent of this name must not speak in this program's voice.
        let role = if OURS.trim_end_matches(':') == name {
            "agent/"
        } else {
            ""
        };
        let plain = format!("{role}{name}:");
        let filled = format!(
            "{plain:width$} ",
            width = (self.width + 1) * usize::from(self.width > 0)
        );
        if !self.coloured {
            return filled;
        }
        let sum = name
            .bytes()
            .fold(0_usize, |sum, byte| sum * 31 % 9973 + usize::from(byte));
        let colour = COLOURS[sum % COLOURS.len()];
        format!("\u{1b}[{colour}m{filled}\u{1b}[0m")
    }

    fn line(self, prefix: &str, line: &[u8], shown: &mut Vec<u8>) {
        shown.extend_from_slice(prefix.as_bytes());
        if self.neutralised {
            shown.extend_from_slice(show(line).as_bytes());
        } else {
            shown.extend_from_slice(line);
        }
        shown.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes(looks: Looks) -> Prefixes {
        Prefixes {
            stdout: looks,
            stderr: looks,
            lines: BTreeMap::new(),
        }
    }

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    #[test]
    fn unfinished_line_is_shown_at_the_end() {
        let mut prefixes = prefixes(Looks::default());
        let web = name("web1");

        assert_eq!(prefixes.push(&web, Stream::Stdout, b"a\nb"), b"web1: a\n");
        assert_eq!(
            prefixes.push(&name("web2"), Stream::Stdout, b"x\n"),
            b"web2: x\n"
        );
        let [(_, stdout), (_, stderr)] = prefixes.finish(&web);
        assert_eq!(
            (stdout.as_slice(), stderr.as_slice()),
            (&b"web1: b\n"[..], &b""[..])
        );
    }

    #[test]
    fn names_are_lined_up_and_coloured_on_a_terminal() {
        let looks = Looks {
            width: 5,
            coloured: true,
            neutralised: true,
        };
        let mut prefixes = prefixes(looks);

        let shown = prefixes.push(&name("web"), Stream::Stdout, b"\x1b[2Jx\n");

        let shown = String::from_utf8(shown).unwrap();
        assert!(
            shown.starts_with("\u{1b}[3") && shown.ends_with("mweb:   \u{1b}[0m^[[2Jx\n"),
            "{shown:?}"
        );
    }

    #[test]
    fn agent_called_controller_is_not_taken_for_this_program() {
        let mut prefixes = prefixes(Looks::default());

        let shown = prefixes.push(&name("controller"), Stream::Stderr, b"x: cancelled\n");
        assert_eq!(shown, b"agent/controller: x: cancelled\n");
    }

    proptest! {
        #[test]
        fn no_output_makes_a_line_without_its_prefix(pieces in proptest::collection::vec("[a:\n\r\\x1b ]{0,9}", 0..6)) {
            let mut prefixes = prefixes(Looks::default());
            let web = name("web1");
            let mut shown = Vec::new();
            for piece in pieces {
                shown.extend(prefixes.push(&web, Stream::Stdout, piece.as_bytes()));
            }
            shown.extend(prefixes.finish(&web).into_iter().flat_map(|(_, bytes)| bytes));

            let text = String::from_utf8(shown).unwrap();
            prop_assert!(text.split_inclusive(['\n', '\r']).all(|line| line.starts_with("web1: ")));
        }
    }
}
