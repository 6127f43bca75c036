//! What the programs of the tests share.

pub mod transcript;
pub mod watch_row;
