//! Values and arrays that processes share.

use std::time::Duration;

use phalanx_process::{
    ErrorKind, Process, Queue, Result, Shared, SharedArray, SharedAtomic, bytemuck,
};

const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

// SAFETY: two numbers without padding, of which zeros are a value.
unsafe impl bytemuck::Zeroable for Point {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Point {}

#[test]
fn changes_are_seen_by_all_and_none_is_lost() -> Result<()> {
    let point = Shared::new(Point { x: 0.0, y: 1.0 })?;
    let moves = |point: Shared<Point>| {
        for _ in 0..2_000 {
            point.update(|point| *point = Point { x: point.x + 1.0, y: point.y - 1.0 }).unwrap();
        }
    };
    let movers = [Process::spawn(moves, point.clone())?, Process::spawn(moves, point.clone())?];
    for _ in 0..100 {
        let now = point.get()?;
        assert_eq!(now.x + now.y, 1.0);
    }
    for mover in movers {
        mover.join()?;
    }
    assert_eq!(point.get()?, Point { x: 4_000.0, y: -3_999.0 });
    point.set(Point { x: 7.0, y: 8.0 })?;
    point.lock()?.x = 9.0;
    assert_eq!(point.get()?, Point { x: 9.0, y: 8.0 });
    assert!(point.lock_timeout(Duration::ZERO)?.is_some());
    Ok(())
}

#[test]
fn a_value_can_be_large() -> Result<()> {
    let value = Shared::new([7_u64; 20_000])?;
    let sum = |value: Shared<[u64; 20_000]>| value.lock().unwrap().iter().sum::<u64>();
    assert_eq!(Process::spawn(sum, value.clone())?.join()?, 140_000);
    value.update(|value| value[19_999] = 0)?;
    assert_eq!(Process::spawn(sum, value)?.join()?, 139_993);
    Ok(())
}

#[test]
fn a_value_is_poisoned_by_a_death_and_by_a_panic() -> Result<()> {
    let value = Shared::new(1_u32)?;
    let dies = |value: Shared<u32>| {
        value
            .update(|value| {
                *value = 2;
                std::process::exit(0)
            })
            .unwrap()
    };
    let process: Process<()> = Process::spawn(dies, value.clone())?;
    process.wait();
    assert!(value.is_poisoned());
    for error in [value.get().unwrap_err(), value.set(5).unwrap_err(), value.lock().unwrap_err()] {
        assert!(error.is_poisoned(), "{error}");
    }
    *value.recover()? = 3;
    assert_eq!(value.get()?, 3);
    let panics = || value.update(|_| panic!("in the update"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    assert!(value.get().unwrap_err().is_poisoned());
    drop(value.recover()?);
    let guard = value.lock()?;
    assert_eq!(value.get().unwrap_err().kind(), ErrorKind::Deadlock);
    drop(guard);
    Ok(())
}

#[test]
fn atomics_count_without_a_lock() -> Result<()> {
    let steps = SharedAtomic::new(0_i64)?;
    let count = |steps: SharedAtomic<i64>| {
        for _ in 0..10_000 {
            steps.fetch_add(3);
            steps.fetch_sub(1);
        }
    };
    let counters = [Process::spawn(count, steps.clone())?, Process::spawn(count, steps.clone())?];
    for counter in counters {
        counter.join()?;
    }
    assert_eq!(steps.load(), 40_000);
    Ok(())
}

#[test]
fn atomics_of_all_widths_behave_like_their_integers() -> Result<()> {
    let small = SharedAtomic::new(250_u8)?;
    assert_eq!((small.fetch_add(10), small.load()), (250, 4));
    assert_eq!(small.compare_exchange(4, 9), Ok(4));
    assert_eq!(small.compare_exchange(4, 1), Err(9));
    assert_eq!((small.fetch_sub(10), small.load()), (9, 255));
    let signed = SharedAtomic::new(-5_i16)?;
    assert_eq!((signed.fetch_max(-7), signed.load()), (-5, -5));
    assert_eq!((signed.fetch_min(-7), signed.load()), (-5, -7));
    assert_eq!((signed.fetch_add(10), signed.load()), (-7, 3));
    assert_eq!((signed.swap(i16::MIN), signed.fetch_sub(1)), (3, i16::MIN));
    assert_eq!(signed.load(), i16::MAX);
    let bits = SharedAtomic::new(0b1100_u64)?;
    assert_eq!((bits.fetch_and(0b0110), bits.fetch_or(1), bits.load()), (0b1100, 0b0100, 0b0101));
    let flag = SharedAtomic::new(false)?;
    assert!(!flag.swap(true) && flag.fetch_and(true) && flag.load());
    flag.store(false);
    assert_eq!(flag.compare_exchange(false, true), Ok(false));
    let large = SharedAtomic::new(usize::MAX)?;
    assert_eq!((large.fetch_add(1), large.load()), (usize::MAX, 0));
    Ok(())
}

#[test]
fn processes_work_on_ranges_of_one_array_at_the_same_time() -> Result<()> {
    const EACH: usize = 1_000;
    let array = SharedArray::zeroed(4 * EACH)?;
    let fill = |(array, i): (SharedArray<u64>, usize)| {
        let mut part = array.claim(i * EACH..(i + 1) * EACH).unwrap();
        for (x, value) in (i * EACH..).zip(part.iter_mut()) {
            *value = x as u64;
        }
    };
    let guard = array.claim(..EACH)?;
    let fillers: Vec<_> =
        (1..4).map(|i| Process::spawn(fill, (array.clone(), i))).collect::<Result<_>>()?;
    for filler in fillers {
        filler.join()?;
    }
    drop(guard);
    fill((array.clone(), 0));
    assert!(array.to_vec()?.into_iter().eq(0..4 * EACH as u64));
    assert_eq!((array.len(), array.get(17)?), (4 * EACH, 17));
    array.set(17, 3)?;
    assert_eq!(array.get(17)?, 3);
    array.lock()?.reverse();
    assert_eq!(array.get(4 * EACH - 18)?, 3);
    Ok(())
}

#[test]
fn claims_that_overlap_wait_for_each_other() -> Result<()> {
    let array = SharedArray::new(&[1_u8; 10])?;
    let guard = array.claim(2..5)?;
    let tries = |array: SharedArray<u8>| {
        let can = |from, to| array.try_claim(from..to).unwrap().is_some();
        (can(0, 2), can(0, 3), can(4, 6), can(5, 10), can(3, 3))
    };
    assert_eq!(Process::spawn(tries, array.clone())?.join()?, (true, false, false, true, true));
    assert!(array.claim(4..).unwrap_err().is_deadlock());
    assert!(array.get(3).unwrap_err().is_deadlock());
    let waits = |array: SharedArray<u8>| {
        let before = array.claim_timeout(.., Duration::from_millis(30)).unwrap().is_none();
        array.set(2, 9).unwrap();
        before && array.claim_timeout(.., SOON).unwrap().is_some()
    };
    let waiter = Process::spawn(waits, array.clone())?;
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(guard[0], 1);
    drop(guard);
    assert!(waiter.join()?);
    assert_eq!(array.get(2)?, 9);
    Ok(())
}

#[test]
fn steps_under_small_claims_are_not_lost() -> Result<()> {
    let array = SharedArray::zeroed(3)?;
    let count = |array: SharedArray<u64>| {
        for i in 0..2_000 {
            array.claim(i % 2..i % 2 + 2).unwrap()[0] += 1;
        }
    };
    let counters: Vec<_> =
        (0..3).map(|_| Process::spawn(count, array.clone())).collect::<Result<_>>()?;
    for counter in counters {
        counter.join()?;
    }
    assert_eq!(array.to_vec()?, [3_000, 3_000, 0]);
    Ok(())
}

#[test]
fn a_death_with_a_range_poisons_the_array_until_it_is_recovered() -> Result<()> {
    let (array, ready) = (SharedArray::new(&[1_u64, 2, 3])?, Queue::new()?);
    let hold = |(array, ready): (SharedArray<u64>, Queue<()>)| -> () {
        let mut part = array.claim(1..).unwrap();
        part[0] = 9;
        ready.put(()).unwrap();
        loop {
            std::thread::park();
        }
    };
    let holder = Process::builder().name("careless").spawn(hold, (array.clone(), ready.clone()))?;
    ready.get()?;
    let waiter = Process::spawn(
        |array: SharedArray<u64>| array.lock().unwrap_err().to_string(),
        array.clone(),
    )?;
    std::thread::sleep(Duration::from_millis(100));
    holder.kill()?;
    let text = waiter.join()?;
    assert!(text.contains("`careless`") && text.contains("values.rs"), "{text}");
    assert!(array.is_poisoned());
    assert!(array.get(0).unwrap_err().is_poisoned());
    let mut values = array.recover()?;
    assert_eq!(*values, [1, 9, 3]);
    values[1] = 2;
    drop(values);
    assert_eq!(array.to_vec()?, [1, 2, 3]);
    Ok(())
}

#[test]
fn ranges_that_are_not_inside_and_empty_arrays() -> Result<()> {
    let array = SharedArray::new(&[1_u16, 2])?;
    for error in [
        array.get(2).unwrap_err(),
        array.set(usize::MAX, 1).unwrap_err(),
        array.claim(1..3).map(drop).unwrap_err(),
        array.claim(..=usize::MAX).map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Argument, "{error}");
    }
    let empty: SharedArray<u64> = SharedArray::new(&[])?;
    assert!(empty.is_empty() && empty.to_vec()?.is_empty() && empty.lock()?.is_empty());
    assert!(SharedArray::<u64>::zeroed(usize::MAX).is_err());
    Ok(())
}

#[test]
fn a_value_ends_with_its_last_handle_and_its_memory_is_used_again() -> Result<()> {
    for round in 0..200_u64 {
        let array = SharedArray::zeroed(1 << 17)?;
        array.set(5, round)?;
        assert_eq!((array.get(5)?, array.get(6)?), (round, 0));
    }
    Ok(())
}
