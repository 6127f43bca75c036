//! Grids of ranks.

use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use phalanx_sys as ffi;

use super::agree::digest;
use super::dims::{fill, text};
use super::neighborhood::Neighborhood;
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::raw;
use crate::record::{
    CART, CART_COORDS, CART_RANK, CART_REORDER, CART_SHIFT, CART_SUB, COMM_DUP, Call, Operation,
};

/// A communicator whose ranks form a grid of up to 16 dimensions, each with a closed end or
/// periodic. Made by [`Comm::cart`].
///
/// It derefs to [`Neighborhood`], and that to [`Comm`]. Ranks are numbered row by row: the last
/// coordinate changes fastest. That is fixed by the standard (MPI-4.1, section 8.2), so that coordinates
/// and neighbours are computed here, without a call into MPI.
///
/// ```
/// use phalanx::ShiftRanks;
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// // A ring: each rank passes its number on.
/// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
/// let ShiftRanks { to, from } = ring.shift_ranks(0, 1)?;
/// let from_left = ring.sendrecv(&ring.rank(), to, from)?;
/// assert_eq!(Some(from_left), from);
/// ring.free()
/// # });
/// ```
#[derive(Clone)]
pub struct Cart {
    neighborhood: Neighborhood,
    grid: Arc<Grid>,
}

/// The other ranks of a shift along a dimension of a grid, in the order in which
/// [`sendrecv`](Comm::sendrecv) takes them. `None` past a closed end. See [`Cart::shift_ranks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShiftRanks {
    /// The rank to send to: `displacement` further.
    pub to: Option<usize>,
    /// The rank to receive from: as far before.
    pub from: Option<usize>,
}

/// The shape of a grid.
struct Grid {
    dims: Vec<usize>,
    periods: Vec<bool>,
    /// Of this rank.
    coords: Vec<usize>,
}

impl Grid {
    fn new(dims: Vec<usize>, periods: Vec<bool>, rank: usize) -> Self {
        let mut grid = Grid { dims, periods, coords: Vec::new() };
        grid.coords = grid.coords_of(rank);
        grid
    }

    fn coords_of(&self, mut rank: usize) -> Vec<usize> {
        let mut coords: Vec<usize> = Vec::with_capacity(self.dims.len());
        for &dim in self.dims.iter().rev() {
            coords.push(rank % dim);
            rank /= dim;
        }
        coords.reverse();
        coords
    }

    /// The rank at this offset from some coordinates, or `None` past a closed end.
    fn at_offset(&self, coords: &[usize], offset: impl Iterator<Item = i128>) -> Option<usize> {
        let mut rank = 0;
        for (((&at, by), &dim), &periodic) in
            coords.iter().zip(offset).zip(&self.dims).zip(&self.periods)
        {
            // In 128 bits nothing overflows.
            let at = at as i128 + by;
            let inside = (0..dim as i128).contains(&at);
            if !inside && !periodic {
                return None;
            }
            rank = rank * dim + at.rem_euclid(dim as i128) as usize;
        }
        Some(rank)
    }

    /// Whether the same rank can be a neighbour twice.
    fn has_double_neighbors(&self) -> bool {
        self.dims.iter().zip(&self.periods).any(|(&dim, &periodic)| periodic && dim <= 2)
    }
}

/// In MPICH 5.0 a neighbourhood collective on a grid of 19 dimensions writes past its own arrays.
const MAX_DIMENSIONS: usize = 16;

/// # Grids of ranks
impl Comm {
    /// Arranges the ranks in a grid: as many along each dimension as `dims` says, where 0 stands for as
    /// many as fit best; `periods` says which dimensions close to a ring. `None` on ranks that do not
    /// fit, of which there are none where a dimension was free. Collective; every rank gives the same.
    ///
    /// # Errors
    /// On every rank: [`Mismatch`](ErrorKind::Mismatch) if not all give the same;
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the grid needs more ranks than there are, if fixed
    /// dimensions do not divide the number of ranks while others are free, if there is no dimension, or
    /// not one period for each; [`Unsupported`](ErrorKind::Unsupported) for more than 16 dimensions.
    ///
    /// MPI: `MPI_Dims_create` and `MPI_Cart_create`, MPI-4.1 sections 8.5.1 and 8.5.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let grid = world.cart(&[0, 0], &[true, false])?.expect("every rank fits");
    /// assert_eq!(grid.dims().iter().product::<usize>(), world.size());
    /// let [north, south, west, east] = grid.neighbors() else { unreachable!() };
    /// assert!(north.is_some() && south.is_some()); // periodic
    /// assert_eq!(west.is_none(), grid.coords()[1] == 0); // closed
    /// # let _ = east;
    /// grid.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn cart(&self, dims: &[usize], periods: &[bool]) -> Result<Option<Cart>> {
        self.make_cart(&CART, dims, periods, false, Location::caller())
    }

    /// [`cart`](Comm::cart) that lets the MPI library number the ranks anew, so that neighbours lie close
    /// to each other in the machine. [`rank`](Comm::rank) of the grid says which one this is now.
    ///
    /// # Errors
    /// As [`cart`](Comm::cart).
    ///
    /// MPI: `MPI_Cart_create` with `reorder`, MPI-4.1 section 8.5.1.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let grid = world.cart_reorder(&[0, 0], &[false, false])?.expect("every rank fits");
    /// let part = grid.coords(); // not of `world.rank()`
    /// # assert_eq!(grid.coords_of(grid.rank())?, part);
    /// grid.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn cart_reorder(&self, dims: &[usize], periods: &[bool]) -> Result<Option<Cart>> {
        self.make_cart(&CART_REORDER, dims, periods, true, Location::caller())
    }

    fn make_cart(
        &self,
        operation: &'static Operation,
        dims: &[usize],
        periods: &[bool],
        reorder: bool,
        location: &'static Location<'static>,
    ) -> Result<Option<Cart>> {
        let call = self.call(operation, location);
        let _permit = raw::permit(&call)?;
        let given = dims.iter().copied().chain(periods.iter().map(|&periodic| periodic.into()));
        let lengths = [dims.len(), periods.len(), reorder.into()];
        self.all_alike(&call, digest(lengths.into_iter().chain(given)), "grid")?;
        if dims.len() > MAX_DIMENSIONS {
            let given = dims.len();
            let detail = format!(
                "{given} dimensions were given, {MAX_DIMENSIONS} are the most a grid can have"
            );
            return Err(Error::new(ErrorKind::Unsupported, &call, detail));
        }
        if dims.len() != periods.len() {
            let (dims, periods) = (dims.len(), periods.len());
            let detail = format!("{periods} periods were given for {dims} dimensions");
            return Err(Error::new(ErrorKind::InvalidLength, &call, detail));
        }
        let dims = fill(&call, self.size(), dims, false)?;
        let made = raw::topology::cart_create(&call, self.handle(), &dims, periods, reorder)?;
        if raw::comm::is_null(made) {
            return Ok(None);
        }
        let name = format!("{} ({} grid)", self.name(), text(&dims));
        Cart::adopt(operation, made, name, (dims, periods.to_vec()), location).map(Some)
    }
}

impl Cart {
    /// Makes a grid of a handle with a Cartesian topology. Collective over it.
    fn adopt(
        operation: &'static Operation,
        handle: ffi::MPI_Comm,
        name: String,
        (dims, periods): (Vec<usize>, Vec<bool>),
        location: &'static Location<'static>,
    ) -> Result<Cart> {
        let comm = Comm::adopt(operation, handle, name, location)?;
        let grid = Grid::new(dims, periods, comm.rank());
        let mut neighbors = Vec::with_capacity(2 * grid.dims.len());
        for dimension in 0..grid.dims.len() {
            for by in [-1, 1] {
                let offset = (0..).map(|it| if it == dimension { by } else { 0 });
                neighbors.push(grid.at_offset(&grid.coords, offset));
            }
        }
        let call = Call::local(operation, location);
        let double = grid.has_double_neighbors();
        let neighborhood = Neighborhood::of_grid(&call, comm, neighbors, double)?;
        Ok(Cart { neighborhood, grid: Arc::new(grid) })
    }

    /// How many ranks lie along each dimension.
    ///
    /// MPI: `MPI_Cart_get`, MPI-4.1 section 8.5.5.
    pub fn dims(&self) -> &[usize] {
        &self.grid.dims
    }

    /// Which dimensions close to a ring.
    ///
    /// MPI: `MPI_Cart_get`, MPI-4.1 section 8.5.5.
    pub fn periods(&self) -> &[bool] {
        &self.grid.periods
    }

    /// Where this rank is.
    ///
    /// MPI: `MPI_Cart_get`, MPI-4.1 section 8.5.5.
    pub fn coords(&self) -> &[usize] {
        &self.grid.coords
    }

    /// Where a rank is.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank) if there is no such rank.
    ///
    /// MPI: `MPI_Cart_coords`, MPI-4.1 section 8.5.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let grid = world.cart(&[0, 1], &[false, false])?.expect("every rank fits");
    /// assert_eq!(grid.coords_of(world.size() - 1)?, [world.size() - 1, 0]);
    /// grid.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn coords_of(&self, rank: usize) -> Result<Vec<usize>> {
        if rank >= self.size() {
            let call = self.call(&CART_COORDS, Location::caller());
            let detail = format!("rank {rank} of a grid of {} ranks", text(self.dims()));
            return Err(Error::new(ErrorKind::InvalidRank, &call, detail));
        }
        Ok(self.grid.coords_of(rank))
    }

    /// The rank at some coordinates. In a periodic dimension they wrap around; `None` outside of a
    /// closed one.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if there is not one coordinate for each dimension.
    ///
    /// MPI: `MPI_Cart_rank`, MPI-4.1 section 8.5.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let grid = world.cart(&[0, 1], &[false, true])?.expect("every rank fits");
    /// assert_eq!(grid.rank_of(&[0, 0])?, Some(0));
    /// assert_eq!(grid.rank_of(&[0, -5])?, Some(0)); // periodic
    /// assert_eq!(grid.rank_of(&[-1, 0])?, None); // closed
    /// grid.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn rank_of(&self, coords: &[isize]) -> Result<Option<usize>> {
        self.one_for_each(&CART_RANK, "coordinates", coords.len(), Location::caller())?;
        let origin = vec![0; coords.len()];
        Ok(self.grid.at_offset(&origin, coords.iter().map(|&at| at as i128)))
    }

    /// The rank so many steps away from this one in each dimension: `&[-1, 1]` is a diagonal neighbour.
    /// `None` past a closed end.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if there is not one step for each dimension.
    ///
    /// MPI: `MPI_Cart_rank`, MPI-4.1 section 8.5.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let grid = world.cart(&[0, 0], &[true, true])?.expect("every rank fits");
    /// assert_eq!(grid.rank_at_offset(&[0, 0])?, Some(grid.rank()));
    /// let corner = grid.rank_at_offset(&[-1, -1])?;
    /// assert!(corner.is_some());
    /// grid.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn rank_at_offset(&self, offset: &[isize]) -> Result<Option<usize>> {
        self.one_for_each(&CART_RANK, "steps", offset.len(), Location::caller())?;
        Ok(self.grid.at_offset(&self.grid.coords, offset.iter().map(|&by| by as i128)))
    }

    /// The ranks to send to and to receive from so that everything moves `displacement` ranks along a
    /// dimension. `None` is the null process, which every operation takes as an address.
    ///
    /// [`shift`](Comm::shift) and [`shift_open`](Comm::shift_open), which move data themselves, go along the
    /// numbers of the ranks.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if there is no such dimension.
    ///
    /// MPI: `MPI_Cart_shift`, MPI-4.1 section 8.5.6.
    ///
    /// ```
    /// use phalanx::ShiftRanks;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let line = world.cart(&[0], &[false])?.expect("every rank fits");
    /// let ShiftRanks { to, from } = line.shift_ranks(0, 1)?;
    /// let mut received = 0;
    /// let got = line.sendrecv_into(&line.rank(), to, &mut received, from)?;
    /// assert_eq!(got.len, usize::from(line.rank() > 0)); // nothing from the null process
    /// line.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn shift_ranks(&self, dimension: usize, displacement: isize) -> Result<ShiftRanks> {
        let dimensions = self.dims().len();
        if dimension >= dimensions {
            let call = self.call(&CART_SHIFT, Location::caller());
            let detail = format!("dimension {dimension} of a grid of {dimensions}, counted from 0");
            return Err(Error::new(ErrorKind::InvalidLength, &call, detail));
        }
        let at = |by: i128| {
            let offset = (0..).map(|it| if it == dimension { by } else { 0 });
            self.grid.at_offset(self.coords(), offset)
        };
        let by = displacement as i128;
        Ok(ShiftRanks { to: at(by), from: at(-by) })
    }

    /// The neighbours one step away: for each dimension the one before and the one after this rank.
    /// `None` past a closed end. This is the order of all neighbourhood collectives.
    ///
    /// MPI: MPI-4.1 section 8.6.
    pub fn neighbors(&self) -> &[Option<usize>] {
        self.neighborhood.sources()
    }

    /// The part of the grid in which the coordinates of the dimensions that do not remain are the same
    /// as here: `sub(&[false, true])` of a matrix is this rank's row. Collective.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if there is not one answer for each dimension;
    /// [`Mismatch`](ErrorKind::Mismatch) if not all ranks give the same.
    ///
    /// MPI: `MPI_Cart_sub`, MPI-4.1 section 8.5.7.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let matrix = world.cart(&[0, 0], &[false, false])?.expect("every rank fits");
    /// let row = matrix.sub(&[false, true])?;
    /// assert_eq!((row.size(), row.rank()), (matrix.dims()[1], matrix.coords()[1]));
    /// row.free()?;
    /// matrix.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn sub(&self, remain: &[bool]) -> Result<Cart> {
        let location = Location::caller();
        let call = self.call(&CART_SUB, location);
        let _permit = raw::permit(&call)?;
        let given = remain.iter().map(|&it| it.into());
        self.all_alike(&call, digest([remain.len()].into_iter().chain(given)), "dimensions")?;
        self.one_for_each(&CART_SUB, "answers", remain.len(), location)?;
        let made = raw::topology::cart_sub(&call, self.handle(), remain)?;
        let kept = || (0..remain.len()).filter(|&dimension| remain[dimension]);
        let dims: Vec<usize> = kept().map(|dimension| self.dims()[dimension]).collect();
        let periods = kept().map(|dimension| self.periods()[dimension]).collect();
        let part = if dims.is_empty() { "point".to_owned() } else { text(&dims) };
        let name = format!("{} (sub {part})", self.name());
        Cart::adopt(&CART_SUB, made, name, (dims, periods), location)
    }

    /// The same grid in a new context. Collective.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Comm_dup`, MPI-4.1 section 7.4.2, which keeps the topology.
    #[track_caller]
    pub fn dup(&self) -> Result<Cart> {
        let location = Location::caller();
        let call = self.call(&COMM_DUP, location);
        let _permit = raw::permit(&call)?;
        let made = raw::comm::dup(&call, self.handle())?;
        let shape = (self.dims().to_vec(), self.periods().to_vec());
        Cart::adopt(&COMM_DUP, made, format!("{} (dup)", self.name()), shape, location)
    }

    /// Gives the communicator back to the MPI library. Collective.
    ///
    /// # Errors
    /// [`InUse`](ErrorKind::InUse) if a clone or a request of it still exists here.
    ///
    /// MPI: `MPI_Comm_free`, MPI-4.1 section 7.4.3.
    #[track_caller]
    pub fn free(self) -> Result<()> {
        self.neighborhood.free()
    }

    fn one_for_each(
        &self,
        operation: &'static Operation,
        what: &str,
        given: usize,
        location: &'static Location<'static>,
    ) -> Result<()> {
        let dimensions = self.dims().len();
        if given == dimensions {
            return Ok(());
        }
        let call = self.call(operation, location);
        let detail = format!("{given} {what} were given for {dimensions} dimensions");
        Err(Error::new(ErrorKind::InvalidLength, &call, detail))
    }
}

impl Deref for Cart {
    type Target = Neighborhood;

    fn deref(&self) -> &Neighborhood {
        &self.neighborhood
    }
}

impl fmt::Debug for Cart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grid { dims, periods, coords } = &*self.grid;
        write!(f, "Cart({:?}, dims {dims:?}, periods {periods:?}, coords {coords:?})", self.name())
    }
}
