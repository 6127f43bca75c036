//! Dividing work and arrays among ranks, random streams, and progress.

use std::collections::BTreeMap;

use ndarray::{Array, Array3, Ix2, Ix4};
use phalanx::distribution::{BlockDistribution, CyclicDistribution};
use phalanx::prelude::*;
use phalanx::random::{RandomStreams, rand_core::Rng};
use phalanx::{Cart, Progress, dims_create};

#[phalanx::test(ranks = 1..=5)]
fn all_ranks_together_have_every_item_once(world: Comm) -> phalanx::Result<()> {
    for items in [0, 1, 2, 4, 5, 7, 1000, 1001] {
        let range = world.block_range(items);
        let ranges = world.allgather(&[range.start, range.end])?;
        let all: Vec<usize> = ranges.chunks_exact(2).flat_map(|it| it[0]..it[1]).collect();
        assert_eq!(all, (0..items).collect::<Vec<_>>());
        let distribution = BlockDistribution::new(items, world.size());
        assert!(range.clone().all(|item| distribution.owner(item) == Some(world.rank())));

        let mine: Vec<usize> = world.cyclic_items(items).collect();
        let counts = CyclicDistribution::new(items, world.size()).counts();
        let all = world.allgatherv(&mine)?;
        assert_eq!(all.counts(), counts);
        let mut all = all.into_flat();
        all.sort_unstable();
        assert_eq!(all, (0..items).collect::<Vec<_>>());
    }
    Ok(())
}

#[phalanx::test(ranks = 1..=5)]
fn counts_are_what_scatterv_and_gatherv_take(world: Comm) -> phalanx::Result<()> {
    let (rank, root) = (world.rank(), world.size() - 1);
    for items in [0, 1, 3, 101] {
        let parts = BlockDistribution::new(items, world.size());
        let (counts, whole) = (parts.counts(), (0..items as i64).collect::<Vec<_>>());
        let mut mine = vec![-1; parts.range(rank).len()];
        world.scatterv_into((rank == root).then_some((&whole, &counts)), &mut mine, root)?;
        assert_eq!(mine, whole[parts.range(rank)]);
        let mut room = vec![-1; items];
        world.gatherv_into(&mine, (rank == root).then_some((&mut room, &counts)), root)?;
        assert!(rank != root || room == whole);
    }
    Ok(())
}

/// Grids of one to four dimensions with all ranks.
fn grids(world: &Comm) -> phalanx::Result<Vec<Cart>> {
    let grid = |dimensions: usize| {
        let dims = dims_create(world.size(), &vec![0; dimensions])?;
        let grid = world.cart(&dims, &vec![dimensions.is_multiple_of(2); dimensions])?;
        Ok(grid.expect("every rank fits"))
    };
    (1..=4).map(grid).collect()
}

#[phalanx::test(ranks = 1..=6)]
fn an_array_is_divided_on_a_grid_and_put_together_again(world: Comm) -> phalanx::Result<()> {
    for grid in grids(&world)? {
        for lengths in [[7, 5, 3, 4], [12, 1, 6, 2], [2, 9, 1, 8], [3, 0, 4, 4], [1, 1, 1, 1]] {
            let shape = &lengths[..grid.dims().len()];
            let parts = grid.distribution(shape)?;
            let elements: usize = shape.iter().product();
            let whole: Vec<u32> = (0..elements as u32).collect();
            for root in [0, world.size() - 1] {
                let mine = parts.scatter((grid.rank() == root).then_some(&whole[..]), root)?;

                // Each element is where its owner says.
                let block = parts.block_shape();
                assert_eq!(mine.len(), block.iter().product::<usize>());
                for (at, &element) in mine.iter().enumerate() {
                    let (mut at, mut number) = (at, element as usize);
                    let mut index = vec![0; shape.len()];
                    for dimension in (0..shape.len()).rev() {
                        index[dimension] = number % shape[dimension];
                        number /= shape[dimension];
                        let within = at % block[dimension];
                        at /= block[dimension];
                        assert_eq!(parts.ranges()[dimension].start + within, index[dimension]);
                    }
                    assert_eq!(parts.owner(&index), Some(grid.rank()));
                }

                let gathered = parts.gather(&mine, root)?;
                assert_eq!(gathered, (grid.rank() == root).then(|| whole.clone()));
            }
            assert_eq!(parts.owner(shape), None);
            assert_eq!(parts.owner(&[]), None);
        }
        grid.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = 1..=4)]
fn blocks_fit_together_as_ghost_cells_need_them(world: Comm) -> phalanx::Result<()> {
    let grid = world.cart(&[0, 0], &[true, true])?.expect("every rank fits");
    let parts = grid.distribution(&[11, 13])?;
    let halo = grid.halo::<u32>(parts.block_shape(), &[1, 1])?;
    let [rows, columns] = parts.ranges() else { unreachable!("two dimensions") };
    let number = |row: usize, column: usize| (row % 11 * 13 + column % 13) as u32;
    let mut cells = vec![0; halo.len()];
    for (i, row) in rows.clone().enumerate() {
        for (j, column) in columns.clone().enumerate() {
            cells[halo.index(&[i as isize, j as isize])] = number(row, column);
        }
    }
    halo.exchange(&mut cells)?;
    for i in -1..=rows.len() as isize {
        for j in -1..=columns.len() as isize {
            let row = (rows.start + 11).strict_add_signed(i);
            let column = (columns.start + 13).strict_add_signed(j);
            assert_eq!(cells[halo.index(&[i, j])], number(row, column));
        }
    }
    drop((halo, parts));
    grid.free()
}

#[phalanx::test(ranks = 1..=4)]
fn arrays_of_ndarray_are_divided_too(world: Comm) -> phalanx::Result<()> {
    let grid = world.cart(&[0, 1, 0], &[false; 3])?.expect("every rank fits");
    let parts = grid.distribution(&[5, 2, 6])?;
    let whole = Array3::from_shape_fn((5, 2, 6), |(i, j, k)| (100 * i + 10 * j + k) as f64);
    let root = grid.size() - 1;
    // The root's array may lie in memory in any order.
    let turned = whole.clone().reversed_axes().as_standard_layout().into_owned().reversed_axes();
    assert!(!turned.is_standard_layout());
    let mine: Array3<f64> = parts.scatter_array((grid.rank() == root).then_some(&turned), root)?;
    let part = whole.slice_each_axis(|axis| {
        let range = &parts.ranges()[axis.axis.index()];
        (range.start..range.end).into()
    });
    assert_eq!(mine, part);
    let together = parts.gather_array(&part, root)?;
    assert_eq!(together, (grid.rank() == root).then_some(whole));

    let wrong = parts.scatter_array(None::<&Array<f64, Ix2>>, root);
    assert!(wrong.is_err_and(|error| error.is_invalid_length()));
    let wrong = parts.gather_array(&Array::<f64, Ix4>::zeros((1, 1, 1, 1)), root);
    assert!(wrong.is_err_and(|error| error.is_invalid_length()));
    drop(parts);
    grid.free()
}

/// A rank that gives something wrong leaves nobody waiting.
#[phalanx::test(ranks = 1..=4)]
fn wrong_lengths_are_errors_on_every_rank(world: Comm) -> phalanx::Result<()> {
    let grid = world.cart(&[0], &[false])?.expect("every rank fits");
    let parts = grid.distribution(&[10])?;
    let root = grid.size() - 1;
    let is_root = grid.rank() == root;
    for whole in [None, Some(vec![0_u8; 9])] {
        let error = parts.scatter(whole.as_deref(), root).expect_err("no array of ten");
        assert_eq!(error.is_invalid_length(), is_root, "{error}");
        assert_eq!(error.is_mismatch(), !is_root, "{error}");
        assert!(error.location().file().ends_with("distribution.rs"), "{error}");
    }
    let length = parts.block_shape()[0] + usize::from(grid.rank() == 0);
    let error = parts.gather(&vec![0_u8; length], root).expect_err("one too many on rank 0");
    assert_eq!(error.is_invalid_length(), grid.rank() == 0, "{error}");
    assert!(parts.scatter(Some(&[0_u8; 10]), grid.size()).unwrap_err().is_invalid_root());
    assert!(parts.ranges_of(grid.size()).unwrap_err().is_invalid_rank());

    for shape in [&[][..], &[1, 2], &[usize::MAX, usize::MAX]] {
        let error = grid.distribution(shape).err().expect("another number of dimensions");
        assert!(error.is_invalid_length(), "{error}");
    }
    let square = world.cart(&[0, 1], &[false; 2])?.expect("every rank fits");
    let error = square.distribution(&[usize::MAX, 2]).err().expect("more than memory");
    assert!(error.is_invalid_length(), "{error}");
    // Larger than memory, but a plan of it can be made.
    let huge = square.distribution(&[1 << 40, 1 << 20])?;
    assert_eq!(huge.owner(&[(1 << 40) - 1, 0]), Some(square.size() - 1));

    assert_eq!(parts.scatter(is_root.then_some(&[7_u8; 10][..]), root)?.first(), Some(&7));
    drop((parts, huge));
    square.free()?;
    grid.free()
}

#[phalanx::test(ranks = 1..=5)]
fn items_have_the_same_random_numbers_on_any_number_of_ranks(world: Comm) -> phalanx::Result<()> {
    let streams = RandomStreams::new(7);
    let drawn = |item: usize| {
        let mut stream = streams.for_item(item as u64);
        [stream.next_u64(), stream.next_u64()]
    };
    let mine: Vec<[u64; 2]> = world.cyclic_items(101).map(drawn).collect();
    let all: BTreeMap<[u64; 2], ()> =
        world.allgatherv(&mine)?.into_flat().into_iter().map(|it| (it, ())).collect();
    let alone: BTreeMap<[u64; 2], ()> = (0..101).map(|item| (drawn(item), ())).collect();
    assert_eq!((&all, all.len()), (&alone, 101));
    // Known numbers: another version of the generator would change results.
    assert_eq!(drawn(0), KNOWN);

    let mut mine = streams.for_rank(&world);
    let first: Vec<u64> = (0..4).map(|_| mine.next_u64()).collect();
    let all = world.allgather(&first)?;
    let mut different = all.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), all.len(), "streams of two ranks overlap");

    let shared = streams.shared().next_u64();
    assert_eq!(world.allreduce(&shared, Min)?, world.allreduce(&shared, Max)?);
    let of_seeds = [7, 8].map(|seed| RandomStreams::new(seed).for_item(0).next_u64());
    assert_ne!(of_seeds[0], of_seeds[1]);
    assert_ne!(shared, of_seeds[0]);
    assert_ne!(all[0], of_seeds[0]);
    Ok(())
}

const KNOWN: [u64; 2] = [16771593830305434091, 10589299736144985987];

/// Replaces this process' standard error by a terminal, and returns what was written to it.
fn on_a_terminal(f: impl FnOnce() -> phalanx::Result<()>) -> phalanx::Result<String> {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::ptr::{null, null_mut};

    let (mut master, mut slave) = (0, 0);
    // SAFETY: both results are writable, and no name and no settings are asked for.
    let made = unsafe { libc::openpty(&mut master, &mut slave, null_mut(), null(), null()) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call has opened both.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    // SAFETY: plain calls on open descriptors.
    let kept = unsafe {
        let kept = libc::dup(2);
        assert!(kept >= 0 && libc::dup2(slave.as_raw_fd(), 2) == 2);
        kept
    };
    drop(slave);
    let reader = std::thread::spawn(move || {
        let (mut master, mut text) = (File::from(master), Vec::new());
        // The end of a terminal is an error.
        let _ = master.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let outcome = f();
    // SAFETY: as above; this closes the terminal.
    unsafe {
        libc::dup2(kept, 2);
        libc::close(kept);
    }
    let text = reader.join().expect("the reader does not panic");
    outcome.map(|()| text)
}

/// The results of a computation, with or without progress.
fn work(world: &Comm, progress: &mut Progress) -> phalanx::Result<usize> {
    let mut sum = 0;
    for step in 1..=250 {
        sum = (sum + world.shift(&(step as usize + world.rank()), 1)?) % 1009;
        progress.done(step, 0.5 * (world.rank() + 1) as f64)?;
    }
    Ok(sum)
}

#[phalanx::test(ranks = 1..=5)]
fn progress_is_shown_on_a_terminal_and_changes_no_result(world: Comm) -> phalanx::Result<()> {
    let expected = work(&world, &mut Progress::hidden())?;
    let body = || {
        let mut progress = Progress::new(&world, 250)?;
        assert_eq!(work(&world, &mut progress)?, expected);
        progress.finish()
    };
    let text =
        if world.rank() == 0 { on_a_terminal(body)? } else { body().map(|()| String::new())? };
    if world.rank() == 0 {
        assert!(text.contains("/250 steps"), "{text:?}");
        let busiest = format!("busiest: rank {}", world.size() - 1);
        assert_eq!(text.contains(&busiest), world.size() > 1, "{text:?}");
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 3])]
fn progress_is_silent_where_there_is_no_terminal(world: Comm) -> phalanx::Result<()> {
    let mut progress = Progress::new(&world, 250)?;
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        return progress.finish();
    }
    work(&world, &mut progress)?;
    assert_eq!(format!("{progress:?}"), "Progress(0 of 0, on None)");
    progress.finish()
}
