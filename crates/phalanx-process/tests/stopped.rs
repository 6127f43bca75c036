//! Processes that are stopped, as by Ctrl-Z or a debugger.

use std::time::{Duration, Instant};

use phalanx_process::{PriorityQueue, Process, Queue, Result, Semaphore};

fn signal(process: u32, signal: i32) {
    // SAFETY: it only sends a signal.
    let code = unsafe { libc::kill(process.try_into().expect("a process id"), signal) };
    assert_eq!(code, 0);
}

/// A call with a time limit ends, though the only one that could hand its turn on is stopped.
fn ends_in_time<R>(call: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = call();
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    result
}

#[test]
fn time_limits_hold_though_a_consumer_is_stopped_while_it_waits() -> Result<()> {
    let queue = Queue::new()?;
    let consumer = |queue: Queue<u32>| queue.get().expect("one is put");
    let consumer = Process::spawn(consumer, queue.clone())?;
    std::thread::sleep(Duration::from_millis(300));
    signal(consumer.pid(), libc::SIGSTOP);
    queue.put(1)?;
    let got = ends_in_time(|| queue.get_timeout(Duration::from_millis(200)));
    assert!(matches!(got, Ok(None)), "{got:?}");
    let got = ends_in_time(|| queue.try_get());
    assert!(matches!(got, Ok(None)), "{got:?}");
    signal(consumer.pid(), libc::SIGCONT);
    assert_eq!(consumer.join()?, 1);
    Ok(())
}

#[test]
fn time_limits_hold_though_a_consumer_of_a_sorted_queue_is_stopped() -> Result<()> {
    let queue = PriorityQueue::new()?;
    let consumer = |queue: PriorityQueue<u32>| queue.get().expect("one is put");
    let consumer = Process::spawn(consumer, queue.clone())?;
    std::thread::sleep(Duration::from_millis(300));
    signal(consumer.pid(), libc::SIGSTOP);
    queue.put(0, 1)?;
    let got = ends_in_time(|| queue.get_timeout(Duration::from_millis(200)));
    assert!(matches!(got, Ok(None)), "{got:?}");
    signal(consumer.pid(), libc::SIGCONT);
    assert_eq!(consumer.join()?, 1);
    Ok(())
}

#[test]
fn time_limits_hold_though_a_producer_is_stopped_while_it_waits_for_room() -> Result<()> {
    let queue = Queue::bounded(1)?;
    queue.put(1)?;
    let producer = |queue: Queue<u32>| queue.put(2).expect("it is open");
    let producer = Process::spawn(producer, queue.clone())?;
    std::thread::sleep(Duration::from_millis(300));
    signal(producer.pid(), libc::SIGSTOP);
    assert_eq!(queue.get()?, 1);
    let put = ends_in_time(|| queue.put_timeout(3, Duration::from_millis(200)));
    assert!(put.is_err());
    signal(producer.pid(), libc::SIGCONT);
    producer.join()?;
    assert_eq!(queue.get()?, 2);
    Ok(())
}

#[test]
fn time_limits_hold_though_one_that_waits_for_a_permit_is_stopped() -> Result<()> {
    let semaphore = Semaphore::new(0)?;
    let waits = |semaphore: Semaphore| drop(semaphore.acquire());
    let waits = Process::spawn(waits, semaphore.clone())?;
    std::thread::sleep(Duration::from_millis(300));
    signal(waits.pid(), libc::SIGSTOP);
    semaphore.release()?;
    let got = ends_in_time(|| semaphore.acquire_timeout(Duration::from_millis(200)));
    assert!(matches!(got, Ok(None)), "{got:?}");
    signal(waits.pid(), libc::SIGCONT);
    waits.join()
}
