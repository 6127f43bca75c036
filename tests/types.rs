//! Messages are compared with the types that they are received as: in debug builds and tests without strict mode.
//! What is wrong is an error that names both lines; what is right is never one.

use phalanx::prelude::*;
use phalanx::{Element, Error, RequestSet, Result};

/// A message of `f64`, sent to rank 1, and the line that sends it.
fn send(world: &Comm, tag: i32) -> Result<u32> {
    let line = line!() + 1;
    world.send(&[1.5_f64, 2.5], to(1).tag(tag))?;
    Ok(line)
}

/// Whether an error says that `f64` was received as `wanted`, with the lines of both.
#[track_caller]
fn names_both(outcome: Result<()>, wanted: &str) {
    let error = outcome.expect_err("the types differ");
    assert!(error.is_type_mismatch(), "{error}");
    let text = error.to_string();
    for part in
        ["rank 0 sent 16 bytes of `f64` (send at tests/types.rs:", wanted, "[tests/types.rs:"]
    {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
}

type Receive = fn(&Comm, i32) -> Result<()>;

/// Every way in which one rank receives, with a type that is wrong.
const WRONG: [(&str, Receive); 9] = [
    ("recv", |world, tag| world.recv::<Vec<i64>>(from(0).tag(tag)).map(drop)),
    ("recv of an array", |world, tag| world.recv::<[i64; 2]>(from(0).tag(tag)).map(drop)),
    ("recv from any", |world, tag| world.recv::<Vec<i64>>(any().tag(tag)).map(drop)),
    ("recv_into", |world, tag| world.recv_into(&mut [0_i64; 2], from(0).tag(tag)).map(drop)),
    ("probe", |world, tag| world.probe(from(0).tag(tag))?.recv::<Vec<i64>>().map(drop)),
    ("irecv", |world, tag| world.irecv_into(vec![0_i64; 2], from(0).tag(tag))?.wait().map(drop)),
    ("irecv, tested", |world, tag| {
        let mut receive = world.irecv_into(vec![0_i64; 2], from(0).tag(tag))?;
        loop {
            match receive.test() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
    }),
    ("a set", |world, tag| {
        let mut set = RequestSet::new();
        set.push(world.irecv_into(vec![0_i64; 2], from(0).tag(tag))?);
        set.wait_all().map(drop)
    }),
    ("sendrecv", |world, tag| {
        let mut buffer = [0_i64; 2];
        world.sendrecv_into(&[7_u8], to(0).tag(99), &mut buffer, from(0).tag(tag))?;
        Ok(())
    }),
];

fn wrong_types_are_errors_with_both_lines(world: &Comm) -> Result<()> {
    for (number, (name, receive)) in WRONG.into_iter().enumerate() {
        let tag = number as i32;
        match world.rank() {
            0 => {
                send(world, tag)?;
                if name == "sendrecv" {
                    assert_eq!(world.recv::<u8>(from(1).tag(99))?, 7);
                }
                world.send(&[3_i64, 4], to(1).tag(tag))?;
            }
            1 => {
                println!("{name}");
                names_both(receive(world, tag), "they were received as `i64`");
                // The next message is there, and right.
                assert_eq!(world.recv::<Vec<i64>>(from(0).tag(tag))?, [3, 4], "{name}");
            }
            _ => {}
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3], env("PHALANX_WAIT" = "library"))]
fn wrong_types_are_errors_where_the_library_waits(world: Comm) -> Result<()> {
    wrong_types_are_errors_with_both_lines(&world)
}

#[phalanx::test(ranks = [2, 3], env("PHALANX_WAIT" = "poll"))]
fn wrong_types_are_errors_where_ranks_poll(world: Comm) -> Result<()> {
    wrong_types_are_errors_with_both_lines(&world)
}

#[phalanx::test(ranks = [2], strict)]
fn wrong_types_are_errors_in_strict_mode(world: Comm) -> Result<()> {
    wrong_types_are_errors_with_both_lines(&world)
}

#[phalanx::test(ranks = [2])]
fn an_object_that_is_received_typed_is_an_error_and_so_is_the_reverse(world: Comm) -> Result<()> {
    if world.rank() == 0 {
        world.send_object(&7_i64, 1)?;
        world.send(&[7_i64], 1)?;
        world.send_object("right", 1)?;
        return Ok(());
    }
    let refused = |error: Error, parts: [&str; 2]| {
        assert!(error.is_type_mismatch() || error.is_decode(), "{error}");
        assert!(parts.iter().all(|part| error.to_string().contains(part)), "{error}");
    };
    let error = world.recv::<Vec<u8>>(0).expect_err("it is an object");
    refused(error, ["tests/types.rs", "`u8`"]);
    let error = world.recv_object::<i64>(0).expect_err("it is typed");
    refused(error, ["tests/types.rs", "i64"]);
    assert_eq!(world.recv_object::<String>(0)?, "right");
    Ok(())
}

/// Receives of all kinds whose messages come and are completed in different orders.
fn right_types_are_no_error_in_any_order(world: &Comm) -> Result<()> {
    let (me, size) = (world.rank(), world.size());
    let (next, last) = ((me + 1) % size, (me + size - 1) % size);
    for round in 0..40_i64 {
        // Two types under one tag, with receives that are waited for in the reverse order.
        let floats = world.irecv_into(vec![0.0_f64], last)?;
        let numbers = world.irecv_into(vec![0_i64], last)?;
        let more = world.irecv_into(vec![0.0_f64], from(last).tag(0))?;
        let sends = (
            world.isend(vec![0.5 + round as f64], next)?,
            world.isend(vec![round], next)?,
            world.isend(vec![1.5], next)?,
        );
        assert_eq!(more.wait()?.0, [1.5]);
        assert_eq!(numbers.wait()?.0, [round]);
        assert_eq!(floats.wait()?.0, [0.5 + round as f64]);
        sends.0.wait()?;
        sends.1.wait()?;
        sends.2.wait()?;

        // A message that was probed, and another that is received before it.
        let sends =
            (world.isend(vec![round], to(next).tag(1))?, world.isend(vec![0.5], to(next).tag(1))?);
        let probed = world.probe(from(last).tag(1))?;
        assert_eq!(world.recv::<f64>(from(last).tag(1))?, 0.5);
        assert_eq!(probed.recv::<Vec<i64>>()?, [round]);
        sends.0.wait()?;
        sends.1.wait()?;

        // Receives from anybody, completed as they come.
        let mut receives: RequestSet<_> = (0..3)
            .map(|_| world.irecv_into(vec![0_u16; 2], any().tag(2)))
            .collect::<Result<_>>()?;
        let sends: RequestSet<_> = (0..3)
            .map(|n| world.isend(vec![n as u16; 2], to(next).tag(2)))
            .collect::<Result<_>>()?;
        while receives.wait_any()?.is_some() {}
        sends.wait_all()?;

        // One that is given up, unless its message was faster.
        let given_up = world.irecv_into(vec![0_f32], from(last).tag(3))?;
        let sending = world.isend(vec![2.5_f32], to(next).tag(3))?;
        let received = match given_up.cancel()? {
            Some((received, _)) => received[0],
            None => world.recv::<f32>(from(last).tag(3))?,
        };
        assert_eq!(received, 2.5);
        sending.wait()?;

        // Names that mean the same to MPI.
        let sending = world.isend(vec![round as usize; 2], to(next).tag(4))?;
        assert_eq!(world.recv::<[u64; 2]>(from(last).tag(4))?, [round as u64; 2]);
        sending.wait()?;
        assert_eq!(world.sendrecv(&[[round; 2]], next, last)?, [[round; 2]]);

        // A communicator that comes and goes.
        let half = world.split(Some((me % 2) as u32), 0)?.expect("every rank has a color");
        let sending = half.isend(vec![me as u32], (half.rank() + 1) % half.size())?;
        half.recv::<u32>((half.rank() + half.size() - 1) % half.size())?;
        sending.wait()?;
        half.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4], env("PHALANX_WAIT" = "library"))]
fn right_types_are_no_error_where_the_library_waits(world: Comm) -> Result<()> {
    right_types_are_no_error_in_any_order(&world)
}

#[phalanx::test(ranks = [1, 4], env("PHALANX_WAIT" = "poll"))]
fn right_types_are_no_error_where_ranks_poll(world: Comm) -> Result<()> {
    right_types_are_no_error_in_any_order(&world)
}

#[phalanx::test(ranks = [1, 3], strict)]
fn right_types_are_no_error_in_strict_mode(world: Comm) -> Result<()> {
    right_types_are_no_error_in_any_order(&world)
}

/// The same call in C, which says nothing of what it sends.
#[phalanx::test(ranks = [2])]
fn messages_of_c_code_are_not_compared_and_nothing_waits_for_what_is_said_of_them(
    world: Comm,
) -> Result<()> {
    let shared = world.dup()?;
    if world.rank() == 0 {
        shared.send(&[1_i64], 1)?;
        let value = 2.5_f64;
        // SAFETY: the communicator is live, and the buffer holds the one item that is said.
        let code = unsafe {
            mpi::ffi::MPI_Send(
                (&raw const value).cast(),
                1,
                mpi::ffi::RSMPI_DOUBLE,
                1,
                0,
                shared.as_raw(),
            )
        };
        assert_eq!(code, 0);
        shared.send(&[3_i64], 1)?;
        shared.send(&[4_i32], 1)?;
    }
    world.barrier()?;
    if world.rank() == 1 {
        assert_eq!(shared.recv::<i64>(0)?, 1);
        assert_eq!(shared.recv::<f64>(0)?, 2.5);
        assert_eq!((shared.recv::<i64>(0)?, shared.recv::<i32>(0)?), (3, 4));
    }
    shared.free()
}

/// Many more messages and tags than are remembered.
#[phalanx::test(ranks = [2])]
fn what_is_forgotten_is_not_compared_and_no_error(world: Comm) -> Result<()> {
    const MESSAGES: usize = 5000;
    if world.rank() == 0 {
        let receiving = world.irecv_into(vec![0_u8], 1)?;
        let sends: RequestSet<_> = (0..MESSAGES)
            .map(|n| world.isend(vec![n as u32], to(1).tag((n % 7) as i32)))
            .collect::<Result<_>>()?;
        sends.wait_all()?;
        receiving.wait()?;
    } else {
        world.isend(vec![1_u8], 0)?.wait()?;
        for n in 0..MESSAGES {
            assert_eq!(world.recv::<u32>(from(0).tag((n % 7) as i32))? as usize, n);
        }
    }
    Ok(())
}

mod größen_und_ähnliche_überlegungen_zur_strömung {
    pub mod wärmeübertragung_an_öffentlichen_gebäuden_mit_dämmung {
        use phalanx::Element;

        #[derive(Clone, Copy, Debug, PartialEq, Element)]
        #[repr(C)]
        pub struct FlächenübergängeÄußererWändeX {
            pub x: f64,
        }

        #[derive(Clone, Copy, Debug, PartialEq, Element)]
        #[repr(C)]
        pub struct FlächenübergängeÄußererWändeMitSehrLangemNamenUndNochEinemWort {
            pub x: f64,
        }
    }
}
use größen_und_ähnliche_überlegungen_zur_strömung::wärmeübertragung_an_öffentlichen_gebäuden_mit_dämmung::{
    FlächenübergängeÄußererWändeMitSehrLangemNamenUndNochEinemWort as Long,
    FlächenübergängeÄußererWändeX as Short,
};

fn long_names(world: &Comm) -> Result<()> {
    if world.rank() == 0 {
        world.send(&[Short { x: 1.0 }], 1)?;
        world.send(&[Long { x: 2.0 }], 1)?;
        world.send(&[Long { x: 3.0 }], 1)?;
    } else {
        assert_eq!(world.recv::<Vec<Short>>(0)?, [Short { x: 1.0 }]);
        assert_eq!(world.recv::<Vec<Long>>(0)?, [Long { x: 2.0 }]);
        let error = world.recv::<Vec<Short>>(0).expect_err("another type of the same size");
        assert!(error.is_type_mismatch() && error.to_string().contains("NochEinemWort"), "{error}");
    }
    let (long, short) = (Long { x: 4.0 }, Short { x: 4.0 });
    let mut data = if world.rank() == 0 { [long] } else { [Long { x: 0.0 }] };
    world.bcast(&mut data, 0)?;
    assert_eq!((data, short.x), ([long], 4.0));
    Ok(())
}

#[phalanx::test(ranks = [2], strict)]
fn long_names_that_are_not_ascii_are_compared_whole_in_strict_mode(world: Comm) -> Result<()> {
    long_names(&world)
}

#[phalanx::test(ranks = [2])]
fn long_names_that_are_not_ascii_are_compared_whole(world: Comm) -> Result<()> {
    long_names(&world)
}

/// A mismatch that is an error where types are compared.
fn is_compared(world: &Comm) -> Result<bool> {
    if world.rank() == 0 {
        world.send(&[1.0_f64], 1)?;
        return Ok(false);
    }
    match world.recv::<Vec<u64>>(0) {
        Ok(bits) => {
            assert_eq!(bits, [1.0_f64.to_bits()]);
            Ok(false)
        }
        Err(error) => {
            assert!(error.is_type_mismatch(), "{error}");
            Ok(true)
        }
    }
}

#[phalanx::test(ranks = [2], env("PHALANX_WATCH_TYPES" = "off"))]
fn types_are_not_compared_where_that_is_turned_off(world: Comm) -> Result<()> {
    assert!(!is_compared(&world)?);
    Ok(())
}

#[phalanx::test(ranks = [2], env("PHALANX_WATCH" = "off"))]
fn types_are_not_compared_without_the_watch(world: Comm) -> Result<()> {
    assert!(!is_compared(&world)?);
    Ok(())
}

#[phalanx::test(ranks = [2], env("PHALANX_NODES" = "2"))]
fn types_are_not_compared_between_nodes_without_strict_mode(world: Comm) -> Result<()> {
    assert!(!is_compared(&world)?);
    Ok(())
}

#[phalanx::test(ranks = [2], threads = "multiple")]
fn types_are_not_compared_where_several_threads_may_receive(world: Comm) -> Result<()> {
    assert!(!is_compared(&world)?);
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn types_are_compared_in_tests(world: Comm) -> Result<()> {
    assert_eq!(is_compared(&world)?, world.rank() == 1);
    Ok(())
}

/// An element with a generic name of its own is one type, whoever spells it.
#[phalanx::test(ranks = [2])]
fn arrays_are_compared_by_their_elements(world: Comm) -> Result<()> {
    fn both<T: Element + PartialEq + std::fmt::Debug>(world: &Comm, value: T) -> Result<()> {
        if world.rank() == 0 {
            world.send(&[[value; 3]; 2], 1)
        } else {
            assert_eq!(world.recv::<Vec<T>>(0)?, [value; 6]);
            Ok(())
        }
    }
    both(&world, 7_u16)?;
    both(&world, 1.5_f32)
}
