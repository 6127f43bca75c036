//! The collectives, for tables of cases. Each takes its own rank's idea of what the others do.

use phalanx::prelude::*;
use phalanx::{Number, Reduction, Result};

pub type Call = fn(&Comm) -> Result<()>;
pub type WithRoot = fn(&Comm, usize) -> Result<()>;

/// Collectives whose arguments agree on all ranks.
pub const CALLS: [(&str, Call); 17] = [
    ("barrier", |comm| comm.barrier()),
    ("bcast", |comm| comm.bcast(&mut [1_i32; 4], 0)),
    ("reduce", |comm| comm.reduce(&[1_i32; 4], Sum, 0).map(drop)),
    ("allreduce", |comm| comm.allreduce(&[1_i32; 4], Sum).map(drop)),
    ("gather", |comm| comm.gather(&[1_i32; 4], 0).map(drop)),
    ("allgather", |comm| comm.allgather(&[1_i32; 4]).map(drop)),
    ("scatter", |comm| scatter(comm, 0)),
    ("alltoall", |comm| comm.alltoall(&vec![1_i32; comm.size()]).map(drop)),
    ("scan", |comm| comm.scan(&[1_i32; 4], Sum).map(drop)),
    ("exscan", |comm| comm.exscan(&[1_i32; 4], Sum).map(drop)),
    ("reduce-scatter-block", |comm| {
        comm.reduce_scatter_block(&vec![1_i32; comm.size()], Sum).map(drop)
    }),
    ("allgatherv", |comm| comm.allgatherv(&vec![1_i32; comm.rank()]).map(drop)),
    ("bcast-object", |comm| comm.bcast_object::<String>(Some(text()), 0).map(drop)),
    ("gather-object", |comm| comm.gather_object(&text(), 0).map(drop)),
    ("allgather-object", |comm| comm.allgather_object(&text()).map(drop)),
    ("allreduce-object", |comm| comm.allreduce_object(text(), |a, b| a + &b).map(drop)),
    ("ibarrier", |comm| comm.ibarrier()?.wait()),
];

/// Panics if there is none of the name: the tables are checked by running them.
pub fn call(name: &str) -> Call {
    CALLS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}")).1
}

pub const ROOTED: [(&str, WithRoot); 12] = [
    ("bcast", |comm, root| comm.bcast(&mut [1_i32; 4], root)),
    ("ibcast", |comm, root| comm.ibcast(vec![1_i32; 4], root)?.wait().map(drop)),
    ("reduce", |comm, root| comm.reduce(&[1_i32; 4], Sum, root).map(drop)),
    ("ireduce", |comm, root| comm.ireduce(vec![1_i32; 4], Sum, root)?.wait().map(drop)),
    ("gather", |comm, root| comm.gather(&[1_i32; 4], root).map(drop)),
    ("igather", |comm, root| comm.igather(vec![1_i32; 4], root)?.wait().map(drop)),
    ("gatherv", |comm, root| comm.gatherv(&vec![1_i32; comm.rank()], root).map(drop)),
    ("scatter", scatter),
    ("bcast-object", |comm, root| comm.bcast_object::<String>(Some(text()), root).map(drop)),
    ("gather-object", |comm, root| comm.gather_object(&text(), root).map(drop)),
    ("scatter-object", |comm, root| {
        let texts = vec![text(); comm.size()];
        comm.scatter_object((comm.rank() == root).then_some(&texts[..]), root).map(drop)
    }),
    ("reduce-object", |comm, root| comm.reduce_object(text(), |a, b| a + &b, root).map(drop)),
];

fn scatter(comm: &Comm, root: usize) -> Result<()> {
    let all = vec![1_i32; comm.size()];
    comm.scatter((comm.rank() == root).then_some(&all), root).map(drop)
}

fn text() -> String {
    "text".to_owned()
}

/// A call with so many elements of a type for each rank.
pub struct Typed<T> {
    pub name: &'static str,
    pub call: fn(&Comm, Vec<T>) -> Result<()>,
}

/// What each rank gives is of the length that it is told.
pub fn typed<T: Number>() -> Vec<Typed<T>>
where
    Sum: Reduction<T>,
{
    vec![
        Typed { name: "bcast", call: |comm, mut data| comm.bcast(&mut data, 0) },
        Typed { name: "reduce", call: |comm, data| comm.reduce(&data, Sum, 0).map(drop) },
        Typed { name: "allreduce", call: |comm, data| comm.allreduce(&data, Sum).map(drop) },
        Typed { name: "gather", call: |comm, data| comm.gather(&data, 0).map(drop) },
        Typed { name: "allgather", call: |comm, data| comm.allgather(&data).map(drop) },
        Typed { name: "scan", call: |comm, data| comm.scan(&data, Sum).map(drop) },
        Typed {
            name: "alltoall",
            call: |comm, data| comm.alltoall(&data.repeat(comm.size())).map(drop),
        },
        Typed {
            name: "scatter-into",
            call: |comm, mut data| {
                let all = data.repeat(comm.size());
                comm.scatter_into((comm.rank() == 0).then_some(&all[..]), &mut data, 0)
            },
        },
        Typed {
            name: "reduce-scatter-block",
            call: |comm, data| comm.reduce_scatter_block(&data.repeat(comm.size()), Sum).map(drop),
        },
        Typed {
            name: "iallreduce",
            call: |comm, data| comm.iallreduce(data, Sum)?.wait().map(drop),
        },
    ]
}
