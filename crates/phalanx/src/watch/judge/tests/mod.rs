//! Statements as ranks would make them, and what is concluded from them.

mod causes;
mod findings;
mod machine;
mod random;
mod soundness;

use super::{Judgement, Verdict, judge};
use crate::watch::statement::{
    Activity, CallFacts, CommFacts, Kind, Party, RequestFacts, Seen, Statement, Traffic, message,
};

pub(super) const WORLD: u64 = 1;
pub(super) const ROWS: u64 = 2;

/// A call on the world, at a line that no other call of the test has.
pub(super) fn call(operation: &str, kind: Kind, line: u32) -> CallFacts {
    CallFacts {
        operation: operation.to_owned(),
        kind,
        comm: WORLD,
        party: Party::None,
        tag: None,
        bytes: Some(0),
        element: String::new(),
        reduction: String::new(),
        number: 0,
        location: format!("src/main.rs:{line}:9"),
    }
}

pub(super) fn recv(from: u32, tag: i32, line: u32) -> CallFacts {
    CallFacts { party: Party::Rank(from), tag: Some(tag), ..call("recv", Kind::Receive, line) }
}

pub(super) fn recv_any(line: u32) -> CallFacts {
    CallFacts { party: Party::Any, ..call("recv", Kind::Probe, line) }
}

pub(super) fn send(to: u32, tag: i32, bytes: u64, line: u32) -> CallFacts {
    CallFacts {
        party: Party::Rank(to),
        tag: Some(tag),
        bytes: Some(bytes),
        element: "f64".to_owned(),
        ..call("send", Kind::Send, line)
    }
}

pub(super) fn barrier(number: u32, line: u32) -> CallFacts {
    CallFacts { number, ..call("barrier", Kind::Collective, line) }
}

pub(super) fn allreduce(number: u32, reduction: &str, line: u32) -> CallFacts {
    CallFacts {
        number,
        bytes: Some(8),
        element: "f64".to_owned(),
        reduction: reduction.to_owned(),
        ..call("allreduce", Kind::Collective, line)
    }
}

pub(super) fn bcast(number: u32, root: u32, line: u32) -> CallFacts {
    CallFacts {
        number,
        party: Party::Rank(root),
        bytes: Some(8),
        element: "f64".to_owned(),
        ..call("bcast", Kind::FromRoot, line)
    }
}

pub(super) fn finalize(line: u32) -> CallFacts {
    CallFacts { comm: 0, ..call("finalize", Kind::Finalize, line) }
}

pub(super) fn wait_all(line: u32) -> CallFacts {
    CallFacts { comm: 0, ..call("wait_all", Kind::WaitAll, line) }
}

/// The world of a test: ranks that stand still in the program's own code until something else is said.
pub(super) struct Job {
    pub ranks: Vec<Seen>,
}

impl Job {
    pub fn new(size: usize) -> Self {
        let members: Vec<u32> = (0..size as u32).collect();
        let rank = |rank: usize| {
            Seen::Still(Box::new(Statement {
                rank: rank as u32,
                host: "node1".to_owned(),
                pid: 100 + rank as u32,
                sequence: 7,
                still_for: 31_000,
                activity: Activity::Outside,
                other_threads: Vec::new(),
                requests: Vec::new(),
                comms: vec![comm(WORLD, "world", &members)],
                history: Vec::new(),
                failure: None,
                threads: false,
                complete: true,
            }))
        };
        Job { ranks: (0..size).map(rank).collect() }
    }

    pub fn at(&mut self, rank: usize) -> &mut Statement {
        match &mut self.ranks[rank] {
            Seen::Still(statement) => statement,
            _ => panic!("rank {rank} makes no statement"),
        }
    }

    /// Begins a call and stays inside.
    pub fn inside(mut self, rank: usize, call: CallFacts) -> Self {
        self.begin(rank, &call);
        self.at(rank).activity = Activity::Inside(call);
        self
    }

    /// Waits inside a call for requests that it starts before.
    pub fn waiting(mut self, rank: usize, call: CallFacts, requests: Vec<CallFacts>) -> Self {
        for request in requests {
            self.begin(rank, &request);
            self.at(rank).requests.push(RequestFacts { call: request, waited: true });
        }
        self.inside(rank, call)
    }

    /// Starts a request for which nobody waits.
    pub fn started(mut self, rank: usize, request: CallFacts) -> Self {
        self.begin(rank, &request);
        self.at(rank).requests.push(RequestFacts { call: request, waited: false });
        self
    }

    /// A call that is complete.
    pub fn done(mut self, rank: usize, call: CallFacts) -> Self {
        self.begin(rank, &call);
        if let (Kind::Receive, Party::Rank(peer), Some(tag)) = (call.kind, call.party, call.tag) {
            let traffic = self.traffic(rank, call.comm, peer);
            traffic.received = traffic.received.wrapping_add(message(tag));
        }
        self.at(rank).history.push(call);
        self
    }

    pub fn with(mut self, rank: usize, change: impl FnOnce(&mut Statement)) -> Self {
        change(self.at(rank));
        self
    }

    pub fn seen(mut self, rank: usize, change: impl FnOnce(Box<Statement>) -> Seen) -> Self {
        let statement = Box::new(self.at(rank).clone());
        self.ranks[rank] = change(statement);
        self
    }

    /// A communicator of some ranks.
    pub fn comm(mut self, id: u64, name: &str, members: &[u32]) -> Self {
        for &member in members {
            self.at(member as usize).comms.push(comm(id, name, members));
        }
        self
    }

    pub fn traffic(&mut self, rank: usize, id: u64, peer: u32) -> &mut Traffic {
        let comms = &mut self.at(rank).comms;
        let comm = comms.iter_mut().find(|it| it.id == id).expect("a known communicator");
        let at = comm.traffic.iter().position(|it| it.peer == peer).unwrap_or_else(|| {
            comm.traffic.push(Traffic { peer, ..Traffic::default() });
            comm.traffic.len() - 1
        });
        &mut comm.traffic[at]
    }

    fn begin(&mut self, rank: usize, call: &CallFacts) {
        if let (true, Party::Rank(peer), Some(tag)) = (call.kind.is_send(), call.party, call.tag) {
            let traffic = self.traffic(rank, call.comm, peer);
            traffic.sent = traffic.sent.wrapping_add(message(tag));
        }
        if call.kind.is_collective() {
            let comms = &mut self.at(rank).comms;
            let comm =
                comms.iter_mut().find(|it| it.id == call.comm).expect("a known communicator");
            comm.collectives = comm.collectives.max(call.number);
        }
    }

    pub fn judge(&self) -> Judgement {
        judge(&self.ranks)
    }

    /// A deadlock of exactly these ranks, of which the text says all these things in this order.
    #[track_caller]
    pub fn is_deadlock(&self, stuck: &[usize], says: &[&str]) {
        let judgement = self.judge();
        assert_eq!(judgement.verdict, Verdict::Deadlock, "{}", judgement.text);
        assert_eq!(judgement.stuck, stuck, "{}", judgement.text);
        assert_says(&judgement.text, says);
        assert!(judgement.text.starts_with("phalanx: deadlock (proved): "), "{}", judgement.text);
    }

    #[track_caller]
    pub fn is_not_proved(&self, verdict: Verdict, says: &[&str]) {
        let judgement = self.judge();
        assert_eq!(judgement.verdict, verdict, "{}", judgement.text);
        assert_eq!(judgement.stuck, [], "{}", judgement.text);
        assert_says(&judgement.text, says);
        assert_eq!(judgement.text.is_empty(), verdict == Verdict::Nothing, "{}", judgement.text);
    }
}

#[track_caller]
fn assert_says(text: &str, says: &[&str]) {
    // A line may end anywhere in a sentence.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text_in_one_line = words(text);
    let mut rest = &text_in_one_line[..];
    for it in says {
        let Some(at) = rest.find(&words(it)) else {
            panic!("no `{it}` (in this order) in:\n{text}")
        };
        rest = &rest[at..];
    }
    for line in text.lines() {
        assert_eq!(line, line.trim_end(), "blanks at the end of a line in:\n{text}");
    }
}

fn comm(id: u64, name: &str, members: &[u32]) -> CommFacts {
    CommFacts {
        id,
        name: name.to_owned(),
        private: false,
        foreign: false,
        freed: false,
        members: members.to_vec(),
        neighbors: Vec::new(),
        collectives: 0,
        counts_users_calls: true,
        traffic: Vec::new(),
    }
}
