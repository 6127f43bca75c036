//! What the closure of `run` may return.

use std::fmt::Display;
use std::process::ExitCode;

/// The result of a rank: `()`, an [`ExitCode`], or a `Result` of these with any printable error.
pub trait Outcome {
    #[doc(hidden)]
    fn into_result(self) -> Result<ExitCode, String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<ExitCode, String> {
        Ok(ExitCode::SUCCESS)
    }
}

impl Outcome for ExitCode {
    fn into_result(self) -> Result<ExitCode, String> {
        Ok(self)
    }
}

impl<T: Outcome, E: Display> Outcome for Result<T, E> {
    fn into_result(self) -> Result<ExitCode, String> {
        match self {
            Ok(value) => value.into_result(),
            // The alternate form: error types that know their causes print them.
            Err(error) => Err(format!("{error:#}")),
        }
    }
}
