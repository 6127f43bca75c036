//! Numbers that people give by mistake: where there is no answer there is an error, never a panic.

use phalanx::distribution::{BlockDistribution, CyclicDistribution};
use phalanx::prelude::*;
use phalanx::{Cart, Corners, ErrorKind, dims_create};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Small, or near the end of what numbers there are.
fn extreme() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => 0_usize..7,
        1 => (0_usize..3).prop_map(|below| usize::MAX - below),
        1 => (0_usize..64).prop_map(|bit| 1 << bit),
        1 => (0_usize..3).prop_map(|below| isize::MAX as usize - below),
        1 => (0_usize..4).prop_map(|above| i32::MAX as usize - 1 + above),
        1 => any::<usize>(),
    ]
}

fn signed() -> impl Strategy<Value = isize> {
    (extreme(), any::<bool>()).prop_map(|(number, negative)| {
        if negative { (number as isize).wrapping_neg() } else { number as isize }
    })
}

fn for_many<S: Strategy>(
    cases: u32,
    numbers: S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&numbers, test);
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidLength | ErrorKind::Unsupported | ErrorKind::Mismatch)
}

#[phalanx::test(ranks = [1])]
fn dimensions_that_do_not_exist_are_errors(_world: Comm) {
    for_many(2000, (extreme(), vec(extreme(), 0..5)), |(ranks, dims)| {
        match dims_create(ranks, &dims) {
            Ok(filled) => {
                prop_assert_eq!(filled.iter().product::<usize>(), ranks);
                let kept =
                    dims.iter().zip(&filled).all(|(&asked, &got)| asked == 0 || asked == got);
                prop_assert!(kept);
            }
            Err(error) => prop_assert!(is_refusal(error.kind()), "{}", error),
        }
        Ok(())
    });
}

#[phalanx::test(ranks = [1])]
fn places_on_a_grid_may_be_anywhere(world: Comm) -> phalanx::Result<()> {
    for_many(300, vec((extreme(), any::<bool>()), 0..4), |dims| {
        let (dims, periods): (Vec<usize>, Vec<bool>) = dims.into_iter().unzip();
        match world.cart(&dims, &periods) {
            Ok(Some(grid)) => {
                prop_assert_eq!(grid.size(), 1);
                grid.free().map_err(|error| TestCaseError::fail(error.to_string()))?;
            }
            Ok(None) => return Err(TestCaseError::fail("one rank fits into every grid")),
            Err(error) => prop_assert!(is_refusal(error.kind()), "{}", error),
        }
        Ok(())
    });
    let grid = world.cart(&[1, 1], &[true, false])?.expect("every rank fits");
    for_many(2000, (signed(), signed(), extreme()), |(row, column, dimension)| {
        let rank = (column == 0).then_some(0);
        prop_assert_eq!(grid.rank_of(&[row, column]).ok(), Some(rank));
        prop_assert_eq!(grid.rank_at_offset(&[row, column]).ok(), Some(rank));
        match grid.shift_ranks(dimension, row) {
            Ok(ranks) => {
                let wraps = dimension == 0 || row == 0;
                prop_assert_eq!((ranks.to, ranks.from), (wraps.then_some(0), wraps.then_some(0)));
            }
            Err(error) => prop_assert!(dimension > 1 && error.is_invalid_length()),
        }
        prop_assert_eq!(grid.coords_of(dimension).is_ok(), dimension == 0);
        prop_assert_eq!(grid.owner_is_known(&[row.unsigned_abs(), dimension]), true);
        Ok(())
    });
    grid.free()
}

/// A plan for an array of any size can be made, and says who has an element.
trait OwnerIsKnown {
    fn owner_is_known(&self, shape: &[usize]) -> bool;
}

impl OwnerIsKnown for Cart {
    fn owner_is_known(&self, shape: &[usize]) -> bool {
        match self.distribution(shape) {
            Ok(parts) => {
                let last: Vec<usize> = shape.iter().map(|length| length.wrapping_sub(1)).collect();
                let expected = (!shape.contains(&0)).then_some(0);
                parts.owner(&last) == expected && parts.block_shape() == shape
            }
            Err(error) => {
                error.is_invalid_length()
                    && shape.iter().try_fold(1_usize, |a, &b| a.checked_mul(b)).is_none()
            }
        }
    }
}

#[phalanx::test(ranks = [1], timeout = "120s")]
fn ghost_cells_of_impossible_blocks_are_errors(world: Comm) -> phalanx::Result<()> {
    fn check<T: Element>(grid: &Cart) {
        let side = || (extreme(), extreme(), extreme());
        for_many(150, (side(), side(), any::<bool>()), |(rows, columns, corners)| {
            let interior = [rows.0, columns.0];
            let widths = [(rows.1, rows.2), (columns.1, columns.2)];
            let corners = if corners { Corners::Fill } else { Corners::Skip };
            match grid.halo_with::<T>(&interior, &widths, corners) {
                Ok(halo) => {
                    prop_assert_eq!(halo.shape()[0], rows.0 + rows.1 + rows.2);
                    prop_assert_eq!(halo.shape()[1], columns.0 + columns.1 + columns.2);
                    let bytes = halo.len().checked_mul(size_of::<T>());
                    prop_assert!(bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok()));
                }
                Err(error) => prop_assert!(is_refusal(error.kind()), "{}", error),
            }
            Ok(())
        });
    }
    for periods in [[true, false], [true, true]] {
        let grid = world.cart(&[1, 1], &periods)?.expect("every rank fits");
        check::<u8>(&grid);
        check::<[f64; 5]>(&grid);
        check::<()>(&grid);
        grid.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1])]
fn counts_that_memory_does_not_have_are_errors(world: Comm) {
    for_many(2000, (vec(extreme(), 0..4), 0_usize..4), |(counts, given)| {
        let elements = vec![7_u16; given];
        let sum = counts.iter().try_fold(0_usize, |sum, &count| sum.checked_add(count));
        let fits = counts.len() == 1 && sum == Some(given);
        let parts = phalanx::PerRank::from_flat(elements.clone(), counts.clone());
        prop_assert_eq!(parts.is_some(), sum == Some(given));
        let blocks = (&elements[..], &counts[..]);
        let mut room = vec![0; given];
        let outcomes = [
            world.alltoallv(&blocks).err(),
            world.scatterv_into(Some(blocks), &mut room, 0).err(),
            world.gatherv_into(&elements, Some((&mut room, &counts)), 0).err(),
            world.allgatherv_into(&elements, &mut vec![0; given], &counts).err(),
            world.reduce_scatter(&elements, &counts, Sum).err(),
        ];
        for (index, error) in outcomes.into_iter().enumerate() {
            prop_assert_eq!(error.is_none(), fits, "{}", index);
            prop_assert!(error.is_none_or(|error| is_refusal(error.kind())));
        }
        Ok(())
    });
}

#[phalanx::test(ranks = [1])]
fn any_number_of_items_can_be_divided(_world: Comm) {
    let numbers = (extreme(), extreme(), extreme(), extreme());
    for_many(5000, numbers, |(items, ranks, block, item)| {
        let (ranks, block) = (ranks.max(1), block.max(1));
        let blocks = BlockDistribution::new(items, ranks);
        let owner = blocks.owner(item);
        prop_assert_eq!(owner.is_some(), item < items);
        prop_assert!(owner.is_none_or(|rank| blocks.range(rank).contains(&item)));
        let last = blocks.range(ranks - 1);
        prop_assert!(last.start <= last.end && last.end == items);

        let cyclic = CyclicDistribution::with_blocks(items, ranks, block);
        let owner = cyclic.owner(item);
        prop_assert_eq!(owner.is_some(), item < items);
        prop_assert_eq!(cyclic.position(item).is_some(), item < items);
        prop_assert!(owner.is_none_or(|rank| cyclic.count(rank) > 0));
        prop_assert_eq!(cyclic.items_of(0).next(), (items > 0).then_some(0));
        Ok(())
    });
}
