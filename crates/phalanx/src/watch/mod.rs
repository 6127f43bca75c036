//! The watch: why a program does not go on. It makes no MPI call.

mod judge;
mod statement;
