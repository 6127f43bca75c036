//! The ranks of other nodes: asked over TCP, and only when somebody waits.
//!
//! Each process has a *doorbell*, a socket that listens; where they are was told at start. Who wants to
//! know how the ranks of a node are connects to one of its processes, which reads the board of its node
//! and answers. Where no process of a node can be reached, its ranks are looked for in files: each node
//! that misses another one leaves a file for each of its ranks in the folder that all may see, if the user
//! has named one. In no other: a job that is killed leaves its files behind.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bincode::config;
use serde::{Deserialize, Serialize};

use super::census::{self, Look};
use super::inspector::tell;
use super::settings::Settings;
use super::statement::Seen;
use super::tick;
use crate::board::{Board, Slot, board};
use crate::host;

/// Where the watch of a rank can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub node: u32,
    pub port: u16,
    pub hosts: Vec<IpAddr>,
    /// That of rank 0 is the word by which the processes of this job know each other.
    pub word: u128,
}

/// A socket at which the watches of other nodes ring.
pub(crate) struct Doorbell {
    listener: TcpListener,
    word: u128,
}

impl Doorbell {
    /// Listens on a port that the system chooses.
    pub fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        Ok(Doorbell { listener, word: 0 })
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |address| address.port())
    }

    /// Answers only who knows this word.
    pub fn with_word(self, word: u128) -> Self {
        Doorbell { word, ..self }
    }

    /// Answers in a thread of its own, until the result is dropped.
    pub(super) fn answer(self, board: &'static Board) -> Answering {
        let ended = Arc::new(AtomicBool::new(false));
        let its_end = Arc::clone(&ended);
        let port = self.port();
        let thread = thread::Builder::new()
            .name("phalanx-watch-tcp".to_owned())
            .stack_size(1 << 20)
            .spawn(move || {
                for stream in self.listener.incoming() {
                    if its_end.load(Ordering::Acquire) {
                        return;
                    }
                    // A guest who breaks off hears nothing: it is told nothing either.
                    let _ = stream.and_then(|stream| serve(stream, self.word, board));
                }
            })
            .ok();
        Answering { ended, port, thread }
    }
}

/// The thread that answers.
pub(super) struct Answering {
    ended: Arc<AtomicBool>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // It looks at the flag when somebody rings.
        let me = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let rung = TcpStream::connect_timeout(&me, PATIENCE).is_ok();
        if let Some(thread) = self.thread.take()
            && rung
        {
            // A panic of it has been printed; there is nothing to give back.
            let _ = thread.join();
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Question {
    /// Whether a rank of the node waits and has not moved.
    DoesAnyWait,
    Census,
    /// These calls never return; and why.
    Tell(Vec<(usize, u64)>, String),
    /// The job ends with this report and this exit code.
    End(String, i32),
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Waits(bool),
    Census(Vec<(usize, u64, Seen)>),
    Done,
}

/// How long another node may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than any question or answer has.
const LONGEST: usize = 64 << 20;

fn serve(mut stream: TcpStream, word: u128, board: &Board) -> io::Result<()> {
    set_patience(&stream)?;
    let mut theirs = [0; 16];
    stream.read_exact(&mut theirs)?;
    if u128::from_le_bytes(theirs) != word {
        return Ok(());
    }
    let answer = match read(&mut stream)? {
        Question::DoesAnyWait => Answer::Waits(any_waits(board)),
        Question::Census => {
            let looks = census::of_node(board).into_iter();
            Answer::Census(looks.map(|look| (look.rank, look.sequence, look.seen)).collect())
        }
        Question::Tell(stuck, report) => {
            tell(board, &stuck, &report);
            Answer::Done
        }
        Question::End(report, code) => {
            board.header.give_up_claim();
            board.header.verdict.write(report.as_bytes());
            board.header.ending.store(code as u32, Ordering::Release);
            Answer::Done
        }
    };
    write(&mut stream, &answer)
}

fn any_waits(board: &Board) -> bool {
    board.slots.iter().any(Slot::waits)
}

fn set_patience(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn write(stream: &mut TcpStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = bincode::serde::encode_to_vec(message, config::standard())
        .map_err(|error| io::Error::other(error.to_string()))?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&bytes)
}

fn read<T: for<'de> Deserialize<'de>>(stream: &mut TcpStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::other("a message of the watch that is too long"));
    }
    let mut bytes = Vec::new();
    // What is announced need not come: memory is taken for what does.
    stream.take(length as u64).read_to_end(&mut bytes)?;
    let config = config::standard().with_limit::<LONGEST>();
    bincode::serde::decode_from_slice(&bytes, config)
        .map(|(message, _)| message)
        .map_err(|error| io::Error::other(error.to_string()))
}

/// The other nodes.
pub(super) struct Remote {
    word: u128,
    me: u32,
    /// The processes of each node but this one, in the order of the nodes.
    nodes: Vec<(u32, Vec<(usize, Address)>)>,
    files: Files,
}

impl Remote {
    /// `None` where there is one node only.
    pub fn new(settings: &Settings, addresses: Vec<Address>, rank: usize) -> Option<Self> {
        let me = addresses.get(rank)?.node;
        let word = addresses.first()?.word;
        let mut nodes: Vec<(u32, Vec<(usize, Address)>)> = Vec::new();
        for (rank, address) in addresses.into_iter().enumerate() {
            match nodes.iter_mut().find(|(node, _)| *node == address.node) {
                Some((_, processes)) => processes.push((rank, address)),
                None => nodes.push((address.node, vec![(rank, address)])),
            }
        }
        nodes.retain(|(node, _)| *node != me);
        if nodes.is_empty() {
            return None;
        }
        nodes.sort_by_key(|(node, _)| *node);
        Some(Remote { word, me, nodes, files: Files::new(settings, word) })
    }

    /// Whether a node with lower ranks has one that waits, and so looks at all of them itself.
    pub fn leave_it_to_another(&self) -> bool {
        let mut missed = false;
        let before = self.nodes.iter().take_while(|(node, _)| *node < self.me);
        let leave = before.into_iter().any(|(_, processes)| {
            match self.ask(processes, &Question::DoesAnyWait) {
                Ok(answer) => matches!(answer, Answer::Waits(true)),
                Err(_) => {
                    missed = true;
                    // All of them are looked at: which files there were counts when they go.
                    processes.iter().filter(|(rank, _)| self.files.waits(*rank)).count() > 0
                }
            }
        });
        if missed {
            // The node to which it is left must see this one.
            self.files.write();
        }
        leave
    }

    /// The ranks of all other nodes.
    pub fn census(&self) -> Vec<Look> {
        self.census_by(|rank| self.files.look(rank))
    }

    /// The first look at all ranks is over: what [`census_again`](Self::census_again) sees is newer.
    pub fn end_of_first_census(&self) {
        self.files.mark();
    }

    /// The ranks of all other nodes, later. A node that can only be seen in files is waited for, until
    /// it has looked again or `is_moot` says that it does not matter any more.
    pub fn census_again(&self, is_moot: impl Fn() -> bool) -> Vec<Look> {
        let start = Instant::now();
        self.census_by(|rank| {
            loop {
                let patience = match self.files.look_after_mark(rank) {
                    Newer::Look(look) => return Some(look),
                    Newer::NotYet => self.files.looks_again,
                    Newer::None => self.files.begins,
                };
                if start.elapsed() > patience || is_moot() {
                    return None;
                }
                // The other node may wait for news of this one in the same way.
                self.files.write();
                thread::sleep(ROUND);
            }
        })
    }

    fn census_by(&self, from_file: impl Fn(usize) -> Option<Look>) -> Vec<Look> {
        let mut looks = Vec::new();
        let mut missed = false;
        for (_, processes) in &self.nodes {
            match self.ask(processes, &Question::Census) {
                Ok(Answer::Census(answer)) => {
                    looks.extend(answer.into_iter().map(|(rank, sequence, seen)| Look {
                        rank,
                        seen,
                        sequence,
                    }))
                }
                Ok(_) => {}
                Err(error) => {
                    missed = true;
                    for (rank, _) in processes {
                        looks.push(from_file(*rank).unwrap_or_else(|| unreachable(*rank, &error)));
                    }
                }
            }
        }
        if missed {
            self.files.write();
        }
        looks
    }

    pub fn tell(&self, stuck: &[(usize, u64)], report: &str) {
        for (_, processes) in &self.nodes {
            let stuck: Vec<_> = stuck
                .iter()
                .filter(|(rank, _)| processes.iter().any(|(process, _)| process == rank))
                .copied()
                .collect();
            if !stuck.is_empty() {
                // A node that is not told finds out by itself: it looks too, if later.
                let _ = self.ask(processes, &Question::Tell(stuck, report.to_owned()));
            }
        }
    }

    pub fn end(&self, report: &str, code: i32) {
        for (_, processes) in &self.nodes {
            if self.ask(processes, &Question::End(report.to_owned(), code)).is_err() {
                // The launcher ends those that are not told, and leaves them no time to clean up.
                processes.iter().for_each(|(rank, _)| self.files.remove_of(*rank));
            }
        }
    }

    /// Takes back what was left for others, before the process ends.
    pub fn clean(&self) {
        self.files.remove();
    }

    /// Asks the processes of a node, in turn, until one answers.
    fn ask(&self, processes: &[(usize, Address)], question: &Question) -> io::Result<Answer> {
        let mut last = io::Error::other("nobody listens there");
        // A node whose first processes do not answer is not likely to answer at all.
        for (_, address) in processes.iter().filter(|(_, it)| it.port != 0).take(3) {
            for &host in &address.hosts {
                match self.ask_at(SocketAddr::new(host, address.port), question) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    fn ask_at(&self, address: SocketAddr, question: &Question) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        set_patience(&stream)?;
        stream.write_all(&self.word.to_le_bytes())?;
        write(&mut stream, question)?;
        read(&mut stream)
    }
}

fn unreachable(rank: usize, error: &io::Error) -> Look {
    let why = format!("the watch of its node cannot be reached: {error}");
    Look { rank, seen: Seen::Unknown { why }, sequence: 0 }
}

/// How often a file is looked at that should become newer.
const ROUND: Duration = Duration::from_millis(200);
/// How long another node may take to look again, beside its ticks: it asks in vain before it writes.
const LOOKS_AGAIN: Duration = Duration::from_secs(10);
/// How much longer than two of its ticks a node may take to write its first files.
const BEGINS: Duration = Duration::from_secs(1);
/// How long a node whose files have gone is taken for one that ends, with the job or by itself.
const ENDS: Duration = Duration::from_secs(10);

/// Files in a folder that all nodes may see, one for each rank.
struct Files {
    directory: Option<PathBuf>,
    word: u128,
    /// Who writes: the processes of a node may write the same files.
    writer: u64,
    round: AtomicU64,
    /// How long to wait for a node to write its files again, or at all.
    looks_again: Duration,
    begins: Duration,
    /// The ranks of this node of whom this process has left a file.
    written: Mutex<HashSet<usize>>,
    known: Mutex<HashMap<usize, Known>>,
}

/// What a file holds: who wrote it and how often it had, and the look.
type Record = (Stamp, u64, Seen);
type Stamp = (u64, u64);

/// What is known of the file of a rank.
#[derive(Default)]
struct Known {
    /// What it was at the end of the first census.
    marked: Stamp,
    /// The first stamp of each writer after that.
    newer: HashMap<u64, u64>,
    gone: Option<Instant>,
}

impl Known {
    fn ends(&self) -> bool {
        self.gone.is_some_and(|since| since.elapsed() < ENDS)
    }
}

/// A look that is no older than a mark.
enum Newer {
    Look(Look),
    NotYet,
    None,
}

impl Files {
    fn new(settings: &Settings, word: u128) -> Self {
        Files {
            directory: settings.directory.clone(),
            word,
            writer: RandomState::new().build_hasher().finish(),
            round: AtomicU64::new(0),
            looks_again: tick(settings) * 4 + LOOKS_AGAIN,
            begins: tick(settings) * 2 + BEGINS,
            known: Mutex::default(),
            written: Mutex::default(),
        }
    }

    fn path(&self, rank: usize) -> Option<PathBuf> {
        // The whole word would be known to who may list the folder.
        let job = (self.word >> 96) as u32;
        let directory = self.directory.as_ref()?;
        Some(directory.join(format!("phalanx-watch-{job:08x}-rank-{rank}")))
    }

    /// Leaves a file for each rank of this node.
    fn write(&self) {
        let Some(board) = board() else { return };
        if self.known().values().any(Known::ends) {
            return;
        }
        let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
        for look in census::of_node(board) {
            let record: Record = ((self.writer, round), look.sequence, look.seen);
            let Ok(bytes) = bincode::serde::encode_to_vec(&record, config::standard()) else {
                continue;
            };
            let Some(path) = self.path(look.rank) else { return };
            if self.written().contains(&look.rank) && !path.exists() {
                // Who ends the job has taken it away, and this process is ended next.
                return;
            }
            let part = path.with_extension(format!("{}", std::process::id()));
            // A folder that cannot be written to leaves the others without news, which they say.
            match fs::write(&part, bytes).and_then(|()| fs::rename(&part, &path)) {
                Ok(()) => drop(self.written().insert(look.rank)),
                Err(_) => drop(fs::remove_file(&part)),
            }
        }
    }

    /// Whether a rank of another node waits, by what that node left.
    fn waits(&self, rank: usize) -> bool {
        self.look(rank).is_some_and(|look| look.sequence % 2 == 1)
    }

    fn record(&self, rank: usize) -> Option<Record> {
        let bytes = fs::read(self.path(rank)?).ok()?;
        let config = config::standard().with_limit::<LONGEST>();
        bincode::serde::decode_from_slice(&bytes, config).ok().map(|(record, _)| record)
    }

    fn written(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<usize, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What another node left of a rank, however old.
    fn look(&self, rank: usize) -> Option<Look> {
        match self.record(rank) {
            Some((_, sequence, seen)) => {
                self.known().entry(rank).or_default().gone = None;
                Some(Look { rank, seen, sequence })
            }
            None => self.ends(rank),
        }
    }

    /// A node takes its files back when it ends: for a while that is no reason for a word.
    fn ends(&self, rank: usize) -> Option<Look> {
        let mut known = self.known();
        let known = known.get_mut(&rank)?;
        known.gone.get_or_insert_with(Instant::now);
        known.ends().then_some(Look { rank, seen: Seen::Moving, sequence: 0 })
    }

    /// Remembers how the files are.
    fn mark(&self) {
        for (rank, known) in self.known().iter_mut() {
            known.marked = self.record(*rank).map_or((0, 0), |(stamp, ..)| stamp);
            known.newer.clear();
        }
    }

    /// What another node left of a rank, if it looked at it after the mark. A file that was written
    /// after the mark may hold an older look; the next one of the same writer does not.
    fn look_after_mark(&self, rank: usize) -> Newer {
        let Some(((writer, round), sequence, seen)) = self.record(rank) else {
            return self.ends(rank).map_or(Newer::None, Newer::Look);
        };
        let mut known = self.known();
        // A file that was not there at the first look agrees with nothing; next time it will.
        let Some(known) = known.get_mut(&rank) else {
            known.insert(rank, Known::default());
            return Newer::Look(Look { rank, seen: Seen::Moving, sequence });
        };
        if (writer, round) == known.marked || *known.newer.entry(writer).or_insert(round) == round {
            return Newer::NotYet;
        }
        Newer::Look(Look { rank, seen, sequence })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Files {
    /// Removes what this node has left.
    fn remove(&self) {
        if self.round.load(Ordering::Relaxed) > 0
            && let Some(board) = board()
        {
            for slot in board.slots {
                self.remove_of(slot.world_rank());
            }
        }
    }

    fn remove_of(&self, rank: usize) {
        if let Some(path) = self.path(rank) {
            // It may be gone already, or was never there.
            let _ = fs::remove_file(path);
        }
    }
}

/// The addresses of this host by which others may reach it.
pub(crate) fn hosts() -> Vec<IpAddr> {
    host::addresses().into_iter().filter(|address| !address.is_loopback()).collect()
}
