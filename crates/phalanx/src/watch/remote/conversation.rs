//! One question and its answer over TCP, between processes that prove to each other that they are of one job.
//!
//! Who asks sends a random number. Who listens answers with a random number of its own and a proof over both,
//! who asks with another proof and the question, who listens with the answer. Each message carries a proof over
//! itself and both numbers, so that none can be used again. There is one deadline for the whole of it: a
//! stranger who sends a byte now and then gains no time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::secret::{PROOF, Secret};
use crate::watch::statement::Seen;

#[derive(Serialize, Deserialize)]
pub(super) enum Question {
    /// Whether a rank of the node waits and has not moved.
    DoesAnyWait,
    Census,
    /// These calls never return; and why.
    Tell(Vec<(usize, u64)>, String),
    /// The job ends with this report and this exit code.
    End(String, i32),
    /// A rank has failed, says so and ends the job: nobody else need report anything.
    Fails,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Waits(bool),
    Census(Vec<(usize, u64, Seen)>),
    Done,
}

/// How long a process may take to prove that it is of this job.
pub(super) const GREETING: Duration = Duration::from_secs(1);
/// How long question and answer may take after that.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than any question or answer has.
const LONGEST: usize = 64 << 20;

const NUMBER: usize = 16;
const LISTENER: &str = "listener";
const ASKER: &str = "asker";
const QUESTION: &str = "question";
const ANSWER: &str = "answer";

/// A connection to a process of the same job.
pub(super) struct Conversation<'a> {
    stream: Timed,
    secret: &'a Secret,
    /// Both random numbers.
    numbers: [u8; 2 * NUMBER],
}

impl<'a> Conversation<'a> {
    /// Connects to who listens, and makes sure that it is of this job.
    pub fn begin(address: SocketAddr, secret: &'a Secret) -> io::Result<Self> {
        let until = Instant::now() + GREETING;
        let mut stream = Timed::new(TcpStream::connect_timeout(&address, GREETING)?, until)?;
        let mut numbers = [0; 2 * NUMBER];
        let (mine, theirs) = numbers.split_at_mut(NUMBER);
        random(mine)?;
        stream.write_all(mine)?;
        stream.read_exact(theirs)?;
        let mut proof = [0; PROOF];
        stream.read_exact(&mut proof)?;
        if !secret.proves(LISTENER, &[&numbers], &proof) {
            return Err(io::Error::other("a process of another job listens there"));
        }
        stream.write_all(&secret.proof(ASKER, &[&numbers]))?;
        stream.until = Instant::now() + PATIENCE;
        Ok(Conversation { stream, secret, numbers })
    }

    /// Makes sure that who has connected is of this job.
    pub fn accept(stream: TcpStream, secret: &'a Secret) -> io::Result<Self> {
        let mut stream = Timed::new(stream, Instant::now() + GREETING)?;
        let mut numbers = [0; 2 * NUMBER];
        let (theirs, mine) = numbers.split_at_mut(NUMBER);
        stream.read_exact(theirs)?;
        random(mine)?;
        stream.write_all(mine)?;
        stream.write_all(&secret.proof(LISTENER, &[&numbers]))?;
        let mut proof = [0; PROOF];
        stream.read_exact(&mut proof)?;
        if !secret.proves(ASKER, &[&numbers], &proof) {
            return Err(io::Error::other("a process of another job has connected"));
        }
        stream.until = Instant::now() + PATIENCE;
        Ok(Conversation { stream, secret, numbers })
    }

    pub fn ask(mut self, question: &Question) -> io::Result<Answer> {
        self.write(QUESTION, question)?;
        self.read(ANSWER)
    }

    pub fn question(&mut self) -> io::Result<Question> {
        self.read(QUESTION)
    }

    pub fn answer(mut self, answer: &Answer) -> io::Result<()> {
        self.write(ANSWER, answer)
    }

    fn write(&mut self, what_for: &str, message: &impl Serialize) -> io::Result<()> {
        let bytes =
            postcard::to_stdvec(message).map_err(|error| io::Error::other(error.to_string()))?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.stream.write_all(&length.to_le_bytes())?;
        self.stream.write_all(&bytes)?;
        self.stream.write_all(&self.secret.proof(what_for, &[&self.numbers, &bytes]))
    }

    fn read<T: for<'de> Deserialize<'de>>(&mut self, what_for: &str) -> io::Result<T> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST {
            return Err(io::Error::other("a message of the watch that is too long"));
        }
        let mut bytes = Vec::new();
        // What is announced need not come: memory is taken for what does.
        (&mut self.stream).take(length as u64).read_to_end(&mut bytes)?;
        let mut proof = [0; PROOF];
        self.stream.read_exact(&mut proof)?;
        if !self.secret.proves(what_for, &[&self.numbers, &bytes], &proof) {
            return Err(io::Error::other("a message that no process of this job has sent"));
        }
        postcard::from_bytes(&bytes).map_err(|error| io::Error::other(error.to_string()))
    }
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

/// A stream on which everything is over at the same moment, however it comes.
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Timed {
    fn new(stream: TcpStream, until: Instant) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Timed { stream, until })
    }

    fn rest(&self) -> io::Result<Option<Duration>> {
        let rest = self.until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        Ok(Some(rest))
    }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.rest()?)?;
        self.stream.read(bytes)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.rest()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
