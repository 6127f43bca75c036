//! What must not be called a deadlock.

use super::*;

fn knot() -> Job {
    Job::new(2).inside(0, recv(1, 8, 12)).inside(1, recv(0, 8, 15))
}

#[track_caller]
fn nothing_is_proved(job: Job) {
    let judgement = job.judge();
    assert_eq!(judgement.stuck, [], "{}", judgement.text);
    assert_ne!(judgement.verdict, Verdict::Deadlock);
}

#[test]
fn a_message_on_its_way_is_no_deadlock() {
    nothing_is_proved(knot().done(1, send(0, 8, 8, 14)));
    // Nor is one with another tag if the receive takes any.
    let any_tag = CallFacts { tag: None, ..recv(1, 8, 12) };
    nothing_is_proved(knot().inside(0, any_tag).done(1, send(0, 9, 8, 14)));
    // Of several, one is enough.
    let three = [9, 8, 10].into_iter().fold(knot(), |job, tag| job.done(1, send(0, tag, 8, 14)));
    nothing_is_proved(three);
}

#[test]
fn tags_that_cannot_be_told_prove_nothing() {
    let unknown = |job: &mut Job, sum| job.traffic(1, WORLD, 0).sent = sum;
    let mut job = knot();
    unknown(&mut job, message(12345));
    nothing_is_proved(job);
    // The same with a mark that is known: another tag, which is a near miss.
    let mut job = knot();
    unknown(&mut job, message(9));
    job.is_deadlock(&[0, 1], &["tag near miss"]);
}

#[test]
fn tags_are_told_of_many_messages_of_one_or_two_kinds() {
    let many = |tags: &[i32]| {
        let mut job = knot();
        for &tag in tags {
            let traffic = job.traffic(1, WORLD, 0);
            traffic.sent = traffic.sent.wrapping_add(message(tag));
        }
        job
    };
    many(&[3; 1000]).is_deadlock(&[0, 1], &["tag near miss"]);
    many(&[3, 5, 3, 3, 5, 3, 3]).is_deadlock(&[0, 1], &["has tag 3", "has tag 5"]);
    nothing_is_proved(many(&[3, 8, 3, 3, 8, 3, 3]));
    nothing_is_proved(many(&[3, 5, 3, 3, 8, 3, 3]));
}

#[test]
fn traffic_that_is_not_all_counted_proves_nothing() {
    for rank in 0..2 {
        nothing_is_proved(knot().with(rank, |it| it.comms[0].foreign = true));
    }
    let mut job = knot();
    job.traffic(0, WORLD, 1).received = message(8);
    nothing_is_proved(job);
    // As many, but not the same ones.
    let mut job = knot();
    job.traffic(0, WORLD, 1).received = message(9);
    nothing_is_proved(job.done(1, send(0, 8, 8, 14)));
}

#[test]
fn a_rank_that_may_do_more_than_it_says_is_not_stuck() {
    nothing_is_proved(knot().with(0, |it| it.threads = true));
    nothing_is_proved(knot().with(1, |it| it.complete = false));
    nothing_is_proved(knot().seen(1, |_| Seen::Moving));
    nothing_is_proved(knot().seen(1, |it| Seen::Stopped(Some(it))));
    nothing_is_proved(knot().seen(1, |_| Seen::Unknown { why: String::new() }));
    nothing_is_proved(knot().with(1, |it| it.activity = Activity::Outside));
    nothing_is_proved(knot().inside(1, call("mrecv", Kind::Local, 3)));
}

#[test]
fn one_free_member_frees_a_receive_from_any() {
    let job = Job::new(3).inside(0, recv_any(1)).inside(1, recv_any(2)).inside(2, recv_any(3));
    job.is_deadlock(&[0, 1, 2], &["any-source knot"]);
    nothing_is_proved(job.seen(2, |_| Seen::Moving));
}

#[test]
fn one_free_request_frees_a_wait_for_any() {
    let wait_any = || CallFacts { comm: 0, ..call("wait_any", Kind::WaitAny, 9) };
    let requests = vec![recv(1, 1, 7), recv(2, 1, 8)];
    let job = Job::new(3).waiting(0, wait_any(), requests).inside(1, recv(0, 3, 5));
    nothing_is_proved(Job { ranks: job.ranks.clone() });
    job.inside(2, recv(0, 3, 6)).is_deadlock(&[0, 1, 2], &["wait cycle"]);
    // For all, one that never completes is enough.
    let requests = vec![recv(1, 1, 7), recv(2, 1, 8)];
    let job = Job::new(3).waiting(0, wait_all(9), requests).inside(1, recv(0, 3, 5));
    job.is_deadlock(&[0, 1], &["wait cycle", "for recv from rank 1"]);
    assert!(!job.judge().text.contains("for recv from rank 2"), "{}", job.judge().text);
}

#[test]
fn a_send_that_may_be_complete_proves_nothing_beside_another_request() {
    // The send may be buffered; what is received may come from rank 2.
    let requests = vec![send(1, 1, 8, 7), recv(2, 1, 8)];
    let job = Job::new(3).waiting(0, wait_all(9), requests).inside(1, recv(0, 3, 5));
    nothing_is_proved(job);
}

#[test]
fn a_send_that_is_expected_goes_on() {
    let job = Job::new(2).inside(0, send(1, 3, 1 << 20, 7)).inside(1, recv(0, 3, 5));
    nothing_is_proved(job);
    let job = Job::new(2).inside(0, send(1, 3, 1 << 20, 7)).inside(1, recv_any(5));
    nothing_is_proved(job);
    // One that was received already only has to return.
    let mut job = Job::new(2).inside(0, send(1, 3, 1 << 20, 7)).inside(1, recv(0, 4, 5));
    *job.traffic(1, WORLD, 0) = Traffic { peer: 0, received: message(3), ..Traffic::default() };
    nothing_is_proved(job);
}

#[test]
fn a_collective_whose_root_computes_is_not_stuck() {
    let job = Job::new(3).inside(0, bcast(1, 2, 3)).inside(1, bcast(1, 2, 3));
    job.is_not_proved(Verdict::Outside, &["rank 2"]);
    // The root has been there: who is missing does not keep its data from the others.
    let job =
        Job::new(4).inside(0, bcast(1, 2, 3)).done(2, bcast(1, 2, 3)).inside(1, recv(0, 8, 15));
    nothing_is_proved(job);
}

#[test]
fn a_collective_in_which_some_may_give_nothing_is_not_stuck_while_others_may_come() {
    let alltoallv = CallFacts {
        bytes: None,
        operation: "alltoallv".into(),
        reduction: String::new(),
        ..allreduce(1, "", 3)
    };
    let job = Job::new(3).inside(0, alltoallv).inside(1, recv(0, 8, 15));
    nothing_is_proved(Job { ranks: job.ranks.clone() });
    job.inside(2, recv(1, 8, 15)).is_deadlock(&[0, 1, 2], &["missing in a collective"]);
}

#[test]
fn members_of_which_nothing_is_known_are_not_missing() {
    let job = || Job::new(3).inside(0, barrier(1, 3)).inside(1, barrier(1, 3));
    nothing_is_proved(job().inside(2, barrier(1, 3)));
    nothing_is_proved(job().seen(2, |_| Seen::Finalized));
    nothing_is_proved(job().inside(2, recv(0, 1, 4)).with(2, |it| it.comms.clear()));
    nothing_is_proved(job().inside(2, call("create_group", Kind::Members, 4)));
    // A rank that is stuck, and may have freed the communicator of the others.
    let on_rows = |from| CallFacts { comm: ROWS, ..recv(from, 1, 4) };
    let job = Job::new(4)
        .comm(ROWS, "rows", &[2, 3])
        .inside(0, barrier(1, 3))
        .inside(1, barrier(1, 3))
        .inside(2, on_rows(1))
        .inside(3, on_rows(0))
        .with(2, |it| it.comms.retain(|comm| comm.id == ROWS))
        .with(3, |it| it.comms.retain(|comm| comm.id == ROWS));
    job.is_deadlock(&[2, 3], &["receive cycle: 2 waits for 3"]);
}

#[test]
fn collectives_on_a_communicator_that_was_given_away_may_go_on() {
    let on_rows = |from| CallFacts { comm: ROWS, ..recv(from, 1, 4) };
    let job = || {
        Job::new(3)
            .comm(ROWS, "rows", &[1, 2])
            .inside(0, barrier(1, 3))
            .inside(1, on_rows(1))
            .inside(2, on_rows(0))
    };
    job().is_deadlock(&[0, 1, 2], &["receive cycle"]);
    job().with(0, |it| it.comms[0].foreign = true).is_deadlock(&[1, 2], &["receive cycle"]);
}

#[test]
fn a_message_of_a_rank_that_has_finalized_may_be_on_its_way() {
    nothing_is_proved(Job::new(2).inside(0, recv(1, 8, 12)).seen(1, |_| Seen::Finalized));
    let job =
        Job::new(2).inside(0, recv(1, 8, 12)).done(1, send(0, 8, 8, 14)).inside(1, finalize(30));
    nothing_is_proved(job);
}

#[test]
fn the_null_process_keeps_nobody_waiting() {
    let to_null = CallFacts { party: Party::Null, ..send(0, 1, 8, 7) };
    let job =
        Job::new(2).waiting(0, wait_all(9), vec![to_null, recv(1, 1, 8)]).inside(1, recv(0, 3, 5));
    job.is_deadlock(&[0, 1], &["wait cycle"]);
    let from_null = CallFacts { party: Party::Null, ..recv(0, 1, 7) };
    nothing_is_proved(Job::new(1).inside(0, from_null));
}

#[test]
fn nonsense_is_no_proof_and_no_panic() {
    nothing_is_proved(Job::new(2).inside(0, recv(77, 1, 7)));
    let far = |it: &mut Statement| it.comms[0].members = vec![900, 901];
    nothing_is_proved(Job::new(2).inside(0, recv(1, 1, 7)).with(0, far));
    nothing_is_proved(
        Job::new(2).inside(0, CallFacts { comm: 99, ..recv(1, 1, 7) }).with(1, |_| {}),
    );
    nothing_is_proved(Job::new(2).inside(0, wait_all(7)));
    nothing_is_proved(Job::new(2).inside(0, barrier(0, 7)));
    assert_eq!(judge(&[]).verdict, Verdict::Nothing);
}
