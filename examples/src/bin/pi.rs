//! π as the area under 4/(1+x²) between 0 and 1, shared among all ranks.
//!
//! ```text
//! mpirun -n 4 target/release/pi
//! mpirun -n 4 target/release/pi --steps 1e9 --json
//! ```
//!
//! The digits do not depend on the number of ranks, nor on the processor: the sum is exact (see
//! [`sum`]), so it does not matter who adds what, or in which order.

use std::{f64::consts::PI, ops::Range, process::ExitCode};

use clap::Parser;
use multiversion::multiversion;
use phalanx::prelude::*;
use serde::Serialize;

/// Computes π on all ranks of an MPI job, with the midpoint rule for 4/(1+x²).
#[derive(Parser)]
#[command(
    name = "pi",
    version,
    after_help = "Examples:
  mpirun -n 4 pi                           four ranks, a line for people
  mpirun -n 4 pi --steps 1_000_000_000     more steps
  mpirun -n 4 pi --steps 2e7 --json        one JSON object, for scripts"
)]
struct Args {
    /// Slices to cut the area into, from 1 to 1e12; from 2e7 on the error is below 1e-15
    #[arg(
        long,
        value_name = "N",
        default_value = "1e8",
        allow_negative_numbers = true,
        value_parser = examples::whole(1..=1_000_000_000_000)
    )]
    steps: u64,
    /// Print a JSON object: pi, error, steps, ranks, seconds
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    pi: f64,
    error: f64,
    steps: u64,
    ranks: u64,
    seconds: f64,
}

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<ExitCode> {
    let Args { steps, json } = match examples::arguments(&world) {
        Ok(args) => args,
        Err(code) => return Ok(code),
    };
    let ranks = world.size() as u64;

    world.barrier()?;
    let start = phalanx::wtime();
    let part = world.block_range(steps as usize);
    let mine = sum(part.start as u64..part.end as u64, 1.0 / steps as f64);
    // A closure, because MPI itself adds no integers of 128 bits.
    if let Some(total) = world.reduce(&mine, op(|a: u128, b| a + b).commutative(), 0)? {
        let pi = mean(total, steps);
        let seconds = phalanx::wtime() - start;
        let error = (pi - PI).abs();
        if json {
            let report = Report { pi, error, steps, ranks, seconds };
            println!("{}", serde_json::to_string(&report).expect("plain numbers"));
        } else {
            println!(
                "pi = {pi} (error {error:.1e}, {steps} steps on {} in {seconds:.3} s)",
                examples::count(world.size(), "rank")
            );
        }
        let allowed = 1.0 / (12.0 * (steps as f64).powi(2)) + 1e-15;
        assert!(error <= allowed, "{pi} is not π");
    }
    Ok(ExitCode::SUCCESS)
}

const TWO: u64 = 2f64.to_bits();

/// Adds up 4/(1+x²) at the midpoints of `steps`, each `width` wide; the additions round nothing.
///
/// Each value lies in [2, 4], where floats are evenly spaced: as bits they are consecutive
/// integers. So we add integers, namely the number of spacings by which a value exceeds 2.
#[multiversion(targets = "simd")]
fn sum(steps: Range<u64>, width: f64) -> u128 {
    let mut total = 0;
    for first in steps.clone().step_by(1024) {
        let mut block = 0; // at most 1024 · 2⁵²: 64 bits, because that is what vector units add
        for i in 0..1024.min(steps.end - first) as i32 {
            let x = (first as f64 + 0.5 + f64::from(i)) * width;
            block += (4.0 / (1.0 + x * x)).to_bits() - TWO;
        }
        total += u128::from(block);
    }
    total
}

/// The mean of values that were added up by [`sum`], rounded once: it is the area.
fn mean(sum: u128, steps: u64) -> f64 {
    let steps = u128::from(steps);
    f64::from_bits(TWO + ((sum + steps / 2) / steps) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pi(steps: u64, ranks: u64) -> f64 {
        let share = |rank| steps * rank / ranks..steps * (rank + 1) / ranks;
        mean((0..ranks).map(|rank| sum(share(rank), 1.0 / steps as f64)).sum(), steps)
    }

    #[test]
    fn all_digits_from_twenty_million_steps_on() {
        let slow = if cfg!(debug_assertions) { &[][..] } else { &[99_999_999, 1_000_000_000] };
        for steps in [20_000_000, 20_000_001, 23_456_789].iter().chain(slow) {
            let ulps = pi(*steps, 1).to_bits().abs_diff(PI.to_bits());
            assert!(ulps <= 2, "{ulps} ulp at {steps} steps");
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_ranks() {
        for steps in [1, 2, 5, 1023, 1024, 1_000_003] {
            let alone = pi(steps, 1).to_bits();
            for ranks in [2, 3, 4, 7, 64] {
                assert_eq!(pi(steps, ranks).to_bits(), alone, "{steps} steps on {ranks} ranks");
            }
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_vector_units() {
        for steps in [1, 1024, 100_003] {
            let width = 1.0 / steps as f64;
            let scalar = (0..steps).map(|i| {
                let x = std::hint::black_box((i as f64 + 0.5) * width);
                u128::from((4.0 / (1.0 + x * x)).to_bits() - TWO)
            });
            assert_eq!(sum(0..steps, width), scalar.sum());
        }
    }
}
