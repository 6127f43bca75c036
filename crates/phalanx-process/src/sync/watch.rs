//! Who waits for whom. Processes that wait for each other in a circle are reported.
//!
//! A thread that has to wait for a lock writes down which one, where others see it; each lock knows its holder. Who
//! has waited for long follows these: the holder of the lock, the lock that the holder waits for, its holder, … A
//! circle that is the same at two looks is a deadlock: all in it waited in between.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::core::{Caller, Core};
use super::party::{Who, is_gone, me, person, place, slot_of, thread};
use super::rwlock;
use crate::arena::{Place, existing};
use crate::sys::{Deadline, image};

/// Threads of one process that are seen waiting. More wait unseen.
const SEEN: usize = 64;
/// Between the two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// A longer way than this is not followed.
const LONGEST: usize = 100;

/// The kinds of locks, by their number in a wait.
const KINDS: [&str; 5] = ["lock", "RLock", RWLOCK, "FairLock", "value"];
const RWLOCK: &str = "RwLock";

/// What a thread is about to wait for, and where.
pub struct Site {
    /// "lock", "RwLock", …
    pub what: &'static str,
    pub number: u32,
    /// Where it lies: a [`Core`] comes first in all of them.
    pub place: Place,
    pub location: Caller,
}

/// A wait, written down by the store of `core` and gone by another one.
#[repr(C, align(64))]
struct Wait {
    /// The place of the lock; 0 for no wait.
    core: AtomicU64,
    /// The process.
    who: AtomicU64,
    line: AtomicU64,
    thread: AtomicU32,
    kind: AtomicU32,
    number: AtomicU32,
}

type Waits = [Wait; SEEN];

fn waits_at(place: u64) -> Option<&'static Waits> {
    if place == 0 {
        return None;
    }
    let address = existing().address(Place(place), size_of::<Waits>()).ok()?;
    // SAFETY: a block with waits lies there for ever; it was zeroed, and is changed through atomics only.
    Some(unsafe { address.cast().as_ref() })
}

/// The waits of this process.
fn mine() -> Option<&'static Waits> {
    static MINE: OnceLock<Option<&'static Waits>> = OnceLock::new();
    *MINE.get_or_init(|| {
        let arena = existing();
        let slot = arena.process(arena.me());
        if let Some(waits) = waits_at(slot.waits.load(Ordering::Acquire)) {
            // Those of a former process of the slot.
            for wait in waits {
                wait.core.store(0, Ordering::Release);
            }
            return Some(waits);
        }
        let block = arena.take(size_of::<Waits>()).ok()?;
        let address = arena.address(block, size_of::<Waits>()).ok()?;
        // SAFETY: the block is new.
        unsafe { address.write_bytes(0, size_of::<Waits>()) };
        slot.waits.store(block.0, Ordering::Release);
        waits_at(block.0)
    })
}

/// The waits of this process that are in use, a bit each.
static USED: AtomicU64 = AtomicU64::new(0);

struct Settings {
    after: Duration,
    is_error: bool,
}

fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| Settings {
        after: std::env::var("PHALANX_WATCH_AFTER")
            .ok()
            .and_then(|text| duration(&text))
            .unwrap_or(Duration::from_secs(10)),
        is_error: std::env::var("PHALANX_WATCH").is_ok_and(|text| text.trim() == "error"),
    })
}

/// "2", "0.5", "2s", "500ms".
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * unit).ok()
}

/// A wait, seen by others for as long as it lasts.
pub struct Waiting {
    wait: Option<(usize, &'static Wait)>,
    look: Option<Instant>,
    was_reported: bool,
}

impl Waiting {
    pub fn begin(site: &Site) -> Waiting {
        let wait = mine().and_then(|waits| {
            let number = take_number()?;
            let wait = &waits[number];
            let kind = KINDS.iter().position(|kind| *kind == site.what).unwrap_or(0);
            wait.who.store(me(), Ordering::Relaxed);
            wait.line.store(image::name_of_location(site.location), Ordering::Relaxed);
            wait.thread.store(thread(), Ordering::Relaxed);
            wait.kind.store(kind as u32, Ordering::Relaxed);
            wait.number.store(site.number, Ordering::Relaxed);
            wait.core.store(site.place.0, Ordering::Release);
            Some((number, wait))
        });
        let look = Instant::now().checked_add(settings().after);
        Waiting { wait, look, was_reported: false }
    }

    /// Until when to sleep now.
    pub fn until(&self, deadline: Deadline) -> Deadline {
        let Some(look) = self.look else { return deadline };
        let before = look.saturating_duration_since(Instant::now());
        match deadline.left() {
            Some(left) if left <= before => deadline,
            _ => Deadline::after(before),
        }
    }

    /// Looks for a circle, when it is time to. The report comes back when it is to be an error.
    pub fn look(&mut self) -> Result<(), String> {
        let now = Instant::now();
        if self.look.is_none_or(|look| now < look) {
            return Ok(());
        }
        self.look = now.checked_add(settings().after.max(PAUSE));
        let Some(circle) = self.wait.filter(|_| !self.was_reported).and_then(|_| circle()) else {
            return Ok(());
        };
        // One of them speaks for all.
        if circle.iter().any(|link| link.waiter < circle[0].waiter) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
        if self::circle().as_ref() != Some(&circle) {
            return Ok(());
        }
        let report = report(&circle);
        if settings().is_error {
            return Err(report);
        }
        self.was_reported = true;
        // Where nobody reads there is nobody to tell.
        let _unread = writeln!(std::io::stderr(), "{report}");
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((number, wait)) = self.wait {
            wait.core.store(0, Ordering::Release);
            USED.fetch_and(!(1 << number), Ordering::Release);
        }
    }
}

fn take_number() -> Option<usize> {
    let free = |used: u64| (used != u64::MAX).then(|| used | (used + 1));
    let before = USED.fetch_update(Ordering::AcqRel, Ordering::Relaxed, free).ok()?;
    Some(before.trailing_ones() as usize)
}

/// A process and a thread of it.
type Thread = (Who, u32);

/// A thread, what it waits for, and who has that.
#[derive(Clone, PartialEq, Eq)]
struct Link {
    waiter: Thread,
    core: u64,
    kind: u32,
    number: u32,
    waits_at: u64,
    holder: Thread,
    held_at: u64,
}

/// What a thread waits for: once for each of those that have it.
fn links(waiter: Thread) -> Vec<Link> {
    let Some(slot) = slot_of(waiter.0) else { return Vec::new() };
    let Some(waits) = waits_at(existing().process(slot).waits.load(Ordering::Acquire)) else {
        return Vec::new();
    };
    let Some((core, wait)) = waits.iter().find_map(|wait| {
        let core = wait.core.load(Ordering::Acquire);
        let by = (wait.who.load(Ordering::Relaxed), wait.thread.load(Ordering::Relaxed));
        (core != 0 && by == waiter).then_some((core, wait))
    }) else {
        return Vec::new();
    };
    let kind = wait.kind.load(Ordering::Relaxed);
    let mut holders = Vec::new();
    if let Ok(address) = existing().address(Place(core), size_of::<Core>()) {
        // SAFETY: whoever waits has written down the place of a core. Bodies of objects stay what they are.
        holders.extend(unsafe { address.cast::<Core>().as_ref() }.holder.held());
    }
    if KINDS.get(kind as usize) == Some(&RWLOCK) {
        // SAFETY: as above, of this kind.
        if let Ok(body) = unsafe { existing().structure::<rwlock::Body>(Place(core)) } {
            holders.extend(body.readers());
        }
    }
    holders
        .into_iter()
        .filter(|held| !is_gone(held.who))
        .map(|held| Link {
            waiter,
            core,
            kind,
            number: wait.number.load(Ordering::Relaxed),
            waits_at: wait.line.load(Ordering::Relaxed),
            holder: (held.who, held.thread),
            held_at: held.line,
        })
        .collect()
}

/// A circle with this thread in it, which comes first.
fn circle() -> Option<Vec<Link>> {
    let start = (me(), thread());
    let mut seen = vec![start];
    let mut path: Vec<Link> = Vec::new();
    // For each link of the path, what else its waiter waits for.
    let mut left = vec![links(start)];
    while let Some(choices) = left.last_mut() {
        let Some(link) = choices.pop() else {
            left.pop();
            path.pop();
            continue;
        };
        let next = link.holder;
        if next == start {
            path.push(link);
            return Some(path);
        }
        if !seen.contains(&next) && seen.len() < LONGEST {
            seen.push(next);
            path.push(link);
            left.push(links(next));
        }
    }
    None
}

fn report(circle: &[Link]) -> String {
    let are_processes = circle
        .iter()
        .enumerate()
        .all(|(i, link)| circle[..i].iter().all(|other| other.waiter.0 != link.waiter.0));
    let name = |(who, thread): Thread| {
        if are_processes { person(who) } else { format!("thread {thread} of {}", person(who)) }
    };
    let what = if are_processes { "processes" } else { "threads" };
    let mut text = format!("deadlock: {} {what} wait for each other\n", circle.len());
    for link in circle {
        text += &format!(
            "  {} waits for {} {} at {}, which {} has held since {}\n",
            name(link.waiter),
            KINDS[link.kind as usize % KINDS.len()],
            link.number,
            place(link.waits_at),
            name(link.holder),
            place(link.held_at)
        );
    }
    text + "End it with lock_all, or lock in the same order everywhere."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        assert_eq!(duration("2"), Some(Duration::from_secs(2)));
        assert_eq!(duration(" 0.5 "), Some(Duration::from_millis(500)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("3 s"), Some(Duration::from_secs(3)));
        for text in ["", "soon", "-1", "1e999"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
