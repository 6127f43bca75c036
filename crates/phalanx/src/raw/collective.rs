//! Collective calls, blocking and non-blocking. Lengths are checked here, before the library that
//! would write past a short buffer is called.

use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::op::RawOp;
use super::p2p::identity;
use super::request::Live;
use super::view::pointer_of;
use super::wait::{Policy, ignore, policy, poll};
use super::{SUCCESS, View, ViewMut, c_count, gate, gate_collective, numbered, strict};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Call, FREE, Kind, Name, What, no_name};

/// Whether a collective completes in the call or is only started by it.
pub(crate) enum Form<'r> {
    Blocking,
    Start(StartToken<'r>),
}

/// The promise behind [`Form::Start`].
pub(crate) struct StartToken<'r>(&'r mut Live);

impl<'r> Form<'r> {
    /// # Safety
    /// Everything that the views and slices passed to the collective point to stays where it is, and
    /// is used by nobody else, until the request is complete.
    pub unsafe fn start(request: &'r mut Live) -> Self {
        Form::Start(StartToken(request))
    }
}

/// A collective call that is complete when it returns.
#[inline(always)]
fn blocking_collective(
    call: &Call<'_>,
    what: What,
    direct: impl FnOnce() -> c_int,
    start: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
) -> Result<()> {
    gate_collective(call, what, || match policy() {
        Policy::Library => direct(),
        Policy::Poll => {
            let mut request = super::request::null().raw;
            let code = start(&mut request);
            if code != SUCCESS { code } else { poll(&mut request, ignore(), what.kind) }
        }
    })
}

/// A collective call that is complete when its request is.
fn starting(
    call: &Call<'_>,
    what: What,
    request: &mut Live,
    start: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
) -> Result<()> {
    let mut begun = what;
    let mut agreement = Ok(None);
    let raw = &mut request.raw;
    gate(call, || {
        begun = numbered(call, what);
        if strict::is_on() {
            agreement = strict::Agreement::start(call, &begun);
        }
        start(raw)
    })?;
    request.started(call, &begun);
    if let Some(agreement) = agreement? {
        request.agree(agreement);
    }
    Ok(())
}

/// What a rank gives and gets: as much as all others.
#[inline(always)]
fn what(kind: Kind, block: &View<'_>) -> What {
    What::of(kind, block.bytes_in_all(), block.element)
}

/// The same where it may have given it in place.
#[inline(always)]
fn given(kind: Kind, send: &Input<'_>, recv: &View<'_>) -> What {
    match send {
        Input::View(view) => what(kind, view),
        Input::InPlace => what(kind, recv),
    }
}

/// What ranks give as much of as they like.
#[inline(always)]
fn free(kind: Kind, element: Name) -> What {
    What { bytes: FREE, ..What::of(kind, 0, element) }
}

#[inline(always)]
fn reducing(kind: Kind, block: &View<'_>, op: RawOp) -> What {
    What { reduction: op.number(), ..what(kind, block) }
}

/// Defines a pair of calls that differ in a request alone.
macro_rules! call_pairs {
    ($($name:ident = $blocking:ident | $starting:ident ($($argument:ident: $kind:ty),* $(,)?);)*) => {
        $(
            /// # Safety
            /// The pointers are valid for as many items as counts and displacements say, as the
            /// function of the same name in the MPI standard asks.
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn $name(
                call: &Call<'_>,
                form: Form<'_>,
                what: What,
                $($argument: $kind),*) -> Result<()> {
                let comm = identity(call);
                match form {
                    Form::Blocking => blocking_collective(
                        call,
                        what,
                        // SAFETY: the caller's promise; complete when this returns.
                        move || unsafe { ffi::$blocking($($argument,)* comm) },
                        // SAFETY: as above.
                        move |request| unsafe { ffi::$starting($($argument,)* comm, request) },
                    ),
                    Form::Start(StartToken(request)) => {
                        // SAFETY: the promise of `Form::start` for the time until completion.
                        starting(call, what, request, |raw| unsafe {
                            ffi::$starting($($argument,)* comm, raw)
                        })
                    }
                }
            }
        )*
    };
}

type Type = ffi::MPI_Datatype;

call_pairs! {
    call_barrier = MPI_Barrier | MPI_Ibarrier ();
    call_bcast = MPI_Bcast | MPI_Ibcast (buffer: *mut c_void, count: c_int, kind: Type, root: c_int);
    call_gather = MPI_Gather | MPI_Igather (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type, root: c_int);
    call_gatherv = MPI_Gatherv | MPI_Igatherv (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, counts: *const c_int, starts: *const c_int, recv_type: Type, root: c_int);
    call_scatter = MPI_Scatter | MPI_Iscatter (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type, root: c_int);
    call_scatterv = MPI_Scatterv | MPI_Iscatterv (
        send: *const c_void, counts: *const c_int, starts: *const c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type, root: c_int);
    call_allgather = MPI_Allgather | MPI_Iallgather (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type);
    call_allgatherv = MPI_Allgatherv | MPI_Iallgatherv (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, counts: *const c_int, starts: *const c_int, recv_type: Type);
    call_alltoall = MPI_Alltoall | MPI_Ialltoall (
        send: *const c_void, send_count: c_int, send_type: Type,
        recv: *mut c_void, recv_count: c_int, recv_type: Type);
    call_alltoallv = MPI_Alltoallv | MPI_Ialltoallv (
        send: *const c_void, send_counts: *const c_int, send_starts: *const c_int, send_type: Type,
        recv: *mut c_void, recv_counts: *const c_int, recv_starts: *const c_int, recv_type: Type);
    call_alltoallw = MPI_Alltoallw | MPI_Ialltoallw (
        send: *const c_void, send_counts: *const c_int, send_starts: *const c_int,
        send_types: *const Type, recv: *mut c_void, recv_counts: *const c_int,
        recv_starts: *const c_int, recv_types: *const Type);
    call_reduce = MPI_Reduce | MPI_Ireduce (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op,
        root: c_int);
    call_allreduce = MPI_Allreduce | MPI_Iallreduce (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op);
    call_reduce_scatter = MPI_Reduce_scatter | MPI_Ireduce_scatter (
        send: *const c_void, recv: *mut c_void, counts: *const c_int, kind: Type, op: ffi::MPI_Op);
    call_reduce_scatter_block = MPI_Reduce_scatter_block | MPI_Ireduce_scatter_block (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op);
    call_scan = MPI_Scan | MPI_Iscan (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op);
    call_exscan = MPI_Exscan | MPI_Iexscan (
        send: *const c_void, recv: *mut c_void, count: c_int, kind: Type, op: ffi::MPI_Op);
}

/// What a rank contributes: memory of its own, or what lies in the receive buffer already.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    View(View<'a>),
    InPlace,
}

impl Input<'_> {
    #[inline]
    fn pointer(&self) -> *const c_void {
        match self {
            Input::View(view) => source(view),
            Input::InPlace => ffi::phx_in_place(),
        }
    }

    #[inline]
    fn items(&self) -> Option<usize> {
        match self {
            Input::View(view) => Some(view.items),
            Input::InPlace => None,
        }
    }
}

/// Where empty buffers lie for MPI: what is sent at the first, what is received at the second.
///
/// Rust's own pointer to no bytes is the number 1, and that is Open MPI's `MPI_IN_PLACE`. Two of them
/// are equal, which its non-blocking collectives take for `MPI_IN_PLACE` as well: a rank without
/// elements then does another operation than the others, and they wait for it for ever.
static NOWHERE: [u8; 2] = [0; 2];

#[inline(always)]
fn source(view: &View<'_>) -> *const c_void {
    if view.items == 0 { NOWHERE.as_ptr().cast() } else { view.pointer }
}

#[inline(always)]
fn target(view: &ViewMut<'_>) -> *mut c_void {
    // Nothing is written there, as there are no items.
    if view.items == 0 { NOWHERE[1..].as_ptr().cast_mut().cast() } else { view.pointer }
}

/// How many items each rank has, and where they start.
#[derive(Clone, Copy)]
pub(crate) struct Layout<'a> {
    pub counts: &'a [c_int],
    pub starts: &'a [c_int],
}

#[cold]
fn invalid_length(call: &Call<'_>, detail: String) -> Error {
    Error::new(ErrorKind::InvalidLength, call, detail)
}

#[inline]
fn size(call: &Call<'_>) -> usize {
    call.comm.map_or(0, |comm| comm.size)
}

#[inline]
fn is_root(call: &Call<'_>, root: usize) -> bool {
    call.comm.is_some_and(|comm| comm.rank == root)
}

#[inline(always)]
fn expect_items(call: &Call<'_>, buffer: &str, expected: usize, actual: usize) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(wrong_items(&call.copy(), buffer, expected, actual))
}

#[cold]
fn wrong_items(call: &Call<'_>, buffer: &str, expected: usize, actual: usize) -> Error {
    let detail = format!("the {buffer} buffer must hold {expected} items and holds {actual}");
    invalid_length(call, detail)
}

/// Items of each rank's block in a buffer that holds one block for each rank.
#[inline]
fn block(call: &Call<'_>, buffer: &str, items: usize) -> Result<usize> {
    let ranks = size(call);
    if ranks == 0 || !items.is_multiple_of(ranks) {
        return Err(uneven(&call.copy(), buffer, items, ranks));
    }
    Ok(items / ranks)
}

#[cold]
fn uneven(call: &Call<'_>, buffer: &str, items: usize, ranks: usize) -> Error {
    let detail =
        format!("the {buffer} buffer holds {items} items, which {ranks} ranks cannot share evenly");
    invalid_length(call, detail)
}

fn check_layout(call: &Call<'_>, buffer: &str, layout: &Layout<'_>, items: usize) -> Result<()> {
    let ranks = size(call);
    if layout.counts.len() != ranks || layout.starts.len() != ranks {
        return Err(invalid_length(
            call,
            format!("{} counts were given for {ranks} ranks", layout.counts.len()),
        ));
    }
    for (rank, (&count, &start)) in layout.counts.iter().zip(layout.starts).enumerate() {
        let fits = count >= 0 && start >= 0 && start as usize + count as usize <= items;
        if !fits {
            return Err(invalid_length(
                call,
                format!(
                    "the {buffer} buffer holds {items} items, rank {rank}'s {count} start at {start}"
                ),
            ));
        }
    }
    Ok(())
}

pub(crate) fn barrier(call: &Call<'_>, form: Form<'_>) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { call_barrier(call, form, What::of(Kind::Collective, 0, no_name)) }
}

#[inline(always)]
pub(crate) fn bcast(
    call: &Call<'_>,
    form: Form<'_>,
    buffer: ViewMut<'_>,
    root: usize,
) -> Result<()> {
    let counted = buffer.counted(call)?;
    // SAFETY: the view lends `items` items.
    unsafe {
        call_bcast(
            call,
            form,
            what(Kind::FromRoot, &buffer.reborrow()),
            target(&buffer),
            counted.count,
            counted.datatype,
            root as c_int,
        )
    }
}

/// Equal blocks to the root. `recv` is `Some` on the root alone and holds a block for each rank.
#[inline]
pub(crate) fn gather(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: Option<ViewMut<'_>>,
    root: usize,
) -> Result<()> {
    let recv = at_root(call, "receive", recv, root)?;
    let each = if is_root(call, root) { block(call, "receive", recv.items)? } else { 0 };
    if let (true, Some(items)) = (is_root(call, root), send.items()) {
        expect_items(call, "receive", items * size(call), recv.items)?;
    }
    let incoming = recv.reborrow().first(each).counted(call)?;
    let outgoing = outgoing(call, &send)?;
    // SAFETY: on the root the receive buffer holds a block for each rank; elsewhere it is not used.
    unsafe {
        call_gather(
            call,
            form,
            given(Kind::ToRoot, &send, &recv.reborrow().first(each)),
            send.pointer(),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
            root as c_int,
        )
    }
}

pub(crate) fn gatherv(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    recv: Option<(ViewMut<'_>, Layout<'_>)>,
    root: usize,
) -> Result<()> {
    let (recv, layout) = match recv {
        Some((view, layout)) => (Some(view), layout),
        None => (None, Layout { counts: &[], starts: &[] }),
    };
    let recv = at_root(call, "receive", recv, root)?;
    if is_root(call, root) {
        check_layout(call, "receive", &layout, recv.items)?;
        let announced = layout.counts[root] as usize;
        if announced != send.items {
            return Err(invalid_length(
                call,
                format!("the counts say {announced} items for this rank, it sends {}", send.items),
            ));
        }
    }
    let count = c_count(call, "number of items", send.items)?;
    // SAFETY: on the root the layout lies within the receive buffer; elsewhere it is not used.
    unsafe {
        call_gatherv(
            call,
            form,
            free(Kind::ToRoot, send.element),
            source(&send),
            count,
            send.datatype,
            target(&recv),
            pointer_of(layout.counts),
            pointer_of(layout.starts),
            recv.datatype,
            root as c_int,
        )
    }
}

/// Equal blocks from the root. `send` is `Some` on the root alone and holds a block for each rank.
#[inline]
pub(crate) fn scatter(
    call: &Call<'_>,
    form: Form<'_>,
    send: Option<View<'_>>,
    recv: ViewMut<'_>,
    root: usize,
) -> Result<()> {
    let send = given_at_root(call, send, root)?;
    let each = if is_root(call, root) { block(call, "send", send.items)? } else { 0 };
    if is_root(call, root) {
        expect_items(call, "send", recv.items * size(call), send.items)?;
    }
    let outgoing = send.first(each).counted(call)?;
    let incoming = recv.counted(call)?;
    // SAFETY: on the root the send buffer holds a block for each rank; elsewhere it is not used.
    unsafe {
        call_scatter(
            call,
            form,
            what(Kind::FromRoot, &recv.reborrow()),
            source(&send),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
            root as c_int,
        )
    }
}

pub(crate) fn scatterv(
    call: &Call<'_>,
    form: Form<'_>,
    send: Option<(View<'_>, Layout<'_>)>,
    recv: ViewMut<'_>,
    root: usize,
) -> Result<()> {
    let (send, layout) = match send {
        Some((view, layout)) => (Some(view), layout),
        None => (None, Layout { counts: &[], starts: &[] }),
    };
    let send = given_at_root(call, send, root)?;
    if is_root(call, root) {
        check_layout(call, "send", &layout, send.items)?;
        expect_items(call, "receive", layout.counts[root] as usize, recv.items)?;
    }
    let count = c_count(call, "number of items", recv.items)?;
    // SAFETY: on the root the layout lies within the send buffer; elsewhere it is not used.
    unsafe {
        call_scatterv(
            call,
            form,
            free(Kind::FromRoot, recv.element),
            source(&send),
            pointer_of(layout.counts),
            pointer_of(layout.starts),
            send.datatype,
            target(&recv),
            count,
            recv.datatype,
            root as c_int,
        )
    }
}

#[inline]
pub(crate) fn allgather(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: ViewMut<'_>,
) -> Result<()> {
    let each = block(call, "receive", recv.items)?;
    if let Some(items) = send.items() {
        expect_items(call, "receive", items * size(call), recv.items)?;
    }
    let incoming = recv.reborrow().first(each).counted(call)?;
    let outgoing = outgoing(call, &send)?;
    // SAFETY: the receive buffer holds a block for each rank.
    unsafe {
        call_allgather(
            call,
            form,
            what(Kind::Collective, &recv.reborrow().first(each)),
            send.pointer(),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
        )
    }
}

pub(crate) fn allgatherv(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: ViewMut<'_>,
    layout: Layout<'_>,
) -> Result<()> {
    check_layout(call, "receive", &layout, recv.items)?;
    let rank = call.comm.map_or(0, |comm| comm.rank);
    if let Some(items) = send.items()
        && items != layout.counts[rank] as usize
    {
        let announced = layout.counts[rank];
        let detail = format!("the counts say {announced} items for this rank, it sends {items}");
        return Err(invalid_length(call, detail));
    }
    let outgoing = outgoing(call, &send)?;
    // SAFETY: the layout lies within the receive buffer.
    unsafe {
        call_allgatherv(
            call,
            form,
            free(Kind::Collective, recv.element),
            send.pointer(),
            outgoing.count,
            outgoing.datatype,
            target(&recv),
            pointer_of(layout.counts),
            pointer_of(layout.starts),
            recv.datatype,
        )
    }
}

#[inline]
pub(crate) fn alltoall(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: ViewMut<'_>,
) -> Result<()> {
    let each = block(call, "receive", recv.items)?;
    if let Some(items) = send.items() {
        expect_items(call, "receive", items, recv.items)?;
    }
    let incoming = recv.reborrow().first(each).counted(call)?;
    // SAFETY: both buffers hold a block for each rank. In place, the send arguments are not used.
    unsafe {
        call_alltoall(
            call,
            form,
            what(Kind::Collective, &recv.reborrow().first(each)),
            send.pointer(),
            incoming.count,
            incoming.datatype,
            target(&recv),
            incoming.count,
            incoming.datatype,
        )
    }
}

pub(crate) fn alltoallv(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    send_layout: Layout<'_>,
    recv: ViewMut<'_>,
    recv_layout: Layout<'_>,
) -> Result<()> {
    check_layout(call, "send", &send_layout, send.items)?;
    check_layout(call, "receive", &recv_layout, recv.items)?;
    let rank = call.comm.map_or(0, |comm| comm.rank);
    let (to_self, from_self) = (send_layout.counts[rank], recv_layout.counts[rank]);
    if to_self != from_self {
        return Err(invalid_length(
            call,
            format!("this rank sends itself {to_self} items and expects {from_self}"),
        ));
    }
    // SAFETY: both layouts lie within their buffers.
    unsafe {
        call_alltoallv(
            call,
            form,
            free(Kind::Collective, recv.element),
            source(&send),
            pointer_of(send_layout.counts),
            pointer_of(send_layout.starts),
            send.datatype,
            target(&recv),
            pointer_of(recv_layout.counts),
            pointer_of(recv_layout.starts),
            recv.datatype,
        )
    }
}

/// The arrays of an `alltoallw`: one block of any datatype for each rank. Displacements are bytes.
pub(crate) struct Blocks {
    pub base: *mut c_void,
    counts: Vec<c_int>,
    starts: Vec<c_int>,
    types: Vec<Type>,
    /// Types made for blocks that lie further than an `int` of bytes apart, or that are larger.
    made: Vec<crate::raw::datatype::Datatype>,
}

// SAFETY: plain addresses and handles; who starts a call with them promises that they stay valid.
unsafe impl Send for Blocks {}

impl Drop for Blocks {
    fn drop(&mut self) {
        for datatype in self.made.drain(..) {
            super::datatype::free(datatype);
        }
    }
}

impl Blocks {
    /// Blocks anywhere in memory: each becomes one item of a type that holds its address.
    pub fn new(
        call: &Call<'_>,
        blocks: impl Iterator<Item = (*const c_void, usize, Type)>,
    ) -> Result<Self> {
        let mut result = Blocks {
            base: ffi::phx_bottom(),
            counts: Vec::new(),
            starts: Vec::new(),
            types: Vec::new(),
            made: Vec::new(),
        };
        for (pointer, items, datatype) in blocks {
            let empty = items == 0;
            let kind = if empty {
                ffi::phx_byte()
            } else {
                let made = super::datatype::at_address(call, pointer, items, datatype)?;
                result.made.push(made);
                made.0
            };
            result.counts.push(c_int::from(!empty));
            result.starts.push(0);
            result.types.push(kind);
        }
        Ok(result)
    }
}

pub(crate) fn alltoallw(
    call: &Call<'_>,
    form: Form<'_>,
    send: &Blocks,
    recv: &Blocks,
) -> Result<()> {
    let ranks = size(call);
    for (which, blocks) in [("send", send), ("receive", recv)] {
        if blocks.counts.len() != ranks {
            return Err(invalid_length(
                call,
                format!("{} {which} blocks were given for {ranks} ranks", blocks.counts.len()),
            ));
        }
    }
    // SAFETY: every block is a datatype that holds the absolute address of memory which the caller
    // lends; the arrays have one entry for each rank.
    unsafe {
        call_alltoallw(
            call,
            form,
            free(Kind::Collective, no_name),
            send.base,
            send.counts.as_ptr(),
            send.starts.as_ptr(),
            send.types.as_ptr(),
            recv.base,
            recv.counts.as_ptr(),
            recv.starts.as_ptr(),
            recv.types.as_ptr(),
        )
    }
}

#[inline]
pub(crate) fn reduce(
    call: &Call<'_>,
    form: Form<'_>,
    send: Input<'_>,
    recv: Option<ViewMut<'_>>,
    op: RawOp,
    root: usize,
) -> Result<()> {
    // Elsewhere than on the root there is no receive buffer, and the input is never in place.
    let recv = at_root(call, "receive", recv, root)?;
    let (items, kind) = match send {
        Input::View(view) => (view.items, view.datatype),
        Input::InPlace => (recv.items, recv.datatype),
    };
    if is_root(call, root) {
        expect_items(call, "receive", items, recv.items)?;
    }
    let count = c_count(call, "number of items to reduce", items)?;
    // SAFETY: both buffers hold `count` items; off the root the receive buffer is not used.
    unsafe {
        call_reduce(
            call,
            form,
            What { reduction: op.number(), ..given(Kind::ToRoot, &send, &recv.reborrow()) },
            send.pointer(),
            target(&recv),
            count,
            kind,
            op.0,
            root as c_int,
        )
    }
}

/// The three reductions whose arguments are alike: every rank gives and gets as many items.
#[derive(Clone, Copy)]
pub(crate) enum Everywhere {
    Allreduce,
    Scan,
    Exscan,
}

#[inline]
pub(crate) fn reduce_everywhere(
    call: &Call<'_>,
    form: Form<'_>,
    which: Everywhere,
    send: Input<'_>,
    recv: ViewMut<'_>,
    op: RawOp,
) -> Result<()> {
    if let Some(items) = send.items() {
        expect_items(call, "receive", items, recv.items)?;
    }
    let count = c_count(call, "number of items to reduce", recv.items)?;
    let (input, output, kind) = (send.pointer(), target(&recv), recv.datatype);
    // SAFETY: both buffers hold `count` items.
    unsafe {
        match which {
            Everywhere::Allreduce => call_allreduce(
                call,
                form,
                reducing(Kind::Collective, &recv.reborrow(), op),
                input,
                output,
                count,
                kind,
                op.0,
            ),
            Everywhere::Scan => call_scan(
                call,
                form,
                reducing(Kind::Prefix, &recv.reborrow(), op),
                input,
                output,
                count,
                kind,
                op.0,
            ),
            Everywhere::Exscan => call_exscan(
                call,
                form,
                reducing(Kind::Prefix, &recv.reborrow(), op),
                input,
                output,
                count,
                kind,
                op.0,
            ),
        }
    }
}

pub(crate) fn reduce_scatter(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    recv: ViewMut<'_>,
    counts: &[c_int],
    op: RawOp,
) -> Result<()> {
    let starts = vec![0; counts.len()];
    check_layout(call, "send", &Layout { counts, starts: &starts }, send.items)?;
    let total: usize = counts.iter().map(|&count| count as usize).sum();
    expect_items(call, "send", total, send.items)?;
    let rank = call.comm.map_or(0, |comm| comm.rank);
    expect_items(call, "receive", counts[rank] as usize, recv.items)?;
    // SAFETY: the send buffer holds the sum of the counts, the receive buffer this rank's.
    unsafe {
        call_reduce_scatter(
            call,
            form,
            What { bytes: FREE, ..reducing(Kind::Collective, &send, op) },
            source(&send),
            target(&recv),
            counts.as_ptr(),
            send.datatype,
            op.0,
        )
    }
}

pub(crate) fn reduce_scatter_block(
    call: &Call<'_>,
    form: Form<'_>,
    send: View<'_>,
    recv: ViewMut<'_>,
    op: RawOp,
) -> Result<()> {
    let each = block(call, "send", send.items)?;
    expect_items(call, "receive", each, recv.items)?;
    let count = c_count(call, "number of items to reduce", each)?;
    // SAFETY: the send buffer holds a block for each rank, the receive buffer one.
    unsafe {
        call_reduce_scatter_block(
            call,
            form,
            reducing(Kind::Collective, &recv.reborrow(), op),
            source(&send),
            target(&recv),
            count,
            send.datatype,
            op.0,
        )
    }
}

/// The count and type of an input, or nothing where it is in place.
#[inline]
fn outgoing(call: &Call<'_>, send: &Input<'_>) -> Result<super::large::Counted> {
    match send {
        Input::View(view) => view.counted(call),
        Input::InPlace => View::empty().counted(call),
    }
}

#[inline]
fn at_root<'a>(
    call: &Call<'_>,
    buffer: &str,
    view: Option<ViewMut<'a>>,
    root: usize,
) -> Result<ViewMut<'a>> {
    match (view, is_root(call, root)) {
        (Some(view), true) => Ok(view),
        (None, true) => Err(invalid_length(call, format!("the root must give a {buffer} buffer"))),
        (_, false) => Ok(ViewMut::empty()),
    }
}

#[inline]
fn given_at_root<'a>(call: &Call<'_>, view: Option<View<'a>>, root: usize) -> Result<View<'a>> {
    match (view, is_root(call, root)) {
        (Some(view), true) => Ok(view),
        (None, true) => Err(invalid_length(call, "the root must give what is scattered".into())),
        (_, false) => Ok(View::empty()),
    }
}
