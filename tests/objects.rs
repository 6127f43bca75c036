//! Objects from one rank to another.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use phalanx::prelude::*;
use phalanx::{Codec, RequestSet, Result, block_on, tag_upper_bound};
use serde::de::DeserializeOwned;
use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn neighbours(world: &Comm) -> (usize, usize) {
    let (rank, size) = (world.rank(), world.size());
    ((rank + 1) % size, (rank + size - 1) % size)
}

/// Sends a value around the ring in every way there is, and compares what comes.
#[track_caller]
fn around<T>(world: &Comm, value: &T) -> Result<()>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    let (next, previous) = neighbours(world);
    let tag = 5;

    let sending = world.isend_object(value, to(next).tag(tag))?;
    let (got, status) = world.recv_object_with_status::<T>(from(previous).tag(tag))?;
    assert_eq!((status.source, status.tag), (Some(previous), tag));
    assert_eq!(&got, value);
    sending.wait()?;

    assert_eq!(&world.sendrecv_object::<T, T>(value, next, previous)?, value);

    let receiving = world.irecv_object_with_status::<T>(previous)?;
    let sending = world.isend_object(value, next)?;
    let (got, status) = receiving.wait()?;
    assert_eq!((status.source, status.tag), (Some(previous), 0));
    assert_eq!(&got, value);
    sending.wait()?;

    if world.size() > 1 {
        // Rank 0 receives first, so that nobody waits for ever.
        if world.rank() > 0 {
            world.send_object(value, next)?;
        }
        let message = world.probe(previous)?;
        assert_eq!(message.source(), Some(previous));
        assert_eq!(&message.recv_object::<T>()?, value);
        if world.rank() == 0 {
            world.send_object(value, next)?;
        } else {
            world.ssend_object(value, next)?;
        }
        assert_eq!(&world.recv_object::<T>(previous)?, value);
        if world.rank() == 0 {
            world.ssend_object(value, next)?;
        }
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line((f64, f64), (f64, f64)),
    Polygon { name: Option<String>, corners: Vec<(f32, f32)> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Drawing {
    title: String,
    shapes: Vec<Shape>,
    layers: BTreeMap<String, Vec<Option<Shape>>>,
    inner: Option<Box<Drawing>>,
}

fn drawing(depth: u32) -> Drawing {
    let shapes = vec![
        Shape::Point,
        Shape::Circle(0.5),
        Shape::Line((0.0, -0.0), (f64::MIN_POSITIVE, f64::MAX)),
        Shape::Polygon { name: Some("ὕαλος".into()), corners: vec![(1.0, 2.0); 3] },
        Shape::Polygon { name: None, corners: vec![] },
    ];
    let layers = BTreeMap::from([
        ("front".to_owned(), shapes.iter().cloned().map(Some).collect()),
        (String::new(), vec![None, None]),
    ]);
    let inner = depth.checked_sub(1).map(|depth| Box::new(drawing(depth)));
    Drawing { title: format!("depth {depth}"), shapes, layers, inner }
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn values_of_every_kind_arrive_as_they_were_sent(world: Comm) -> Result<()> {
    around(&world, &())?;
    around(&world, &(i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, isize::MIN))?;
    around(&world, &(u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX))?;
    around(&world, &(1.5_f32, f64::MIN, true, false, 'z', '\u{10FFFF}'))?;
    around(&world, &(Unit, Newtype("new".into()), NonZeroU32::MIN))?;
    around(&world, &String::new())?;
    around(&world, &Vec::<String>::new())?;
    around(&world, &vec![(); 1000])?;
    around(&world, &[[1_u8, 2], [3, 4]])?;
    around(&world, &(None::<u8>, Some(Some(())), Some(None::<()>)))?;
    around(&world, &(Ok::<u8, String>(1), Err::<u8, String>("no".into())))?;
    around(&world, &vec![Duration::from_nanos(1), Duration::MAX])?;
    around(&world, &(Box::new(7), VecDeque::from([1, 2]), BTreeSet::from(["a".to_owned()])))?;
    around(&world, &(1..200_u32).map(|i| (i, format!("{i}"))).collect::<HashMap<_, _>>())?;
    around(&world, &drawing(3))?;
    // Every message above was received: nothing is left over.
    world.barrier()?;
    assert!(world.try_probe(any())?.is_none());
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pixel {
    value: u8,
}

#[phalanx::test(ranks = [1, 2, 3])]
fn large_values_arrive_as_they_were_sent(world: Comm) -> Result<()> {
    around(&world, &"ἀ large text ".repeat(8 << 16))?;
    around(&world, &(0..5000).map(|i| format!("string {i}")).collect::<Vec<_>>())?;
    // Small structs have more fields than a message has bytes beyond their own.
    around(&world, &vec![Pixel { value: 9 }; 1_100_000 / world.size()])
}

#[phalanx::test(ranks = 2)]
fn millions_of_small_structs_arrive(world: Comm) -> Result<()> {
    let pixels = vec![Pixel { value: 9 }; 1_100_000];
    let pairs = vec![((1_u8,), [2_u8]); 600_000];
    if world.rank() == 0 {
        world.send_object(&pixels, 1)?;
        world.send_object(&pairs, 1)?;
    } else {
        assert!(world.recv_object::<Vec<Pixel>>(0)? == pixels);
        assert!(world.recv_object::<Vec<((u8,), [u8; 1])>>(0)? == pairs);
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2])]
fn what_is_sent_borrowed_is_received_owned(world: Comm) -> Result<()> {
    #[track_caller]
    fn one<S, R>(world: &Comm, sent: &S, expected: R) -> Result<()>
    where
        S: Serialize + ?Sized,
        R: DeserializeOwned + PartialEq + Debug,
    {
        let (next, previous) = neighbours(world);
        assert_eq!(world.sendrecv_object::<S, R>(sent, next, previous)?, expected);
        Ok(())
    }
    let (text, numbers) = ("text", [0.5, 1.5]);
    one(&world, text, text.to_owned())?;
    one(&world, &text, text.to_owned())?;
    one(&world, &numbers[..], numbers.to_vec())?;
    one(&world, &&numbers, numbers)?;
    one(&world, &(text, &numbers[..]), (text.to_owned(), numbers.to_vec()))?;
    one(&world, &[text, ""][..], vec![text.to_owned(), String::new()])?;
    one(&world, &Some(Cow::Borrowed(text)), Some(text.to_owned()))?;
    one(&world, &Cow::Borrowed(&numbers[..]), numbers.to_vec())?;
    one(&world, &text.to_owned(), Box::<str>::from(text))?;
    one(&world, &BTreeMap::from([(text, &numbers)]), BTreeMap::from([(text.to_owned(), numbers)]))
}

#[phalanx::test(ranks = 2)]
fn ssend_object_returns_when_the_receiver_has_begun(world: Comm) -> Result<()> {
    const LATE: Duration = Duration::from_millis(200);
    for large in [false, true] {
        let value = (large, vec![1_u8; if large { 1 << 18 } else { 1 }]);
        world.barrier()?;
        let start = Instant::now();
        if world.rank() == 0 {
            world.ssend_object(&value, 1)?;
            assert!(start.elapsed() >= LATE / 2, "{:?}", start.elapsed());
        } else {
            std::thread::sleep(LATE);
            assert_eq!(world.recv_object::<(bool, Vec<u8>)>(0)?, value);
        }
    }
    Ok(())
}

/// Fields with `phalanx::plain` of all lengths: up to 64 KiB they travel inside the message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Parcel {
    number: u32,
    odd: u8,
    #[serde(with = "phalanx::plain")]
    samples: Vec<f64>,
    label: String,
    #[serde(with = "phalanx::plain")]
    bytes: Vec<u8>,
    odder: u8,
    #[serde(with = "phalanx::plain")]
    pairs: Vec<[u16; 2]>,
}

/// The parcel whose fields have these lengths.
fn parcel(number: u32, samples: usize, bytes: usize, pairs: usize) -> Parcel {
    Parcel {
        number,
        odd: 1,
        samples: (0..samples).map(|i| f64::from(number) + i as f64 / 3.0).collect(),
        label: format!("parcel {number}"),
        bytes: (0..bytes).map(|i| (i as u32 ^ number) as u8).collect(),
        odder: 3,
        pairs: (0..pairs).map(|i| [number as u16, i as u16]).collect(),
    }
}

const LIMIT: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Particle {
    position: [f64; 3],
    id: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Crate {
    Empty,
    Bulk(#[serde(with = "phalanx::plain")] Vec<i64>),
    Named {
        name: String,
        #[serde(with = "phalanx::plain")]
        particles: Vec<Particle>,
    },
}

#[phalanx::test(ranks = [1, 2, 3])]
fn plain_fields_of_every_length_arrive(world: Comm) -> Result<()> {
    let (next, previous) = neighbours(&world);
    let parcels = [
        parcel(1, 0, 0, 0),
        parcel(2, 10, 3, 1),
        parcel(3, LIMIT / 8 - 1, LIMIT - 1, LIMIT / 4 - 1),
        parcel(4, LIMIT / 8, 0, 0),
        parcel(5, 0, LIMIT, 7),
        parcel(6, LIMIT / 8 + 1, LIMIT + 1, LIMIT / 4 + 1),
        parcel(7, 1 << 17, 5, 1 << 15),
    ];
    for parcel in &parcels {
        // To this rank itself a blocking send of a large value would wait for ever.
        if world.size() > 1 {
            around(&world, parcel)?;
        }
        let mixed = world.sendrecv_object::<_, Parcel>(parcel, next, previous)?;
        assert!(&mixed == parcel, "{}", parcel.number);
    }
    let particle = Particle { position: [0.5; 3], id: 7 };
    let crates = vec![
        Crate::Bulk(vec![-1; LIMIT]),
        Crate::Empty,
        Crate::Named { name: "few".into(), particles: vec![particle; 2] },
        Crate::Bulk(vec![]),
        Crate::Named { name: "many".into(), particles: vec![particle; LIMIT / 16] },
    ];
    let nested = (vec![Some(parcels[5].clone()), None], Some(crates), vec![parcels[0].clone(); 2]);
    if world.size() > 1 {
        around(&world, &nested)?;
    }
    // Collectives carry them inside.
    let all = world.allgather_object(&parcels[6])?;
    assert!(all.iter().all(|parcel| parcel == &parcels[6]));
    let one: (_, _, _) = world.bcast_object((world.rank() == 0).then(|| nested.clone()), 0)?;
    assert!(one == nested);
    Ok(())
}

#[phalanx::test(ranks = [3, 5])]
fn messages_of_each_sender_stay_in_order_with_fields_beside_them(world: Comm) -> Result<()> {
    const EACH: u32 = 12;
    let of = |number: u32| match number % 4 {
        0 => parcel(number, 3, 3, 3),
        1 => parcel(number, LIMIT / 8, 0, LIMIT),
        2 => parcel(number, 1, 2 * LIMIT, 1),
        _ => parcel(number, LIMIT, LIMIT, LIMIT),
    };
    if world.rank() > 0 {
        for number in 0..EACH {
            world.send_object(&of(number), to(0).tag(number as i32))?;
        }
        return Ok(());
    }
    let mut next = vec![0; world.size()];
    for round in 0..EACH as usize * (world.size() - 1) {
        let (got, status) = match round % 3 {
            0 => world.recv_object_with_status::<Parcel>(any())?,
            1 => world.irecv_object_with_status::<Parcel>(any())?.wait()?,
            _ => {
                let message = world.probe(any())?;
                let (source, tag) = (message.source(), message.tag());
                (message.recv_object()?, Status { source, tag, len: 0 })
            }
        };
        let source = status.source.expect("a rank sent it");
        let number = next[source];
        next[source] += 1;
        assert_eq!((got.number, status.tag), (number, number as i32));
        assert!(got == of(number), "number {number} of rank {source}");
    }
    assert_eq!(next[1..], vec![EACH; world.size() - 1]);
    Ok(())
}

#[phalanx::test(ranks = [1, 2])]
fn tags_choose_among_objects(world: Comm) -> Result<()> {
    let (next, previous) = neighbours(&world);
    let tags = [3, 0, tag_upper_bound(), 1];
    let mut sends = RequestSet::new();
    for tag in tags {
        sends.push(world.isend_object(&format!("tag {tag}"), to(next).tag(tag))?);
    }
    for tag in [1, tag_upper_bound(), 3] {
        assert_eq!(world.recv_object::<String>(any().tag(tag))?, format!("tag {tag}"));
    }
    let (text, status) = world.recv_object_with_status::<String>(previous)?;
    assert_eq!((text.as_str(), status.tag, status.source), ("tag 0", 0, Some(previous)));
    sends.wait_all().map(drop)
}

#[phalanx::test(ranks = 2)]
fn another_type_is_an_error_and_the_next_message_still_arrives(world: Comm) -> Result<()> {
    let large = parcel(1, 1 << 17, LIMIT, LIMIT);
    if world.rank() == 0 {
        for _ in 0..4 {
            world.send_object("text", 1)?;
            world.send_object(&large, 1)?;
        }
        world.send(&[1.0, 2.0], to(1).tag(9))?;
        world.send(&[0_u8; 0], to(1).tag(9))?;
        world.send(&[7_u32; 1000], to(1).tag(9))?;
        world.send_object("last", 1)?;
        return Ok(());
    }
    for round in 0..8 {
        let error = match round / 2 {
            0 => world.recv_object::<Vec<u8>>(0).unwrap_err(),
            1 => world.irecv_object::<u64>(any())?.wait().unwrap_err(),
            2 => world.probe(0)?.recv_object::<Option<String>>().unwrap_err(),
            _ => world.sendrecv_object::<_, Shape>("", None, 0).unwrap_err(),
        };
        assert!(error.is_type_mismatch(), "{error}");
        assert_eq!(error.peer(), Some(0), "{error}");
    }
    for _ in 0..3 {
        let error = world.recv_object::<f64>(from(0).tag(9)).unwrap_err();
        assert!(error.is_type_mismatch(), "{error}");
        assert_eq!((error.operation(), error.tag()), ("recv_object", Some(9)));
        assert!(error.to_string().contains("`f64`"), "{error}");
    }
    assert_eq!(world.recv_object::<String>(0)?, "last");
    assert!(world.try_probe(any())?.is_none());
    Ok(())
}

#[phalanx::test(ranks = [1, 2])]
fn an_object_that_is_received_typed_is_an_error(world: Comm) -> Result<()> {
    let (next, previous) = neighbours(&world);
    let sends = [
        world.isend_object("seven b", next)?,
        world.isend_object("seven b", next)?,
        world.isend_object("seven b", next)?,
        world.isend_object("last", next)?,
    ];
    let error = world.recv::<Vec<f64>>(previous).unwrap_err();
    assert!(error.is_type_mismatch(), "{error}");
    let error = world.recv_into(&mut [0_u8; 4], previous).unwrap_err();
    assert!(error.is_truncated(), "{error}");
    let error = world.recv::<Vec<u8>>(previous).unwrap_err();
    assert!(error.is_type_mismatch() && error.detail().contains("recv_object"), "{error}");
    assert_eq!(world.recv_object::<String>(previous)?, "last");
    sends.into_iter().try_for_each(|sending| sending.wait())
}

#[phalanx::test(ranks = [1, 2])]
fn the_null_process_takes_objects_and_gives_none(world: Comm) -> Result<()> {
    world.send_object("nobody", None)?;
    world.ssend_object(&parcel(1, LIMIT, 0, 0), to(None).tag(3))?;
    world.isend_object("nobody", None)?.wait()?;
    for error in [
        world.recv_object::<String>(None).unwrap_err(),
        world.irecv_object::<String>(None)?.wait().unwrap_err(),
        world.sendrecv_object::<_, String>("nobody", None, None).unwrap_err(),
        world.probe(None)?.recv_object::<String>().unwrap_err(),
    ] {
        assert!(error.is_invalid_rank(), "{error}");
        assert!(error.to_string().contains("null process"), "{error}");
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 3])]
fn a_wrong_rank_or_tag_is_an_error_and_nothing_is_sent(world: Comm) -> Result<()> {
    let (size, me) = (world.size(), world.rank());
    for error in [
        world.send_object("", size).unwrap_err(),
        world.ssend_object("", size + 7).unwrap_err(),
        world.isend_object("", usize::MAX).unwrap_err(),
        world.recv_object::<String>(size).unwrap_err(),
        world.irecv_object::<String>(size).unwrap_err(),
        world.sendrecv_object::<_, String>("", size, me).unwrap_err(),
        world.sendrecv_object::<_, String>("", me, size).unwrap_err(),
    ] {
        assert!(error.is_invalid_rank(), "{error}");
    }
    for tag in [-1, i32::MIN] {
        for error in [
            world.send_object("", to(me).tag(tag)).unwrap_err(),
            world.isend_object("", to(me).tag(tag)).unwrap_err(),
            world.recv_object::<String>(from(me).tag(tag)).unwrap_err(),
            world.irecv_object::<String>(any().tag(tag)).unwrap_err(),
            world.sendrecv_object::<_, String>("", me, any().tag(tag)).unwrap_err(),
        ] {
            assert!(error.is_invalid_tag(), "{error}");
            assert_eq!(error.tag(), Some(tag));
        }
    }
    if let Some(tag) = tag_upper_bound().checked_add(1) {
        assert!(world.send_object("", to(me).tag(tag)).unwrap_err().is_invalid_tag());
    }
    world.barrier()?;
    assert!(world.try_probe(any())?.is_none());
    Ok(())
}

/// A value that serde refuses to serialise, at once or after a large field.
struct Refused {
    late: bool,
}

impl Serialize for Refused {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.late {
            let mut sequence = serializer.serialize_seq(Some(2))?;
            sequence.serialize_element(&parcel(1, LIMIT, 0, 0))?;
            sequence.serialize_element(&Refused { late: false })?;
            return sequence.end();
        }
        Err(S::Error::custom("this value stays at home"))
    }
}

/// A sequence that does not know how long it is.
struct Endless;

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_seq(None)?.end()
    }
}

#[phalanx::test(ranks = [1, 2])]
fn a_value_that_cannot_be_encoded_is_an_error_and_nothing_is_sent(world: Comm) -> Result<()> {
    let (next, previous) = neighbours(&world);
    for late in [false, true] {
        for error in [
            world.send_object(&Refused { late }, next).unwrap_err(),
            world.ssend_object(&Refused { late }, next).unwrap_err(),
            world.isend_object(&Refused { late }, next).unwrap_err(),
            world.sendrecv_object::<_, String>(&Refused { late }, next, previous).unwrap_err(),
        ] {
            assert!(error.is_encode(), "{error}");
            assert_eq!(error.peer(), Some(next));
            assert!(error.to_string().contains("this value stays at home"), "{error}");
        }
    }
    assert!(world.send_object(&Endless, next).unwrap_err().is_encode());
    world.barrier()?;
    assert!(world.try_probe(any())?.is_none());
    world.barrier()?;
    around(&world, &"all is well".to_owned())
}

/// Gives something else each time it is serialised, of which the first is `firsts`.
struct Fickle {
    passes: Cell<u32>,
    second: Second,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Second {
    Same,
    OtherNumber,
    ShorterSegment,
    FewerSegments,
    NoSegments,
    MoreSegments,
    Refuses,
}

impl Serialize for Fickle {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let pass = self.passes.replace(self.passes.get() + 1);
        let first = parcel(1, LIMIT, 2 * LIMIT, 0);
        let parcel = match self.second {
            _ if pass == 0 => first,
            Second::Same => first,
            Second::OtherNumber => Parcel { number: 2, ..first },
            Second::ShorterSegment => parcel(1, LIMIT - 1, 2 * LIMIT, 0),
            Second::FewerSegments => parcel(1, LIMIT, 5, 0),
            Second::NoSegments => Parcel { samples: vec![], bytes: vec![], ..first },
            Second::MoreSegments => parcel(1, LIMIT, 2 * LIMIT, LIMIT),
            Second::Refuses => {
                let mut sequence = serializer.serialize_seq(Some(0))?;
                sequence.serialize_element(&Refused { late: true })?;
                return sequence.end();
            }
        };
        parcel.serialize(serializer)
    }
}

/// Both sides must name the same type.
#[derive(Debug)]
enum Either {
    Sent(Fickle),
    Came(Parcel),
}

impl Serialize for Either {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Either::Sent(fickle) => fickle.serialize(serializer),
            Either::Came(parcel) => parcel.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Either {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Parcel::deserialize(deserializer).map(Either::Came)
    }
}

impl Debug for Fickle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.second.fmt(f)
    }
}

#[phalanx::test(ranks = 2)]
fn a_value_that_changes_while_it_is_sent_is_an_error_and_nobody_waits(world: Comm) -> Result<()> {
    for second in [
        Second::Same,
        Second::OtherNumber,
        Second::ShorterSegment,
        Second::FewerSegments,
        Second::NoSegments,
        Second::MoreSegments,
        Second::Refuses,
    ] {
        if world.rank() == 0 {
            let sent = world.send_object(&Either::Sent(Fickle { passes: Cell::new(0), second }), 1);
            match sent {
                Ok(()) => assert_eq!(second, Second::Same),
                Err(error) => assert!(error.is_encode(), "{second:?}: {error}"),
            }
            world.send_object("next", 1)?;
            continue;
        }
        match world.recv_object::<Either>(0) {
            // What came complete is what the first pass said.
            Ok(Either::Came(came)) => assert!(came == parcel(1, LIMIT, 2 * LIMIT, 0), "{second:?}"),
            Ok(Either::Sent(_)) => unreachable!("nothing of that kind is received"),
            Err(error) => {
                assert!(error.is_decode(), "{second:?}: {error}");
                assert_ne!(second, Second::Same, "{error}");
            }
        }
        assert_eq!(world.recv_object::<String>(0)?, "next");
    }
    Ok(())
}

/// Encodes well, and refuses to be decoded before, between or after its large fields.
#[derive(Debug)]
struct Picky {
    fields: (Vec<f64>, u8, Vec<f64>),
}

#[derive(Serialize, Deserialize)]
struct Large(#[serde(with = "phalanx::plain")] Vec<f64>);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (first, when, second) = &self.fields;
        (when, Large(first.clone()), Large(second.clone())).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Parts;
        impl<'de> serde::de::Visitor<'de> for Parts {
            type Value = Picky;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("parts")
            }

            fn visit_seq<A>(self, mut parts: A) -> std::result::Result<Picky, A::Error>
            where
                A: serde::de::SeqAccess<'de>,
            {
                use serde::de::Error as _;
                let refused = || A::Error::custom("not to my taste");
                let when: u8 = parts.next_element()?.ok_or_else(refused)?;
                if when == 0 {
                    return Err(refused());
                }
                let first: Large = parts.next_element()?.ok_or_else(refused)?;
                if when == 1 {
                    return Err(refused());
                }
                let second: Large = parts.next_element()?.ok_or_else(refused)?;
                if when == 2 {
                    return Err(refused());
                }
                Ok(Picky { fields: (first.0, when, second.0) })
            }
        }
        deserializer.deserialize_tuple(3, Parts)
    }
}

#[phalanx::test(ranks = 2)]
fn a_value_that_refuses_to_be_decoded_is_an_error_and_the_next_one_arrives(
    world: Comm,
) -> Result<()> {
    let of = |when: u8, len| Picky { fields: (vec![0.5; len], when, vec![1.5; len + 1]) };
    for len in [3, LIMIT / 8, LIMIT] {
        for when in 0..=3 {
            if world.rank() == 0 {
                world.send_object(&of(when, len), 1)?;
                world.send_object("next", 1)?;
                continue;
            }
            let came = if when % 2 == 0 {
                world.recv_object::<Picky>(0)
            } else {
                world.irecv_object::<Picky>(0)?.wait()
            };
            match came {
                Ok(picky) => assert_eq!(picky.fields, of(3, len).fields),
                Err(error) => {
                    assert!(when < 3 && error.is_decode(), "{error}");
                    assert!(error.to_string().contains("not to my taste"), "{error}");
                }
            }
            assert_eq!(world.recv_object::<String>(0)?, "next");
        }
    }
    Ok(())
}

/// Says one element type when it is sent and takes another when it is received.
struct Confused(Vec<f64>);

#[derive(Deserialize)]
struct Taken(#[serde(with = "phalanx::plain")] Vec<[u8; 3]>);

impl Serialize for Confused {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Large(self.0.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Confused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Taken::deserialize(deserializer).map(|taken| Confused(vec![0.0; taken.0.len()]))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Generic<T: Element> {
    #[serde(with = "phalanx::plain")]
    field: Vec<T>,
}

#[phalanx::test(ranks = 2)]
fn plain_fields_of_another_element_type_are_an_error_and_the_next_one_arrives(
    world: Comm,
) -> Result<()> {
    for len in [1, 100, LIMIT, LIMIT + 2] {
        if world.rank() == 0 {
            world.send_object(&Confused(vec![1.0; len]), 1)?;
            world.send_object(&Generic { field: vec![1.0_f64; len] }, 1)?;
            world.send_object(&Generic { field: vec![2_u32; len] }, 1)?;
            continue;
        }
        let Err(error) = world.recv_object::<Confused>(0) else { panic!("{len} were taken") };
        assert!(error.is_decode() || error.is_type_mismatch(), "{error}");
        assert!(world.recv_object::<Generic<u64>>(0).unwrap_err().is_type_mismatch());
        assert_eq!(world.recv_object::<Generic<u32>>(0)?.field, vec![2; len]);
    }
    Ok(())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List {
    number: u32,
    next: Option<Box<List>>,
}

fn list(length: u32) -> List {
    (1..length).fold(List { number: 0, next: None }, |next, number| List {
        number,
        next: Some(Box::new(next)),
    })
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[phalanx::test(ranks = [1, 2])]
fn nested_values_are_followed(world: Comm) -> Result<()> {
    around(&world, &list(200))?;
    around(&world, &list(1000))?;
    let deep = |depth| (0..depth).fold(Tree(vec![]), |tree, _| Tree(vec![tree, Tree(vec![])]));
    around(&world, &deep(100))?;
    around(&world, &deep(1000))?;
    around(&world, &"all is well".to_owned())
}

/// JSON, written as it is serialised.
struct Json;

impl Codec for Json {
    const ID: u8 = 200;

    fn encode<T: Serialize + ?Sized>(
        value: &T,
        into: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        serde_json::to_writer(into, value).map_err(|error| error.to_string())
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// JSON whose fields stand in the order of the alphabet.
struct SortedJson;

impl Codec for SortedJson {
    const ID: u8 = 201;

    fn encode<T: Serialize + ?Sized>(
        value: &T,
        into: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        let value = serde_json::to_value(value).map_err(|error| error.to_string())?;
        Json::encode(&value, into)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
        Json::decode(bytes)
    }
}

#[phalanx::test(ranks = 2)]
fn a_codec_of_ones_own_carries_any_value(world: Comm) -> Result<()> {
    let parcels = [parcel(1, 3, 4, 5), parcel(2, 3, LIMIT, LIMIT), parcel(3, LIMIT, 0, 0)];
    if world.rank() == 0 {
        world.send_object_with::<Json, _>(&drawing(2), to(1).tag(2))?;
        world.send_object_with::<Json, _>("text", None)?;
        for parcel in &parcels {
            world.send_object_with::<Json, _>(parcel, 1)?;
        }
        let error = world.send_object_with::<Json, _>(&Refused { late: true }, 1).unwrap_err();
        assert!(error.is_encode(), "{error}");
    } else {
        let came = world.recv_object_with::<Json, Drawing>(from(0).tag(2))?;
        assert_eq!(came, drawing(2));
        for parcel in &parcels {
            let came = world.recv_object_with::<Json, Parcel>(any())?;
            assert!(&came == parcel, "{}", parcel.number);
        }
    }
    Ok(())
}

/// Large fields whose names are not in the order of the alphabet.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unsorted {
    #[serde(with = "phalanx::plain")]
    second: Vec<u64>,
    #[serde(with = "phalanx::plain")]
    first: Vec<u64>,
}

#[phalanx::test(ranks = 2)]
fn a_codec_that_reorders_large_fields_never_swaps_them(world: Comm) -> Result<()> {
    for len in [10, LIMIT] {
        if world.rank() == 0 {
            let value = Unsorted { second: vec![2; len], first: vec![1; len] };
            world.send_object_with::<SortedJson, _>(&value, 1)?;
            world.send_object("next", 1)?;
            continue;
        }
        match world.recv_object_with::<SortedJson, Unsorted>(0) {
            Ok(value) => assert!(value.second[0] == 2 && value.first[0] == 1),
            Err(error) => assert!(error.is_decode() && len == LIMIT, "{error}"),
        }
        assert_eq!(world.recv_object::<String>(0)?, "next");
    }
    Ok(())
}

#[phalanx::test(ranks = 2)]
fn another_codec_is_an_error_and_the_next_message_still_arrives(world: Comm) -> Result<()> {
    if world.rank() == 0 {
        world.send_object_with::<Json, _>("json", 1)?;
        world.send_object_with::<Json, _>(&parcel(1, LIMIT, LIMIT, LIMIT), 1)?;
        world.send_object("bincode", 1)?;
        world.send_object_with::<SortedJson, _>("sorted", 1)?;
        return world.send_object_with::<Json, _>("last", 1);
    }
    for error in [
        world.recv_object::<String>(0).unwrap_err(),
        world.recv_object::<Parcel>(0).unwrap_err(),
        world.recv_object_with::<Json, String>(0).unwrap_err(),
        world.recv_object_with::<Json, String>(0).unwrap_err(),
    ] {
        assert!(error.is_type_mismatch() && error.to_string().contains("codec"), "{error}");
    }
    assert_eq!(world.recv_object_with::<Json, String>(0)?, "last");
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4])]
fn receives_in_flight_complete_in_any_order(world: Comm) -> Result<()> {
    let (next, previous) = neighbours(&world);
    let mut early = world.irecv_object::<String>(from(previous).tag(9))?;
    assert!(early.test()?.is_none());
    world.barrier()?;

    let receives: Vec<_> = (0..4)
        .map(|tag| world.irecv_object_with_status::<(i32, Parcel)>(from(previous).tag(tag)))
        .collect::<Result<_>>()?;
    let mut sends = RequestSet::new();
    for tag in 0..4 {
        let value = (tag, parcel(tag as u32, LIMIT, 1, 1));
        sends.push(world.isend_object(&value, to(next).tag(tag))?);
    }
    for (tag, receiving) in receives.into_iter().enumerate().rev() {
        let ((number, parcel), status) = receiving.wait()?;
        assert_eq!((number, parcel.number, status.tag), (tag as i32, tag as u32, tag as i32));
    }
    sends.wait_all()?;

    let sending = world.isend_object("early", to(next).tag(9))?;
    let text = loop {
        if let Some(text) = early.test()? {
            break text;
        }
    };
    assert_eq!(text, "early");
    sending.wait()?;
    assert!(early.test().is_err());

    let mut set: RequestSet<String> = (0..3)
        .map(|tag| world.irecv_object::<String>(from(previous).tag(tag)))
        .collect::<Result<_>>()?;
    let mut sends = RequestSet::new();
    for tag in (0..3).rev() {
        sends.push(world.isend_object(&format!("{tag}"), to(next).tag(tag))?);
    }
    let mut seen = BTreeSet::new();
    while let Some((index, text)) = set.wait_any()? {
        assert_eq!(text, index.to_string());
        seen.insert(index);
    }
    assert_eq!(seen.len(), 3);
    sends.wait_all()?;

    let echo = block_on(async {
        let sending = world.isend_object(&Some(1), next)?;
        let value = world.irecv_object::<Option<i32>>(previous)?.await?;
        sending.await?;
        Result::Ok(value)
    })?;
    assert_eq!(echo, Some(1));
    Ok(())
}

#[phalanx::test(ranks = 2)]
fn fields_beside_a_message_reach_a_receive_that_is_tested(world: Comm) -> Result<()> {
    let parcels = [parcel(1, 1 << 16, 0, LIMIT), parcel(2, 1, LIMIT, 1)];
    if world.rank() == 0 {
        for parcel in &parcels {
            world.ssend_object(parcel, 1)?;
        }
        return Ok(());
    }
    for parcel in &parcels {
        let mut receiving = world.irecv_object::<Parcel>(0)?;
        let came = loop {
            if let Some(came) = receiving.test()? {
                break came;
            }
        };
        assert!(&came == parcel);
    }
    Ok(())
}

#[phalanx::test(ranks = 2)]
fn a_receive_that_is_dropped_or_cancelled_takes_no_message_away(world: Comm) -> Result<()> {
    let (next, previous) = neighbours(&world);
    drop(world.irecv_object::<String>(previous)?);
    assert!(world.irecv_object::<String>(previous)?.cancel()?.is_none());
    world.barrier()?;
    let sending = world.isend_object("mine", next)?;
    assert_eq!(world.recv_object::<String>(previous)?, "mine");
    // A send that is dropped goes on its way.
    sending.wait()?;
    drop(world.isend_object(&"large".repeat(1 << 16), next)?);
    assert_eq!(world.recv_object::<String>(previous)?.len(), 5 << 16);
    world.barrier()
}

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Wide([u64; 64]);

#[phalanx::test(ranks = [1, 2, 3])]
fn an_object_is_an_error_of_every_typed_receive(world: Comm) -> Result<()> {
    let (next, previous) = neighbours(&world);
    let refused = |result: Result<()>| {
        let error = result.expect_err("an object came");
        // Of an exchange there is an error for each part.
        let error = error.parts().first().unwrap_or(&error);
        assert!(error.is_type_mismatch(), "{error}");
        assert!(error.detail().contains("recv_object"), "{error}");
        assert_eq!(error.peer(), Some(previous), "{error}");
    };
    // Of a length that is a whole number of everything that is asked for, and small or cut.
    for length in [512, 16 * 1024] {
        type Receive<'a> = Box<dyn Fn(Source) -> Result<()> + 'a>;
        let room = || vec![0_u8; length];
        let receives: Vec<Receive<'_>> = vec![
            Box::new(|it| world.recv::<Vec<u8>>(it).map(drop)),
            Box::new(|it| world.recv::<Box<[f64]>>(it).map(drop)),
            Box::new(|it| world.recv_with_status::<Vec<Wide>>(it).map(drop)),
            Box::new(|it| world.recv_into(&mut room(), it).map(drop)),
            Box::new(|it| world.recv_into(&mut vec![0_i128; length / 16 + 1], it).map(drop)),
            Box::new(|it| world.irecv_into(room(), it)?.wait().map(drop)),
            Box::new(|it| world.irecv_at_most::<Vec<u16>>(length, it)?.wait().map(drop)),
            Box::new(|it| world.probe(it)?.recv::<Vec<u8>>().map(drop)),
            Box::new(|it| world.probe(it)?.recv_into(&mut room()).map(drop)),
            Box::new(|it| world.sendrecv_into(&[1], None, &mut room(), it).map(drop)),
            Box::new(|it| {
                let mut room = room();
                world.scope(|s| s.irecv_into(&mut room, it)?.wait().map(drop))
            }),
            Box::new(|it| {
                let mut set = RequestSet::new();
                set.push(world.irecv_into(room(), it)?);
                set.wait_all().map(drop)
            }),
            Box::new(|it| {
                let mut room = room();
                world.exchange(|x| x.recv(&mut room, it)).map(drop)
            }),
            Box::new(|it| {
                let mut room = room();
                world.exchange(|x| x.recv_vec(&mut room, it)).map(drop)
            }),
        ];
        for receive in receives {
            // A string of this length has a header and a length of 8 bytes before it.
            let sending = world.isend_object(&"x".repeat(length - 48), next)?;
            refused(receive(from(previous)));
            sending.wait()?;
        }
    }
    if world.size() > 1 {
        let sending = world.isend_object(&"x".repeat(512 - 48), next)?;
        refused(world.recv::<Wide>(previous).map(drop));
        sending.wait()?;
        let sending = world.isend_object(&"x".repeat(512 - 48), next)?;
        refused(world.irecv::<[Wide; 1]>(previous)?.wait().map(drop));
        sending.wait()?;
    }
    // The next ones arrive.
    let sending = world.isend_object("last", next)?;
    assert_eq!(world.recv_object::<String>(previous)?, "last");
    sending.wait()?;
    world.barrier()?;
    assert!(world.try_probe(any())?.is_none());
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn elements_are_an_error_of_every_receive_of_an_object(world: Comm) -> Result<()> {
    let (next, previous) = neighbours(&world);
    for length in [1, 100, 16 * 1024, 16 * 1024 + 1, 300_000] {
        for form in 0..5 {
            let sending = world.isend(vec![7_u8; length], next)?;
            let refused = match form {
                0 => world.recv_object::<String>(previous).map(drop),
                1 => world.irecv_object::<String>(previous)?.wait().map(drop),
                2 => world.probe(previous)?.recv_object::<String>().map(drop),
                3 => {
                    let mut set = RequestSet::new();
                    set.push(world.irecv_object::<String>(previous)?);
                    set.wait_all().map(drop)
                }
                _ => {
                    let mut slot = None;
                    world.exchange(|x| x.recv_object::<String>(&mut slot, previous)).map(drop)
                }
            };
            sending.wait()?;
            let error = refused.expect_err("elements came");
            let error = error.parts().first().unwrap_or(&error);
            assert!(error.is_type_mismatch(), "{length}, {form}: {error}");
            assert!(error.to_string().contains("`recv`"), "{error}");
            assert_eq!(error.peer(), Some(previous), "{error}");
        }
    }
    let sending = world.isend_object("last", next)?;
    assert_eq!(world.recv_object::<String>(previous)?, "last");
    sending.wait()
}

/// Panics or fails when it is serialised for the second time.
#[derive(Debug, Deserialize)]
struct Moody {
    #[serde(with = "phalanx::plain")]
    first: Vec<f64>,
    mood: u8,
    #[serde(with = "phalanx::plain")]
    second: Vec<f64>,
}

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::{Error as _, SerializeStruct};
        use std::cell::Cell;
        thread_local!(static PASS: Cell<u32> = const { Cell::new(0) });

        #[derive(Serialize)]
        struct Bulk<'a>(#[serde(serialize_with = "phalanx::plain::serialize")] &'a [f64]);
        let mut fields = serializer.serialize_struct("Moody", 3)?;
        fields.serialize_field("first", &Bulk(&self.first))?;
        let pass = PASS.replace(PASS.get() + 1);
        match (pass % 2, self.mood) {
            (1, 1) => panic!("in a bad mood"),
            (1, 2) => return Err(S::Error::custom("in a bad mood")),
            _ => fields.serialize_field("mood", &self.mood)?,
        }
        fields.serialize_field("second", &Bulk(&self.second))?;
        fields.end()
    }
}

#[phalanx::test(ranks = [2, 3])]
fn a_second_pass_that_fails_or_panics_is_an_error_on_both_sides(world: Comm) -> Result<()> {
    for mood in [0, 1, 2, 1, 0] {
        for late in [false, true] {
            let value = Moody { first: vec![1.0; 20_000], mood, second: vec![2.0; 20_000] };
            if world.rank() > 0 {
                if late {
                    std::thread::sleep(Duration::from_millis(60));
                }
                let came = world.recv_object::<Moody>(0);
                match mood {
                    0 => assert_eq!(came?.second, value.second),
                    _ => {
                        let error = came.expect_err("its sender gave up");
                        assert!(error.is_decode(), "{error}");
                        assert!(error.detail().contains("gave up"), "{error}");
                    }
                }
                assert_eq!(world.recv_object::<String>(0)?, "next");
                continue;
            }
            for rank in 1..world.size() {
                let send = || world.send_object(&value, rank);
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(send)) {
                    Ok(outcome) => match mood {
                        0 => outcome?,
                        _ => assert!(mood == 2 && outcome.expect_err("refused").is_encode()),
                    },
                    Err(_) => assert_eq!(mood, 1),
                }
                world.send_object("next", rank)?;
            }
        }
    }
    Ok(())
}
