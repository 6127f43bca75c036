//! Scatter: one rank to all, a part for each.

use std::panic::Location;

use super::layout::{equal_share, length_from_root, misfit, one_for_each, total};
use super::shares::{Aside, Shares};
use super::{Blocks, NO_LENGTH, PerRank};
use crate::comm::Comm;
use crate::datatype::{Buffer, Element, view_of, view_of_mut, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::{self, Form};
use crate::raw::state;
use crate::record::{Call, ISCATTER, ISCATTERV, SCATTER, SCATTERV};
use crate::request::{Request, Run, start_collective, start_several};

/// # Scatter of elements
impl Comm {
    /// Gives every rank an equal part of the root's elements, in the order of the ranks. `data` is
    /// `Some` on the root alone. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); on every rank [`InvalidLength`](ErrorKind::InvalidLength)
    /// if the ranks cannot share the elements evenly, or the root gives none.
    ///
    /// MPI: `MPI_Bcast` of the length, then `MPI_Scatter`; MPI-4.1 section 6.6.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let all = (world.rank() == 0).then(|| (0..2 * world.size()).collect::<Vec<_>>());
    /// let mine = world.scatter(all.as_ref(), 0)?;
    /// assert_eq!(mine, [2 * world.rank(), 2 * world.rank() + 1]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scatter<B: Buffer + ?Sized>(
        &self,
        data: Option<&B>,
        root: usize,
    ) -> Result<Vec<B::Element>> {
        let call = self.call(&SCATTER, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        self.check_root(&call, root).map_err(|error| collective::refused(&call, error))?;
        let data = data.map(Buffer::elements);
        let share = self.tell_share(&call, data.map(<[_]>::len), root)?;
        let mut mine = zeros(share);
        self.scatter_at(&call, data, &mut mine, root)?;
        Ok(mine)
    }

    /// Tells every rank the length of its share, or that there is none.
    fn tell_share(&self, call: &Call<'_>, elements: Option<usize>, root: usize) -> Result<usize> {
        let share = match elements {
            _ if self.rank() != root => Ok(0),
            Some(elements) => equal_share(call, elements, self.size()),
            None => Err(nothing_to_scatter(call)),
        };
        let mut announced_length = [share.as_ref().map_or(NO_LENGTH, |&share| share as u64)];
        collective::bcast(call, Form::Blocking, view_of_mut(call, &mut announced_length)?, root)?;
        share?;
        length_from_root(call, announced_length[0])
    }

    /// [`scatter`](Comm::scatter) into a buffer, which has the length of a part: one MPI call. `data`
    /// is `Some` on the root alone.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); on the root [`InvalidLength`](ErrorKind::InvalidLength)
    /// if its elements are not one part for each rank.
    ///
    /// MPI: `MPI_Scatter`, MPI-4.1 section 6.6.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let all: Vec<usize> = (0..world.size()).collect();
    /// let mut mine = [0];
    /// world.scatter_into((world.rank() == 0).then_some(&all[..]), &mut mine, 0)?;
    /// assert_eq!(mine, [world.rank()]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scatter_into<T: Element>(
        &self,
        data: Option<&[T]>,
        buffer: &mut [T],
        root: usize,
    ) -> Result<()> {
        let call = self.call(&SCATTER, Location::caller()).root(root);
        let needed = buffer.len().saturating_mul(self.size());
        let checked = match data {
            _ if root >= self.size() => self.check_root(&call, root),
            _ if self.rank() != root => Ok(()),
            Some(data) if data.len() == needed => Ok(()),
            Some(data) => Err(misfit(&call, "send", needed, Some(data.len()))),
            None => Err(nothing_to_scatter(&call)),
        };
        checked.map_err(|error| collective::refused(&call, error))?;
        self.scatter_at(&call, data, buffer, root)
    }

    fn scatter_at<T: Element>(
        &self,
        call: &Call<'_>,
        data: Option<&[T]>,
        buffer: &mut [T],
        root: usize,
    ) -> Result<()> {
        let send = data.map(|it| view_of(call, it)).transpose()?;
        collective::scatter(call, Form::Blocking, send, view_of_mut(call, buffer)?, root)
    }

    /// Gives every rank its own block of the root's, of any length. `blocks` is `Some` on the root
    /// alone: `Vec<Vec<T>>`, [`PerRank`], or `(&[T], &[usize])`. Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); on every rank [`InvalidLength`](ErrorKind::InvalidLength)
    /// if there is not one block for each rank.
    ///
    /// MPI: `MPI_Scatter` of the lengths, then `MPI_Scatterv`; MPI-4.1 section 6.6. A block that is longer than
    /// an equal share of 2³¹−1 items goes as a message of its own.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let blocks: Option<Vec<Vec<usize>>> =
    ///     (world.rank() == 0).then(|| (0..world.size()).map(|rank| vec![rank; rank]).collect());
    /// let mine = world.scatterv(blocks.as_ref(), 0)?;
    /// assert_eq!(mine, vec![world.rank(); world.rank()]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scatterv<B: Blocks + ?Sized>(
        &self,
        blocks: Option<&B>,
        root: usize,
    ) -> Result<Vec<B::Element>> {
        let call = self.call(&SCATTERV, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        self.check_root(&call, root).map_err(|error| collective::refused(&call, error))?;
        let blocks = blocks.filter(|_| self.rank() == root);
        let given = blocks.map(|blocks| (blocks.flat(), blocks.counts()));
        let checked = match &given {
            Some((flat, counts)) => one_for_each(&call, counts, flat.len())
                .and_then(|()| Shares::new(&call, counts, B::Element::ITEMS).map(Some)),
            None if self.rank() == root => Err(nothing_to_scatter(&call)),
            None => Ok(None),
        };
        let lengths: Option<Vec<u64>> = match (&checked, &given) {
            (Ok(_), Some((_, counts))) => Some(counts.iter().map(|&n| n as u64).collect()),
            (Err(_), _) => Some(vec![NO_LENGTH; self.size()]),
            _ => None,
        };
        let mut length = [0];
        self.scatter_at(&call, lengths.as_deref(), &mut length, root)?;
        let shares = checked?;
        let mut mine: Vec<B::Element> = zeros(length_from_root(&call, length[0])?);
        let send = match (&given, &shares) {
            (Some((flat, _)), Some(shares)) => Some((view_of(&call, flat)?, shares)),
            _ => None,
        };
        let (run, aside) = (&mut Run::Now, &mut Aside::default());
        self.scatter_shares(&call, run, send, view_of_mut(&call, &mut mine)?, aside, root)?;
        Ok(mine)
    }

    /// [`scatterv`](Comm::scatterv) into a buffer, which has the length of this rank's block: one MPI
    /// call. The root gives all elements and the length of each block.
    ///
    /// # Errors
    /// [`InvalidRoot`](ErrorKind::InvalidRoot); on the root [`InvalidLength`](ErrorKind::InvalidLength)
    /// if lengths and elements do not fit each other or its buffer.
    ///
    /// MPI: `MPI_Scatterv`, MPI-4.1 section 6.6.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let counts: Vec<usize> = (0..world.size()).collect();
    /// let all = vec![1.5; counts.iter().sum()];
    /// let mut mine = vec![0.0; world.rank()];
    /// let given = (world.rank() == 0).then_some((&all[..], &counts[..]));
    /// world.scatterv_into(given, &mut mine, 0)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn scatterv_into<T: Element>(
        &self,
        data: Option<(&[T], &[usize])>,
        buffer: &mut [T],
        root: usize,
    ) -> Result<()> {
        let call = self.call(&SCATTERV, Location::caller()).root(root);
        let refused = |error| collective::refused(&call, error);
        self.check_root(&call, root).map_err(refused)?;
        let (run, aside) = (&mut Run::Now, &mut Aside::default());
        if self.rank() != root {
            return self.scatter_shares(&call, run, None, view_of_mut(&call, buffer)?, aside, root);
        }
        let Some((elements, counts)) = data else {
            return Err(refused(nothing_to_scatter(&call)));
        };
        let (shares, mut checked) = announced(&call, elements, counts).map_err(refused)?;
        let (own, send) = (counts[root], view_of(&call, elements)?);
        if own != buffer.len() {
            checked = checked.and(Err(misfit(&call, "receive", own, Some(buffer.len()))));
        }
        if checked.is_ok() {
            let recv = view_of_mut(&call, buffer)?;
            return self.scatter_shares(&call, run, Some((send, &shares)), recv, aside, root);
        }
        // What is announced is there: the others get theirs in spite of the mistake.
        let mut mine: Vec<T> = zeros(own);
        let recv = view_of_mut(&call, &mut mine)?;
        self.scatter_shares(&call, run, Some((send, &shares)), recv, aside, root)?;
        checked
    }

    /// Starts a [`scatter`](Comm::scatter) of parts of `share` elements. `data` is `Some` on the root
    /// alone. Collective.
    ///
    /// # Errors
    /// As [`scatter_into`](Comm::scatter_into).
    ///
    /// MPI: `MPI_Iscatter`, MPI-4.1 section 6.12.4.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let all = (world.rank() == 0).then(|| (0..world.size()).collect::<Vec<_>>());
    /// let mine = world.iscatter(all, 1, 0)?.wait()?;
    /// assert_eq!(mine, [world.rank()]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iscatter<T: Element>(
        &self,
        data: Option<Vec<T>>,
        share: usize,
        root: usize,
    ) -> Result<Request<Vec<T>>> {
        let call = self.call(&ISCATTER, Location::caller()).root(root);
        let needed = share.saturating_mul(self.size());
        let checked = match &data {
            _ if root >= self.size() => self.check_root(&call, root),
            _ if self.rank() != root => Ok(()),
            Some(data) if data.len() == needed => Ok(()),
            Some(data) => Err(misfit(&call, "send", needed, Some(data.len()))),
            None => Err(nothing_to_scatter(&call)),
        };
        checked.map_err(|error| collective::refused_later(&call, error))?;
        let begin = |(data, mine): &mut (Option<Vec<T>>, Vec<T>), form: Form<'_>| {
            let send = data.as_deref().map(|it| view_of(&call, it)).transpose()?;
            collective::scatter(&call, form, send, view_of_mut(&call, mine)?, root)
        };
        let storage = (data, zeros(share));
        start_collective(self, &call, storage, begin, |(_, mine), _, _| Ok(mine))
    }

    /// Starts a [`scatterv`](Comm::scatterv) in which this rank's block has `length` elements. `blocks`
    /// is `Some` on the root alone. Collective.
    ///
    /// # Errors
    /// As [`scatterv_into`](Comm::scatterv_into).
    ///
    /// MPI: `MPI_Iscatterv`, MPI-4.1 section 6.12.4.
    ///
    /// ```
    /// use phalanx::PerRank;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let blocks = (world.rank() == 0)
    ///     .then(|| PerRank::from((0..world.size()).map(|rank| vec![1; rank]).collect::<Vec<_>>()));
    /// let mine = world.iscatterv(blocks, world.rank(), 0)?.wait()?;
    /// assert_eq!(mine.len(), world.rank());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn iscatterv<T: Element>(
        &self,
        blocks: Option<PerRank<T>>,
        length: usize,
        root: usize,
    ) -> Result<Request<Vec<T>>> {
        struct Storage<T> {
            given: Option<(PerRank<T>, Shares)>,
            mine: Vec<T>,
            aside: Aside,
        }
        let call = self.call(&ISCATTERV, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        let refused = |error| collective::refused_later(&call, error);
        self.check_root(&call, root).map_err(refused)?;
        let mut checked = Ok(());
        let mut room = length;
        let given = match blocks.filter(|_| self.rank() == root) {
            Some(blocks) => {
                let counts = blocks.counts();
                let (shares, _) = announced(&call, blocks.flat(), counts).map_err(refused)?;
                room = counts[root];
                if room != length {
                    checked = Err(misfit(&call, "receive", room, Some(length)));
                }
                Some((blocks, shares))
            }
            None if self.rank() == root => return Err(refused(nothing_to_scatter(&call))),
            None => None,
        };
        let storage = Storage { given, mine: zeros(room), aside: Aside::default() };
        let begin = |s: &mut Storage<T>, run: &mut Run<'_>| {
            let send = match &s.given {
                Some((blocks, shares)) => Some((view_of(&call, blocks.flat())?, shares)),
                None => None,
            };
            let recv = view_of_mut(&call, &mut s.mine)?;
            self.scatter_shares(&call, run, send, recv, &mut s.aside, root)
        };
        let request = start_several(self, &call, storage, begin, |s, _| Ok(s.mine))?;
        match checked {
            Ok(()) => Ok(request),
            // What is announced is there: the others get theirs in spite of the mistake.
            Err(error) => {
                request.in_background();
                Err(error)
            }
        }
    }
}

/// The blocks that counts announce, if the elements are there. Where there are more elements the blocks can
/// be sent, and there is a mistake all the same.
fn announced<T: Element>(
    call: &Call<'_>,
    elements: &[T],
    counts: &[usize],
) -> Result<(Shares, Result<()>)> {
    let checked = one_for_each(call, counts, elements.len());
    let ranks = call.comm.map_or(0, |comm| comm.size);
    let are_there = counts.len() == ranks && total(call, counts)? <= elements.len();
    match checked {
        Err(error) if !are_there => Err(error),
        checked => Ok((Shares::new(call, counts, T::ITEMS)?, checked)),
    }
}

#[cold]
fn nothing_to_scatter(call: &Call<'_>) -> Error {
    Error::new(
        ErrorKind::InvalidLength,
        call,
        "the root must give what is scattered, it gave `None`",
    )
}
