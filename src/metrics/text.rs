//! The text format of Prometheus, version 0.0.4: families of samples, each with `HELP` and `TYPE`.
//!
//! Invariant: a family is written in one piece, since its samples are written by the [`Family`] that began it.

use std::fmt::{Display, Write};

use crate::ipc::scoreboard::{BOUNDS_MICROS, Histogram};

/// What kind of figure a family is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts durations by how long they were.
    Histogram,
}

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// A family whose samples are being written.
#[derive(Debug)]
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Text {
    /// Begins a family.
    pub(super) fn family(&mut self, kind: Kind, name: &'static str, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let text = &mut self.0;
        line(text, format_args!("# HELP {name} {help}"));
        line(text, format_args!("# TYPE {name} {kind}"));
        Family { text, name }
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, kind: Kind, name: &'static str, help: &str, value: impl Display) {
        self.family(kind, name, help).sample(&[], value);
    }

    /// A histogram of durations, in seconds.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str, durations: &Histogram) {
        let mut family = self.family(Kind::Histogram, name, help);
        let mut count = 0;
        for (index, bucket) in durations.buckets.iter().enumerate() {
            count += bucket;
            let bound = BOUNDS_MICROS.get(index).map(|&micros| seconds(micros.saturating_mul(1000)));
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            family.part("_bucket", &[("le", &bound)], count);
        }
        family.part("_sum", &[], seconds(durations.sum_nanos));
        family.part("_count", &[], count);
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.part("", labels, value);
    }

    fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut shown = String::new();
        for (name, value) in labels {
            shown.push(if shown.is_empty() { '{' } else { ',' });
            shown.push_str(name);
            shown.push_str("=\"");
            escape(value, &mut shown);
            shown.push('"');
        }
        if !shown.is_empty() {
            shown.push('}');
        }
        line(self.text, format_args!("{}{suffix}{shown} {value}", self.name));
    }
}

/// Nanoseconds as seconds.
#[allow(clippy::cast_precision_loss, reason = "a sum of durations is exact enough to 15 digits")]
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _infallible = writeln!(text, "{line}");
}

/// What would end a label's value is escaped.
fn escape(value: &str, shown: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => shown.push_str("\\\\"),
            '"' => shown.push_str("\\\""),
            '\n' => shown.push_str("\\n"),
            _ => shown.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_labels() {
        let mut text = Text::default();
        text.single(Kind::Counter, "a_total", "As.", 3);
        let mut family = text.family(Kind::Gauge, "b", "Bs.");
        family.sample(&[("x", "1"), ("y", "a\\b\"c\nd")], 1.5);
        assert_eq!(
            text.finish(),
            "# HELP a_total As.\n# TYPE a_total counter\na_total 3\n# HELP b Bs.\n# TYPE b gauge\n\
             b{x=\"1\",y=\"a\\\\b\\\"c\\nd\"} 1.5\n"
        );
    }

    #[test]
    fn buckets_of_a_histogram_add_up() {
        let mut durations = Histogram::default();
        (durations.buckets[0], durations.buckets[2], durations.buckets[14]) = (1, 2, 4);
        durations.sum_nanos = 41_500_000_000;
        let mut text = Text::default();
        text.histogram("c_seconds", "Cs.", &durations);
        let text = text.finish();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["# HELP c_seconds Cs.", "# TYPE c_seconds histogram"]);
        assert_eq!(lines[2], "c_seconds_bucket{le=\"0.0005\"} 1");
        assert_eq!(lines[3], "c_seconds_bucket{le=\"0.001\"} 1");
        assert_eq!(lines[4], "c_seconds_bucket{le=\"0.0025\"} 3");
        assert_eq!(lines[15], "c_seconds_bucket{le=\"10\"} 3");
        let end = ["c_seconds_bucket{le=\"+Inf\"} 7", "c_seconds_sum 41.5", "c_seconds_count 7"];
        assert_eq!(lines[16..], end);
    }
}
