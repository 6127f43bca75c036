//! Which rank of a node reports a failure: the first.
//!
//! An assertion that fails on every rank would print one report a rank. The ranks of a node share a
//! page of memory with one word in it; who changes it from zero prints, the others stay silent. The
//! file behind the page is unlinked as soon as all have opened it: nothing is left behind, whatever
//! ends the job.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const PAGE: usize = 4096;

struct Claim(NonNull<AtomicU32>);

// SAFETY: the word is atomic and is mapped until the process ends.
unsafe impl Send for Claim {}
// SAFETY: as above.
unsafe impl Sync for Claim {}

static CLAIM: OnceLock<Claim> = OnceLock::new();

/// Where a file can live in memory: nothing of it should reach a disk.
fn directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Creates the page. Called by one rank of a node, which tells the others the path.
pub(crate) fn create(unique: u64) -> io::Result<PathBuf> {
    let path = directory().join(format!("phalanx-{}-{unique:016x}", std::process::id()));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    file.set_len(PAGE as u64)?;
    map(&file)?;
    Ok(path)
}

/// Opens the page that another rank has made.
pub(crate) fn open(path: &Path) -> io::Result<()> {
    map(&OpenOptions::new().read(true).write(true).open(path)?)
}

pub(crate) fn unlink(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

fn map(file: &File) -> io::Result<()> {
    // SAFETY: a new shared mapping of a file that has at least a page; the result is checked.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    match NonNull::new(address.cast()) {
        Some(word) => {
            CLAIM.get_or_init(|| Claim(word));
            Ok(())
        }
        None => Err(io::Error::other("the page was mapped at address zero")),
    }
}

/// Whether this rank is the first of its node to report. Without a page every rank is.
pub(crate) fn is_first() -> bool {
    let me = std::process::id();
    CLAIM.get().is_none_or(|claim| {
        // SAFETY: the page is mapped until the process ends.
        let word = unsafe { claim.0.as_ref() };
        match word.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(owner) => owner == me,
        }
    })
}

/// The cores that this process may run on, as bits.
pub(crate) fn core_mask() -> [u64; 16] {
    // SAFETY: a set of cores is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is writable and of the size that is given.
    let code = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    let mut mask = [0; 16];
    if code == 0 {
        for core in 0..mask.len() * 64 {
            // SAFETY: the index is below CPU_SETSIZE (1024).
            if unsafe { libc::CPU_ISSET(core, &set) } {
                mask[core / 64] |= 1 << (core % 64);
            }
        }
    }
    mask
}

/// The host's name, for reports that must not call MPI.
pub(crate) fn host_name() -> String {
    let mut name = vec![0 as libc::c_char; 256];
    // SAFETY: the buffer has the length that is given.
    let code = unsafe { libc::gethostname(name.as_mut_ptr(), name.len() - 1) };
    if code != 0 {
        return "unknown host".to_owned();
    }
    crate::raw::string_from(&name)
}
