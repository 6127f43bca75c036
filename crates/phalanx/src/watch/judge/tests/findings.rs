//! What is said of each kind of deadlock, and of its healthy twin.

use super::*;

fn on(comm: u64, call: CallFacts) -> CallFacts {
    CallFacts { comm, ..call }
}

#[test]
fn ranks_that_receive_before_they_send_are_a_receive_cycle() {
    let job = Job::new(4)
        .inside(0, recv(1, 8, 12))
        .inside(1, recv(0, 8, 15))
        .inside(2, barrier(1, 20))
        .inside(3, barrier(1, 20));
    job.is_deadlock(
        &[0, 1, 2, 3],
        &[
            "phalanx: deadlock (proved): ranks 0 and 1 of 4 wait for each other and can never continue",
            "receive cycle: 0 waits for 1, 1 waits for 0: each receives before it sends",
            "rank 0 recv from rank 1, tag 8, on `world` src/main.rs:12:9",
            "rank 1 recv from rank 0, tag 8, on `world` src/main.rs:15:9",
            "help: post the receives first",
            "`world.exchange(…)`, or `sendrecv`",
            "also waiting for them:",
            "ranks 2 and 3 barrier on `world` src/main.rs:20:9",
        ],
    );
    // The twin: what rank 0 waits for was sent.
    let twin = job.inside(1, recv(0, 8, 15)).done(1, send(0, 8, 8, 14));
    let judgement = twin.judge();
    assert_eq!(judgement.stuck, [], "{}", judgement.text);
}

#[test]
fn a_receive_cycle_is_shown_as_this_text() {
    let job = Job::new(2).inside(0, recv(1, 8, 12)).inside(1, recv(0, 8, 15));
    let expected = "\
phalanx: deadlock (proved): ranks 0 and 1 of 2 wait for each other and can never continue
  receive cycle: 0 waits for 1, 1 waits for 0: each receives before it sends
    rank 0  recv from rank 1, tag 8, on `world`  src/main.rs:12:9
    rank 1  recv from rank 0, tag 8, on `world`  src/main.rs:15:9
  help: post the receives first and complete all together: `world.exchange(…)`, or `sendrecv`";
    assert_eq!(job.judge().text, expected);
}

#[test]
fn the_ring_that_receives_first_names_all_its_ranks() {
    let size = 5;
    let job = (0..size).fold(Job::new(size), |job, rank| {
        job.inside(rank, recv((rank as u32 + 1) % size as u32, 0, 3))
    });
    job.is_deadlock(&[0, 1, 2, 3, 4], &["receive cycle", "rank 4 recv from rank 0, tag 0"]);
}

#[test]
fn ranks_that_all_wait_for_any_rank_are_a_knot() {
    let job = Job::new(3).inside(0, recv_any(5)).inside(1, recv_any(5)).inside(2, recv_any(5));
    job.is_deadlock(
        &[0, 1, 2],
        &[
            "ranks 0-2 of 3 wait for each other and can never continue",
            "any-source knot: ranks 0-2 wait for a message from any rank",
            "ranks 0-2 recv from any rank, any tag, on `world` src/main.rs:5:9",
        ],
    );
    // One that waits for a certain rank: that is another kind of circle.
    let job = job.inside(2, recv(0, 4, 9));
    job.is_deadlock(&[0, 1, 2], &["wait cycle: ranks 0 and 1 wait for a message from any rank"]);
    assert!(!job.judge().text.contains("knot"), "{}", job.judge().text);
    let twin = Job::new(3).inside(0, recv_any(5)).inside(1, recv_any(5));
    twin.is_not_proved(Verdict::Outside, &["ranks 0 and 1 of 3 have waited for 31 s", "rank 2"]);
}

#[test]
fn sends_that_are_too_large_to_be_buffered_are_a_send_cycle() {
    let job = Job::new(2).inside(0, send(1, 3, 8 << 20, 7)).inside(1, send(0, 3, 8 << 20, 7));
    job.is_deadlock(
        &[0, 1],
        &[
            "send cycle: 0 waits for 1, 1 waits for 0",
            "these have up to 8.0 MiB",
            "send to rank 1, tag 3, 8.0 MiB of f64, on `world`",
            "`world.exchange(…)`, or `sendrecv`",
        ],
    );
    let twin = Job::new(2)
        .inside(0, send(1, 3, 8 << 20, 7))
        .started(1, recv(0, 3, 6))
        .inside(1, send(0, 3, 8 << 20, 7));
    let judgement = twin.judge();
    assert_eq!(judgement.stuck, [], "{}", judgement.text);
}

#[test]
fn different_operations_in_a_circle_are_a_wait_cycle() {
    let job = Job::new(2)
        .waiting(0, wait_all(9), vec![CallFacts { operation: "irecv".into(), ..recv(1, 2, 8) }])
        .inside(
            1,
            CallFacts { kind: Kind::SyncSend, operation: "ssend".into(), ..send(0, 5, 8, 4) },
        );
    job.is_deadlock(
        &[0, 1],
        &[
            "tag near miss: rank 0 waits for tag 2",
            "an unreceived message of rank 1 has tag 5, sent at src/main.rs:4:9",
            "wait cycle: 0 waits for 1, 1 waits for 0",
            "for irecv from rank 1, tag 2, on `world`",
            "ssend to rank 0, tag 5, 8 bytes of f64",
        ],
    );
}

#[test]
fn a_rank_that_receives_where_others_are_in_a_barrier_is_missing_there() {
    let job =
        Job::new(3).inside(0, barrier(4, 20)).inside(1, recv(0, 8, 12)).inside(2, barrier(4, 20));
    job.is_deadlock(
        &[0, 1, 2],
        &[
            "missing in a collective: rank 1 has not called barrier on `world`",
            "wait cycle: 0 waits for 1, 1 waits for 0",
            "barrier on `world`",
            "rank 1 recv from rank 0, tag 8, on `world` src/main.rs:12:9",
            "every rank of `world` must call barrier",
        ],
    );
    let twin = Job::new(3).inside(0, barrier(4, 20)).inside(2, barrier(4, 20));
    twin.is_not_proved(
        Verdict::Outside,
        &[
            "ranks 0 and 2 of 3 have waited",
            "waiting for a rank outside MPI: rank 1 is in the program's own code",
        ],
    );
}

#[test]
fn a_rank_that_has_left_is_missing_in_a_collective() {
    let job =
        Job::new(3).inside(0, barrier(4, 20)).inside(1, finalize(30)).inside(2, barrier(4, 20));
    job.is_deadlock(
        &[0, 1, 2],
        &[
            "missing in a collective: rank 1 has not called barrier on `world`",
            "ranks 0 and 2 barrier on `world` src/main.rs:20:9",
            "rank 1 finalize src/main.rs:30:9",
        ],
    );
}

#[test]
fn different_collectives_are_shown_side_by_side() {
    let job = Job::new(3)
        .inside(0, barrier(2, 20))
        .inside(1, allreduce(2, "Sum", 25))
        .inside(2, allreduce(2, "Sum", 25));
    job.is_deadlock(
        &[0, 1, 2],
        &[
            "different collectives: collective call number 2 on `world`",
            "barrier on `world` src/main.rs:20:9",
            "ranks 1 and 2 allreduce, 8 bytes of f64, Sum, on `world` src/main.rs:25:9",
        ],
    );
    let twin = Job::new(2).inside(0, barrier(2, 20)).inside(1, barrier(2, 25));
    twin.is_not_proved(Verdict::Unclear, &["ranks 0 and 1 of 2 have waited"]);
}

#[test]
fn a_collective_that_is_over_elsewhere_under_another_name_is_found_in_the_history() {
    let job = Job::new(2).inside(0, barrier(2, 20)).done(1, bcast(2, 1, 25));
    job.is_deadlock(
        &[0],
        &[
            "different collectives",
            "rank 1 bcast with root 1",
            "(begun before)",
            "src/main.rs:25:9",
        ],
    );
}

#[test]
fn different_roots_are_named() {
    let job =
        Job::new(3).inside(0, bcast(1, 1, 5)).inside(1, bcast(1, 2, 5)).inside(2, bcast(1, 0, 5));
    job.is_deadlock(
        &[0, 1, 2],
        &["different root", "bcast with root 1", "bcast with root 2", "the same root on all ranks"],
    );
}

#[test]
fn different_counts_are_a_proof_when_everybody_is_there() {
    let longer = CallFacts { bytes: Some(16), ..allreduce(1, "Sum", 6) };
    let job = Job::new(2).inside(0, allreduce(1, "Sum", 5)).inside(1, longer.clone());
    job.is_deadlock(&[0, 1], &["different count", "8 bytes of f64", "16 bytes of f64"]);
    let twin = Job::new(3).inside(0, allreduce(1, "Sum", 5)).inside(1, longer);
    twin.is_not_proved(Verdict::Outside, &["rank 2"]);
}

#[test]
fn different_reductions_and_types_are_said_and_prove_nothing() {
    let job = Job::new(2).inside(0, allreduce(1, "Sum", 5)).inside(1, allreduce(1, "Max", 6));
    job.is_not_proved(Verdict::Unclear, &["different reduction"]);
    let of_integers = CallFacts { element: "i64".into(), ..allreduce(1, "Sum", 6) };
    let job = Job::new(2).inside(0, allreduce(1, "Sum", 5)).inside(1, of_integers);
    job.is_not_proved(Verdict::Unclear, &["different type"]);
}

#[test]
fn a_message_with_another_tag_is_a_near_miss() {
    let job =
        Job::new(2).inside(0, recv(1, 8, 12)).done(1, send(0, 9, 8, 14)).inside(1, recv(0, 8, 15));
    job.is_deadlock(
        &[0, 1],
        &[
            "tag near miss: rank 0 waits for tag 8 at src/main.rs:12:9",
            "an unreceived message of rank 1 has tag 9, sent at src/main.rs:14:9",
            "receive cycle",
        ],
    );
}

#[test]
fn a_message_on_another_communicator_is_named_with_both() {
    let job = Job::new(2)
        .comm(ROWS, "rows", &[1, 0])
        .inside(0, recv(1, 8, 12))
        .done(1, on(ROWS, send(1, 8, 8, 14)))
        .inside(1, recv(0, 8, 15));
    job.is_deadlock(
        &[0, 1],
        &[
            "wrong communicator: rank 0 receives on `world` at src/main.rs:12:9",
            "rank 1 has sent on `rows`, tag 8, sent at src/main.rs:14:9",
            "receive cycle",
        ],
    );
}

#[test]
fn a_peer_that_is_gone_is_named_with_its_end() {
    let killed = |statement: Box<Statement>| Seen::Gone {
        how: "killed by signal 9".to_owned(),
        last: Some(Box::new(Statement {
            failure: Some("panicked at src/main.rs:40:5: no more".to_owned()),
            ..*statement
        })),
    };
    let job = Job::new(3).inside(0, recv(1, 8, 12)).inside(2, barrier(1, 20)).seen(1, killed);
    job.is_deadlock(
        &[0, 2],
        &[
            "peer gone: rank 0 waits for rank 1, which is gone:",
            "panicked at src/main.rs:40:5: no more",
            "killed by signal 9",
            "also waiting for them: rank 2 barrier on `world`",
        ],
    );
    let job = Job::new(2).inside(0, recv(1, 8, 12)).inside(1, finalize(30));
    job.is_deadlock(
        &[0, 1],
        &["peer gone: rank 0 waits for rank 1, which has left: finalize at src/main.rs:30:9"],
    );
}

#[test]
fn ranks_in_the_same_call_that_wait_for_one_that_is_gone_are_told_of_once() {
    let job = Job::new(40);
    let job = (0..39).fold(job, |job, rank| job.inside(rank, barrier(1, 20)));
    let job = job.seen(39, |_| Seen::Gone { how: "exited".to_owned(), last: None });
    let text = job.judge().text;
    assert_eq!(job.judge().stuck.len(), 39);
    assert_eq!(text.matches("peer gone").count(), 1, "{text}");
    assert_eq!(text.matches("src/main.rs:20:9").count(), 1, "{text}");
}

#[test]
fn a_receive_from_oneself_waits_for_itself() {
    let job = Job::new(2).inside(0, recv(0, 8, 12));
    job.is_deadlock(&[0], &["waiting for itself: rank 0 is inside recv from rank 0, tag 8"]);
    let twin = Job::new(2).done(0, send(0, 8, 8, 11)).inside(0, recv(0, 8, 12));
    twin.is_not_proved(Verdict::Unclear, &["rank 0 of 2 has waited"]);
    let synchronous = CallFacts { kind: Kind::SyncSend, ..send(0, 8, 8, 12) };
    Job::new(2).inside(0, synchronous.clone()).is_deadlock(&[0], &["waiting for itself"]);
    let twin = Job::new(2).started(0, recv(0, 8, 11)).inside(0, synchronous);
    twin.is_not_proved(Verdict::Unclear, &["rank 0"]);
}

#[test]
fn ranks_of_other_communicators_are_named_twice() {
    let job = Job::new(3)
        .comm(ROWS, "rows", &[2, 1])
        .inside(1, on(ROWS, recv(0, 8, 12)))
        .inside(2, on(ROWS, recv(1, 8, 12)));
    job.is_deadlock(&[1, 2], &["recv from rank 2 (rank 0 of `rows`), tag 8, on `rows`"]);
}

#[test]
fn two_deadlocks_at_once_are_both_explained() {
    let job = Job::new(5)
        .inside(0, recv(3, 1, 1))
        .inside(3, recv(0, 1, 2))
        .inside(1, send(2, 1, 1 << 20, 3))
        .inside(2, send(1, 1, 1 << 20, 4));
    job.is_deadlock(
        &[0, 1, 2, 3],
        &[
            "ranks 0-3 of 5 can never continue",
            "receive cycle: 0 waits for 3",
            "send cycle: 1 waits for 2",
        ],
    );
}

#[test]
fn a_rank_that_waits_for_a_deadlock_is_listed_apart() {
    let job = Job::new(4)
        .inside(0, recv(1, 1, 1))
        .inside(1, recv(0, 1, 2))
        .inside(2, recv(1, 1, 3))
        .inside(3, recv(2, 1, 4));
    job.is_deadlock(
        &[0, 1, 2, 3],
        &[
            "ranks 0 and 1 of 4 wait for each other",
            "also waiting for them:",
            "rank 2 recv from rank 1",
            "rank 3 recv from rank 2",
        ],
    );
}

#[test]
fn a_chain_as_long_as_the_world_ends_at_its_cause() {
    let size = 2000;
    let job =
        (1..size).fold(Job::new(size), |job, rank| job.inside(rank, recv(rank as u32 - 1, 0, 3)));
    let judgement = job.judge();
    assert_eq!(judgement.verdict, Verdict::Outside);
    let job = job.inside(0, recv(1, 0, 2));
    let judgement = job.judge();
    assert_eq!(judgement.stuck.len(), size);
    assert_says(&judgement.text, &["receive cycle: 0 waits for 1, 1 waits for 0", "more ranks"]);
    assert!(judgement.text.lines().count() < 50, "{}", judgement.text);
}

#[test]
fn a_rank_that_computes_is_called_slow() {
    let job = Job::new(3)
        .inside(0, recv(1, 8, 12))
        .inside(1, recv(2, 8, 13))
        .done(2, allreduce(1, "Sum", 3));
    job.is_not_proved(
        Verdict::Outside,
        &[
            "phalanx: ranks 0 and 1 of 3 have waited for 31 s: no deadlock is proved, something may just be slow",
            "waiting for a rank outside MPI: rank 2 is in the program's own code since allreduce at \
             src/main.rs:3:9 (computing, or waiting for something that is not MPI)",
            "process 102 on node1",
            "rank 0 recv from rank 1",
        ],
    );
}

#[test]
fn a_stopped_or_unknown_rank_is_named() {
    let job = Job::new(2).inside(0, recv(1, 8, 12)).seen(1, |it| Seen::Stopped(Some(it)));
    job.is_not_proved(Verdict::Outside, &["rank 1 is stopped by a signal", "process 101 on node1"]);
    let unknown = |_| Seen::Unknown { why: "its node does not answer".to_owned() };
    let job = Job::new(2).inside(0, recv(1, 8, 12)).seen(1, unknown);
    job.is_not_proved(Verdict::Outside, &["rank 1 cannot be seen: its node does not answer"]);
}

#[test]
fn a_rank_that_looks_in_vain_is_said_to_poll() {
    let look = CallFacts { operation: "try_probe".into(), kind: Kind::Probe, ..recv(1, 8, 12) };
    let polling = |it: &mut Statement| it.activity = Activity::Polling { looks: 4711, at: look };
    let job = Job::new(2).with(0, polling).inside(1, recv(0, 8, 15));
    job.is_not_proved(
        Verdict::Polling,
        &[
            "rank 0 of 2 has polled in vain for 31 s",
            "for 31 s",
            "polling without progress: rank 0 has tested 4711 times for try_probe from rank 1, tag 8, \
             on `world` at src/main.rs:12:9",
            "rank 1 recv from rank 0",
        ],
    );
}

#[test]
fn ranks_that_wait_for_one_that_goes_on_are_not_mentioned() {
    let job = Job::new(2).inside(0, recv(1, 8, 12)).seen(1, |_| Seen::Moving);
    job.is_not_proved(Verdict::Nothing, &[]);
    Job::new(3).is_not_proved(Verdict::Nothing, &[]);
}

/// Operations of all ranks that are made of messages: which one is begun is told, too.
#[test]
fn operations_of_messages_that_differ_are_named() {
    const PRIVATE: u64 = 9;
    let begun = |operation: &str, root: u32, line: u32| {
        let call = CallFacts {
            party: Party::Rank(root),
            tag: Some(4),
            ..call(operation, Kind::Steps, line)
        };
        on(PRIVATE, call)
    };
    let receives = |operation: &str, from: u32, line: u32| {
        let call = CallFacts { operation: operation.to_owned(), ..recv(from, 4, line) };
        on(PRIVATE, call)
    };
    let job = |operation: &str, root: u32| {
        Job::new(2)
            .comm(PRIVATE, "world", &[0, 1])
            .with(0, |it| it.comms[1].private = true)
            .with(1, |it| it.comms[1].private = true)
            .done(0, begun("reduce_object", 0, 3))
            .done(1, begun(operation, root, 7))
            .inside(0, receives("reduce_object", 1, 3))
            .inside(1, finalize(9))
    };
    job("reduce_object", 1).is_deadlock(
        &[0, 1],
        &[
            "different root: reduce_object on `world` has not the same root on all ranks",
            "rank 0 reduce_object with root 0, on `world` src/main.rs:3:9",
            "rank 1 reduce_object with root 1, on `world` src/main.rs:7:9",
            "help: give the same root on all ranks",
        ],
    );
    job("scan_object", 0).is_deadlock(
        &[0, 1],
        &["different collectives: the ranks of `world` do not call the same operation"],
    );
    let text = job("reduce_object", 0).judge().text;
    assert!(!text.contains("different"), "{text}");
}

/// A call that does not fit follows from an earlier one that did not: that one is the cause.
#[test]
fn the_first_difference_is_told() {
    let gather = |number, line| CallFacts { kind: Kind::ToRoot, ..named("gather", number, line) };
    let scatter =
        |number, line| CallFacts { kind: Kind::FromRoot, ..named("scatter", number, line) };
    fn named(operation: &str, number: u32, line: u32) -> CallFacts {
        CallFacts {
            operation: operation.to_owned(),
            party: Party::Rank(0),
            ..bcast(number, 0, line)
        }
    }
    let job = Job::new(2)
        .done(0, scatter(1, 4))
        .done(0, CallFacts { bytes: Some(4), ..scatter(2, 4) })
        .inside(0, gather(3, 5))
        .done(1, gather(1, 7))
        .inside(1, scatter(2, 8));
    job.is_deadlock(
        &[0, 1],
        &[
            "different collectives: collective call number 1 on `world` is not the same on all ranks",
            "rank 1 gather with root 0, 8 bytes of f64, on `world` (begun before) src/main.rs:7:9",
            "scatter with root 0, 8 bytes of f64, on `world` src/main.rs:8:9",
            "rank 0 scatter with root 0, 8 bytes of f64, on `world` (begun before) src/main.rs:4:9",
            "gather with root 0, 8 bytes of f64, on `world` src/main.rs:5:9",
        ],
    );
    let text = job.judge().text;
    assert!(!text.contains("different count") && !text.contains("missing"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("src/main.rs")).count(), 4, "{text}");
}
