//! Starts MPI jobs with the launcher that belongs to the program, and leaves nothing behind.
//!
//! An MPI program must be started by the launcher of the MPI library that it is linked to. With
//! the launcher of another family there is no error: each process thinks it is alone, rank 0 of 1.
//! This crate makes that mistake impossible. It decides, in this order:
//!
//! 1. the MPI library of the program ([`Mpi::of_executable`], [`Mpi::of_current_process`]);
//! 2. the launcher of the same installation ([`Launcher::of`]), or the batch system's
//!    ([`Launcher::of_batch`]);
//! 3. the settings that this machine and this job need, as environment variables
//!    ([`settings::decide`]): never one that the user made already, and none at all under a batch
//!    system ([`Batch::detect`]), whose administrator knows better;
//! 4. how many cores the job may take from other jobs of the same user ([`CoreTokens`]).
//!
//! Then a [`Job`] starts it, waits with a time limit, and ends the whole tree of processes of the
//! job and nothing else. The crate itself makes no MPI call.
//!
//! ```no_run
//! use std::time::Duration;
//! use phalanx_launch::Job;
//!
//! let finished = Job::new("target/release/pi")
//!     .ranks(4)
//!     .args(["--steps", "1000000"])
//!     .timeout(Duration::from_secs(60))
//!     .run()?;
//! assert!(finished.success());
//! # Ok::<(), phalanx_launch::Error>(())
//! ```

mod banner;
mod batch;
mod cores;
mod elf;
mod error;
mod host;
mod inherited;
mod job;
mod launcher;
mod marker;
mod mpi;
mod process;
pub mod settings;
mod sys;
mod tokens;
mod tree;
mod watchdog;

pub use banner::{BannerFilter, EndOfJob, without_banners};
pub use batch::{Batch, slurm_plugin};
pub use cores::{cores, physical_cores};
pub use error::{Error, Result};
pub use host::{Host, MOST_RANKS};
pub use job::{Finished, Job, Output, Pipes, Plan, RunningJob};
pub use launcher::{Launcher, slurm_plugins};
pub use marker::{JOB_VARIABLE, inside_a_job};
pub use mpi::{Family, Mpi};
pub use process::{ProcessStat, process_stat};
pub use settings::Setting;
pub use sys::allowed_processors;
pub use tokens::CoreTokens;
