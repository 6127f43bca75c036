//! What is said where nothing is proved.
use super::Verdict;
use super::facts::Ranks;
use super::wait::Wait;
pub(super) fn describe(_ranks: &Ranks<'_>, _waits: &[Option<Wait<'_>>]) -> (Verdict, String) {
    (Verdict::Nothing, String::new())
}
