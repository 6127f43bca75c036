//! The last rank writes over all of the memory that the ranks of its node share, as a wild pointer may, while the
//! others wait for it. `board.rs` starts it with what is written and how the job ends.

use std::env;
use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use phalanx::prelude::*;

/// For how long the memory is written over again and again.
const WRITES_FOR: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let value = arguments.next().expect("a value");
    let value = u64::from_str_radix(&value, 16).expect("a number of base 16");
    let end = arguments.next().expect("an end");
    phalanx::run(|world| -> phalanx::Result<()> {
        let (rank, size) = (world.rank(), world.size());
        if rank == size - 1 {
            write_over_all_shared_memory(value);
            for other in 0..size - 1 {
                world.send(&[other as u64], other)?;
            }
        } else {
            assert_eq!(world.recv::<u64>(size - 1)?, rank as u64);
        }
        assert_eq!(world.allreduce(&1_u64, Sum)?, size as u64);
        match end.as_str() {
            "success" => {}
            "panic" => {
                assert!(rank != 0, "the first rank fails afterwards");
                world.barrier()?;
            }
            "deadlock" => {
                // Everybody has forgotten to send.
                world.recv::<u64>((rank + 1) % size)?;
            }
            other => panic!("there is no end {other}"),
        }
        Ok(())
    })
}

fn write_over_all_shared_memory(value: u64) {
    let maps = fs::read_to_string("/proc/self/maps").expect("the system tells what is mapped");
    let board = maps.lines().find(|line| line.contains("/phalanx-") && line.contains(" rw-s "));
    let range = board.and_then(|line| line.split_whitespace().next()).expect("there is a board");
    let (start, end) = range.split_once('-').expect("a range");
    let address = |text| usize::from_str_radix(text, 16).expect("an address");
    let (start, end) = (address(start), address(end));
    let until = Instant::now() + WRITES_FOR;
    while Instant::now() < until {
        for word in (start..end).step_by(8) {
            // SAFETY: the memory is mapped, and is read as numbers alone that any process may write.
            unsafe { (word as *mut u64).write_volatile(value) };
        }
        thread::sleep(Duration::from_millis(20));
    }
    println!("written over: {} bytes", end - start);
}
