//! A rank that waits for its own message, which it cannot send while it waits.

use phalanx::prelude::*;

use crate::case::{Case, case, name};
use crate::forms::RECEIVES;

const KEYS: &[&str] = &["waiting for itself"];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in
        RECEIVES.iter().filter(|form| ["", "probe", "irecv-into", "object"].contains(&form.name))
    {
        // Without the fault the message comes from the other.
        let body = |world: &Comm, faulty| {
            match world.rank() {
                0 => (form.receive)(world, from(if faulty { 0 } else { 1 }))?,
                _ => (form.send)(world, to(0))?,
            }
            Ok(())
        };
        cases.push(case(name("receive-from-itself", form.name), 2, body).explained(KEYS));
    }
    cases.push(
        case("ssend-to-itself", 2, |world, faulty| {
            if faulty {
                world.ssend(&1, world.rank())?;
                world.recv::<i32>(world.rank())?;
            } else {
                let receiving = world.irecv_into(vec![0], world.rank())?;
                world.ssend(&1, world.rank())?;
                receiving.wait()?;
            }
            Ok(())
        })
        .explained(KEYS),
    );
    cases.push(
        case("self-communicator-receive", 2, |world, faulty| {
            let me = phalanx::self_().ok_or("MPI does not run")?;
            let sending = (!faulty).then(|| me.isend(vec![1], 0)).transpose()?;
            me.recv::<i32>(0)?;
            if let Some(sending) = sending {
                sending.wait()?;
            }
            Ok(world.barrier()?)
        })
        .explained(KEYS),
    );
    cases
}
