//! Bytes that no encoder made, received as objects: always an error or a value, never a panic, a loop
//! without end, or memory out of proportion to the message.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use phalanx::{Comm, Error, Result};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The system's allocator, which counts what is in use and remembers the most that ever was.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    MOST.fetch_max(IN_USE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both live while the content moves.
        more(size);
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result of `f`, and the most memory that it had in use beyond what was in use before.
fn measured<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = IN_USE.load(Relaxed);
    MOST.store(before, Relaxed);
    let result = f();
    (result, MOST.load(Relaxed).saturating_sub(before))
}

/// The message of a value, as bytes. It must fit into one part.
fn message_of<T: Serialize + ?Sized>(world: &Comm, value: &T) -> Vec<u8> {
    const FIRST: usize = 16 << 10;
    let me = world.rank();
    let sending = world.isend_object(value, me).expect("it can be encoded");
    let mut bytes = vec![0_u8; FIRST];
    let mut length = 0;
    // A receive of the library's sees that an object came, and is an error.
    // SAFETY: the buffer has as many bytes, the handles are live, and the results are writable.
    unsafe {
        let mut status = std::mem::zeroed();
        let byte = mpi::ffi::RSMPI_UINT8_T;
        let buffer = bytes.as_mut_ptr().cast();
        let (rank, comm) = (me as i32, world.as_raw());
        let code = mpi::ffi::MPI_Recv(buffer, FIRST as i32, byte, rank, 0, comm, &mut status);
        assert_eq!(code, 0);
        assert_eq!(mpi::ffi::MPI_Get_count(&status, byte, &mut length), 0);
    }
    sending.wait().expect("it was received");
    bytes.truncate(length as usize);
    assert!(bytes.len() < FIRST, "it has more than one part");
    bytes
}

/// Receives the bytes as an object, within the bounds of memory.
fn received<T: DeserializeOwned>(world: &Comm, bytes: &[u8]) -> Result<T> {
    let me = world.rank();
    let sending = world.isend(bytes.to_vec(), me).expect("bytes can be sent");
    let (result, memory) = measured(|| world.recv_object::<T>(me));
    sending.wait().expect("the message was taken away");
    let (length, name) = (bytes.len(), std::any::type_name::<T>());
    assert!(memory <= 4 * length + SLACK, "{memory} bytes for a message of {length}: {name}");
    result
}

/// Memory beyond that in proportion to the message: reservations, texts of errors.
const SLACK: usize = 64 << 10;

/// Bytes before those of the value.
const HEADER: usize = 40;

/// Decodes damaged bytes: if they are a value, it is one that lives.
fn survives<T: Sample>(world: &Comm, bytes: &[u8]) -> Option<Error> {
    match received::<T>(world, bytes) {
        Ok(value) => {
            assert!(!format!("{value:?}").is_empty());
            None
        }
        Err(error) => {
            assert!(error.is_decode() || error.is_type_mismatch(), "{error}");
            Some(error)
        }
    }
}

trait Sample: Serialize + DeserializeOwned + Debug + 'static {}

impl<T: Serialize + DeserializeOwned + Debug + 'static> Sample for T {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Flag(bool),
    Letter(char),
    Number(i64),
    Real(f64),
    Text(String),
    Block(#[serde(with = "phalanx::plain")] Vec<u16>),
    List(Vec<Tree>),
    Named(BTreeMap<String, Tree>),
    Maybe(Option<Box<Tree>>),
    Pair(Box<(Tree, Tree)>),
    Record { id: u128, tags: BTreeSet<u8>, inner: Box<Tree> },
}

/// Bytes that serde moves as one, as `serde_bytes` does.
#[derive(Clone, Debug, PartialEq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> std::result::Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Plain {
    odd: u8,
    #[serde(with = "phalanx::plain")]
    numbers: Vec<f64>,
    #[serde(with = "phalanx::plain")]
    triples: Vec<[u8; 3]>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain {
    number: u8,
    next: Option<Box<Chain>>,
}

fn chain(length: u8) -> Chain {
    (1..length).fold(Chain { number: 0, next: None }, |next, number| Chain {
        number,
        next: Some(Box::new(next)),
    })
}

fn tree() -> Tree {
    let list = Tree::List(vec![
        Tree::Leaf,
        Tree::Flag(true),
        Tree::Letter('ξ'),
        Tree::Number(-1),
        Tree::Real(0.5),
        Tree::Text("text".into()),
        Tree::Block(vec![1, 2, 3]),
    ]);
    let record = Tree::Record { id: 7, tags: BTreeSet::from([1, 2]), inner: Box::new(list) };
    let named = Tree::Named(BTreeMap::from([("a".into(), record), (String::new(), Tree::Leaf)]));
    Tree::Pair(Box::new((Tree::Maybe(Some(Box::new(named))), Tree::Maybe(None))))
}

/// Applies a check to a sample of each of many types.
macro_rules! for_each_sample {
    ($check:ident, $world:expr) => {
        $check($world, &());
        $check($world, &(true, 'c', 1.5_f32, -1_i128));
        $check($world, &"a text of some length".to_owned());
        $check($world, &vec!["one".to_owned(), String::new(), "three".to_owned()]);
        $check($world, &vec![1_u8, 2, 3, 4, 5, 6, 7]);
        $check($world, &vec![0.5_f64; 20]);
        $check($world, &vec![(); 3]);
        $check($world, &vec![[(); 4]; 3]);
        $check($world, &vec![vec![vec![1_u32, 2], vec![]], vec![]]);
        $check($world, &Blob(vec![9; 33]));
        $check($world, &VecDeque::from([Some(1_u16), None]));
        $check($world, &BTreeMap::from([("k".to_owned(), 1_u64), ("l".to_owned(), 2)]));
        $check($world, &HashMap::from([(1_u32, "v".to_owned()), (2, String::new())]));
        $check($world, &BTreeMap::from([((), ())]));
        $check($world, &(Ok::<u8, String>(1), Err::<(), String>("no".into()), Some(Some(()))));
        $check($world, &std::time::Duration::new(3, 999_999_999));
        $check($world, &(std::num::NonZeroU64::MIN, std::net::Ipv6Addr::LOCALHOST));
        $check($world, &Plain { odd: 1, numbers: vec![0.5; 4], triples: vec![[1; 3]; 5] });
        $check($world, &chain(20));
        $check($world, &tree());
    };
}

/// Cases that are the same at every run.
fn checked<S: Strategy>(
    cases: u32,
    strategy: S,
    test: impl Fn(S::Value) -> std::result::Result<(), TestCaseError>,
) where
    S::Value: Debug,
{
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    match TestRunner::new_with_rng(config, rng).run(&strategy, test) {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => panic!("{reason}: {value:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

fn still_works(world: &Comm) -> Result<()> {
    let me = world.rank();
    let sending = world.isend_object("all is well", me)?;
    assert_eq!(world.recv_object::<String>(me)?, "all is well");
    assert!(world.try_probe(phalanx::any())?.is_none());
    sending.wait()
}

#[phalanx::test(ranks = 1, env("PHALANX_WATCH_TYPES" = "off"))]
fn a_flipped_bit_is_an_error_or_a_value(world: Comm) -> Result<()> {
    fn check<T: Sample>(world: &Comm, value: &T) {
        let message = message_of(world, value);
        assert!(received::<T>(world, &message).is_ok(), "{value:?}");
        for bit in 0..8 * message.len() {
            let mut damaged = message.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = survives::<T>(world, &damaged);
            assert!(error.is_some() || bit >= 8 * HEADER, "bit {bit} of the header is not missed");
        }
    }
    for_each_sample!(check, &world);
    still_works(&world)
}

#[phalanx::test(ranks = 1, env("PHALANX_WATCH_TYPES" = "off"))]
fn a_message_cut_short_or_extended_is_an_error(world: Comm) -> Result<()> {
    fn check<T: Sample>(world: &Comm, value: &T) {
        let message = message_of(world, value);
        for length in 0..message.len() {
            assert!(survives::<T>(world, &message[..length]).is_some(), "{length}: {value:?}");
        }
        for more in [1, 7, 8, 1000] {
            let longer = [message.clone(), vec![0; more]].concat();
            assert!(survives::<T>(world, &longer).is_some(), "{more}: {value:?}");
            let twice = message.repeat(more.min(9) + 1);
            assert!(survives::<T>(world, &twice).is_some(), "{more}: {value:?}");
        }
    }
    for_each_sample!(check, &world);
    still_works(&world)
}

#[phalanx::test(ranks = 1, env("PHALANX_WATCH_TYPES" = "off"))]
fn a_length_that_lies_is_neither_an_allocation_nor_a_loop(world: Comm) -> Result<()> {
    const LIES: [u64; 9] =
        [0, 1, 1 << 10, 1 << 16, 1 << 20, 1 << 32, 1 << 60, i64::MAX as u64, u64::MAX];
    fn check<T: Sample>(world: &Comm, value: &T) {
        let message = message_of(world, value);
        for at in HEADER..message.len().saturating_sub(7) {
            for lie in LIES {
                let mut damaged = message.clone();
                damaged[at..at + 8].copy_from_slice(&lie.to_le_bytes());
                survives::<T>(world, &damaged);
            }
        }
    }
    for_each_sample!(check, &world);

    // In a large message a lie would be dear.
    fn first_length<T: Sample>(world: &Comm, value: &T) {
        let mut message = message_of(world, value);
        for lie in LIES {
            message[HEADER..HEADER + 8].copy_from_slice(&lie.to_le_bytes());
            let me = world.rank();
            let sending = world.isend(message.clone(), me).expect("bytes can be sent");
            let (result, memory) = measured(|| world.recv_object::<T>(me).map(drop));
            sending.wait().expect("the message was taken away");
            assert!(result.is_err(), "{lie}: {}", std::any::type_name::<T>());
            let most = 4 * message.len() + (1 << 20);
            assert!(memory <= most, "{memory} > {most}: {}", std::any::type_name::<T>());
        }
    }
    for length in [300, 1_500] {
        first_length(&world, &"x".repeat(length));
        first_length(&world, &vec![1_u8; length]);
        first_length(&world, &Blob(vec![1; length]));
        first_length(&world, &vec![1.5_f64; length]);
        first_length(&world, &vec!["text".to_owned(); length / 10]);
        first_length(&world, &vec![vec![(1_u8, 2_u64)]; length / 20]);
        let pairs = || (0..length as u32 / 20).map(|i| (i, i.to_string()));
        first_length(&world, &pairs().collect::<BTreeMap<_, _>>());
        first_length(&world, &pairs().collect::<HashMap<_, _>>());
    }
    still_works(&world)
}

#[phalanx::test(ranks = 1, env("PHALANX_WATCH_TYPES" = "off"))]
fn random_bytes_are_errors_or_values(world: Comm) -> Result<()> {
    // Behind the header of a real message.
    fn check<T: Sample>(world: &Comm, value: &T) {
        let message = message_of(world, value);
        let length = message.len() - HEADER;
        // Small bytes are likelier tags, letters and lengths.
        let byte = prop_oneof![0..4_u8, any::<u8>()];
        checked(100, vec(byte, length..=length), |random| {
            survives::<T>(world, &[&message[..HEADER], &random].concat());
            Ok(())
        });
    }
    for_each_sample!(check, &world);

    // Without one.
    checked(500, vec(any::<u8>(), 0..200_usize), |bytes| {
        prop_assert!(survives::<Tree>(&world, &bytes).is_some());
        prop_assert!(survives::<String>(&world, &bytes).is_some());
        prop_assert!(survives::<()>(&world, &bytes).is_some());
        Ok(())
    });
    still_works(&world)
}

#[phalanx::test(ranks = 1, env("PHALANX_WATCH_TYPES" = "off"))]
fn another_type_is_refused_whatever_its_bytes(world: Comm) -> Result<()> {
    fn check<T: Sample>(world: &Comm, value: &T) {
        struct Nobody;
        impl<'de> Deserialize<'de> for Nobody {
            fn deserialize<D>(_: D) -> std::result::Result<Self, D::Error>
            where
                D: Deserializer<'de>,
            {
                panic!("the bytes of another type are looked at")
            }
        }
        let message = message_of(world, value);
        let Err(error) = received::<Nobody>(world, &message) else { unreachable!() };
        assert!(error.is_type_mismatch(), "{error}");
    }
    for_each_sample!(check, &world);
    still_works(&world)
}

#[phalanx::test(ranks = 1, env("PHALANX_WATCH_TYPES" = "off"))]
fn a_huge_number_of_elements_without_bytes_ends(world: Comm) -> Result<()> {
    let mut message = message_of(&world, &vec![(); 3]);
    for many in [1 << 21, 1 << 40, u64::MAX] {
        message[HEADER..].copy_from_slice(&many.to_le_bytes());
        assert!(survives::<Vec<()>>(&world, &message).is_some(), "{many}");
    }
    // As many as anybody has do arrive.
    message[HEADER..].copy_from_slice(&1_000_000_u64.to_le_bytes());
    assert_eq!(received::<Vec<()>>(&world, &message)?.len(), 1_000_000);
    still_works(&world)
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Leaf),
        any::<bool>().prop_map(Tree::Flag),
        any::<char>().prop_map(Tree::Letter),
        any::<i64>().prop_map(Tree::Number),
        // Every number is equal to itself, but for NaN.
        any::<f64>().prop_filter("NaN", |x| !x.is_nan()).prop_map(Tree::Real),
        ".{0,20}".prop_map(Tree::Text),
        vec(any::<u16>(), 0..50).prop_map(Tree::Block),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        let record = (any::<u128>(), vec(any::<u8>(), 0..5), inner.clone());
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Tree::List),
            btree_map(".{0,8}", inner.clone(), 0..5).prop_map(Tree::Named),
            proptest::option::of(inner.clone()).prop_map(|it| Tree::Maybe(it.map(Box::new))),
            (inner.clone(), inner.clone()).prop_map(|pair| Tree::Pair(Box::new(pair))),
            record.prop_map(|(id, tags, inner)| Tree::Record {
                id,
                tags: tags.into_iter().collect(),
                inner: Box::new(inner),
            }),
        ]
    })
}

#[phalanx::test(ranks = 1, env("PHALANX_WATCH_TYPES" = "off"))]
fn every_nested_value_arrives_as_it_was_sent(world: Comm) -> Result<()> {
    let me = world.rank();
    checked(300, trees(), |tree| {
        let came = world.sendrecv_object::<Tree, Tree>(&tree, me, me);
        prop_assert_eq!(came.map_err(|error| error.to_string()), Ok(tree));
        Ok(())
    });
    let numbers = (any::<u8>(), any::<i16>(), any::<u32>(), any::<i64>(), any::<u128>());
    let values = (numbers, vec(".{0,5}", 0..20), btree_map(any::<i32>(), ".{0,5}", 0..20));
    checked(300, (values, vec(any::<u8>(), 0..5000).prop_map(Blob)), |value| {
        let came = world.sendrecv_object(&value, me, me);
        prop_assert_eq!(came.map_err(|error| error.to_string()), Ok(value));
        Ok(())
    });
    still_works(&world)
}

#[phalanx::test(ranks = 1, env("PHALANX_WATCH_TYPES" = "off"))]
fn damage_to_any_value_is_an_error_or_a_value(world: Comm) -> Result<()> {
    // What is written where, and where the message ends.
    let damage = vec((any::<prop::sample::Index>(), any::<u8>()), 1..5);
    checked(500, (trees(), damage, any::<prop::sample::Index>()), |(tree, damage, end)| {
        let message = message_of(&world, &tree);
        let mut damaged = message.clone();
        for (at, byte) in damage {
            *at.get_mut(&mut damaged[HEADER..]) = byte;
        }
        survives::<Tree>(&world, &damaged);
        let end = end.index(message.len());
        prop_assert!(survives::<Tree>(&world, &message[..end]).is_some());
        // The end of one message at the beginning of another.
        damaged[HEADER..].rotate_left(end.saturating_sub(HEADER));
        survives::<Tree>(&world, &damaged);
        Ok(())
    });
    still_works(&world)
}
