//! Settings of Open MPI's transports without which a truncated receive is written past its buffer.
//!
//! Open MPI 4.1 writes a large message past the end of a shorter receive buffer when its transport copies
//! straight from the sender's memory or into the receiver's (`get` and `put`, which TCP has, too): it
//! reports the truncation after the damage. Without these two the message passes in fragments,
//! each of which is cut to what is left of the buffer.
//!
//! Open MPI takes the setting from the environment. While other threads run nobody may change that: any of them may
//! read it, in C code without a lock. So it is set before `main`, when this is the only thread.

use std::ffi::CStr;
use std::fs;

use phalanx_sys as ffi;

const TRANSPORTS: [&CStr; 4] = [
    c"OMPI_MCA_btl_vader_flags",
    c"OMPI_MCA_btl_sm_flags",
    c"OMPI_MCA_btl_self_flags",
    c"OMPI_MCA_btl_tcp_flags",
];
const WITHIN_BUFFERS: &CStr = c"send,inplace";

/// Runs before `main`.
#[cfg(target_os = "linux")]
#[used]
// SAFETY: the section holds pointers to functions of this type, which are called once when the program is loaded.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        // Where it is not possible, `keep_within_buffers` says so when MPI is initialised.
        let _ = keep_within_buffers();
    }
    before_main
};

/// Sets what is not set yet; settings of the user stand.
///
/// # Errors
/// With what to do, if something is not set and other threads run already: in a library that a program with threads
/// has loaded, or where the variables were removed since the program began.
pub(super) fn keep_within_buffers() -> Result<(), String> {
    if ffi::family() != ffi::Family::OpenMpi {
        return Ok(());
    }
    let is_set = |name: &&CStr| std::env::var_os(&*name.to_string_lossy()).is_some();
    if TRANSPORTS.iter().all(is_set) {
        return Ok(());
    }
    let text = |it: &CStr| it.to_string_lossy().into_owned();
    if !is_only_thread() {
        let missing: Vec<String> = TRANSPORTS
            .iter()
            .filter(|name| !is_set(name))
            .map(|name| format!("{}={}", text(name), text(WITHIN_BUFFERS)))
            .collect();
        return Err(format!(
            "Open MPI needs settings that keep it within receive buffers, and the environment cannot be changed any \
             more because other threads run: start the program with {}, or initialise MPI before the first thread",
            missing.join(" ")
        ));
    }
    for name in TRANSPORTS {
        // SAFETY: both are C strings, and no other thread runs that could read the environment at this moment.
        unsafe { libc::setenv(name.as_ptr(), WITHIN_BUFFERS.as_ptr(), 0) };
    }
    Ok(())
}

/// Whether this process has no other thread. Not if the system does not tell.
fn is_only_thread() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_set_before_the_first_test_begins() {
        assert_eq!(keep_within_buffers(), Ok(()));
        if ffi::family() == ffi::Family::OpenMpi {
            for name in TRANSPORTS {
                let name = name.to_str().expect("ASCII");
                assert!(std::env::var_os(name).is_some_and(|it| !it.is_empty()), "{name}");
            }
        }
    }

    #[test]
    fn a_second_thread_is_seen() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || ended.recv());
        assert!(!is_only_thread());
        drop(end);
        let _ = other.join();
    }
}
