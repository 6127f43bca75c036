//! The table, what was missed, and all of it as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::judge::{Mode, Verdict};
use crate::run::{Outcome, watch_after};

/// Part of the faulty programs that strict mode must find, in percent.
const GOAL: usize = 95;

/// What was counted in one mode.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sum {
    pub faulty: usize,
    pub found: usize,
    pub missed: usize,
    pub wrong_explanation: usize,
    pub harmless: usize,
    pub correct: usize,
    pub false_alarms: usize,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sums {
    pub default: Sum,
    pub strict: Sum,
}

fn sum<'a>(results: impl IntoIterator<Item = &'a Outcome>, mode: Mode) -> Sum {
    let mut sum = Sum::default();
    for result in results.into_iter().filter(|result| result.mode == mode) {
        *if result.correct { &mut sum.correct } else { &mut sum.faulty } += 1;
        match result.verdict {
            Verdict::Found => sum.found += 1,
            Verdict::Missed => sum.missed += 1,
            Verdict::WrongExplanation => sum.wrong_explanation += 1,
            Verdict::Harmless => sum.harmless += 1,
            Verdict::FalseAlarm => sum.false_alarms += 1,
            Verdict::Silent => {}
        }
    }
    sum
}

pub fn sums(results: &[Outcome]) -> Sums {
    Sums { default: sum(results, Mode::Default), strict: sum(results, Mode::Strict) }
}

impl Sums {
    /// Each fault that shows explained, 95 % found in strict mode, no false alarm.
    pub fn reached(&self) -> bool {
        self.default_reached() && self.strict_reached()
    }

    fn default_reached(&self) -> bool {
        let Sum { missed, wrong_explanation, false_alarms, .. } = self.default;
        missed + wrong_explanation + false_alarms == 0
    }

    fn strict_reached(&self) -> bool {
        let Sum { faulty, found, false_alarms, .. } = self.strict;
        found * 100 >= faulty * GOAL && false_alarms == 0
    }
}

#[derive(Serialize)]
struct Everything<'a> {
    goals_reached: bool,
    #[serde(flatten)]
    sums: &'a Sums,
    rows: &'a [Outcome],
}

pub fn json(results: &[Outcome], sums: &Sums) -> String {
    let all = Everything { goals_reached: sums.reached(), sums, rows: results };
    serde_json::to_string(&all).expect("plain texts and numbers")
}

/// A table by class, and below it everything that is not as it should be.
pub fn text(results: &[Outcome], sums: &Sums, modes: &[Mode]) -> String {
    let mut text = String::new();
    let mut classes: Vec<&str> = results.iter().map(|result| result.class.as_str()).collect();
    classes.dedup();
    let heading = |mode| match mode {
        Mode::Default => "default: found harmless missed wrong alarms",
        Mode::Strict => "strict: found missed wrong alarms",
    };
    let headings: Vec<&str> = modes.iter().map(|&mode| heading(mode)).collect();
    let _ = writeln!(text, "{:<26} {:>5}  {}", "class", "cases", headings.join("  "));
    for class in classes {
        let of_class = || results.iter().filter(|result| result.class == class);
        let sum_of = |mode| sum(of_class(), mode);
        line(&mut text, class, modes, sum_of);
    }
    line(&mut text, "all", modes, |mode| sum(results, mode));

    for &mode in modes {
        let (sum, reached) = match mode {
            Mode::Default => (sums.default, sums.default_reached()),
            Mode::Strict => (sums.strict, sums.strict_reached()),
        };
        let reached = if reached { "reached" } else { "NOT reached" };
        let Sum { faulty, found, harmless, correct, false_alarms, .. } = sum;
        let _ = match mode {
            Mode::Default => writeln!(
                text,
                "default: {found} of {} faulty programs that do not run through are explained, \
                 {false_alarms} false alarms in {correct} correct ones: goal (all, 0) {reached}",
                faulty - harmless
            ),
            Mode::Strict => writeln!(
                text,
                "strict: {found} of {faulty} faulty programs are found ({} %), {false_alarms} \
                 false alarms in {correct} correct ones: goal ({GOAL} %, 0) {reached}",
                found * 100 / faulty.max(1)
            ),
        };
    }
    for result in results.iter().filter(|result| !result.verdict.is_good()) {
        explain(&mut text, result);
    }
    text
}

fn line(text: &mut String, name: &str, modes: &[Mode], sum_of: impl Fn(Mode) -> Sum) {
    let cases = modes.first().map_or(0, |&mode| sum_of(mode).faulty);
    let _ = write!(text, "{name:<26} {cases:>5}");
    for &mode in modes {
        let Sum { found, harmless, missed, wrong_explanation, false_alarms, .. } = sum_of(mode);
        // Under the words of the heading.
        let _ = match mode {
            Mode::Default => write!(
                text,
                "  {found:>14} {harmless:>8} {missed:>6} {wrong_explanation:>5} {false_alarms:>6}"
            ),
            Mode::Strict => {
                write!(text, "  {found:>13} {missed:>6} {wrong_explanation:>5} {false_alarms:>6}")
            }
        };
    }
    text.push('\n');
}

/// What was seen, what should have been, and how to see it.
fn explain(text: &mut String, result: &Outcome) {
    let what = match result.verdict {
        Verdict::FalseAlarm => "false alarm",
        Verdict::WrongExplanation => "wrong explanation",
        _ => "missed",
    };
    let how = match result.seen.exit_code {
        _ if result.seen.hung => format!("it hung for {:.0} s", result.seconds),
        Some(code) => format!("it ended with exit code {code}"),
        None => "it was ended by a signal".to_owned(),
    };
    let _ = writeln!(text, "\n{what}: {} ({}): {how}", result.name, result.class);
    if !result.expected.is_empty() {
        let _ = writeln!(text, "    expected: {}", result.expected.join(", or "));
    }
    // Launchers have much to say of a job that was ended. Where nobody else spoke, it is theirs.
    let lines = || result.seen.stderr.lines();
    let ours = lines().position(|line| line.starts_with("phalanx: "));
    for line in lines().skip(ours.unwrap_or(0)).take(if ours.is_some() { 6 } else { 20 }) {
        let _ = writeln!(text, "    | {line}");
    }
    let strict = if result.mode == Mode::Strict { "PHALANX_WATCH=strict " } else { "" };
    let seed = result.seed.map_or(String::new(), |seed| format!("PHALANX_WATCH_DELAY={seed} "));
    let twin = if result.correct { " --correct" } else { "" };
    let after = watch_after(result.correct);
    let settings = format!("{strict}{seed}PHALANX_WATCH_AFTER={after}");
    let program = format!("target/release/watch_cases {}{twin}", result.name);
    let _ = writeln!(text, "    {settings} mpirun -n {} {program}", result.ranks);
}
