//! What the user wants of the watch.
//!
//! | variable | values | |
//! |---|---|---|
//! | `PHALANX_WATCH` | `on` (default), `off`, `strict` | |
//! | `PHALANX_WATCH_AFTER` | `30s` (default), `500ms`, `2m` | after how long without progress a rank is worth a warning |
//! | `PHALANX_WATCH_ACTION` | `abort` (default), `warn` | what follows a proved deadlock |
//! | `PHALANX_WATCH_TYPES` | `on` (default in debug builds and tests), `off` | whether messages are compared with the types that they are received as |
//! | `PHALANX_WATCH_DELAY` | a number | makes calls late by times that follow from this seed |
//! | `PHALANX_WATCH_TCP` | `on` (default), `off` | whether the watches of several nodes talk over TCP |
//! | `PHALANX_WATCH_DIR` | a folder | where ranks of nodes that cannot reach each other leave their statements |
//!
//! A deadlock that is proved needs no patience: it is told after 3 seconds, or after `PHALANX_WATCH_AFTER`
//! if that is less; in strict mode after 60 ms.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::time::Duration;

const WATCH: &str = "PHALANX_WATCH";
const AFTER: &str = "PHALANX_WATCH_AFTER";
const ACTION: &str = "PHALANX_WATCH_ACTION";
const TYPES: &str = "PHALANX_WATCH_TYPES";
const DELAY: &str = "PHALANX_WATCH_DELAY";
/// Set in the ranks of a test.
const TEST: &str = "PHALANX_TEST_NAME";
const TCP: &str = "PHALANX_WATCH_TCP";
const DIRECTORY: &str = "PHALANX_WATCH_DIR";

/// How much is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Mode {
    Off = 0,
    On = 1,
    Strict = 2,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// What this rank asks for; see [`mode`] for what all have agreed on.
    pub wanted: Mode,
    /// After how long it is worth a warning that a rank has not moved.
    pub warn_after: Duration,
    /// Whether a proved deadlock ends the job.
    pub aborts: bool,
    /// Whether messages are compared with the types that they are received as, without strict mode.
    pub types: bool,
    pub delay: Option<u64>,
    /// Whether the watches of several nodes talk over TCP.
    pub tcp: bool,
    pub directory: Option<PathBuf>,
}

impl Settings {
    /// After how long a rank that has not moved is looked at, and a deadlock told.
    pub fn after(&self) -> Duration {
        self.after_in(mode())
    }

    fn after_in(&self, mode: Mode) -> Duration {
        let most = if mode == Mode::Strict { AFTER_WHEN_STRICT } else { PROVED_AFTER };
        most.min(self.warn_after)
    }
}

static AGREED: AtomicU8 = AtomicU8::new(Mode::Off as u8);
static TYPES_AGREED: AtomicBool = AtomicBool::new(false);

/// What all ranks have agreed on.
pub(crate) fn mode() -> Mode {
    match AGREED.load(Relaxed) {
        0 => Mode::Off,
        1 => Mode::On,
        _ => Mode::Strict,
    }
}

/// Takes what all ranks have agreed on, the largest of what they ask for: the most that any of them watches.
pub(crate) fn agree_on(mode: u64) {
    AGREED.store(mode.min(Mode::Strict as u64) as u8, Relaxed);
}

/// Takes what all ranks have agreed on: types are compared if all of them want it.
pub(crate) fn agree_on_types(compare: bool) {
    TYPES_AGREED.store(compare, Relaxed);
}

/// Whether all ranks compare messages with the types that they are received as.
pub(crate) fn compares_types() -> bool {
    // Without the watch nobody knows who is where.
    TYPES_AGREED.load(Relaxed) && is_wanted()
}

/// Slow ranks are common: a warning needs patience.
const AFTER_BY_DEFAULT: Duration = Duration::from_secs(30);
/// What is proved needs none. Looking for it costs something, and most waits are shorter.
const PROVED_AFTER: Duration = Duration::from_secs(3);
/// In strict mode a deadlock is an error at once: what is proved needs no long wait.
const AFTER_WHEN_STRICT: Duration = Duration::from_millis(60);

/// The settings, or what is wrong with the environment.
pub(crate) fn settings() -> Result<&'static Settings, &'static str> {
    static SETTINGS: OnceLock<Result<Settings, String>> = OnceLock::new();
    let settings = SETTINGS.get_or_init(|| read(|name| env::var(name).ok()));
    settings.as_ref().map_err(String::as_str)
}

/// Whether calls are noted for a watch.
pub(crate) fn is_wanted() -> bool {
    mode() != Mode::Off
}

fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let refuse = |name: &str, value: &str, allowed: &str| {
        Err(format!("{name}={value}: the values are {allowed}"))
    };
    let wanted = match variable(WATCH).as_deref() {
        None | Some("on") => Mode::On,
        Some("off") => Mode::Off,
        Some("strict") => Mode::Strict,
        Some(other) => return refuse(WATCH, other, "on, off and strict"),
    };
    let warn_after = match variable(AFTER) {
        Some(text) => match duration(&text) {
            Some(after) => after,
            None => return refuse(AFTER, &text, "times from 10ms, like 500ms, 30s or 2m"),
        },
        None => AFTER_BY_DEFAULT,
    };
    let aborts = match variable(ACTION).as_deref() {
        None | Some("abort") => true,
        Some("warn") => false,
        Some(other) => return refuse(ACTION, other, "abort and warn"),
    };
    let types = match variable(TYPES).as_deref() {
        // The profile of this library is mostly that of the program.
        None => cfg!(debug_assertions) || variable(TEST).is_some(),
        Some("on") => true,
        Some("off") => false,
        Some(other) => return refuse(TYPES, other, "on and off"),
    };
    let delay = match variable(DELAY) {
        None => None,
        Some(text) => match text.parse() {
            Ok(seed) => Some(seed),
            Err(_) => return refuse(DELAY, &text, "whole numbers: a seed"),
        },
    };
    let tcp = match variable(TCP).as_deref() {
        None | Some("on") => true,
        Some("off") => false,
        Some(other) => return refuse(TCP, other, "on and off"),
    };
    let directory = variable(DIRECTORY).map(PathBuf::from);
    Ok(Settings { wanted, warn_after, aborts, types, delay, tcp, directory })
}

/// `500ms`, `30s`, `2m`, or a number of seconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = if text.ends_with(|c: char| c.is_ascii_digit()) { "s" } else { "" };
    let duration = humantime::parse_duration(&format!("{text}{unit}")).ok()?;
    (duration >= Duration::from_millis(10)).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_variables_the_watch_is_on_and_patient() {
        let settings = read_from(&[]).expect("nothing is wrong");
        assert_eq!((settings.wanted, settings.warn_after), (Mode::On, Duration::from_secs(30)));
        assert!(settings.aborts && settings.delay.is_none());
    }

    #[test]
    fn a_proof_waits_for_three_seconds_or_less_and_a_warning_for_as_long_as_it_is_told() {
        for (after, proved) in [("30s", 3.0), ("3s", 3.0), ("2s", 2.0), ("100ms", 0.1)] {
            let settings = read_from(&[(AFTER, after)]).expect("nothing is wrong");
            assert_eq!(settings.after_in(Mode::On), Duration::from_secs_f64(proved), "{after}");
            assert_eq!(Some(settings.warn_after), duration(after));
            assert_eq!(settings.after_in(Mode::Strict), Duration::from_millis(60), "{after}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, wanted) in
            [("500ms", 0.5), ("30s", 30.0), ("2m", 120.0), ("1.5", 1.5), (" 1 h", 3600.0)]
        {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(wanted)), "{text}");
        }
        for text in ["", "soon", "-1s", "1ms", "nan", "10x", "infs"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_that_is_none_is_refused_by_name() {
        for (name, value) in [
            (TYPES, "yes"),
            (WATCH, "maybe"),
            (AFTER, "soon"),
            (ACTION, "explode"),
            (DELAY, "many"),
            (TCP, "udp"),
        ] {
            let refused = read_from(&[(name, value)]).expect_err(name);
            assert!(refused.starts_with(&format!("{name}={value}: the values are ")), "{refused}");
        }
    }
}
