//! Pipes: order, both directions, the end of file, and waiting for several things.

use std::time::{Duration, Instant};

use phalanx_process::{PipeEnd, Process, Queue, Receiver, Result, Sender, one_way, pipe, wait_any};

fn echo(end: PipeEnd<String, String>) {
    while let Ok(text) = end.recv() {
        end.send(text).expect("the other end waits for it");
    }
}

#[test]
fn what_is_sent_comes_back() -> Result<()> {
    let (ours, theirs) = pipe()?;
    let process = Process::spawn(echo, theirs)?;
    for length in [0, 1, 100, 5000, 3_000_000] {
        ours.send("x".repeat(length))?;
        assert_eq!(ours.recv()?.len(), length);
    }
    drop(ours);
    process.join()
}

#[test]
fn both_ends_may_send_before_they_receive() -> Result<()> {
    let (ours, theirs) = pipe::<Vec<u64>, Vec<u64>>()?;
    let other = |end: PipeEnd<Vec<u64>, Vec<u64>>| {
        end.send(vec![1; 1_000_000]).expect("it is there");
        end.recv().expect("it comes").len()
    };
    let process = Process::spawn(other, theirs)?;
    ours.send(vec![2; 2_000_000])?;
    assert_eq!(ours.recv()?.len(), 1_000_000);
    assert_eq!(process.join()?, 2_000_000);
    Ok(())
}

#[test]
fn the_end_of_file_comes_after_everything_that_was_sent() -> Result<()> {
    let (sender, receiver) = one_way::<u32>()?;
    let send = |to: Sender<u32>| (0..100).for_each(|x| to.send(x).expect("it is there"));
    Process::spawn(send, sender)?.join()?;
    assert_eq!(receiver.iter().sum::<u32>(), 4950);
    assert!(receiver.recv().unwrap_err().is_closed());
    assert!(receiver.try_recv().unwrap_err().is_closed());
    Ok(())
}

#[test]
fn a_killed_process_is_the_end_of_file_for_the_other_end() -> Result<()> {
    let (ours, theirs) = pipe::<u8, u8>()?;
    let stay = |end: PipeEnd<u8, u8>| -> () {
        end.send(1).expect("it is there");
        std::thread::sleep(Duration::from_secs(60));
    };
    let process = Process::spawn(stay, theirs)?;
    assert_eq!(ours.recv()?, 1);
    let start = Instant::now();
    process.kill()?;
    assert!(ours.recv().unwrap_err().is_closed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let refused = ours.send(2).unwrap_err();
    assert!(refused.error().is_closed());
    assert_eq!(refused.into_item(), 2);
    Ok(())
}

#[test]
fn poll_says_whether_something_is_there() -> Result<()> {
    let (sender, receiver) = one_way::<u8>()?;
    assert!(!receiver.poll(Duration::from_millis(20))?);
    assert_eq!(receiver.try_recv()?, None);
    assert_eq!(receiver.recv_timeout(Duration::from_millis(20))?, None);
    sender.send(1)?;
    assert!(receiver.poll(Duration::ZERO)?);
    assert_eq!(receiver.try_recv()?, Some(1));
    drop(sender);
    assert!(receiver.poll(Duration::from_secs(10))?);
    Ok(())
}

#[test]
fn several_things_are_waited_for_at_once() -> Result<()> {
    let queue: Queue<u32> = Queue::new()?;
    let (sender, receiver) = one_way::<u32>()?;
    let process = Process::spawn(|()| -> () { std::thread::sleep(Duration::from_secs(60)) }, ())?;
    let things: [&dyn phalanx_process::Ready; 3] = [&queue, &receiver, &process];
    assert!(wait_any(&things, Some(Duration::from_millis(20)))?.is_empty());

    let put = |queue: Queue<u32>| {
        std::thread::sleep(Duration::from_millis(50));
        queue.put(1).expect("it is open");
    };
    let putter = Process::spawn(put, queue.clone())?;
    assert_eq!(wait_any(&things, Some(Duration::from_secs(20)))?, [0]);
    assert_eq!(queue.get()?, 1);
    putter.join()?;

    let send = |to: Sender<u32>| to.send(2).expect("it is there");
    Process::spawn(send, sender.clone())?.join()?;
    assert_eq!(wait_any(&things, Some(Duration::from_secs(20)))?, [1]);
    assert_eq!(receiver.recv()?, 2);

    process.kill()?;
    assert_eq!(wait_any(&things, Some(Duration::from_secs(20)))?, [2]);
    assert!(wait_any(&[], None).is_err());
    Ok(())
}

#[test]
fn ends_go_through_pipes() -> Result<()> {
    let (ours, theirs) = pipe::<Receiver<u32>, u32>()?;
    let sum = |end: PipeEnd<u32, Receiver<u32>>| {
        let numbers = end.recv().expect("an end comes");
        end.send(numbers.iter().sum()).expect("it is there");
    };
    let process = Process::spawn(sum, theirs)?;
    let (sender, receiver) = one_way()?;
    ours.send(receiver)?;
    for x in 1..=10 {
        sender.send(x)?;
    }
    drop(sender);
    assert_eq!(ours.recv()?, 55);
    process.join()
}
