//! A connection between the parent and each rank, which ends when either of them dies.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{folder, record};

/// When a rank came and went, as its parent saw it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    pub(super) process: Option<u32>,
    pub(super) ended: Option<Duration>,
}

/// The parent's end of all lifelines.
pub(super) struct Lives(Arc<Mutex<Vec<Life>>>);

impl Lives {
    /// Waits for ranks in the background, for as long as the process lives or the folder exists.
    pub(super) fn watch(folder: &Path, ranks: usize) -> io::Result<Lives> {
        let listener = UnixListener::bind(folder::socket(folder))?;
        let lives = Arc::new(Mutex::new(vec![Life::default(); ranks]));
        let shared = Arc::clone(&lives);
        thread::Builder::new()
            .name("phalanx-test".into())
            .spawn(move || {
                for connection in listener.incoming().map_while(Result::ok) {
                    let lives = Arc::clone(&shared);
                    let mut connection = BufReader::new(connection);
                    match greeting(&mut connection) {
                        Some((rank, process)) if rank < ranks => {
                            lock(&lives)[rank].process = Some(process);
                            thread::spawn(move || follow(connection, &lives, rank));
                        }
                        // The parent itself: see `drop`.
                        _ => return,
                    }
                }
            })?;
        Ok(Lives(lives))
    }

    pub(super) fn now(&self) -> Vec<Life> {
        lock(&self.0).clone()
    }

    /// Waits until every rank that came is known to have gone. They are dead when this is called;
    /// the threads that notice it may be late.
    pub(super) fn after_the_end(&self) -> Vec<Life> {
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            let lives = self.now();
            let all_gone = lives
                .iter()
                .all(|life| life.process.is_none() || life.ended.is_some());
            if all_gone || Instant::now() > patience {
                return lives;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the thread that waits for ranks.
    pub(super) fn stop(&self, folder: &Path) {
        // Failing means that it has ended already.
        let _ = UnixStream::connect(folder::socket(folder));
    }
}

fn lock(lives: &Mutex<Vec<Life>>) -> MutexGuard<'_, Vec<Life>> {
    lives.lock().unwrap_or_else(PoisonError::into_inner)
}

fn greeting(connection: &mut impl BufRead) -> Option<(usize, u32)> {
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let (rank, process) = line.trim().split_once(' ')?;
    Some((rank.parse().ok()?, process.parse().ok()?))
}

fn follow(mut connection: BufReader<UnixStream>, lives: &Mutex<Vec<Life>>, rank: usize) {
    // Nothing is ever sent: this returns when the rank is gone.
    let _ = connection.read(&mut [0]);
    lock(lives)[rank].ended = Some(record::now());
}

/// Ties this rank to its parent: it is killed when the parent dies, however that happens, and when
/// its time is up and the parent has not ended it.
pub(super) fn tie(folder: &Path, rank: usize, time: Duration) -> io::Result<()> {
    let mut connection = UnixStream::connect(folder::socket(folder))?;
    writeln!(connection, "{rank} {}", process::id())?;
    connection.set_read_timeout(Some(time))?;
    thread::Builder::new()
        .name("phalanx-lifeline".into())
        .spawn(move || {
            loop {
                match connection.read(&mut [0]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    _ => die(),
                }
            }
        })?;
    Ok(())
}

/// Ends this process at once. `exit` would run handlers that wait for other ranks.
fn die() -> ! {
    // SAFETY: the process number is our own, and nothing runs after the signal.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    process::abort()
}
