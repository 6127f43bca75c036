//! Several requests at once, waited for together.

use phalanx::prelude::*;
use phalanx::{RequestSet, Result};

use crate::case::{Case, Outcome, case};

const CYCLE: &[&str] = &["receive cycle", "wait cycle"];

type Wait = fn(RequestSet<(Vec<usize>, Status)>) -> Result<()>;

/// Receives from all others; what ends the wait are messages that each sends behind it.
fn before_the_sends(world: &Comm, faulty: bool, wait: Wait) -> Outcome {
    let others = || (0..world.size()).filter(|&rank| rank != world.rank());
    let mut set = RequestSet::new();
    for other in others() {
        set.push(world.irecv_into(vec![0], other)?);
    }
    let sending = |sends: &mut RequestSet<Vec<usize>>| -> Result<()> {
        for other in others() {
            sends.push(world.isend(vec![world.rank()], other)?);
        }
        Ok(())
    };
    let mut sends = RequestSet::new();
    if !faulty {
        sending(&mut sends)?;
    }
    wait(set)?;
    if faulty {
        sending(&mut sends)?;
    }
    sends.wait_all()?;
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let waits: [(&str, Wait, &[&str]); 3] = [
        ("wait-all", |set| set.wait_all().map(drop), CYCLE),
        (
            "wait-any",
            |mut set| {
                while set.wait_any()?.is_some() {}
                Ok(())
            },
            &["receive cycle", "wait cycle", "any-source knot"],
        ),
        (
            "wait-some",
            |mut set| {
                while !set.wait_some()?.is_empty() {}
                Ok(())
            },
            &["receive cycle", "wait cycle", "any-source knot"],
        ),
    ];
    let mut cases = Vec::new();
    for (name, wait, keys) in waits {
        for ranks in [2, 3] {
            let body = move |world: &Comm, faulty| before_the_sends(world, faulty, wait);
            let name = format!("{name}-before-the-sends-of-{ranks}");
            cases.push(case(name, ranks, body).explained(keys));
        }
    }
    cases.push(
        case("scope-before-the-send", 2, |world, faulty| {
            let other = 1 - world.rank();
            let mut got = [0];
            world.scope(|s| {
                if !faulty {
                    s.isend(&[1], other)?;
                }
                s.irecv_into(&mut got, other).map(drop)
            })?;
            if faulty {
                world.send(&[1], other)?;
            }
            Ok(())
        })
        .explained(CYCLE),
    );
    cases.push(
        case("block-on-before-the-send", 2, |world, faulty| {
            let other = 1 - world.rank();
            let receiving = world.irecv_into(vec![0], other)?;
            let sending = (!faulty).then(|| world.isend(vec![1], other)).transpose()?;
            phalanx::block_on(receiving)?;
            match sending {
                Some(sending) => drop(sending.wait()?),
                None => world.send(&[1], other)?,
            }
            Ok(())
        })
        // A future is asked again and again, by whoever it is.
        .explained(&["receive cycle", "wait cycle", "polling without progress"]),
    );
    // All sends are on their way; one of the receives has another tag.
    cases.push(
        case("one-tag-of-a-set", 2, |world, faulty| {
            let other = 1 - world.rank();
            let (mut receives, mut sends) = (RequestSet::new(), RequestSet::new());
            for tag in 0..4 {
                let wrong = if faulty && world.rank() == 0 && tag == 2 { 10 } else { 0 };
                receives.push(world.irecv_into(vec![0], from(other).tag(tag + wrong))?);
                sends.push(world.isend(vec![tag], to(other).tag(tag))?);
            }
            receives.wait_all()?;
            sends.wait_all()?;
            Ok(())
        })
        .explained(&["tag near miss"]),
    );
    cases
}
