//! A small machine that passes messages: ranks with programs, run in any order, from whose state
//! statements are made.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// SplitMix64.
#[derive(Clone)]
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// Complete at once.
    Eager,
    /// Complete when it is received, although the standard promises nothing.
    Rendezvous,
    Synchronous,
    Buffered,
}

/// A collective, with its root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Barrier,
    Allreduce,
    Alltoallv,
    Bcast(u32),
    Reduce(u32),
    Scan,
}

/// Ranks are those of the communicator, which is an index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Send {
        comm: usize,
        to: u32,
        tag: i32,
        mode: Mode,
        blocks: bool,
    },
    Recv {
        comm: usize,
        from: Option<u32>,
        tag: Option<i32>,
        blocks: bool,
    },
    Sendrecv {
        comm: usize,
        to: u32,
        from: u32,
        tag: i32,
    },
    WaitAll,
    WaitAny,
    Collective {
        comm: usize,
        what: What,
        blocks: bool,
    },
    /// Refused while a request needs the communicator.
    Free {
        comm: usize,
    },
}

impl Op {
    fn comm(self) -> Option<usize> {
        match self {
            Op::Send { comm, .. }
            | Op::Recv { comm, .. }
            | Op::Sendrecv { comm, .. }
            | Op::Collective { comm, .. }
            | Op::Free { comm } => Some(comm),
            Op::WaitAll | Op::WaitAny => None,
        }
    }
}

/// What libraries may do differently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Style {
    /// Every collective waits for all.
    Synchronizing,
    /// Data goes straight from who has it to who wants it.
    Direct,
    /// It is passed on from rank to rank.
    Chain,
}

#[derive(Clone)]
struct Message {
    id: u64,
    tag: i32,
}

#[derive(Clone)]
enum State {
    Sending { id: u64, is_done: bool },
    Receiving { comm: usize, from: Option<u32>, tag: Option<i32>, got: Option<(u32, i32)> },
    Joining { comm: usize, number: u32, what: What },
}

#[derive(Clone)]
struct Request {
    facts: CallFacts,
    state: State,
    /// Whether the call that the rank is inside of waits for it.
    is_waited: bool,
    /// Whether it is that call, and no request.
    is_call: bool,
}

#[derive(Clone)]
struct Inside {
    call: CallFacts,
    one_is_enough: bool,
}

#[derive(Clone, Default)]
struct Process {
    program: VecDeque<Op>,
    inside: Option<Inside>,
    /// In the order in which they were posted.
    requests: Vec<Request>,
    /// What has arrived and is not received: communicator, source, message.
    unexpected: Vec<(usize, u32, Message)>,
    traffic: BTreeMap<(usize, u32), Traffic>,
    begun: Vec<Vec<What>>,
    freed: Vec<bool>,
    history: Vec<CallFacts>,
    is_gone: bool,
    is_finalized: bool,
    /// How many calls have returned.
    progress: usize,
    line: u32,
}

#[derive(Clone)]
pub(super) struct Machine {
    style: Style,
    /// Which ranks have something for each other in an `alltoallv`.
    pairs: u64,
    comms: Vec<Vec<u32>>,
    processes: Vec<Process>,
    channels: BTreeMap<(usize, u32, u32), VecDeque<Message>>,
    messages: u64,
    /// How many calls a rank remembers.
    pub memory: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Step(usize),
    Deliver((usize, u32, u32)),
}

impl Machine {
    pub fn new(style: Style, pairs: u64, comms: Vec<Vec<u32>>, programs: Vec<Vec<Op>>) -> Self {
        let process = |program: Vec<Op>| Process {
            program: program.into(),
            begun: vec![Vec::new(); comms.len()],
            freed: vec![false; comms.len()],
            ..Process::default()
        };
        let processes = programs.into_iter().map(process).collect();
        Machine {
            style,
            pairs,
            comms,
            processes,
            channels: BTreeMap::new(),
            messages: 0,
            memory: 8,
        }
    }

    pub fn size(&self) -> usize {
        self.processes.len()
    }

    pub fn progress(&self, rank: usize) -> usize {
        self.processes[rank].progress
    }

    pub fn is_outside(&self, rank: usize) -> bool {
        let process = &self.processes[rank];
        process.inside.is_none() && !process.is_gone && !process.is_finalized
    }

    pub fn is_inside(&self, rank: usize) -> bool {
        let process = &self.processes[rank];
        process.inside.is_some() && !process.is_gone
    }

    /// Gives a rank something else to do next.
    pub fn replace_program(&mut self, rank: usize, program: Vec<Op>) {
        self.processes[rank].program = program.into();
    }

    /// Ends a process. What it has sent arrives.
    pub fn end(&mut self, rank: usize) {
        self.processes[rank].is_gone = true;
        let keys: Vec<_> = self.channels.keys().copied().collect();
        for key @ (comm, from, _) in keys {
            if self.comms[comm][from as usize] as usize == rank {
                while !self.channels[&key].is_empty() {
                    self.act(Action::Deliver(key));
                }
            }
        }
    }

    /// What can happen next if some ranks do nothing outside of calls.
    pub fn actions(&self, is_paused: impl Fn(usize) -> bool) -> Vec<Action> {
        let deliver = self.channels.iter().filter(|(_, it)| !it.is_empty());
        let steps = (0..self.size())
            .filter(|&it| self.can_return(it) || self.is_outside(it) && !is_paused(it))
            .map(Action::Step);
        deliver.map(|(key, _)| Action::Deliver(*key)).chain(steps).collect()
    }

    pub fn act(&mut self, action: Action) {
        match action {
            Action::Step(rank) if self.processes[rank].inside.is_some() => self.finish(rank),
            Action::Step(rank) => self.begin(rank),
            Action::Deliver(key) => {
                let message = self.channels.get_mut(&key).and_then(VecDeque::pop_front);
                self.arrive(key, message.expect("a message on its way"));
            }
        }
    }

    fn me(&self, comm: usize, rank: usize) -> u32 {
        let members = &self.comms[comm];
        members.iter().position(|&it| it as usize == rank).expect("a member") as u32
    }

    fn arrive(&mut self, (comm, from, to): (usize, u32, u32), message: Message) {
        let rank = self.comms[comm][to as usize] as usize;
        let id = message.id;
        if self.processes[rank].is_gone {
            return;
        }
        let requests = &mut self.processes[rank].requests;
        let posted = requests.iter_mut().find_map(|it| match &mut it.state {
            State::Receiving { comm: its, from: source, tag, got } => (got.is_none()
                && *its == comm
                && source.is_none_or(|it| it == from)
                && tag.is_none_or(|it| it == message.tag))
            .then_some(got),
            _ => None,
        });
        match posted {
            Some(got) => {
                *got = Some((from, message.tag));
                self.is_received(id);
            }
            None => self.processes[rank].unexpected.push((comm, from, message)),
        }
    }

    fn is_received(&mut self, message: u64) {
        for request in self.processes.iter_mut().flat_map(|it| &mut it.requests) {
            if let State::Sending { id, is_done } = &mut request.state
                && *id == message
            {
                *is_done = true;
            }
        }
    }

    fn is_complete(&self, rank: usize, request: &Request) -> bool {
        match &request.state {
            State::Sending { is_done, .. } => *is_done,
            State::Receiving { got, .. } => got.is_some(),
            &State::Joining { comm, number, what } => {
                let me = self.me(comm, rank);
                self.needed(comm, number, what, me).into_iter().all(|member| {
                    let other = &self.processes[self.comms[comm][member as usize] as usize];
                    other.begun[comm].get(number as usize - 1) == Some(&what)
                })
            }
        }
    }

    /// The members that must have begun a collective before this one is through.
    fn needed(&self, comm: usize, number: u32, what: What, me: u32) -> Vec<u32> {
        let size = self.comms[comm].len() as u32;
        let chain = |root: u32| (me + size - root) % size;
        match (self.style, what) {
            (_, What::Barrier | What::Allreduce) | (Style::Synchronizing, _) => (0..size).collect(),
            (_, What::Alltoallv) => {
                let has_something = |other: &u32| {
                    let (low, high) = (me.min(*other), me.max(*other));
                    Random(self.pairs ^ u64::from(number << 16 | low << 8 | high)).one_in(2)
                };
                (0..size).filter(has_something).collect()
            }
            (Style::Direct, What::Bcast(root)) => vec![root],
            (Style::Chain, What::Bcast(root)) => {
                (0..chain(root)).map(|step| (root + step) % size).collect()
            }
            (_, What::Reduce(root)) if root == me => (0..size).collect(),
            (Style::Direct, What::Reduce(_)) => Vec::new(),
            (Style::Chain, What::Reduce(_)) => vec![(me + size - 1) % size],
            (_, What::Scan) => (0..me).collect(),
        }
    }

    fn can_return(&self, rank: usize) -> bool {
        let process = &self.processes[rank];
        let Some(inside) = process.inside.as_ref().filter(|_| !process.is_gone) else {
            return false;
        };
        if inside.call.kind == Kind::Finalize {
            let is_there = |it: &Process| {
                let is_in = it.inside.as_ref().is_some_and(|it| it.call.kind == Kind::Finalize);
                !it.is_gone && (it.is_finalized || is_in)
            };
            return self.processes.iter().all(is_there);
        }
        let mut waited = process.requests.iter().filter(|it| it.is_waited).peekable();
        if waited.peek().is_none() {
            return true;
        }
        let is_complete = |it: &Request| self.is_complete(rank, it);
        if inside.one_is_enough { waited.any(is_complete) } else { waited.all(is_complete) }
    }

    fn finish(&mut self, rank: usize) {
        let one = self.processes[rank].inside.as_ref().is_some_and(|it| it.one_is_enough);
        let complete: Vec<bool> =
            self.processes[rank].requests.iter().map(|it| self.is_complete(rank, it)).collect();
        let process = &mut self.processes[rank];
        let Some(inside) = process.inside.take() else { return };
        process.progress += 1;
        process.is_finalized = inside.call.kind == Kind::Finalize;
        let mut call = inside.call;
        let mut taken = false;
        let mut kept = Vec::new();
        for (mut request, is_complete) in
            std::mem::take(&mut process.requests).into_iter().zip(complete)
        {
            if !request.is_waited || !is_complete || one && taken {
                request.is_waited = false;
                kept.push(request);
                continue;
            }
            taken = true;
            if let State::Receiving { comm, got: Some((from, tag)), .. } = request.state {
                let traffic = process.traffic.entry((comm, from)).or_default();
                traffic.received = traffic.received.wrapping_add(message(tag));
                if request.is_call {
                    (call.party, call.tag) = (Party::Rank(from), Some(tag));
                }
            }
        }
        process.requests = kept;
        process.note(call);
    }

    fn begin(&mut self, rank: usize) {
        let op = self.processes[rank].program.pop_front();
        self.processes[rank].line += 1;
        let line = self.processes[rank].line;
        let Some(op) = op else {
            let call = finalize(line);
            self.processes[rank].inside = Some(Inside { call, one_is_enough: false });
            return;
        };
        if op.comm().is_some_and(|comm| self.processes[rank].freed[comm]) {
            return;
        }
        match op {
            Op::Free { comm } => {
                let process = &mut self.processes[rank];
                process.freed[comm] = process.requests.iter().all(|it| it.facts.comm != id(comm));
            }
            Op::Send { comm, to, tag, mode, blocks } => {
                self.send(rank, (comm, to, tag), mode, blocks, line);
            }
            Op::Recv { comm, from, tag, blocks } => {
                self.receive(rank, comm, from, tag, blocks, line)
            }
            Op::Sendrecv { comm, to, from, tag } => {
                self.send(rank, (comm, to, tag), Mode::Rendezvous, false, line);
                self.receive(rank, comm, Some(from), Some(tag), false, line);
                let process = &mut self.processes[rank];
                process.history.truncate(process.history.len().saturating_sub(2));
                process.requests.iter_mut().rev().take(2).for_each(|it| it.is_waited = true);
                let call = CallFacts { comm: id(comm), ..call("sendrecv", Kind::WaitAll, line) };
                process.inside = Some(Inside { call, one_is_enough: false });
            }
            Op::WaitAll | Op::WaitAny => {
                let process = &mut self.processes[rank];
                if process.requests.is_empty() {
                    return;
                }
                process.requests.iter_mut().for_each(|it| it.is_waited = true);
                let one_is_enough = matches!(op, Op::WaitAny);
                let kind = if one_is_enough { Kind::WaitAny } else { Kind::WaitAll };
                let call = CallFacts { comm: 0, ..call("wait", kind, line) };
                process.inside = Some(Inside { call, one_is_enough });
            }
            Op::Collective { comm, what, blocks } => {
                let process = &mut self.processes[rank];
                process.begun[comm].push(what);
                let number = process.begun[comm].len() as u32;
                let facts = collective_facts(id(comm), what, number, blocks, line);
                let state = State::Joining { comm, number, what };
                process.start(facts, state, blocks);
            }
        }
    }

    fn send(
        &mut self,
        rank: usize,
        (comm, to, tag): (usize, u32, i32),
        mode: Mode,
        blocks: bool,
        line: u32,
    ) {
        let me = self.me(comm, rank);
        self.messages += 1;
        let id_of_message = self.messages;
        let process = &mut self.processes[rank];
        let traffic = process.traffic.entry((comm, to)).or_default();
        traffic.sent = traffic.sent.wrapping_add(message(tag));
        let kind = match mode {
            Mode::Eager | Mode::Rendezvous => Kind::Send,
            Mode::Synchronous => Kind::SyncSend,
            Mode::Buffered => Kind::BufferedSend,
        };
        let operation = if blocks { "send" } else { "isend" };
        let facts = CallFacts {
            comm: id(comm),
            kind,
            operation: operation.to_owned(),
            ..send(to, tag, 8, line)
        };
        let is_done = matches!(mode, Mode::Eager | Mode::Buffered);
        process.start(facts, State::Sending { id: id_of_message, is_done }, blocks);
        let channel = self.channels.entry((comm, me, to)).or_default();
        channel.push_back(Message { id: id_of_message, tag });
    }

    fn receive(
        &mut self,
        rank: usize,
        comm: usize,
        from: Option<u32>,
        tag: Option<i32>,
        blocks: bool,
        line: u32,
    ) {
        let process = &mut self.processes[rank];
        let fits = |(its, source, message): &(usize, u32, Message)| {
            *its == comm
                && from.is_none_or(|it| it == *source)
                && tag.is_none_or(|it| it == message.tag)
        };
        let there = process.unexpected.iter().position(fits);
        let message = there.map(|at| process.unexpected.remove(at));
        let got = message.as_ref().map(|(_, from, message)| (*from, message.tag));
        let operation = if blocks { "recv" } else { "irecv" };
        let facts = CallFacts {
            comm: id(comm),
            party: from.map_or(Party::Any, Party::Rank),
            tag,
            ..call(operation, Kind::Receive, line)
        };
        process.start(facts, State::Receiving { comm, from, tag, got }, blocks);
        if let Some((_, _, message)) = message {
            self.is_received(message.id);
        }
    }

    /// What the ranks say of themselves, with what the watch may not know of them.
    pub fn statements(&self, random: &mut Random, is_doubtful: bool) -> Vec<Seen> {
        (0..self.size()).map(|rank| self.seen(rank, random, is_doubtful)).collect()
    }

    fn seen(&self, rank: usize, random: &mut Random, is_doubtful: bool) -> Seen {
        let process = &self.processes[rank];
        let mut statement = Box::new(self.statement(rank, random));
        if is_doubtful && random.one_in(24) {
            return match random.below(4) {
                0 => Seen::Stopped(random.one_in(2).then_some(statement)),
                1 => Seen::Unknown { why: "its node does not answer".to_owned() },
                2 => {
                    statement.threads = true;
                    Seen::Still(statement)
                }
                _ => {
                    statement.complete = false;
                    statement.requests.retain(|_| random.one_in(2));
                    statement.comms.retain(|_| random.one_in(2));
                    if self.can_return(rank) { Seen::Moving } else { Seen::Still(statement) }
                }
            };
        }
        if process.is_gone {
            let last = random.one_in(2).then_some(statement);
            Seen::Gone { how: "killed by signal 9".to_owned(), last }
        } else if process.is_finalized {
            Seen::Finalized
        } else if self.can_return(rank) || self.is_outside(rank) && random.one_in(4) {
            Seen::Moving
        } else {
            Seen::Still(statement)
        }
    }

    fn statement(&self, rank: usize, random: &mut Random) -> Statement {
        let process = &self.processes[rank];
        let activity = match &process.inside {
            Some(inside) => Activity::Inside(inside.call.clone()),
            None if random.one_in(4) => {
                Activity::Polling { looks: 12, at: CallFacts { comm: WORLD, ..recv_any(1) } }
            }
            None => Activity::Outside,
        };
        let requests = process.requests.iter().filter(|it| !it.is_call);
        let mut requests: Vec<RequestFacts> = requests
            .map(|it| RequestFacts { call: it.facts.clone(), waited: it.is_waited })
            .collect();
        for at in 0..requests.len() {
            let other = random.below(requests.len());
            requests.swap(at, other);
        }
        let comms = self.comms.iter().enumerate();
        let comms = comms.filter(|(_, members)| members.contains(&(rank as u32)));
        let comms = comms.map(|(index, members)| CommFacts {
            collectives: process.begun[index].len() as u32,
            freed: process.freed[index],
            traffic: process
                .traffic
                .range((index, 0)..(index + 1, 0))
                .map(|(&(_, peer), traffic)| Traffic { peer, ..*traffic })
                .collect(),
            ..comm(id(index), &format!("comm{index}"), members)
        });
        Statement {
            rank: rank as u32,
            host: "node1".to_owned(),
            pid: 1,
            sequence: process.progress as u64,
            still_for: 1000,
            activity,
            other_threads: Vec::new(),
            requests,
            comms: comms.collect(),
            history: process.history[process.history.len().saturating_sub(self.memory)..].to_vec(),
            failure: None,
            threads: false,
            complete: true,
        }
    }
}

impl Process {
    fn start(&mut self, facts: CallFacts, state: State, blocks: bool) {
        if blocks {
            self.inside = Some(Inside { call: facts.clone(), one_is_enough: false });
        } else {
            self.note(CallFacts { kind: Kind::Local, ..facts.clone() });
        }
        self.requests.push(Request { facts, state, is_waited: blocks, is_call: blocks });
    }

    fn note(&mut self, call: CallFacts) {
        self.history.push(call);
    }
}

/// The number of a communicator in statements.
fn id(comm: usize) -> u64 {
    WORLD + comm as u64
}

fn collective_facts(comm: u64, what: What, number: u32, blocks: bool, line: u32) -> CallFacts {
    let (operation, kind, root, bytes) = match what {
        What::Barrier => ("barrier", Kind::Collective, None, Some(0)),
        What::Allreduce => ("allreduce", Kind::Collective, None, Some(8)),
        What::Alltoallv => ("alltoallv", Kind::Collective, None, None),
        What::Bcast(root) => ("bcast", Kind::FromRoot, Some(root), Some(8)),
        What::Reduce(root) => ("reduce", Kind::ToRoot, Some(root), Some(8)),
        What::Scan => ("scan", Kind::Prefix, None, Some(8)),
    };
    let element = if what == What::Barrier { "" } else { "f64" };
    CallFacts {
        comm,
        number,
        bytes,
        element: element.to_owned(),
        party: root.map_or(Party::None, Party::Rank),
        ..call(&format!("{}{operation}", if blocks { "" } else { "i" }), kind, line)
    }
}
