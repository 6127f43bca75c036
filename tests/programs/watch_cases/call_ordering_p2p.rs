//! Messages in an order in which every rank waits for the other.

use phalanx::prelude::*;

use crate::case::{Case, Outcome, case, name};
use crate::forms::{RECEIVES, Receive, SENDS, Send, large, ring};

const RECEIVE: &[&str] = &["receive cycle", "wait cycle"];
const SEND: &[&str] = &["send cycle", "wait cycle"];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in &RECEIVES {
        let name = name("receive-cycle", form.name);
        cases.push(
            case(name, 2, |world, faulty| receive_first(world, faulty, form)).explained(RECEIVE),
        );
    }
    for ranks in [3, 4] {
        let body = |world: &Comm, faulty| receive_first(world, faulty, &RECEIVES[0]);
        cases.push(case(format!("receive-cycle-of-{ranks}"), ranks, body).explained(RECEIVE));
    }
    for form in &SENDS {
        let name = name("send-cycle", form.name);
        cases.push(case(name, 2, |world, faulty| send_first(world, faulty, form)).explained(SEND));
    }
    for ranks in [3, 4] {
        let body = |world: &Comm, faulty| send_first(world, faulty, &SENDS[0]);
        cases.push(case(format!("send-cycle-of-{ranks}"), ranks, body).explained(SEND));
    }
    cases.push(case("crossed-tags", 2, crossed_tags).explained(&["wait cycle", "tag near miss"]));
    cases.push(case("crossed-sources", 3, crossed_sources).explained(&["wait cycle"]));
    cases.push(case("sendrecv-against-each-other", 3, sendrecv).explained(RECEIVE));
    cases
}

fn receive_first(world: &Comm, faulty: bool, form: &Receive) -> Outcome {
    let (left, right) = ring(world);
    if faulty || world.rank() > 0 {
        (form.receive)(world, from(left))?;
        (form.send)(world, to(right))?;
    } else {
        (form.send)(world, to(right))?;
        (form.receive)(world, from(left))?;
    }
    Ok(())
}

fn send_first(world: &Comm, faulty: bool, form: &Send) -> Outcome {
    let (left, right) = ring(world);
    if faulty || world.rank() > 0 {
        (form.send)(world, &large(), to(right))?;
        (form.receive)(world, from(left))?;
    } else {
        (form.receive)(world, from(left))?;
        (form.send)(world, &large(), to(right))?;
    }
    Ok(())
}

fn crossed_tags(world: &Comm, faulty: bool) -> Outcome {
    if world.rank() == 0 {
        world.ssend(&1, to(1).tag(1))?;
        world.ssend(&2, to(1).tag(2))?;
        return Ok(());
    }
    for tag in if faulty { [2, 1] } else { [1, 2] } {
        world.recv::<i32>(from(0).tag(tag))?;
    }
    Ok(())
}

/// Rank 0 waits for 1, which waits for 2, which waits for 0.
fn crossed_sources(world: &Comm, faulty: bool) -> Outcome {
    match world.rank() {
        0 => {
            world.recv::<i32>(1)?;
            world.recv::<i32>(2)?;
        }
        1 => {
            world.recv::<i32>(2)?;
            world.ssend(&1, 0)?;
        }
        _ => {
            for to in if faulty { [0, 1] } else { [1, 0] } {
                world.ssend(&2, to)?;
            }
        }
    }
    Ok(())
}

/// Everybody sends to the right, and waits for the right one too.
fn sendrecv(world: &Comm, faulty: bool) -> Outcome {
    let (left, right) = ring(world);
    world.sendrecv(&[1, 2], right, if faulty { right } else { left })?;
    Ok(())
}
