//! The loops in C.

use std::ffi::{c_int, c_void};

use mpi::ffi::MPI_Comm;
use phalanx::Comm;

#[link(name = "bench_messages", kind = "static")]
unsafe extern "C" {
    fn c_ping_pong(
        s: *const f64,
        r: *mut f64,
        n: c_int,
        times: c_int,
        rank: c_int,
        comm: MPI_Comm,
    ) -> c_int;
    fn c_ping_pong_bytes(
        s: *const c_void,
        r: *mut c_void,
        n: c_int,
        times: c_int,
        rank: c_int,
        comm: MPI_Comm,
    ) -> c_int;
    fn c_windows(s: *const f64, r: *mut f64, times: c_int, rank: c_int, comm: MPI_Comm) -> c_int;
    fn c_bcast(buffer: *mut f64, n: c_int, times: c_int, size: c_int, comm: MPI_Comm) -> c_int;
    fn c_allreduce(s: *const f64, r: *mut f64, n: c_int, times: c_int, comm: MPI_Comm) -> c_int;
    fn c_allgather(s: *const f64, r: *mut f64, n: c_int, times: c_int, comm: MPI_Comm) -> c_int;
    fn c_alltoall(s: *const f64, r: *mut f64, n: c_int, times: c_int, comm: MPI_Comm) -> c_int;
    fn c_shift(
        s: *const f64,
        r: *mut f64,
        n: c_int,
        times: c_int,
        rank: c_int,
        size: c_int,
        comm: MPI_Comm,
    ) -> c_int;
    fn c_halo(
        s: *const f64,
        r: *mut f64,
        n: c_int,
        times: c_int,
        rank: c_int,
        size: c_int,
        comm: MPI_Comm,
    ) -> c_int;
    fn c_ghosts_new(interior: c_int, rank: c_int, size: c_int) -> *mut c_void;
    fn c_ghosts_free(ghosts: *mut c_void) -> c_int;
    fn c_ghosts_exchange(
        ghosts: *const c_void,
        block: *mut f64,
        times: c_int,
        comm: MPI_Comm,
    ) -> c_int;
}

#[link(name = "bench_pi", kind = "static")]
unsafe extern "C" {
    /// Adds up 4/(1+x²) in the order of the steps.
    pub safe fn c_pi_textbook(first: u64, last: u64, width: f64) -> f64;
}

#[link(name = "bench_pi_exact", kind = "static")]
unsafe extern "C" {
    /// Adds up 4/(1+x²) as the example does; the lower 64 bits.
    pub safe fn c_pi_exact(first: u64, last: u64, width: f64) -> u64;
}

/// Messages in a window.
pub const WINDOW: usize = 64;

fn int(number: usize) -> c_int {
    c_int::try_from(number).expect("benchmarks count with few bits")
}

fn check(code: c_int) {
    assert_eq!(code, 0, "a call of the reference failed");
}

/// Round trips of `recv.len()` numbers.
pub fn ping_pong(comm: &Comm, send: &[f64], recv: &mut [f64], times: usize) {
    let (n, times, rank) = (int(recv.len()), int(times), int(comm.rank()));
    assert!(send.len() >= recv.len() && comm.size() == 2);
    // SAFETY: both buffers hold `n` numbers, and the loop completes all messages.
    check(unsafe { c_ping_pong(send.as_ptr(), recv.as_mut_ptr(), n, times, rank, comm.as_raw()) });
}

/// Round trips of `recv.len()` bytes.
pub fn ping_pong_bytes(comm: &Comm, send: &[u8], recv: &mut [u8], times: usize) {
    let (n, times, rank) = (int(recv.len()), int(times), int(comm.rank()));
    assert!(send.len() >= recv.len() && comm.size() == 2);
    let (send, recv) = (send.as_ptr().cast(), recv.as_mut_ptr().cast());
    // SAFETY: both buffers hold `n` bytes, and the loop completes all messages.
    check(unsafe { c_ping_pong_bytes(send, recv, n, times, rank, comm.as_raw()) });
}

/// Windows of messages of one number, each with an answer.
pub fn windows(comm: &Comm, send: &[f64], recv: &mut [f64], times: usize) {
    let (times, rank) = (int(times), int(comm.rank()));
    assert!(send.len() >= WINDOW && recv.len() >= WINDOW && comm.size() == 2);
    // SAFETY: both buffers hold a window, and the loop completes all messages.
    check(unsafe { c_windows(send.as_ptr(), recv.as_mut_ptr(), times, rank, comm.as_raw()) });
}

/// Broadcasts with the ranks as root in turn.
pub fn bcast(comm: &Comm, buffer: &mut [f64], times: usize) {
    let (n, times, size) = (int(buffer.len()), int(times), int(comm.size()));
    // SAFETY: the buffer holds `n` numbers, and the loop completes all messages.
    check(unsafe { c_bcast(buffer.as_mut_ptr(), n, times, size, comm.as_raw()) });
}

/// Sums of as many numbers.
pub fn allreduce(comm: &Comm, send: &[f64], recv: &mut [f64], times: usize) {
    let (n, times) = (int(send.len()), int(times));
    assert_eq!(send.len(), recv.len());
    // SAFETY: both buffers hold `n` numbers, and the loop completes all messages.
    check(unsafe { c_allreduce(send.as_ptr(), recv.as_mut_ptr(), n, times, comm.as_raw()) });
}

/// A block of each rank to every rank.
pub fn allgather(comm: &Comm, send: &[f64], recv: &mut [f64], times: usize) {
    let (n, times) = (int(send.len()), int(times));
    assert_eq!(send.len() * comm.size(), recv.len());
    // SAFETY: one buffer holds `n` numbers, the other as many for each rank.
    check(unsafe { c_allgather(send.as_ptr(), recv.as_mut_ptr(), n, times, comm.as_raw()) });
}

/// A block of each rank for every rank.
pub fn alltoall(comm: &Comm, send: &[f64], recv: &mut [f64], times: usize) {
    let (n, times) = (int(send.len() / comm.size()), int(times));
    assert_eq!(send.len(), recv.len());
    // SAFETY: both buffers hold `n` numbers for each rank.
    check(unsafe { c_alltoall(send.as_ptr(), recv.as_mut_ptr(), n, times, comm.as_raw()) });
}

/// Shifts of as many numbers to the right neighbour.
pub fn shift(comm: &Comm, send: &[f64], recv: &mut [f64], times: usize) {
    let (n, times, rank, size) = (int(recv.len()), int(times), int(comm.rank()), int(comm.size()));
    assert_eq!(send.len(), recv.len());
    let (send, recv) = (send.as_ptr(), recv.as_mut_ptr());
    // SAFETY: both buffers hold `n` numbers, and the loop completes all messages.
    check(unsafe { c_shift(send, recv, n, times, rank, size, comm.as_raw()) });
}

/// Exchanges with two neighbours, half of the buffers each.
pub fn halo(comm: &Comm, send: &[f64], recv: &mut [f64], times: usize) {
    let (n, times, rank, size) =
        (int(recv.len() / 2), int(times), int(comm.rank()), int(comm.size()));
    assert_eq!(send.len(), recv.len());
    let (send, recv) = (send.as_ptr(), recv.as_mut_ptr());
    // SAFETY: both buffers hold two blocks of `n` numbers, and the loop completes all messages.
    check(unsafe { c_halo(send, recv, n, times, rank, size, comm.as_raw()) });
}

/// The ghost cells of a square block, one cell wide, on a torus of ranks one column wide.
pub struct Ghosts {
    memory: *mut c_void,
    interior: usize,
}

impl Ghosts {
    /// The plan of an exchange around an interior of so many rows and columns.
    pub fn new(comm: &Comm, interior: usize) -> Ghosts {
        // SAFETY: three numbers, and MPI is initialized, as there is a communicator.
        let memory = unsafe { c_ghosts_new(int(interior), int(comm.rank()), int(comm.size())) };
        assert!(!memory.is_null(), "no plan of the reference");
        Ghosts { memory, interior }
    }

    /// Brings the ghost cells up to date, so many times.
    pub fn exchange(&self, comm: &Comm, block: &mut [f64], times: usize) {
        assert_eq!(block.len(), (self.interior + 2).pow(2));
        // SAFETY: the block has the shape of the plan, and the loop completes all messages.
        check(unsafe {
            c_ghosts_exchange(self.memory, block.as_mut_ptr(), int(times), comm.as_raw())
        });
    }
}

impl Drop for Ghosts {
    fn drop(&mut self) {
        // SAFETY: made by `c_ghosts_new`, and freed once.
        check(unsafe { c_ghosts_free(self.memory) });
    }
}
