//! Blocks of two or three contestants that take turns, and what is made of their times.

use std::time::{Duration, Instant};

use phalanx::prelude::*;

use crate::row::label;
use crate::statistics::Times;

/// How long to measure, and what.
pub struct Effort {
    /// How long a block takes, if one iteration does not take longer.
    block: Duration,
    /// How long all blocks of a comparison take together.
    total: Duration,
    only: String,
}

impl Effort {
    /// An effort, for the rows whose name contains a text.
    pub fn new(quick: bool, only: &str) -> Effort {
        let (block, total) = if quick { (1000, 800) } else { (1500, 5000) };
        Effort {
            block: Duration::from_micros(block),
            total: Duration::from_millis(total),
            only: only.to_owned(),
        }
    }

    /// Whether the row is asked for, by the name that the table shows.
    pub fn wants(&self, name: &str, bytes: usize) -> bool {
        label(name, bytes).contains(&self.only)
    }
}

/// What blocks have in common: memory that all contestants use in turn, so that none has the better
/// pages.
pub struct Buffers {
    pub send: Vec<f64>,
    pub recv: Vec<f64>,
}

impl Buffers {
    /// Buffers of as many numbers, whose pages have been touched.
    pub fn new(send: usize, recv: usize) -> Buffers {
        Buffers { send: vec![1.0; send], recv: vec![2.0; recv] }
    }
}

/// Does something that many times.
pub type Contestant<'a, B> = &'a mut dyn FnMut(&mut B, usize) -> phalanx::Result<()>;

/// Who decides for all ranks how often something is done, and lets them start together.
pub trait Referee {
    /// The number that rank 0 passes.
    fn agree(&self, number: usize) -> phalanx::Result<usize>;
    /// Returns when all ranks are here.
    fn gather(&self) -> phalanx::Result<()>;
}

impl Referee for Comm {
    fn agree(&self, number: usize) -> phalanx::Result<usize> {
        let mut number = number;
        self.bcast(&mut number, 0)?;
        Ok(number)
    }

    fn gather(&self) -> phalanx::Result<()> {
        self.barrier()
    }
}

/// For contestants that need no other rank.
pub struct Alone;

impl Referee for Alone {
    fn agree(&self, number: usize) -> phalanx::Result<usize> {
        Ok(number)
    }

    fn gather(&self) -> phalanx::Result<()> {
        Ok(())
    }
}

/// Lets contestants take turns. Every rank calls it; the times are those of each rank itself.
///
/// In every other round the order is the reverse, so that nobody always comes after the same one.
pub fn compete<B>(
    referee: &impl Referee,
    effort: &Effort,
    buffers: &mut B,
    contestants: &mut [Contestant<'_, B>],
) -> phalanx::Result<Vec<Times>> {
    let (iterations, time) = calibrate(referee, effort, buffers, contestants)?;
    let each = time.max(1e-9) * contestants.len() as f64;
    let rounds = ((effort.total.as_secs_f64() / each) as usize).clamp(21, 4001);
    let rounds = referee.agree(rounds)?;
    let mut times = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..rounds {
        for turn in 0..contestants.len() {
            let who = if round % 2 == 0 { turn } else { contestants.len() - 1 - turn };
            // The first messages of a block find the caches of the one before.
            contestants[who](buffers, iterations / 16)?;
            let time = timed(referee, buffers, contestants[who], iterations)?;
            times[who].push(time / iterations as f64);
        }
    }
    Ok(times)
}

/// Finds how many iterations fill a block, and how long it is then.
fn calibrate<B>(
    referee: &impl Referee,
    effort: &Effort,
    buffers: &mut B,
    contestants: &mut [Contestant<'_, B>],
) -> phalanx::Result<(usize, f64)> {
    let wanted = effort.block.as_secs_f64();
    for contestant in contestants.iter_mut() {
        contestant(buffers, 2)?;
    }
    let (_, reference) = contestants.split_first_mut().expect("there is a contestant");
    let mut iterations = 1;
    loop {
        let mut time = f64::INFINITY;
        for _ in 0..3 {
            for contestant in reference.iter_mut() {
                time = time.min(timed(referee, buffers, *contestant, iterations)?);
            }
        }
        let enough = if time >= wanted / 2.0 || iterations >= 1 << 24 {
            (iterations as f64 * wanted / time).clamp(1.0, 1e8) as usize
        } else {
            0
        };
        let enough = referee.agree(enough)?;
        if enough > 0 {
            return Ok((enough, time * enough as f64 / iterations as f64));
        }
        iterations *= 2;
    }
}

fn timed<B>(
    referee: &impl Referee,
    buffers: &mut B,
    contestant: Contestant<'_, B>,
    iterations: usize,
) -> phalanx::Result<f64> {
    referee.gather()?;
    let start = Instant::now();
    contestant(buffers, iterations)?;
    Ok(start.elapsed().as_secs_f64())
}
