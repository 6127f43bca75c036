//! Reductions: MPI's own operations on every number, minimum and maximum with location, closures of
//! all kinds, in every form.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phalanx::prelude::*;
use phalanx::{Integer, Locatable, Located, MaxLoc, MinLoc, Real, Reduction, RequestSet, Result};

/// Numbers of every type, from small integers.
trait Sample: Real + PartialEq + PartialOrd + Debug {
    fn from_small(number: u8) -> Self;
    fn add(self, other: Self) -> Self;
    fn multiply(self, other: Self) -> Self;
}

trait Bits: Sample + Integer {
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
}

macro_rules! samples {
    ($($integer:ty)* ; $($float:ty)*) => {
        $(
            impl Sample for $integer {
                fn from_small(number: u8) -> Self {
                    number as $integer
                }
                fn add(self, other: Self) -> Self {
                    self.wrapping_add(other)
                }
                fn multiply(self, other: Self) -> Self {
                    self.wrapping_mul(other)
                }
            }
            impl Bits for $integer {
                fn and(self, other: Self) -> Self {
                    self & other
                }
                fn or(self, other: Self) -> Self {
                    self | other
                }
                fn xor(self, other: Self) -> Self {
                    self ^ other
                }
            }
        )*
        $(
            impl Sample for $float {
                fn from_small(number: u8) -> Self {
                    <$float>::from(number)
                }
                fn add(self, other: Self) -> Self {
                    self + other
                }
                fn multiply(self, other: Self) -> Self {
                    self * other
                }
            }
        )*

        fn check_numbers(world: &Comm) -> Result<()> {
            $(check_number::<$integer>(world)?;)*
            $(check_number::<$float>(world)?;)*
            Ok(())
        }

        fn check_integers(world: &Comm) -> Result<()> {
            $(check_integer::<$integer>(world)?;)*
            Ok(())
        }
    };
}

samples!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize; f32 f64);

/// Element `i` of a rank: small, so that sums and products of all ranks are exact in every type.
fn small<T: Sample>(rank: usize, i: usize) -> T {
    T::from_small(((rank + 1) * (i + 1) % 4) as u8)
}

fn smaller<T: PartialOrd>(a: T, b: T) -> T {
    if b < a { b } else { a }
}

fn larger<T: PartialOrd>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

/// The reduction of some ranks in their order.
fn fold<T>(ranks: Range<usize>, value: impl Fn(usize) -> T, f: impl Fn(T, T) -> T) -> T {
    ranks.map(value).reduce(f).expect("at least one rank")
}

/// One operation on an element, an array, a slice and a `Vec`, in the forms to one and to all.
fn check_operation<T: Sample>(
    world: &Comm,
    op: impl Reduction<T> + Copy,
    value: impl Fn(usize, usize) -> T,
    f: impl Fn(T, T) -> T + Copy,
) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let data: Vec<T> = (0..37).map(|i| value(me, i)).collect();
    let expected: Vec<T> = (0..37).map(|i| fold(0..n, |rank| value(rank, i), f)).collect();
    let array: [T; 3] = [data[0], data[1], data[2]];
    let root = n - 1;
    let at_root = (me == root).then(|| expected.clone());

    assert_eq!(world.allreduce(&data, op)?, expected);
    assert_eq!(world.allreduce(&data[1..4], op)?, expected[1..4]);
    assert_eq!(world.allreduce(&array, op)?[..], expected[..3]);
    assert_eq!(world.allreduce(&Vec::<T>::new(), op)?, []);
    assert_eq!(world.reduce(&data, op, root)?, at_root);
    Ok(())
}

/// The operation on single elements, which every type spells for itself.
macro_rules! check_scalars {
    ($world:expr, $($type:ty)*) => {
        $({
            let (n, me) = ($world.size(), $world.rank());
            let sum = fold(0..n, |rank| small::<$type>(rank, 0), Sample::add);
            assert_eq!($world.allreduce(&small::<$type>(me, 0), Sum)?, sum);
            assert_eq!($world.reduce(&small::<$type>(me, 0), Sum, 0)?, (me == 0).then_some(sum));
            assert_eq!($world.iallreduce(small::<$type>(me, 0), Sum)?.wait()?, sum);
        })*
    };
}

fn check_number<T: Sample>(world: &Comm) -> Result<()> {
    check_operation(world, Sum, small::<T>, T::add)?;
    check_operation(world, Product, small::<T>, T::multiply)?;
    check_operation(world, Min, small::<T>, smaller)?;
    check_operation(world, Max, small::<T>, larger)
}

fn check_integer<T: Bits>(world: &Comm) -> Result<()> {
    let (no, yes) = (T::from_small(0), T::from_small(1));
    let truth = |b: bool| if b { yes } else { no };
    let bits = |rank: usize, i: usize| T::from_small((rank * 37 + i * 11 + 3) as u8 & 0x7f);
    check_operation(world, BitAnd, bits, T::and)?;
    check_operation(world, BitOr, bits, T::or)?;
    check_operation(world, BitXor, bits, T::xor)?;
    // The logical ones give 0 or 1, even where only one rank has something to say.
    let flag = |rank: usize, i: usize| truth(rank.is_multiple_of(i + 1));
    check_operation(world, LogicalAnd, flag, |a, b| truth(a != no && b != no))?;
    check_operation(world, LogicalOr, flag, |a, b| truth(a != no || b != no))?;
    check_operation(world, LogicalXor, flag, |a, b| truth((a != no) != (b != no)))
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn builtin_operations_reduce_every_number_type(world: Comm) -> Result<()> {
    check_numbers(&world)?;
    check_integers(&world)?;
    check_scalars!(world, i8 i16 i32 i64 isize u8 u16 u32 u64 usize f32 f64);

    // Integers wrap; arrays of arrays are reduced number by number; infinities stay.
    let n = world.size();
    let wrapped = (0..n).fold(0_u8, |sum, _| sum.wrapping_add(200));
    assert_eq!(world.allreduce(&200_u8, Sum)?, wrapped);
    assert_eq!(
        world.allreduce(&[[1_u32, 2], [3, 4]], Sum)?,
        [[1, 2], [3, 4]].map(|row| row.map(|x| x * n as u32))
    );
    assert_eq!(world.allreduce(&f64::INFINITY, Max)?, f64::INFINITY);
    assert_eq!(world.allreduce(&-0.5_f32, Min)?, -0.5);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn every_form_of_a_reduction_gives_the_same_at_every_root(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    for len in [0, 1, 5, 4000] {
        let data: Vec<u64> = (0..len).map(|i| (i + 100 * me) as u64).collect();
        let sums: Vec<u64> =
            (0..len).map(|i| fold(0..n, |rank| (i + 100 * rank) as u64, |a, b| a + b)).collect();

        let mut buffer = vec![9; len];
        world.allreduce_into(&data, &mut buffer, Sum)?;
        assert_eq!(buffer, sums, "allreduce_into of {len}");
        let mut buffer = data.clone();
        world.allreduce_in_place(&mut buffer, Sum)?;
        assert_eq!(buffer, sums, "allreduce_in_place of {len}");
        assert_eq!(world.iallreduce(data.clone(), Sum)?.wait()?, sums, "iallreduce of {len}");

        for root in 0..n {
            let at_root = (me == root).then(|| sums.clone());
            assert_eq!(world.reduce(&data, Sum, root)?, at_root, "reduce of {len} at {root}");
            assert_eq!(world.ireduce(data.clone(), Sum, root)?.wait()?, at_root);
            let mut buffer = vec![9; len];
            world.reduce_into(&data, (me == root).then_some(&mut buffer[..]), Sum, root)?;
            assert_eq!(buffer, at_root.clone().unwrap_or(vec![9; len]));
            let mut buffer = data.clone();
            world.reduce_in_place(&mut buffer, Sum, root)?;
            assert_eq!(buffer, at_root.unwrap_or_else(|| data.clone()), "others keep theirs");
        }
    }
    let boxed: Box<[f32]> = world.allreduce(&vec![0.5_f32; 3].into_boxed_slice(), Sum)?;
    assert_eq!(boxed[..], [0.5 * n as f32; 3]);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn scans_reduce_the_ranks_up_to_this_one(world: Comm) -> Result<()> {
    let me = world.rank();
    let value = |rank: usize, i: usize| (rank * rank + i) as i64;
    let upto = |end: usize, len: usize| -> Vec<i64> {
        (0..len).map(|i| (0..end).map(|rank| value(rank, i)).sum()).collect()
    };
    for len in [0, 1, 3, 2000] {
        let data: Vec<i64> = (0..len).map(|i| value(me, i)).collect();
        let (with, before) = (upto(me + 1, len), (me > 0).then(|| upto(me, len)));
        assert_eq!(world.scan(&data, Sum)?, with, "scan of {len}");
        assert_eq!(world.iscan(data.clone(), Sum)?.wait()?, with, "iscan of {len}");
        assert_eq!(world.exscan(&data, Sum)?, before, "exscan of {len}");
        assert_eq!(world.iexscan(data.clone(), Sum)?.wait()?, before, "iexscan of {len}");
        let mut buffer = data.clone();
        world.scan_in_place(&mut buffer, Sum)?;
        assert_eq!(buffer, with);
        let mut buffer = data;
        world.exscan_in_place(&mut buffer, Sum)?;
        if let Some(before) = before {
            assert_eq!(buffer, before);
        }
    }
    assert_eq!(world.scan(&me, Max)?, me);
    assert_eq!(world.exscan(&me, Max)?, me.checked_sub(1));
    // A closure too, in the order of the ranks.
    let text = world.scan(&Text::of(me), op(Text::append))?;
    assert_eq!(text, Text::of_ranks(0..me + 1));
    let text = world.exscan(&Text::of(me), op(Text::append))?;
    assert_eq!(text, (me > 0).then(|| Text::of_ranks(0..me)));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn reduce_scatter_gives_every_rank_its_part_of_the_result(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let value = |rank: usize, i: usize| (i as u32) * 3 + rank as u32;
    let sum = |i: usize| fold(0..n, |rank| value(rank, i), |a, b| a + b);
    for shape in [|_: usize| 0_usize, |_| 1, |rank| rank, |rank| 700 * (rank % 2), |_| 40] {
        let counts: Vec<usize> = (0..n).map(shape).collect();
        let start: usize = counts[..me].iter().sum();
        let data: Vec<u32> = (0..counts.iter().sum()).map(|i| value(me, i)).collect();
        let expected: Vec<u32> = (start..start + counts[me]).map(sum).collect();
        assert_eq!(world.reduce_scatter(&data, &counts, Sum)?, expected, "{counts:?}");
        let mut part = vec![5; counts[me]];
        world.reduce_scatter_into(&data, &mut part, &counts, Sum)?;
        assert_eq!(part, expected, "{counts:?}");
        let part = world.ireduce_scatter(data.clone(), &counts, Sum)?.wait()?;
        assert_eq!(part, expected, "{counts:?}");
        let closure = op(|a: u32, b| a + b);
        assert_eq!(world.reduce_scatter(&data, &counts, closure)?, expected, "{counts:?}");
    }
    for each in [0, 1, 900] {
        let data: Vec<u32> = (0..n * each).map(|i| value(me, i)).collect();
        let expected: Vec<u32> = (me * each..(me + 1) * each).map(sum).collect();
        assert_eq!(world.reduce_scatter_block(&data, Sum)?, expected, "{each} each");
        let mut part = vec![5; each];
        world.reduce_scatter_block_into(&data, &mut part, Sum)?;
        assert_eq!(part, expected, "{each} each");
        let part = world.ireduce_scatter_block(data.clone(), Sum)?.wait()?;
        assert_eq!(part, expected, "{each} each");
    }
    // Counts are elements, also where an element is several numbers or a closure sees it whole.
    let rows: Vec<[f64; 3]> = (0..2 * n).map(|i| [i as f64, 1.0, me as f64]).collect();
    let ranks = (n * (n - 1) / 2) as f64;
    let expected: Vec<[f64; 3]> =
        (2 * me..2 * me + 2).map(|i| [(i * n) as f64, n as f64, ranks]).collect();
    assert_eq!(world.reduce_scatter_block(&rows, Sum)?, expected);
    assert_eq!(world.reduce_scatter(&rows, &vec![2; n], Sum)?, expected);
    let add = |a: [f64; 3], b: [f64; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
    assert_eq!(world.reduce_scatter_block(&rows, op(add))?, expected);
    assert_eq!(world.ireduce_scatter(rows, &vec![2; n], op(add).commutative())?.wait()?, expected);
    Ok(())
}

fn check_located<T: Locatable + Debug>(world: &Comm, number: impl Fn(i8) -> T) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    // A valley: the ranks in the middle are lowest, and two of them may be equal.
    let height = |rank: usize| (2 * rank as i8 - n as i8 + 1).abs();
    let lowest = (0..n).min_by_key(|&rank| height(rank)).expect("a rank");
    let here = Located::new(number(height(me)), me);
    let least = world.allreduce(&here, MinLoc)?;
    assert_eq!((least.value, least.index()), (number(height(lowest)), lowest));
    let most = world.allreduce(&here, MaxLoc)?;
    assert_eq!((most.value, most.index()), (number(height(0)), 0), "both ends are equal");

    // Of equal values the lowest index counts, whichever rank it comes from.
    let place = 10 * (n - me);
    let same = Located::new(number(1), place);
    assert_eq!(world.allreduce(&same, MinLoc)?.index(), 10);
    assert_eq!(world.allreduce(&same, MaxLoc)?.index(), 10);

    let many: Vec<Located<T>> =
        (0..50).map(|i| Located::new(number((i + me) as i8 % 5), me)).collect();
    let found = world.reduce(&many, MaxLoc, 0)?;
    assert_eq!(found.is_some(), me == 0);
    for (i, found) in found.into_iter().flatten().enumerate() {
        let highest = (0..n).map(|rank| (i + rank) % 5).max().expect("a rank");
        let first = (0..n).find(|rank| (i + rank) % 5 == highest).expect("a rank");
        assert_eq!((found.value, found.index()), (number(highest as i8), first), "place {i}");
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn minimum_and_maximum_say_where_they_come_from(world: Comm) -> Result<()> {
    check_located(&world, i32::from)?;
    check_located(&world, i64::from)?;
    check_located(&world, |x| x as isize)?;
    check_located(&world, |x| x as u32)?;
    check_located(&world, |x| x as u64)?;
    check_located(&world, |x| x as usize)?;
    check_located(&world, f32::from)?;
    check_located(&world, f64::from)?;

    // NaN is never the answer while there is a number, and the lowest index where there is none.
    let (n, me) = (world.size(), world.rank());
    let value = if me == n - 1 { -3.0 } else { f64::NAN };
    for found in [
        world.allreduce(&Located::new(value, me), MinLoc)?,
        world.allreduce(&Located::new(value, me), MaxLoc)?,
    ] {
        assert_eq!((found.value, found.index()), (-3.0, n - 1));
    }
    let none = world.allreduce(&Located::new(f32::NAN, me + 5), MinLoc)?;
    assert!(none.value.is_nan() && none.index() == 5, "{none:?}");
    assert_eq!(Located::new(1.0_f32, usize::MAX).index(), u32::MAX as usize);
    assert_eq!(Located::new(1.0_f64, usize::MAX).index(), usize::MAX);
    Ok(())
}

type Matrix = [[u64; 2]; 2];

fn matrix(rank: usize, i: usize) -> Matrix {
    [[1, rank as u64 + 1], [i as u64 % 3, 1]]
}

/// Not commutative, and exact: numbers wrap.
fn times(a: Matrix, b: Matrix) -> Matrix {
    let cell = |row: usize, column: usize| {
        (0..2).fold(0_u64, |sum, k| sum.wrapping_add(a[row][k].wrapping_mul(b[k][column])))
    };
    [[cell(0, 0), cell(0, 1)], [cell(1, 0), cell(1, 1)]]
}

/// Letters that are put one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Text {
    letters: [u8; 15],
    len: u8,
}

impl Text {
    fn of(rank: usize) -> Text {
        let mut letters = [0; 15];
        letters[0] = b'a' + rank as u8;
        Text { letters, len: 1 }
    }

    fn of_ranks(ranks: Range<usize>) -> Text {
        fold(ranks, Text::of, Text::append)
    }

    fn append(mut self, other: Text) -> Text {
        for &letter in &other.letters[..other.len as usize] {
            self.letters[self.len as usize] = letter;
            self.len += 1;
        }
        self
    }
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5, 7])]
fn a_closure_that_does_not_commute_sees_the_ranks_in_their_order(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    for len in [1, 2, 300, 5000] {
        let data: Vec<Matrix> = (0..len).map(|i| matrix(me, i)).collect();
        let expected: Vec<Matrix> =
            (0..len).map(|i| fold(0..n, |rank| matrix(rank, i), times)).collect();
        assert_eq!(world.allreduce(&data, op(times))?, expected, "{len} matrices");
        assert_eq!(world.iallreduce(data.clone(), op(times))?.wait()?, expected);
        let mut buffer = data.clone();
        world.allreduce_in_place(&mut buffer, op(times))?;
        assert_eq!(buffer, expected, "{len} matrices in place");
        for root in 0..n {
            let at_root = (me == root).then(|| expected.clone());
            assert_eq!(world.reduce(&data, op(times), root)?, at_root, "{len} matrices at {root}");
            assert_eq!(world.ireduce(data.clone(), op(times), root)?.wait()?, at_root);
            let mut buffer = data.clone();
            world.reduce_in_place(&mut buffer, op(times), root)?;
            assert_eq!(buffer, at_root.unwrap_or_else(|| data.clone()), "in place at {root}");
        }
    }
    for root in 0..n {
        let text = world.reduce(&Text::of(me), op(Text::append), root)?;
        assert_eq!(text, (me == root).then(|| Text::of_ranks(0..n)));
    }
    assert_eq!(world.allreduce(&Text::of(me), op(Text::append))?, Text::of_ranks(0..n));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn a_closure_sees_whole_elements_however_large_the_buffer_is(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    // Seven numbers an element, so that no piece of a power of two holds whole elements; more
    // bytes than any library sends or reduces at once.
    let len = 60_000;
    let element = |rank: usize, i: usize| -> [u16; 7] {
        std::array::from_fn(|k| (rank * 5 + i * 7 + k) as u16)
    };
    fn add(a: [u16; 7], b: [u16; 7]) -> [u16; 7] {
        std::array::from_fn(|k| a[k].wrapping_add(b[k]))
    }
    let data: Vec<[u16; 7]> = (0..len).map(|i| element(me, i)).collect();
    let sum = |i: usize| fold(0..n, |rank| element(rank, i), add);
    let check = |result: &[[u16; 7]]| {
        assert_eq!(result.len(), len);
        for (i, found) in result.iter().enumerate() {
            assert_eq!(*found, sum(i), "element {i}");
        }
    };
    // The numbers of an element rise evenly, and so do those of a sum: a torn one is seen.
    let whole = |a: [u16; 7], b: [u16; 7]| {
        let is_whole =
            |x: &[u16; 7]| (1..6).all(|k| x[k + 1].wrapping_sub(x[k]) == x[1].wrapping_sub(x[0]));
        assert!(is_whole(&a) && is_whole(&b), "torn: {a:?} {b:?}");
        add(a, b)
    };
    check(&world.allreduce(&data, op(whole))?);
    check(&world.allreduce(&data, op(whole).commutative())?);
    check(&world.iallreduce(data.clone(), op(whole))?.wait()?);
    if let Some(result) = world.reduce(&data, op(whole).commutative(), n - 1)? {
        check(&result);
    }
    let mut buffer = data.clone();
    world.allreduce_in_place(&mut buffer, op(whole).commutative())?;
    check(&buffer);

    // The same for structs.
    let particles: Vec<Text> = vec![Text::of(me); 20_000];
    let expected = Text::of_ranks(0..n);
    assert!(world.allreduce(&particles, op(Text::append))?.iter().all(|it| *it == expected));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn closures_capture_and_are_dropped_when_their_reduction_is_over(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let modulus = 97;
    let product =
        world.allreduce(&(me as u64 + 2), op(move |a, b| a * b % modulus).commutative())?;
    assert_eq!(product, fold(0..n, |rank| rank as u64 + 2, |a, b| a * b % modulus));

    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let longest = world.allreduce(
        &[me as f64, -(me as f64)],
        op(move |a: f64, b: f64| {
            counted.fetch_add(1, Ordering::Relaxed);
            a.max(b)
        }),
    )?;
    assert_eq!(longest, [(n - 1) as f64, 0.0]);
    let all_calls = world.allreduce(&calls.load(Ordering::Relaxed), Sum)?;
    assert!(all_calls >= 2 * (n - 1), "{all_calls} calls of the closure");
    assert_eq!(Arc::strong_count(&calls), 1, "the closure is gone");

    // Many more than there are slots, one after the other.
    for round in 0..200_u32 {
        let sum = world.allreduce(&round, op(move |a, b| a + b + round))?;
        assert_eq!(sum, round * n as u32 + round * (n as u32 - 1));
    }
    // An array of numbers as one element of a closure: the largest row.
    let rows: Vec<[f32; 4]> = vec![[me as f32; 4], [-(me as f32), 1.0, 2.0, 3.0]];
    let by_first = |a: [f32; 4], b: [f32; 4]| if b[0] > a[0] { b } else { a };
    let best = world.allreduce(&rows, op(by_first))?;
    assert_eq!(best, [[(n - 1) as f32; 4], [0.0, 1.0, 2.0, 3.0]]);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4])]
fn more_pending_closures_than_there_are_slots_is_an_error_and_all_complete(
    world: Comm,
) -> Result<()> {
    let n = world.size() as u64;
    let mut pending = RequestSet::new();
    let error = loop {
        let add = pending.pending() as u64;
        assert!(add <= 1000, "there is no end of slots");
        match world.iallreduce(vec![1_u64; 3], op(move |a, b| a + b + add)) {
            Ok(request) => pending.push(request),
            Err(error) => break error,
        };
    };
    assert!(error.is_in_use(), "{error}");
    assert!(error.to_string().contains("64"), "{error}");
    assert_eq!(pending.pending(), 64);
    let sum = |add: u64| vec![n + add * (n - 1); 3];

    // A blocking one finds no slot either; the predefined ones need none.
    assert!(world.allreduce(&1_u64, op(|a, b| a + b)).is_err_and(|error| error.is_in_use()));
    assert_eq!(world.allreduce(&1_u64, Sum)?, n);

    let (first, result) = pending.wait_any()?.expect("64 are pending");
    assert_eq!(result, sum(first as u64));
    // Now there is room for one, in the middle of all the others: each has its own captures.
    assert_eq!(world.allreduce(&2_u64, op(|a, b| a + b - 1))?, n + 1);
    while let Some((which, result)) = pending.wait_any()? {
        assert_eq!(result, sum(which as u64), "request {which}");
    }
    // A dropped request gives its slot back too, once it is complete.
    for _ in 0..100 {
        drop(world.iallreduce(1_u64, op(|a, b| a + b))?);
        world.barrier()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 4])]
fn reductions_with_closures_nest_in_flight_and_in_each_other(world: Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let outer = world.iallreduce(vec![Text::of(me); 3000], op(Text::append))?;
    let middle = world.iscan(me, op(|a: usize, b| a.max(b)).commutative())?;
    let product = fold(0..n, |rank| matrix(rank, 1), times);
    assert_eq!(world.allreduce(&[matrix(me, 1)], op(times))?, [product]);
    // A closure made of a closure.
    let less = 3;
    let sum = move |a: i32, b: i32| a + b - less;
    let checked = move |a: i32, b: i32| if a > b { sum(a, b) } else { sum(b, a) };
    let expected = fold(0..n, |_| 10, checked);
    assert_eq!(world.reduce(&10, op(checked), 0)?, (me == 0).then_some(expected));
    assert_eq!(middle.wait()?, me);
    assert!(outer.wait()?.iter().all(|it| *it == Text::of_ranks(0..n)));
    Ok(())
}

#[phalanx::test(ranks = [2, 4])]
#[should_panic(expected = "the closure cannot go on")]
fn a_panic_in_a_closure_ends_the_job_with_its_message(world: Comm) {
    let _ = world.allreduce(
        &1,
        op(|a: i32, b: i32| if a + b > 0 { panic!("the closure cannot go on") } else { 0 }),
    );
    world.barrier().unwrap();
}

#[phalanx::test(ranks = [2, 3])]
#[should_panic(expected = "the closure cannot go on later")]
fn a_panic_in_a_closure_of_a_pending_reduction_comes_out_of_its_wait(world: Comm) {
    let sum =
        world.iallreduce(vec![1; 5], op(|_: i32, _| panic!("the closure cannot go on later")));
    let _ = sum.unwrap().wait();
    world.barrier().unwrap();
}

#[phalanx::test(ranks = 1)]
fn one_rank_has_nothing_to_combine(world: Comm) -> Result<()> {
    let never = op(|_: u8, _: u8| panic!("one rank has nothing to combine"));
    assert_eq!(world.allreduce(&5_u8, never)?, 5);
    assert_eq!(world.exscan(&5_u8, Sum)?, None);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_closure_that_calls_mpi_gets_an_error_and_the_reduction_goes_on(
    world: Comm,
) -> phalanx::Result<()> {
    let comm = world.clone();
    let refused = op(move |a: i32, b: i32| {
        let error = comm.send(&1, 0).unwrap_err();
        assert!(error.is_thread(), "{error}");
        a + b
    });
    assert_eq!(world.allreduce(&1, refused)? as usize, world.size());
    world.barrier()
}
