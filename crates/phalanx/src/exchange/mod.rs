//! Messages between ranks whose order cannot be wrong.

mod halo;

pub use halo::{Corners, Halo, Interior};
