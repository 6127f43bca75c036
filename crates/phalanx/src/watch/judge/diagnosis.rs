//! What is to be said of a deadlock.
use super::facts::Ranks;
use super::wait::Wait;
pub(super) fn describe(
    _ranks: &Ranks<'_>,
    _waits: &[Option<Wait<'_>>],
    is_stuck: &[bool],
) -> String {
    format!("phalanx: deadlock (proved): {is_stuck:?}")
}
