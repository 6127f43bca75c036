//! Structs that travel as they lie in memory.

use phalanx::prelude::*;
use phalanx::{Located, RequestSet, SingleElement, Strided};

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Particle {
    position: [f64; 3],
    mass: f64,
    id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Pair(u32, f32);

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(transparent)]
struct Metres(f64);

/// One byte is the alignment of it all, and its size is odd.
#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Small {
    colour: [u8; 3],
    sign: i8,
    more: [[u8; 2]; 4],
    last: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Nested {
    wide: u128,
    pairs: [Pair; 2],
    height: Metres,
    particle: Particle,
    small: [Small; 16],
    place: Located<f64>,
    _pad: [u8; 0],
}

/// Fields of several sizes, whose gaps are filled by hand.
#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Filled {
    flag: u8,
    _gap: [u8; 1],
    port: u16,
    address: u32,
    total: i64,
    _end: [u64; 0],
}

#[derive(Clone, Copy, Element)]
#[repr(C, packed)]
struct Packed {
    kind: u8,
    value: f64,
}

fn particle(n: usize) -> Particle {
    let x = n as f64;
    Particle { position: [x, -x, x / 3.0], mass: 1e30, id: n as u64 }
}

fn small(n: usize) -> Small {
    let n = n as u8;
    Small { colour: [n, 1, 2], sign: -1, more: [[n, 3]; 4], last: n }
}

fn nested(n: usize) -> Nested {
    Nested {
        wide: u128::MAX - n as u128,
        pairs: [Pair(n as u32, 0.5), Pair(7, -1.5)],
        height: Metres(n as f64),
        particle: particle(n),
        small: std::array::from_fn(small),
        place: Located::new(2.5, n),
        _pad: [],
    }
}

fn filled(n: usize) -> Filled {
    Filled { flag: n as u8, _gap: [0], port: 80, address: n as u32, total: -5, _end: [] }
}

/// Takes elements through every kind of operation.
fn everywhere<T>(world: &Comm, make: impl Fn(usize) -> T) -> phalanx::Result<()>
where
    T: SingleElement + PartialEq + std::fmt::Debug,
{
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    let some = |start: usize| (start..start + 5).map(&make).collect::<Vec<T>>();

    let sending = world.isend(some(rank), right)?;
    assert_eq!(world.recv::<Vec<T>>(left)?, some(left));
    sending.wait()?;
    assert_eq!(world.sendrecv(&make(rank), right, left)?, make(left));
    let receiving = world.irecv_at_most_with_status::<Vec<T>>(9, left)?;
    let sending = world.isend(some(rank), right)?;
    let (data, got) = receiving.wait()?;
    sending.wait()?;
    assert_eq!((data, got.len), (some(left), 5));
    let mut buffer = some(100);
    let got = world.sendrecv_into(&some(rank)[..2], right, &mut buffer, left)?;
    assert_eq!(got.len, 2);
    assert_eq!(buffer[..2], some(left)[..2]);
    assert_eq!(buffer[2..], some(100)[2..]);
    let data = some(rank);
    let view = Strided::new(&data, 3, 1, 2)?;
    let mut every_other = some(100);
    let got = world.sendrecv_into(&view, right, &mut every_other, left)?;
    assert_eq!(
        (got.len, &every_other[..3]),
        (3, &[make(left), make(left + 2), make(left + 4)][..])
    );

    let all: Vec<T> = (0..size).map(&make).collect();
    assert_eq!(world.allgather(&make(rank))?, all);
    let root = size - 1;
    let mut value = if rank == root { make(33) } else { make(0) };
    world.bcast(&mut value, root)?;
    assert_eq!(value, make(33));
    assert_eq!(world.gather(&make(rank), root)?, (rank == root).then(|| all.clone()));
    assert_eq!(world.alltoall(&all)?, vec![make(rank); size]);
    assert_eq!(
        world.sendrecv(&[[make(1), make(2)], [make(rank); 2]], right, left)?[1],
        [make(left); 2]
    );
    // The lowest rank's value stays, whatever the order of combining.
    assert_eq!(world.allreduce(&make(rank), op(|left: T, _right| left))?, make(0));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn structs_arrive_as_they_were_sent(world: Comm) -> phalanx::Result<()> {
    everywhere(&world, particle)?;
    everywhere(&world, |n| Pair(n as u32, n as f32 / 2.0))?;
    everywhere(&world, |n| Metres(n as f64))?;
    everywhere(&world, small)?;
    everywhere(&world, filled)?;
    everywhere(&world, nested)?;
    everywhere(&world, |n| Located::new(-1.5_f32, n))?;
    everywhere(&world, |n| Located::new(n as i64, n + 1))
}

#[phalanx::test(ranks = [2])]
fn packed_structs_arrive_too(world: Comm) -> phalanx::Result<()> {
    assert_eq!(size_of::<Packed>(), 9);
    let mine: Vec<Packed> = (0..7).map(|n| Packed { kind: n, value: f64::from(n) }).collect();
    let other = 1 - world.rank();
    let theirs = world.sendrecv(&mine, other, other)?;
    assert!(theirs.iter().zip(0..7).all(|(it, n)| it.kind == n && { it.value } == f64::from(n)));
    Ok(())
}

#[phalanx::test(ranks = [2], env("PHALANX_WATCH_TYPES" = "off"))]
fn a_struct_and_its_bytes_have_one_length(world: Comm) -> phalanx::Result<()> {
    let other = 1 - world.rank();
    let mut sends = RequestSet::new();
    for _ in 0..3 {
        sends.push(world.isend(vec![small(1); 3], other)?);
    }
    let message = world.probe(other)?;
    assert_eq!((message.bytes()?, message.len::<Small>()?), (39, 3));
    let bytes: Vec<u8> = message.recv()?;
    assert_eq!(bytes[..13], [1, 1, 2, 255, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    let error = world.recv::<Vec<Particle>>(other).expect_err("39 bytes");
    assert!(error.is_type_mismatch(), "{error}");
    assert!(error.detail().contains("Particle` of 40 bytes"), "{error}");
    assert_eq!(world.recv::<Vec<Small>>(other)?, [small(1); 3]);
    sends.wait_all().map(drop)
}

#[phalanx::test(ranks = [1])]
fn a_located_value_knows_its_place(_world: Comm) {
    let far = Located::new(1.0_f64, usize::MAX);
    assert_eq!(far.index(), usize::MAX);
    let near = Located::new(1_i32, 1 << 40);
    assert_eq!((near.value, near.index()), (1, u32::MAX as usize));
    assert_eq!(size_of::<Located<f32>>(), 8);
    assert_eq!(size_of::<Located<u64>>(), 16);
}

/// Names that mean something else where a struct is defined.
mod names {
    #![allow(dead_code)]

    pub const CELL: usize = 3;
    pub const FIELDS: usize = 2;
    pub const ITEMS: usize = 5;
    pub struct Option;
    pub struct Result;
    pub struct Vec;
    pub struct Handle;
    pub struct Datatype;
    pub mod core {}
    pub mod std {}
    pub mod phalanx {}

    #[derive(Clone, Copy, Debug, PartialEq, ::phalanx::Element)]
    #[repr(C)]
    pub struct Field {
        pub numbers: [u16; CELL],
        pub others: [u16; FIELDS],
        pub items: [u16; ITEMS],
        pub own: [u16; Field::CELL],
    }

    impl Field {
        const CELL: usize = 2;
    }
}

#[phalanx::test(ranks = [1, 2, 3])]
fn the_derive_does_not_depend_on_the_names_around_it(world: Comm) -> phalanx::Result<()> {
    let number = world.rank() as u16;
    let mine = names::Field { numbers: [number; 3], others: [1; 2], items: [2; 5], own: [3; 2] };
    let all = world.allgather(&mine)?;
    assert_eq!(all[world.rank()], mine);
    assert_eq!(all[0].numbers, [0; 3]);
    Ok(())
}

/// The library under another name, as a crate sees it that renames or re-exports it.
mod renamed {
    pub use phalanx as message_passing;

    #[derive(Clone, Copy, Debug, PartialEq, message_passing::Element)]
    #[repr(C)]
    #[element(crate = crate::renamed::message_passing)]
    pub struct Pair<T>(pub T, pub T);
}

#[phalanx::test(ranks = [2])]
fn the_library_may_have_another_name(world: Comm) -> phalanx::Result<()> {
    let mine = renamed::Pair(world.rank(), 7);
    assert_eq!(world.allgather(&mine)?, [renamed::Pair(0, 7), renamed::Pair(1, 7)]);
    Ok(())
}

/// Numbers along each axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Element)]
#[repr(C)]
struct Vector<T> {
    x: T,
    y: T,
    z: T,
}

/// Generic in types and in a length, with conditions and a default, and with a generic struct inside.
#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Sample<T: PartialEq, const N: usize, W = T>
where
    W: PartialEq,
{
    place: Vector<T>,
    weights: [W; N],
    history: [[Vector<W>; 2]; N],
}

/// Nothing lies between the fields, whatever their types.
#[derive(Clone, Copy, Element)]
#[repr(C, packed)]
struct Tight<A, B> {
    first: A,
    second: B,
}

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Fields at odd addresses, arrays of structs of an odd size.
#[derive(Clone, Copy, Element)]
#[repr(C, packed(2))]
struct Odd {
    kind: u16,
    value: f64,
    tail: [Tight<u8, u16>; 2],
    wide: u128,
}

fn sample<T: From<u8> + Copy + PartialEq, const N: usize, W: From<u8> + Copy + PartialEq>(
    n: usize,
) -> Sample<T, N, W> {
    let (t, w) = (T::from(n as u8), W::from(n as u8 + 1));
    let place = Vector { x: t, y: T::from(1), z: t };
    Sample { place, weights: [w; N], history: [[Vector { x: w, y: w, z: W::from(2) }; 2]; N] }
}

#[phalanx::test(ranks = [1, 2, 3])]
fn generic_structs_arrive_for_each_of_their_types(world: Comm) -> phalanx::Result<()> {
    everywhere(&world, sample::<f64, 3, f64>)?;
    everywhere(&world, sample::<f32, 1, f32>)?;
    everywhere(&world, sample::<u16, 0, u16>)?;
    // Two types of one size, then of sizes that leave no gap.
    everywhere(&world, sample::<i64, 2, f64>)?;
    everywhere(&world, sample::<u64, 4, u16>)?;
    everywhere(&world, |n| Vector { x: [n as u8; 3], y: [1; 3], z: [2; 3] })?;
    everywhere(&world, |n| Vector { x: Pair(n as u32, 1.5), y: Pair(1, 0.5), z: Pair(2, 0.25) })
}

#[phalanx::test(ranks = [1, 2, 3])]
fn packed_and_aligned_structs_may_be_generic(world: Comm) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    everywhere(&world, |n| Line([n as u8; 64]))?;
    let line = world.recv_of_neighbor(Line([rank as u8; 64]))?;
    assert!(line.iter().all(|it| std::ptr::from_ref(it).addr().is_multiple_of(64)));
    assert_eq!(line[0], Line([left as u8; 64]));

    let tight = |n: usize| Tight { first: n as u8, second: n as f64 };
    assert_eq!(size_of_val(&tight(0)), 9);
    let theirs = world.sendrecv(&vec![tight(rank); 5], right, left)?;
    assert!(theirs.iter().all(|it| it.first == left as u8 && { it.second } == left as f64));
    let all = world.allgather(&tight(rank))?;
    assert!(all.iter().enumerate().all(|(n, it)| { it.second } == n as f64));

    let odd = |n: usize| Odd {
        kind: n as u16,
        value: n as f64 / 4.0,
        tail: [Tight { first: 1, second: n as u16 }; 2],
        wide: u128::MAX - n as u128,
    };
    assert_eq!(size_of::<Odd>(), 32);
    let all = world.allgather(&[odd(rank), odd(100)])?;
    assert_eq!(all.len(), 2 * size);
    for (n, it) in all.iter().step_by(2).enumerate() {
        assert_eq!(({ it.value }, { it.wide }), (n as f64 / 4.0, u128::MAX - n as u128));
        let tail = it.tail;
        assert_eq!({ tail[1].second }, n as u16);
    }
    let largest = op(|a: Odd, b: Odd| if { a.value } > { b.value } { a } else { b });
    assert_eq!(world.allreduce(&odd(rank), largest)?.kind, size as u16 - 1);
    Ok(())
}

/// What a request has received into memory of its own.
trait RecvOfNeighbor {
    fn recv_of_neighbor(&self, line: Line) -> phalanx::Result<Vec<Line>>;
}

impl RecvOfNeighbor for Comm {
    fn recv_of_neighbor(&self, line: Line) -> phalanx::Result<Vec<Line>> {
        let (rank, size) = (self.rank(), self.size());
        let received = self.irecv_into(vec![Line([0; 64]); 3], (rank + size - 1) % size)?;
        let sent = self.isend(vec![line; 3], (rank + 1) % size)?;
        let (lines, _) = received.wait()?;
        sent.wait()?;
        Ok(lines)
    }
}
