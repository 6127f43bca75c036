//! A row of the table.

use serde::{Deserialize, Serialize};

use crate::statistics::{Times, interval, median};

/// One comparison. The names of the fields are those of the JSON objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// On how many ranks.
    pub ranks: usize,
    /// Bytes of a message, or of one rank's block in a collective.
    pub bytes: usize,
    /// Our figure.
    pub ours: f64,
    /// With what it is compared.
    pub reference: String,
    /// The figure of that.
    pub reference_value: f64,
    /// Unit of both.
    pub unit: String,
    /// `ours / reference_value`.
    pub ratio: f64,
    /// What the ratio should be: at most this for times, at least this for rates.
    pub goal: f64,
    /// Whether it is.
    pub met: bool,
}

/// What a ratio should be.
#[derive(Clone, Copy)]
pub enum Goal {
    /// A time that is at most this many times the reference's.
    AtMost(f64),
    /// As before, unless the difference may be noise: met if the interval in which the true ratio
    /// lies with 95 % reaches the goal.
    AtMostWithinNoise(f64),
    /// A rate of at least this many times the reference's.
    RateAtLeast(f64),
}

/// What is to be said of a comparison besides its times.
pub struct Title<'a> {
    /// What was measured.
    pub name: &'a str,
    /// On how many ranks.
    pub ranks: usize,
    /// Bytes of a message or block.
    pub bytes: usize,
    /// How many of the things that are counted happen in one iteration: 2 messages in a round trip.
    pub per_iteration: f64,
}

/// A row from the times of two contestants, which lie in pairs.
pub fn compare(title: &Title<'_>, ours: &Times, name: &str, theirs: &Times, goal: Goal) -> Row {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    let time = |times: &Times| median(times) / title.per_iteration * 1e6;
    let rate = |times: &Times| title.per_iteration / median(times) / 1e6;
    let (ours, reference_value, unit) = match goal {
        Goal::RateAtLeast(_) => (rate(ours), rate(theirs), "M/s"),
        _ => (time(ours), time(theirs), "µs"),
    };
    let ratio = ours / reference_value;
    let (goal, met) = match goal {
        Goal::AtMost(goal) => (goal, ratio <= goal),
        Goal::AtMostWithinNoise(goal) => (goal, ratio <= goal || interval(&ratios).0 <= goal),
        Goal::RateAtLeast(goal) => (goal, ratio >= goal),
    };
    Row {
        name: title.name.to_owned(),
        ranks: title.ranks,
        bytes: title.bytes,
        ours,
        reference: name.to_owned(),
        reference_value,
        unit: unit.to_owned(),
        ratio,
        goal,
        met,
    }
}

const COLUMNS: [(&str, usize); 8] = [
    ("name", 30),
    ("ranks", 5),
    ("ours", 10),
    ("reference", 10),
    ("", 16),
    ("ratio", 6),
    ("goal", 7),
    ("met", 3),
];

/// Prints the names of the columns.
pub fn print_header() {
    print_line(&COLUMNS.map(|(name, _)| name.to_owned()));
    println!("{}", "─".repeat(COLUMNS.iter().map(|(_, width)| width + 2).sum()));
}

/// Prints rows under the header.
pub fn print(rows: &[Row]) {
    for row in rows {
        let sign = if row.is_rate() { "≥" } else { "≤" };
        print_line(&[
            label(&row.name, row.bytes),
            row.ranks.to_string(),
            format!("{} {}", significant(row.ours), row.unit),
            format!("{} {}", significant(row.reference_value), row.unit),
            row.reference.clone(),
            format!("{:.3}", row.ratio),
            format!("{sign} {:.2}", row.goal),
            if row.met { "yes" } else { "no" }.to_owned(),
        ]);
    }
}

fn print_line(cells: &[String; COLUMNS.len()]) {
    let mut line = String::new();
    for (index, (cell, (_, width))) in cells.iter().zip(COLUMNS).enumerate() {
        // Words to the left, numbers to the right.
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        let words = matches!(index, 0 | 4 | 7);
        line += &if words { format!("{cell}{padding}  ") } else { format!("{padding}{cell}  ") };
    }
    println!("{}", line.trim_end());
}

/// One sentence on the goals.
pub fn summary(rows: &[Row]) -> String {
    let missed = rows.iter().filter(|row| !row.met).count();
    match missed {
        _ if rows.is_empty() => "no row has such a name".to_owned(),
        0 => format!("all {} goals met", rows.len()),
        _ => format!("{} of {} goals met, {missed} missed", rows.len() - missed, rows.len()),
    }
}

impl Row {
    fn is_rate(&self) -> bool {
        self.unit.ends_with("/s")
    }
}

fn significant(value: f64) -> String {
    let decimals = if value >= 1000.0 {
        0
    } else if value >= 100.0 {
        1
    } else if value >= 10.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

/// The name that the table shows.
pub fn label(name: &str, bytes: usize) -> String {
    match bytes {
        0 => name.to_owned(),
        _ if bytes >= 1 << 20 => format!("{name}, {} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 => format!("{name}, {} KiB", bytes >> 10),
        _ => format!("{name}, {bytes} B"),
    }
}
