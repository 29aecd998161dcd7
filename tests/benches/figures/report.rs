//! What was measured, and whether it keeps the promise.

use std::{fmt, time::Duration};

use comfy_table::{Table, presets};
use serde::Serialize;

/// A promised bound.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing is promised; the number is for the reader.
    None,
}

/// What the bound is on.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// A quotient of two measurements.
    Times,
    Milliseconds,
    Mebibytes,
    Kibibytes,
    Packets,
    /// Clock ticks of 10 ms of processor time.
    Ticks,
}

/// A figure of the promise.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    name: &'static str,
    value: f64,
    unit: Unit,
    bound: Bound,
    kept: bool,
}

/// A raw number behind the figures.
#[derive(Debug, Serialize)]
pub(crate) struct Raw {
    name: String,
    value: String,
}

/// Everything that one run of the benchmark found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    raw: Vec<Raw>,
    /// What could not be measured, and why.
    left_out: Vec<String>,
}

impl Report {
    /// Tells the one who waits what is measured now.
    #[expect(clippy::print_stderr, reason = "progress of a benchmark")]
    pub(crate) fn begin(&self, part: &impl fmt::Debug) {
        eprintln!("measuring: {part:?}");
    }

    pub(crate) fn figure(&mut self, name: &'static str, value: f64, unit: Unit, bound: Bound) {
        let kept = match bound {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
            Bound::None => true,
        };
        self.figures.push(Figure {
            name,
            value,
            unit,
            bound,
            kept,
        });
    }

    pub(crate) fn time(&mut self, name: impl Into<String>, time: Duration) {
        self.raw(name, format!("{time:.1?}"));
    }

    pub(crate) fn raw(&mut self, name: impl Into<String>, value: String) {
        self.raw.push(Raw {
            name: name.into(),
            value,
        });
    }

    pub(crate) fn left_out(&mut self, what: &str, why: &str) {
        self.left_out.push(format!("{what}: {why}"));
    }

    /// Whether a promise is broken, or could not be looked at.
    pub(crate) fn is_missed(&self) -> bool {
        !self.left_out.is_empty() || self.figures.iter().any(|figure| !figure.kept)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut raw = Table::new();
        raw.load_preset(presets::NOTHING)
            .set_header(["measured", "median"]);
        for Raw { name, value } in &self.raw {
            raw.add_row([name, value]);
        }
        writeln!(f, "{raw}\n")?;

        let mut figures = Table::new();
        figures
            .load_preset(presets::NOTHING)
            .set_header(["figure", "value", "promise", ""]);
        for figure in &self.figures {
            figures.add_row([
                figure.name.to_owned(),
                amount(figure.value, figure.unit),
                promise(figure.bound, figure.unit),
                verdict(figure).to_owned(),
            ]);
        }
        writeln!(f, "{figures}")?;
        for what in &self.left_out {
            writeln!(f, "not measured: {what}")?;
        }
        Ok(())
    }
}

fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Times => format!("{value:.3} ×"),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Mebibytes => format!("{value:.1} MiB"),
        Unit::Kibibytes => format!("{value:.1} KiB"),
        Unit::Packets => format!("{value} packets"),
        Unit::Ticks => format!("{value} ticks"),
    }
}

fn promise(bound: Bound, unit: Unit) -> String {
    match bound {
        Bound::AtMost(most) => format!("at most {}", amount(most, unit)),
        Bound::AtLeast(least) => format!("at least {}", amount(least, unit)),
        Bound::None => String::new(),
    }
}

fn verdict(figure: &Figure) -> &'static str {
    match (figure.bound, figure.kept) {
        (Bound::None, _) => "",
        (Bound::AtMost(_) | Bound::AtLeast(_), true) => "PASS",
        (Bound::AtMost(_), false) => "MISSED: too much",
        (Bound::AtLeast(_), false) => "MISSED: short of it",
    }
}
