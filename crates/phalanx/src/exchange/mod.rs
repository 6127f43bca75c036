//! Messages between ranks whose order cannot be wrong. One file a family; `README.md` says why each
//! of them cannot deadlock.

#[expect(clippy::module_inception, reason = "a file is named after its method")]
mod exchange;
mod halo;
mod in_order;
mod pairwise;
mod shift;
mod sparse;
mod swap;

pub use exchange::Exchange;
pub use halo::{Corners, Halo, HaloExchange, Interior};
