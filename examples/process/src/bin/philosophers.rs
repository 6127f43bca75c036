//! The dining philosophers: how a deadlock comes about, and three cures.
//!
//! ```text
//! cargo run --release -p process-examples --bin philosophers
//! ```
//!
//! Each philosopher needs the forks to the left and to the right. When all take the left one first, all wait for the
//! right one, which a neighbour has: for ever, but for a time-out.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use phalanx_process::{Barrier, Lock, Process, Result, Semaphore, lock_all};
use process_examples::verdict;
use serde::{Deserialize, Serialize};

/// Lets philosophers eat, by four rules.
#[derive(Parser)]
#[command(name = "philosophers", version)]
struct Args {
    /// Philosophers
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=50))]
    philosophers: u32,
    /// Meals of each of them
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    meals: u32,
}

#[derive(Clone, Serialize, Deserialize)]
struct Place {
    left: Lock,
    right: Lock,
    seats: Semaphore,
    all: Barrier,
    meals: u32,
}

/// No cure. All have their left forks when they reach for the right ones, and nobody puts one down.
fn left_then_right(place: Place) -> Result<u32> {
    let _left = place.left.lock()?;
    place.all.wait()?;
    let right = place.right.lock_timeout(Duration::from_millis(100))?;
    place.all.wait()?;
    Ok(u32::from(right.is_some()))
}

/// First cure: everybody takes locks in the same order, which is what `lock_all` does.
fn in_order(place: Place) -> Result<u32> {
    for _ in 0..place.meals {
        let _forks = lock_all([&place.left, &place.right])?;
    }
    Ok(place.meals)
}

/// Second cure: one seat less than philosophers, so that one of those who sit can always eat.
fn with_a_seat(place: Place) -> Result<u32> {
    for _ in 0..place.meals {
        let _seat = place.seats.acquire()?;
        let _left = place.left.lock()?;
        let _right = place.right.lock()?;
    }
    Ok(place.meals)
}

/// Third cure: who does not get the second fork puts the first one down, and tries again.
fn try_again(place: Place) -> Result<u32> {
    for _ in 0..place.meals {
        loop {
            let left = place.left.lock()?;
            if place.right.try_lock()?.is_some() {
                break;
            }
            drop(left);
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..200)));
        }
    }
    Ok(place.meals)
}

/// Errors do not travel; their texts do.
type Rule = fn(Place) -> Result<u32, String>;

fn dine(rule: Rule, Args { philosophers, meals }: &Args) -> Result<u32> {
    let count = *philosophers as usize;
    let forks: Vec<Lock> = (0..count).map(|_| Lock::new()).collect::<Result<_>>()?;
    let (seats, all) = (Semaphore::new(count - 1)?, Barrier::new(count)?);
    let processes: Vec<_> = (0..count)
        .map(|number| {
            let (left, right) = (forks[number].clone(), forks[(number + 1) % count].clone());
            let place =
                Place { left, right, seats: seats.clone(), all: all.clone(), meals: *meals };
            Process::spawn(rule, place)
        })
        .collect::<Result<_>>()?;
    let mut eaten = 0;
    for process in processes {
        eaten += process.join()?.expect("nobody dies at this table");
    }
    Ok(eaten)
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let rules: [(&str, Rule); 4] = [
        ("left fork first", |place| left_then_right(place).map_err(|error| error.to_string())),
        ("forks in order", |place| in_order(place).map_err(|error| error.to_string())),
        ("a seat less", |place| with_a_seat(place).map_err(|error| error.to_string())),
        ("try again", |place| try_again(place).map_err(|error| error.to_string())),
    ];
    let mut eaten = Vec::new();
    for (name, rule) in rules {
        eaten.push(dine(rule, &args)?);
        println!("{name:16} {:5} meals", eaten[eaten.len() - 1]);
    }
    let all = args.philosophers * args.meals;
    Ok(verdict(eaten == [0, all, all, all], format!("0 meals, and three times {all}")))
}
