//! The runs that this controller asked for, so that it can come back to them.
//!
//! A run is written down before anything is sent, in one append: a controller that dies at any moment
//! leaves a note of every run that may have begun. How runs ended is added as it becomes known. This is
//! a memory for people, not the audit.
//!
//! One JSON object a line, in `runs.jsonl` of the controller's folder. A line that a dying process left
//! half written is skipped, and every line begins with a newline of its own, so that it spoils no other.

mod fold;

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use fs_err::{File, OpenOptions};
use proto::id::{NodeName, ParseRunIdError, RunId};
use serde::{Deserialize, Serialize};

use self::fold::{Line, Runs};

/// The file is put aside, in the place of an older one, when it has this many bytes: some ten thousand
/// runs.
const MAX_LEN: u64 = 4 << 20;

/// Of a command, this many characters are kept: enough to know it again.
const MAX_COMMAND: usize = 1000;

/// So many digits of an id name a run at least: of fewer, a slip of the hand would.
const MIN_BEGINNING: usize = 4;

/// The note of all runs.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

/// A run that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub run: RunId,
    /// When it was asked for, in milliseconds since 1970.
    pub at_ms: u64,
    /// The command, for people to know it again.
    pub command: String,
    /// On which agents, and what is known of its end there.
    pub targets: BTreeMap<NodeName, Option<End>>,
    /// When it may have ended at the earliest, in milliseconds since 1970, on each agent where
    /// something may have begun: at its end, where whoever asked first heard of that, else when it was
    /// asked for. From then on the agent may count the time for which it remembers the run.
    pub may_have_ended: BTreeMap<NodeName, u64>,
}

/// How a run ended on one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The outcome, in the words of the JSON reports.
    pub outcome: String,
    /// The exit code of the report.
    pub exit_code: u32,
    /// When that became known here, or when it was if that is known, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The note cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{step} the note of runs")]
pub struct HistoryError {
    step: &'static str,
    #[source]
    source: io::Error,
}

/// No run can be meant by a text.
#[derive(Debug, thiserror::Error)]
pub enum FindRunError {
    /// It is no run id, nor the beginning of one.
    #[error("\"{text}\" is no run id")]
    NoId {
        /// The text, escaped.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ParseRunIdError,
    },
    /// It is too little of one.
    #[error("\"{text}\" is too little of a run id: write {MIN_BEGINNING} digits of it at least")]
    TooShort {
        /// The text, escaped.
        text: String,
    },
    /// No run begins like this.
    #[error("no run of this controller begins with {text}")]
    Unknown {
        /// The text, escaped.
        text: String,
    },
    /// Several do.
    #[error("{count} runs begin with {text}: write more of the id")]
    Ambiguous {
        /// The text, escaped.
        text: String,
        /// How many.
        count: usize,
    },
    /// The note cannot be read.
    #[error(transparent)]
    Read(#[from] HistoryError),
}

impl History {
    /// Names the note in a controller's folder; it need not be there yet.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        Self {
            path: home.join("runs.jsonl"),
        }
    }

    /// Writes down that a run is about to be asked for.
    ///
    /// # Errors
    /// It could not be written.
    pub fn asked(
        &self,
        run: RunId,
        command: &str,
        targets: Vec<NodeName>,
        at_ms: u64,
    ) -> Result<(), HistoryError> {
        node::fault::point("history-before-asked");
        let line = Line::Asked {
            run: run.to_string(),
            at_ms,
            command: command.chars().take(MAX_COMMAND).collect(),
            targets,
        };
        self.append(&[line])?;
        node::fault::point("history-after-asked");
        Ok(())
    }

    /// Writes down how a run ended on some agents.
    ///
    /// # Errors
    /// It could not be written.
    pub fn ended(
        &self,
        run: RunId,
        ends: impl IntoIterator<Item = (NodeName, End)>,
    ) -> Result<(), HistoryError> {
        let run = run.to_string();
        let lines: Vec<Line> = ends
            .into_iter()
            .map(|(target, end)| Line::Ended {
                run: run.clone(),
                target,
                end,
            })
            .collect();
        node::fault::point("history-before-ended");
        self.append(&lines)?;
        node::fault::point("history-after-ended");
        Ok(())
    }

    /// Writes down on which agents surely nothing was started by whoever asked last.
    ///
    /// # Errors
    /// It could not be written.
    pub fn not_started(
        &self,
        run: RunId,
        targets: Vec<NodeName>,
        at_ms: u64,
    ) -> Result<(), HistoryError> {
        if targets.is_empty() {
            return Ok(());
        }
        let run = run.to_string();
        self.append(&[Line::NotStarted {
            run,
            at_ms,
            targets,
        }])
    }

    /// Returns all runs on note, the oldest first.
    ///
    /// # Errors
    /// The note is there and cannot be read.
    pub fn all(&self) -> Result<Vec<Entry>, HistoryError> {
        let mut runs = Runs::default();
        for path in [self.older(), self.path.clone()] {
            match read(&path) {
                Ok(text) => runs.take(&text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    let step = "read";
                    return Err(HistoryError { step, source });
                }
            }
        }
        Ok(runs.in_order())
    }

    /// Finds the run that is meant by an id or the beginning of one.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(&self, text: &str) -> Result<Entry, FindRunError> {
        let shown = proto::text::escaped(text);
        let text = text.replace('-', "").to_ascii_lowercase();
        if text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.len() < MIN_BEGINNING {
            return Err(FindRunError::TooShort { text: shown });
        }
        let matching = |entry: &Entry| entry.run.to_string().starts_with(&text);
        let mut found: Vec<Entry> = self.all()?.into_iter().filter(matching).collect();
        match (found.len(), found.pop()) {
            (1, Some(entry)) => Ok(entry),
            (0, _) | (_, None) => match text.parse::<RunId>() {
                Ok(_) => Err(FindRunError::Unknown { text: shown }),
                Err(_) if is_beginning(&text) => Err(FindRunError::Unknown { text: shown }),
                Err(source) => Err(FindRunError::NoId {
                    text: shown,
                    source,
                }),
            },
            (count, Some(_)) => Err(FindRunError::Ambiguous { text: shown, count }),
        }
    }

    fn append(&self, lines: &[Line]) -> Result<(), HistoryError> {
        let failed = |source| HistoryError {
            step: "write",
            source,
        };
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for line in lines {
            text.push('\n');
            text += &serde_json::to_string(line).map_err(|error| failed(error.into()))?;
        }
        let mut file = self.open().map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)
    }

    fn open(&self) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use fs_err::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(&self.path)?;
        if file.seek(SeekFrom::End(0))? > MAX_LEN {
            self.put_aside(&options)?;
            file = options.open(&self.path)?;
        }
        Ok(file)
    }

    /// Puts the file aside, unless somebody else has just done that.
    fn put_aside(&self, options: &OpenOptions) -> io::Result<()> {
        // Another file than the one that is moved, so that everybody waits for the same lock.
        let gate = options.open(self.path.with_extension("lock"))?;
        gate.file().lock()?;
        // One that is not there was moved just now.
        if fs_err::metadata(&self.path).is_ok_and(|is| is.len() > MAX_LEN) {
            // Whoever has it open goes on writing to the older one.
            fs_err::rename(&self.path, self.older())?;
        }
        Ok(())
    }

    fn older(&self) -> PathBuf {
        self.path.with_extension("1.jsonl")
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    // Lines are added meanwhile, and one that overshoots the bound is one that was just written.
    File::open(path)?
        .take(4 * MAX_LEN)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_beginning(text: &str) -> bool {
    text.len() < 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> RunId {
        RunId::from_bytes([byte; 16])
    }

    fn name(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn end() -> End {
        End {
            outcome: "finished".into(),
            exit_code: 3,
            at_ms: 9,
        }
    }

    #[test]
    fn a_run_is_found_by_the_beginning_of_its_id_and_with_how_it_ended() {
        let home = tempfile::tempdir().unwrap();
        let history = History::of(home.path());
        let both = vec![name("a"), name("b")];
        history.asked(id(0x11), "uname -a", both, 5).unwrap();
        history.asked(id(0x12), "true", vec![name("a")], 6).unwrap();
        history.ended(id(0x11), [(name("b"), end())]).unwrap();

        let entry = history.find("1111").unwrap();

        assert_eq!((entry.run, entry.at_ms), (id(0x11), 5));
        assert_eq!(entry.targets[&name("a")], None);
        assert_eq!(entry.targets[&name("b")], Some(end()));
        assert!(matches!(
            history.find("2222"),
            Err(FindRunError::Unknown { .. })
        ));
        assert!(matches!(history.find("x"), Err(FindRunError::NoId { .. })));
    }

    #[test]
    fn a_beginning_names_a_run_if_it_is_long_enough_and_only_one_has_it() {
        let home = tempfile::tempdir().unwrap();
        let history = History::of(home.path());
        let mut other = [0x11; 16];
        other[15] = 0x12;
        for run in [id(0x11), RunId::from_bytes(other)] {
            history.asked(run, "true", vec![name("a")], 5).unwrap();
        }

        assert!(matches!(
            history.find("1111"),
            Err(FindRunError::Ambiguous { count: 2, .. })
        ));
        for short in ["", "-", "1", "11-1", "111"] {
            let found = history.find(short);
            assert!(
                matches!(found, Err(FindRunError::TooShort { .. })),
                "{short}"
            );
        }
    }

    #[test]
    fn writers_that_find_a_long_note_at_once_lose_none_of_it() {
        let home = tempfile::tempdir().unwrap();
        let history = History::of(home.path());
        history.asked(id(1), "true", vec![name("a")], 1).unwrap();
        let mut file = OpenOptions::new().append(true).open(&history.path).unwrap();
        file.write_all(&vec![b'\n'; MAX_LEN as usize]).unwrap();

        std::thread::scope(|scope| {
            for writer in 2..10 {
                let history = &history;
                scope.spawn(move || {
                    let targets = vec![name("a")];
                    history.asked(id(writer), "true", targets, 2).unwrap();
                });
            }
        });

        assert_eq!(history.all().unwrap().len(), 9);
    }

    #[test]
    fn a_line_that_was_left_half_written_spoils_no_other() {
        let home = tempfile::tempdir().unwrap();
        let history = History::of(home.path());
        history.asked(id(1), "true", vec![name("a")], 1).unwrap();
        let mut file = OpenOptions::new().append(true).open(&history.path).unwrap();
        file.write_all(b"\n{\"event\":\"asked\",\"run\":\"02")
            .unwrap();

        history.asked(id(3), "true", vec![name("a")], 3).unwrap();

        let runs: Vec<_> = history
            .all()
            .unwrap()
            .iter()
            .map(|entry| entry.run)
            .collect();
        assert_eq!(runs, [id(1), id(3)]);
    }

    #[test]
    fn a_long_note_is_put_aside_once() {
        let home = tempfile::tempdir().unwrap();
        let history = History::of(home.path());
        history.asked(id(1), "true", vec![name("a")], 1).unwrap();
        fs_err::write(&history.path, vec![b'\n'; MAX_LEN as usize + 1]).unwrap();

        history.asked(id(2), "true", vec![name("a")], 2).unwrap();

        assert!(fs_err::metadata(&history.path).unwrap().len() < 1000);
        assert_eq!(history.all().unwrap().len(), 1);
    }
}
