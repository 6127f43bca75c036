//! Queues that give the last item, or the one with the smallest number, first.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use phalanx_process::{LifoQueue, PriorityQueue, Process, Queue, Result};
use serde::{Deserialize, Serialize, Serializer};

#[test]
fn the_last_item_comes_first() -> Result<()> {
    let queue = LifoQueue::new()?;
    for x in 0..1000_u64 {
        queue.put(x)?;
    }
    assert_eq!(queue.len(), 1000);
    for x in (500..1000).rev() {
        assert_eq!(queue.get()?, x);
    }
    queue.put(7)?;
    assert_eq!(queue.get()?, 7);
    assert_eq!(queue.get()?, 499);
    Ok(())
}

#[test]
fn the_smallest_number_comes_first_and_equal_ones_in_their_order() -> Result<()> {
    let queue = PriorityQueue::new()?;
    let priority = |x: u64| (x.wrapping_mul(0x9e37_79b9) >> 7) as i64 % 50 - 25;
    for x in 0..3000 {
        queue.put(priority(x), x)?;
    }
    let mut expected: Vec<u64> = (0..3000).collect();
    expected.sort_by_key(|&x| priority(x));
    queue.close();
    assert_eq!(queue.iter().collect::<Vec<_>>(), expected);
    let extremes = PriorityQueue::new()?;
    for (priority, name) in [(0, 'b'), (i64::MAX, 'c'), (i64::MIN, 'a')] {
        extremes.put(priority, name)?;
    }
    assert_eq!((extremes.get()?, extremes.get()?, extremes.get()?), ('a', 'b', 'c'));
    Ok(())
}

#[test]
fn items_of_all_lengths_come_back_unchanged() -> Result<()> {
    let (stack, sorted) = (LifoQueue::new()?, PriorityQueue::new()?);
    let item = |length: usize| "x".repeat(length) + "y";
    let lengths: Vec<usize> = (0..80).chain([500, 4096, 70_000, 3 << 20]).collect();
    for _ in 0..2 {
        for &length in &lengths {
            stack.put(item(length))?;
            sorted.put(-(length as i64), item(length))?;
        }
        for &length in lengths.iter().rev() {
            assert_eq!(stack.get()?, item(length));
            assert_eq!(sorted.get()?, item(length));
        }
    }
    Ok(())
}

#[derive(Deserialize, Debug, PartialEq)]
struct Stubborn(u32);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.0 == 13 {
            return Err(serde::ser::Error::custom("not this one"));
        }
        self.0.serialize(serializer)
    }
}

#[test]
fn what_is_not_taken_comes_back() -> Result<()> {
    let queue = LifoQueue::bounded(1)?;
    assert_eq!(queue.capacity(), Some(1));
    queue.put(Stubborn(1))?;
    assert!(queue.is_full());
    let refused = queue.try_put(Stubborn(2)).unwrap_err();
    assert!(refused.error().is_full(), "{refused}");
    assert_eq!(refused.into_item(), Stubborn(2));
    let start = Instant::now();
    let refused = queue.put_timeout(Stubborn(2), Duration::from_millis(50)).unwrap_err();
    assert!(refused.error().is_timeout() && start.elapsed() >= Duration::from_millis(50));
    assert_eq!(queue.get()?, Stubborn(1));
    let refused = queue.put(Stubborn(13)).unwrap_err();
    assert!(refused.error().is_encode() && refused.to_string().contains("LIFO queue"), "{refused}");
    queue.close();
    assert!(queue.put(Stubborn(3)).unwrap_err().error().is_closed());
    assert!(queue.get().unwrap_err().is_closed());
    assert!(PriorityQueue::<u8>::bounded(0).unwrap_err().to_string().contains("priority queue"));
    Ok(())
}

#[test]
fn time_limits_are_kept_also_beside_a_waiting_one() -> Result<()> {
    let queue: PriorityQueue<u32> = PriorityQueue::new()?;
    let wait = |queue: PriorityQueue<u32>| queue.get().expect("an item comes");
    let waiter = Process::spawn(wait, queue.clone())?;
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    assert_eq!(queue.try_get()?, None);
    assert_eq!(queue.get_timeout(Duration::from_millis(60))?, None);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(60) && waited < Duration::from_secs(5), "{waited:?}");
    queue.put(0, 7)?;
    assert_eq!(waiter.join()?, 7);
    Ok(())
}

#[test]
fn closing_wakes_those_who_wait() -> Result<()> {
    let empty: LifoQueue<u32> = LifoQueue::new()?;
    let full = PriorityQueue::bounded(1)?;
    full.put(0, 1)?;
    let get = |queue: LifoQueue<u32>| queue.get().unwrap_err().is_closed();
    let put = |queue: PriorityQueue<u32>| queue.put(0, 2).unwrap_err().error().is_closed();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(Process::spawn(get, empty.clone())?);
        waiting.push(Process::spawn(put, full.clone())?);
    }
    std::thread::sleep(Duration::from_millis(200));
    empty.close();
    full.close();
    for process in waiting {
        assert!(process.join()?);
    }
    Ok(())
}

#[test]
fn join_waits_for_the_work() -> Result<()> {
    let queue = LifoQueue::new()?;
    for x in 0..5 {
        queue.put(x)?;
    }
    assert!(!queue.join_timeout(Duration::from_millis(20)));
    let work = |queue: LifoQueue<i32>| {
        while queue.try_get().expect("it is open").is_some() {
            queue.task_done().expect("it was got");
        }
    };
    let worker = Process::spawn(work, queue.clone())?;
    queue.join();
    assert_eq!(queue.unfinished(), 0);
    assert!(queue.task_done().unwrap_err().to_string().contains("more often"));
    worker.join()
}

#[test]
fn several_producers_and_consumers_lose_and_double_nothing() -> Result<()> {
    const COUNT: u64 = 4000;
    let queue: PriorityQueue<u64> = PriorityQueue::bounded(50)?;
    let got: Queue<Vec<u64>> = Queue::new()?;
    let make = |(queue, who): (PriorityQueue<u64>, u64)| {
        for x in 0..COUNT {
            queue.put((x % 7) as i64, who * COUNT + x).expect("it is open");
        }
    };
    let take = |(queue, got): (PriorityQueue<u64>, Queue<Vec<u64>>)| {
        got.put(queue.iter().collect()).expect("it is open");
    };
    let takers: Vec<_> = (0..2)
        .map(|_| Process::spawn(take, (queue.clone(), got.clone())))
        .collect::<Result<_>>()?;
    let makers: Vec<_> =
        (0..2).map(|who| Process::spawn(make, (queue.clone(), who))).collect::<Result<_>>()?;
    for maker in makers {
        maker.join()?;
    }
    queue.close();
    for taker in takers {
        taker.join()?;
    }
    let mut all: Vec<u64> = [got.get()?, got.get()?].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..2 * COUNT));
    Ok(())
}

/// Kills a producer and a consumer in each round: what a producer was told to be in the queue is got, once, but for
/// the one item that a killed consumer has just got.
#[test]
fn killed_producers_and_consumers_lose_nothing_else() -> Result<()> {
    const ROUNDS: u64 = 50;
    type Made = (PriorityQueue<u64>, LifoQueue<u64>, Queue<u64>, u64);
    type Taken = (PriorityQueue<u64>, LifoQueue<u64>, Queue<u64>);
    let (sorted, stack) = (PriorityQueue::new()?, LifoQueue::new()?);
    let (made, got): (Queue<u64>, Queue<u64>) = (Queue::new()?, Queue::new()?);
    let make = |(sorted, stack, made, round): Made| {
        for x in round * 1_000_000.. {
            let put = match x % 2 {
                0 => sorted.put((x % 11) as i64, x),
                _ => stack.put(x),
            };
            put.expect("it is open");
            made.put(x).expect("it is open");
        }
    };
    let take = |(sorted, stack, got): Taken| {
        loop {
            for x in [sorted.try_get(), stack.try_get()] {
                match x {
                    Ok(Some(x)) => got.put(x).expect("it is open"),
                    Ok(None) => std::thread::yield_now(),
                    Err(_) => {}
                }
            }
            if sorted.is_closed() && sorted.is_empty() && stack.is_empty() {
                return;
            }
        }
    };
    for round in 0..ROUNDS {
        let arguments = (sorted.clone(), stack.clone(), made.clone(), round);
        let maker = Process::spawn(make, arguments)?;
        let taker = Process::spawn(take, (sorted.clone(), stack.clone(), got.clone()))?;
        std::thread::sleep(Duration::from_micros(2000 + round * 1733 % 6000));
        let (first, second) = if round % 2 == 0 { (&maker, &taker) } else { (&taker, &maker) };
        first.kill()?;
        std::thread::sleep(Duration::from_micros(round * 91));
        second.kill()?;
        assert_eq!((maker.wait(), taker.wait()), (-9, -9));
        assert!(sorted.get_timeout(Duration::ZERO)?.is_none_or(|x| got.put(x).is_ok()));
        assert!(stack.get_timeout(Duration::ZERO)?.is_none_or(|x| got.put(x).is_ok()));
    }
    sorted.close();
    stack.close();
    let start = Instant::now();
    Process::spawn(take, (sorted.clone(), stack.clone(), got.clone()))?.join()?;
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!((sorted.len(), stack.len()), (0, 0));
    made.close();
    got.close();
    let (made, got): (HashSet<u64>, Vec<u64>) = (made.iter().collect(), got.iter().collect());
    let seen: HashSet<u64> = got.iter().copied().collect();
    assert_eq!(seen.len(), got.len(), "doubled");
    let lost = made.difference(&seen).count();
    assert!(made.len() > 100 && lost <= ROUNDS as usize, "{lost} of {} are lost", made.len());
    let unknown = seen.difference(&made).count();
    assert!(unknown <= ROUNDS as usize, "{unknown} were never acknowledged");
    Ok(())
}
