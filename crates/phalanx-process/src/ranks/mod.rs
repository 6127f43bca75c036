//! The same tools across the ranks of a communicator.
//!
//! | module | what it does |
//! |---|---|
//! | `pool` | [`Pool::on`](crate::Pool::on): the other ranks work for rank 0 |

mod pool;
