//! The way back from many names to a short text: `web[01-03,07],db1`.
//!
//! **Invariant:** the text, read as targets, means exactly these names. Guarded by
//! `compact_names_expand_to_themselves`.

use std::collections::{BTreeMap, BTreeSet};

use proto::id::NodeName;

use super::number::{MAX_DIGITS, Span, number, shown_width, written};

/// A name around its last number; nothing comes after where there is no number.
type Around = (String, Option<String>);

/// Returns `names` as one short text.
#[must_use]
pub fn compact<'a>(names: impl IntoIterator<Item = &'a NodeName>) -> String {
    let items: Vec<String> = folded(names).iter().map(Folded::to_text).collect();
    items.join(",")
}

/// Returns as many of `names` as `limit` numbers and ranges can tell, and how many are left out.
#[must_use]
pub fn compact_cut<'a>(names: impl IntoIterator<Item = &'a NodeName>, limit: usize) -> String {
    let (mut items, mut room, mut left_out) = (Vec::new(), limit, 0);
    for mut item in folded(names) {
        let cut = item.spans.split_off(item.spans.len().min(room));
        let plain = item.spans.is_empty() && cut.is_empty();
        left_out += cut.iter().map(|span| span.len()).sum::<u64>();
        if plain && room == 0 {
            left_out += 1;
        } else if plain || !item.spans.is_empty() {
            room -= item.spans.len().max(1).min(room);
            items.push(item.to_text());
        }
    }
    let shown = items.join(",");
    match left_out {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Names that differ in one number.
struct Folded {
    before: String,
    /// Nothing for a name without a number.
    spans: Vec<Span>,
    after: String,
}

impl Folded {
    fn to_text(&self) -> String {
        let Self {
            before,
            spans,
            after,
        } = self;
        let ranges: Vec<String> = spans.iter().map(range).collect();
        match spans.as_slice() {
            [] => format!("{before}{after}"),
            [one] if one.len() == 1 => format!("{before}{}{after}", ranges[0]),
            _ => format!("{before}[{}]{after}", ranges.join(",")),
        }
    }
}

fn range(span: &Span) -> String {
    let Span { first, last, width } = *span;
    let of = |number| written(number, width);
    match span.len() {
        1 => of(first),
        _ => format!("{}-{}", of(first), of(last)),
    }
}

fn folded<'a>(names: impl IntoIterator<Item = &'a NodeName>) -> Vec<Folded> {
    let mut alike: BTreeMap<Around, BTreeSet<(u64, usize)>> = BTreeMap::new();
    for name in names {
        let (around, digits) = split(name.as_str());
        let numbers = alike.entry(around).or_default();
        numbers.extend(number(&digits).map(|number| (number, digits.len())));
    }
    let fold = |((before, after), numbers): (Around, _)| Folded {
        before,
        spans: spans(&numbers),
        after: after.unwrap_or_default(),
    };
    alike.into_iter().map(fold).collect()
}

/// Splits a name at its last number.
fn split(name: &str) -> (Around, String) {
    let is_digit = |c: char| c.is_ascii_digit();
    let end = name.rfind(is_digit).map_or(0, |at| at + 1);
    let start = name[..end].trim_end_matches(is_digit).len();
    let digits = &name[start..end];
    if !(1..=MAX_DIGITS).contains(&digits.len()) {
        return ((name.to_owned(), None), String::new());
    }
    let around = (name[..start].to_owned(), Some(name[end..].to_owned()));
    (around, digits.to_owned())
}

/// Gathers numbers, each with its digits, to ranges.
fn spans(numbers: &BTreeSet<(u64, usize)>) -> Vec<Span> {
    let shown = |&(number, digits): &(u64, usize)| shown_width(&written(number, digits));
    let padded: BTreeSet<usize> = numbers.iter().map(shown).collect();
    let width_of = |number: &(u64, usize)| {
        let digits = number.1;
        if padded.contains(&digits) && digits > 1 {
            digits
        } else {
            0
        }
    };
    let mut spans: Vec<Span> = Vec::new();
    for number in numbers {
        let (value, width) = (number.0, width_of(number));
        let goes_on = |span: &&mut Span| {
            span.last + 1 == value && written(value, span.width) == written(value, number.1)
        };
        match spans.iter_mut().rev().find(goes_on) {
            Some(span) => span.last = value,
            None => spans.push(Span {
                first: value,
                last: value,
                width,
            }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;
    use crate::targets::Terms;

    fn named(names: &[&str]) -> BTreeSet<NodeName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn numbers_in_a_row_are_one_range() {
        let of = |names: &[&str]| compact(&named(names));

        assert_eq!(of(&["web01", "web02", "web03", "web07"]), "web[01-03,07]");
        assert_eq!(of(&["web9", "web10", "web11"]), "web[9-11]");
        assert_eq!(
            of(&["web09", "web10", "web99", "web100"]),
            "web[09-10,99-100]"
        );
        assert_eq!(of(&["web1"]), "web1");
        assert_eq!(of(&["a", "b", "b1"]), "a,b,b1");
        assert_eq!(of(&["w1", "w01", "w2", "w02"]), "w[1-2,01-02]");
        assert_eq!(of(&["r1-n01x", "r1-n02x"]), "r1-n[01-02]x");
        assert_eq!(
            of(&["x1234567890", "x1234567891"]),
            "x1234567890,x1234567891"
        );
    }

    #[test]
    fn long_lists_say_how_much_they_leave_out() {
        let names = named(&["a", "b", "w1", "w3", "w4", "w7", "z"]);

        assert_eq!(compact_cut(&names, 4), "a,b,w[1,3-4] and 2 more");
        assert_eq!(compact_cut(&names, 9), "a,b,w[1,3-4,7],z");
        assert_eq!(compact_cut(&names, 1), "a and 6 more");
    }

    proptest! {
        #[test]
        fn compact_names_expand_to_themselves(
            texts in btree_set("(w|web-|r2n)?(0{0,3})[0-9]{1,3}(x|-b3a)?|[a-c]{1,2}[0-9]?", 1..40)
        ) {
            let names: BTreeSet<NodeName> = texts
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect();
            let text = compact(&names);

            let terms: Terms = if names.is_empty() { return Ok(()) } else { text.parse().unwrap() };
            let again: Vec<NodeName> = terms
                .patterns()
                .flat_map(|pattern| pattern.expand().unwrap())
                .collect();

            prop_assert_eq!(again.len(), names.len(), "{}", text);
            prop_assert_eq!(again.into_iter().collect::<BTreeSet<_>>(), names);
        }

        #[test]
        fn ranges_come_back_as_they_were_written(
            first in 0_u64..2000, len in 1_u64..300, width in 0_usize..5
        ) {
            let width = if width > first.to_string().len() { width } else { 0 };
            let names: BTreeSet<NodeName> = (first..=first + len)
                .map(|number| format!("w{number:0width$}x").parse().unwrap())
                .collect();

            let (from, to) = (written(first, width), written(first + len, width));
            prop_assert_eq!(compact(&names), format!("w[{from}-{to}]x"));
        }
    }
}
