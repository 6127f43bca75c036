//! Ghost cells of a block on a grid of ranks.
//!
//! Each ghost cell comes straight from the rank whose interior it is in: one message for each of the up
//! to 3ⁿ − 1 directions, corners included, all in flight at once. Going dimension by dimension would
//! take fewer messages and n rounds, of which only the first could overlap with work; and it would carry
//! ghost cells past closed ends, which belong to nobody, from rank to rank.
//!
//! All receives are posted before any send, so that no order of ranks can deadlock, even if no send is
//! buffered. An exchange has one tag; where several messages go between the same two ranks (a periodic
//! dimension of one or two), they are sent, and their receives are posted, in the order of the directions
//! that they are sent in: messages of one pair with one tag do not overtake each other (MPI-4.1, section
//! 3.5).

mod flight;
mod plan;

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

pub use flight::HaloExchange;
use plan::{Plan, Transfer};

use crate::datatype::{Element, no_padding};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::{Envelope, Mode, RawStatus};
use crate::raw::{View, ViewMut};
use crate::record::{Call, HALO, Peer, name_of};
use crate::topology::{Cart, digest};

/// Whether the ghost cells at the corners (in three dimensions: and at the edges) are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corners {
    /// They are, by a message from each diagonal neighbour.
    Fill,
    /// They stay as they are: a stencil that looks along the dimensions alone needs fewer messages.
    Skip,
}

/// The exchange of ghost cells around a block of an array that is shared out on a grid of ranks.
/// Made by [`Cart::halo`].
///
/// Each rank has a block of any number of dimensions in one slice, row by row (the last index changes
/// fastest): its interior, and around it ghost cells, which are copies of its neighbours' interiors. An
/// [`exchange`](Halo::exchange) brings them up to date, without a copy of anything on this side. Ghost
/// cells past a closed end belong to nobody and are never touched: boundary conditions are the
/// program's.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let grid = world.cart(&[0, 0], &[false, false])?.expect("every rank fits");
/// let halo = grid.halo::<f64>(&[4, 6], &[1, 1])?; // 4 rows of 6 here, a ghost cell on each side
/// let mut block = vec![-1.0; halo.len()];
/// for row in 0..4 {
///     for column in 0..6 {
///         block[halo.index(&[row, column])] = grid.rank() as f64;
///     }
/// }
/// halo.exchange(&mut block)?;
/// let north = grid.neighbors()[0]; // a closed end has no neighbour
/// assert_eq!(block[halo.index(&[-1, 0])], north.map_or(-1.0, |rank| rank as f64));
/// # drop(halo);
/// grid.free()
/// # });
/// ```
pub struct Halo<T> {
    cart: Cart,
    plan: Plan,
    element: PhantomData<fn() -> T>,
}

impl Cart {
    /// The exchange of ghost cells around a block whose interior on this rank has so many cells in each
    /// dimension, with `width` ghost cells on both sides. Interiors of neighbours may differ in the
    /// dimension in which they are neighbours, and in no other. Collective; every rank gives the same
    /// widths.
    ///
    /// # Errors
    /// On every rank: [`InvalidLength`](ErrorKind::InvalidLength) or, on those that are not to blame,
    /// [`Mismatch`](ErrorKind::Mismatch) if there is not one number for each dimension, if an interior
    /// is narrower than the ghost cells that are copies of it, or if two neighbours do not fit together;
    /// [`Mismatch`](ErrorKind::Mismatch) if widths or elements differ;
    /// [`Unsupported`](ErrorKind::Unsupported) if the array has more than `i32::MAX` cells in a
    /// dimension; in the last one an element counts as its words of at most 8 bytes.
    ///
    /// MPI: `MPI_Type_create_subarray`, MPI-4.1 section 5.1.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let halo = ring.halo::<u32>(&[5], &[2])?;
    /// let mut cells = vec![ring.rank() as u32; halo.len()];
    /// halo.exchange(&mut cells)?;
    /// let left = (ring.rank() + ring.size() - 1) % ring.size();
    /// assert_eq!(cells[..2], [left as u32; 2]);
    /// # drop(halo);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn halo<T: Element>(&self, interior: &[usize], width: &[usize]) -> Result<Halo<T>> {
        let widths: Vec<(usize, usize)> = width.iter().map(|&width| (width, width)).collect();
        self.make_halo(interior, &widths, Corners::Fill)
    }

    /// [`halo`](Cart::halo) with other widths before and after the interior, or without corners.
    ///
    /// # Errors
    /// As [`halo`](Cart::halo).
    ///
    /// MPI: `MPI_Type_create_subarray`, MPI-4.1 section 5.1.3.
    ///
    /// ```
    /// use phalanx::Corners;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let grid = world.cart(&[0, 0], &[false, true])?.expect("every rank fits");
    /// // An upwind scheme: two cells from the west, none from the east.
    /// let halo = grid.halo_with::<f32>(&[3, 4], &[(0, 0), (2, 0)], Corners::Skip)?;
    /// assert_eq!(halo.shape(), [3, 6]);
    /// # drop(halo);
    /// grid.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn halo_with<T: Element>(
        &self,
        interior: &[usize],
        widths: &[(usize, usize)],
        corners: Corners,
    ) -> Result<Halo<T>> {
        self.make_halo(interior, widths, corners)
    }

    #[track_caller]
    fn make_halo<T: Element>(
        &self,
        interior: &[usize],
        widths: &[(usize, usize)],
        corners: Corners,
    ) -> Result<Halo<T>> {
        no_padding::<T>();
        let call = self.call(&HALO, Location::caller());
        let _permit = crate::raw::permit(&call)?;
        let given = widths.iter().flat_map(|&(before, after)| [before, after]);
        let others = [widths.len(), size_of::<T>(), (corners == Corners::Fill).into()];
        // All ranks run the same program, in which a type has one name.
        let element = type_name::<T>().bytes().map(usize::from);
        let agreed = digest(others.into_iter().chain(given).chain(element));
        self.all_alike(&call, agreed, "widths or elements")?;
        let made = Plan::new::<T>(self, &call, interior, widths, corners);
        // Neighbours look at each other's interiors; the one that has none says so.
        const NONE: usize = usize::MAX;
        let dimensions = self.dims().len();
        let mine = made.as_ref().map_or(vec![NONE; dimensions], |plan| plan.interior.clone());
        let theirs = self.neighbor_allgather(&mine)?;
        let made = made.and_then(|plan| {
            for (side, (neighbor, lengths)) in theirs.iter().enumerate() {
                let across = |it: &usize| *it != side / 2;
                if let Some(neighbor) = neighbor
                    && !lengths.contains(&NONE)
                    && let Some(dimension) =
                        (0..dimensions).filter(across).find(|&it| lengths[it] != mine[it])
                {
                    let detail = format!(
                        "in dimension {dimension} the interior has {} cells here and {} on rank \
                         {neighbor}, a neighbor in dimension {}",
                        mine[dimension],
                        lengths[dimension],
                        side / 2
                    );
                    return Err(Error::new(ErrorKind::InvalidLength, &call, detail));
                }
            }
            Ok(Halo { cart: self.clone(), plan, element: PhantomData })
        });
        self.none_failed(&call, made)
    }
}

impl<T: Element> Halo<T> {
    /// The cells of the interior in each dimension.
    pub fn interior(&self) -> &[usize] {
        &self.plan.interior
    }

    /// The cells of the array in each dimension, ghost cells included.
    pub fn shape(&self) -> &[usize] {
        &self.plan.shape
    }

    /// The ghost cells before and after the interior in each dimension.
    pub fn widths(&self) -> &[(usize, usize)] {
        &self.plan.widths
    }

    /// All cells of the array: the product of its [`shape`](Halo::shape).
    #[allow(clippy::len_without_is_empty)] // of an array that it does not hold
    pub fn len(&self) -> usize {
        self.plan.shape.iter().product()
    }

    /// Where a cell lies in the array. Cells are counted from the first of the interior: ghost cells
    /// before it have negative numbers.
    ///
    /// # Panics
    /// If there is no such cell.
    pub fn index(&self, cell: &[isize]) -> usize {
        assert_eq!(cell.len(), self.plan.shape.len(), "a cell has a number for each dimension");
        let mut index = 0;
        for ((&at, &(before, _)), &length) in
            cell.iter().zip(&self.plan.widths).zip(&self.plan.shape)
        {
            match at.checked_add_unsigned(before).and_then(|it| usize::try_from(it).ok()) {
                Some(at) if at < length => index = index * length + at,
                _ => panic!(
                    "cell {cell:?} is outside of {:?} and its ghost cells",
                    self.plan.interior
                ),
            }
        }
        index
    }

    /// Brings all ghost cells up to date. Collective.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the array does not have [`len`](Halo::len) cells: then
    /// nothing was sent, and the neighbours wait until this rank takes part or ends. The same if a neighbour
    /// sends fewer cells, because it is in the exchange of another halo; what the MPI library reports.
    ///
    /// MPI: `MPI_Irecv` and `MPI_Isend`, MPI-4.1 section 3.7.2, with every neighbour, on a private
    /// communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let halo = ring.halo::<i64>(&[1], &[1])?;
    /// let mut cells = [0, ring.rank() as i64, 0];
    /// halo.exchange(&mut cells)?;
    /// assert_eq!(cells[2] as usize, (ring.rank() + 1) % ring.size());
    /// # drop(halo);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn exchange(&self, array: &mut [T]) -> Result<()> {
        self.exchange_at(array, Location::caller(), |_| ())
    }

    /// [`exchange`](Halo::exchange) that runs `work` while the messages are on their way. It may read the
    /// interior, which is all that does not change meanwhile, and write to other arrays; when this
    /// returns the ghost cells are there. Collective.
    ///
    /// If `work` panics, the exchange has a second to complete before the panic goes on, so that the next
    /// one finds nothing left over; what is then still in flight is taken back as by
    /// [`Comm::scope`](crate::Comm::scope).
    ///
    /// # Errors
    /// As [`exchange`](Halo::exchange), and then `work` may not have run.
    ///
    /// MPI: `MPI_Irecv`, `MPI_Isend` and `MPI_Waitall`, MPI-4.1 section 3.7.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let halo = ring.halo::<f64>(&[4], &[1])?;
    /// let mut cells = vec![1.0; halo.len()];
    /// let mut next = cells.clone();
    /// halo.exchange_while(&mut cells, |interior| {
    ///     let row = interior.row(&[]);
    ///     for i in 1..3 {
    ///         next[1 + i] = (row[i - 1] + row[i + 1]) / 2.0;
    ///     }
    /// })?;
    /// for i in [1, 4] {
    ///     next[i] = (cells[i - 1] + cells[i + 1]) / 2.0; // these needed ghost cells
    /// }
    /// # assert_eq!(next[1..5], [1.0; 4]);
    /// # drop(halo);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn exchange_while<R>(
        &self,
        array: &mut [T],
        work: impl FnOnce(&Interior<'_, T>) -> R,
    ) -> Result<R> {
        self.exchange_at(array, Location::caller(), work)
    }

    fn exchange_at<R>(
        &self,
        array: &mut [T],
        location: &'static Location<'static>,
        work: impl FnOnce(&Interior<'_, T>) -> R,
    ) -> Result<R> {
        let call = self.cart.private_call(&HALO, location);
        self.check_array(&call, array.len())?;
        let permit = crate::raw::permit(&call)?;
        let tag = self.cart.next_collective_tag(&permit, &call);
        // From here on the array is used through this address alone.
        let start = array.as_mut_ptr();
        self.cart.scope_at(true, location, |scope| {
            scope.reserve(self.plan.receives.len() + self.plan.sends.len());
            // SAFETY: the array is borrowed exclusively until the scope has completed all messages, and
            // `work` sees no cell that one of them writes.
            unsafe {
                self.begin(&call, start, tag, |call, part, envelope| {
                    match part {
                        Access::Receive(view) => scope.start_receive(call, view, envelope)?,
                        Access::Send(view) => {
                            scope.start_send(call, Mode::Standard, view, envelope)?
                        }
                    };
                    Ok(())
                })?;
            }
            // SAFETY: as above.
            let interior = unsafe { self.interior_of(start) };
            // The neighbours know nothing of a panic here: their messages are on the way, and are taken.
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&interior)));
            let result = outcome.unwrap_or_else(|panic| {
                scope.complete_for_a_second();
                resume_unwind(panic)
            });
            let ends = scope.outcomes(&call)?;
            for (index, end) in ends.into_iter().enumerate() {
                let end = end?;
                if let Some(message) = self.plan.receives.get(index) {
                    let call = call.peer(Peer::From(message.rank));
                    is_whole(&call, end, Some(message.bytes))?;
                }
            }
            Ok(result)
        })
    }

    fn check_array(&self, call: &Call<'_>, given: usize) -> Result<()> {
        if given == self.len() {
            return Ok(());
        }
        let shape = &self.plan.shape;
        let detail =
            format!("the array has {given} cells, the block with its ghost cells {shape:?}");
        Err(Error::new(ErrorKind::InvalidLength, call, detail))
    }

    /// Gives all messages of an exchange to `start_one`, in the order in which they are to be started.
    ///
    /// # Safety
    /// `start` is the address of an array of this shape. For `'a` its interior does not change, and
    /// nobody uses its ghost cells.
    unsafe fn begin<'a>(
        &self,
        call: &Call<'_>,
        start: *mut T,
        tag: i32,
        mut start_one: impl FnMut(&Call<'_>, Access<'a>, Envelope) -> Result<()>,
    ) -> Result<()> {
        let envelope = |rank: usize| Envelope { rank: rank as i32, tag };
        for &Transfer { rank, part, bytes } in &self.plan.receives {
            // SAFETY: the part lies within the array, and is ghost cells alone.
            let view = unsafe { ViewMut::new(start.cast(), 1, part.0, bytes, name_of::<T>) };
            let call = call.peer(Peer::From(rank)).tag(Some(tag));
            start_one(&call, Access::Receive(view), envelope(rank))?;
        }
        for &Transfer { rank, part, bytes } in &self.plan.sends {
            // SAFETY: the part lies within the array, and is interior alone.
            let view = unsafe { View::new(start.cast(), 1, part.0, bytes, name_of::<T>) };
            let call = call.peer(Peer::To(rank)).tag(Some(tag));
            start_one(&call, Access::Send(view), envelope(rank))?;
        }
        Ok(())
    }

    /// # Safety
    /// `start` is the address of an array of this shape, of which nobody writes the interior for `'a`.
    unsafe fn interior_of<'a>(&'a self, start: *const T) -> Interior<'a, T> {
        Interior {
            start,
            inner: &self.plan.interior,
            widths: &self.plan.widths,
            outer: &self.plan.shape,
            lifetime: PhantomData,
        }
    }
}

/// That all ghost cells came: a neighbour that is in the exchange of another halo may send fewer.
fn is_whole(call: &Call<'_>, end: RawStatus, expected: Option<usize>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    let bytes = end.bytes(call)?;
    if bytes == expected {
        return Ok(());
    }
    let detail = format!(
        "{bytes} bytes of ghost cells came, {expected} were expected: the ranks are in the exchanges of \
         different halos"
    );
    Err(Error::new(ErrorKind::InvalidLength, call, detail))
}

/// What one message of an exchange does with the array.
enum Access<'a> {
    Receive(ViewMut<'a>),
    Send(View<'a>),
}

impl<T> fmt::Debug for Halo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Halo { cart, plan, .. } = self;
        let Plan { interior, widths, .. } = plan;
        write!(f, "Halo({cart:?}, interior {interior:?}, widths {widths:?})")
    }
}

/// The interior of a block whose ghost cells are on their way: what may be read meanwhile.
///
/// It may be shared with other threads.
pub struct Interior<'a, T> {
    start: *const T,
    inner: &'a [usize],
    widths: &'a [(usize, usize)],
    outer: &'a [usize],
    lifetime: PhantomData<&'a [T]>,
}

// SAFETY: it lends shared references to elements, as a slice does.
unsafe impl<T: Sync> Send for Interior<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Interior<'_, T> {}

impl<T: Element> Interior<'_, T> {
    /// The cells in each dimension.
    #[allow(clippy::misnamed_getters, reason = "the shape of the interior, not that with ghosts")]
    pub fn shape(&self) -> &[usize] {
        self.inner
    }

    /// The cells that lie in a row along the last dimension, at these numbers of all others.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: &[usize]) -> &[T] {
        let Some((&length, others)) = self.inner.split_last() else {
            panic!("a block without dimensions has no rows")
        };
        assert_eq!(row.len(), others.len(), "a row has a number for each dimension but the last");
        let mut index = 0;
        for (dimension, (&at, &inside)) in row.iter().zip(others).enumerate() {
            assert!(at < inside, "row {row:?} is outside of {:?}", self.inner);
            index = index * self.outer[dimension] + self.widths[dimension].0 + at;
        }
        let last = others.len();
        index = index * self.outer[last] + self.widths[last].0;
        // SAFETY: the cells from there on are of the interior, which nobody writes to while this is
        // borrowed; ghost cells, which MPI writes, are not among them.
        unsafe { std::slice::from_raw_parts(self.start.add(index), length) }
    }

    /// One cell.
    ///
    /// # Panics
    /// If there is no such cell.
    pub fn get(&self, cell: &[usize]) -> T {
        match cell.split_last() {
            Some((&at, row)) => self.row(row)[at],
            None => panic!("a cell has a number for each dimension"),
        }
    }
}
