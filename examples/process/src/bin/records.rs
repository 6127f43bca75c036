//! A list of records that a parent fills, a child extends, and another child prints.
//!
//! ```text
//! cargo run --release -p process-examples --bin records
//! ```

use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{ManagedVec, Process, Result};
use process_examples::verdict;
use serde::{Deserialize, Serialize};

/// Shares a list of records among processes.
#[derive(Parser)]
#[command(name = "records", version)]
struct Args {
    /// The name of the record that a child adds
    #[arg(long, value_name = "TEXT", default_value = "Ada")]
    name: String,
    /// Its points
    #[arg(long, value_name = "N", default_value_t = 40)]
    points: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    points: u32,
}

fn add((records, new): (ManagedVec<Record>, Record)) {
    records.push(new).expect("memory for a record");
    // One step: nobody else can change the record between reading and writing.
    records.update(0, |first| first.points += 1).expect("there is a record");
}

fn print(records: ManagedVec<Record>) -> usize {
    let records = records.to_vec().expect("the records");
    for Record { name, points } in &records {
        println!("{name:10} {points:4}");
    }
    records.len()
}

fn main() -> Result<ExitCode> {
    let Args { name, points } = Args::parse();
    let record = |name: &str, points| Record { name: name.to_owned(), points };
    let records = ManagedVec::from_items([record("Grace", 10), record("Alan", 9)])?;
    Process::spawn(add, (records.clone(), record(&name, points)))?.join()?;
    let printed = Process::spawn(print, records.clone())?.join()?;

    let expected = [record("Grace", 11), record("Alan", 9), record(&name, points)];
    let is_right = printed == 3 && records.to_vec()? == expected;
    Ok(verdict(is_right, format!("{expected:?}")))
}
