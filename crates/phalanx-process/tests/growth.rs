//! What is not used any more goes: objects, descriptors, threads. One test, because it counts those of the process.

use std::fs;
use std::time::Duration;

use phalanx_process::{
    Barrier, Condition, Event, Lock, ManagedMap, ManagedVec, Pool, PriorityQueue, Process, Queue,
    Result, Semaphore, Shared, SharedArray, living_objects, pipe,
};

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).expect("it can be read").count()
}

fn one_of_each() -> Result<()> {
    let queue: Queue<Vec<u64>> = Queue::new()?;
    queue.put(vec![1; 10_000])?;
    let (ours, theirs) = pipe::<u32, u32>()?;
    let lock = Lock::new()?;
    let condition = Condition::new(&lock)?;
    let list = ManagedVec::from_items([1, 2, 3])?;
    let map: ManagedMap<String, ManagedVec<i32>> = ManagedMap::new()?;
    let priority = PriorityQueue::new()?;
    priority.put(1, "x".to_owned())?;
    let array = SharedArray::<f64>::zeroed(1000)?;
    let others = (Barrier::new(2)?, Event::new()?, Semaphore::new(1)?, Shared::new(1_u64)?);
    let use_some = |(queue, end, array): (
        Queue<Vec<u64>>,
        phalanx_process::PipeEnd<u32, u32>,
        SharedArray<f64>,
    )| {
        queue.get().expect("it is there").len()
            + array.len()
            + end.recv().expect("it comes") as usize
    };
    ours.send(7)?;
    let process = Process::spawn(use_some, (queue.clone(), theirs, array.clone()))?;
    assert_eq!(process.join()?, 11_007);
    drop((others, condition, list, map));
    Ok(())
}

#[test]
fn nothing_grows() -> Result<()> {
    let pool = Pool::new(1)?;
    let count = || {
        Ok::<_, phalanx_process::Error>((
            living_objects()?,
            entries("/proc/self/fd"),
            entries("/proc/self/task"),
        ))
    };
    one_of_each()?;
    pool.map(|x: u64| x, 0..100)?;
    // The thread that watches over children lets go of one a moment after others have seen its end.
    let pause = Duration::from_millis(300);
    std::thread::sleep(pause);
    let before = count()?;
    for round in 0..300 {
        one_of_each()?;
        if round % 30 == 0 {
            // One that is killed leaves its handles to those who look after it.
            let queue: Queue<u8> = Queue::new()?;
            let victim = Process::spawn(|queue: Queue<u8>| queue.get().is_ok(), queue.clone())?;
            victim.kill()?;
            victim.wait();
            pool.map(|x: u64| x, 0..1000)?;
        }
    }
    std::thread::sleep(pause);
    assert_eq!(count()?, before, "objects, descriptors, threads");
    Ok(())
}
