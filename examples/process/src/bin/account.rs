//! A race: two processes pay into an account and draw from it, with a lock and without.
//!
//! ```text
//! cargo run --release -p process-examples --bin account
//! ```
//!
//! Reading the balance and writing it are one step each. Between both the other process may do the same: then one of
//! the two changes is lost.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Barrier, Lock, Process, Result, SharedAtomic};
use process_examples::verdict;
use serde::{Deserialize, Serialize};

/// Pays in and draws the same amounts at the same time, and counts how the balance ends.
#[derive(Parser)]
#[command(name = "account", version)]
struct Args {
    /// Runs with the lock, and without
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Times that each process changes the balance in a run
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    times: u32,
}

const START: i64 = 100;

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    balance: SharedAtomic<i64>,
    lock: Option<Lock>,
    /// Where a run begins, and where it ends.
    together: Barrier,
}

fn change((account, amount, runs, times): (Account, i64, u32, u32)) {
    for _ in 0..runs {
        account.together.wait().expect("nobody died");
        for _ in 0..times {
            let _guard = account.lock.as_ref().map(|lock| lock.lock().expect("nobody died"));
            let balance = account.balance.load();
            // Now and then the system lets somebody else run at just this moment.
            if fastrand::u8(0..10) == 0 {
                std::thread::yield_now();
            }
            account.balance.store(balance + amount);
        }
        account.together.wait().expect("nobody died");
    }
}

/// How often each balance came out.
fn outcomes(lock: Option<Lock>, runs: u32, times: u32) -> Result<BTreeMap<i64, u32>> {
    let balance = SharedAtomic::new(START)?;
    let account = Account { balance, lock, together: Barrier::new(3)? };
    let processes: Vec<_> = [1, -1]
        .into_iter()
        .map(|amount| Process::spawn(change, (account.clone(), amount, runs, times)))
        .collect::<Result<_>>()?;
    let mut outcomes = BTreeMap::new();
    for _ in 0..runs {
        account.balance.store(START);
        account.together.wait()?;
        account.together.wait()?;
        *outcomes.entry(account.balance.load()).or_insert(0) += 1;
    }
    for process in processes {
        process.join()?;
    }
    Ok(outcomes)
}

fn print(title: &str, outcomes: &BTreeMap<i64, u32>) {
    println!("{title}: {} different balances", outcomes.len());
    let mut most_often: Vec<_> = outcomes.iter().collect();
    most_often.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (balance, count) in most_often.iter().take(5) {
        println!("  {balance:5}  {count:5} times");
    }
    if outcomes.len() > 5 {
        println!("  the others were rarer");
    }
}

fn main() -> Result<ExitCode> {
    let Args { runs, times } = Args::parse();
    let without = outcomes(None, runs, times)?;
    print("without the lock", &without);
    let with = outcomes(Some(Lock::new()?), runs, times)?;
    print("with the lock", &with);
    let is_right = with == BTreeMap::from([(START, runs)]) && without.values().sum::<u32>() == runs;
    Ok(verdict(is_right, format!("{START} in each of {runs} runs with the lock")))
}
