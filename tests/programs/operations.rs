//! Every operation of the library that calls MPI, once each.

use phalanx::prelude::*;
use phalanx::{Cart, Graph, Halo, PerRank, Request, RequestSet, Result, Strided};

/// What operations work on, made by a thread that may.
pub struct Things {
    pub world: Comm,
    pub ring: Cart,
    pub graph: Graph,
    pub halo: Halo<f64>,
}

impl Things {
    pub fn new(world: &Comm) -> Result<Self> {
        let size = world.size();
        let ring = world.cart(&[size], &[true])?.expect("every rank fits");
        let neighbors = [(world.rank() + 1) % size];
        let sources = [(world.rank() + size - 1) % size];
        let graph = world.graph(&sources, &neighbors)?;
        let halo = ring.halo::<f64>(&[4], &[1])?;
        Ok(Things { world: world.clone(), ring, graph, halo })
    }
}

/// Tries each operation. All of them would wait for others, or start something.
pub fn attempts(things: &Things) -> Vec<(&'static str, Result<()>)> {
    let mut results = point_to_point(&things.world);
    results.extend(collectives(&things.world));
    results.extend(started_collectives(&things.world));
    results.extend(objects(&things.world));
    results.extend(started_objects(&things.world));
    results.extend(exchanges(&things.world));
    results.extend(communicators(&things.world));
    results.extend(neighbourhoods(things));
    results.extend(drops(&things.world));
    results
}

/// Names each operation by its own text.
macro_rules! attempts {
    ($($call:expr),* $(,)?) => { vec![$((stringify!($call), ($call).map(drop))),*] };
}

type Attempts = Vec<(&'static str, Result<()>)>;

fn point_to_point(world: &Comm) -> Attempts {
    let (data, peer) = ([1.0; 4], 0);
    attempts![
        world.send(&data, peer),
        world.ssend(&data, peer),
        world.bsend(&data, peer),
        world.recv::<Vec<f64>>(peer),
        world.recv::<f64>(any()),
        world.recv_with_status::<Vec<f64>>(any()),
        world.recv_into(&mut [0.0; 4], peer),
        world.sendrecv(&data, peer, peer),
        world.sendrecv_into(&data, peer, &mut [0.0; 4], peer),
        world.sendrecv_replace(&mut [0.0; 4], peer, peer),
        world.isend(data, peer),
        world.issend(data, peer),
        world.irecv_into(data, peer),
        world.irecv_into(vec![0.0; 4], any()),
        world.irecv_at_most::<Vec<f64>>(4, any()),
        world.irecv::<f64>(any()),
        world.scope(|s| s.isend(&data, peer).map(drop)),
        world.scope(|s| s.issend(&data, peer).map(drop)),
        world.probe(any()),
        world.try_probe(any()),
        Strided::column(&data, 2, 0),
        phalanx::attach_buffer(100),
        phalanx::processor_name(),
        [world.isend(data, peer)].into_iter().collect::<Result<RequestSet<_>>>(),
    ]
}

fn collectives(world: &Comm) -> Attempts {
    let n = world.size();
    let (each, counts) = (vec![1; n], vec![1; n]);
    let blocks: Vec<Vec<i32>> = vec![vec![1]; n];
    let mut room = vec![0; n];
    attempts![
        world.barrier(),
        world.bcast(&mut [0; 4], 0),
        world.bcast_vec(vec![0; 4], 0),
        world.gather(&1, 0),
        world.gatherv(&[1, 2], 0),
        world.scatter(Some(&each), 0),
        world.scatterv(Some(&blocks), 0),
        world.allgather(&1),
        world.allgatherv(&[1, 2]),
        world.allgatherv_into(&[1], &mut room, &counts),
        world.allgather_in_place(&mut room),
        world.alltoall(&each),
        world.alltoallv(&blocks),
        world.alltoallv_into(&each, &counts, &mut room, &counts),
        world.reduce(&1, Sum, 0),
        world.reduce(&1, op(|a, b| a + b), 0),
        world.allreduce(&1, Sum),
        world.allreduce(&1, op(|a, b| a + b)),
        world.allreduce_in_place(&mut [1, 2], Sum),
        world.reduce_scatter(&each, &counts, Sum),
        world.reduce_scatter_block(&each, Sum),
        world.scan(&1, Sum),
        world.exscan(&1, Sum),
        world.scan_in_place(&mut [1], Sum),
    ]
}

fn started_collectives(world: &Comm) -> Attempts {
    let n = world.size();
    let (each, counts) = (vec![1; n], vec![1; n]);
    let blocks: Vec<Vec<i32>> = vec![vec![1]; n];
    attempts![
        world.ibarrier(),
        world.ibcast(vec![0; 4], 0),
        world.igather(vec![1], 0),
        world.igatherv(vec![1], Some(counts.clone()), 0),
        world.iallgather(vec![1]),
        world.iallgatherv(vec![1], counts.clone()),
        world.ialltoall(each.clone()),
        world.ialltoallv(PerRank::from(blocks), counts.clone()),
        world.ireduce(1, Sum, 0),
        world.ireduce(1, op(|a, b| a + b), 0),
        world.iallreduce(vec![1], Sum),
        world.iallreduce(vec![1], op(|a, b| a + b)),
        world.ireduce_scatter(each.clone(), &counts, Sum),
        world.ireduce_scatter_block(each.clone(), Sum),
        world.iscan(1, Sum),
        world.iexscan(1, Sum),
    ]
}

fn objects(world: &Comm) -> Attempts {
    let n = world.size();
    let text = "text".to_owned();
    let texts = vec![text.clone(); n];
    attempts![
        world.send_object(&text, 0),
        world.ssend_object(&text, 0),
        world.recv_object::<String>(0),
        world.recv_object::<String>(any()),
        world.sendrecv_object::<_, String>(&text, 0, 0),
        {
            let value: Result<String> = world.bcast_object(Some(text.clone()), 0);
            value
        },
        world.gather_object(&text, 0),
        world.allgather_object(&text),
        world.scatter_object(Some(&texts), 0),
        world.alltoall_object(&texts),
        world.reduce_object(text.clone(), |a, _| a, 0),
        world.allreduce_object(text.clone(), |a, _| a),
        world.scan_object(text.clone(), |a, _| a),
        world.exscan_object(text.clone(), |a, _| a),
    ]
}

fn started_objects(world: &Comm) -> Attempts {
    let n = world.size();
    let text = "text".to_owned();
    let texts = vec![text.clone(); n];
    attempts![
        world.isend_object(&text, 0),
        world.irecv_object::<String>(any()),
        {
            let value: Result<Request<String>> = world.ibcast_object(Some(text.clone()), 0);
            value
        },
        world.igather_object(text.clone(), 0),
        world.iscatter_object(Some(texts.clone()), 0),
        world.iallgather_object(text.clone()),
        world.ialltoall_object(texts.clone()),
        world.ireduce_object(text.clone(), |a, _| a, 0),
        world.iallreduce_object(text.clone(), |a, _| a),
    ]
}

fn exchanges(world: &Comm) -> Attempts {
    let data = [1.0; 4];
    let text = "text".to_owned();
    let mut results = attempts![
        world.exchange(|x| {
            x.send(&data, 0);
        }),
        world.exchange(|x| {
            x.send_object(&text, 0);
        }),
        world.shift(&1, 1),
        world.shift_open(&1, 1),
        world.shift_object(&text, 1),
        world.shift_open_object(&text, 1),
        world.sparse_exchange([(0, vec![1])]),
        world.sparse_exchange_object([(0, text.clone())]),
        world.in_order(|| ()),
    ];
    // With itself a rank swaps nothing.
    if world.size() > 1 {
        let other = (world.rank() + 1) % world.size();
        results
            .extend(
                attempts![world.swap(&mut [1], other), world.swap_object(text.clone(), other),],
            );
    }
    results
}

fn communicators(world: &Comm) -> Attempts {
    let n = world.size();
    attempts![
        world.dup(),
        world.split(Some(0), 0),
        world.split_by_node(),
        world.group(),
        world.compare(world),
        world.set_name("another"),
        world.to_rsmpi(),
        world.cart(&[n], &[true]),
        world.graph(&[0], &[0]),
    ]
}

fn neighbourhoods(things: &Things) -> Attempts {
    let Things { ring, graph, halo, .. } = things;
    let text = "text".to_owned();
    let mut array = vec![0.0; halo.len()];
    attempts![
        ring.neighbor_allgather(&1),
        ring.neighbor_allgatherv(&[1, 2]),
        ring.neighbor_alltoall(&[1, 2]),
        ring.neighbor_alltoallv(&vec![vec![1], vec![2]]),
        ring.ineighbor_allgather(1),
        ring.ineighbor_alltoall(vec![1, 2]),
        ring.neighbor_allgather_object(&text),
        ring.ineighbor_allgather_object(&text),
        ring.dup(),
        graph.neighbor_allgather(&1),
        graph.ineighbor_alltoall_object(std::slice::from_ref(&text)),
        halo.exchange(&mut array),
        halo.start(array.clone()),
    ]
}

/// Clones are dropped, and communicators that have other owners are not freed.
fn drops(world: &Comm) -> Attempts {
    let clone = world.clone();
    attempts![clone.free()]
}
