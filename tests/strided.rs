//! Columns, blocks and other regular patterns of a slice, sent and received without a copy.

use phalanx::prelude::*;
use phalanx::{Payload, RequestSet, Strided, StridedMut};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

fn right(world: &Comm) -> usize {
    (world.rank() + 1) % world.size()
}

fn left(world: &Comm) -> usize {
    (world.rank() + world.size() - 1) % world.size()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Element)]
#[repr(C)]
struct Cell {
    pressure: f64,
    kind: u32,
    count: [u16; 2],
}

fn cell(number: usize) -> Cell {
    let number = number as u16;
    Cell { pressure: f64::from(number) / 2.0, kind: 7, count: [number, number + 1] }
}

/// Every column of a matrix travels to the neighbour, into a row and into a column.
fn columns<T>(world: &Comm, make: impl Fn(usize) -> T) -> phalanx::Result<()>
where
    T: Element + PartialEq + std::fmt::Debug + Default,
{
    const ROWS: usize = 5;
    const COLUMNS: usize = 3;
    let matrix: Vec<T> = (0..ROWS * COLUMNS).map(make).collect();
    for column in 0..COLUMNS {
        let expected: Vec<T> = (0..ROWS).map(|row| matrix[row * COLUMNS + column]).collect();
        let view = Strided::column(&matrix, COLUMNS, column)?;
        let mut row = [T::default(); ROWS];
        let got = world.sendrecv_into(&view, right(world), &mut row, left(world))?;
        assert_eq!((got.len, &row[..]), (ROWS, &expected[..]));

        // From a row into a column of another matrix, whose other columns stay as they were.
        let mut other = vec![T::default(); ROWS * COLUMNS];
        let mut target = StridedMut::column(&mut other, COLUMNS, COLUMNS - 1 - column)?;
        let got = world.sendrecv_into(&expected, right(world), &mut target, left(world))?;
        assert_eq!(got.len, ROWS);
        drop(target);
        for (index, value) in other.into_iter().enumerate() {
            let (row, at) = (index / COLUMNS, index % COLUMNS);
            let filled = at == COLUMNS - 1 - column;
            assert_eq!(value, if filled { expected[row] } else { T::default() });
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn columns_travel_into_rows_and_back(world: Comm) -> phalanx::Result<()> {
    columns(&world, |n| n as f64)?;
    columns(&world, |n| n as u8)?;
    columns(&world, |n| (n as u128) << 100 | 1)?;
    columns(&world, |n| [n as i16, -1, n as i16 + 1])?;
    columns(&world, cell)
}

#[phalanx::test(ranks = [1, 2, 3])]
fn blocks_travel_with_every_operation_that_sends_or_receives(world: Comm) -> phalanx::Result<()> {
    let (right, left) = (right(&world), left(&world));
    let numbers: Vec<u32> = (0..20).collect();
    // A block of 3 × 2 in a matrix of 4 columns, not at its start.
    let block = || Strided::new(&numbers[5..], 3, 2, 4);
    let expected = [5, 6, 9, 10, 13, 14];

    let mut sends = RequestSet::new();
    for tag in 0..5 {
        sends.push(world.isend(expected.to_vec(), to(right).tag(tag))?);
    }
    let mut space = [0; 20];
    for tag in 0..5 {
        let mut target = StridedMut::new(&mut space[5..], 3, 2, 4)?;
        let source = from(left).tag(tag);
        let got = match tag {
            0 => world.recv_into(&mut target, source)?,
            1 => world.probe(source)?.recv_into(&mut target)?,
            2 => world.scope(|s| s.irecv_into(&mut target, source)?.wait())?,
            3 => world.sendrecv_into(&[0; 0], None, &mut target, source)?,
            _ => {
                let got = world.recv_into(&mut target, source)?;
                world.sendrecv_replace_block(&mut target)?;
                got
            }
        };
        assert_eq!((got.source, got.tag, got.len), (Some(left), tag, 6));
        drop(target);
        let filled: Vec<u32> = space.iter().copied().filter(|&n| n != 0).collect();
        assert_eq!(filled, expected, "tag {tag}");
        assert_eq!(space[5..7], [5, 6]);
        space = [0; 20];
    }
    sends.wait_all()?;

    phalanx::attach_buffer(1 << 12)?;
    let receives: RequestSet<_> = (0..4)
        .map(|tag| world.irecv_into(vec![0; 6], from(left).tag(tag)))
        .collect::<phalanx::Result<_>>()?;
    world.barrier()?;
    world.send(&block()?, right)?;
    world.ssend(&block()?, to(right).tag(1))?;
    world.bsend(&block()?, to(right).tag(2))?;
    let view = block()?;
    world.scope(|s| s.isend(&view, to(right).tag(3)).map(drop))?;
    for (data, _) in receives.wait_all()? {
        assert_eq!(data, expected);
    }
    phalanx::detach_buffer()
}

/// What takes and gives the same pattern.
trait Swap {
    fn sendrecv_replace_block(&self, target: &mut StridedMut<'_, u32>) -> phalanx::Result<()>;
}

impl Swap for Comm {
    fn sendrecv_replace_block(&self, target: &mut StridedMut<'_, u32>) -> phalanx::Result<()> {
        let mut copy = [0_u32; 6];
        let me = self.rank();
        self.sendrecv_into(&*target, me, &mut copy, me)?;
        assert_eq!(copy, [5, 6, 9, 10, 13, 14]);
        Ok(())
    }
}

#[phalanx::test(ranks = [2, 3])]
fn a_shorter_message_fills_the_first_blocks(world: Comm) -> phalanx::Result<()> {
    let mut space = [0; 9];
    let mut target = StridedMut::new(&mut space, 3, 2, 3)?;
    let got = world.sendrecv_into(&[1, 2, 3], right(&world), &mut target, left(&world))?;
    assert_eq!(got.len, 3);
    drop(target);
    assert_eq!(space, [1, 2, 0, 3, 0, 0, 0, 0, 0]);

    let mut target = StridedMut::new(&mut space, 3, 2, 3)?;
    let result = world.sendrecv_into(&[9; 7], right(&world), &mut target, left(&world));
    assert!(result.expect_err("seven into six").is_truncated());
    drop(target);
    assert_eq!([space[2], space[5], space[8]], [0; 3], "nothing is written between the blocks");
    Ok(())
}

#[phalanx::test(ranks = [1])]
fn patterns_that_are_empty_or_do_not_fit(world: Comm) -> phalanx::Result<()> {
    let me = world.rank();
    let mut numbers = [1, 2, 3, 4, 5, 6];
    for (blocks, length, stride) in [(0, 0, 0), (0, 3, 1), (5, 0, 0), (usize::MAX, 0, usize::MAX)] {
        let view = Strided::new(&numbers, blocks, length, stride)?;
        let mut buffer = [0; 2];
        assert_eq!(world.sendrecv_into(&view, me, &mut buffer, me)?.len, 0);
        let mut view = StridedMut::new(&mut numbers, blocks, length, stride)?;
        assert_eq!(world.sendrecv_into(&[0; 0], me, &mut view, me)?.len, 0);
        let result = world.sendrecv_into(&[0], me, &mut view, me);
        assert!(result.expect_err("one into none").is_truncated());
    }
    let nothing: [i32; 0] = [];
    let view = Strided::column(&nothing, 3, 2)?;
    world.sendrecv_into(&view, me, &mut [0; 1], me)?;

    // These just fit.
    let just = [
        (1, 6, 0),
        (1, 6, 100),
        (2, 3, 3),
        (3, 1, 2),
        (2, 1, 5),
        (1, 4, usize::MAX),
        (1, 1, 1 << 62),
    ];
    for (blocks, length, stride) in just {
        Strided::new(&numbers, blocks, length, stride)?;
        StridedMut::new(&mut numbers, blocks, length, stride)?;
    }
    let outside =
        [(1, 7, 7), (2, 3, 4), (3, 2, 3), (2, 1, 6), (7, 1, 1), (usize::MAX, 1, usize::MAX)];
    let overlapping = [(2, 2, 1), (2, 1, 0), (3, 2, 0)];
    let line = line!() + 3;
    for (blocks, length, stride) in outside.into_iter().chain(overlapping) {
        let errors = [
            Strided::new(&numbers, blocks, length, stride).err(),
            StridedMut::new(&mut numbers, blocks, length, stride).err(),
        ];
        for (error, line) in errors.into_iter().zip(line..) {
            let error = error.expect("it leaves the slice or overlaps");
            assert!(error.is_invalid_length(), "{error}");
            assert_eq!(error.location().line(), line);
            let overlaps = overlapping.contains(&(blocks, length, stride));
            assert_eq!(error.detail().contains("overlap"), overlaps, "{error}");
        }
    }
    for (columns, column) in [(0, 0), (3, 3), (2, usize::MAX), (4, 0)] {
        assert!(Strided::column(&numbers, columns, column).is_err_and(|e| e.is_invalid_length()));
        let result = StridedMut::column(&mut numbers, columns, column);
        assert!(result.is_err_and(|error| error.is_invalid_length()));
    }
    Ok(())
}

/// A number that people give by mistake: small, or near the end of what numbers there are.
fn extreme() -> impl Strategy<Value = usize> {
    prop_oneof![
        0_usize..9,
        (0_usize..3).prop_map(|below| usize::MAX - below),
        (0_usize..64).prop_map(|bit| 1 << bit),
        (0_usize..3).prop_map(|below| isize::MAX as usize - below),
        any::<usize>(),
    ]
}

fn with_every_pattern<T: Element + Default>() {
    let mut runner =
        TestRunner::new(Config { cases: 3000, failure_persistence: None, ..Config::default() });
    let pattern = (extreme(), extreme(), extreme(), 0_usize..20);
    let outcome = runner.run(&pattern, |(blocks, length, stride, available)| {
        let mut elements = vec![T::default(); available];
        let view = Strided::new(&elements, blocks, length, stride);
        let last = (blocks as u128).saturating_sub(1).saturating_mul(stride as u128);
        let fits =
            blocks == 0 || length == 0 || last.saturating_add(length as u128) <= available as u128;
        let overlap = blocks > 1 && stride < length;
        prop_assert_eq!(view.is_ok(), fits && !overlap);
        prop_assert!(view.err().is_none_or(|error| error.is_invalid_length()));
        prop_assert_eq!(
            StridedMut::new(&mut elements, blocks, length, stride).is_ok(),
            fits && !overlap
        );
        let (columns, column) = (length, stride);
        let exists = column < columns && available.is_multiple_of(columns.max(1));
        prop_assert_eq!(Strided::column(&elements, columns, column).is_ok(), exists);
        prop_assert_eq!(StridedMut::column(&mut elements, columns, column).is_ok(), exists);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[phalanx::test(ranks = [1])]
fn no_number_makes_a_view_panic(_world: Comm) {
    with_every_pattern::<u8>();
    with_every_pattern::<u128>();
    with_every_pattern::<[f64; 3]>();
    with_every_pattern::<()>();
}

/// The bytes that a pattern spans are far more than what it sends: a copy would show as memory.
#[phalanx::test(ranks = [2])]
fn a_pattern_is_sent_without_a_copy_of_what_lies_between(world: Comm) -> phalanx::Result<()> {
    fn holds_elements_of<P: Payload>(_: &P) -> usize {
        size_of::<P>()
    }
    const ROWS: usize = 1000;
    const COLUMNS: usize = 1000;
    if world.rank() == 0 {
        let matrix: Vec<f64> = (0..ROWS * COLUMNS).map(|n| n as f64).collect();
        let column = Strided::column(&matrix, COLUMNS, 999)?;
        assert!(holds_elements_of(&column) <= 64, "a view is a few words");
        world.send(&column, 1)?;
    } else {
        let message = world.probe(0)?;
        assert_eq!(message.bytes()?, ROWS * 8);
        let mut matrix = vec![0.0; ROWS * COLUMNS];
        message.recv_into(&mut StridedMut::column(&mut matrix, COLUMNS, 0)?)?;
        assert!((0..ROWS).all(|row| matrix[row * COLUMNS] == (row * COLUMNS + 999) as f64));
        let sum: f64 = matrix.iter().sum();
        assert_eq!(sum, (0..ROWS).map(|row| (row * COLUMNS + 999) as f64).sum());
    }
    Ok(())
}

#[phalanx::test(ranks = [1])]
fn views_in_a_loop_leave_nothing_behind(world: Comm) -> phalanx::Result<()> {
    // Each has an MPI datatype, which MPICH keeps in a table: a leak would end this loop.
    let numbers = [0_u64; 64];
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0)
    };
    let mut after_a_while = 0;
    for round in 0..60_000 {
        let _view = Strided::column(&numbers, 8, round % 8)?;
        if round == 20_000 {
            after_a_while = resident();
        }
    }
    let grown = resident().saturating_sub(after_a_while);
    assert!(grown < 1000, "{grown} pages more for 40000 views");
    world.barrier()
}
