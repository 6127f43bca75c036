//! Semaphores, conditions, events, barriers and timers between processes.

use std::time::{Duration, Instant};

use phalanx_process::{
    Barrier, Condition, ErrorKind, Event, Lock, Process, Queue, Result, Semaphore, Shared,
    SharedAtomic, Timer,
};

const SOON: Duration = Duration::from_secs(10);

/// Waits until something is so, which takes moments.
fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < SOON, "it does not become so");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn as_many_go_on_as_there_are_permits() -> Result<()> {
    let seats = Semaphore::new(2)?;
    let (inside, most) = (SharedAtomic::new(0_u32)?, SharedAtomic::new(0_u32)?);
    let visit = |(seats, inside, most): (Semaphore, SharedAtomic<u32>, SharedAtomic<u32>)| {
        for _ in 0..300 {
            let _permit = seats.acquire().unwrap();
            most.fetch_max(inside.fetch_add(1) + 1);
            std::thread::yield_now();
            inside.fetch_sub(1);
        }
    };
    let visitors: Vec<_> = (0..4)
        .map(|_| Process::spawn(visit, (seats.clone(), inside.clone(), most.clone())))
        .collect::<Result<_>>()?;
    for visitor in visitors {
        visitor.join()?;
    }
    assert!(most.load() <= 2, "{} were inside", most.load());
    assert_eq!(seats.available(), 2);
    Ok(())
}

#[test]
fn permits_are_released_forgotten_and_counted() -> Result<()> {
    let permits = Semaphore::bounded(2)?;
    let first = permits.acquire()?;
    let second = permits.try_acquire()?.expect("there are two");
    let start = Instant::now();
    assert!(permits.acquire_timeout(Duration::from_millis(50))?.is_none());
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(permits.release().unwrap_err().kind(), ErrorKind::State);
    first.release();
    assert_eq!(permits.available(), 1);
    second.forget();
    assert_eq!(permits.available(), 1);
    permits.release()?;
    assert_eq!(permits.available(), 2);
    assert!(permits.release().is_err());
    let more = Semaphore::new(0)?;
    more.release()?;
    more.release()?;
    assert_eq!(more.available(), 2);
    Ok(())
}

#[test]
fn permits_of_the_dead_are_free_again_and_those_that_wait_get_them() -> Result<()> {
    let permits = Semaphore::bounded(2)?;
    let ready = Queue::new()?;
    let holder = Process::spawn(
        |(permits, ready): (Semaphore, Queue<()>)| {
            let _both = (permits.acquire().unwrap(), permits.acquire().unwrap());
            ready.put(()).unwrap();
            loop {
                std::thread::park();
            }
        },
        (permits.clone(), ready.clone()),
    )?;
    let _: &Process<()> = &holder;
    ready.get()?;
    let waits = |permits: Semaphore| permits.acquire_timeout(SOON).unwrap().is_some();
    let waiters =
        [Process::spawn(waits, permits.clone())?, Process::spawn(waits, permits.clone())?];
    let victim = Process::spawn(waits, permits.clone())?;
    std::thread::sleep(Duration::from_millis(200));
    assert!(permits.try_acquire()?.is_none());
    victim.kill()?;
    victim.wait();
    holder.kill()?;
    for waiter in waiters {
        assert!(waiter.join()?);
    }
    let _permit = permits.acquire_timeout(SOON)?.expect("both are free");
    assert!(permits.try_acquire()?.is_some());
    Ok(())
}

#[test]
fn a_condition_hands_values_from_a_producer_to_consumers() -> Result<()> {
    type Parts = (Lock, Condition, Shared<[u64; 3]>);
    // The value: how many are there, how many were taken, their sum.
    let consume = |(lock, changed, state): Parts| {
        for _ in 0..200 {
            let mut guard = lock.lock().unwrap();
            changed.wait_for(&mut guard, || state.get().unwrap()[0] > 0).unwrap();
            state.update(|[there, taken, _]| (*there, *taken) = (*there - 1, *taken + 1)).unwrap();
            drop(guard);
            changed.notify_all();
        }
    };
    let lock = Lock::new()?;
    let (changed, state) = (Condition::new(&lock)?, Shared::new([0; 3])?);
    let consumers: Vec<_> = (0..3)
        .map(|_| Process::spawn(consume, (lock.clone(), changed.clone(), state.clone())))
        .collect::<Result<_>>()?;
    for _ in 0..600 {
        let mut guard = lock.lock()?;
        assert!(changed.wait_for_timeout(&mut guard, SOON, || state.get().unwrap()[0] < 3)?);
        state.update(|[there, ..]| *there += 1)?;
        drop(guard);
        changed.notify_all();
    }
    for consumer in consumers {
        consumer.join()?;
    }
    assert_eq!(state.get()?[..2], [0, 600]);
    Ok(())
}

type Waits = (Lock, Condition, SharedAtomic<u32>, SharedAtomic<u32>);

fn wait_once((lock, condition, waiting, woken): Waits) {
    let mut guard = lock.lock().unwrap();
    waiting.fetch_add(1);
    condition.wait(&mut guard).unwrap();
    woken.fetch_add(1);
}

#[test]
fn notify_wakes_so_many_of_those_that_live() -> Result<()> {
    let lock = Lock::new()?;
    let condition = Condition::new(&lock)?;
    let (waiting, woken) = (SharedAtomic::new(0)?, SharedAtomic::new(0)?);
    assert!(!condition.notify_one());
    let waiters: Vec<_> = (1..=6)
        .map(|i| {
            let parts = (lock.clone(), condition.clone(), waiting.clone(), woken.clone());
            let waiter = Process::spawn(wait_once, parts);
            until(|| waiting.load() == i);
            waiter
        })
        .collect::<Result<_>>()?;
    // Whoever has counted has given the lock up.
    drop(lock.lock()?);
    for i in [0, 2] {
        waiters[i].kill()?;
        waiters[i].wait();
    }
    assert!(condition.notify_one());
    until(|| woken.load() == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(woken.load(), 1);
    assert_eq!(condition.notify(2), 2);
    until(|| woken.load() == 3);
    assert_eq!(condition.notify_all(), 1);
    until(|| woken.load() == 4);
    assert_eq!(condition.notify_all(), 0);
    for waiter in waiters {
        waiter.wait();
    }
    Ok(())
}

#[test]
fn a_notification_for_one_that_dies_is_not_lost() -> Result<()> {
    let lock = Lock::new()?;
    let condition = Condition::new(&lock)?;
    let (waiting, woken) = (SharedAtomic::new(0)?, SharedAtomic::new(0)?);
    for round in 0..10 {
        let parts = || (lock.clone(), condition.clone(), waiting.clone(), woken.clone());
        let first = Process::spawn(wait_once, parts())?;
        until(|| waiting.load() == 2 * round + 1);
        let second = Process::spawn(wait_once, parts())?;
        until(|| waiting.load() == 2 * round + 2);
        // It is stopped, so that it cannot return before it dies.
        let guard = lock.lock()?;
        first.kill()?;
        assert!(condition.notify_one());
        drop(guard);
        second.join()?;
        first.wait();
        assert!(!lock.is_poisoned());
    }
    Ok(())
}

#[test]
fn a_wait_ends_with_its_time_and_with_the_death_of_a_holder() -> Result<()> {
    let lock = Lock::new()?;
    let condition = Condition::new(&lock)?;
    let mut guard = lock.lock()?;
    let start = Instant::now();
    assert!(!condition.wait_timeout(&mut guard, Duration::from_millis(50))?);
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert!(!condition.wait_for_timeout(&mut guard, Duration::from_millis(20), || false)?);
    let dies = |(lock, condition): (Lock, Condition)| -> () {
        let _guard = lock.lock().unwrap();
        condition.notify_all();
        std::process::exit(0);
    };
    let holder = Process::spawn(dies, (lock.clone(), condition.clone()))?;
    assert!(condition.wait(&mut guard).unwrap_err().is_poisoned());
    holder.wait();
    drop(guard);
    drop(lock.recover()?);
    let other = Lock::new()?;
    let mut guard = other.lock()?;
    assert_eq!(condition.wait(&mut guard).unwrap_err().kind(), ErrorKind::Argument);
    Ok(())
}

#[test]
fn those_who_wait_are_told_when_the_one_that_would_notify_dies_with_the_lock() -> Result<()> {
    let lock = Lock::new()?;
    let condition = Condition::new(&lock)?;
    let mut guard = lock.lock()?;
    let dies = |lock: Lock| -> () {
        let _guard = lock.lock().unwrap();
        std::process::exit(0);
    };
    let process = Process::spawn(dies, lock.clone())?;
    assert!(condition.wait_for(&mut guard, || false).unwrap_err().is_poisoned());
    process.wait();
    Ok(())
}

#[test]
fn an_event_wakes_all_who_wait_also_when_it_is_cleared_at_once() -> Result<()> {
    let (event, ready) = (Event::new()?, Queue::new()?);
    let waits = |(event, ready): (Event, Queue<()>)| {
        ready.put(()).unwrap();
        event.wait_timeout(SOON)
    };
    let waiters: Vec<_> = (0..4)
        .map(|_| Process::spawn(waits, (event.clone(), ready.clone())))
        .collect::<Result<_>>()?;
    for _ in 0..4 {
        ready.get()?;
    }
    std::thread::sleep(Duration::from_millis(300));
    waiters[3].kill()?;
    event.set();
    event.clear();
    for waiter in waiters.into_iter().take(3) {
        assert!(waiter.join()?);
    }
    assert!(!event.is_set());
    assert!(!event.wait_timeout(Duration::from_millis(20)));
    event.set();
    event.wait();
    assert!(event.is_set());
    Ok(())
}

#[test]
fn four_processes_pass_a_barrier_a_thousand_times() -> Result<()> {
    let (barrier, steps) = (Barrier::new(4)?, SharedAtomic::new(0_u64)?);
    let passes = |(barrier, steps): (Barrier, SharedAtomic<u64>)| {
        let mut leads = 0;
        for round in 0..1_000 {
            steps.fetch_add(1);
            let pass = barrier.wait_with(|| assert_eq!(steps.load(), 4 * (round + 1))).unwrap();
            assert!(steps.load() >= 4 * (round + 1));
            assert_eq!(pass.is_leader(), pass.index() == 3);
            leads += u32::from(pass.is_leader());
            barrier.wait().unwrap();
        }
        leads
    };
    let processes: Vec<_> = (0..4)
        .map(|_| Process::spawn(passes, (barrier.clone(), steps.clone())))
        .collect::<Result<_>>()?;
    let mut leads = 0;
    for process in processes {
        leads += process.join()?;
    }
    assert_eq!((leads, steps.load()), (1_000, 4_000));
    assert_eq!((barrier.parties(), barrier.waiting()), (4, 0));
    Ok(())
}

#[test]
fn a_barrier_breaks_when_one_that_waits_is_killed_and_works_again_after_a_reset() -> Result<()> {
    let barrier = Barrier::new(4)?;
    let waits = |barrier: Barrier| barrier.wait().map(|_| ()).map_err(|error| error.to_string());
    let waiters: Vec<_> =
        (0..3).map(|_| Process::spawn(waits, barrier.clone())).collect::<Result<_>>()?;
    until(|| barrier.waiting() == 3);
    let start = Instant::now();
    waiters[0].kill()?;
    for waiter in waiters.into_iter().skip(1) {
        let error = waiter.join()?.unwrap_err();
        assert!(error.contains("died"), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(barrier.is_broken());
    assert!(barrier.wait().unwrap_err().is_broken());
    barrier.reset();
    assert!(!barrier.is_broken());
    let others: Vec<_> =
        (0..3).map(|_| Process::spawn(waits, barrier.clone())).collect::<Result<_>>()?;
    barrier.wait()?;
    for other in others {
        assert_eq!(other.join()?, Ok(()));
    }
    Ok(())
}

fn pass_until_killed((barrier, passes): (Barrier, SharedAtomic<u64>)) {
    loop {
        match barrier.wait() {
            Ok(_) => drop(passes.fetch_add(1)),
            Err(error) => {
                assert!(error.is_broken());
                barrier.reset();
            }
        }
    }
}

#[test]
fn a_barrier_works_on_through_random_deaths() -> Result<()> {
    let (barrier, passes) = (Barrier::new(3)?, SharedAtomic::new(0)?);
    let spawn = || Process::spawn(pass_until_killed, (barrier.clone(), passes.clone()));
    let mut workers = vec![spawn()?, spawn()?, spawn()?];
    let start = Instant::now();
    for kill in 0..30 {
        let victim = std::mem::replace(&mut workers[kill % 3], spawn()?);
        victim.kill()?;
        let before = passes.load();
        until(|| passes.load() > before + 3);
        victim.wait();
        if start.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    for worker in workers {
        worker.kill()?;
        worker.wait();
    }
    Ok(())
}

#[test]
fn a_barrier_breaks_by_time_abort_reset_and_a_panic_in_the_action() -> Result<()> {
    let barrier = Barrier::new(2)?;
    let waits = |barrier: Barrier| barrier.wait().is_err_and(|error| error.is_broken());
    let after = |end: fn(&Barrier)| -> Result<bool> {
        let waiter = Process::spawn(waits, barrier.clone())?;
        until(|| barrier.waiting() == 1);
        end(&barrier);
        waiter.join()
    };
    assert!(after(Barrier::abort)?);
    assert!(barrier.wait().unwrap_err().to_string().contains("abort"));
    barrier.reset();
    assert!(after(Barrier::reset)?);
    assert!(!barrier.is_broken());
    assert!(after(|barrier| {
        let panics = || barrier.wait_with(|| panic!("in the action"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    })?);
    barrier.reset();
    assert_eq!(barrier.wait_timeout(Duration::from_millis(50))?, None);
    assert!(barrier.wait().unwrap_err().is_broken());
    assert_eq!(Barrier::new(0).unwrap_err().kind(), ErrorKind::Argument);
    Ok(())
}

#[test]
fn a_timer_runs_once_or_is_cancelled() -> Result<()> {
    let (send, receive) = std::sync::mpsc::channel();
    let start = Instant::now();
    let timer = Timer::after(Duration::from_millis(50), move || send.send(()).unwrap())?;
    receive.recv().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert!(!timer.cancel());
    timer.join()?;
    let timer = Timer::after(Duration::from_secs(3600), || unreachable!())?;
    assert!(timer.cancel() && timer.cancel());
    timer.join()?;
    let timer = Timer::after(Duration::ZERO, || panic!("late"))?;
    let error = timer.join().unwrap_err();
    assert!(error.is_panicked() && error.to_string().contains("late"), "{error}");
    Ok(())
}
