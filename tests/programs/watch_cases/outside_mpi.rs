//! Ranks that wait for one which is busy with something else. Nobody can know whether that has an
//! end, so the watch warns and lets the program go on.

use std::thread;
use std::time::Duration;

use phalanx::prelude::*;

use crate::case::{Case, case};
use crate::collectives::call;
use crate::forms::some_receives;

const KEYS: &[&str] = &["waiting for a rank outside MPI"];

/// For ever, in a real program; here long enough for the watch.
fn is_busy(faulty: bool) {
    thread::sleep(if faulty { Duration::from_millis(3500) } else { Duration::from_millis(20) });
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for form in some_receives() {
        let body = |world: &Comm, faulty| {
            match world.rank() {
                0 => {
                    is_busy(faulty);
                    (form.send)(world, to(1))?;
                }
                _ => (form.receive)(world, from(0))?,
            }
            Ok(())
        };
        cases.push(case(crate::case::name("sender-is-busy", form.name), 2, body).explained(KEYS));
    }
    for name in ["barrier", "allreduce", "gather-object"] {
        let collective = call(name);
        let body = move |world: &Comm, faulty| {
            if world.rank() == 1 {
                is_busy(faulty);
            }
            Ok(collective(world)?)
        };
        cases.push(case(format!("{name}-with-a-busy-rank"), 3, body).explained(KEYS));
    }
    cases
}
