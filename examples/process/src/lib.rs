//! What the examples share: how they end, and how they wait.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The exit code of a program that has checked its own result; says what was expected where it is wrong.
#[must_use]
pub fn verdict(is_right: bool, expected: impl Display) -> ExitCode {
    if is_right {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: expected {expected}");
    ExitCode::FAILURE
}

/// Waits so many milliseconds.
pub fn sleep_ms(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// Reads a whole number in `range`, in each way people write large ones: `20000000`, `20_000_000` and `2e7`. For
/// `#[arg(value_parser = …)]`.
pub fn whole(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let text = text.replace('_', "");
        let exact = text.parse().ok();
        let written = || text.parse::<f64>().ok().filter(|n| n.fract() == 0.0 && *n >= 0.0);
        exact.or_else(|| written().map(|n| n as u64)).filter(|n| range.contains(n)).ok_or_else(
            || format!("expected a whole number from {} to {}", range.start(), range.end()),
        )
    }
}
