//! Python's side: a process that measures what it is asked for.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/multiprocessing_peer.py");
/// The Python of the system, rather than one that was built here.
const SYSTEM: &str = "/usr/bin/python3";

/// A running `multiprocessing_peer.py`.
pub struct Peer {
    process: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What it calls itself.
    pub version: String,
}

impl Peer {
    /// Starts it.
    pub fn start(python: Option<PathBuf>) -> Result<Peer, Box<dyn Error>> {
        let python = python.unwrap_or_else(|| {
            let system = Path::new(SYSTEM);
            if system.exists() { system } else { Path::new("python3") }.to_owned()
        });
        let mut process = Command::new(&python)
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let asks = process.stdin.take();
        let answers = process.stdout.take().ok_or("no output")?;
        let mut peer =
            Peer { process, asks, answers: BufReader::new(answers), version: String::new() };
        peer.version = peer.line()?;
        Ok(peer)
    }

    /// Seconds that one of so many repetitions takes.
    pub fn measure(&mut self, what: &str, count: u64) -> Result<f64, Box<dyn Error>> {
        let asks = self.asks.as_mut().ok_or("it was told to end")?;
        writeln!(asks, "{what} {count}")?;
        asks.flush()?;
        let answer = self.line()?;
        answer.parse().map_err(|_| format!("Python says of {what}: {answer}").into())
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("Python has ended".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends when nothing can be asked any more.
        drop(self.asks.take());
        let _ended = self.process.wait();
    }
}
