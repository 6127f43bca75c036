//! Types of other crates as elements and buffers: complex numbers, 16 bits, plain data, arrays.

use half::{bf16, f16};
use ndarray::{Array, Array1, Array2, Array3, Axis, Ix2, arr0, array, s};
use num_complex::Complex;
use phalanx::prelude::*;
use phalanx::{Pod, Strided, StridedMut};

fn neighbors(world: &Comm) -> (usize, usize) {
    let (rank, size) = (world.rank(), world.size());
    ((rank + 1) % size, (rank + size - 1) % size)
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn complex_numbers_are_added_and_multiplied(world: Comm) -> phalanx::Result<()> {
    let (right, left) = neighbors(&world);
    let at = |rank: usize| Complex::new(rank as f64, 1.0);
    let all = || (0..world.size()).map(at);
    let mine = at(world.rank());
    assert_eq!(world.allreduce(&mine, Sum)?, all().sum());
    assert_eq!(world.allreduce(&mine, Product)?, all().product());
    assert_eq!(world.scan(&[mine; 3], Sum)?, [all().take(world.rank() + 1).sum(); 3]);
    assert_eq!(
        world.allreduce(&vec![[mine, -mine]; 2], Sum)?[1],
        [all().sum(), -all().sum::<Complex<f64>>()]
    );
    assert_eq!(world.sendrecv(&[mine; 2], right, left)?, [at(left); 2]);
    assert_eq!(world.allgather(&mine)?, all().collect::<Vec<_>>());

    let narrow = Complex::new(0.0_f32, 1.0);
    let product = world.iallreduce(vec![narrow], Product)?.wait()?;
    assert_eq!(product, [(0..world.size()).map(|_| narrow).product()]);
    let largest =
        op(|a: Complex<f32>, b: Complex<f32>| if a.norm_sqr() < b.norm_sqr() { b } else { a });
    assert_eq!(
        world.allreduce(&Complex::new(world.rank() as f32, 0.0), largest)?.re as usize,
        world.size() - 1
    );
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn numbers_of_sixteen_bits_are_reduced(world: Comm) -> phalanx::Result<()> {
    let (right, left) = neighbors(&world);
    let (rank, size) = (world.rank(), world.size());
    let mine = f16::from_f32(rank as f32 + 0.5);
    assert_eq!(world.sendrecv(&[mine; 3], right, left)?, [f16::from_f32(left as f32 + 0.5); 3]);
    let sum = (0..size).map(|rank| rank as f32 + 0.5).sum();
    assert_eq!(world.allreduce(&mine, Sum)?, f16::from_f32(sum));
    assert_eq!(world.allreduce(&[mine, -mine], Max)?, [size as f32 - 0.5, -0.5].map(f16::from_f32));
    assert_eq!(world.allreduce(&[mine, -mine], Min)?, [0.5, 0.5 - size as f32].map(f16::from_f32));
    let two = bf16::from_f32(2.0);
    assert_eq!(world.allreduce(&two, Product)?, bf16::from_f32(2_f32.powi(size as i32)));
    assert_eq!(
        world.iallreduce(vec![two; 2], Sum)?.wait()?,
        [bf16::from_f32(2.0 * size as f32); 2]
    );
    assert_eq!(world.allgather(&bf16::from_f32(rank as f32))?.len(), size);
    Ok(())
}

/// Of a crate that does not know this one.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Foreign {
    kind: u32,
    place: [f32; 3],
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn plain_data_of_other_crates_arrives(world: Comm) -> phalanx::Result<()> {
    let (right, left) = neighbors(&world);
    let (rank, size) = (world.rank(), world.size());
    let at = |rank: usize| Foreign { kind: rank as u32, place: [0.5, rank as f32, -1.0] };
    let all: Vec<Foreign> = (0..size).map(at).collect();
    assert_eq!(world.sendrecv(&Pod(at(rank)), right, left)?.0, at(left));
    let gathered = world.allgather(Pod::slice(&[at(rank), at(0)]))?;
    assert_eq!(Pod::values(&gathered).iter().step_by(2).copied().collect::<Vec<_>>(), all);
    let mut values = vec![at(rank); 5];
    world.bcast(Pod::slice_mut(&mut values), size - 1)?;
    assert_eq!(values, [at(size - 1); 5]);
    let highest = op(|a: Pod<Foreign>, b: Pod<Foreign>| if a.0.kind > b.0.kind { a } else { b });
    assert_eq!(world.allreduce(&Pod(at(rank)), highest)?.0, at(size - 1));
    let sent = world.isend(vec![Pod(at(rank)); 3], right)?;
    assert_eq!(Pod::<Foreign>::into_values(world.recv(left)?), vec![at(left); 3]);
    sent.wait()?;
    // What has no size follows the rule for all elements.
    assert_eq!(world.sendrecv(&Pod(()), right, left)?, Pod(()));
    Ok(())
}

/// A number for each place and rank.
fn plane(rank: usize, rows: usize, columns: usize) -> Array2<f64> {
    Array::from_shape_fn((rows, columns), |(row, column)| {
        (100 * rank + 10 * row) as f64 + column as f64
    })
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn arrays_are_buffers(world: Comm) -> phalanx::Result<()> {
    let (right, left) = neighbors(&world);
    let (rank, size) = (world.rank(), world.size());
    let mine = plane(rank, 3, 5);

    assert_eq!(world.sendrecv(&mine, right, left)?, plane(left, 3, 5));
    let received: Array2<f64> = world.sendrecv(&mine.slice(s![1.., ..]), right, left)?;
    assert_eq!(received, plane(left, 3, 5).slice(s![1.., ..]));
    let sent = world.isend(mine.row(2).to_owned(), right)?;
    let mut target = plane(9, 3, 5);
    let got = world.recv_into(&mut target.row_mut(0), left)?;
    assert_eq!((got.len, target.row(0)), (5, plane(left, 3, 5).row(2)));
    assert_eq!(target.row(1), plane(9, 3, 5).row(1));
    sent.wait()?;
    let (array, _) = {
        let received = world.irecv_into(Array3::<f64>::zeros((1, 3, 5)), left)?;
        let sent = world.isend(mine.clone(), right)?;
        let received = received.wait()?;
        sent.wait()?;
        received
    };
    assert_eq!(array.index_axis(Axis(0), 0), plane(left, 3, 5));

    let sum = (0..size).fold(Array2::zeros((3, 5)), |sum, rank| sum + plane(rank, 3, 5));
    assert_eq!(world.allreduce(&mine, Sum)?, sum);
    assert_eq!(world.allreduce(&mine.view(), Sum)?, sum);
    assert_eq!(world.iallreduce(mine.clone(), Sum)?.wait()?, sum);
    let mut in_place = mine.clone();
    world.allreduce_in_place(&mut in_place.slice_mut(s![..2, ..]), Sum)?;
    assert_eq!(in_place.slice(s![..2, ..]), sum.slice(s![..2, ..]));
    assert_eq!(in_place.row(2), mine.row(2));
    let mut table = mine.clone();
    world.bcast(&mut table, size - 1)?;
    assert_eq!(table, plane(size - 1, 3, 5));
    let all = world.allgather(&mine)?;
    let all = Array3::from_shape_vec((size, 3, 5), all).expect("a plane of each rank");
    assert_eq!(all.index_axis(Axis(0), rank), mine);
    assert_eq!(world.allreduce(&arr0(1_u64), Sum)?, arr0(size as u64));
    assert_eq!(world.allreduce(&Array1::<f32>::zeros(0), Sum)?.len(), 0);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn every_view_of_an_array_is_sent_and_received_without_a_copy(world: Comm) -> phalanx::Result<()> {
    let (right, left) = neighbors(&world);
    let cube = |rank: usize| {
        Array::from_shape_fn((4, 5, 6), |(i, j, k)| (1000 * rank + 100 * i + 10 * j + k) as u32)
    };
    let (mine, theirs) = (cube(world.rank()), cube(left));
    let views = [
        s![.., .., ..],
        s![..;-1, .., ..],
        s![1..3, ..;2, ..;3],
        s![.., 2..3, ..],
        s![.., .., 4..5],
        s![..;-2, ..;-1, ..;-3],
        s![0..0, .., ..],
        s![3..4, .., 1..5],
    ];
    for view in views {
        for axes in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
            let mine = mine.slice(view).permuted_axes(axes);
            let theirs = theirs.slice(view).permuted_axes(axes);
            let mut room = Array3::<u32>::zeros(mine.raw_dim());
            let sent = Strided::array(&mine)?;
            let got = world.sendrecv_into(&sent, right, &mut room, left)?;
            assert_eq!((got.len, room.view()), (mine.len(), theirs));

            // Into the same part of another array, the rest of which stays as it is.
            let mut other = Array3::<u32>::from_elem(cube(0).raw_dim(), u32::MAX);
            let mut part = other.slice_mut(view).permuted_axes(axes);
            world.sendrecv_into(&sent, right, &mut StridedMut::array(&mut part)?, left)?;
            assert_eq!(part, theirs);
            let rest = other.iter().filter(|&&it| it == u32::MAX).count();
            assert_eq!(rest, other.len() - theirs.len());
        }
    }

    // The same number again and again.
    let one = array![[7_u8]];
    let repeated = one.broadcast((3, 4)).expect("one fits into every shape");
    let mut room = Array2::<u8>::zeros((3, 4));
    world.sendrecv_into(&Strided::array(&repeated)?, right, &mut room, left)?;
    assert_eq!(room, Array2::from_elem((3, 4), 7));
    // More elements than MPI counts, and more bytes than memory has.
    let endless = one.broadcast((1 << 30, 1 << 30)).expect("one fits into every shape");
    assert!(Strided::array(&endless).is_err_and(|error| error.is_unsupported()));
    let wide = Array2::from_elem((1, 4), 0.5_f64);
    if let Some(view) = wide.broadcast((1 << 60, 4)) {
        assert!(Strided::array(&view).is_err_and(|error| error.is_invalid_length()));
    }
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn an_array_that_does_not_lie_together_is_an_error_with_advice(world: Comm) -> phalanx::Result<()> {
    let other = 1 - world.rank();
    let mine = plane(world.rank(), 3, 5);
    let error = world.send(&mine.column(1), other).expect_err("a column");
    assert!(error.is_layout(), "{error}");
    assert_eq!((error.operation(), error.peer()), ("send", Some(other)));
    assert!(error.location().file().ends_with("features.rs"), "{error}");
    assert!(error.detail().contains("Strided::array"), "{error}");
    let mut target = Array::<f64, Ix2>::zeros((5, 3));
    let error = world.recv_into(&mut target.view_mut().reversed_axes(), other).expect_err("turned");
    assert!(error.is_layout(), "{error}");

    // Nothing was sent and nothing taken.
    let sum = world.allreduce(&mine.t().as_standard_layout(), Sum)?;
    assert_eq!(sum, (plane(0, 3, 5) + plane(1, 3, 5)).t());
    world.sendrecv_into(&Strided::array(&mine.t())?, other, &mut target, other)?;
    assert_eq!(target, plane(other, 3, 5).t());
    Ok(())
}

#[phalanx::test(ranks = [1])]
#[should_panic(expected = "as_standard_layout")]
fn a_collective_on_a_column_panics_with_advice(world: Comm) {
    let _ = world.allreduce(&plane(0, 3, 5).column(1), Sum);
}
