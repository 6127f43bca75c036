//! Queues between threads and processes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use phalanx_process::{Process, Queue, Result};
use serde::{Deserialize, Serialize, Serializer};

#[test]
fn items_come_in_the_order_in_which_they_were_put() -> Result<()> {
    let queue = Queue::new()?;
    for x in 0..10_000_u64 {
        queue.put(x)?;
    }
    assert_eq!(queue.len(), 10_000);
    for x in 0..10_000 {
        assert_eq!(queue.get()?, x);
    }
    assert!(queue.is_empty());
    assert_eq!(queue.try_get()?, None);
    Ok(())
}

#[test]
fn items_of_all_lengths_arrive_unchanged() -> Result<()> {
    let queue = Queue::new()?;
    let lengths = || (0..200).chain([1000, 4000, 4090, 4096, 5000, 70_000, 1 << 20, 5 << 20]);
    let item = |length: usize| -> String {
        (0..length).map(|i| char::from(b'a' + (i * 7 % 26) as u8)).collect()
    };
    for round in 0..3 {
        for length in lengths() {
            queue.put((round, item(length)))?;
        }
        for length in lengths() {
            assert_eq!(queue.get()?, (round, item(length)));
        }
    }
    Ok(())
}

fn produce((queue, who, count): (Queue<(usize, u64)>, usize, u64)) {
    for x in 0..count {
        queue.put((who, x)).expect("it is open");
    }
}

type Items = Queue<(usize, u64)>;

fn consume((from, to): (Items, Queue<Vec<(usize, u64)>>)) {
    to.put(from.iter().collect()).expect("it is open");
}

fn many(producers: usize, consumers: usize, limit: Option<usize>) -> Result<()> {
    const COUNT: u64 = 20_000;
    let queue = match limit {
        None => Queue::new()?,
        Some(limit) => Queue::bounded(limit)?,
    };
    let got = Queue::new()?;
    let takers: Vec<_> = (0..consumers)
        .map(|_| Process::spawn(consume, (queue.clone(), got.clone())))
        .collect::<Result<_>>()?;
    let makers: Vec<_> = (0..producers)
        .map(|who| Process::spawn(produce, (queue.clone(), who, COUNT)))
        .collect::<Result<_>>()?;
    for maker in makers {
        maker.join()?;
    }
    queue.close();
    let mut seen: HashMap<usize, Vec<u64>> = HashMap::new();
    for _ in 0..consumers {
        let mut last = HashMap::new();
        for (who, x) in got.get()? {
            // Each consumer sees the items of one producer in their order.
            if let Some(before) = last.insert(who, x) {
                assert!(before < x, "{before} came before {x} from {who}");
            }
            seen.entry(who).or_default().push(x);
        }
    }
    for taker in takers {
        taker.join()?;
    }
    for who in 0..producers {
        let mut items = seen.remove(&who).unwrap_or_default();
        items.sort_unstable();
        assert!(items.iter().copied().eq(0..COUNT), "items of {who} are missing or doubled");
    }
    Ok(())
}

#[test]
fn one_producer_and_one_consumer_lose_nothing() -> Result<()> {
    many(1, 1, None)
}

#[test]
fn four_producers_and_four_consumers_lose_and_double_nothing() -> Result<()> {
    many(4, 4, None)
}

#[test]
fn nor_with_a_limit_of_one_or_of_a_hundred() -> Result<()> {
    many(2, 3, Some(1))?;
    many(3, 2, Some(100))
}

#[test]
fn a_bounded_queue_is_full_and_gives_the_item_back() -> Result<()> {
    let queue = Queue::bounded(2)?;
    assert_eq!(queue.capacity(), Some(2));
    queue.put("a".to_owned())?;
    queue.put("b".to_owned())?;
    assert!(queue.is_full());
    let refused = queue.try_put("c".to_owned()).unwrap_err();
    assert!(refused.error().is_full(), "{refused}");
    let start = Instant::now();
    let refused = queue.put_timeout(refused.into_item(), Duration::from_millis(50)).unwrap_err();
    assert!(refused.error().is_timeout());
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(refused.into_item(), "c");
    assert_eq!(queue.get()?, "a");
    queue.put("d".to_owned())?;
    assert!(Queue::<u8>::bounded(0).is_err());
    Ok(())
}

#[test]
fn a_producer_waits_for_room_and_a_consumer_for_an_item() -> Result<()> {
    let queue = Queue::bounded(1)?;
    let slow = |queue: Queue<u32>| {
        std::thread::sleep(Duration::from_millis(100));
        queue.get().and_then(|first| Ok((first, queue.get()?))).expect("two items come")
    };
    let process = Process::spawn(slow, queue.clone())?;
    queue.put(1)?;
    queue.put(2)?;
    assert_eq!(process.join()?, (1, 2));
    let process = Process::spawn(slow, queue.clone())?;
    std::thread::sleep(Duration::from_millis(300));
    queue.put(3)?;
    queue.put(4)?;
    assert_eq!(process.join()?, (3, 4));
    Ok(())
}

#[test]
fn a_get_with_a_time_limit_returns_in_time_also_beside_a_waiting_one() -> Result<()> {
    let queue: Queue<u32> = Queue::new()?;
    let waiter =
        Process::spawn(|queue: Queue<u32>| queue.get().expect("an item comes"), queue.clone())?;
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    assert_eq!(queue.try_get()?, None);
    assert!(start.elapsed() < Duration::from_millis(50), "{:?}", start.elapsed());
    assert_eq!(queue.get_timeout(Duration::from_millis(60))?, None);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(60) && waited < Duration::from_secs(5), "{waited:?}");
    queue.put(7)?;
    assert_eq!(waiter.join()?, 7);
    Ok(())
}

#[test]
fn items_survive_the_process_that_has_put_them() -> Result<()> {
    let queue = Queue::new()?;
    let put = |queue: Queue<Vec<u64>>| -> () {
        queue.put((0..100_000).collect()).expect("it is open");
        std::process::abort()
    };
    let process = Process::spawn(put, queue.clone())?;
    assert_eq!(process.wait(), -6);
    assert_eq!(queue.get()?.len(), 100_000);
    Ok(())
}

#[test]
fn a_process_is_joined_while_a_hundred_megabytes_of_it_are_unread() -> Result<()> {
    let queue = Queue::new()?;
    let put = |queue: Queue<Vec<u64>>| {
        for x in 0..100 {
            queue.put(vec![x; 131_072]).expect("it is open");
        }
    };
    Process::spawn(put, queue.clone())?.join()?;
    assert_eq!(queue.len(), 100);
    for x in 0..100 {
        assert_eq!(queue.get()?[77], x);
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
fn an_item_that_cannot_be_encoded_comes_back_and_the_queue_goes_on() -> Result<()> {
    let queue = Queue::new()?;
    let refused = queue.put(Stubborn(13)).unwrap_err();
    assert!(refused.error().is_encode());
    assert!(refused.to_string().contains("not this one"), "{refused}");
    assert_eq!(refused.into_item(), Stubborn(13));
    queue.put(Stubborn(14))?;
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.get()?, Stubborn(14));
    Ok(())
}

#[test]
fn a_closed_queue_gives_what_it_holds_and_ends() -> Result<()> {
    let queue = Queue::new()?;
    queue.put(1)?;
    queue.close();
    assert!(queue.put(2).unwrap_err().error().is_closed());
    assert_eq!(queue.iter().collect::<Vec<_>>(), [1]);
    assert!(queue.get().unwrap_err().is_closed());
    assert!(queue.try_get().unwrap_err().is_closed());
    Ok(())
}

#[test]
fn closing_wakes_those_who_wait() -> Result<()> {
    let empty: Queue<u32> = Queue::new()?;
    let full = Queue::bounded(1)?;
    full.put(1)?;
    let getters: Vec<_> = (0..3)
        .map(|_| {
            Process::spawn(|queue: Queue<u32>| queue.get().unwrap_err().is_closed(), empty.clone())
        })
        .collect::<Result<_>>()?;
    let putters: Vec<_> = (0..3)
        .map(|_| {
            Process::spawn(
                |queue: Queue<u32>| queue.put(2).unwrap_err().error().is_closed(),
                full.clone(),
            )
        })
        .collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_millis(200));
    empty.close();
    full.close();
    for process in getters.into_iter().chain(putters) {
        assert!(process.join()?);
    }
    Ok(())
}

#[test]
fn queues_travel_through_queues_and_results() -> Result<()> {
    let outer: Queue<Queue<u32>> = Queue::new()?;
    let inner = Queue::new()?;
    inner.put(5)?;
    outer.put(inner)?;
    let back = Process::spawn(
        |outer: Queue<Queue<u32>>| outer.get().expect("one is there"),
        outer.clone(),
    )?
    .join()?;
    back.put(6)?;
    assert_eq!((back.get()?, back.get()?), (5, 6));
    Ok(())
}

#[test]
fn a_handle_does_not_leave_the_tree() {
    let queue: Queue<u32> = Queue::new().unwrap();
    let error = serde_json::to_string(&queue).unwrap_err().to_string();
    assert!(error.contains("processes of the same tree"), "{error}");
}

#[test]
fn join_waits_for_the_work_and_counts_too_many() -> Result<()> {
    let queue = Queue::new()?;
    for x in 0..5 {
        queue.put(x)?;
    }
    assert_eq!(queue.unfinished(), 5);
    assert!(!queue.join_timeout(Duration::from_millis(20)));
    let worker = |queue: Queue<i32>| {
        for _ in 0..5 {
            queue.get().expect("five are there");
            std::thread::sleep(Duration::from_millis(10));
            queue.task_done().expect("it was got");
        }
    };
    let process = Process::spawn(worker, queue.clone())?;
    queue.join();
    assert_eq!(queue.unfinished(), 0);
    assert!(queue.task_done().unwrap_err().to_string().contains("more often"));
    process.join()
}

/// A consumer that is killed at any moment loses the item that it has just got, at most.
#[test]
fn killed_consumers_lose_one_item_each_at_most() -> Result<()> {
    const KILLS: usize = 40;
    let queue: Queue<u64> = Queue::new()?;
    let got: Queue<u64> = Queue::new()?;
    let hand_on = |(from, to): (Queue<u64>, Queue<u64>)| {
        for x in from.iter() {
            to.put(x).expect("it is open");
        }
    };
    let mut next = 0;
    for round in 0..KILLS {
        let victim = Process::spawn(hand_on, (queue.clone(), got.clone()))?;
        let until = Instant::now() + Duration::from_millis(4 + round as u64 % 7);
        while Instant::now() < until {
            queue.put(next)?;
            next += 1;
        }
        victim.kill()?;
        assert_eq!(victim.wait(), -9);
    }
    queue.close();
    let start = Instant::now();
    Process::spawn(hand_on, (queue.clone(), got.clone()))?.join()?;
    assert!(start.elapsed() < Duration::from_secs(20));
    got.close();
    let seen: Vec<u64> = got.iter().collect();
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "doubled or out of order");
    let lost = next as usize - seen.len();
    assert!(lost <= KILLS, "{lost} of {next} are lost");
    Ok(())
}

/// What a producer was told to be in the queue is there.
#[test]
fn killed_producers_leave_what_they_have_put() -> Result<()> {
    let queue: Queue<u64> = Queue::new()?;
    let acknowledged: Queue<u64> = Queue::new()?;
    let make = |(queue, acknowledged, round): (Queue<u64>, Queue<u64>, u64)| -> () {
        for x in round * 1_000_000.. {
            queue.put(x).expect("it is open");
            acknowledged.put(x).expect("it is open");
        }
    };
    for round in 0..40 {
        let victim = Process::spawn(make, (queue.clone(), acknowledged.clone(), round))?;
        std::thread::sleep(Duration::from_millis(3 + round % 7));
        victim.kill()?;
        victim.wait();
    }
    queue.close();
    acknowledged.close();
    let (put, acknowledged): (Vec<u64>, Vec<u64>) =
        (queue.iter().collect(), acknowledged.iter().collect());
    assert!(!put.is_empty());
    assert!(put.windows(2).all(|pair| pair[0] < pair[1]));
    let put: std::collections::HashSet<_> = put.into_iter().collect();
    assert!(acknowledged.iter().all(|x| put.contains(x)));
    assert!(put.len() - acknowledged.len() <= 40);
    Ok(())
}
