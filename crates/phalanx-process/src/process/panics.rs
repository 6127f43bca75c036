//! What a panic was, and where: a hook notes it, because the payload knows neither.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use super::current::current;
use crate::error::Panic;

thread_local! {
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
    static CATCHING: Cell<Option<Report>> = const { Cell::new(None) };
}

/// Whether a panic is also written to standard error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Somebody may never ask how the process ended.
    Write,
    /// It is the result of a call that somebody waits for.
    Silent,
}

/// Runs a function of the user's.
pub fn catch<R>(report: Report, f: impl FnOnce() -> R) -> Result<R, Panic> {
    note_panics();
    let before = CATCHING.replace(Some(report));
    // What the function has changed is gone with its process, or is the user's to look after.
    let outcome = catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(before);
    outcome.map_err(|payload| {
        LAST.take().unwrap_or_else(|| Panic {
            message: message(payload.as_ref()),
            location: "an unknown place".to_owned(),
            backtrace: String::new(),
        })
    })
}

fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            match CATCHING.get() {
                None => before(info),
                Some(report) => {
                    let panic = noted(info);
                    if report == Report::Write {
                        let me = current();
                        let Panic { message, location, backtrace } = &panic;
                        let place = if std::env::var_os("RUST_BACKTRACE").is_some() {
                            backtrace
                        } else {
                            ""
                        };
                        let text = format!(
                            "\nprocess `{}` (pid {}) panicked at {location}:\n{message}\n{place}",
                            me.name(),
                            me.pid()
                        );
                        // Nobody reads it: the parent gets it as well.
                        let _lost = std::io::stderr().write_all(text.as_bytes());
                    }
                    LAST.replace(Some(panic));
                }
            }
        }));
    });
}

fn noted(info: &PanicHookInfo<'_>) -> Panic {
    Panic {
        message: message(info.payload()),
        location: info
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string),
        backtrace: Backtrace::force_capture().to_string(),
    }
}

fn message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not a text".to_owned())
}
