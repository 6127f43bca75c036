//! How it is said.

use super::facts::Ranks;
use super::wait::{Awaited, Wait};
use crate::watch::statement::{Activity, CallFacts, CommFacts, Kind, Party, Seen};
use crate::words::count;

/// How many ranks are listed one by one, and how many lines a table has.
const LISTED: usize = 30;

/// `0`, `0 and 1`, `0, 1, 4-9 and 12`.
pub(super) fn list(ranks: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &rank in ranks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => runs.push((rank, rank)),
        }
    }
    let mut names = Vec::new();
    let mut left_out = 0;
    for (first, last) in runs {
        if names.len() >= LISTED {
            left_out += last - first + 1;
        } else if last - first >= 2 {
            names.push(format!("{first}-{last}"));
        } else {
            names.extend((first..=last).map(|rank| rank.to_string()));
        }
    }
    if left_out > 0 {
        names.push(format!("{left_out} more"));
    }
    enumerate(&names)
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn enumerate(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [name] => name.clone(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

/// `rank 3`, `ranks 3 and 4`.
pub(crate) fn ranks_named(ranks: &[usize]) -> String {
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", list(ranks))
}

/// The singular or plural of a verb.
pub(super) fn verb<'t>(ranks: &[usize], one: &'t str, several: &'t str) -> &'t str {
    if ranks.len() == 1 { one } else { several }
}

/// `31 s`, `1.5 s`, `200 ms`.
pub(crate) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..10_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!("{} s", milliseconds / 1000),
    }
}

/// `8 bytes`, `1.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 14 {
        return count(bytes as usize, "byte");
    }
    let unit = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
    let value = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    let digits = if value < 10.0 { 1 } else { 0 };
    format!("{value:.digits$} {}", UNITS[unit - 1])
}

/// Ranks, and what they do and where, in one line or several.
type Line = (Vec<usize>, Vec<(String, String)>);

/// Lines of three columns, in which ranks that do the same share a line.
#[derive(Default)]
pub(super) struct Table {
    lines: Vec<Line>,
}

impl Table {
    /// What a rank does, and where: one line or several.
    pub fn add(&mut self, rank: usize, what: Vec<(String, String)>) {
        match self.lines.iter_mut().find(|(_, it)| *it == what) {
            Some((ranks, _)) if ranks.contains(&rank) => {}
            Some((ranks, _)) => ranks.push(rank),
            None => self.lines.push((vec![rank], what)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn holds(&self, rank: usize) -> bool {
        self.lines.iter().any(|(ranks, _)| ranks.contains(&rank))
    }

    pub fn write(mut self, text: &mut String) {
        for (ranks, _) in &mut self.lines {
            ranks.sort_unstable();
        }
        let left_out = self.lines.split_off(self.lines.len().min(LISTED));
        let rows: Vec<(String, &str, &str)> = self
            .lines
            .iter()
            .flat_map(|(ranks, what)| {
                what.iter().enumerate().map(|(line, (what, place))| {
                    let who = if line == 0 { ranks_named(ranks) } else { String::new() };
                    (who, what.as_str(), place.as_str())
                })
            })
            .collect();
        let width = |of: fn(&(String, &str, &str)) -> usize, most: usize| {
            rows.iter().map(of).filter(|&it| it <= most).max().unwrap_or(0)
        };
        let first = width(|row| row.0.chars().count(), 24);
        let second = width(|row| row.1.chars().count(), 64);
        for (who, what, place) in &rows {
            let line = format!("    {who:first$}  {what:second$}  {place}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let more: usize = left_out.iter().map(|(ranks, _)| ranks.len()).sum();
        if more > 0 {
            text.push_str(&format!("    and {} in other calls\n", count(more, "more rank")));
        }
    }
}

/// What a rank does, in the words of its call.
pub(super) fn call(ranks: &Ranks<'_>, rank: usize, call: &CallFacts) -> String {
    let comm = ranks.comm(rank, call.comm).map(|comm| comm.facts);
    let mut text = call.operation.clone();
    if let Some(party) = party(ranks, rank, call) {
        text.push_str(&party);
    }
    let is_message = call.kind.is_send() || matches!(call.kind, Kind::Receive | Kind::Probe);
    let is_private = comm.is_some_and(|comm| comm.private);
    if is_message && !is_private {
        match call.tag {
            Some(tag) => text.push_str(&format!(", tag {tag}")),
            None => text.push_str(", any tag"),
        }
    }
    let sends = call.kind.is_send();
    let is_object = call.operation.contains("_object");
    // Where ranks may give different lengths, these are lengths or parts of the data, not the user's data.
    let is_internal = is_object || call.operation.ends_with('v');
    let says_size = |&bytes: &u64| sends || bytes > 0 && call.kind.is_collective() && !is_internal;
    if let Some(bytes) = call.bytes.filter(says_size) {
        text.push_str(&format!(", {}", size(bytes)));
        if !call.element.is_empty() && !is_object {
            text.push_str(&format!(" of {}", call.element));
        }
    }
    if !call.reduction.is_empty() {
        text.push_str(&format!(", {}", call.reduction));
    }
    if call.comm != 0 {
        let comma = if text == call.operation { "" } else { "," };
        text.push_str(&format!("{comma} on {}", comm_name(ranks, call.comm)));
    }
    text
}

pub(super) fn comm_name(ranks: &Ranks<'_>, id: u64) -> String {
    match ranks.comm_name(id) {
        Some(name) if !name.is_empty() => format!("`{name}`"),
        _ => "a communicator without a name".to_owned(),
    }
}

/// ` from rank 3`, with a space before it.
fn party(ranks: &Ranks<'_>, rank: usize, call: &CallFacts) -> Option<String> {
    let word = match call.kind {
        Kind::Send | Kind::SyncSend | Kind::BufferedSend => "to",
        Kind::Receive | Kind::Probe => "from",
        Kind::FromRoot | Kind::ToRoot | Kind::Steps => "with root",
        _ => return None,
    };
    let name = match call.party {
        Party::None => return None,
        Party::Null => "the null process".to_owned(),
        Party::Any => "any rank".to_owned(),
        Party::Rank(peer) => {
            let name = peer_name(ranks, rank, call, peer);
            if word == "with root" { name.replacen("rank ", "", 1) } else { name }
        }
    };
    Some(format!(" {word} {name}"))
}

/// `rank 2`, or `rank 2 (rank 0 of `rows`)` where the communicator has its own numbers.
fn peer_name(ranks: &Ranks<'_>, rank: usize, call: &CallFacts, peer: u32) -> String {
    let Some(comm) = ranks.comm(rank, call.comm) else { return format!("rank {peer} of it") };
    let Some(world) = comm.world_rank(peer) else { return format!("rank {peer} of it") };
    if is_like_world(comm.facts) {
        format!("rank {world}")
    } else {
        format!("rank {world} (rank {peer} of `{}`)", comm.facts.name)
    }
}

/// Whether the ranks are numbered as in the world.
fn is_like_world(comm: &CommFacts) -> bool {
    comm.members.iter().enumerate().all(|(rank, &world)| rank == world as usize)
}

/// What a rank waits for: the call, and under it the requests that count.
pub(super) fn wait(
    ranks: &Ranks<'_>,
    rank: usize,
    wait: &Wait<'_>,
    counts: impl Fn(&Awaited<'_>) -> bool,
) -> Vec<(String, String)> {
    let mut lines = vec![(call(ranks, rank, wait.call), wait.call.location.clone())];
    let is_wait = matches!(wait.call.kind, Kind::WaitAll | Kind::WaitAny);
    let some: Vec<_> = wait.parts.iter().filter(|part| is_wait && counts(part)).collect();
    for part in some.iter().take(4) {
        let place = if part.call.location == wait.call.location { "" } else { &part.call.location };
        lines.push((format!("  for {}", call(ranks, rank, part.call)), place.to_owned()));
    }
    if some.len() > 4 {
        lines.push((format!("  and for {} more", some.len() - 4), String::new()));
    }
    for it in wait.other_threads.iter().take(8) {
        let line = (call(ranks, rank, it), it.location.clone());
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if wait.other_threads.len() > 8 {
        let more = count(wait.other_threads.len() - 8, "more thread");
        lines.push((format!("  and {more}"), String::new()));
    }
    lines
}

/// What a rank does that does not wait for ever: it is gone, or somewhere else.
pub(super) fn elsewhere(ranks: &Ranks<'_>, rank: usize) -> (String, String) {
    let last = |place: &dyn Fn(&CallFacts) -> String| {
        let before = ranks.said(rank).and_then(|it| it.history.last());
        before.map_or_else(|| "its start".to_owned(), place)
    };
    let since = |call: &CallFacts| format!("{} at {}", call.operation, call.location);
    match ranks.seen(rank) {
        Some(Seen::Gone { how, last: statement }) => {
            let what = match statement.as_ref().and_then(|it| it.failure.as_ref()) {
                Some(failure) => format!("gone: {failure} ({how})"),
                None => format!("gone: {how}"),
            };
            (what, String::new())
        }
        Some(Seen::Finalized) => ("has finalized MPI".to_owned(), String::new()),
        Some(Seen::Moving) => ("making progress".to_owned(), String::new()),
        Some(Seen::Stopped(_)) => {
            (format!("stopped by a signal, since {}", last(&since)), String::new())
        }
        Some(Seen::Unknown { why }) => (format!("cannot be seen: {why}"), String::new()),
        Some(Seen::Still(statement)) => match &statement.activity {
            Activity::Inside(it) => (call(ranks, rank, it), it.location.clone()),
            Activity::Polling { at, .. } => {
                (format!("polls for {}", call(ranks, rank, at)), at.location.clone())
            }
            Activity::Outside => {
                (format!("in the program's own code since {}", last(&since)), String::new())
            }
        },
        None => ("no rank of the world".to_owned(), String::new()),
    }
}

/// A paragraph whose further lines are indented below the first. A no-break space is printed as a space.
pub(super) fn wrap(text: &mut String, indent: &str, paragraph: &str) {
    const WIDTH: usize = 100;
    let mut line = indent.to_owned();
    let mut is_empty = true;
    for word in paragraph.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}  ");
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(&word.replace('\u{a0}', " "));
        is_empty = false;
    }
    text.push_str(&line);
    text.push('\n');
}
