//! Gather: all to one rank.

use std::panic::Location;

use super::PerRank;
use super::allgather::per_rank;
use super::layout::{misfit, one_for_each, total};
use super::shares::{Aside, Shares};
use crate::comm::Comm;
use crate::datatype::{Buffer, Element, view_of, view_of_mut, zeros};
use crate::error::Result;
use crate::raw::collective::{self, Form, Input};
use crate::raw::state;
use crate::record::{Call, GATHER, GATHERV, IGATHER, IGATHERV};
use crate::request::{Request, Run, start_collective, start_several};

/// # Gather of elements
impl Comm {
    /// Collects as many elements from every rank at the root, in the order of the ranks. `Some` on the
    /// root alone. Collective; every rank gives the same number of elements.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot), and what the MPI library reports.
    ///
    /// MPI: `MPI_Gather`, MPI-4.1 section 6.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// if let Some(squares) = world.gather(&(world.rank() * world.rank()), 0)? {
    ///     assert_eq!(squares, (0..world.size()).map(|rank| rank * rank).collect::<Vec<_>>());
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn gather<B: Buffer + ?Sized>(
        &self,
        data: &B,
        root: usize,
    ) -> Result<Option<Vec<B::Element>>> {
        let call = self.call(&GATHER, Location::caller()).root(root);
        let mut gathered = self.room_at_root(data.elements().len(), root);
        self.gather_at(&call, data.elements(), gathered.as_deref_mut(), root)?;
        Ok(gathered)
    }

    /// [`gather`](Comm::gather) into a buffer of the root's, which is `Some` on the root alone.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot); [`InvalidLength`](crate::ErrorKind::InvalidLength) if the
    /// root's buffer does not hold as many elements for each rank.
    ///
    /// MPI: `MPI_Gather`, MPI-4.1 section 6.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut all = vec![0; world.size()];
    /// let buffer = (world.rank() == 0).then_some(&mut all[..]);
    /// world.gather_into(&[world.rank()], buffer, 0)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn gather_into<B: Buffer + ?Sized>(
        &self,
        data: &B,
        buffer: Option<&mut [B::Element]>,
        root: usize,
    ) -> Result<()> {
        let call = self.call(&GATHER, Location::caller()).root(root);
        self.gather_at(&call, data.elements(), buffer, root)
    }

    /// [`gather`](Comm::gather) where the root's own part lies in its place in the buffer already.
    /// `data` is what the other ranks give; the root's is not looked at.
    ///
    /// # Errors
    /// As [`gather_into`](Comm::gather_into).
    ///
    /// MPI: `MPI_Gather` with `MPI_IN_PLACE`, MPI-4.1 section 6.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut all = vec![0; world.size()];
    /// all[0] = 7; // the root's own
    /// let buffer = (world.rank() == 0).then_some(&mut all[..]);
    /// world.gather_in_place(&[world.rank() + 7], buffer, 0)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn gather_in_place<B: Buffer + ?Sized>(
        &self,
        data: &B,
        buffer: Option<&mut [B::Element]>,
        root: usize,
    ) -> Result<()> {
        let call = self.call(&GATHER, Location::caller()).root(root);
        self.check_root(&call, root).map_err(|error| collective::refused(&call, error))?;
        let send = if self.rank() == root {
            Input::InPlace
        } else {
            Input::View(view_of(&call, data.elements())?)
        };
        let recv = buffer.map(|it| view_of_mut(&call, it)).transpose()?;
        let recv = recv.filter(|_| self.rank() == root);
        // How much the others give is not known here without a buffer that they can share.
        let checked = match &recv {
            Some(recv) => collective::block(&call, "receive", recv.items).map(drop),
            None if self.rank() == root => Err(misfit(&call, "receive", 0, None)),
            None => Ok(()),
        };
        checked.map_err(|error| collective::refused(&call, error))?;
        collective::gather(&call, Form::Blocking, send, recv, root)
    }

    fn gather_at<T: Element>(
        &self,
        call: &Call<'_>,
        data: &[T],
        buffer: Option<&mut [T]>,
        root: usize,
    ) -> Result<()> {
        self.check_root(call, root).map_err(|error| collective::refused(call, error))?;
        let send = Input::View(view_of(call, data)?);
        let needed = data.len().saturating_mul(self.size());
        match buffer {
            _ if self.rank() != root => collective::gather(call, Form::Blocking, send, None, root),
            Some(buffer) if buffer.len() == needed => collective::gather(
                call,
                Form::Blocking,
                send,
                Some(view_of_mut(call, buffer)?),
                root,
            ),
            // The others must not wait for a root that has made a mistake: it takes part all the same.
            buffer => {
                let error = misfit(call, "receive", needed, buffer.map(|it| it.len()));
                let mut aside: Vec<T> = zeros(needed);
                collective::gather(
                    call,
                    Form::Blocking,
                    send,
                    Some(view_of_mut(call, &mut aside)?),
                    root,
                )?;
                Err(error)
            }
        }
    }

    /// Room for everybody's `len` elements, on the root alone.
    pub(super) fn room_at_root<T: Element>(&self, len: usize, root: usize) -> Option<Vec<T>> {
        (self.rank() == root).then(|| zeros(len.saturating_mul(self.size())))
    }

    /// Collects any number of elements from every rank at the root. `Some` on the root alone.
    /// Collective.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot), and what the MPI library reports.
    ///
    /// MPI: `MPI_Gather` of the lengths, then `MPI_Gatherv`; MPI-4.1 section 6.5. A block that is longer than
    /// an equal share of 2³¹−1 items goes as a message of its own.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mine = vec![world.rank(); world.rank()]; // rank 0 gives nothing
    /// if let Some(all) = world.gatherv(&mine, 0)? {
    ///     assert_eq!(all[world.size() - 1].len(), world.size() - 1);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn gatherv<B: Buffer + ?Sized>(
        &self,
        data: &B,
        root: usize,
    ) -> Result<Option<PerRank<B::Element>>> {
        let call = self.call(&GATHERV, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        let mine = data.elements();
        let mut counts = self.room_at_root(1, root);
        self.gather_at(&call, &[mine.len()], counts.as_deref_mut(), root)?;
        let mut gathered: Option<Vec<B::Element>> = match &counts {
            Some(counts) => Some(zeros(total(&call, counts)?)),
            None => None,
        };
        let room = gathered.as_deref_mut().zip(counts.as_deref());
        self.gatherv_at(&call, mine, room, root)?;
        Ok(gathered.zip(counts).and_then(|(data, counts)| PerRank::from_flat(data, counts)))
    }

    /// [`gatherv`](Comm::gatherv) into a buffer of the root's, with the number of elements of each
    /// rank: one MPI call. `Some` on the root alone.
    ///
    /// # Errors
    /// [`InvalidRoot`](crate::ErrorKind::InvalidRoot); [`InvalidLength`](crate::ErrorKind::InvalidLength) if counts
    /// and buffer do not fit each other or what the root itself gives.
    ///
    /// MPI: `MPI_Gatherv`, MPI-4.1 section 6.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let counts: Vec<usize> = (0..world.size()).collect();
    /// let mut all = vec![0; counts.iter().sum()];
    /// let room = (world.rank() == 0).then_some((&mut all[..], &counts[..]));
    /// world.gatherv_into(&vec![1; world.rank()], room, 0)?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn gatherv_into<B: Buffer + ?Sized>(
        &self,
        data: &B,
        room: Option<(&mut [B::Element], &[usize])>,
        root: usize,
    ) -> Result<()> {
        let call = self.call(&GATHERV, Location::caller()).root(root);
        self.gatherv_at(&call, data.elements(), room, root)
    }

    fn gatherv_at<T: Element>(
        &self,
        call: &Call<'_>,
        data: &[T],
        room: Option<(&mut [T], &[usize])>,
        root: usize,
    ) -> Result<()> {
        let _permit = state::permit(call)?;
        self.check_root(call, root).map_err(|error| collective::refused(call, error))?;
        let send = view_of(call, data)?;
        let (run, aside) = (&mut Run::Now, &mut Aside::default());
        if self.rank() != root {
            return self.gather_shares(call, run, send, None, aside, root);
        }
        let (buffer, mut counts, mut checked) = match room {
            Some((buffer, counts)) => {
                let checked = one_for_each(call, counts, buffer.len());
                (buffer, counts.to_vec(), checked)
            }
            None => (&mut [][..], Vec::new(), Err(misfit(call, "receive", 0, None))),
        };
        if counts.len() != self.size() {
            // How much the others give is not known here.
            return checked.map_err(|error| collective::refused(call, error));
        }
        if counts[root] != data.len() {
            let error = collective::not_as_announced(call, counts[root], data.len());
            checked = checked.and(Err(error));
            counts[root] = data.len();
        }
        let shares = Shares::new(call, &counts, T::ITEMS);
        let shares = shares.map_err(|error| collective::refused(call, error))?;
        if checked.is_ok() {
            let recv = Some((view_of_mut(call, buffer)?, &shares));
            return self.gather_shares(call, run, send, recv, aside, root);
        }
        // The others must not wait for a root that has made a mistake: it takes part all the same.
        let mut all: Vec<T> = zeros(counts.iter().sum());
        let recv = Some((view_of_mut(call, &mut all)?, &shares));
        self.gather_shares(call, run, send, recv, aside, root)?;
        checked
    }

    /// Starts a [`gather`](Comm::gather). Collective.
    ///
    /// # Errors
    /// As [`gather`](Comm::gather).
    ///
    /// MPI: `MPI_Igather`, MPI-4.1 section 6.12.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let gathering = world.igather(vec![world.rank()], 0)?;
    /// let all = gathering.wait()?;
    /// assert_eq!(all.is_some(), world.rank() == 0);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn igather<B>(&self, data: B, root: usize) -> Result<Request<Option<Vec<B::Element>>>>
    where
        B: Buffer + Send + 'static,
    {
        let call = self.call(&IGATHER, Location::caller()).root(root);
        self.check_root(&call, root).map_err(|error| collective::refused_later(&call, error))?;
        let room = self.room_at_root::<B::Element>(data.elements().len(), root);
        let begin = |(data, room): &mut (B, Option<Vec<B::Element>>), form: Form<'_>| {
            let recv = room.as_deref_mut().map(|it| view_of_mut(&call, it)).transpose()?;
            collective::gather(
                &call,
                form,
                Input::View(view_of(&call, data.elements())?),
                recv,
                root,
            )
        };
        start_collective(self, &call, (data, room), begin, |(_, room), _, _| Ok(room))
    }

    /// Starts a [`gatherv`](Comm::gatherv) where the root knows how much each rank gives: `counts` is
    /// `Some` on the root alone. Collective.
    ///
    /// # Errors
    /// As [`gatherv_into`](Comm::gatherv_into).
    ///
    /// MPI: `MPI_Igatherv`, MPI-4.1 section 6.12.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let counts = (world.rank() == 0).then(|| (0..world.size()).collect());
    /// let all = world.igatherv(vec![1.0; world.rank()], counts, 0)?.wait()?;
    /// # let _ = all;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn igatherv<B>(
        &self,
        data: B,
        counts: Option<Vec<usize>>,
        root: usize,
    ) -> Result<Request<Option<PerRank<B::Element>>>>
    where
        B: Buffer + Send + 'static,
    {
        struct Storage<B: Buffer> {
            data: B,
            room: Option<(Vec<B::Element>, Shares)>,
            aside: Aside,
        }
        let call = self.call(&IGATHERV, Location::caller()).root(root);
        let _permit = state::permit(&call)?;
        let refused = |error| collective::refused_later(&call, error);
        self.check_root(&call, root).map_err(refused)?;
        let mut counts = counts.filter(|_| self.rank() == root);
        let mut checked = Ok(());
        let room = match &mut counts {
            None if self.rank() == root => return Err(refused(misfit(&call, "receive", 0, None))),
            None => None,
            Some(counts) => {
                let elements = total(&call, counts).map_err(refused)?;
                one_for_each(&call, counts, elements).map_err(refused)?;
                let mine = data.elements().len();
                if counts[root] != mine {
                    checked = Err(collective::not_as_announced(&call, counts[root], mine));
                    counts[root] = mine;
                }
                let shares = Shares::new(&call, counts, B::Element::ITEMS).map_err(refused)?;
                let elements = total(&call, counts).map_err(refused)?;
                Some((zeros::<B::Element>(elements), shares))
            }
        };
        let storage = Storage { data, room, aside: Aside::default() };
        let begin = |s: &mut Storage<B>, run: &mut Run<'_>| {
            let recv = match &mut s.room {
                Some((buffer, shares)) => Some((view_of_mut(&call, buffer)?, &*shares)),
                None => None,
            };
            let send = view_of(&call, s.data.elements())?;
            self.gather_shares(&call, run, send, recv, &mut s.aside, root)
        };
        let request = start_several(self, &call, storage, begin, |mut s, call| match s.room {
            None => Ok(None),
            Some((mut data, shares)) => {
                shares.unpack(s.aside.received(), &mut view_of_mut(call, &mut data)?);
                per_rank(call, data, counts.unwrap_or_default()).map(Some)
            }
        })?;
        // Where the root has made a mistake, the others must not wait for it: it takes part all the same.
        match checked {
            Ok(()) => Ok(request),
            Err(error) => {
                request.in_background();
                Err(error)
            }
        }
    }
}
