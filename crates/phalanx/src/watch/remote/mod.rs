//! The ranks of other nodes: asked over TCP, and only when somebody waits.
//!
//! Each process listens on a port; where they are was told at start. Who wants to know how the ranks of a node
//! are connects to one of its processes, which reads the board of its node and answers (`listener.rs`). Both
//! sides prove that they are of the same job (`secret.rs`, `conversation.rs`). Where no process of a node can be
//! reached, its ranks are looked for in files (`files.rs`): each node that misses another one leaves a file for
//! each of its ranks in the folder that all may see, if the user has named one. In no other: a job that is
//! killed leaves its files behind.

mod conversation;
mod files;
mod listener;
mod secret;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::census::Observation;
use super::is_stopping;
use super::settings::Settings;
use super::statement::Seen;
use crate::host;
use conversation::{Answer, Conversation, Question};
use files::{Files, Newer};
pub(super) use listener::Answering;
pub(crate) use listener::Listener;
pub(crate) use secret::Secret;

/// Where the watch of a rank can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub node: u32,
    pub port: u16,
    pub hosts: Vec<IpAddr>,
}

/// The other nodes.
pub(super) struct Remote {
    secret: Secret,
    me: u32,
    /// The processes of each node but this one, in the order of the nodes.
    nodes: Vec<(u32, Vec<(usize, Address)>)>,
    files: Files,
}

impl Remote {
    /// `None` where there is one node only.
    pub fn new(
        settings: &Settings,
        addresses: Vec<Address>,
        secret: Secret,
        rank: usize,
    ) -> Option<Self> {
        let me = addresses.get(rank)?.node;
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
        let files = Files::new(settings, &secret);
        Some(Remote { secret, me, nodes, files })
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
    pub fn census(&self) -> Vec<Observation> {
        self.census_by(|rank| self.files.look(rank))
    }

    /// The first look at all ranks is over: what [`census_again`](Self::census_again) sees is newer.
    pub fn end_of_first_census(&self) {
        self.files.mark();
    }

    /// The ranks of all other nodes, later. A node that can only be seen in files is waited for, until
    /// it has looked again or `is_decided` says that it does not matter any more.
    pub fn census_again(&self, is_decided: impl Fn() -> bool) -> Vec<Observation> {
        let start = Instant::now();
        self.census_by(|rank| {
            loop {
                let patience = match self.files.look_after_mark(rank) {
                    Newer::Observation(look) => return Some(look),
                    Newer::NotYet => self.files.looks_again,
                    Newer::None => self.files.begins,
                };
                if start.elapsed() > patience || is_decided() {
                    return None;
                }
                // The other node may wait for news of this one in the same way.
                self.files.write();
                thread::sleep(ROUND);
            }
        })
    }

    fn census_by(&self, from_file: impl Fn(usize) -> Option<Observation>) -> Vec<Observation> {
        let mut looks = Vec::new();
        let mut missed = false;
        for (_, processes) in &self.nodes {
            match self.ask(processes, &Question::Census) {
                Ok(Answer::Census(answer)) => {
                    looks.extend(answer.into_iter().map(|(rank, sequence, seen)| Observation {
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
                self.take_files_of(processes);
            }
        }
    }

    /// Tells a node that cannot be asked: the launcher ends its ranks, leaves them no time to clean up,
    /// and they need not say where they were.
    fn take_files_of(&self, processes: &[(usize, Address)]) {
        processes.iter().for_each(|(rank, _)| self.files.remove_of(*rank));
    }

    /// Whether another node has taken the files of this one, and so ends the job.
    pub fn is_ended_by_another(&self) -> bool {
        self.files.are_taken()
    }

    /// Says that this node reports a failure and ends the job.
    pub fn fails(&self) {
        for (_, processes) in &self.nodes {
            // A node that does not hear of it says where its ranks are when they are ended.
            if self.ask(processes, &Question::Fails).is_err() {
                self.take_files_of(processes);
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
                if is_stopping() {
                    return Err(io::Error::other("this rank is about to end"));
                }
                match self.ask_at(SocketAddr::new(host, address.port), question) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    fn ask_at(&self, address: SocketAddr, question: &Question) -> io::Result<Answer> {
        Conversation::begin(address, &self.secret)?.ask(question)
    }
}

fn unreachable(rank: usize, error: &io::Error) -> Observation {
    let why = format!("the watch of its node cannot be reached: {error}");
    Observation { rank, seen: Seen::Unknown { why }, sequence: 0 }
}

/// How often a file is looked at that should become newer.
const ROUND: Duration = Duration::from_millis(200);
/// The addresses of this host by which others may reach it.
pub(crate) fn hosts() -> Vec<IpAddr> {
    host::addresses().into_iter().filter(|address| !address.is_loopback()).collect()
}
