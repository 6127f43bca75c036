//! The kernel of the example `pi`, as it stands there, on one core.

use std::hint::black_box;

use multiversion::multiversion;

use crate::measure::{Alone, Effort, compete};
use crate::reference;
use crate::row::{Goal, Row, Title, compare};

mod kernel {
    use super::multiversion;
    use std::ops::Range;

    include!(concat!(env!("OUT_DIR"), "/pi_kernel.rs"));

    /// The mean of 4/(1+x²), and the lower half of the sum that it comes from.
    pub fn pi(steps: u64) -> (f64, u64) {
        let total = sum(0..steps, 1.0 / steps as f64);
        (mean(total, steps), total as u64)
    }
}

const NAME: &str = "pi, 100 000 steps";
const STEPS: u64 = 100_000;

pub fn rows(effort: &Effort) -> Vec<Row> {
    if !effort.wants(NAME, 0) {
        return Vec::new();
    }
    let width = 1.0 / STEPS as f64;
    let steps = || black_box(STEPS);
    let mut ours = |results: &mut (f64, u64), times: usize| {
        for _ in 0..times {
            *results = black_box(kernel::pi(steps()));
        }
        Ok(())
    };
    let mut textbook = |_: &mut (f64, u64), times: usize| {
        for _ in 0..times {
            black_box(reference::c_pi_textbook(0, steps(), width));
        }
        Ok(())
    };
    let mut exact = |_: &mut (f64, u64), times: usize| {
        for _ in 0..times {
            black_box(reference::c_pi_exact(0, steps(), width));
        }
        Ok(())
    };
    let mut results = (0.0, 0_u64);
    let contestants = &mut [&mut ours as _, &mut textbook as _, &mut exact as _];
    let times = compete(&Alone, effort, &mut results, contestants).expect("no rank can fail");
    assert_eq!(results.1, reference::c_pi_exact(0, STEPS, width), "the loops differ");
    assert!((results.0 - reference::c_pi_textbook(0, STEPS, width) * width).abs() < 1e-9);
    let title = Title { name: NAME, ranks: 1, bytes: 0, per_iteration: 1.0 };
    vec![
        compare(&title, &times[0], "C", &times[1], Goal::AtMostWithinNoise(1.0)),
        compare(&title, &times[0], "C, exact sum", &times[2], Goal::AtMostWithinNoise(1.0)),
    ]
}
