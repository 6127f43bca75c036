//! Calls before MPI is started and after it has ended: all of them errors.

use phalanx::{Strided, Threading, prelude::*};

#[track_caller]
fn refused(result: phalanx::Result<()>) {
    let error = result.expect_err("MPI does not run");
    assert!(error.is_state(), "{error}");
    assert_eq!(error.mpi_class(), None, "MPI was asked: {error}");
}

#[track_caller]
fn without_a_communicator() {
    assert!(phalanx::world().is_none() && phalanx::self_().is_none());
    refused(phalanx::processor_name().map(drop));
    refused(phalanx::attach_buffer(1000));
    refused(Strided::column(&[1, 2, 3, 4], 2, 0).map(drop));
    assert!(phalanx::mpi_version().is_ok() && phalanx::library_version().is_ok());
    assert!(std::panic::catch_unwind(phalanx::wtime).is_err());
}

#[derive(Clone, Copy, Element)]
#[repr(C)]
struct Pair(u32, u32);

fn main() -> phalanx::Result<()> {
    without_a_communicator();
    refused(<Pair as Element>::datatype().map(drop));

    let session = phalanx::init(Threading::Funneled)?;
    refused(phalanx::init(Threading::Funneled).map(|_| unreachable!()));
    let world = session.world().clone();
    let me = world.rank();
    let mut pending = world.irecv_into([0; 4], from(me).tag(1))?;
    let unknown = world.irecv_object::<Vec<u8>>(from(me).tag(2))?;
    let mut done = world.irecv_into([0; 4], from(me).tag(3))?;
    world.send(&[1; 4], to(me).tag(3))?;
    while done.test()?.is_none() {}
    let message = world.probe(None)?;
    world.send(&[0; 4], to(me).tag(1))?;
    session.finalize()?;

    without_a_communicator();
    assert_eq!((world.rank(), world.name()), (me, "world".to_owned()));
    let data = [1.0; 4];
    refused(world.send(&data, me));
    refused(world.recv::<Vec<f64>>(me).map(drop));
    refused(world.recv_into(&mut [0.0; 4], me).map(drop));
    refused(world.isend(data, me).map(drop));
    refused(world.irecv_into(data, me).map(drop));
    refused(world.scope(|s| s.isend(&data, me).map(drop)));
    refused(world.probe(any()).map(drop));
    refused(world.sendrecv(&data, me, me).map(drop));
    refused(world.send(&[Pair(1, 2)], me));
    refused(world.barrier());
    refused(world.allreduce(&1, Sum).map(drop));
    refused(world.dup().map(drop));
    refused(world.set_name("late"));
    refused(pending.test().map(drop));
    refused(pending.wait().map(drop));
    refused(unknown.wait().map(drop));
    refused(done.wait().map(drop));
    refused(message.recv::<Vec<i32>>().map(drop));
    refused(phalanx::init(Threading::Funneled).map(|_| unreachable!()));
    phalanx::testing::set_large_message_limit(2);
    refused(world.send(&data, me));
    println!("as it should be");
    Ok(())
}
