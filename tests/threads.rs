//! Which threads may call, and what happens when others do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use phalanx::prelude::*;
use phalanx::{Request, RequestSet, Strided, Threading};
use phalanx_launch::{Job, Output};

/// Runs `f` on a thread of its own.
fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|s| s.spawn(f).join().expect("no panic"))
}

fn neighbours(world: &Comm) -> (usize, usize) {
    let (rank, size) = (world.rank(), world.size());
    ((rank + 1) % size, (rank + size - 1) % size)
}

#[test]
fn communicators_and_requests_go_to_other_threads() {
    fn goes<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<Comm>();
    goes::<Request<Vec<f64>>>();
    goes::<RequestSet<Vec<f64>>>();
    goes::<phalanx::Message>();
    goes::<phalanx::Error>();
}

/// At a level that allows one thread, a call of another is an error, and nothing else.
fn one_thread(world: &Comm) -> phalanx::Result<()> {
    let (right, left) = neighbours(world);
    let me = world.rank();
    let mut receiving = world.irecv_into(vec![0; 1000], from(left).tag(1))?;
    let to_drop = world.isend(vec![me; 100_000], to(right).tag(2))?;
    let to_wait = world.isend(vec![me; 100_000], to(right).tag(3))?;
    let in_set = world.isend(vec![me; 100_000], to(right).tag(4))?;
    let unknown = world.irecv_at_most::<Vec<u8>>(9, from(left).tag(9))?;
    let mut set: RequestSet<_> = [in_set].into_iter().collect();
    let other = world.clone();
    elsewhere(|| {
        let data = [1.0; 4];
        let attempts = [
            ("send", other.send(&data, right)),
            ("recv", other.recv::<f64>(left).map(drop)),
            ("recv_into", other.recv_into(&mut [0.0], left).map(drop)),
            ("isend", other.isend(data, right).map(drop)),
            ("irecv", other.irecv_into(data, left).map(drop)),
            ("irecv", other.irecv::<f64>(left).map(drop)),
            ("irecv_at_most", other.irecv_at_most::<Vec<f64>>(4, left).map(drop)),
            ("irecv_object", other.irecv_object::<f64>(left).map(drop)),
            ("isend", other.scope(|s| s.isend(&data, right).map(drop))),
            ("probe", other.probe(any()).map(drop)),
            ("try_probe", other.try_probe(any()).map(drop)),
            ("sendrecv", other.sendrecv(&data, right, left).map(drop)),
            ("barrier", other.barrier()),
            ("ibarrier", other.ibarrier().map(drop)),
            ("allreduce", other.allreduce(&1, Sum).map(drop)),
            ("dup", other.dup().map(drop)),
            ("datatype", Strided::column(&data, 2, 0).map(drop)),
            ("attach_buffer", phalanx::attach_buffer(100)),
            ("processor_name", phalanx::processor_name().map(drop)),
            ("irecv", receiving.test().map(drop)),
            ("isend", set.test_any().map(drop)),
            ("isend", set.test_all().map(drop)),
            ("wait_any", set.wait_any().map(drop)),
            ("isend", to_wait.wait().map(drop)),
            ("cancel", unknown.cancel().map(drop)),
        ];
        for (operation, result) in attempts {
            let error = result.expect_err(operation);
            assert!(error.is_thread(), "{operation}: {error}");
            let named = error.operation();
            assert!(named == operation || operation == "wait_any" && named == "isend", "{error}");
        }
        drop(to_drop);
    });
    assert_eq!(set.pending(), 1);
    // Memory that is used again at once would show in the messages.
    let churn: Vec<Vec<usize>> = (0..8).map(|_| vec![usize::MAX; 100_000]).collect();
    world.barrier()?;
    for tag in [4, 3, 2] {
        assert!(world.recv::<Vec<usize>>(from(left).tag(tag))? == vec![left; 100_000], "tag {tag}");
    }
    drop(churn);
    assert_eq!(set.wait_all()?, [vec![me; 100_000]]);
    let sending = world.isend(vec![me; 1000], to(right).tag(1))?;
    let (data, _) = loop {
        if let Some(received) = receiving.test()? {
            break received;
        }
    };
    assert_eq!(data, vec![left; 1000]);
    sending.wait()?;
    world.barrier()?;
    assert!(world.try_probe(any())?.is_none());
    Ok(())
}

#[phalanx::test(ranks = [1, 2])]
fn a_call_of_another_thread_is_an_error_and_breaks_nothing(world: Comm) -> phalanx::Result<()> {
    // Some libraries grant more than was asked for.
    if phalanx::threading() > Threading::Funneled {
        println!("not tested: this MPI grants {:?}", phalanx::threading());
        return Ok(());
    }
    one_thread(&world)
}

#[phalanx::test(ranks = [1], threads = "single")]
fn the_level_single_allows_the_thread_that_started(world: Comm) -> phalanx::Result<()> {
    if phalanx::threading() <= Threading::Funneled {
        assert!(elsewhere(|| world.barrier()).expect_err("another thread").is_thread());
    }
    world.barrier()
}

#[phalanx::test(ranks = [2, 3], threads = "serialized")]
fn threads_that_take_turns_may_all_call(world: Comm) -> phalanx::Result<()> {
    const THREADS: usize = 4;
    assert!(phalanx::threading() >= Threading::Serialized);
    let (right, left) = neighbours(&world);
    let turn = Mutex::new(());
    let world = &world;
    thread::scope(|s| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let turn = &turn;
                s.spawn(move || -> phalanx::Result<()> {
                    let tag = thread as i32;
                    for round in 0..50 {
                        let (mut receiving, sending) = {
                            let _turn = turn.lock().expect("nobody panicked");
                            let receiving = world.irecv_into([0; 2], from(left).tag(tag))?;
                            (receiving, world.isend([thread, round], to(right).tag(tag))?)
                        };
                        let data = loop {
                            let turn = turn.lock().expect("nobody panicked");
                            if let Some((data, _)) = receiving.test()? {
                                break data;
                            }
                            drop(turn);
                            thread::yield_now();
                        };
                        assert_eq!(data, [thread, round]);
                        let _turn = turn.lock().expect("nobody panicked");
                        sending.wait()?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })
}

#[phalanx::test(ranks = [2], threads = "serialized")]
fn two_calls_at_once_are_an_error_at_the_level_serialized(world: Comm) -> phalanx::Result<()> {
    if phalanx::threading() > Threading::Serialized {
        println!("not tested: this MPI grants {:?}", phalanx::threading());
        return Ok(());
    }
    if world.rank() == 1 {
        thread::sleep(Duration::from_millis(300));
        world.send(&[7; 4], 0)?;
        thread::sleep(Duration::from_millis(300));
        world.send(&[8; 4], 0)?;
        return world.barrier();
    }
    thread::scope(|s| {
        let receiving = s.spawn(|| world.recv_into(&mut [0; 4], 1));
        // The other thread is inside its call until the message comes.
        let start = Instant::now();
        let error = loop {
            if let Err(error) = world.try_probe(from(1).tag(5)) {
                break error;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "nobody was refused");
            if receiving.is_finished() {
                break receiving.join().expect("no panic").expect_err("one of the two is refused");
            }
        };
        assert!(error.is_thread() && error.detail().contains("lock"), "{error}");
    });

    // A scope whose calls are refused now and then gives its buffer back only when it is full.
    let stop = AtomicBool::new(false);
    let mut buffer = [0; 4];
    thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = world.try_probe(from(1).tag(5));
            }
        });
        let result = loop {
            let mut posted = false;
            let result = world.scope(|s| {
                s.irecv_into(&mut buffer, 1)?;
                posted = true;
                Ok(())
            });
            if posted {
                break result;
            }
        };
        stop.store(true, Ordering::Relaxed);
        assert!(result.is_ok() || result.is_err_and(|error| error.is_thread()));
    });
    assert!(buffer == [7; 4] || buffer == [8; 4], "{buffer:?}");
    world.barrier()
}

fn run(program: &str, ranks: usize) -> (String, bool) {
    let finished = Job::new(program)
        .ranks(ranks)
        .output(Output::Capture)
        .share_cores(true)
        .timeout(Duration::from_secs(60))
        .run()
        .expect("the launcher of this MPI");
    let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&finished.stderr);
    println!("{stdout}{stderr}");
    (stdout, finished.success())
}

#[test]
fn at_the_level_multiple_threads_call_at_the_same_time() {
    for ranks in [1, 2, 3] {
        let (stdout, success) = run(env!("CARGO_BIN_EXE_many_threads"), ranks);
        if stdout.contains("not granted") {
            println!("not tested: this MPI does not grant the level Multiple");
            return;
        }
        assert!(success, "on {ranks} ranks");
    }
}

#[test]
fn calls_before_the_start_and_after_the_end_are_errors() {
    for ranks in [1, 2] {
        let (stdout, success) = run(env!("CARGO_BIN_EXE_outside_mpi"), ranks);
        assert!(success && stdout.matches("as it should be").count() == ranks, "on {ranks} ranks");
    }
}

/// A refused `free` gives the communicator back, whenever the other thread comes.
#[phalanx::test(ranks = [1], threads = "serialized")]
fn a_free_that_is_refused_gives_the_communicator_back(world: Comm) -> phalanx::Result<()> {
    if phalanx::threading() != Threading::Serialized {
        return Ok(());
    }
    fn until<T>(mut call: impl FnMut() -> phalanx::Result<T>) -> T {
        loop {
            match call() {
                Ok(result) => return result,
                Err(error) => assert!(error.is_thread(), "{error}"),
            }
        }
    }
    let stop = AtomicBool::new(false);
    thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = world.try_probe(any());
                thread::yield_now();
            }
        });
        let given_back = |freed: phalanx::Result<()>| {
            let error = freed.err()?;
            assert!(error.is_thread(), "{error}");
            Some(error.into_comm().expect("it is given back"))
        };
        for number in 0..1000 {
            let mut left = if number % 4 == 0 {
                let grid = until(|| world.cart(&[1], &[true])).expect("one rank fits");
                given_back(grid.free())
            } else {
                Some(until(|| world.dup()))
            };
            while let Some(comm) = left.take() {
                left = given_back(comm.free());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}
