//! What the programs of the tests share.

pub mod watch_row;
