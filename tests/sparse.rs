//! Messages whose receivers do not know who sends.

use std::collections::HashMap;

use phalanx::prelude::*;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

/// Random messages of this rank: to how many, and how long, differs from call to call.
fn messages(random: &mut Random, world: &Comm, round: usize) -> Vec<(usize, Vec<u64>)> {
    let size = world.size() as u64;
    let count = random.below(2 * size + 1);
    let message = |number: u64| {
        let length = [0, 1, 7, 100, 20_000][random.below(5) as usize];
        let mark = (round as u64) << 32 | (world.rank() as u64) << 16 | number;
        (random.below(size) as usize, vec![mark; length])
    };
    (0..count).map(message).collect()
}

/// What [`Comm::sparse_exchange`] should return, by an alltoall of everything.
fn reference(
    world: &Comm,
    outgoing: &[(usize, Vec<u64>)],
) -> phalanx::Result<Vec<(usize, Vec<u64>)>> {
    let to = |rank| {
        let for_it = outgoing.iter().filter(|(to, _)| *to == rank);
        for_it.map(|(_, data)| data.clone()).collect::<Vec<_>>()
    };
    let inbox = world.alltoall_object(&(0..world.size()).map(to).collect::<Vec<_>>())?;
    let from = |(source, messages): (usize, Vec<Vec<u64>>)| {
        messages.into_iter().map(move |data| (source, data))
    };
    Ok(inbox.into_iter().enumerate().flat_map(from).collect())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5, 6, 7, 8, 9])]
fn a_hundred_calls_in_a_row_do_not_mix(world: Comm) -> phalanx::Result<()> {
    let mut random = Random(world.rank() as u64);
    let mut given = Vec::new();
    let mut got = Vec::new();
    // Nothing between the calls, so that fast ranks run ahead.
    for round in 0..100 {
        let outgoing = messages(&mut random, &world, round);
        got.push(world.sparse_exchange(outgoing.iter().map(|(to, data)| (*to, data)))?);
        given.push(outgoing);
    }
    for (outgoing, inbox) in given.iter().zip(got) {
        assert_eq!(inbox, reference(&world, outgoing)?);
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 5, 9])]
fn objects_come_sorted_by_their_sources(world: Comm) -> phalanx::Result<()> {
    let mut random = Random(7 + world.rank() as u64);
    for round in 0..30 {
        let outgoing = messages(&mut random, &world, round);
        let inbox = world.sparse_exchange_object(outgoing.clone())?;
        assert_eq!(inbox, reference(&world, &outgoing)?);
    }
    let me = world.rank();
    let all = world.sparse_exchange_object([(0, (me, "text".to_owned()))])?;
    let expected = (0..world.size()).map(|rank| (rank, (rank, "text".to_owned())));
    assert_eq!(all, if me == 0 { expected.collect() } else { vec![] });
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4, 7])]
fn nothing_empty_messages_and_messages_to_oneself(world: Comm) -> phalanx::Result<()> {
    let me = world.rank();
    assert!(world.sparse_exchange(Vec::<(usize, Vec<f64>)>::new())?.is_empty());
    assert!(world.sparse_exchange_object(None::<(usize, String)>)?.is_empty());
    let inbox = world.sparse_exchange([(me, [].as_slice()), (me, &[me; 3]), (me, &[])])?;
    assert_eq!(inbox, [(me, vec![]), (me, vec![me; 3]), (me, vec![])]);
    let large = world.sparse_exchange([(me, vec![me; 500_000])])?;
    assert_eq!(large, [(me, vec![me; 500_000])]);
    let from_a_map = HashMap::from([(0, vec![me as f32])]);
    let inbox = world.sparse_exchange(from_a_map)?;
    assert_eq!(inbox.len(), if me == 0 { world.size() } else { 0 });
    Ok(())
}

#[phalanx::test(ranks = [2, 3, 5])]
fn messages_of_the_program_do_not_come_between(world: Comm) -> phalanx::Result<()> {
    let next = (world.rank() + 1) % world.size();
    let sending = world.isend(vec![1_u8; 3], next)?;
    let inbox = world.sparse_exchange([(next, vec![2_u8; 2])])?;
    assert_eq!((inbox.len(), &inbox[0].1[..]), (1, &[2, 2][..]));
    assert_eq!(world.recv::<Vec<u8>>(any())?, [1; 3]);
    sending.wait().map(drop)
}

#[phalanx::test(ranks = [1, 2, 3, 5])]
fn a_rank_with_a_wrong_destination_has_an_error_and_the_others_go_on(
    world: Comm,
) -> phalanx::Result<()> {
    let (me, size) = (world.rank(), world.size());
    for _ in 0..10 {
        let destination = if me == 0 { size } else { 0 };
        let outcome = world.sparse_exchange([(0, vec![me]), (destination, vec![me])]);
        if me == 0 {
            let error = outcome.unwrap_err();
            assert!(error.is_invalid_rank() && error.peer() == Some(size), "{error}");
            assert_eq!(error.operation(), "sparse_exchange");
            assert!(error.location().file().ends_with("sparse.rs"));
        } else {
            assert!(outcome?.is_empty());
        }
    }
    let inbox = world.sparse_exchange([(size - 1, [me])])?;
    assert_eq!(inbox.len(), if me == size - 1 { size } else { 0 });
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn a_message_of_another_type_is_an_error_where_it_arrives(world: Comm) -> phalanx::Result<()> {
    let outcome = if world.rank() == 0 {
        world.sparse_exchange([(1, vec![1_u8; 3]), (1, vec![2; 50_001])]).map(drop)
    } else {
        world.sparse_exchange(Vec::<(usize, Vec<u32>)>::new()).map(drop)
    };
    if world.rank() == 1 {
        let error = outcome.unwrap_err();
        assert!(error.is_type_mismatch());
        assert_eq!(error.parts().len(), 2, "{error}");
    } else {
        outcome?;
    }
    world.sparse_exchange([(0, [1_u8])]).map(drop)
}
