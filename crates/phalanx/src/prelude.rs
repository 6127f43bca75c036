//! What most programs use: `use phalanx::prelude::*;`.

pub use crate::{
    BitAnd, BitOr, BitXor, Located, LogicalAnd, LogicalOr, LogicalXor, Max, MaxLoc, Min, MinLoc,
    Product, Sum,
};
pub use crate::{Comm, Element, Source, Status, any, from, op, to};
