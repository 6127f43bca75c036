//! From all to all, with another datatype for each block.

use std::os::raw::{c_int, c_void};

use phalanx_sys as ffi;

use super::calls::call_pairs;
use super::{Form, Type, free, invalid_length, size};
use crate::error::Result;
use crate::raw::datatype::{self, Datatype};
use crate::raw::{gate, large};
use crate::record::{Call, Kind, no_name};

call_pairs! {
    call_alltoallw = MPI_Alltoallw | MPI_Ialltoallw (
        send: *const c_void, send_counts: *const c_int, send_starts: *const c_int,
        send_types: *const Type, recv: *mut c_void, recv_counts: *const c_int,
        recv_starts: *const c_int, recv_types: *const Type);
}

/// A block in memory: where it starts, how many items, of what.
pub(crate) type RawBlock = (*const c_void, usize, Type);

/// The arrays of an `alltoallw`: one block of any datatype for each rank. Displacements are bytes.
pub(crate) struct BlockTable {
    pub base: *mut c_void,
    pub(super) counts: Vec<c_int>,
    starts: Vec<c_int>,
    /// Where blocks start, in the type of the neighbourhood calls.
    pub(super) addresses: Vec<ffi::MPI_Aint>,
    pub(super) types: Vec<Type>,
    /// Types made for blocks that lie further than an `int` of bytes apart, or that are larger.
    made: Vec<Datatype>,
}

// SAFETY: plain addresses and handles; who starts a call with them promises that they stay valid.
unsafe impl Send for BlockTable {}

impl Drop for BlockTable {
    fn drop(&mut self) {
        for datatype in self.made.drain(..) {
            datatype::free(datatype);
        }
    }
}

impl BlockTable {
    /// Blocks anywhere in memory: each becomes one item of a type that holds its address.
    pub fn new(call: &Call<'_>, blocks: impl Iterator<Item = RawBlock>) -> Result<Self> {
        BlockTable::of_groups(call, blocks.map(|block| [block]))
    }

    fn none() -> Self {
        BlockTable {
            base: ffi::phx_bottom(),
            counts: Vec::new(),
            starts: Vec::new(),
            addresses: Vec::new(),
            types: Vec::new(),
            made: Vec::new(),
        }
    }

    /// The same for the neighbourhood calls, which take addresses: a type is made only for blocks that have
    /// more items than a count can say.
    pub fn at_addresses(call: &Call<'_>, blocks: impl Iterator<Item = RawBlock>) -> Result<Self> {
        let mut result = BlockTable::none();
        for (pointer, items, kind) in blocks {
            let mut address = 0;
            // SAFETY: the result is writable; the address is only computed with.
            gate(call, || unsafe { ffi::MPI_Get_address(pointer, &mut address) })?;
            let (mut count, mut kind) = (items, kind);
            if items > large::limit() {
                let made = datatype::at_addresses(call, &[(pointer, items, kind)])?;
                result.made.push(made);
                (count, kind, address) = (1, made.0, 0);
            }
            result.counts.push(count as c_int);
            result.starts.push(0);
            result.addresses.push(address);
            result.types.push(kind);
        }
        Ok(result)
    }

    /// The same with several blocks for each rank, one after another as one item.
    pub fn of_groups<G: AsRef<[RawBlock]>>(
        call: &Call<'_>,
        groups: impl Iterator<Item = G>,
    ) -> Result<Self> {
        let mut result = BlockTable::none();
        for group in groups {
            let empty = group.as_ref().iter().all(|&(_, items, _)| items == 0);
            let kind = if empty {
                ffi::phx_byte()
            } else {
                let made = datatype::at_addresses(call, group.as_ref())?;
                result.made.push(made);
                made.0
            };
            result.counts.push(c_int::from(!empty));
            result.starts.push(0);
            result.addresses.push(0);
            result.types.push(kind);
        }
        Ok(result)
    }
}

pub(crate) fn alltoallw(
    call: &Call<'_>,
    form: Form<'_>,
    send: &BlockTable,
    recv: &BlockTable,
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
