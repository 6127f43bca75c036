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
pub(crate) fn unreceived(tags: &[i32], number: usize, marks: u64) -> Option<Vec<usize>> {
    let last: Vec<usize> = (tags.len().checked_sub(number)?..tags.len()).collect();
    let sum =
        last.iter().fold(0_u64, |sum, &at| sum.wrapping_add(super::statement::tag_mark(tags[at])));
    (sum == marks).then_some(last)
}
