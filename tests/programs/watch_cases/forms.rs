//! The ways to send and to receive one message, for tables of cases.

use phalanx::{Comm, Dest, RequestSet, Result, Source};

/// A way to receive a message of one integer, and a send that is right for it.
pub struct Receive {
    pub name: &'static str,
    pub send: fn(&Comm, Dest) -> Result<()>,
    pub receive: fn(&Comm, Source) -> Result<()>,
}

const fn typed(name: &'static str, receive: fn(&Comm, Source) -> Result<()>) -> Receive {
    Receive { name, send: |comm, to| comm.send(&7, to), receive }
}

const fn object(name: &'static str, receive: fn(&Comm, Source) -> Result<()>) -> Receive {
    Receive { name, send: |comm, to| comm.send_object(&7, to), receive }
}

/// The first one gives its name to no case: it is what a case does if nothing else is said.
pub const RECEIVES: [Receive; 9] = [
    typed("", |comm, from| comm.recv::<Vec<i32>>(from).map(drop)),
    typed("one", |comm, from| comm.recv::<i32>(from).map(drop)),
    typed("into", |comm, from| comm.recv_into(&mut [0_i32], from).map(drop)),
    typed("probe", |comm, from| comm.probe(from)?.recv::<Vec<i32>>().map(drop)),
    typed("irecv", |comm, from| comm.irecv_at_most::<Vec<i32>>(1, from)?.wait().map(drop)),
    typed("irecv-into", |comm, from| comm.irecv_into(vec![0_i32], from)?.wait().map(drop)),
    typed("scope", |comm, from| {
        let mut buffer = [0_i32];
        comm.scope(|s| s.irecv_into(&mut buffer, from).map(drop))
    }),
    object("object", |comm, from| comm.recv_object::<i32>(from).map(drop)),
    object("irecv-object", |comm, from| comm.irecv_object::<i32>(from)?.wait().map(drop)),
];

/// Some of them, for classes in which the form matters less.
pub fn some_receives() -> impl Iterator<Item = &'static Receive> {
    const SOME: [&str; 4] = ["", "into", "irecv-into", "object"];
    RECEIVES.iter().filter(|form| SOME.contains(&form.name))
}

/// A way to send some numbers.
pub struct Send {
    pub name: &'static str,
    pub send: fn(&Comm, &Vec<f64>, Dest) -> Result<()>,
    pub receive: fn(&Comm, Source) -> Result<Vec<f64>>,
    /// Whether a small message waits for its receiver too.
    pub synchronous: bool,
}

fn recv(comm: &Comm, from: Source) -> Result<Vec<f64>> {
    comm.recv(from)
}

fn recv_object(comm: &Comm, from: Source) -> Result<Vec<f64>> {
    comm.recv_object(from)
}

pub const SENDS: [Send; 9] = [
    Send {
        name: "",
        send: |comm, data, to| comm.send(data, to),
        receive: recv,
        synchronous: false,
    },
    Send {
        name: "ssend",
        send: |comm, data, to| comm.ssend(data, to),
        receive: recv,
        synchronous: true,
    },
    Send {
        name: "isend",
        send: |comm, data, to| comm.isend(data.clone(), to)?.wait().map(drop),
        receive: recv,
        synchronous: false,
    },
    Send {
        name: "issend",
        send: |comm, data, to| comm.issend(data.clone(), to)?.wait().map(drop),
        receive: recv,
        synchronous: true,
    },
    Send {
        name: "scope",
        send: |comm, data, to| comm.scope(|s| s.isend(data, to).map(drop)),
        receive: recv,
        synchronous: false,
    },
    Send {
        name: "set",
        send: |comm, data, to| {
            let mut set = RequestSet::new();
            set.push(comm.isend(data.clone(), to)?);
            set.wait_all().map(drop)
        },
        receive: recv,
        synchronous: false,
    },
    Send {
        name: "object",
        send: |comm, data, to| comm.send_object(data, to),
        receive: recv_object,
        synchronous: false,
    },
    Send {
        name: "ssend-object",
        send: |comm, data, to| comm.ssend_object(data, to),
        receive: recv_object,
        synchronous: true,
    },
    Send {
        name: "isend-object",
        send: |comm, data, to| comm.isend_object(data, to)?.wait(),
        receive: recv_object,
        synchronous: false,
    },
];

/// Too many numbers for any library to copy aside.
pub fn large() -> Vec<f64> {
    vec![1.0; 1 << 18]
}

/// Few enough for every library to copy aside.
pub fn small() -> Vec<f64> {
    vec![1.0; 4]
}

/// The neighbours in a ring.
pub fn ring(comm: &Comm) -> (usize, usize) {
    let (rank, size) = (comm.rank(), comm.size());
    ((rank + size - 1) % size, (rank + 1) % size)
}
