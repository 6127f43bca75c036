//! An event: some processes wait for a signal, one of them not for ever.
//!
//! ```text
//! cargo run --release -p process-examples --bin event
//! ```

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use phalanx_process::{Event, Process, Result, current};
use process_examples::{sleep_ms, verdict};

/// Starts processes that wait for an event.
#[derive(Parser)]
#[command(name = "event", version)]
struct Args {
    /// How long the event takes to come, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(200..=10_000))]
    delay: u64,
}

fn wait(ready: Event) -> bool {
    println!("{} waits", current().name());
    ready.wait();
    println!("{} goes on", current().name());
    ready.is_set()
}

fn wait_for_a_moment(ready: Event) -> bool {
    let came = ready.wait_timeout(Duration::from_millis(20));
    println!("{} did not want to wait longer; the event came: {came}", current().name());
    came
}

fn main() -> Result<ExitCode> {
    let Args { delay } = Args::parse();
    let ready = Event::new()?;
    let patient = [Process::spawn(wait, ready.clone())?, Process::spawn(wait, ready.clone())?];
    let builder = Process::builder().name("impatient");
    let came = builder.spawn(wait_for_a_moment, ready.clone())?.join()?;
    sleep_ms(delay);
    println!("main sets the event");
    ready.set();
    let mut all_went_on = true;
    for process in patient {
        all_went_on &= process.join()?;
    }
    Ok(verdict(all_went_on && !came, "two processes to go on, and one not to wait so long"))
}
