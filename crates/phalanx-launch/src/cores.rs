//! How many ranks there is room for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::sys;

/// Number of processors that this process may use at the same time: hardware threads, as far as its affinity
/// and its control group allow.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Number of cores that this process may use, where the hardware threads of one count once. So many
/// ranks Open MPI starts without being told more.
pub fn physical_cores() -> usize {
    match distinct(&sys::allowed_processors(), Path::new("/sys/devices/system/cpu")) {
        // The system does not tell, or has more processors than it can tell of in this way.
        0 => cores(),
        found => found.min(cores()),
    }
}

/// How many cores these processors are threads of. One of which nothing is known is a core of its own.
fn distinct(processors: &[usize], about: &Path) -> usize {
    let core_of = |processor: &usize| {
        let file = about.join(format!("cpu{processor}/topology/thread_siblings_list"));
        fs::read_to_string(file).map_or(processor.to_string(), |list| list.trim().to_owned())
    };
    processors.iter().map(core_of).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_core_count_once_and_only_those_that_are_allowed() {
        let folder = std::env::temp_dir().join(format!("phalanx-cores-{}", std::process::id()));
        // Two cores of two threads each, numbered as Linux does.
        for (processor, siblings) in [(0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")] {
            let topology = folder.join(format!("cpu{processor}/topology"));
            fs::create_dir_all(&topology).unwrap();
            fs::write(topology.join("thread_siblings_list"), format!("{siblings}\n")).unwrap();
        }
        assert_eq!(distinct(&[0, 1, 2, 3], &folder), 2);
        assert_eq!(distinct(&[0, 2], &folder), 1);
        assert_eq!(distinct(&[0, 1], &folder), 2);
        assert_eq!(distinct(&[0, 7, 8], &folder), 3, "nothing is known of 7 and 8");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn there_is_a_core_here_and_no_more_than_processors() {
        assert!((1..=cores()).contains(&physical_cores()));
    }
}
