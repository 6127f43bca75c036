//! A connection between the parent and each rank, which ends when either of them dies.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::epoll::Epoll;
use super::{folder, record};

/// When a rank came and went, as its parent saw it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    pub(super) started: bool,
    pub(super) ended: Option<Duration>,
}

/// The parent's end of all lifelines.
pub(super) struct Lives {
    lives: Arc<Mutex<Vec<Life>>>,
    socket: PathBuf,
}

impl Lives {
    /// Waits for ranks in the background, until dropped.
    ///
    /// One thread does it for all of them. A launcher ends the other ranks within microseconds of
    /// the first, and only the kernel's own queue of events still has them in their order.
    pub(super) fn watch(folder: &Path, ranks: usize) -> io::Result<Lives> {
        let socket = folder::socket(folder);
        let listener = UnixListener::bind(&socket)?;
        let events = Epoll::new()?;
        events.add(&listener)?;
        let lives = Arc::new(Mutex::new(vec![Life::default(); ranks]));
        let shared = Arc::clone(&lives);
        thread::Builder::new()
            .name("phalanx-test".into())
            // The end of the thread on an error is seen as ranks that never ended.
            .spawn(move || drop(watch(&listener, &events, &shared)))?;
        Ok(Lives { lives, socket })
    }

    pub(super) fn now(&self) -> Vec<Life> {
        lock(&self.lives).clone()
    }

    /// Waits until every rank that came is known to have gone. They are dead when this is called;
    /// the thread that notices it may be late.
    pub(super) fn after_the_end(&self) -> Vec<Life> {
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            let lives = self.now();
            let all_gone = lives.iter().all(|life| !life.started || life.ended.is_some());
            if all_gone || Instant::now() > patience {
                return lives;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        // Failing means that the thread has ended already.
        let _ = UnixStream::connect(&self.socket)
            .and_then(|connection| writeln!(&connection, "{STOP}"));
    }
}

fn lock(lives: &Mutex<Vec<Life>>) -> MutexGuard<'_, Vec<Life>> {
    lives.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(listener: &UnixListener, events: &Epoll, lives: &Mutex<Vec<Life>>) -> io::Result<()> {
    let mut connections = HashMap::new();
    let mut lifelines = Vec::new();
    loop {
        let ready = events.next()?;
        if ready == listener.as_raw_fd() {
            let (connection, _) = listener.accept()?;
            match greeting(&connection) {
                Some(Greeting::Rank(rank)) if rank < lock(lives).len() => {
                    lock(lives)[rank].started = true;
                    events.add(&connection)?;
                    connections.insert(connection.as_raw_fd(), (connection, rank));
                }
                Some(Greeting::Lifeline) => lifelines.push(connection),
                Some(Greeting::Stop) => return Ok(()),
                // Another test that looks whether this one lives.
                _ => {}
            }
        } else if let Some((connection, rank)) = connections.remove(&ready) {
            // A rank sends nothing after its greeting, so this is its end. Closing the connection
            // takes it out of the queue.
            drop(connection);
            lock(lives)[rank].ended = Some(record::now());
        }
    }
}

/// What is said first on a connection, and all that is ever said.
enum Greeting {
    /// The connection ends when this rank does.
    Rank(usize),
    /// The connection ends when the parent does.
    Lifeline,
    /// The parent itself has no more need to know.
    Stop,
}

const LIFELINE: &str = "lifeline";
const STOP: &str = "stop";

fn greeting(connection: &UnixStream) -> Option<Greeting> {
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).ok()?;
    match line.trim() {
        LIFELINE => Some(Greeting::Lifeline),
        STOP => Some(Greeting::Stop),
        rank => Some(Greeting::Rank(rank.parse().ok()?)),
    }
}

/// Ties this rank to its parent: it is killed when the parent dies, however that happens, and when
/// its time is up and the parent has not ended it.
pub(super) fn tie(folder: &Path, rank: usize, time: Duration) -> io::Result<()> {
    let notice = UnixStream::connect(folder::socket(folder))?;
    writeln!(&notice, "{rank}")?;
    open_until_death(notice);

    // A second connection, because a thread that reads delays the end of what it reads: it must
    // itself be woken to die.
    let mut lifeline = UnixStream::connect(folder::socket(folder))?;
    writeln!(lifeline, "{LIFELINE}")?;
    lifeline.set_read_timeout(Some(time))?;
    thread::Builder::new().name("phalanx-lifeline".into()).spawn(move || {
        loop {
            match lifeline.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => die(),
            }
        }
    })?;
    Ok(())
}

/// Leaves the connection to be closed by the kernel, early among all that this process has open.
///
/// The launcher too learns of the death of a rank from a connection that is closed, and ends the
/// other ranks at once. The parent should know before. Linux closes the highest number first.
fn open_until_death(connection: UnixStream) {
    const HIGH: i32 = 900;
    // Without a high number the low one serves as well, only a little later.
    match rustix::io::fcntl_dupfd_cloexec(&connection, HIGH) {
        Ok(high) => mem::forget(high),
        Err(_) => mem::forget(connection),
    }
}

/// Ends this process at once. `exit` would run handlers that wait for other ranks.
fn die() -> ! {
    // Nothing runs after the signal.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    process::abort()
}
