//! More ranks than cores.

use phalanx::prelude::*;

use crate::measure::{Buffers, Effort, compete};
use crate::row::{Goal, Row, Title, compare};

const NAME: &str = "allreduce, more ranks than cores";
const BYTES: usize = size_of::<f64>();

/// What an allreduce of one number may take, in seconds.
const LIMIT: f64 = 100e-6;

pub fn rows(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    if !effort.wants(NAME, BYTES) {
        return Ok(Vec::new());
    }
    let mut ours = |Buffers { send, recv }: &mut Buffers, times: usize| {
        (0..times).try_for_each(|_| world.allreduce_into(send, recv, Sum))
    };
    let mut buffers = Buffers::new(1, 1);
    let times = compete(world, effort, &mut buffers, &mut [&mut ours])?;
    assert_eq!(buffers.recv, [world.size() as f64]);
    let title = Title { name: NAME, ranks: world.size(), bytes: BYTES, per_iteration: 1.0 };
    let limit = vec![LIMIT; times[0].len()];
    Ok(vec![compare(&title, &times[0], "limit", &limit, Goal::AtMost(1.0))])
}
