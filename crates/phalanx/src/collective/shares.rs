//! How blocks travel of which there is one for each rank.
//!
//! A call of the C interface counts blocks, and says where they start, with numbers of 31 bits. Only the
//! root of a `gatherv` knows how much there is in all; what both sides of a block know is its own length.
//! So a block that is longer than an equal share of what a call can count goes as a message of its own, on
//! the private communicator, and has no items in the call: then what is left can always be counted, and
//! both sides come to the same decision. Starts that are too large are avoided by a packed copy.

use std::os::raw::c_int;

use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::collective::{self, BlockTable, Input, Layout};
use crate::raw::{self, Scratch, View, ViewMut};
use crate::record::Call;
use crate::request::{Apart, ApartMut, Run};

/// Where a block lies, in items.
#[derive(Clone, Copy)]
struct Extent {
    start: usize,
    items: usize,
}

/// One block for each rank.
pub(crate) struct Shares {
    extents: Vec<Extent>,
    /// What the call has: the blocks that are not too long for it.
    counts: Vec<c_int>,
    starts: Vec<c_int>,
    /// Items of a packed copy of those, where their starts are too large.
    packed: Option<usize>,
    total: usize,
}

/// Whether a block of so many items goes as a message of its own.
fn is_apart(items: usize, ranks: usize) -> bool {
    items > raw::large_limit() / ranks.max(1)
}

impl Shares {
    /// Blocks of `counts` elements, one after another.
    pub fn new(call: &Call<'_>, counts: &[usize], items_per_element: usize) -> Result<Self> {
        let too_many = || {
            let detail = "the counts add up to more than memory holds";
            Error::new(ErrorKind::InvalidLength, call, detail)
        };
        let mut extents = Vec::with_capacity(counts.len());
        let mut total: usize = 0;
        for &count in counts {
            let items = count.checked_mul(items_per_element).ok_or_else(too_many)?;
            extents.push(Extent { start: total, items });
            total = total.checked_add(items).ok_or_else(too_many)?;
        }
        let ranks = extents.len();
        let in_call = |extent: &&Extent| extent.items > 0 && !is_apart(extent.items, ranks);
        let far = extents.iter().filter(in_call).any(|it| it.start > raw::large_limit());
        let mut shares =
            Shares { extents, counts: Vec::new(), starts: Vec::new(), packed: None, total };
        let mut end = 0;
        for extent in &shares.extents {
            let items = if is_apart(extent.items, ranks) { 0 } else { extent.items };
            // All of them together are within the limit.
            shares.counts.push(items as c_int);
            let start = if far { end } else { extent.start };
            shares.starts.push(if items == 0 { 0 } else { start as c_int });
            end += items;
        }
        shares.packed = far.then_some(end);
        Ok(shares)
    }

    pub fn items(&self, rank: usize) -> usize {
        self.extents.get(rank).map_or(0, |it| it.items)
    }

    fn layout(&self) -> Layout<'_> {
        Layout { counts: &self.counts, starts: &self.starts }
    }

    /// The ranks whose blocks go as messages of their own.
    fn apart(&self) -> impl Iterator<Item = (usize, Extent)> {
        let ranks = self.extents.len();
        let extents = self.extents.iter().copied().enumerate();
        extents.filter(move |(_, extent)| is_apart(extent.items, ranks))
    }

    fn apart_of(&self, rank: usize) -> Option<Extent> {
        self.extents.get(rank).copied().filter(|it| is_apart(it.items, self.extents.len()))
    }

    /// Copies the blocks of the call out of the packed copy.
    pub fn unpack(&self, scratch: &mut Scratch, into: &mut ViewMut<'_>) {
        let Some(packed) = self.packed else { return };
        let scratch = scratch.as_view(&into.reborrow(), packed);
        for (extent, (&count, &start)) in
            self.extents.iter().zip(self.counts.iter().zip(&self.starts))
        {
            let block = scratch.reborrow().piece(start as usize, count as usize);
            into.piece(extent.start, block.items).copy_from(&block);
        }
    }

    /// Copies the blocks of the call into the packed copy.
    fn pack(&self, scratch: &mut Scratch, from: View<'_>, packed: usize) {
        let mut scratch = scratch.like(&from, packed);
        for (extent, (&count, &start)) in
            self.extents.iter().zip(self.counts.iter().zip(&self.starts))
        {
            let block = from.piece(extent.start, count as usize);
            scratch.piece(start as usize, block.items).copy_from(&block);
        }
    }
}

/// What MPI reads and writes beside the buffers of a call, until it is complete.
#[derive(Default)]
pub(crate) struct Aside {
    sent: Scratch,
    received: Scratch,
    blocks: Option<(BlockTable, BlockTable)>,
    layout: Vec<Vec<c_int>>,
}

impl Aside {
    /// What was received aside: the shares know where it belongs.
    pub fn received(&mut self) -> &mut Scratch {
        &mut self.received
    }
}

/// One block of a call among all ranks, and none where it goes apart.
fn within<'a>(view: View<'a>, apart: bool) -> View<'a> {
    if apart { view.first(0) } else { view }
}

impl Comm {
    /// The call for messages that belong to a collective and that only two ranks know of.
    fn apart_call(&self, call: &Call<'_>) -> (Call<'_>, i32) {
        (self.private_call(call.operation, call.location), crate::comm::apart_tag())
    }

    /// Blocks of any length to the root. `recv` is `Some` there alone.
    pub(crate) fn gather_shares(
        &self,
        call: &Call<'_>,
        run: &mut Run<'_>,
        send: View<'_>,
        recv: Option<(ViewMut<'_>, &Shares)>,
        aside: &mut Aside,
        root: usize,
    ) -> Result<()> {
        let (rank, ranks) = (self.rank(), self.size());
        let (private, tag) = self.apart_call(call);
        let apart = is_apart(send.items, ranks);
        let Some((mut into, shares)) = recv else {
            collective::gatherv(call, run.form(), within(send, apart), None, root)?;
            let send = apart.then_some(Apart { rank: root, view: send });
            return run.exchange(&private, tag, send, None);
        };
        let extent = match shares.packed {
            Some(packed) => aside.received.like(&into.reborrow(), packed),
            None => into.piece(0, usize::MAX),
        };
        let recv = Some((extent, shares.layout()));
        collective::gatherv(call, run.form(), within(send, apart), recv, root)?;
        for (from, extent) in shares.apart() {
            let mut block = into.piece(extent.start, extent.items);
            if from == rank {
                block.copy_from(&send);
            } else {
                run.exchange(&private, tag, None, Some(ApartMut { rank: from, view: block }))?;
            }
        }
        if let Run::Now = run {
            shares.unpack(&mut aside.received, &mut into);
        }
        Ok(())
    }

    /// Blocks of any length from the root. `send` is `Some` there alone.
    pub(crate) fn scatter_shares(
        &self,
        call: &Call<'_>,
        run: &mut Run<'_>,
        send: Option<(View<'_>, &Shares)>,
        mut recv: ViewMut<'_>,
        aside: &mut Aside,
        root: usize,
    ) -> Result<()> {
        let (rank, ranks) = (self.rank(), self.size());
        let (private, tag) = self.apart_call(call);
        let apart = is_apart(recv.items, ranks);
        let room = if apart { 0 } else { recv.items };
        let Some((from, shares)) = send else {
            collective::scatterv(call, run.form(), None, recv.piece(0, room), root)?;
            let recv = apart.then_some(ApartMut { rank: root, view: recv });
            return run.exchange(&private, tag, None, recv);
        };
        let view = match shares.packed {
            Some(packed) => {
                shares.pack(&mut aside.sent, from, packed);
                aside.sent.as_view(&from, packed)
            }
            None => ViewMut::empty(),
        };
        let view = if shares.packed.is_some() { view.reborrow() } else { from };
        let send = Some((view, shares.layout()));
        collective::scatterv(call, run.form(), send, recv.piece(0, room), root)?;
        for (to, extent) in shares.apart() {
            let block = from.piece(extent.start, extent.items);
            if to == rank {
                recv.copy_from(&block);
            } else {
                run.exchange(&private, tag, Some(Apart { rank: to, view: block }), None)?;
            }
        }
        Ok(())
    }

    /// Blocks of any length from every rank to every rank.
    pub(crate) fn alltoall_shares(
        &self,
        call: &Call<'_>,
        run: &mut Run<'_>,
        (from, outgoing): (View<'_>, &Shares),
        (mut into, incoming): (ViewMut<'_>, &Shares),
        aside: &mut Aside,
    ) -> Result<()> {
        let (rank, ranks) = (self.rank(), self.size());
        let Aside { sent, received, .. } = aside;
        let packed;
        let send = match outgoing.packed {
            Some(items) => {
                outgoing.pack(sent, from, items);
                packed = sent.as_view(&from, items);
                packed.reborrow()
            }
            None => from,
        };
        let recv = match incoming.packed {
            Some(items) => received.like(&into.reborrow(), items),
            None => into.piece(0, usize::MAX),
        };
        let (to_each, from_each) = (outgoing.layout(), incoming.layout());
        collective::alltoallv(call, run.form(), send, to_each, recv, from_each)?;
        let (private, tag) = self.apart_call(call);
        if let (Some(to), Some(here)) = (outgoing.apart_of(rank), incoming.apart_of(rank)) {
            into.piece(here.start, here.items).copy_from(&from.piece(to.start, to.items));
        }
        // In rounds, so that blocking calls cannot wait for each other in a circle.
        for step in 1..ranks {
            let (to, source) = ((rank + step) % ranks, (rank + ranks - step) % ranks);
            let send = outgoing.apart_of(to);
            let send = send.map(|it| Apart { rank: to, view: from.piece(it.start, it.items) });
            let recv = incoming.apart_of(source);
            let recv =
                recv.map(|it| ApartMut { rank: source, view: into.piece(it.start, it.items) });
            run.exchange(&private, tag, send, recv)?;
        }
        if let Run::Now = run {
            incoming.unpack(received, &mut into);
        }
        Ok(())
    }

    /// Blocks of any length from every rank, the same for every rank. All of them know all lengths: where a
    /// call cannot count them, each becomes one item of a datatype of its own.
    pub(crate) fn allgather_shares(
        &self,
        call: &Call<'_>,
        run: &mut Run<'_>,
        send: View<'_>,
        (mut into, shares): (ViewMut<'_>, &Shares),
        aside: &mut Aside,
    ) -> Result<()> {
        if shares.total <= raw::large_limit() {
            let column = |of: fn(&Extent) -> usize| -> Vec<c_int> {
                shares.extents.iter().map(|it| of(it) as c_int).collect()
            };
            aside.layout = vec![column(|it| it.items), column(|it| it.start)];
            let layout = Layout { counts: &aside.layout[0], starts: &aside.layout[1] };
            return collective::allgatherv(call, run.form(), Input::View(send), into, layout);
        }
        if send.items != shares.items(self.rank()) {
            return Err(collective::not_as_announced(call, shares.items(self.rank()), send.items));
        }
        let outgoing = std::iter::repeat_n((send.pointer, send.items, send.datatype), self.size());
        let incoming: Vec<_> = shares
            .extents
            .iter()
            .map(|it| {
                let block = into.piece(it.start, it.items);
                (block.pointer.cast_const(), block.items, block.datatype)
            })
            .collect();
        let blocks =
            (BlockTable::new(call, outgoing)?, BlockTable::new(call, incoming.into_iter())?);
        let (outgoing, incoming) = aside.blocks.insert(blocks);
        collective::alltoallw(call, run.form(), outgoing, incoming)
    }
}
