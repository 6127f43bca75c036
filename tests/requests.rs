//! Requests: what is started now and completes later.
//!
//! Tests of messages that are too long need a second rank: Open MPI 4.1 cuts a small message to
//! oneself off without a word, if the receive was posted before.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use phalanx::prelude::*;
use phalanx::{Request, RequestSet, block_on};
use phalanx_launch::{Job, Output};

fn right(world: &Comm) -> usize {
    (world.rank() + 1) % world.size()
}

fn left(world: &Comm) -> usize {
    (world.rank() + world.size() - 1) % world.size()
}

/// Looks until it is there, for a few seconds.
fn poll<T>(mut look: impl FnMut() -> phalanx::Result<Option<T>>) -> phalanx::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it does not complete");
        std::thread::yield_now();
    }
}

fn finish<R>(mut request: Request<R>) -> phalanx::Result<R> {
    poll(|| request.test())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5, 7])]
fn requests_around_a_ring_give_their_buffers_back(world: Comm) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(&world), left(&world));
    // On both sides of what travels at once.
    for length in [0, 3, 50_000] {
        let data = vec![me; length];
        let expected = vec![left; length];
        let known = world.irecv_into(vec![usize::MAX; length + 1], from(left).tag(1))?;
        let bounded =
            world.irecv_at_most_with_status::<Box<[usize]>>(length + 1, from(left).tag(2))?;
        let sends = [
            world.isend(data.clone(), to(right).tag(1))?,
            world.issend(data.clone(), to(right).tag(2))?,
            world.isend(data.clone(), to(right).tag(3))?,
        ];
        let (buffer, got) = known.wait()?;
        assert_eq!((got.source, got.tag, got.len), (Some(left), 1, length));
        assert_eq!((&buffer[..length], buffer[length]), (&expected[..], usize::MAX));
        let (elements, got) = bounded.wait()?;
        assert_eq!((&elements[..], got.tag, got.len), (&expected[..], 2, length));
        assert_eq!(finish(world.irecv_at_most::<Vec<usize>>(length, left)?)?, expected);
        for send in sends {
            assert_eq!(finish(send)?, data);
        }
    }
    let sending = world.isend([me; 4], right)?;
    let receiving = world.irecv_into(Box::<[usize]>::from([0; 4]), any())?;
    assert_eq!(*finish(receiving)?.0, [left; 4]);
    assert_eq!(sending.wait()?, [me; 4]);
    let sending = world.isend(me, right)?;
    assert_eq!(world.irecv::<usize>(any())?.wait()?, left);
    sending.wait().map(drop)
}

#[phalanx::test(ranks = [1, 2])]
fn test_is_none_until_it_is_complete_and_the_result_comes_once(world: Comm) -> phalanx::Result<()> {
    let (right, left) = (right(&world), left(&world));
    let mut receiving = world.irecv_into([0; 2], from(left).tag(1))?;
    let mut unknown = world.irecv_object_with_status::<Vec<i32>>(from(left).tag(2))?;
    for _ in 0..100 {
        assert!(receiving.test()?.is_none() && unknown.test()?.is_none());
    }
    assert_eq!(format!("{receiving:?}").split(' ').next(), Some("Request(irecv"));
    world.barrier()?;
    let mut sending = world.issend([4, 5], to(right).tag(1))?;
    let (data, _) = poll(|| receiving.test())?;
    assert_eq!(data, [4, 5]);
    assert_eq!(poll(|| sending.test())?, [4, 5]);
    let sending_unknown = world.issend_object(&vec![6, 7], to(right).tag(2))?;
    assert_eq!(poll(|| unknown.test())?.0, [6, 7]);
    sending_unknown.wait()?;

    assert!(receiving.test().expect_err("taken").is_state());
    assert!(unknown.cancel().expect_err("taken").is_state());
    let error = sending.wait().expect_err("taken");
    assert!(error.is_state() && error.operation() == "issend", "{error}");
    assert!(!error.to_string().contains("MPI is not running"), "{error}");
    assert!(receiving.map(|_| ()).wait().expect_err("taken").is_state());
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn an_error_of_a_request_names_the_line_that_started_it(world: Comm) -> phalanx::Result<()> {
    let sending = world.isend(vec![0; 9], right(&world))?;
    let line = line!() + 1;
    let receiving = world.irecv_into(vec![0; 3], left(&world))?;
    let error = receiving.wait().expect_err("three are too few");
    assert!(error.is_truncated(), "{error}");
    assert_eq!((error.location().file(), error.location().line()), (file!(), line));
    assert_eq!((error.operation(), error.peer()), ("irecv", Some(left(&world))));
    sending.wait().map(drop)
}

#[phalanx::test(ranks = [2])]
fn a_mapped_request_gives_what_the_closure_makes(world: Comm) -> phalanx::Result<()> {
    let sending = world.isend(vec![1_u8; 3], right(&world))?.map(|data| data.len());
    let receiving = world.irecv_at_most::<Vec<u8>>(9, left(&world))?.map(|data| data[0] + 1);
    assert_eq!(receiving.map(f64::from).wait()?, 2.0);
    assert_eq!(finish(sending)?, 3);

    let short = world.irecv_into([0_u8; 2], left(&world))?.map(|_| unreachable!());
    let sending = world.isend([0_u8; 3], right(&world))?;
    let error = Request::<()>::wait(short).expect_err("two are too few");
    assert!(error.is_truncated(), "{error}");
    sending.wait()?;
    let pending = world.irecv_into([0; 2], from(left(&world)).tag(5))?.map(drop);
    assert!(pending.cancel()?.is_none());
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn what_is_cancelled_takes_no_message_and_what_came_is_given(world: Comm) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(&world), left(&world));
    let known = world.irecv_into(vec![0; 8], from(left).tag(1))?;
    let unknown = world.irecv_object::<Vec<i32>>(from(left).tag(1))?;
    assert!(known.cancel()?.is_none());
    assert!(unknown.cancel()?.is_none());
    world.barrier()?;
    let sending = world.isend([3; 8], to(right).tag(1))?;
    assert_eq!(world.recv::<Vec<i32>>(left)?, [3; 8]);
    sending.wait()?;

    // What has come comes all the same.
    let known = world.irecv_into(vec![0; 8], from(me).tag(2))?;
    world.send(&[4, 5], to(me).tag(2))?;
    let (data, got) = match known.cancel()? {
        Some(received) => received,
        None => world.recv_with_status::<Vec<i32>>(from(me).tag(2))?,
    };
    assert_eq!((&data[..2], got.len), (&[4, 5][..], 2));
    let sending = world.isend([4, 5], to(me).tag(3))?;
    let unknown = world.irecv_at_most_with_status::<Vec<i32>>(2, from(me).tag(3))?;
    let (data, _) = match unknown.cancel()? {
        Some(received) => received,
        None => world.recv_with_status(from(me).tag(3))?,
    };
    assert_eq!(data, [4, 5]);
    sending.wait()?;
    if world.size() > 1 {
        let short = world.irecv_into([0], from(left).tag(4))?;
        world.send(&[4, 5], to(right).tag(4))?;
        world.barrier()?;
        // Receives of one sender are matched in order: this one is later than the short one.
        world.sendrecv(&1, to(right).tag(4), from(left).tag(4))?;
        assert!(short.cancel().expect_err("one is too few").is_truncated());
    }

    // A send cannot be taken back, and is not lost.
    let error = world.isend([6; 4], right)?.cancel().expect_err("a send");
    assert!(error.is_unsupported() && error.operation() == "cancel", "{error}");
    assert_eq!(world.recv::<[i32; 4]>(left)?, [6; 4]);
    let error = world.ibarrier()?.cancel().expect_err("a collective");
    assert!(error.is_unsupported(), "{error}");
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn what_is_dropped_while_pending_still_arrives(world: Comm) -> phalanx::Result<()> {
    let (right, left) = (right(&world), left(&world));
    for length in [1, 200_000] {
        drop(world.isend(vec![1; length], to(right).tag(1))?);
        drop(world.issend(vec![2; length], to(right).tag(2))?);
        std::mem::forget(world.isend(vec![3; length], to(right).tag(3))?);
        drop(world.isend(vec![4; length], to(right).tag(4))?.map(|data| data.len()));
        // Memory that is used again at once would show in the messages.
        let churn: Vec<Vec<i32>> = (0..4).map(|_| vec![-1; length]).collect();
        for tag in (1..=4).rev() {
            assert_eq!(world.recv::<Vec<i32>>(from(left).tag(tag))?, vec![tag; length]);
        }
        drop(churn);
    }

    // A receive that is dropped is cancelled: it is reported at finalize, but it takes nothing from anybody.
    // One that is forgotten stays posted.
    drop(world.irecv_into(vec![0; 100], from(left).tag(5))?);
    std::mem::forget(world.irecv_into(vec![0; 100], from(left).tag(5))?);
    drop(world.irecv_at_most::<Vec<i32>>(100, from(left).tag(6))?);
    world.barrier()?;
    let mut sends = RequestSet::new();
    for (tag, value) in [(5, 1), (5, 2), (6, 4)] {
        sends.push(world.isend([value; 100], to(right).tag(tag))?);
    }
    assert_eq!(world.recv::<Vec<i32>>(from(left).tag(5))?, [2; 100]);
    assert_eq!(world.recv::<Vec<i32>>(from(left).tag(6))?, [4; 100]);
    sends.wait_all()?;

    // An orphan may own another request.
    let inner = world.isend([7; 4], to(right).tag(7))?;
    let outer = world.isend([8; 4], to(right).tag(8))?;
    drop(outer.map(move |_| drop(inner)));
    assert_eq!(world.recv::<[i32; 4]>(from(left).tag(8))?, [8; 4]);
    for _ in 0..50 {
        let sending = world.isend([9; 4], to(right).tag(9))?;
        assert_eq!(world.recv::<[i32; 4]>(from(left).tag(9))?, [9; 4]);
        sending.wait()?;
    }
    assert_eq!(world.recv::<[i32; 4]>(from(left).tag(7))?, [7; 4]);
    world.barrier()
}

#[phalanx::test(ranks = [2])]
fn dropping_requests_in_a_loop_does_not_grow(world: Comm) -> phalanx::Result<()> {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0)
    };
    let mut after_a_while = 0;
    for round in 0..3000 {
        if world.rank() == 0 {
            drop(world.isend(vec![round; 10_000], 1)?);
            if round % 10 == 9 {
                world.recv::<u8>(1)?;
            }
        } else {
            assert_eq!(world.recv::<Vec<i32>>(0)?, vec![round; 10_000]);
            if round % 10 == 9 {
                world.send(&1_u8, 0)?;
            }
        }
        if round == 1000 {
            after_a_while = resident();
        }
    }
    let grown = resident().saturating_sub(after_a_while);
    assert!(grown < 4000, "{grown} pages more for 2000 requests of 40 kB");
    Ok(())
}

#[test]
fn finalize_names_the_lines_of_requests_that_never_completed() {
    let finished = Job::new(env!("CARGO_BIN_EXE_dropped_requests"))
        .ranks(2)
        .output(Output::Capture)
        .share_cores(true)
        .timeout(Duration::from_secs(30))
        .run()
        .expect("the launcher of this MPI");
    let stderr = String::from_utf8_lossy(&finished.stderr);
    let stdout = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.success(), "{:?}\n{stdout}\n{stderr}", finished.status);
    let reports: Vec<&str> =
        stderr.lines().filter(|line| line.contains("never completed")).collect();
    let wanted: Vec<&str> = stdout.lines().filter_map(|line| line.strip_prefix("lost: ")).collect();
    assert_eq!((wanted.len(), reports.len()), (5, 5), "{stdout}\n{stderr}");
    for line in wanted {
        let report = reports.iter().find(|report| report.contains(line));
        let report = report.unwrap_or_else(|| panic!("no report names {line}:\n{stderr}"));
        let what = [
            ("irecv", " from rank 1, tag 77, on `world` was dropped"),
            ("irecv", " from rank 1, tag 1, on `world` was dropped"),
            ("irecv", " from rank 1 on `world` was forgotten"),
            ("halo exchange", " on `world (2 grid)` was dropped"),
        ];
        let is_one = what.iter().any(|(operation, rest)| {
            report.starts_with(&format!("phalanx: rank 0: {operation}")) && report.contains(rest)
        });
        assert!(is_one, "{report}");
    }
}

/// Three receives of each kind, of which the second completes first.
fn sets(world: &Comm) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(world), left(world));
    let receives = |known: bool| -> phalanx::Result<RequestSet<Vec<usize>>> {
        let mut set = RequestSet::new();
        for tag in 0..3 {
            let source = from(left).tag(tag);
            let index = set.push(if known {
                world.irecv_into(vec![0; 1000], source)?.map(|(mut data, got)| {
                    data.truncate(got.len);
                    data
                })
            } else {
                world.irecv_at_most(1000, source)?
            });
            assert_eq!(index, tag as usize);
        }
        assert_eq!(set.pending(), 3);
        Ok(set)
    };
    let send = |tag: usize| world.issend(vec![me + tag; 1000], to(right).tag(tag as i32));
    let expected = |tag: usize| vec![left + tag; 1000];

    for known in [true, false] {
        // All, in the order of the indices and not of completion.
        let set = receives(known)?;
        let sends: RequestSet<_> =
            [2, 1, 0].into_iter().map(send).collect::<phalanx::Result<_>>()?;
        assert_eq!(set.wait_all()?, [expected(0), expected(1), expected(2)]);
        assert_eq!(sends.wait_all()?.len(), 3);

        // Any, one by one; indices stay.
        let mut set = receives(known)?;
        assert!(set.test_any()?.is_none() && set.test_some()?.is_empty());
        world.barrier()?;
        for tag in [1, 2, 0] {
            let sending = send(tag)?;
            let found = if tag == 2 { poll(|| set.test_any())? } else { set.wait_any()?.unwrap() };
            assert_eq!(found, (tag, expected(tag)));
            sending.wait()?;
            world.barrier()?;
        }
        assert_eq!(set.pending(), 0);
        assert!(set.wait_any()?.is_none() && set.test_any()?.is_none());
        assert!(set.wait_some()?.is_empty());
        assert!(set.wait_all()?.is_empty());

        // Some, until all are there.
        let mut set = receives(known)?;
        let mut sends: RequestSet<_> =
            [2, 0, 1].into_iter().map(send).collect::<phalanx::Result<_>>()?;
        let mut results = vec![];
        while results.len() < 3 {
            let some = set.wait_some()?;
            assert!(!some.is_empty() && some.is_sorted_by_key(|(index, _)| *index));
            results.extend(some);
        }
        results.sort_unstable();
        assert!(results.into_iter().eq((0..3).map(|tag| (tag, expected(tag)))));
        let mut indices = vec![];
        while indices.len() < 3 {
            indices.extend(sends.test_some()?.into_iter().map(|(index, _)| index));
        }
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2]);

        // Test_all gives nothing before it gives all.
        let mut set = receives(known)?;
        assert!(set.test_all()?.is_none());
        world.barrier()?;
        let first = send(1)?;
        for _ in 0..10 {
            assert!(set.test_all()?.is_none());
        }
        world.barrier()?;
        let mut sends: RequestSet<_> =
            [2, 0].into_iter().map(send).collect::<phalanx::Result<_>>()?;
        assert_eq!(poll(|| set.test_all())?, [expected(0), expected(1), expected(2)]);
        first.wait()?;
        assert_eq!(poll(|| sends.test_all())?.len(), 2);
        world.barrier()?;
    }
    let mut none = RequestSet::<()>::new();
    assert_eq!((none.wait_any()?, none.test_all()?), (None, Some(vec![])));
    none.wait_all().map(drop)
}

#[phalanx::test(ranks = [1, 3], env("PHALANX_WAIT" = "library"))]
fn sets_complete_all_any_and_some_inside_the_library(world: Comm) -> phalanx::Result<()> {
    sets(&world)
}

#[phalanx::test(ranks = [1, 3], env("PHALANX_WAIT" = "poll"))]
fn sets_complete_all_any_and_some_by_polling(world: Comm) -> phalanx::Result<()> {
    sets(&world)
}

/// Requests of every kind stand in one set, each as a number.
fn mixed_sets(world: &Comm) -> phalanx::Result<()> {
    let (me, size, right, left) = (world.rank(), world.size(), right(world), left(world));
    let start = || -> phalanx::Result<RequestSet<usize>> {
        let mut set = RequestSet::new();
        set.push(
            world.irecv_at_most::<Vec<usize>>(100_000, from(left).tag(1))?.map(|data| data[0]),
        );
        set.push(world.irecv_into([0; 4], from(left).tag(2))?.map(|(data, _)| data[1]));
        set.push(world.ibarrier()?.map(|()| 1000));
        set.push(world.iallreduce(me, Sum)?);
        set.push(world.issend([me; 4], to(right).tag(2))?.map(|data| data.len()));
        set.push(world.isend(vec![me; 100_000], to(right).tag(1))?.map(|data| data.len()));
        Ok(set)
    };
    let expected = [left, left, 1000, size * (size - 1) / 2, 4, 100_000];
    assert_eq!(start()?.wait_all()?, expected);
    let mut set = start()?;
    assert_eq!(poll(|| set.test_all())?, expected);
    let mut set = start()?;
    let mut results = vec![];
    while let Some(found) = set.wait_any()? {
        results.push(found);
        results.extend(set.test_any()?);
    }
    results.sort_unstable();
    assert!(results.into_iter().eq(expected.into_iter().enumerate()));
    let mut set = start()?;
    let mut results = vec![];
    while set.pending() > 0 {
        results.extend(set.wait_some()?);
    }
    results.sort_unstable();
    assert!(results.into_iter().eq(expected.into_iter().enumerate()));
    world.barrier()?;

    // The sender waits for the second receive to match before it sends the first message.
    let sender = || -> phalanx::Result<()> {
        world.ssend(&2, to(right).tag(2))?;
        world.ssend(&1, to(right).tag(1))
    };
    for way in 0..4 {
        if me % 2 == 1 {
            sender()?;
        } else if left % 2 == 1 {
            let mut set = RequestSet::new();
            set.push(world.irecv::<i32>(from(left).tag(1))?);
            set.push(world.irecv::<i32>(from(left).tag(2))?);
            match way {
                0 => assert_eq!(set.wait_all()?, [1, 2]),
                1 => assert_eq!(poll(|| set.test_all())?, [1, 2]),
                2 => assert_eq!([set.wait_any()?, set.wait_any()?], [Some((1, 2)), Some((0, 1))]),
                _ => {
                    let mut some = set.wait_some()?;
                    some.extend(set.wait_some()?);
                    some.sort_unstable();
                    assert_eq!(some, [(0, 1), (1, 2)]);
                }
            }
        }
    }
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 4], env("PHALANX_WAIT" = "library"))]
fn sets_of_several_kinds_complete_inside_the_library(world: Comm) -> phalanx::Result<()> {
    mixed_sets(&world)
}

#[phalanx::test(ranks = [1, 4], env("PHALANX_WAIT" = "poll"))]
fn sets_of_several_kinds_complete_by_polling(world: Comm) -> phalanx::Result<()> {
    mixed_sets(&world)
}

/// Four receives; the message of the third is too long for it.
fn errors_in_sets(world: &Comm) -> phalanx::Result<()> {
    let (right, left) = (right(world), left(world));
    let line = line!() + 4;
    let start = || -> phalanx::Result<RequestSet<i32>> {
        let mut set = RequestSet::new();
        for (tag, room) in [(0, 4), (1, 5), (2, 3), (3, 4)] {
            let receiving = world.irecv_into(vec![0; room], from(left).tag(tag))?;
            set.push(receiving.map(|(data, got)| data[0] * 10 + got.len as i32));
        }
        world.barrier()?;
        for tag in 0..4 {
            world.send(&[tag; 4], to(right).tag(tag))?;
        }
        // All of them are here.
        world.barrier()?;
        Ok(set)
    };
    let check = |error: phalanx::Error| {
        assert!(error.is_truncated(), "{error}");
        assert_eq!((error.operation(), error.tag()), ("irecv", Some(2)), "{error}");
        assert_eq!((error.peer(), error.location().line()), (Some(left), line), "{error}");
    };
    check(start()?.wait_all().expect_err("the third"));

    let mut set = start()?;
    let mut results = vec![];
    let mut errors = 0;
    while set.pending() > 0 {
        match set.wait_any() {
            Ok(found) => results.extend(found),
            Err(error) => {
                check(error);
                errors += 1;
            }
        }
    }
    results.sort_unstable();
    assert_eq!((results, errors), (vec![(0, 4), (1, 14), (3, 34)], 1));

    // What completes together with an error is not lost.
    for waits in [true, false] {
        let mut set = start()?;
        let mut results = vec![];
        let mut errors = 0;
        while set.pending() > 0 {
            match if waits { set.wait_some() } else { set.test_some() } {
                Ok(some) => results.extend(some),
                Err(error) => {
                    check(error);
                    errors += 1;
                }
            }
        }
        results.sort_unstable();
        assert_eq!((results, errors), (vec![(0, 4), (1, 14), (3, 34)], 1), "waits: {waits}");
    }

    let mut set = start()?;
    let error = poll(|| set.test_all()).expect_err("the third");
    check(error);
    assert_eq!(set.pending(), 3);
    assert_eq!(poll(|| set.test_all())?, [4, 14, 34]);

    let set = start()?;
    // Messages that the library has not matched yet stay where they are, for other receives.
    drop(set);
    assert_eq!(world.sendrecv(&world.rank(), to(right).tag(9), from(left).tag(9))?, left);
    world.barrier()
}

#[phalanx::test(ranks = [2], env("PHALANX_WAIT" = "library"))]
fn an_error_in_a_set_is_said_once_and_the_others_complete(world: Comm) -> phalanx::Result<()> {
    errors_in_sets(&world)
}

#[phalanx::test(ranks = [2, 3], env("PHALANX_WAIT" = "poll"))]
fn an_error_in_a_polled_set_is_said_once_and_the_others_complete(
    world: Comm,
) -> phalanx::Result<()> {
    errors_in_sets(&world)
}

/// Both, in whatever order they complete.
async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(move |context| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(context)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(context)
        {
            second = Some(output);
        }
        if first.is_none() || second.is_none() {
            return Poll::Pending;
        }
        Poll::Ready(first.take().zip(second.take()).expect("both are there"))
    })
    .await
}

#[phalanx::test(ranks = [1, 2, 3])]
fn requests_are_futures(world: Comm) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(&world), left(&world));
    let echo = async {
        let receiving = world.irecv_at_most::<Vec<usize>>(40_000, left)?;
        let sending = world.isend(vec![me; 30_000], right)?;
        let (received, sent) = join(receiving, sending).await;
        assert_eq!(sent?, vec![me; 30_000]);
        received
    };
    assert_eq!(block_on(echo)?, vec![left; 30_000]);

    // Two tasks, each of which needs the other's message.
    let task = |mine: i32, other: i32| {
        let world = &world;
        async move {
            let receiving = world.irecv_into(0, from(left).tag(other))?;
            world.isend(mine, to(right).tag(mine))?.await?;
            let (value, _) = receiving.await?;
            world.ibarrier()?.await?;
            phalanx::Result::Ok(value)
        }
    };
    let (first, second) = block_on(join(task(1, 2), task(2, 1)));
    assert_eq!((first?, second?), (2, 1));

    if world.size() > 1 {
        let error = block_on(async {
            let short = world.irecv_into([0; 2], left)?;
            world.isend([0; 3], right)?.await?;
            short.await
        });
        assert!(error.expect_err("two are too few").is_truncated());
    }
    let receiving = world.irecv_into(0_u8, left)?;
    let mut done = pin!(world.isend(1_u8, right)?);
    assert_eq!(block_on(done.as_mut())?, 1);
    assert!(block_on(done).expect_err("taken already").is_state());
    assert_eq!(block_on(receiving)?.0, 1);
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5, 7])]
fn a_scope_completes_borrowed_buffers_around_a_ring(world: Comm) -> phalanx::Result<()> {
    const WINDOW: usize = 64;
    let (me, right, left) = (world.rank(), right(&world), left(&world));
    // A window of messages of which nobody waits for one.
    let outgoing: Vec<[usize; 8]> = (0..WINDOW).map(|n| [me * WINDOW + n; 8]).collect();
    let mut incoming = vec![[0; 8]; WINDOW];
    world.scope(|s| {
        for buffer in &mut incoming {
            s.irecv_into(buffer, left)?;
        }
        for data in &outgoing {
            s.isend(data, right)?;
        }
        Ok(())
    })?;
    assert!(incoming.into_iter().eq((0..WINDOW).map(|n| [left * WINDOW + n; 8])));

    // More than fit into one call's array of statuses; to and from everybody.
    let mine = vec![me as u32; 200];
    let mut inbox = vec![vec![u32::MAX; 3]; 200 * world.size()];
    world.scope(|s| {
        for (n, buffer) in inbox.iter_mut().enumerate() {
            s.irecv_into(buffer, from(n / 200).tag((n % 200) as i32))?;
        }
        for (n, value) in mine.iter().enumerate() {
            for rank in 0..world.size() {
                s.isend(value, to(rank).tag(n as i32))?;
            }
        }
        Ok(())
    })?;
    let expected = |n: usize| vec![n as u32 / 200, u32::MAX, u32::MAX];
    assert!(inbox.into_iter().enumerate().all(|(n, data)| data == expected(n)));

    // Wait for one, look at one, wait for all so far, and go on.
    let large = vec![me; 50_000];
    let (mut first, mut second, mut third) = (vec![0; 50_001], [0; 2], 0);
    let value = world.scope(|s| {
        let receiving = s.irecv_into(&mut first, from(left).tag(1))?;
        let sending = s.issend(&large, to(right).tag(1))?;
        let got = receiving.wait()?;
        assert_eq!((got.source, got.tag, got.len), (Some(left), 1, 50_000));
        sending.wait()?;
        let receiving = s.irecv_into(&mut second, from(left).tag(2))?;
        assert!(receiving.test()?.is_none());
        world.barrier()?;
        s.isend(&large[..2], to(right).tag(2))?;
        let got = poll(|| receiving.test())?;
        assert_eq!((got.source, got.len), (Some(left), 2));
        assert!(receiving.test().expect_err("completed").is_state());
        assert!(receiving.wait().expect_err("completed").is_state());

        let receiving = s.irecv_into(&mut third, from(left).tag(3))?;
        s.isend(&large[0], to(right).tag(3))?;
        s.wait_all()?;
        assert!(receiving.wait().expect_err("completed").is_state());
        s.wait_all()?;
        s.isend(&large[1], me)?;
        assert_eq!(world.recv::<usize>(me)?, me);
        Ok(first_of(&large))
    })?;
    assert_eq!((value, first[0], second, third), (me, left, [left; 2], left));

    // A scope inside a scope, and one without anything.
    let mut outer = [0];
    let mut inner = [0];
    world.scope(|a| {
        a.irecv_into(&mut outer, from(left).tag(1))?;
        world.scope(|b| {
            b.irecv_into(&mut inner, from(left).tag(2))?;
            b.isend(&me, to(right).tag(2)).map(drop)
        })?;
        assert_eq!(inner, [left]);
        a.isend(&me, to(right).tag(1)).map(drop)
    })?;
    assert_eq!((outer, world.scope(|_| Ok(5))?), ([left], 5));
    world.barrier()
}

fn first_of(numbers: &[usize]) -> usize {
    numbers[0]
}

fn errors_in_scopes(world: &Comm) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(world), left(world));
    // An error of a request at the end of the scope, which is in flight all the same until then.
    for tail in [1, 200] {
        let (mut short, mut rest) = ([0; 2], vec![0; tail]);
        let line = line!() + 5;
        let result = world.scope(|s| {
            for value in &mut rest {
                s.irecv_into(value, from(left).tag(2))?;
            }
            s.irecv_into(&mut short, from(left).tag(1))?;
            s.isend(&[1, 2, 3], to(right).tag(1))?;
            for _ in 0..tail {
                s.isend(&7, to(right).tag(2))?;
            }
            Ok(())
        });
        let error = result.expect_err("two are too few");
        assert!(error.is_truncated(), "{error}");
        assert_eq!((error.operation(), error.tag()), ("irecv", Some(1)), "{error}");
        assert_eq!((error.peer(), error.location().line()), (Some(left), line), "{error}");
        assert_eq!(rest, vec![7; tail]);
        world.barrier()?;
    }

    // An error of one that is waited for: the closure may go on.
    let mut short = [0; 2];
    world.scope(|s| {
        let receiving = s.irecv_into(&mut short, left)?;
        s.isend(&[1, 2, 3], right)?;
        assert!(receiving.wait().expect_err("two are too few").is_truncated());
        Ok(())
    })?;

    // A closure that fails: its receives are cancelled, what it sent arrives.
    let (data, mut untouched, mut filled) = ([me; 4], [5; 4], [0; 4]);
    let result = world.scope(|s| -> phalanx::Result<()> {
        s.irecv_into(&mut untouched, from(left).tag(8))?;
        s.isend(&data, to(right).tag(9))?;
        world.recv_into(&mut filled, from(left).tag(9))?;
        s.isend(&data, world.size()).map(drop)
    });
    assert!(result.expect_err("no such rank").is_invalid_rank());
    assert_eq!((untouched, filled), ([5; 4], [left; 4]));
    world.barrier()?;
    untouched = [6; 4];
    assert_eq!(world.sendrecv(&me, to(right).tag(8), from(left).tag(8))?, left);
    assert_eq!(untouched, [6; 4], "the cancelled receive takes nothing");

    // A closure that panics.
    let mut buffer = [1; 4];
    let panic = catch_unwind(AssertUnwindSafe(|| {
        world.scope(|s| -> phalanx::Result<()> {
            s.irecv_into(&mut buffer, from(left).tag(8))?;
            panic!("on purpose")
        })
    }));
    assert!(panic.is_err());
    world.barrier()?;
    buffer[0] = 2;
    assert_eq!(world.sendrecv(&me, to(right).tag(8), from(left).tag(8))?, left);
    assert_eq!(buffer, [2, 1, 1, 1]);
    world.barrier()
}

#[phalanx::test(ranks = [2], env("PHALANX_WAIT" = "library"))]
fn errors_in_a_scope_are_said_and_its_buffers_are_free(world: Comm) -> phalanx::Result<()> {
    errors_in_scopes(&world)
}

#[phalanx::test(ranks = [2, 3], env("PHALANX_WAIT" = "poll"))]
fn errors_in_a_polled_scope_are_said_and_its_buffers_are_free(world: Comm) -> phalanx::Result<()> {
    errors_in_scopes(&world)
}

#[phalanx::test(ranks = [2])]
#[should_panic(
    expected = "was left early with messages in flight whose buffers cannot be given back"
)]
fn a_scope_that_cannot_take_its_buffers_back_ends_the_job(world: Comm) -> phalanx::Result<()> {
    if world.rank() == 0 {
        let data = [1; 4];
        let result = world.scope(|s| {
            s.issend(&data, 1)?; // nobody ever receives it
            s.isend(&data, 9).map(drop)
        });
        unreachable!("the scope returned {result:?}");
    }
    world.recv::<u8>(from(0).tag(5)).map(drop)
}

#[phalanx::test(ranks = [2])]
fn a_communicator_with_a_pending_request_is_in_use(world: Comm) -> phalanx::Result<()> {
    let team = world.dup()?;
    let receiving = team.irecv_into([0], 1 - world.rank())?;
    let clone = team.clone();
    let error = team.free().expect_err("a clone and a request");
    assert!(error.is_in_use() && error.detail().starts_with('2'), "{error}");
    // It has given the communicator back, and would be an owner for as long as it lives.
    drop(error);
    clone.send(&[world.rank()], 1 - world.rank())?;
    assert_eq!(receiving.wait()?.0, [1 - world.rank()]);
    clone.free()
}

#[phalanx::test(ranks = [2, 3, 5])]
fn receives_are_served_by_every_wait(world: Comm) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);
    // Too long to be buffered: a send waits for its receiver, which itself waits for its own send.
    const LONG: usize = 1 << 20;
    for round in 0..3 {
        let first = world.irecv_at_most::<Vec<u8>>(LONG, from(left).tag(1))?;
        let second = world.irecv_object::<Vec<u8>>(from(left).tag(2))?;
        match round {
            0 => {
                world.isend(vec![rank as u8; LONG], to(right).tag(1))?.wait()?;
                world.isend_object(&vec![rank as u8; LONG], to(right).tag(2))?.wait()?;
            }
            1 => {
                world.send_object(&vec![rank as u8; LONG], to(right).tag(2))?;
                world.send(&vec![rank as u8; LONG], to(right).tag(1))?;
            }
            _ => {
                let mut sends = RequestSet::new();
                sends.push(world.issend(vec![rank as u8; LONG], to(right).tag(1))?.map(drop));
                sends.push(world.isend_object(&vec![rank as u8; LONG], to(right).tag(2))?);
                while sends.wait_any()?.is_some() {}
            }
        }
        assert_eq!(first.wait()?, vec![left as u8; LONG]);
        assert_eq!(second.wait()?, vec![left as u8; LONG]);
    }
    // A message that is no whole number of elements is an error, and gone.
    let odd = world.irecv_at_most::<Vec<u64>>(2, from(left).tag(3))?;
    world.send(&[1_u8; 9], to(right).tag(3))?;
    assert!(odd.wait().expect_err("nine bytes are no u64").is_type_mismatch());
    assert!(world.try_probe(from(left).tag(3))?.is_none());
    world.barrier()
}
