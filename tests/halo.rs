//! Ghost cells of blocks on grids of ranks, against a global array that each rank computes for itself;
//! and what wrong use does.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use phalanx::prelude::*;
use phalanx::{Cart, Corners, Halo, HaloExchange, Interior, ShiftRanks, dims_create};

/// Numbers that look random and are the same on all ranks.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % limit
    }
}

/// A problem that is shared out unevenly.
struct Case {
    dims: Vec<usize>,
    periods: Vec<bool>,
    widths: Vec<(usize, usize)>,
    /// For each dimension the interiors along it.
    lengths: Vec<Vec<usize>>,
    corners: Corners,
}

impl Case {
    fn random(seed: u64, ranks: usize) -> phalanx::Result<Self> {
        let mut random = Random::new(seed);
        let dimensions = 1 + random.below(3);
        let mut dims = dims_create(ranks, &vec![0; dimensions])?;
        dims.rotate_left(random.below(dimensions));
        let periods = (0..dimensions).map(|_| random.below(2) == 1).collect();
        let widths: Vec<(usize, usize)> =
            (0..dimensions).map(|_| (random.below(3), random.below(4))).collect();
        let lengths = dims
            .iter()
            .zip(&widths)
            .map(|(&dim, &(before, after))| {
                (0..dim).map(|_| before.max(after).max(1) + random.below(4)).collect()
            })
            .collect();
        let corners = if random.below(4) == 0 { Corners::Skip } else { Corners::Fill };
        Ok(Case { dims, periods, widths, lengths, corners })
    }

    /// The cells of a dimension on all ranks.
    fn total(&self, dimension: usize) -> usize {
        self.lengths[dimension].iter().sum()
    }

    fn interior(&self, cart: &Cart) -> Vec<usize> {
        cart.coords().iter().zip(&self.lengths).map(|(&at, lengths)| lengths[at]).collect()
    }

    /// The number of the cell in the global array, if there is one there.
    fn global(&self, cart: &Cart, cell: &[isize]) -> Option<usize> {
        let mut number = 0;
        for (dimension, &at) in cell.iter().enumerate() {
            let origin: usize = self.lengths[dimension][..cart.coords()[dimension]].iter().sum();
            let total = self.total(dimension) as isize;
            let at = origin as isize + at;
            if !(0..total).contains(&at) && !self.periods[dimension] {
                return None;
            }
            number = number * total + at.rem_euclid(total);
        }
        Some(number as usize)
    }
}

/// Every cell of a block with its ghost cells, as `Halo::index` counts them, in the order of memory.
fn cells(interior: &[usize], widths: &[(usize, usize)]) -> Vec<Vec<isize>> {
    let mut cells = vec![Vec::new()];
    for (&length, &(before, after)) in interior.iter().zip(widths) {
        let range = -(before as isize)..(length + after) as isize;
        cells = cells
            .iter()
            .flat_map(|cell: &Vec<isize>| range.clone().map(|at| [&cell[..], &[at]].concat()))
            .collect();
    }
    cells
}

/// In how many dimensions a cell is outside of the interior.
fn outside(cell: &[isize], interior: &[usize]) -> usize {
    cell.iter().zip(interior).filter(|&(&at, &length)| !(0..length as isize).contains(&at)).count()
}

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Fluid {
    pressure: f64,
    velocity: [f32; 3],
    kind: u32,
}

fn fluid(number: usize) -> Fluid {
    Fluid { pressure: number as f64, velocity: [1.0, -0.5, number as f32], kind: 7 }
}

#[derive(Clone, Copy)]
enum Form {
    Exchange,
    While,
    Start,
}

fn check<T>(world: &Comm, seed: u64, make: impl Fn(usize) -> T) -> phalanx::Result<()>
where
    T: Element + PartialEq + Debug,
{
    let case = Case::random(seed, world.size())?;
    let cart = world.cart(&case.dims, &case.periods)?.expect("every rank fits");
    let interior = case.interior(&cart);
    let halo: Halo<T> = cart.halo_with(&interior, &case.widths, case.corners)?;
    let everywhere = cells(&interior, &case.widths);
    assert_eq!(everywhere.len(), halo.len());
    let untouched = make(60_000);
    for form in [Form::Exchange, Form::While, Form::Start] {
        let mut array = vec![untouched; halo.len()];
        for (index, cell) in everywhere.iter().enumerate() {
            assert_eq!(halo.index(cell), index);
            if outside(cell, &interior) == 0 {
                array[index] = make(case.global(&cart, cell).expect("the interior exists"));
            }
        }
        let before = array.clone();
        let work = |view: &Interior<'_, T>| {
            assert_eq!(view.shape(), interior);
            for cell in everywhere.iter().filter(|cell| outside(cell, &interior) == 0) {
                let inside: Vec<usize> = cell.iter().map(|&at| at as usize).collect();
                assert_eq!(view.get(&inside), before[halo.index(cell)]);
            }
        };
        match form {
            Form::Exchange => halo.exchange(&mut array)?,
            Form::While => halo.exchange_while(&mut array, work)?,
            Form::Start => {
                let address = array.as_ptr();
                let exchange = halo.start(array)?;
                work(&exchange.interior());
                array = exchange.finish()?;
                assert_eq!(array.as_ptr(), address, "nothing was copied");
            }
        }
        for (index, cell) in everywhere.iter().enumerate() {
            let reached = match outside(cell, &interior) {
                0 | 1 => true,
                _ => case.corners == Corners::Fill,
            };
            let there = case.global(&cart, cell).filter(|_| reached);
            let expected = there.map_or(untouched, &make);
            assert_eq!(array[index], expected, "seed {seed}: {cell:?} of {halo:?}");
        }
    }
    drop(halo);
    cart.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6], timeout = "180s")]
fn ghost_cells_of_any_block_are_what_the_neighbours_have(world: Comm) -> phalanx::Result<()> {
    for seed in 0..60 {
        check(&world, seed, |number| number as u64)?;
    }
    for seed in 60..75 {
        check(&world, seed, |number| number as f32 / 2.0)?;
        check(&world, seed, |number| [number as u8, (number / 256) as u8, 9])?;
        check(&world, seed, fluid)?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn faces_too_large_for_any_buffer_do_not_wait_for_each_other(world: Comm) -> phalanx::Result<()> {
    const WIDE: usize = 200_000;
    let ring = world.cart(&[0, 1], &[true, true])?.expect("every rank fits");
    let halo = ring.halo::<f64>(&[3, WIDE], &[2, 1])?;
    let mut block = vec![ring.rank() as f64; halo.len()];
    for _ in 0..3 {
        halo.exchange(&mut block)?;
    }
    let n = ring.size();
    let (north, south) = ((ring.rank() + n - 1) % n, (ring.rank() + 1) % n);
    for column in [-1, 0, 77, WIDE as isize] {
        assert_eq!(block[halo.index(&[-2, column])], north as f64);
        assert_eq!(block[halo.index(&[4, column])], south as f64);
    }
    drop(halo);
    ring.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn two_halos_and_messages_of_the_program_do_not_meet(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let (narrow, wide) = (ring.halo::<u32>(&[4], &[1])?, ring.halo::<u32>(&[4], &[3])?);
    let ShiftRanks { to: right, from: left } = ring.shift_ranks(0, 1)?;
    for round in 0..50 {
        let mine = 100 * round + ring.rank() as u32;
        let sending = ring.isend(mine, right)?;
        let (mut a, mut b) = (vec![mine; narrow.len()], vec![mine + 50; wide.len()]);
        narrow.exchange_while(&mut a, |_| wide.exchange(&mut b))??;
        // A receive of anything gets the message of the program.
        let got: Vec<u32> = ring.recv(any())?;
        let theirs = 100 * round + left.expect("a ring") as u32;
        assert_eq!(got, [theirs]);
        assert_eq!((a[0], b[0], b[2]), (theirs, theirs + 50, theirs + 50));
        sending.wait()?;
    }
    drop((narrow, wide));
    ring.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6], strict, timeout = "180s")]
fn strict_ghost_cells_are_what_the_neighbours_have(world: Comm) -> phalanx::Result<()> {
    for seed in 0..8 {
        check(&world, seed, fluid)?;
    }
    Ok(())
}

/// The work of another function: the sum over the interior of a row of cells.
fn sum(exchange: &HaloExchange<'_, u64>) -> u64 {
    exchange.interior().row(&[]).iter().sum()
}

/// Two arrays of one halo and one of another, finished in an order of each rank's own.
fn several_in_flight(world: &Comm, periodic: bool, length: usize) -> phalanx::Result<()> {
    let line = world.cart(&[0], &[periodic])?.expect("every rank fits");
    let (halo, wide) = (line.halo::<u64>(&[length], &[1])?, line.halo::<u64>(&[length], &[3])?);
    let ShiftRanks { to: right, from: left } = line.shift_ranks(0, 1)?;
    const OUTSIDE: u64 = 1 << 40;
    let fill = |halo: &Halo<u64>, number: u64| {
        let mut cells = vec![OUTSIDE; halo.len()];
        let first = halo.index(&[0]);
        cells[first..first + length].fill(number);
        cells
    };
    for round in 0..20 {
        let number = |rank: usize, array: u64| 100 * round + 10 * rank as u64 + array;
        let mine = |array| number(line.rank(), array);
        let mut flights = Vec::new();
        for (array, halo) in [(0, &halo), (1, &halo), (2, &wide)] {
            flights.push((array, halo, halo.start(fill(halo, mine(array)))?));
        }
        let own = flights.len();
        flights.rotate_left((line.rank() + round as usize) % own);
        if line.rank() % 2 == 1 {
            flights.swap(0, 1);
        }
        for (array, halo, mut exchange) in flights {
            assert_eq!(sum(&exchange), mine(array) * length as u64);
            while array == 1 && !exchange.test()? {
                assert_eq!(sum(&exchange), mine(array) * length as u64);
            }
            let cells = exchange.finish()?;
            let expected = |rank: Option<usize>| rank.map_or(OUTSIDE, |rank| number(rank, array));
            assert_eq!(cells[halo.index(&[-1])], expected(left));
            assert_eq!(cells[halo.index(&[length as isize])], expected(right));
            assert_eq!(cells[halo.index(&[0])], mine(array));
        }
    }
    drop((halo, wide));
    line.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 6], timeout = "120s")]
fn several_started_exchanges_do_not_meet(world: Comm) -> phalanx::Result<()> {
    for periodic in [false, true] {
        several_in_flight(&world, periodic, 5)?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4], strict, timeout = "120s")]
fn strict_several_started_exchanges_do_not_meet(world: Comm) -> phalanx::Result<()> {
    for periodic in [false, true] {
        several_in_flight(&world, periodic, 5)?;
    }
    Ok(())
}

/// The even ranks give up exchanges of large and small faces: the first goes on, the second is forgotten,
/// and the neighbours and the next exchange see nothing of it.
fn given_up(world: &Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0, 1], &[true, false])?.expect("every rank fits");
    let n = ring.size();
    let (north, south) = ((ring.rank() + n - 1) % n, (ring.rank() + 1) % n);
    for width in [3, 50_000] {
        for round in 0..10 {
            let halo = ring.halo::<usize>(&[2, width], &[1, 0])?;
            let block = |by| vec![ring.rank() + by; halo.len()];
            let check = |cells: Vec<usize>, by| {
                assert_eq!(cells[halo.index(&[-1, 1])], north + by);
                assert_eq!(cells[halo.index(&[2, width as isize - 1])], south + by);
            };
            for by in [round, round + 100] {
                let exchange = halo.start(block(by))?;
                match (ring.rank() % 2, by < 100) {
                    (0, true) => drop(exchange),
                    (0, false) => std::mem::forget(exchange),
                    _ => check(exchange.finish()?, by),
                }
            }
            check(halo.start(block(200))?.finish()?, 200);
            let mut last = block(300);
            halo.exchange(&mut last)?;
            check(last, 300);
            // The datatypes go while dropped exchanges may still use them.
            drop(halo);
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4], timeout = "120s")]
fn an_exchange_that_is_given_up_goes_on_for_the_others(world: Comm) -> phalanx::Result<()> {
    given_up(&world)
}

#[phalanx::test(ranks = [1, 2, 3, 4], strict, timeout = "120s")]
fn strict_an_exchange_that_is_given_up_goes_on_for_the_others(world: Comm) -> phalanx::Result<()> {
    given_up(&world)
}

#[phalanx::test(ranks = [2, 3], strict, timeout = "120s")]
fn strict_an_exchange_that_not_all_start_is_a_deadlock_and_an_error(
    world: Comm,
) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let halo = ring.halo::<u64>(&[3], &[1])?;
    if ring.rank() == 0 {
        // In its place the rank waits for something that nobody sends.
        assert!(world.recv::<u64>(1).unwrap_err().is_deadlock());
    } else {
        let line = line!() + 1;
        let error = halo.start(vec![1; 5])?.finish().unwrap_err();
        assert!(error.is_deadlock(), "{error}");
        assert_eq!((error.operation(), error.location().line()), ("wait_all", line));
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn an_array_of_another_shape_does_not_start(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let halo = ring.halo::<f64>(&[4], &[1])?;
    let error = halo.start(vec![0.0; 4]).unwrap_err();
    assert!(error.is_invalid_length(), "{error}");
    assert_eq!(error.detail(), "the array has 4 cells, the block with its ghost cells [6]");
    assert!(error.location().file().ends_with("halo.rs"), "{error}");
    assert_eq!(halo.start(vec![1.0; 6])?.finish()?, [1.0; 6]);
    drop(halo);
    ring.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn blocks_that_cannot_be_are_an_error_on_every_rank(world: Comm) -> phalanx::Result<()> {
    let n = world.size();
    let ring = world.cart(&[0, 1], &[true, false])?.expect("every rank fits");
    let blamed = ring.rank() == n - 1;
    let expect = |made: phalanx::Result<Halo<f64>>, text: &str| {
        let error = made.unwrap_err();
        if blamed {
            assert!(error.is_invalid_length(), "{error}");
            assert!(error.detail().contains(text), "{error}");
        } else {
            assert!(error.is_mismatch(), "{error}");
            assert!(
                error.detail().contains(&format!("rank {} cannot take part", n - 1)),
                "{error}"
            );
        }
        assert_eq!(error.operation(), "halo exchange");
        assert_eq!(error.location().file(), file!(), "{error}");
    };
    let only =
        |wrong: &'static [usize], right: &'static [usize]| if blamed { wrong } else { right };
    let thin = "has 1 cells, of which a neighbor needs 2 as ghost cells";
    expect(ring.halo(only(&[1, 4], &[2, 4]), &[2, 0]), thin);
    expect(ring.halo(only(&[2], &[2, 4]), &[1, 1]), "1 lengths were given for 2 dimensions");
    expect(ring.halo(only(&[2, usize::MAX], &[2, 4]), &[1, 1]), "larger than memory");
    // So many bytes would wrap around to few.
    expect(ring.halo(only(&[2, 1 << 61], &[2, 4]), &[1, 1]), "larger than memory");
    // All give too few widths.
    assert!(ring.halo::<f64>(&[2, 2], &[1]).unwrap_err().is_invalid_length());
    if n > 1 {
        let width = [1 + usize::from(blamed), 0];
        assert!(ring.halo::<f64>(&[4, 4], &width).unwrap_err().is_mismatch());
        let other = if blamed {
            ring.halo::<f32>(&[4, 4], &[1, 1]).err()
        } else {
            ring.halo::<f64>(&[4, 4], &[1, 1]).err()
        };
        assert!(other.is_some_and(|error| error.is_mismatch()));
        // Of one size, and yet not the same.
        let other = if blamed {
            ring.halo::<i64>(&[4, 4], &[1, 1]).err()
        } else {
            ring.halo::<f64>(&[4, 4], &[1, 1]).err()
        };
        assert!(other.is_some_and(|error| error.is_mismatch()));
    }
    // A closed end with nobody beside it may have as many ghost cells as it likes.
    let halo = ring.halo::<f64>(&[1, 1], &[1, 5])?;
    assert_eq!(halo.shape(), [3, 11]);
    drop(halo);
    ring.free()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn closed_ends_need_no_part_of_the_array(world: Comm) -> phalanx::Result<()> {
    let line = world.cart(&[0, 1], &[false, false])?.expect("every rank fits");
    // More ghost cells on one side than there are cells.
    let halo = line.halo_with::<u8>(&[1, 1], &[(1, 0), (5, 0)], Corners::Fill)?;
    let mut cells = vec![line.rank() as u8 + 1; halo.len()];
    halo.exchange(&mut cells)?;
    assert_eq!(cells[halo.index(&[-1, 0])], (line.rank() as u8).max(1));
    drop(halo);
    line.free()?;

    // Dimensions without neighbours cost nothing, however many there are.
    let dimensions = [vec![world.size()], vec![1; 15]].concat();
    let deep = world.cart(&dimensions, &[false; 16])?.expect("every rank fits");
    let interior = [1; 16];
    let mut width = [0; 16];
    width[0] = 1;
    let halo = deep.halo::<u16>(&interior, &width)?;
    let mut cells = vec![deep.rank() as u16 + 1; halo.len()];
    halo.exchange(&mut cells)?;
    assert_eq!(cells[0], (deep.rank() as u16).max(1));
    drop(halo);
    deep.free()?;
    let error = world.cart(&[1; 17], &[false; 17]).unwrap_err();
    assert_eq!(error.kind(), phalanx::ErrorKind::Unsupported, "{error}");
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn ranks_in_exchanges_of_different_halos_hear_of_it(world: Comm) -> phalanx::Result<()> {
    let line = world.cart(&[2], &[false])?.expect("every rank fits");
    let (narrow, wide) = (line.halo::<u64>(&[4], &[1])?, line.halo::<u64>(&[4], &[3])?);
    for started in [false, true] {
        let halo = if line.rank() == 0 { &narrow } else { &wide };
        let cells = vec![7; halo.len()];
        let outcome = if started {
            halo.start(cells).and_then(HaloExchange::finish).map(drop)
        } else {
            halo.exchange(&mut cells.clone())
        };
        let error = outcome.unwrap_err();
        if line.rank() == 0 {
            assert!(error.is_truncated(), "{error}");
        } else {
            assert!(error.is_invalid_length(), "{error}");
            let text = "8 bytes of ghost cells came, 24 were expected";
            assert!(error.detail().starts_with(text), "{error}");
        }
    }
    drop((narrow, wide));
    // Elements may differ, so that what comes is no whole number of them: also on the way of large messages.
    for width in [3, 30_001] {
        let long = line.halo::<f64>(&[width], &[width])?;
        let short = line.halo::<f32>(&[width], &[width])?;
        let error = if line.rank() == 0 {
            long.exchange(&mut vec![0.0; long.len()]).unwrap_err()
        } else {
            short.exchange(&mut vec![0.0; short.len()]).unwrap_err()
        };
        if line.rank() == 0 {
            let (came, expected) = (4 * width, 8 * width);
            let text = format!("{came} bytes of ghost cells came, {expected} were expected");
            let is_mpich = error.to_string().contains("signature does not match");
            assert!(error.detail().starts_with(&text) || is_mpich, "{error}");
        } else {
            assert!(error.is_truncated(), "{error}");
        }
        drop((long, short));
    }
    line.free()
}

#[phalanx::test(ranks = [2, 3, 4])]
fn neighbours_whose_blocks_do_not_fit_together_hear_of_it(world: Comm) -> phalanx::Result<()> {
    let line = world.cart(&[0, 1], &[false, false])?.expect("every rank fits");
    let width = 4 + usize::from(line.rank() == 0);
    let error = line.halo::<f64>(&[3, width], &[1, 1]).unwrap_err();
    match line.rank() {
        0 => {
            let text = "in dimension 1 the interior has 5 cells here and 4 on rank 1, a neighbor in \
                        dimension 0";
            assert_eq!(error.detail(), text);
        }
        1 => assert!(error.is_invalid_length(), "{error}"),
        _ => assert!(error.is_mismatch(), "{error}"),
    }
    line.free()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn an_array_of_another_shape_is_an_error_and_nothing_is_sent(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let halo = ring.halo::<f64>(&[4], &[1])?;
    let mut worked = false;
    let error = halo.exchange_while(&mut [0.0; 4], |_| worked = true).unwrap_err();
    assert!(error.is_invalid_length() && !worked, "{error}");
    assert_eq!(error.detail(), "the array has 4 cells, the block with its ghost cells [6]");
    let mut cells = [1.0; 6];
    halo.exchange(&mut cells)?;
    assert_eq!(cells, [1.0; 6]);
    drop(halo);
    ring.free()
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn a_panic_during_the_exchange_leaves_the_next_one_right(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let halo = ring.halo::<usize>(&[2], &[1])?;
    let mut cells = vec![ring.rank(); halo.len()];
    let first = ring.rank() == 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        halo.exchange_while(&mut cells, |_| assert!(!first, "on purpose"))
    }));
    assert_eq!(outcome.is_err(), first);
    cells.fill(ring.rank() + 10);
    halo.exchange(&mut cells)?;
    let n = ring.size();
    assert_eq!((cells[0], cells[3]), ((ring.rank() + n - 1) % n + 10, (ring.rank() + 1) % n + 10));
    drop(halo);
    ring.free()
}

#[phalanx::test(ranks = [1, 2])]
fn cells_outside_of_the_block_are_a_panic_and_no_other_cell(world: Comm) -> phalanx::Result<()> {
    let ring = world.cart(&[0, 1], &[true, true])?.expect("every rank fits");
    let halo = ring.halo_with::<u8>(&[2, 3], &[(1, 0), (0, 2)], Corners::Fill)?;
    assert_eq!((halo.interior(), halo.shape()), (&[2, 3][..], &[3, 5][..]));
    assert_eq!((halo.index(&[-1, 0]), halo.index(&[1, 4])), (0, 14));
    for cell in [[-2, 0], [2, 0], [0, -1], [0, 5], [isize::MIN, 0], [0, isize::MAX]] {
        assert!(catch_unwind(AssertUnwindSafe(|| halo.index(&cell))).is_err(), "{cell:?}");
    }
    let mut block = vec![0; halo.len()];
    halo.exchange_while(&mut block, |interior| {
        assert_eq!(interior.row(&[1]).len(), 3);
        for row in [&[2][..], &[], &[0, 0]] {
            assert!(catch_unwind(AssertUnwindSafe(|| interior.row(row).len())).is_err());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| interior.get(&[0, 3]))).is_err());
    })?;
    drop(halo);
    ring.free()
}
