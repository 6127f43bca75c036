use super::statement::Seen;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Nothing,
    Deadlock,
    Outside,
    Polling,
    Unclear,
}
pub(crate) struct Judgement {
    pub verdict: Verdict,
    pub stuck: Vec<usize>,
    pub text: String,
}
pub(crate) fn judge(ranks: &[Seen]) -> Judgement {
    Judgement { verdict: Verdict::Unclear, stuck: vec![], text: format!("phalanx: {ranks:#?}") }
}
pub(crate) fn unreceived(tags: &[i32], sum: u64) -> Option<Vec<usize>> {
    let number = super::statement::number_of(sum) as usize;
    let last: Vec<usize> = (tags.len().checked_sub(number)?..tags.len()).collect();
    let found =
        last.iter().fold(0_u64, |s, &at| s.wrapping_add(super::statement::message(tags[at])));
    (found == sum).then_some(last)
}
