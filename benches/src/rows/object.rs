//! Small values that are serialised.

use phalanx::Comm;
use serde::{Deserialize, Serialize};

use crate::measure::{Effort, compete};
use crate::reference;
use crate::row::{Goal, Row, Title, compare};

const NAME: &str = "object ping-pong";

/// A small struct, such as a task for a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    id: u64,
    kind: Kind,
    position: [f64; 3],
    weight: f64,
    urgent: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Split {
        depth: u32,
    },
    #[allow(dead_code)]
    Finish,
}

struct Values {
    task: Task,
    last: Option<Task>,
    send: Vec<u8>,
    recv: Vec<u8>,
}

pub fn rows(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    let peer = 1 - world.rank();
    let task = Task {
        id: 42,
        kind: Kind::Split { depth: 7 },
        position: [0.5, 1.5, 2.5],
        weight: 1.0,
        urgent: true,
    };

    // What one of them takes on the wire, header included.
    let sending = world.isend_object(&task, peer)?;
    let (_, got) = world.recv_object_with_status::<Task>(peer)?;
    sending.wait()?;
    let bytes = got.len;
    if !effort.wants(NAME, bytes) {
        return Ok(Vec::new());
    }

    let mut ours = |values: &mut Values, times: usize| {
        if peer == 1 {
            for _ in 0..times {
                world.send_object(&values.task, peer)?;
                values.last = Some(world.recv_object(peer)?);
            }
        } else {
            for _ in 0..times {
                values.last = Some(world.recv_object(peer)?);
                world.send_object(&values.task, peer)?;
            }
        }
        Ok(())
    };
    let mut c = |values: &mut Values, times: usize| {
        reference::ping_pong_bytes(world, &values.send, &mut values.recv, times);
        Ok(())
    };
    let mut values = Values { task, last: None, send: vec![1; bytes], recv: vec![0; bytes] };
    let times = compete(world, effort, &mut values, &mut [&mut ours, &mut c])?;
    assert_eq!(values.last.as_ref(), Some(&values.task));
    assert_eq!(values.recv, values.send);
    let title = Title { name: NAME, ranks: world.size(), bytes, per_iteration: 2.0 };
    Ok(vec![compare(&title, &times[0], "C, same bytes", &times[1], Goal::AtMost(1.3))])
}
