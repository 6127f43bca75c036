//! What is measured, one file a topic.

mod collective;
mod crowd;
mod exchange;
mod message;
mod object;
mod pi;

use phalanx::Comm;

use crate::measure::Effort;
use crate::row::Row;

/// Rows that need no MPI.
pub fn on_one_core(effort: &Effort) -> Vec<Row> {
    pi::rows(effort)
}

/// Messages and collectives, on a core for each rank.
pub fn on_two_ranks(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    let mut rows = message::rows(world, effort)?;
    rows.extend(object::rows(world, effort)?);
    rows.extend(exchange::rows(world, effort)?);
    rows.extend(collective::rows(world, effort)?);
    Ok(rows)
}

/// What becomes of it when ranks share cores.
pub fn on_many_ranks(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    crowd::rows(world, effort)
}

/// Few or many of them have something for each other.
pub fn on_sparse_ranks(world: &Comm, effort: &Effort) -> phalanx::Result<Vec<Row>> {
    exchange::sparse_rows(world, effort)
}
