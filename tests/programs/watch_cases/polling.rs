//! Loops that ask again and again for what never comes.

use std::thread;
use std::time::{Duration, Instant};

use phalanx::prelude::*;
use phalanx::{Request, RequestSet, Result};

use crate::case::{Case, Outcome, case};

/// Such a loop has no end. Here it has one, well after the watch should have spoken.
const AT_MOST: Duration = Duration::from_secs(5);

fn until_something_comes(mut look: impl FnMut() -> Result<bool>) -> Outcome {
    let start = Instant::now();
    while !look()? {
        if start.elapsed() > AT_MOST {
            return Err(format!("nothing came within {AT_MOST:?}").into());
        }
        thread::sleep(Duration::from_micros(20));
    }
    Ok(())
}

type Poll = fn(&Comm) -> Outcome;

fn receiving(world: &Comm) -> Result<Request<(Vec<i32>, Status)>> {
    world.irecv_into(vec![0], 1)
}

fn set(world: &Comm) -> Result<RequestSet<(Vec<i32>, Status)>> {
    let mut set = RequestSet::new();
    set.push(receiving(world)?);
    Ok(set)
}

const POLLS: [(&str, Poll); 7] = [
    ("test", |world| {
        let mut request = receiving(world)?;
        until_something_comes(|| Ok(request.test()?.is_some()))
    }),
    ("test-of-irecv", |world| {
        let mut request = world.irecv_at_most::<Vec<i32>>(4, 1)?;
        until_something_comes(|| Ok(request.test()?.is_some()))
    }),
    ("test-all", |world| {
        let mut set = set(world)?;
        until_something_comes(|| Ok(set.test_all()?.is_some()))
    }),
    ("test-any", |world| {
        let mut set = set(world)?;
        until_something_comes(|| Ok(set.test_any()?.is_some()))
    }),
    ("test-some", |world| {
        let mut set = set(world)?;
        until_something_comes(|| Ok(!set.test_some()?.is_empty()))
    }),
    ("try-probe", |world| {
        let mut message = None;
        until_something_comes(|| {
            message = world.try_probe(1)?;
            Ok(message.is_some())
        })?;
        message.ok_or("no message")?.recv::<i32>()?;
        Ok(())
    }),
    ("try-probe-any", |world| {
        let mut message = None;
        until_something_comes(|| {
            message = world.try_probe(any())?;
            Ok(message.is_some())
        })?;
        message.ok_or("no message")?.recv::<i32>()?;
        Ok(())
    }),
];

pub fn cases() -> Vec<Case> {
    const KEYS: &[&str] = &["polling without progress"];
    let case_of = |(name, poll): (&str, Poll)| {
        case(format!("polling-{name}"), 2, move |world, faulty| {
            if world.rank() == 0 {
                poll(world)?;
                world.send(&2, 1)?;
            } else if faulty {
                // It waits for its own turn.
                world.recv::<i32>(0)?;
                world.send(&1, 0)?;
            } else {
                world.send(&1, 0)?;
                world.recv::<i32>(0)?;
            }
            Ok(())
        })
        .explained(KEYS)
    };
    let mut cases: Vec<Case> = POLLS.into_iter().map(case_of).collect();
    cases.push(
        case("polling-ibarrier", 2, |world, faulty| {
            if world.rank() == 0 {
                let mut barrier = world.ibarrier()?;
                until_something_comes(|| Ok(barrier.test()?.is_some()))?;
                return Ok(world.send(&1, 1)?);
            }
            if !faulty {
                world.ibarrier()?.wait()?;
                world.recv::<i32>(0)?;
                return Ok(());
            }
            world.recv::<i32>(0)?;
            Ok(world.ibarrier()?.wait()?)
        })
        .explained(KEYS),
    );
    cases
}
