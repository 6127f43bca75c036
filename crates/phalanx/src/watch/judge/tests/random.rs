//! Thousands of programs, run by a machine that knows who can go on: nothing is called a deadlock that
//! goes on, and what never goes on is called one.

use super::machine::{Machine, Mode, Op, Random, Style, What};
use super::*;

/// Ranks of which a proof says that they never go on, and how far they were.
struct Proof {
    stuck: Vec<usize>,
    progress: Vec<usize>,
}

#[derive(Default)]
struct Tally {
    runs: usize,
    deadlocks: usize,
    finished: usize,
    /// Proofs while others could still go on.
    early: usize,
    /// Deadlocks of which some ranks are not proved to be stuck, or none.
    partly: usize,
    missed: usize,
}

#[derive(Clone, Copy)]
struct Options {
    nonblocking: bool,
    /// Ranks may be killed, stopped, or incomplete in what they say.
    doubts: bool,
    /// How many calls each rank remembers.
    memory: usize,
}

fn communicators(size: usize) -> Vec<Vec<u32>> {
    let all: Vec<u32> = (0..size as u32).collect();
    let reversed = all.iter().rev().copied().collect();
    let some = vec![size as u32 - 1, 0];
    vec![all, reversed, some]
}

/// Programs that are correct: each rank does its part of one sequence of messages and collectives.
fn correct(random: &mut Random, comms: &[Vec<u32>], options: Options) -> Vec<Vec<Op>> {
    let size = comms[0].len();
    let mut programs: Vec<Vec<Op>> = vec![Vec::new(); size];
    for _ in 0..3 + random.below(10) {
        let comm = random.below(comms.len());
        let members = &comms[comm];
        let count = members.len() as u32;
        let at = |member: u32| members[member as usize] as usize;
        match random.below(8) {
            0..5 => {
                let from = random.below(members.len()) as u32;
                let to = (from + 1 + random.below(members.len() - 1) as u32) % count;
                let tag = random.below(3) as i32;
                let blocks = !options.nonblocking || random.one_in(2);
                let mode = mode(random);
                programs[at(from)].push(Op::Send { comm, to, tag, mode, blocks });
                let wanted = (!random.one_in(4)).then_some(tag);
                let source = (!random.one_in(6)).then_some(from);
                let blocks = !options.nonblocking || random.one_in(2);
                programs[at(to)].push(Op::Recv { comm, from: source, tag: wanted, blocks });
            }
            5..7 => {
                let what = what(random, count);
                let blocks = !options.nonblocking || random.one_in(2);
                for member in 0..count {
                    programs[at(member)].push(Op::Collective { comm, what, blocks });
                }
            }
            _ if options.nonblocking => {
                for member in 0..count {
                    let (to, from) = ((member + 1) % count, (member + count - 1) % count);
                    programs[at(member)].push(Op::Sendrecv { comm, to, from, tag: 1 });
                }
            }
            _ => {}
        }
        if options.nonblocking && random.one_in(2) {
            let rank = random.below(size);
            programs[rank].push(if random.one_in(3) { Op::WaitAny } else { Op::WaitAll });
        }
    }
    if options.nonblocking {
        programs.iter_mut().for_each(|program| program.push(Op::WaitAll));
    }
    for (comm, members) in comms.iter().enumerate().skip(1) {
        if random.one_in(2) {
            members.iter().for_each(|&rank| programs[rank as usize].push(Op::Free { comm }));
        }
    }
    programs
}

fn mode(random: &mut Random) -> Mode {
    random.of(&[Mode::Eager, Mode::Rendezvous, Mode::Synchronous, Mode::Buffered])
}

fn what(random: &mut Random, count: u32) -> What {
    let root = random.below(count as usize) as u32;
    let all =
        [What::Barrier, What::Allreduce, What::Alltoallv, What::Bcast(root), What::Reduce(root)];
    if random.one_in(6) { What::Scan } else { random.of(&all) }
}

/// Anything at all.
fn any_op(random: &mut Random, comms: &[Vec<u32>], rank: usize, options: Options) -> Op {
    let is_member = |comm: &usize| comms[*comm].contains(&(rank as u32));
    let mine: Vec<usize> = (0..comms.len()).filter(is_member).collect();
    let comm = random.of(&mine);
    let count = comms[comm].len();
    let blocks = !options.nonblocking || random.one_in(2);
    let peer = random.below(count) as u32;
    let tag = random.below(3) as i32;
    if comm > 0 && random.one_in(8) {
        return Op::Free { comm };
    }
    match random.below(if options.nonblocking { 10 } else { 7 }) {
        0..3 => Op::Send { comm, to: peer, tag, mode: mode(random), blocks },
        3..6 => {
            let from = (!random.one_in(4)).then_some(peer);
            Op::Recv { comm, from, tag: (!random.one_in(4)).then_some(tag), blocks }
        }
        6 => Op::Collective { comm, what: what(random, count as u32), blocks },
        7 => Op::WaitAll,
        8 => Op::WaitAny,
        _ => Op::Sendrecv { comm, to: peer, from: random.below(count) as u32, tag },
    }
}

/// Makes some mistakes.
fn spoil(random: &mut Random, programs: &mut [Vec<Op>], comms: &[Vec<u32>], options: Options) {
    for _ in 0..1 + random.below(3) {
        let rank = random.below(programs.len());
        let op = any_op(random, comms, rank, options);
        let program = &mut programs[rank];
        if program.is_empty() {
            continue;
        }
        let at = random.below(program.len());
        match random.below(4) {
            0 => {
                let other = random.below(program.len());
                program.swap(at, other);
            }
            1 => drop(program.remove(at)),
            2 => program[at] = op,
            _ => match &mut program[at] {
                Op::Send { tag, .. } | Op::Recv { tag: Some(tag), .. } => *tag = 7,
                Op::Collective { what, .. } => *what = What::Barrier,
                other => *other = op,
            },
        }
    }
}

fn run(seed: u64, options: Options, tally: &mut Tally) {
    let random = &mut Random(seed);
    let size = 2 + random.below(4);
    let comms = communicators(size);
    let mut programs = correct(random, &comms, options);
    match random.below(4) {
        0 => {}
        1 => {
            for (rank, program) in programs.iter_mut().enumerate() {
                *program = (0..6).map(|_| any_op(random, &comms, rank, options)).collect();
            }
        }
        _ => spoil(random, &mut programs, &comms, options),
    }
    let style = random.of(&[Style::Synchronizing, Style::Direct, Style::Chain]);
    let mut machine = Machine::new(style, random.next(), comms.clone(), programs);
    machine.memory = options.memory;
    let mut proofs: Vec<Proof> = Vec::new();
    let mut killed = false;
    // Ranks that compute for long, now and then.
    let mut paused: Vec<bool> = (0..size).map(|_| random.one_in(3)).collect();
    loop {
        let mut actions = machine.actions(|rank| paused[rank]);
        if random.one_in(6) || actions.is_empty() {
            prove(random, &machine, options, &mut proofs);
        }
        if let Some(proof) = proofs.last()
            && random.one_in(3)
        {
            other_futures(random, seed, &machine, proof, &comms, options);
        }
        if actions.is_empty() {
            if paused.iter().any(|&it| it) {
                paused = (0..size).map(|_| random.one_in(8)).collect();
                actions = machine.actions(|rank| paused[rank]);
                if actions.is_empty() {
                    paused = vec![false; size];
                    actions = machine.actions(|_| false);
                }
            }
            if actions.is_empty() {
                break;
            }
        }
        if options.doubts && !killed && random.one_in(60) {
            killed = true;
            machine.end(random.below(size));
            continue;
        }
        machine.act(random.of(&actions));
    }
    for proof in &proofs {
        for &rank in &proof.stuck {
            let is_where_it_was = machine.progress(rank) == proof.progress[rank];
            assert!(is_where_it_was, "seed {seed}: rank {rank} of {:?} went on", proof.stuck);
        }
    }
    tally.runs += 1;
    tally.early += proofs.iter().filter(|it| it.stuck.len() < size).count();
    conclude(seed, &machine, options, tally);
}

fn prove(random: &mut Random, machine: &Machine, options: Options, proofs: &mut Vec<Proof>) {
    let judgement = judge(&machine.statements(random, options.doubts));
    assert_eq!(judgement.verdict == Verdict::Deadlock, !judgement.stuck.is_empty());
    assert_eq!(judgement.verdict == Verdict::Nothing, judgement.text.is_empty());
    if !judgement.stuck.is_empty() {
        let progress = (0..machine.size()).map(|rank| machine.progress(rank)).collect();
        proofs.push(Proof { stuck: judgement.stuck, progress });
    }
}

/// Whatever the ranks do that are not stuck, those that are never go on.
fn other_futures(
    random: &mut Random,
    seed: u64,
    machine: &Machine,
    proof: &Proof,
    comms: &[Vec<u32>],
    options: Options,
) {
    let mut machine = machine.clone();
    for rank in 0..machine.size() {
        let count = random.below(12);
        let program = (0..count).map(|_| any_op(random, comms, rank, options)).collect();
        machine.replace_program(rank, program);
    }
    loop {
        let actions = machine.actions(|_| false);
        if actions.is_empty() {
            break;
        }
        machine.act(random.of(&actions));
    }
    for &rank in &proof.stuck {
        let is_where_it_was = machine.progress(rank) == proof.progress[rank];
        assert!(
            is_where_it_was,
            "seed {seed}: rank {rank} of {:?} might have gone on",
            proof.stuck
        );
    }
}

/// Nothing can happen any more: whoever is inside a call never goes on.
fn conclude(seed: u64, machine: &Machine, options: Options, tally: &mut Tally) {
    let judgement = judge(&machine.statements(&mut Random(seed), false));
    let inside: Vec<usize> = (0..machine.size()).filter(|&it| machine.is_inside(it)).collect();
    if inside.is_empty() {
        tally.finished += 1;
        assert_eq!(judgement.stuck, [], "seed {seed}: {}", judgement.text);
        return;
    }
    tally.deadlocks += 1;
    if judgement.stuck != inside {
        tally.partly += usize::from(!judgement.stuck.is_empty());
        tally.missed += usize::from(judgement.stuck.is_empty());
        let must_be_exact = !options.nonblocking && !options.doubts;
        assert!(!must_be_exact, "seed {seed}: {inside:?} never go on: {}", judgement.text);
    }
}

/// Programs of each kind. There were ten times as many when this was written.
const RUNS: u64 = 2000;

fn runs(first: u64, options: Options) -> Tally {
    let mut tally = Tally::default();
    (first..first + RUNS).for_each(|seed| run(seed, options, &mut tally));
    eprintln!(
        "{} runs, {} finished, {} deadlocks: {} proved in part, {} not; {} proofs before the end",
        tally.runs, tally.finished, tally.deadlocks, tally.partly, tally.missed, tally.early
    );
    tally
}

#[test]
fn with_blocking_calls_a_deadlock_is_proved_if_and_only_if_there_is_one() {
    let tally = runs(0, Options { nonblocking: false, doubts: false, memory: 1000 });
    assert!(tally.deadlocks > 800 && tally.finished > 400 && tally.early > 400);
    assert_eq!(tally.partly + tally.missed, 0);
}

#[test]
fn with_requests_nothing_is_proved_that_goes_on() {
    let tally = runs(100_000, Options { nonblocking: true, doubts: false, memory: 8 });
    assert!(tally.deadlocks > 800 && tally.finished > 400 && tally.early > 400);
    assert!(tally.missed * 8 < tally.deadlocks, "{} of {}", tally.missed, tally.deadlocks);
}

#[test]
fn with_killed_and_doubtful_ranks_nothing_is_proved_that_goes_on() {
    let tally = runs(200_000, Options { nonblocking: true, doubts: true, memory: 8 });
    assert!(tally.deadlocks > 800 && tally.early > 400);
}
