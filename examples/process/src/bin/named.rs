//! Names of processes: in messages, in errors and in `ps`.
//!
//! ```text
//! cargo run --release -p process-examples --bin named
//! ```

use std::fs;
use std::process::ExitCode;

use clap::Parser;
use phalanx_process::{Process, Result, current};
use process_examples::verdict;

/// Starts a process with a name, and one without.
#[derive(Parser)]
#[command(name = "named", version)]
struct Args {
    /// The name of the first process
    #[arg(long, value_name = "TEXT", default_value = "resizer")]
    name: String,
}

/// Its own name, and the one that `ps` shows.
fn names(_: ()) -> (String, String) {
    let seen = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    println!("{} is running; ps shows {}", current().name(), seen.trim());
    (current().name().to_owned(), seen.trim().to_owned())
}

fn main() -> Result<ExitCode> {
    let Args { name } = Args::parse();
    let named = Process::builder().name(&name).spawn(names, ())?;
    let default = Process::spawn(names, ())?;
    let default_name = default.name().to_owned();
    println!("started {} and {default_name} from {}", named.name(), current().name());

    let (own, seen) = named.join()?;
    let is_right = own == name && name.starts_with(&seen) && default.join()?.0 == default_name;
    Ok(verdict(is_right, format!("the names {name} and {default_name}")))
}
