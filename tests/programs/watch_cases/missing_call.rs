//! A call that one rank does not make: the other half of a message, or its part in a collective.

use phalanx::prelude::*;

use crate::case::{Case, case, name};
use crate::collectives::{CALLS, Call};
use crate::forms::{RECEIVES, SENDS, large, small};

/// The receiver waits, the sender has gone on to a barrier.
pub fn send() -> Vec<Case> {
    let case_of = |form: &'static crate::forms::Receive| {
        case(name("receive-without-send", form.name), 2, |world, faulty| {
            match world.rank() {
                0 if faulty => {}
                0 => (form.send)(world, to(1))?,
                _ => (form.receive)(world, from(0))?,
            }
            Ok(world.barrier()?)
        })
        .explained(&["wait cycle", "missing in a collective"])
    };
    RECEIVES.iter().map(case_of).collect()
}

/// The sender waits, or its message stays for ever.
pub fn receive() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in &SENDS {
        let body = |data: fn() -> Vec<f64>| {
            move |world: &Comm, faulty: bool| {
                match world.rank() {
                    0 => (form.send)(world, &data(), to(1))?,
                    _ if faulty => {}
                    _ => drop((form.receive)(world, from(0))?),
                }
                Ok(world.barrier()?)
            }
        };
        const WAITS: &[&str] = &["wait cycle", "missing in a collective"];
        cases.push(case(name("send-without-receive", form.name), 2, body(large)).explained(WAITS));
        if !form.synchronous {
            let name = name("small-send-without-receive", form.name);
            let keys = &["wait cycle", "missing in a collective", "never received"];
            cases.push(case(name, 2, body(small)).harmless(keys));
        }
    }
    cases.push(
        case("bsend-without-receive", 2, |world, faulty| {
            if world.rank() == 0 {
                phalanx::attach_buffer(1024)?;
                world.bsend(&1, 1)?;
            } else if !faulty {
                world.recv::<i32>(0)?;
            }
            Ok(world.barrier()?)
        })
        .harmless(&["never received"]),
    );
    // It is matched, and then left alone.
    cases.push(
        case("message-dropped-after-probe", 2, |world, faulty| {
            if world.rank() == 0 {
                phalanx::attach_buffer(1024)?;
                world.bsend(&1, 1)?;
            } else {
                let message = world.probe(0)?;
                if !faulty {
                    message.recv::<i32>()?;
                }
            }
            Ok(world.barrier()?)
        })
        .harmless(&["never received"]),
    );
    cases
}

/// One rank of three leaves the call out, and comes to the barrier behind it.
pub fn collective() -> Vec<Case> {
    let case_of = |&(name, call): &(&str, Call)| {
        let case = case(format!("{name}-left-out"), 3, move |world, faulty| {
            if !(faulty && world.rank() == 1) {
                call(world)?;
            }
            Ok(())
        });
        // Whoever only sends in it may go on, if the library copies the message aside.
        match name {
            "bcast" | "scatter" | "bcast-object" => case.harmless(GONE),
            _ => case.explained(GONE),
        }
    };
    const GONE: &[&str] = &["missing in a collective"];
    CALLS.iter().map(case_of).collect()
}
