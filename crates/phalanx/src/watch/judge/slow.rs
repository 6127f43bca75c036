//! What is said where nothing is proved: who waits for whom for how long. It may just be slow.

use std::collections::{BTreeMap, VecDeque};

use super::Verdict;
use super::diagnosis::mismatch;
use super::facts::Ranks;
use super::met::{self, Begun};
use super::near;
use super::race;
use super::text::{self, Table, ranks_named, verb};
use super::wait::{self, Needs, Wait};
use crate::watch::statement::{Activity, CallFacts, Kind, Party, Seen, Statement};
use crate::words::count;

pub(super) fn describe(ranks: &Ranks<'_>) -> (Verdict, String) {
    let waits: Vec<Option<Wait<'_>>> = (0..ranks.len()).map(|it| wait::stated(ranks, it)).collect();
    let case = Case { ranks, waits };
    let all = || 0..case.ranks.len();
    let ends: Vec<Option<Ends>> = all().map(|rank| case.ends(rank)).collect();
    let mut outside: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let (mut polling, mut unclear) = (Vec::new(), Vec::new());
    for (rank, ends) in ends.iter().enumerate() {
        let Some(ends) = ends.as_ref().filter(|it| !it.may_go_on) else { continue };
        for &end in &ends.outside {
            outside.entry(end).or_default().push(rank);
        }
        polling.extend(ends.polling.iter().copied());
        if ends.outside.is_empty() && ends.polling.is_empty() {
            unclear.push(rank);
        }
    }
    polling.sort_unstable();
    polling.dedup();
    if !outside.is_empty() {
        (Verdict::Outside, case.outside(&outside))
    } else if !polling.is_empty() {
        (Verdict::Polling, case.polling(&polling, &ends))
    } else if !unclear.is_empty() {
        (Verdict::Unclear, case.unclear(&unclear))
    } else {
        (Verdict::Nothing, String::new())
    }
}

struct Case<'a, 'w> {
    ranks: &'w Ranks<'a>,
    waits: Vec<Option<Wait<'a>>>,
}

/// Where it ends if one asks who waits for whom.
#[derive(Default)]
struct Ends {
    outside: Vec<usize>,
    polling: Vec<usize>,
    /// Somebody makes progress of whom this rank may be waiting.
    may_go_on: bool,
}

impl<'a> Case<'a, '_> {
    /// What a rank waits for in the end, or `None` if it does not wait.
    fn ends(&self, rank: usize) -> Option<Ends> {
        let polls = self.polls(rank);
        if self.waits[rank].is_none() && polls.is_none() {
            return None;
        }
        let mut ends = Ends::default();
        let mut known = vec![false; self.ranks.len()];
        known[rank] = true;
        if polls.is_some() {
            ends.polling.push(rank);
        }
        let mut queue = VecDeque::from([rank]);
        while let Some(at) = queue.pop_front() {
            for to in self.whom(at) {
                match self.ranks.seen(to) {
                    Some(Seen::Moving) => ends.may_go_on = true,
                    _ if std::mem::replace(&mut known[to], true) => {}
                    Some(Seen::Stopped(_) | Seen::Unknown { .. }) => ends.outside.push(to),
                    Some(Seen::Still(it)) => match it.activity {
                        Activity::Outside if self.waits[to].is_some() => queue.push_back(to),
                        Activity::Outside => ends.outside.push(to),
                        // Who waits for a poller waits for what it looks for.
                        Activity::Polling { .. } => {
                            ends.polling.push(to);
                            queue.push_back(to);
                        }
                        Activity::Inside(_) => queue.push_back(to),
                    },
                    Some(Seen::Gone { .. } | Seen::Finalized) | None => {}
                }
            }
        }
        ends.outside.sort_unstable();
        Some(ends)
    }

    fn polls(&self, rank: usize) -> Option<(u64, &'a CallFacts)> {
        match &self.ranks.statement(rank)?.activity {
            Activity::Polling { looks, at } => Some((*looks, at)),
            Activity::Inside(_) | Activity::Outside => None,
        }
    }

    /// Whom a rank waits for, as far as it is known.
    fn whom(&self, rank: usize) -> Vec<usize> {
        let mut found: Vec<usize> = match (self.polls(rank), &self.waits[rank]) {
            (Some((_, at)), _) => self.concerned(rank, at),
            (None, Some(wait)) => {
                let parts = wait.parts.iter().map(|part| part.call);
                let calls = parts.chain(wait.other_threads.iter().copied());
                calls.flat_map(|call| self.concerned(rank, call)).collect()
            }
            (None, None) => Vec::new(),
        };
        found.sort_unstable();
        found.dedup();
        found.retain(|&it| it != rank && it < self.ranks.len());
        found
    }

    fn concerned(&self, rank: usize, call: &CallFacts) -> Vec<usize> {
        let Some(comm) = self.ranks.comm(rank, call.comm) else {
            let all = 0..self.ranks.len();
            return match call.kind {
                Kind::Finalize => all.filter(|&it| !self.ranks.has_left(it)).collect(),
                _ => Vec::new(),
            };
        };
        match (call.kind, call.party) {
            (Kind::Receive | Kind::Probe, Party::Any) => comm.members().collect(),
            (Kind::Receive | Kind::Probe | Kind::Send | Kind::SyncSend, _) => {
                self.ranks.party(rank, call).into_iter().collect()
            }
            (kind, _) if kind.is_collective() && call.number > 0 => comm
                .members()
                .filter(|&it| met::has_begun(self.ranks, it, call) != Begun::Yes)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// For how long the ranks have been standing still.
    fn for_long(&self, ranks: impl IntoIterator<Item = usize>) -> String {
        let statements = ranks.into_iter().filter_map(|it| self.ranks.said(it));
        text::duration(statements.map(|it| it.still_for).max().unwrap_or(0))
    }

    fn outside(&self, outside: &BTreeMap<usize, Vec<usize>>) -> String {
        let mut waiting: Vec<usize> = outside.values().flatten().copied().collect();
        waiting.sort_unstable();
        waiting.dedup();
        let ends: Vec<usize> = outside.keys().copied().collect();
        let mut text = format!(
            "phalanx: {} of {} {} waited for {}: no deadlock is proved, something may just be slow\n",
            ranks_named(&waiting),
            self.ranks.len(),
            verb(&waiting, "has", "have"),
            self.for_long(waiting.iter().copied()),
        );
        for &rank in ends.iter().take(8) {
            let (what, _) = text::elsewhere(self.ranks, rank);
            let what = match self.ranks.seen(rank) {
                Some(Seen::Still(_)) => {
                    format!("{what} (computing, or waiting for something that is not MPI)")
                }
                _ => what,
            };
            let verb = if matches!(self.ranks.seen(rank), Some(Seen::Unknown { .. })) {
                ""
            } else {
                "is "
            };
            text::wrap(
                &mut text,
                "  ",
                &format!("waiting for a rank outside MPI: rank {rank} {verb}{what}"),
            );
            if let Some(Statement { host, pid, .. }) = self.ranks.said(rank) {
                text.push_str(&format!("    process {pid} on {host}\n"));
            }
        }
        if ends.len() > 8 {
            let more = count(ends.len() - 8, "more rank");
            text.push_str(&format!("  and for {more} outside MPI\n"));
        }
        self.looks(&waiting, &mut text);
        text.push_str("  waiting:\n");
        self.table(&waiting).write(&mut text);
        finish(text)
    }

    fn polling(&self, polling: &[usize], ends: &[Option<Ends>]) -> String {
        let mut text = format!(
            "phalanx: {} of {} {} polled in vain for {}: no deadlock is proved\n",
            ranks_named(polling),
            self.ranks.len(),
            verb(polling, "has", "have"),
            self.for_long(polling.iter().copied()),
        );
        self.looks(polling, &mut text);
        let mut others: Vec<usize> = polling.iter().flat_map(|&it| self.whom(it)).collect();
        let waiting = |it: &usize| {
            self.waits[*it].is_some() && ends[*it].as_ref().is_some_and(|it| !it.polling.is_empty())
        };
        others.extend((0..self.ranks.len()).filter(waiting));
        others.sort_unstable();
        others.dedup();
        others.retain(|it| !polling.contains(it));
        if !others.is_empty() {
            text.push_str("  the others:\n");
            self.table(&others).write(&mut text);
        }
        finish(text)
    }

    /// What some ranks look for again and again.
    fn looks(&self, ranks: &[usize], text: &mut String) {
        for (&rank, (looks, at)) in
            ranks.iter().filter_map(|it| Some((it, self.polls(*it)?))).take(8)
        {
            let what = text::call(self.ranks, rank, at);
            let sentence = format!(
                "polling without progress: rank {rank} has tested {looks} times for {what} at {}",
                at.location
            );
            text::wrap(text, "  ", &sentence);
        }
    }

    fn unclear(&self, waiting: &[usize]) -> String {
        let mut text = format!(
            "phalanx: {} of {} {} waited for {}: a deadlock is neither proved nor ruled out\n",
            ranks_named(waiting),
            self.ranks.len(),
            verb(waiting, "has", "have"),
            self.for_long(waiting.iter().copied()),
        );
        let mut said: Vec<String> = Vec::new();
        for &rank in waiting {
            self.hints(rank, &mut said);
        }
        let of = |counts: fn(&Statement) -> bool| -> Vec<usize> {
            let states = |rank: &usize| self.ranks.statement(*rank).is_some_and(counts);
            waiting.iter().copied().filter(states).collect()
        };
        let threads = of(|it| it.threads);
        if !threads.is_empty() {
            said.push(format!(
                "several threads of {} may call MPI, and any of them may end a wait: so nothing is proved",
                ranks_named(&threads)
            ));
        }
        let incomplete = of(|it| !it.complete);
        if !incomplete.is_empty() {
            said.push(format!(
                "{} {} more requests or communicators than the watch has room for: so nothing is proved",
                ranks_named(&incomplete),
                verb(&incomplete, "has", "have"),
            ));
        }
        said.iter().take(8).for_each(|it| text::wrap(&mut text, "  ", it));
        self.table(waiting).write(&mut text);
        finish(text)
    }

    /// What may be the reason, and why nothing is proved.
    fn hints(&self, rank: usize, said: &mut Vec<String>) {
        let Some(wait) = &self.waits[rank] else { return };
        let mut say = |it: String| {
            if !said.contains(&it) {
                said.push(it);
            }
        };
        for part in wait.parts.iter().filter(|it| it.call.kind.is_collective()) {
            for (_, _, difference) in met::different(self.ranks, rank, part.call) {
                let (headline, sentence, _) = mismatch(self.ranks, difference, part.call);
                say(format!("{headline}: {sentence}"));
            }
        }
        for miss in near::misses(self.ranks, rank, wait) {
            say(near::describe(self.ranks, &miss));
        }
        for race in race::races(self.ranks, rank, wait) {
            say(race::describe(&race));
        }
    }

    fn table(&self, ranks: &[usize]) -> Table {
        let mut table = Table::default();
        for &rank in ranks {
            let lines = match &self.waits[rank] {
                Some(wait) => text::wait(self.ranks, rank, wait, |it| it.needs != Needs::Nobody),
                None => vec![text::elsewhere(self.ranks, rank)],
            };
            table.add(rank, lines);
        }
        table
    }
}

fn finish(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    text
}
