//! The form in which several targets are shown, and what is due to be written in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use proto::id::{NodeName, RunId};

use super::super::flags::RunArgs;
use crate::{
    orchestrator::fleet::{End, Event, What},
    output::{
        Characters, Sink, SinkClosed, Stream, View,
        events::harmless_pretty_json,
        fleet::{Discovered, FleetEvent, Folder, Prefixes, Results, Summary, Whole, compare, fold},
        report::Content,
    },
};

/// How it is shown, and where to.
pub(super) struct Form {
    kind: Kind,
    run: RunId,
    /// What is to be written next. Events are not heard while there is something.
    due: VecDeque<Due>,
    pub(super) sink: Sink,
    pub(super) folder: Option<Folder>,
}

enum Kind {
    Prefixed(Prefixes),
    Folded(Results),
    Compared(Results),
    Json(Results),
    Events(BTreeMap<NodeName, [Characters; 2]>),
    Folder,
}

/// Something to be written.
#[derive(Debug, Clone)]
enum Due {
    Screen(Stream, Bytes),
    File(NodeName, Stream, Bytes),
    FileEnds(NodeName),
}

impl Form {
    /// Chooses the form, and has what it needs before anything is started elsewhere.
    pub(super) fn new(
        args: &RunArgs,
        targets: &BTreeSet<NodeName>,
        run: RunId,
        discovered: Option<&Discovered>,
    ) -> anyhow::Result<Self> {
        let several = &args.several;
        let view = if args.raw { View::Raw } else { View::Auto };
        let folder = several.out_dir.as_deref();
        let folder = folder.map(|path| Folder::open(path, several.overwrite));
        let kind = match () {
            () if args.json => Kind::Json(Results::default()),
            () if args.ndjson => Kind::Events(BTreeMap::new()),
            () if several.fold => Kind::Folded(Results::default()),
            () if several.diff => Kind::Compared(Results::default()),
            () if several.out_dir.is_some() => Kind::Folder,
            () => Kind::Prefixed(Prefixes::new(targets, view)),
        };
        let mut form = Self {
            kind,
            run,
            due: VecDeque::new(),
            // Each form has made its text harmless by then.
            sink: Sink::new(View::Raw),
            folder: folder.transpose()?,
        };
        if let (Kind::Events(_), Some(discovered)) = (&form.kind, discovered) {
            form.screen(FleetEvent::Discovered(discovered).line());
        }
        Ok(form)
    }

    /// Takes what happened.
    pub(super) fn take(&mut self, event: &Event) {
        let Event { target, what } = event;
        match what {
            What::Output(stream, bytes) => self.output(target, *stream, bytes),
            What::Ended(end) => self.ended(target, end),
            What::Started(started) if self.has_events() => {
                self.screen(FleetEvent::started(self.run, target, *started).line());
            }
            What::Earlier(earlier) if self.has_events() => {
                self.screen(FleetEvent::earlier(self.run, target, *earlier).line());
            }
            What::Begun | What::Started(_) | What::Earlier(_) | What::Note(_) => {}
        }
    }

    const fn has_events(&self) -> bool {
        matches!(self.kind, Kind::Events(_))
    }

    fn output(&mut self, target: &NodeName, stream: Stream, bytes: &Bytes) {
        match &mut self.kind {
            Kind::Prefixed(prefixes) => {
                let lines = prefixes.push(target, stream, bytes);
                self.bytes(stream, lines);
            }
            Kind::Folded(results) | Kind::Compared(results) | Kind::Json(results) => {
                results.push(target, stream, bytes);
            }
            Kind::Events(texts) => {
                let texts = texts.entry(target.clone()).or_default();
                let whole = texts[usize::from(stream == Stream::Stderr)].push(bytes);
                self.screen(content(target, stream, &whole));
            }
            Kind::Folder => {
                let due = Due::File(target.clone(), stream, bytes.clone());
                self.due.push_back(due);
            }
        }
    }

    fn ended(&mut self, target: &NodeName, end: &End) {
        match &mut self.kind {
            Kind::Prefixed(prefixes) => {
                for (stream, lines) in prefixes.finish(target) {
                    self.bytes(stream, lines);
                }
            }
            Kind::Folded(results) | Kind::Compared(results) | Kind::Json(results) => {
                results.end(target.clone(), end.clone());
            }
            Kind::Events(texts) => {
                let [mut stdout, mut stderr] = texts.remove(target).unwrap_or_default();
                let mut lines = content(target, Stream::Stdout, &stdout.finish());
                lines += &content(target, Stream::Stderr, &stderr.finish());
                lines += &FleetEvent::ended(self.run, target, end).line();
                self.screen(lines);
            }
            Kind::Folder => match end {
                End::Over { .. } | End::Left => {
                    self.due.push_back(Due::FileEnds(target.clone()));
                }
                End::NotStarted { .. } | End::Skipped(_) => {}
            },
        }
    }

    /// Adds what stands at the end of everything.
    pub(super) fn conclude(&mut self, summary: &Summary) {
        match &self.kind {
            Kind::Prefixed(_) | Kind::Folder => {}
            Kind::Folded(results) => {
                let texts: Vec<String> = fold(results).collect();
                texts.into_iter().for_each(|text| self.screen(text));
            }
            Kind::Compared(results) => {
                let texts: Vec<String> = compare(results).collect();
                texts.into_iter().for_each(|text| self.screen(text));
            }
            Kind::Json(results) => {
                let whole = harmless_pretty_json(&Whole::new(self.run, results, summary));
                self.screen(whole + "\n");
            }
            Kind::Events(_) => self.screen(FleetEvent::Summary(summary).line()),
        }
    }

    /// Returns how many bytes of output are not kept for want of room.
    pub(super) fn left_out(&self) -> u64 {
        match &self.kind {
            Kind::Folded(results) | Kind::Compared(results) | Kind::Json(results) => {
                results.left_out()
            }
            Kind::Prefixed(_) | Kind::Events(_) | Kind::Folder => 0,
        }
    }

    fn screen(&mut self, text: String) {
        self.bytes(Stream::Stdout, text.into_bytes());
    }

    fn bytes(&mut self, stream: Stream, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.due.push_back(Due::Screen(stream, bytes.into()));
        }
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn drop_due(&mut self) {
        self.due.clear();
    }

    /// Waits until the next due piece can be written, and hands it over.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub(super) async fn deliver(&mut self) -> Result<(), SinkClosed> {
        match (self.due.front(), &self.folder) {
            (None, _) => return Ok(()),
            (Some(Due::Screen(stream, bytes)), _) => {
                let place = self.sink.ready().await?;
                place.write(*stream, bytes.clone());
            }
            (Some(_), None) => {}
            (Some(Due::File(target, stream, bytes)), Some(folder)) => {
                let shelf = folder.ready().await?;
                shelf.write(target.clone(), *stream, bytes.clone());
            }
            (Some(Due::FileEnds(target)), Some(folder)) => {
                folder.ready().await?.close(target.clone());
            }
        }
        self.due.pop_front();
        Ok(())
    }

    /// Waits until all is written.
    pub(super) async fn finish(self, hosts: [Vec<NodeName>; 2]) -> anyhow::Result<()> {
        self.sink.finish().await?;
        if let Some(folder) = self.folder {
            tokio::task::spawn_blocking(move || folder.finish(hosts)).await??;
        }
        Ok(())
    }
}

fn content(target: &NodeName, stream: Stream, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    let content = Content::of(bytes);
    let event = match stream {
        Stream::Stdout => FleetEvent::Stdout { target, content },
        Stream::Stderr => FleetEvent::Stderr { target, content },
    };
    event.line()
}
