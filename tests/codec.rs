//! What arrives of a value with each codec: itself, or an error that says what to use. Never another value.

use std::alloc::{GlobalAlloc, Layout, System};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::{CString, OsString};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroI128, NonZeroU8, Wrapping};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phalanx::{Bincode, Codec, Comm, Result, SelfDescribing};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn trip<C: Codec, T: Serialize + DeserializeOwned>(value: &T) -> std::result::Result<T, String> {
    let mut bytes = Vec::new();
    C::encode(value, &mut bytes).map_err(|text| format!("sender: {text}"))?;
    C::decode(&bytes).map_err(|text| format!("receiver: {text}"))
}

trait Sample: Serialize + DeserializeOwned + PartialEq + Debug {}
impl<T: Serialize + DeserializeOwned + PartialEq + Debug> Sample for T {}

/// The value arrives with either codec.
#[track_caller]
fn arrives<T: Sample>(value: &T) {
    assert_eq!(trip::<Bincode, T>(value).as_ref(), Ok(value));
    assert_eq!(trip::<SelfDescribing, T>(value).as_ref(), Ok(value));
}

/// The default codec refuses the value at one side, and names the field or type and what to use.
#[track_caller]
fn refused<T: Sample>(value: &T, side: &str, names: &[&str]) {
    let text = trip::<Bincode, T>(value).expect_err("the default codec cannot carry it");
    assert!(text.starts_with(side), "{text}");
    for name in names.iter().copied().chain(["SelfDescribing"]) {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert_eq!(trip::<SelfDescribing, T>(value).as_ref(), Ok(value));
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: u8,
    y: i64,
}

// Skipped fields.

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(default, skip_serializing_if = "is_default")]
    urgent: bool,
    level: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip)]
    cache: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    children: Vec<Sparse>,
    #[serde(
        alias = "after",
        alias = "until",
        rename = "end",
        default,
        skip_serializing_if = "is_default"
    )]
    last: String,
}

fn sparse() -> impl Strategy<Value = Sparse> {
    let leaf =
        (any::<bool>(), any::<Option<u8>>(), any::<Option<u64>>(), any::<Option<u64>>(), ".{0,3}")
            .prop_map(|(urgent, level, seconds, memory, last)| Sparse {
                urgent,
                level,
                seconds,
                memory,
                cache: 0,
                children: vec![],
                last,
            });
    leaf.prop_recursive(4, 30, 4, |inner| {
        (inner.clone(), proptest::collection::vec(inner, 0..4))
            .prop_map(|(one, children)| Sparse { children, ..one })
    })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Request {
    Stop,
    Load {
        #[serde(default, skip_serializing_if = "is_default")]
        path: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        part: Option<Box<Request>>,
        always: u16,
    },
    #[serde(skip)]
    #[allow(dead_code)]
    Internal(u8),
    #[serde(alias = "Store", alias = "Keep")]
    Save {
        #[serde(default, skip_serializing_if = "is_default")]
        always: u16,
    },
    #[serde(rename = "copy")]
    Duplicate(Box<Request>, Sparse),
    Wrapped(Point),
}

#[test]
fn fields_that_are_skipped_get_their_default() {
    arrives(&Sparse::default());
    arrives(&Sparse { level: Some(0), ..Sparse::default() });
    arrives(&Sparse { urgent: true, seconds: Some(60), last: "x".into(), ..Sparse::default() });
    arrives(&vec![Sparse::default(); 3]);
    arrives(&(
        Sparse::default(),
        7_u32,
        Point { x: 1, y: 2 },
        Sparse { seconds: Some(1), ..Default::default() },
    ));
    let load = |path: &str, part| Request::Load { path: path.into(), part, always: 9 };
    arrives(&load("", None));
    arrives(&load("/a", Some(Box::new(load("", Some(Box::new(Request::Stop)))))));
    arrives(&vec![Request::Save { always: 0 }, Request::Save { always: 1 }]);
    arrives(&Request::Duplicate(Box::new(Request::Save { always: 0 }), Sparse::default()));
    arrives(&BTreeMap::from([
        (1, Sparse::default()),
        (2, Sparse { memory: Some(1), ..Default::default() }),
    ]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_choice_of_skipped_fields_arrives(value in proptest::collection::vec(sparse(), 0..5)) {
        prop_assert_eq!(trip::<Bincode, _>(&value), Ok(value.clone()));
        prop_assert_eq!(trip::<SelfDescribing, _>(&value), Ok(value));
    }
}

#[test]
fn variants_that_one_side_leaves_out_do_not_shift_the_others() {
    arrives(&vec![
        Request::Stop,
        Request::Save { always: 3 },
        Request::Wrapped(Point { x: 1, y: -1 }),
        Request::Duplicate(Box::new(Request::Stop), Sparse::default()),
    ]);
    let text = trip::<Bincode, _>(&Request::Internal(1)).unwrap_err();
    assert!(text.contains("sender") && text.contains("Internal"), "{text}");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OnlySent {
    a: u8,
    #[serde(skip_deserializing)]
    b: u8,
    c: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OnlyRead {
    a: u8,
    #[serde(skip_serializing, default)]
    b: u8,
    c: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SkipsWithoutName(
    #[serde(skip_serializing_if = "is_default", default)] u8,
    #[serde(skip_serializing_if = "is_default", default)] u8,
);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SkipsInVariant {
    Pair(
        #[serde(skip_serializing_if = "is_default", default)] u8,
        #[serde(skip_serializing_if = "is_default", default)] u8,
    ),
    Fields(u8, Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
struct Tagged {
    a: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NoDefault {
    #[serde(alias = "number", skip_serializing_if = "is_default")]
    count: u8,
    rest: u8,
}

#[test]
fn fields_that_only_one_side_has_are_an_error() {
    refused(&Tagged { a: 1 }, "sender", &["type"]);
    for text in [
        trip::<Bincode, _>(&OnlySent { a: 1, b: 0, c: 3 }).unwrap_err(),
        trip::<Bincode, _>(&vec![OnlyRead { a: 1, b: 0, c: 3 }; 2]).unwrap_err(),
        trip::<Bincode, _>(&(SkipsWithoutName(0, 5), 7_u8)).unwrap_err(),
        trip::<Bincode, _>(&NoDefault { count: 0, rest: 1 }).unwrap_err(),
    ] {
        assert!(text.starts_with("receiver"), "{text}");
    }
    arrives(&NoDefault { count: 2, rest: 1 });
    arrives(&SkipsWithoutName(4, 5));
    // Fields without names would move up.
    for value in [SkipsWithoutName(0, 5), SkipsWithoutName(5, 0)] {
        let text = trip::<SelfDescribing, _>(&(value.clone(), 7_u8)).unwrap_err();
        assert!(text.contains("1 of 2 fields without names were sent"), "{text}");
        let text = trip::<SelfDescribing, _>(&SkipsInVariant::Pair(value.0, value.1)).unwrap_err();
        assert!(text.contains("1 of 2 fields without names"), "{text}");
    }
    for value in [SkipsInVariant::Pair(4, 5), SkipsInVariant::Fields(1, vec![0])] {
        assert_eq!(trip::<SelfDescribing, _>(&value), Ok(value));
    }
    let value = OnlySent { a: 1, b: 0, c: 3 };
    assert_eq!(trip::<SelfDescribing, _>(&value), Ok(value));
    let value = OnlyRead { a: 1, b: 0, c: 3 };
    assert_eq!(trip::<SelfDescribing, _>(&value), Ok(value));
}

// Enums and structs that need names in the message.

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Nothing,
    Text(String),
    Texts(Vec<String>),
    Named { x: u8 },
    Other { y: u8, z: Option<Option<bool>> },
    Pair(u8, IpAddr),
    Maybe(Option<Point>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Named { x: u8, y: Option<()> },
    Wrapped(Point),
    Map(BTreeMap<String, u8>),
    Unit,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Pair(u8, String),
    One(Point),
    Named { x: u8 },
    Unit,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct WithMap {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct WithStruct {
    id: u8,
    #[serde(flatten)]
    rest: Point,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    last: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    id: u8,
    held: Vec<Internal>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum PartlyUntagged {
    One(u8),
    #[serde(untagged)]
    Rest(String),
}

#[test]
fn what_shows_while_it_is_serialised_is_refused_by_the_sender() {
    for value in [
        Internal::Named { x: 1, y: Some(()) },
        Internal::Named { x: 1, y: None },
        Internal::Wrapped(Point { x: 1, y: 2 }),
        Internal::Map(BTreeMap::from([("k".into(), 3)])),
        Internal::Unit,
    ] {
        refused(&value, "sender", &["tag"]);
        refused(&Some(vec![value.clone()]), "sender", &["tag"]);
        refused(&Holder { id: 1, held: vec![value] }, "sender", &["field `held"]);
    }
    for value in [
        Adjacent::Pair(3, "q".into()),
        Adjacent::One(Point { x: 1, y: 2 }),
        Adjacent::Named { x: 2 },
        Adjacent::Unit,
    ] {
        refused(&value, "sender", &["field `t`", "tag"]);
    }
    let rest = BTreeMap::from([("k".to_owned(), 2)]);
    refused(&WithMap { id: 1, rest: rest.clone() }, "sender", &["flatten"]);
    refused(&vec![WithMap { id: 1, rest }], "sender", &["flatten", "WithMap"]);
    refused(&WithStruct { id: 1, rest: Point { x: 1, y: 2 }, last: None }, "sender", &["flatten"]);
}

#[test]
fn what_shows_only_while_it_is_decoded_is_refused_by_the_receiver() {
    for value in [
        Untagged::Nothing,
        Untagged::Text("x".into()),
        Untagged::Texts(vec!["x".into()]),
        Untagged::Named { x: 1 },
        Untagged::Other { y: 1, z: Some(None) },
        Untagged::Other { y: 1, z: Some(Some(true)) },
        Untagged::Pair(1, "::1".parse().unwrap()),
    ] {
        refused(&value, "receiver", &["deserialize_any"]);
        refused(&(1, vec![value]), "receiver", &["deserialize_any", "Untagged"]);
    }
    refused(&PartlyUntagged::One(1), "receiver", &["deserialize_any"]);
    refused(&PartlyUntagged::Rest("x".into()), "receiver", &["deserialize_any"]);
    let json = serde_json::json!({"a": [1, -1, null, "x", 0.5], "b": {}, "c": u64::MAX});
    refused(&json, "receiver", &["deserialize_any"]);
    refused(&(1_u8, json), "receiver", &["serde_json"]);
    refused(&rust_decimal::Decimal::new(12345, 3), "receiver", &["deserialize_any"]);
}

// Types of the standard library and of others.

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nothing {}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct New<T>(T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent {
    inner: Vec<i16>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "(u8, i64)", from = "(u8, i64)")]
struct Converted(Point);

impl From<Converted> for (u8, i64) {
    fn from(value: Converted) -> Self {
        (value.0.x, value.0.y)
    }
}

impl From<(u8, i64)> for Converted {
    fn from((x, y): (u8, i64)) -> Self {
        Converted(Point { x, y })
    }
}

mod reversed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        text.chars().rev().collect::<String>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        Ok(String::deserialize(deserializer)?.chars().rev().collect())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound = "T: Serialize + DeserializeOwned")]
struct Attributes<'a, T: 'a> {
    #[serde(with = "reversed")]
    the_text: String,
    #[serde(alias = "old")]
    new_name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: T,
    #[serde(default)]
    nothing: PhantomData<T>,
    converted: Converted,
    #[serde(with = "phalanx::plain")]
    block: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Words {
    FirstWord,
    SecondWord(u8),
    #[serde(rename = "3")]
    ThirdWord(),
    FourthWord {},
    #[serde(other)]
    Rest,
}

/// A map whose first key is a name of the program.
#[derive(Clone, Debug, PartialEq)]
struct ByHand(u8);

impl Serialize for ByHand {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("number", &self.0)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for ByHand {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        let map = BTreeMap::<String, u8>::deserialize(deserializer)?;
        Ok(ByHand(map.get("number").copied().unwrap_or_default()))
    }
}

#[test]
fn types_of_every_kind_arrive() {
    arrives(&vec![ByHand(7), ByHand(8)]);
    arrives(&(i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN + 5, isize::MIN));
    arrives(&(u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX));
    arrives(&[0_i128, -1, i128::from(i64::MIN) - 1]);
    arrives(&(f32::MIN_POSITIVE, f64::MAX, -0.0_f64, true, 'z', '\0', 'é', '€', '\u{10FFFF}'));
    arrives(&("\0é𝄞".to_owned(), String::new(), "x".repeat(300)));
    arrives(&(Unit, Nothing {}, New(Unit), New(New(7)), ()));
    arrives(&(vec![Unit; 3], vec![Nothing {}; 3], vec![(); 1000], [(); 3], PhantomData::<String>));
    arrives(&vec![None, Some(None), Some(Some(())), Some(None)]);
    arrives(&(Some(Some(Some(None::<u8>))), Some(()), None::<()>, Some(Unit), None::<Unit>));
    arrives(&(Ok::<u8, String>(1), Err::<u8, String>("e".into())));
    arrives(&(vec![0_u8; 300], VecDeque::from([1]), LinkedList::from(["a".to_owned()])));
    arrives(&(
        BTreeSet::from([(1, 'a')]),
        HashSet::from([Some(1), None]),
        BTreeMap::from([((), ())]),
    ));
    arrives(&HashMap::from([((1_i32, -2_i64), "v".to_owned()), ((3, 4), String::new())]));
    arrives(&BTreeMap::from([(vec![1_u8, 2], 1.5_f64), (vec![], 0.0)]));
    arrives(&(
        Cow::<'static, str>::Owned("cow".into()),
        Arc::<str>::from("a"),
        Rc::new(vec![1_u8]),
    ));
    arrives(&(Box::<[u16]>::from([1, 2]), Box::<str>::from("b"), Box::new(Some(Box::new(1)))));
    arrives(&(NonZeroU8::new(9), NonZeroI128::MIN, Wrapping(3_u8), std::cmp::Reverse(4)));
    arrives(&(PathBuf::from("/a b/c"), CString::new("c").unwrap(), OsString::from("o")));
    arrives(&("::1".parse::<IpAddr>().unwrap(), "1.2.3.4:5".parse::<SocketAddr>().unwrap()));
    arrives(&(
        Duration::new(u64::MAX, 999_999_999),
        SystemTime::UNIX_EPOCH + Duration::from_nanos(5),
    ));
    arrives(&(3..9_i64, 1..=2_u8, ..4_u8, std::ops::Bound::Included('x')));
    arrives(&([[7_u16; 32]; 3], (1_u8, [(2, "x".to_owned()); 1], ((), ((3,),)))));
    arrives(&chrono::DateTime::from_timestamp(1_700_000_000, 5).unwrap());
    arrives(&(
        chrono::NaiveDate::from_ymd_opt(2026, 1, 2).unwrap(),
        chrono::TimeDelta::nanoseconds(-5),
    ));
    arrives(&Attributes {
        the_text: "text".into(),
        new_name: "name".into(),
        kind: vec![
            Words::FirstWord,
            Words::SecondWord(2),
            Words::ThirdWord(),
            Words::FourthWord {},
        ],
        nothing: PhantomData,
        converted: Converted(Point { x: 1, y: 2 }),
        block: vec![0.5; 3],
    });
    arrives(&vec![Words::Rest, Words::FirstWord]);
    arrives(&Transparent { inner: vec![1, 2] });
    let heap = trip::<Bincode, _>(&BinaryHeap::from([3, 1, 2])).unwrap();
    assert_eq!(heap.into_sorted_vec(), [1, 2, 3]);
    for nan in [f64::NAN, f64::from_bits(0xfff0_0000_0000_0001)] {
        let came = trip::<Bincode, _>(&(nan, nan as f32)).unwrap();
        assert_eq!(came.0.to_bits(), nan.to_bits());
        assert_eq!(trip::<SelfDescribing, _>(&nan).unwrap().to_bits(), nan.to_bits());
    }
}

// Two types of one name.

/// Values of types that are all named alike.
macro_rules! namesakes {
    ($($function:ident $definition:item $value:expr;)*) => {
        $(
            fn $function() -> (Vec<u8>, fn(&[u8]) -> std::result::Result<(), String>) {
                #[derive(Clone, Serialize, Deserialize)]
                $definition
                let mut bytes = Vec::new();
                Bincode::encode(&vec![$value; 2], &mut bytes).expect("it can be encoded");
                (bytes, |bytes| Bincode::decode::<Vec<T>>(bytes).map(drop))
            }
        )*
        const NAMESAKES: &[fn() -> (Vec<u8>, fn(&[u8]) -> std::result::Result<(), String>)] =
            &[$($function),*];
    };
}

namesakes! {
    two_words struct T { a: u32, b: u32 } T { a: 1, b: 2 };
    other_order struct T { b: u32, a: u32 } T { a: 1, b: 2 };
    one_real struct T { x: f64 } T { x: 0.5 };
    one_integer struct T { y: u64 } T { y: 1 };
    without_names struct T(u32, u32); T(1, 2);
    one_variant enum T { A { a: u32 } } T::A { a: 1 };
    another_variant enum T { B { a: u32 } } T::B { a: 1 };
    another_field enum T { A { b: u32 } } T::A { b: 1 };
    a_pair_of_variants enum T { A, B } T::B;
    in_another_order enum T { A, C } T::C;
}

#[test]
fn two_types_of_one_name_are_told_apart() {
    for (i, sent) in NAMESAKES.iter().enumerate() {
        let (bytes, _) = sent();
        for (j, received) in NAMESAKES.iter().enumerate() {
            let (_, decode) = received();
            let result = decode(&bytes);
            assert_eq!(result.is_ok(), i == j, "{i} as {j}: {result:?}");
        }
    }
}

// Depth.

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    value: u32,
    next: Option<Box<Node>>,
}

fn list(length: u32) -> Node {
    (1..length).fold(Node { value: 0, next: None }, |next, value| Node {
        value,
        next: Some(Box::new(next)),
    })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)]
enum Fat {
    Leaf,
    Inner(Box<Fat>, [[u64; 32]; 4]),
    Named { inner: Box<Fat>, block: [[u64; 32]; 4] },
    Many(Vec<Fat>),
    Mapped(BTreeMap<u8, Fat>),
    New(New<Box<Fat>>),
}

fn fat(depth: u32) -> Fat {
    (0..depth).fold(Fat::Leaf, |inner, level| match level % 5 {
        0 => Fat::Inner(Box::new(inner), [[u64::from(level); 32]; 4]),
        1 => Fat::Named { inner: Box::new(inner), block: [[1; 32]; 4] },
        2 => Fat::Many(vec![inner, Fat::Leaf]),
        3 => Fat::Mapped(BTreeMap::from([(1, inner)])),
        _ => Fat::New(New(Box::new(inner))),
    })
}

fn with_stack<R: Send + 'static>(kib: usize, f: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = std::thread::Builder::new().stack_size(kib << 10).spawn(f);
    thread.expect("a thread can start").join().expect("it ends")
}

#[test]
fn deep_values_arrive_on_any_stack() {
    // The stack must do for what the program itself does with the value: compare and drop it.
    for (kib, length) in [(128, 100), (512, 400), (2048, 1_000), (8 << 10, 5_000)] {
        with_stack(kib, move || {
            arrives(&list(length as u32));
            arrives(&fat(length as u32 / 2));
        });
    }
}

#[test]
fn what_is_too_deep_is_refused_by_the_sender() {
    fn check<C: Codec>(kib: usize, length: u32) {
        let value = with_stack(64 << 10, move || list(length));
        let mut bytes = Vec::new();
        let (value, encoded) = with_stack(kib, move || {
            let encoded = C::encode(&value, &mut bytes).map(|()| bytes);
            (value, encoded)
        });
        // What is encoded can be decoded on a stack of that size, and dropped there.
        match encoded {
            Ok(bytes) => with_stack(kib, move || drop(C::decode::<Node>(&bytes).unwrap())),
            Err(text) => assert!(text.contains("nested") && length > 1000, "{length}: {text}"),
        }
        with_stack(64 << 10, move || drop(value));
    }
    for length in [300, 1_500, 3_000, 5_000, 6_000, 7_000, 10_000, 100_000] {
        check::<Bincode>(2048, length);
        check::<SelfDescribing>(2048, length);
    }
}

#[test]
fn bytes_that_nest_without_end_are_an_error() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Small {
        Leaf,
        Node(Box<Small>),
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Tree(Vec<Tree>);

    fn first_bytes<T: Serialize>(value: &T, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        Bincode::encode(value, &mut bytes).unwrap();
        bytes.truncate(count);
        bytes.repeat(1 << 17)
    }
    let node = Small::Node(Box::new(Small::Leaf));
    let fat = Fat::Inner(Box::new(Fat::Leaf), [[0; 32]; 4]);
    let small = first_bytes(&node, 4);
    let thick = first_bytes(&fat, 4);
    let tree = first_bytes(&Tree(vec![Tree(vec![])]), 8);
    for kib in [128, 512, 2048] {
        let (small, thick, tree) = (small.clone(), thick.clone(), tree.clone());
        with_stack(kib, move || {
            for text in [
                Bincode::decode::<Small>(&small).unwrap_err(),
                Bincode::decode::<Fat>(&thick).unwrap_err(),
                Bincode::decode::<Tree>(&tree).unwrap_err(),
                SelfDescribing::decode::<Option<Small>>(&[5; 1 << 17]).unwrap_err(),
                SelfDescribing::decode::<serde_json::Value>(&[0x34; 1 << 17]).unwrap_err(),
                SelfDescribing::decode::<Node>(&[0x35; 1 << 17]).unwrap_err(),
            ] {
                assert!(!text.is_empty());
            }
        });
    }
}

// Memory.

struct Counting;

thread_local! {
    static IN_USE: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

fn more(bytes: usize) {
    let _ = IN_USE.try_with(|in_use| {
        in_use.set(in_use.get().wrapping_add(bytes));
        let _ = MOST.try_with(|most| most.set(most.get().max(in_use.get())));
    });
}

fn less(bytes: usize) {
    let _ = IN_USE.try_with(|in_use| in_use.set(in_use.get().wrapping_sub(bytes)));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both live while the content moves.
        more(size);
        less(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        less(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result, and the most memory of this thread that it had in use beyond what was in use before.
fn measured<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = 1 << 60;
    IN_USE.set(before);
    MOST.set(before);
    let result = f();
    (result, MOST.get() - before)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cached {
    #[serde(skip, default = "zeros")]
    cache: [u64; 64],
}

fn zeros() -> [u64; 64] {
    [0; 64]
}

fn cached() -> Cached {
    Cached { cache: zeros() }
}

/// Memory that values without bytes may take although nobody has announced them.
const UNANNOUNCED: usize = 48 << 20;

#[test]
fn eight_damaged_bytes_are_no_flood_of_memory() {
    fn check<T: DeserializeOwned>() {
        for count in [300, 10_000, 1 << 20, (1 << 20) + 8, 1_600_000, 1 << 40, u64::MAX] {
            let (_, memory) = measured(|| Bincode::decode::<T>(&count.to_le_bytes()).map(drop));
            let name = std::any::type_name::<T>();
            assert!(memory < UNANNOUNCED, "{count}: {memory} bytes for {name}");
        }
    }
    check::<Vec<Cached>>();
    check::<Vec<Box<Cached>>>();
    check::<VecDeque<Cached>>();
    check::<LinkedList<Cached>>();
    check::<LinkedList<()>>();
    check::<LinkedList<Rc<()>>>();
    check::<Vec<[Cached; 3]>>();
    check::<Vec<(Cached, Box<Cached>, ())>>();
    check::<Vec<New<Box<Cached>>>>();
    check::<Vec<()>>();
    check::<BTreeMap<(), Cached>>();
    check::<HashMap<(), Box<Cached>>>();
    check::<HashSet<()>>();
    check::<Vec<Vec<Cached>>>();
    check::<Vec<Option<[u64; 32]>>>();
    check::<Vec<String>>();
    check::<String>();
}

#[test]
fn memory_stays_in_proportion_to_the_damaged_bytes() {
    fn check<T: Sample>(value: &T, most: usize) {
        let mut whole = Vec::new();
        Bincode::encode(value, &mut whole).unwrap();
        for at in 0..whole.len().saturating_sub(7) {
            for lie in [0, 1, 255, 256, 1 << 10, 1 << 16, 1 << 20, 1 << 32, u64::MAX] {
                let mut damaged = whole.clone();
                damaged[at..at + 8].copy_from_slice(&u64::to_le_bytes(lie));
                let (_, memory) = measured(|| Bincode::decode::<T>(&damaged).map(drop));
                let bound = most * damaged.len() + UNANNOUNCED;
                assert!(memory < bound, "{memory} for {}", damaged.len());
            }
        }
    }
    check(&vec![Some([1_u64; 32]), None, None], 264);
    check(&vec![cached(); 3], 8);
    check(&vec![cached(); 300], 8);
    check(&vec![(1_u8, cached()); 20], 520);
    check(&HashMap::from([(1_u8, BTreeMap::from([(1_u16, 'a')])), (2, BTreeMap::new())]), 300);
    check(&vec![Sparse { urgent: true, ..Default::default() }; 4], 100);
}

#[test]
fn elements_without_bytes_arrive_however_many_there_are() {
    arrives(&vec![(); 255]);
    arrives(&vec![(); 256]);
    arrives(&vec![(); 3_000_000]);
    arrives(&vec![cached(); 20_000]);
    arrives(&vec![(7_u8, cached()); 20_000]);
    arrives(&vec![vec![Box::new(cached()); 10_000]; 2]);
    arrives(&(vec![cached(); 20_000], Sparse::default()));
    arrives(&vec![None::<[u64; 32]>; 100_000]);
    // The sender's number must be that of the elements.
    let mut bytes = Vec::new();
    Bincode::encode(&vec![cached(); 1000], &mut bytes).unwrap();
    bytes[..8].copy_from_slice(&1_000_000_u64.to_le_bytes());
    let (result, memory) = measured(|| Bincode::decode::<Vec<Cached>>(&bytes).map(drop));
    assert!(result.is_err() && memory < UNANNOUNCED, "{memory}");
    bytes[..8].copy_from_slice(&999_u64.to_le_bytes());
    assert!(Bincode::decode::<Vec<Cached>>(&bytes).is_err());
}

/// Bytes with some damage.
fn damaged(whole: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    const LIES: [u64; 9] = [0, 1, 255, 256, 1 << 16, 1 << 20, 1 << 32, 1 << 60, u64::MAX];
    let mut bytes = whole.to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=bytes.len());
        match random.u8(..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 if at + 8 <= bytes.len() => {
                bytes[at..at + 8].copy_from_slice(&LIES[random.usize(..9)].to_le_bytes());
            }
            3 => bytes.truncate(at),
            _ => {
                let more: Vec<u8> = (0..random.usize(..20)).map(|_| random.u8(..6)).collect();
                bytes.splice(at..at, more);
            }
        }
    }
    bytes
}

#[test]
fn damaged_bytes_are_errors_or_values() {
    fn check<C: Codec, T: Sample>(value: &T, random: &mut fastrand::Rng) {
        let mut whole = Vec::new();
        C::encode(value, &mut whole).unwrap();
        for _ in 0..2_000 {
            let bytes = damaged(&whole, random);
            let (result, memory) = measured(|| C::decode::<T>(&bytes).map(drop));
            let bound = 1100 * bytes.len() + UNANNOUNCED;
            assert!(memory < bound, "{memory} for {} bytes: {result:?}", bytes.len());
        }
    }
    let mut random = fastrand::Rng::with_seed(7);
    let sparse =
        Sparse { urgent: true, children: vec![Sparse::default(); 3], ..Default::default() };
    let load = Request::Load { path: "p".into(), part: Some(Box::new(Request::Stop)), always: 1 };
    let requests = vec![load, Request::Save { always: 0 }, Request::Wrapped(Point { x: 1, y: 2 })];
    let maps = HashMap::from([(1_u8, BTreeMap::from([(1_u16, 'a')])), (2, BTreeMap::new())]);
    let pieces = (vec![cached(); 300], vec![(); 300], LinkedList::from([Rc::new(())]), fat(5));
    check::<Bincode, _>(&sparse, &mut random);
    check::<Bincode, _>(&requests, &mut random);
    check::<Bincode, _>(&maps, &mut random);
    check::<Bincode, _>(&pieces, &mut random);
    check::<SelfDescribing, _>(&sparse, &mut random);
    check::<SelfDescribing, _>(&requests, &mut random);
    check::<SelfDescribing, _>(&maps, &mut random);
    check::<SelfDescribing, _>(&pieces, &mut random);
    check::<SelfDescribing, _>(&serde_json::json!([{ "a": [1, "x", null] }, -0.5]), &mut random);
    check::<SelfDescribing, _>(&vec![Untagged::Named { x: 1 }, Untagged::Nothing], &mut random);
    let holder = Holder { id: 1, held: vec![Internal::Unit, Internal::Named { x: 1, y: None }] };
    check::<SelfDescribing, _>(&holder, &mut random);
}

// On ranks.

/// Sends a value around the ring with a codec.
fn around<C: Codec, T: Sample>(world: &Comm, value: &T) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    if size == 1 {
        return Ok(());
    }
    // Rank 0 receives first, so that nobody waits for ever.
    if rank > 0 {
        world.send_object_with::<C, _>(value, next)?;
    }
    assert_eq!(&world.recv_object_with::<C, T>(previous)?, value);
    if rank == 0 {
        world.send_object_with::<C, _>(value, next)?;
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bulk {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(with = "phalanx::plain")]
    numbers: Vec<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    last: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FlatBulk {
    id: u8,
    #[serde(with = "phalanx::plain")]
    numbers: Vec<f64>,
    #[serde(flatten)]
    rest: Point,
}

#[phalanx::test(ranks = [1, 2, 3])]
fn values_that_skip_fields_arrive_in_messages_and_collectives(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let value = |rank: usize| Sparse {
        urgent: rank % 2 == 1,
        level: Some(0),
        seconds: (rank > 1).then_some(60),
        ..Sparse::default()
    };
    around::<Bincode, _>(&world, &value(1))?;
    let sending = world.isend_object(&value(0), rank)?;
    assert_eq!(world.recv_object::<Sparse>(rank)?, value(0));
    sending.wait()?;
    let all: Vec<Sparse> = (0..size).map(value).collect();
    assert_eq!(world.allgather_object(&value(rank))?, all);
    // Large fields travel beside the message.
    for length in [3, 100_000] {
        let bulk = Bulk { title: None, numbers: vec![0.5; length], last: 0 };
        around::<Bincode, _>(&world, &bulk)?;
        around::<Bincode, _>(&world, &Bulk { last: 7, ..bulk.clone() })?;
        around::<SelfDescribing, _>(&world, &bulk)?;
        let flat = FlatBulk { id: 1, numbers: bulk.numbers, rest: Point { x: 1, y: 2 } };
        around::<SelfDescribing, _>(&world, &flat)?;
    }
    world.barrier()?;
    assert!(world.try_probe(phalanx::any())?.is_none());
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn what_the_sender_refuses_is_not_sent(world: Comm) -> Result<()> {
    fn check<T: Sample>(world: &Comm, value: &T, name: &str) -> Result<()> {
        let (rank, size) = (world.rank(), world.size());
        let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
        for error in [
            world.send_object(value, next).unwrap_err(),
            world.isend_object(value, next).unwrap_err(),
            world.sendrecv_object::<T, T>(value, next, previous).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(error.is_encode() && error.peer() == Some(next), "{text}");
            assert!(text.contains("SelfDescribing") && text.contains(name), "{text}");
        }
        world.barrier()?;
        assert!(world.try_probe(phalanx::any())?.is_none());
        world.barrier()?;
        let Err(error) = world.allgather_object(value) else { panic!("nobody can send it") };
        assert!(error.to_string().contains("SelfDescribing"), "{error}");
        around::<SelfDescribing, _>(world, value)?;
        around::<Bincode, _>(world, &"all is well".to_owned())
    }
    check(&world, &Internal::Named { x: 1, y: None }, "Internal")?;
    check(&world, &Holder { id: 1, held: vec![Internal::Unit] }, "Holder")?;
    check(&world, &Adjacent::Unit, "Adjacent")?;
    let rest = BTreeMap::from([("k".to_owned(), 2)]);
    check(&world, &vec![WithMap { id: 1, rest }], "WithMap")
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_type_that_needs_kinds_in_the_message_is_an_error_and_the_next_message_arrives(
    world: Comm,
) -> Result<()> {
    fn check<T: Sample>(world: &Comm, value: &T) -> Result<()> {
        let rank = world.rank();
        let sending = world.isend_object(value, rank)?;
        let error = world.recv_object::<T>(rank).expect_err("it asks what comes");
        sending.wait()?;
        let text = error.to_string();
        assert!(error.is_type_mismatch() && text.contains("SelfDescribing"), "{text}");
        assert!(!text.contains("damaged"), "{text}");
        around::<SelfDescribing, _>(world, value)?;
        around::<Bincode, _>(world, &"all is well".to_owned())
    }
    check(&world, &Untagged::Texts(vec!["x".into()]))?;
    check(&world, &vec![Untagged::Named { x: 1 }, Untagged::Other { y: 1, z: None }])?;
    check(&world, &serde_json::json!({"a": [1, null, "x"]}))?;
    check(&world, &rust_decimal::Decimal::new(12345, 3))
}

#[phalanx::test(ranks = [2, 3])]
fn collectives_refuse_such_a_type_where_it_is_sent_and_nobody_waits(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let value = || Untagged::Named { x: 1 };
    let given = |root: usize| (rank == root).then(value);
    let refused = |result: Result<()>| {
        let error = result.expect_err("it cannot be received");
        assert!(error.is_encode() && error.to_string().contains("SelfDescribing"), "{error}");
    };
    refused(world.allgather_object(&value()).map(drop));
    assert!(world.allreduce_object(value(), |a, _| a).is_err());
    refused(world.alltoall_object(&vec![value(); size]).map(drop));
    refused(world.iallgather_object(value())?.wait().map(drop));
    refused(world.sparse_exchange_object([((rank + 1) % size, value())]).map(drop));
    for root in [0, size - 1] {
        let bcast = world.bcast_object::<Untagged>(given(root), root);
        let ibcast = world.ibcast_object::<Untagged>(given(root), root)?.wait();
        if rank == root {
            refused(bcast.map(drop));
            refused(ibcast.map(drop));
        } else {
            assert!(bcast.is_err() && ibcast.is_err());
        }
    }
    assert_eq!(world.allgather_object(&rank)?, (0..size).collect::<Vec<_>>());
    world.barrier()?;
    assert!(world.try_probe(phalanx::any())?.is_none());
    Ok(())
}

#[phalanx::test(ranks = [1, 2])]
fn a_type_of_the_same_name_is_an_error_and_borrowed_paths_and_texts_arrive(
    world: Comm,
) -> Result<()> {
    let rank = world.rank();
    let sending = {
        #[derive(Serialize)]
        struct Alike {
            a: u32,
            b: u32,
        }
        world.isend_object(&Alike { a: 1, b: 2 }, rank)?
    };
    {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Alike {
            x: f64,
        }
        let error = world.recv_object::<Alike>(rank).unwrap_err();
        assert!(error.is_type_mismatch() && error.to_string().contains("same name"), "{error}");
    }
    sending.wait()?;
    let sending = world.isend_object(std::path::Path::new("/tmp/a b"), rank)?;
    assert_eq!(world.recv_object::<PathBuf>(rank)?, PathBuf::from("/tmp/a b"));
    sending.wait()?;
    let sending = world.isend_object(c"text", rank)?;
    assert_eq!(world.recv_object::<CString>(rank)?, CString::from(c"text"));
    sending.wait()?;
    let sending = world.isend_object(std::ffi::OsStr::new("os"), rank)?;
    assert_eq!(world.recv_object::<OsString>(rank)?, OsString::from("os"));
    sending.wait()
}

#[phalanx::test(ranks = [1, 2])]
fn deep_values_arrive_or_are_refused_by_the_sender(world: Comm) -> Result<()> {
    for length in [1, 100, 250, 1_000, 2_000] {
        around::<Bincode, _>(&world, &list(length))?;
        around::<SelfDescribing, _>(&world, &list(length))?;
    }
    around::<Bincode, _>(&world, &fat(500))?;
    // Dropping it would need a larger stack.
    let endless = std::mem::ManuallyDrop::new(list(1_000_000));
    let error = world.send_object(&*endless, world.rank()).unwrap_err();
    assert!(error.is_encode() && error.to_string().contains("nested"), "{error}");
    assert!(world.try_probe(phalanx::any())?.is_none());
    around::<Bincode, _>(&world, &vec![(); 3_000_000])
}
