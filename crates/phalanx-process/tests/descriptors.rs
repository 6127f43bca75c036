//! Closed standard streams, and limits of the system.

use std::time::Duration;

use phalanx_process::{Process, Queue, Result};

fn close(descriptor: i32) {
    // SAFETY: nothing in these processes depends on the standard streams.
    unsafe { libc::close(descriptor) };
}

fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: it reads one structure.
    let code = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(code, 0);
}

fn write_a_lot() {
    for descriptor in [1, 2] {
        for _ in 0..1000 {
            let text = [b'x'; 4096];
            // SAFETY: it reads that many bytes.
            unsafe { libc::write(descriptor, text.as_ptr().cast(), text.len()) };
        }
    }
}

/// In a process without standard streams: children, which write to theirs, and a queue.
fn without_streams(results: Queue<u32>) -> u32 {
    for descriptor in 0..3 {
        close(descriptor);
    }
    let children: Vec<_> = (0..3)
        .map(|number| {
            let child = |(number, results): (u32, Queue<u32>)| {
                write_a_lot();
                results.put(number).expect("it is open");
                number
            };
            Process::spawn(child, (number, results.clone())).expect("a child")
        })
        .collect();
    write_a_lot();
    children.into_iter().map(|child| child.join().expect("it ends well")).sum()
}

#[test]
fn processes_without_standard_streams_have_children_that_write_to_theirs() -> Result<()> {
    let results = Queue::new()?;
    let mut process = Process::spawn(without_streams, results.clone())?;
    assert_eq!(process.join_timeout(Duration::from_secs(20))?, Some(3));
    assert_eq!(results.len(), 3);
    Ok(())
}

#[test]
fn the_shared_memory_is_never_a_standard_stream() -> Result<()> {
    // The root of a tree of its own, whose streams are closed before it makes the memory.
    if std::env::var_os("ROOT_WITHOUT_STREAMS").is_none() {
        let root = std::process::Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", "the_shared_memory_is_never_a_standard_stream"])
            .env("ROOT_WITHOUT_STREAMS", "1")
            .status()
            .expect("it starts");
        assert_eq!(root.code(), Some(0));
        return Ok(());
    }
    for descriptor in 0..3 {
        close(descriptor);
    }
    let queue = Queue::new()?;
    write_a_lot();
    let child = |queue: Queue<u32>| queue.put(7).expect("it is open");
    Process::spawn(child, queue.clone())?.join()?;
    write_a_lot();
    assert_eq!(queue.get()?, 7);
    Ok(())
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("it can be read").count()
}

fn children_of_this_process() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("it can be read");
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .map(|children| children.split_whitespace().count())
        .sum()
}

/// Starts children while the system has descriptors for some steps of a start only.
fn few_descriptors(_: ()) -> (usize, usize, usize) {
    Process::spawn(|()| (), ()).expect("a child").join().expect("it ends well");
    // The thread that watches over children closes what is left of one a moment later.
    std::thread::sleep(Duration::from_millis(300));
    let open = open_descriptors();
    let mut refused = 0;
    for more in 0..15 {
        limit_softly(open as u64 - 2 + more);
        match Process::spawn(|()| (), ()) {
            Ok(child) => drop(child.join()),
            Err(_) => refused += 1,
        }
    }
    limit_softly(1000);
    std::thread::sleep(Duration::from_millis(300));
    (refused, open_descriptors().abs_diff(open), children_of_this_process())
}

fn limit_softly(descriptors: u64) {
    let limit = libc::rlimit { rlim_cur: descriptors, rlim_max: 1000 };
    // SAFETY: it reads one structure.
    let code = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(code, 0);
}

#[test]
fn a_start_for_which_descriptors_are_missing_leaves_nothing() -> Result<()> {
    let (refused, descriptors, children) = Process::spawn(few_descriptors, ())?.join()?;
    assert!(refused > 0);
    assert_eq!(descriptors, 0, "descriptors are left open");
    assert_eq!(children, 0, "processes are left");
    Ok(())
}

#[test]
fn little_address_space_is_an_error_and_not_a_crash() -> Result<()> {
    fn work(_: ()) -> bool {
        let queue = Queue::new().expect("memory for a queue");
        limit(libc::RLIMIT_AS, 700 << 20);
        let large = vec![1_u8; 100 << 20];
        let mut refused = false;
        for _ in 0..5 {
            refused |= queue.put(large.clone()).is_err();
        }
        queue.put(vec![7]).expect("there is room for one byte");
        let mut last = Vec::new();
        while let Ok(Some(bytes)) = queue.try_get() {
            last = bytes;
        }
        refused && last == [7]
    }
    assert!(Process::spawn(work, ())?.join()?);
    Ok(())
}
