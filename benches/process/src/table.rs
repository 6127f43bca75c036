//! The table.

use crate::rows::{Goal, Row};

/// What was measured for a row: seconds, a number for each block.
#[derive(Default)]
pub struct Figures {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Figures {
    pub fn add_ours(&mut self, seconds: f64) {
        self.ours.push(seconds);
    }

    pub fn add_theirs(&mut self, seconds: f64) {
        self.theirs.push(seconds);
    }
}

fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The rows that were printed.
pub struct Table {
    met: usize,
    compared: usize,
}

impl Table {
    pub fn new() -> Table {
        print_line(["row", "other side", "", "ours", "ratio", "goal", ""]);
        println!("{}", "─".repeat(108));
        Table { met: 0, compared: 0 }
    }

    pub fn print(&mut self, row: &Row, figures: &Figures) {
        let ours = median(&figures.ours).unwrap_or(f64::NAN);
        let goal = match row.goal {
            Goal::Faster(times) => format!("≥ {times} × as fast"),
            Goal::AtMost(part) => format!("≤ {part} of the time"),
        };
        let Some(theirs) = median(&figures.theirs) else {
            print_line([row.name, "-", row.other, &time(ours), "-", &goal, ""]);
            return;
        };
        let (ratio, met) = match row.goal {
            Goal::Faster(goal) => (theirs / ours, theirs / ours >= goal),
            Goal::AtMost(goal) => (ours / theirs, ours / theirs <= goal),
        };
        self.compared += 1;
        self.met += usize::from(met);
        let word = if met { "met" } else { "not met" };
        print_line([
            row.name,
            &time(theirs),
            row.other,
            &time(ours),
            &format!("{ratio:.2}"),
            &goal,
            word,
        ]);
    }

    pub fn summary(&self) -> String {
        format!("{} of {} goals met", self.met, self.compared)
    }
}

fn print_line(cells: [&str; 7]) {
    const WIDTHS: [usize; 7] = [38, 11, 7, 11, 9, 17, 7];
    let mut line = String::new();
    for (index, (cell, width)) in cells.into_iter().zip(WIDTHS).enumerate() {
        let padding = " ".repeat(width - cell.chars().count().min(width));
        // Words to the left, numbers to the right.
        if matches!(index, 0 | 2 | 5 | 6) {
            line += &format!("{cell}{padding} ");
        } else {
            line += &format!("{padding}{cell} ");
        }
    }
    println!("{}", line.trim_end());
}

/// A time with its unit.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s if s < 1.0 => format!("{:.3} ms", s * 1e3),
        s => format!("{s:.3} s"),
    }
}
