//! What the user wants of the watch.
//!
//! | variable | values | |
//! |---|---|---|
//! | `PHALANX_WATCH` | `on` (default), `off`, `strict` | |
//! | `PHALANX_WATCH_AFTER` | `30s`, `500ms`, `2m` | a rank that has not moved for so long is looked at |
//! | `PHALANX_WATCH_ACTION` | `abort` (default), `warn` | what follows a proved deadlock |
//! | `PHALANX_WATCH_DELAY` | a number | makes calls late by times that follow from this seed |
//! | `PHALANX_WATCH_TCP` | `on` (default), `off` | whether the watches of several nodes talk over TCP |
//! | `PHALANX_WATCH_DIR` | a folder | where ranks of nodes that cannot reach each other leave their statements |

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

const WATCH: &str = "PHALANX_WATCH";
const AFTER: &str = "PHALANX_WATCH_AFTER";
const ACTION: &str = "PHALANX_WATCH_ACTION";
const DELAY: &str = "PHALANX_WATCH_DELAY";
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
    /// After how long it is worth a word that a rank has not moved.
    pub warn_after: Duration,
    /// Whether a proved deadlock ends the job.
    pub aborts: bool,
    pub delay: Option<u64>,
    /// Whether the watches of several nodes talk over TCP.
    pub tcp: bool,
    pub directory: Option<PathBuf>,
}

impl Settings {
    /// After how long a rank that has not moved is looked at.
    pub fn after(&self) -> Duration {
        if mode() == Mode::Strict {
            AFTER_WHEN_STRICT.min(self.warn_after)
        } else {
            self.warn_after
        }
    }
}

static AGREED: AtomicU8 = AtomicU8::new(Mode::Off as u8);

/// What all ranks have agreed on.
pub(crate) fn mode() -> Mode {
    match AGREED.load(Relaxed) {
        0 => Mode::Off,
        1 => Mode::On,
        _ => Mode::Strict,
    }
}

/// Takes what all ranks have agreed on: the most that any of them asks for.
pub(crate) fn agree_on(mode: u64) {
    AGREED.store(mode.min(Mode::Strict as u64) as u8, Relaxed);
}

const AFTER_BY_DEFAULT: Duration = Duration::from_secs(30);
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
    Ok(Settings { wanted, warn_after, aborts, delay, tcp, directory })
}

/// `500ms`, `30s`, `2m`, or a number of seconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let duration =
        Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * seconds).ok()?;
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
        for (name, value) in
            [(WATCH, "maybe"), (AFTER, "soon"), (ACTION, "explode"), (DELAY, "many"), (TCP, "udp")]
        {
            let refused = read_from(&[(name, value)]).expect_err(name);
            assert!(refused.starts_with(&format!("{name}={value}: the values are ")), "{refused}");
        }
    }
}
