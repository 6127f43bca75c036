//! Where ranks stand when a signal ends the program.

use super::facts::Ranks;
use super::text::{self, Table, ranks_named};
use super::wait::{self, Needs};
use crate::watch::statement::Seen;
use crate::words::count;

/// The ranks of one node, and what each of them is doing: who does the same shares a line.
pub(crate) fn standing(all: &[Seen], here: &[usize], signal: &str) -> String {
    let ranks = Ranks::new(all);
    let mut table = Table::default();
    for &rank in here {
        let lines = match wait::stated(&ranks, rank) {
            Some(wait) => text::wait(&ranks, rank, &wait, |part| part.needs != Needs::Nobody),
            None => vec![text::elsewhere(&ranks, rank)],
        };
        table.add(rank, lines);
    }
    let whose = if here.len() == ranks.len() {
        format!("the {}", count(ranks.len(), "rank"))
    } else {
        let host = here.iter().find_map(|&rank| ranks.said(rank)).map(|it| it.host.as_str());
        let place = host.map_or("of this node".to_owned(), |host| format!("on {host}"));
        format!("{} of {} {place}", ranks_named(here), ranks.len())
    };
    let verb = text::verb(here, "was", "were");
    let mut text = format!("phalanx: ended by {signal}; where {whose} {verb}:\n");
    table.write(&mut text);
    text.truncate(text.trim_end().len());
    text
}
