//! Causes that are found beside the circle itself: freed and confused communicators, races, threads.

use super::*;

fn on(comm: u64, call: CallFacts) -> CallFacts {
    CallFacts { comm, ..call }
}

/// Says that a rank has freed a communicator.
fn frees(rank: usize, comm: u64) -> impl FnOnce(Job) -> Job {
    move |mut job| {
        let comms = &mut job.at(rank).comms;
        let comm = comms.iter_mut().find(|it| it.id == comm).expect("a known communicator");
        comm.freed = true;
        let id = comm.id;
        job.done(rank, CallFacts { comm: id, ..call("free", Kind::Local, 40) })
    }
}

fn with_rows(size: usize) -> Job {
    let members: Vec<u32> = (0..size as u32).collect();
    Job::new(size).comm(ROWS, "rows", &members)
}

#[test]
fn nothing_comes_from_a_rank_that_has_freed_the_communicator() {
    for wanted in [recv(0, 1, 9), CallFacts { tag: None, ..recv(0, 1, 9) }, recv_any(9)] {
        let job = || with_rows(2).inside(1, on(ROWS, wanted.clone()));
        // It has left, too.
        frees(0, ROWS)(job()).inside(0, finalize(30)).is_deadlock(
            &[0, 1],
            &["freed communicator: rank 1 waits on `rows` for rank 0, which has freed it at \
                 src/main.rs:40:9"],
        );
        // Whatever else it is going to do, on this communicator it does nothing any more.
        frees(0, ROWS)(job()).is_deadlock(
            &[1],
            &[
                "freed communicator",
                "rank 0 in the program's own code since free at src/main.rs:40:9",
            ],
        );
        // Without that it might still send.
        job().is_not_proved(Verdict::Outside, &["rank 0 is in the program's own code"]);
    }
}

#[test]
fn what_was_sent_before_the_communicator_was_freed_still_comes() {
    let job = with_rows(2).done(0, on(ROWS, send(1, 1, 8, 5)));
    let job = frees(0, ROWS)(job).inside(1, on(ROWS, recv(0, 1, 9)));
    assert_eq!(job.judge().stuck, []);
    // Where it was received already, nothing comes any more.
    let job = with_rows(2).done(0, on(ROWS, send(1, 1, 8, 5))).done(1, on(ROWS, recv(0, 1, 8)));
    frees(0, ROWS)(job)
        .inside(1, on(ROWS, recv(0, 1, 9)))
        .is_deadlock(&[1], &["freed communicator: rank 1 waits on `rows` for rank 0"]);
}

#[test]
fn a_message_to_a_rank_that_has_freed_the_communicator_is_never_taken() {
    let large = on(ROWS, send(0, 1, 8 << 20, 9));
    let job = frees(0, ROWS)(with_rows(2)).inside(1, large.clone());
    job.is_deadlock(
        &[1],
        &["freed communicator", "send to rank 0, tag 1, 8.0 MiB of f64, on `rows`"],
    );
    // It was taken before, and only has to return.
    let mut job = frees(0, ROWS)(with_rows(2)).inside(1, large);
    *job.traffic(0, ROWS, 1) = Traffic { peer: 1, received: message(1), ..Traffic::default() };
    assert_eq!(job.judge().stuck, []);
}

#[test]
fn a_collective_without_a_rank_that_has_freed_the_communicator_never_ends() {
    let job = || with_rows(3).inside(1, on(ROWS, barrier(1, 9))).inside(2, on(ROWS, barrier(1, 9)));
    frees(0, ROWS)(job()).is_deadlock(
        &[1, 2],
        &[
            "missing in a collective: rank 0 has not called barrier on `rows`, and never can",
            "freed communicator: ranks 1 and 2 wait on `rows` for rank 0",
        ],
    );
    // It has called it before.
    let done = job().done(0, on(ROWS, barrier(1, 8)));
    assert_eq!(frees(0, ROWS)(done).judge().stuck, []);
}

#[test]
fn a_rank_of_which_not_all_is_known_may_not_have_freed_anything() {
    let job = || frees(0, ROWS)(with_rows(2)).inside(1, on(ROWS, recv(0, 1, 9)));
    assert_eq!(job().judge().stuck, [1]);
    assert_eq!(job().with(0, |it| it.threads = true).judge().stuck, []);
    assert_eq!(job().seen(0, |_| Seen::Moving).judge().stuck, []);
    assert_eq!(job().seen(0, |it| Seen::Stopped(Some(it))).judge().stuck, []);
    assert_eq!(job().with(0, |it| it.comms[1].foreign = true).judge().stuck, []);
}

#[test]
fn ranks_of_two_communicators_that_are_confused_are_no_wait_for_oneself() {
    // Rank 1 is rank 0 of the reversed one.
    let job = Job::new(2)
        .comm(ROWS, "reversed", &[1, 0])
        .done(0, send(1, 0, 8, 6))
        .inside(0, finalize(20))
        .inside(1, on(ROWS, CallFacts { tag: None, ..recv(0, 0, 8) }));
    job.is_deadlock(
        &[0, 1],
        &[
            "wrong communicator: rank 1 receives on `reversed` at src/main.rs:8:9",
            "rank 0 has sent on `world`, tag 0, sent at src/main.rs:6:9",
            "help: send and receive on the same communicator",
        ],
    );
    assert!(!job.judge().text.contains("waiting for itself"), "{}", job.judge().text);
    // The other way round it went to somebody else.
    let job = Job::new(3)
        .comm(ROWS, "reversed", &[2, 1, 0])
        .done(0, on(ROWS, send(0, 0, 8, 6)))
        .inside(0, recv(2, 5, 7))
        .inside(2, recv(0, 0, 8));
    job.is_deadlock(
        &[0, 2],
        &["wrong communicator: rank 2 receives on `world`", "rank 0 has sent on"],
    );
}

#[test]
fn the_same_collective_on_two_communicators_is_said_to_be_that() {
    let job = with_rows(3)
        .inside(0, barrier(1, 5))
        .inside(1, on(ROWS, barrier(1, 7)))
        .inside(2, on(ROWS, barrier(1, 7)));
    job.is_deadlock(
        &[0, 1, 2],
        &[
            "same collective on two communicators: rank 0 calls barrier on `world` at src/main.rs:5:9, \
             ranks 1 and 2 call barrier on `rows` at src/main.rs:7:9",
            "help: call a collective on the same communicator on all ranks",
        ],
    );
    // Different operations are another mistake.
    let job = job.inside(0, allreduce(1, "Sum", 5));
    assert!(!job.judge().text.contains("two communicators"), "{}", job.judge().text);
}

#[test]
fn a_receive_from_anybody_that_took_the_message_is_the_cause() {
    let any = || CallFacts { tag: None, bytes: Some(4), ..recv_any(5) };
    let raced = |first: CallFacts| {
        let mut job =
            Job::new(3).done(0, send(1, 0, 4, 20)).done(2, send(1, 0, 4, 22)).done(1, first);
        // That of rank 0 was first.
        *job.traffic(1, WORLD, 0) = Traffic { peer: 0, received: message(0), ..Traffic::default() };
        job.inside(1, CallFacts { tag: None, ..recv(0, 0, 6) })
            .inside(0, finalize(30))
            .inside(2, finalize(30))
    };
    raced(any()).is_deadlock(
        &[0, 1, 2],
        &[
            "message race: recv from any rank at src/main.rs:5:9 may have taken the message of rank 0 that \
             rank 1 waits for at src/main.rs:6:9; a message of rank 2 with tag 0 is unreceived, sent at \
             src/main.rs:22:9",
            "help: name the source and tag in the earlier receive",
        ],
    );
    // One that takes no more than what it names has not raced.
    let text = raced(CallFacts { party: Party::Rank(2), ..any() }).judge().text;
    assert!(!text.contains("message race"), "{text}");
}

#[test]
fn a_receive_with_any_tag_that_took_the_message_is_the_cause() {
    let mut job = Job::new(2)
        .done(0, send(1, 7, 4, 20))
        .done(0, send(1, 8, 4, 21))
        .done(1, CallFacts { tag: None, kind: Kind::Local, ..recv(0, 0, 5) });
    *job.traffic(1, WORLD, 0) = Traffic { peer: 0, received: message(7), ..Traffic::default() };
    job.inside(1, recv(0, 7, 6)).inside(0, finalize(30)).is_deadlock(
        &[0, 1],
        &["message race: recv with any tag at src/main.rs:5:9", "with tag 8 is unreceived"],
    );
}

#[test]
fn threads_that_wait_are_shown_and_nothing_is_proved() {
    let worker = |line| CallFacts { party: Party::Any, ..recv(0, 5, line) };
    let waits = |it: &mut Statement| {
        it.threads = true;
        it.other_threads = vec![worker(9), worker(12)];
    };
    let job = Job::new(2).with(0, waits).with(1, waits);
    job.is_not_proved(
        Verdict::Unclear,
        &[
            "phalanx: ranks 0 and 1 of 2 have waited for 31 s: a deadlock is neither proved nor ruled out",
            "several threads of ranks 0 and 1 may call MPI",
            "ranks 0 and 1 recv from any rank, tag 5, on `world` src/main.rs:9:9",
            "recv from any rank, tag 5, on `world` src/main.rs:12:9",
        ],
    );
    // The thread that has initialised MPI waits as well.
    let job = job.inside(0, recv(1, 3, 4));
    job.is_not_proved(Verdict::Unclear, &["recv from rank 1, tag 3", "src/main.rs:9:9"]);
}

#[test]
fn lengths_that_are_exchanged_are_no_data_of_the_user() {
    let lengths = |operation: &str| CallFacts {
        operation: operation.to_owned(),
        element: "u64".to_owned(),
        ..allreduce(1, "", 3)
    };
    for operation in ["gatherv", "allgather_object", "ialltoallv"] {
        let job = Job::new(2).inside(0, lengths(operation)).inside(1, finalize(5));
        let text = job.judge().text;
        assert!(text.contains(operation) && !text.contains("u64"), "{text}");
    }
    let text = Job::new(2).inside(0, lengths("allgather")).inside(1, finalize(5)).judge().text;
    assert!(text.contains("allgather, 8 bytes of u64"), "{text}");
}

#[test]
fn only_a_number_that_the_user_can_count_is_said() {
    let job = Job::new(2).inside(0, barrier(2, 20)).inside(1, allreduce(2, "Sum", 25));
    job.is_deadlock(&[0, 1], &["collective call number 2 on `world` is not the same"]);
    let job = job.with(1, |it| it.comms[0].counts_users_calls = false);
    job.is_deadlock(&[0, 1], &["the ranks of `world` do not call the same operation"]);
}

#[test]
fn where_ranks_stand_is_said_in_as_few_lines_as_they_do_different_things() {
    let job = Job::new(4)
        .inside(0, recv(1, 8, 12))
        .inside(2, barrier(1, 20))
        .inside(3, barrier(1, 20))
        .done(1, barrier(1, 20));
    let expected = "\
phalanx: ended by SIGTERM; where the 4 ranks were:
    rank 0         recv from rank 1, tag 8, on `world`                          src/main.rs:12:9
    rank 1         in the program's own code since barrier at src/main.rs:20:9
    ranks 2 and 3  barrier on `world`                                           src/main.rs:20:9";
    assert_eq!(super::super::standing(&job.ranks, &[0, 1, 2, 3], "SIGTERM"), expected);
    let text = super::super::standing(&job.ranks, &[2, 3], "SIGINT");
    assert!(text.starts_with("phalanx: ended by SIGINT; where ranks 2 and 3 of 4 on node1 were:"));
}
