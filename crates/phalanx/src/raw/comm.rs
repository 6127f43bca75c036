//! Communicators and groups.

use std::os::raw::{c_char, c_int};

use phalanx_sys as ffi;

use super::later::{self, Handle};
use super::{c_count, gate, gate_as, gate_collective, string_from};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Call, FREE, Identity, Kind, What, no_name};

fn null() -> ffi::MPI_Comm {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_COMM_NULL }
}

pub(crate) fn is_null(comm: ffi::MPI_Comm) -> bool {
    comm == null()
}

pub(crate) fn world() -> ffi::MPI_Comm {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_COMM_WORLD }
}

pub(crate) fn itself() -> ffi::MPI_Comm {
    // SAFETY: reading a constant of the C library.
    unsafe { ffi::RSMPI_COMM_SELF }
}

/// Makes errors on a communicator return codes instead of ending the program.
pub(crate) fn return_errors(call: &Call<'_>, comm: ffi::MPI_Comm) -> Result<()> {
    // SAFETY: the communicator is live.
    gate(call, || unsafe { ffi::MPI_Comm_set_errhandler(comm, ffi::phx_errors_return()) })
}

pub(crate) fn rank_and_size(call: &Call<'_>, comm: ffi::MPI_Comm) -> Result<(usize, usize)> {
    let (mut rank, mut size) = (0, 0);
    // SAFETY: the communicator is live, the results are writable.
    gate(call, || unsafe { ffi::MPI_Comm_rank(comm, &mut rank) })?;
    // SAFETY: as above.
    gate(call, || unsafe { ffi::MPI_Comm_size(comm, &mut size) })?;
    Ok((rank as usize, size as usize))
}

pub(crate) fn is_inter(call: &Call<'_>, comm: ffi::MPI_Comm) -> Result<bool> {
    let mut flag = 0;
    // SAFETY: the communicator is live, the result is writable.
    gate(call, || unsafe { ffi::MPI_Comm_test_inter(comm, &mut flag) })?;
    Ok(flag != 0)
}

/// A call of all members in which each may give what it likes.
fn what() -> What {
    What { bytes: FREE, ..What::of(Kind::Collective, 0, no_name) }
}

/// The rank in the world of each member of a communicator, or `u32::MAX` where a member is no rank of
/// the world.
pub(crate) fn world_ranks(call: &Call<'_>, comm: ffi::MPI_Comm, size: usize) -> Result<Vec<u32>> {
    // SAFETY: both communicators are live.
    let here = made_group(call, |made| unsafe { ffi::MPI_Comm_group(comm, made) })?;
    // SAFETY: as above.
    let all = made_group(call, |made| unsafe { ffi::MPI_Comm_group(world(), made) })?;
    let ranks: Vec<c_int> = (0..c_count(call, "number of ranks", size)?).collect();
    let mut translated = vec![0; size];
    gate(call, || {
        let (from, to) = (ranks.as_ptr(), translated.as_mut_ptr());
        // SAFETY: both arrays have an entry for each member.
        unsafe { ffi::MPI_Group_translate_ranks(here.0, size as c_int, from, all.0, to) }
    })?;
    Ok(translated.into_iter().map(|rank| u32::try_from(rank).unwrap_or(u32::MAX)).collect())
}

/// Gives every member the number of the first one.
pub(crate) fn bcast_number(call: &Call<'_>, comm: ffi::MPI_Comm, number: u64) -> Result<u64> {
    let mut number = number;
    gate(call, || {
        // SAFETY: the communicator is live, and the number has eight bytes.
        unsafe { ffi::MPI_Bcast((&raw mut number).cast(), 8, ffi::phx_byte(), 0, comm) }
    })?;
    Ok(number)
}

/// Gives every member the bytes of one of them.
pub(crate) fn bcast_bytes(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    root: usize,
    bytes: &mut [u8],
) -> Result<()> {
    let (count, root) = (c_count(call, "length of a text", bytes.len())?, root as c_int);
    gate(call, || {
        // SAFETY: the communicator is live, and the memory is lent until the call returns.
        unsafe { ffi::MPI_Bcast(bytes.as_mut_ptr().cast(), count, ffi::phx_byte(), root, comm) }
    })
}

/// The largest number of any member.
pub(crate) fn largest(call: &Call<'_>, comm: ffi::MPI_Comm, number: u64) -> Result<u64> {
    let mut largest = 0_u64;
    gate(call, || {
        // SAFETY: the communicator is live, both numbers have 64 bits.
        unsafe {
            ffi::MPI_Allreduce(
                (&raw const number).cast(),
                (&raw mut largest).cast(),
                1,
                ffi::RSMPI_UINT64_T,
                ffi::RSMPI_MAX,
                comm,
            )
        }
    })?;
    Ok(largest)
}

/// The bits that are set on every member.
pub(crate) fn common_bits(call: &Call<'_>, comm: ffi::MPI_Comm, bits: u64) -> Result<u64> {
    let mut common = 0_u64;
    gate(call, || {
        // SAFETY: the communicator is live, both numbers have 64 bits.
        unsafe {
            ffi::MPI_Allreduce(
                (&raw const bits).cast(),
                (&raw mut common).cast(),
                1,
                ffi::RSMPI_UINT64_T,
                ffi::RSMPI_BAND,
                comm,
            )
        }
    })?;
    Ok(common)
}

/// Duplicates `comm`. Collective over it.
pub(crate) fn dup(call: &Call<'_>, comm: ffi::MPI_Comm) -> Result<ffi::MPI_Comm> {
    let mut made = null();
    // SAFETY: the communicator is live, the result is writable.
    gate_collective(call, what(), || unsafe { ffi::MPI_Comm_dup(comm, &mut made) })?;
    Ok(made)
}

/// Splits by color; `None` takes part without becoming a member.
pub(crate) fn split(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    color: Option<u32>,
    key: i32,
) -> Result<ffi::MPI_Comm> {
    let color = match color {
        Some(color) => c_count(call, "color", color as usize)?,
        // SAFETY: reading a constant of the C library.
        None => unsafe { ffi::RSMPI_UNDEFINED },
    };
    let mut made = null();
    // SAFETY: the communicator is live, the result is writable.
    gate_collective(call, what(), || unsafe { ffi::MPI_Comm_split(comm, color, key, &mut made) })?;
    Ok(made)
}

pub(crate) fn split_by_node(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    key: i32,
) -> Result<ffi::MPI_Comm> {
    let mut made = null();
    // SAFETY: the communicator is live, the result is writable.
    gate_collective(call, what(), || unsafe {
        let shared = ffi::phx_comm_type_shared();
        ffi::MPI_Comm_split_type(comm, shared, key, ffi::RSMPI_INFO_NULL, &mut made)
    })?;
    Ok(made)
}

pub(crate) fn create(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    group: ffi::MPI_Group,
) -> Result<ffi::MPI_Comm> {
    let mut made = null();
    // SAFETY: both handles are live, the result is writable.
    gate_collective(call, what(), || unsafe { ffi::MPI_Comm_create(comm, group, &mut made) })?;
    Ok(made)
}

pub(crate) fn create_group(
    call: &Call<'_>,
    comm: ffi::MPI_Comm,
    group: ffi::MPI_Group,
    tag: c_int,
) -> Result<ffi::MPI_Comm> {
    let mut made = null();
    // SAFETY: both handles are live, the result is writable.
    let members = || What::of(Kind::Members, 0, no_name);
    // SAFETY: both handles are live, the result is writable.
    gate_as(call, members, || unsafe { ffi::MPI_Comm_create_group(comm, group, tag, &mut made) })?;
    Ok(made)
}

pub(crate) fn free(call: &Call<'_>, mut comm: ffi::MPI_Comm) -> Result<()> {
    // SAFETY: the communicator is live and its owner gives it up.
    gate(call, || unsafe { ffi::MPI_Comm_free(&mut comm) })
}

pub(crate) fn set_name(call: &Call<'_>, comm: ffi::MPI_Comm, name: &str) -> Result<()> {
    let longest = ffi::phx_max_object_name() as usize - 1;
    let mut text: Vec<c_char> = name.bytes().take(longest).map(|b| b as c_char).collect();
    text.push(0);
    // SAFETY: the text ends with NUL and is not longer than MPI allows.
    gate(call, || unsafe { ffi::MPI_Comm_set_name(comm, text.as_ptr()) })
}

pub(crate) fn get_name(call: &Call<'_>, comm: ffi::MPI_Comm) -> Result<String> {
    let mut text = vec![0 as c_char; ffi::phx_max_object_name() as usize + 1];
    let mut length = 0;
    // SAFETY: the buffer has MPI_MAX_OBJECT_NAME characters.
    gate(call, || unsafe { ffi::MPI_Comm_get_name(comm, text.as_mut_ptr(), &mut length) })?;
    Ok(string_from(&text))
}

/// The largest tag (MPI-4.1, section 9.1.2).
pub(crate) fn tag_upper_bound(call: &Call<'_>) -> Result<i32> {
    let (mut value, mut found) = (0, 0);
    // SAFETY: both results are writable. The attribute belongs to the world alone.
    gate(call, || unsafe { ffi::phx_tag_upper_bound(world(), &mut value, &mut found) })?;
    // The standard promises at least this.
    const LEAST: i32 = 32767;
    Ok(if found != 0 { value } else { LEAST })
}

/// The four answers of a comparison.
#[derive(Clone, Copy)]
pub(crate) enum Comparison {
    Identical,
    Congruent,
    Similar,
    Unequal,
}

fn comparison(call: &Call<'_>, answer: c_int) -> Result<Comparison> {
    // SAFETY: reading constants of the C library.
    let known = unsafe {
        [
            (ffi::RSMPI_IDENT, Comparison::Identical),
            (ffi::RSMPI_CONGRUENT, Comparison::Congruent),
            (ffi::RSMPI_SIMILAR, Comparison::Similar),
            (ffi::RSMPI_UNEQUAL, Comparison::Unequal),
        ]
    };
    known.into_iter().find(|(code, _)| *code == answer).map(|(_, meaning)| meaning).ok_or_else(
        || Error::new(ErrorKind::Library, call, format!("unknown answer {answer} of a comparison")),
    )
}

pub(crate) fn compare(call: &Call<'_>, a: ffi::MPI_Comm, b: ffi::MPI_Comm) -> Result<Comparison> {
    let mut answer = 0;
    // SAFETY: both communicators are live, the result is writable.
    gate(call, || unsafe { ffi::MPI_Comm_compare(a, b, &mut answer) })?;
    comparison(call, answer)
}

/// A group handle that is freed when it is dropped.
pub(crate) struct RawGroup(pub ffi::MPI_Group);

// SAFETY: a group handle is a plain value; the gate checks which thread may use it.
unsafe impl Send for RawGroup {}
// SAFETY: as above; groups do not change.
unsafe impl Sync for RawGroup {}

impl Drop for RawGroup {
    fn drop(&mut self) {
        // SAFETY: reading a constant of the C library.
        let empty = unsafe { ffi::RSMPI_GROUP_EMPTY };
        if self.0 != empty {
            later::free(Handle::Group(self.0));
        }
    }
}

fn made_group(
    call: &Call<'_>,
    make: impl FnOnce(*mut ffi::MPI_Group) -> c_int,
) -> Result<RawGroup> {
    // SAFETY: reading a constant of the C library.
    let mut group = unsafe { ffi::RSMPI_GROUP_NULL };
    gate(call, || make(&mut group))?;
    Ok(RawGroup(group))
}

pub(crate) fn group_of(call: &Call<'_>, comm: &Identity) -> Result<RawGroup> {
    // SAFETY: the communicator is live.
    made_group(call, |made| unsafe { ffi::MPI_Comm_group(comm.handle, made) })
}

pub(crate) fn group_size(call: &Call<'_>, group: &RawGroup) -> Result<usize> {
    let mut size = 0;
    // SAFETY: the group is live, the result is writable.
    gate(call, || unsafe { ffi::MPI_Group_size(group.0, &mut size) })?;
    Ok(size as usize)
}

/// The rank of this process in a group, if it is a member.
pub(crate) fn group_rank(call: &Call<'_>, group: &RawGroup) -> Result<Option<usize>> {
    let mut rank = 0;
    // SAFETY: the group is live, the result is writable.
    gate(call, || unsafe { ffi::MPI_Group_rank(group.0, &mut rank) })?;
    Ok(usize::try_from(rank).ok())
}

/// Two groups made into one.
#[derive(Clone, Copy)]
pub(crate) enum SetOperation {
    Union,
    Intersection,
    Difference,
}

pub(crate) fn group_combine(
    call: &Call<'_>,
    operation: SetOperation,
    a: &RawGroup,
    b: &RawGroup,
) -> Result<RawGroup> {
    // SAFETY: both groups are live.
    made_group(call, |made| unsafe {
        match operation {
            SetOperation::Union => ffi::MPI_Group_union(a.0, b.0, made),
            SetOperation::Intersection => ffi::MPI_Group_intersection(a.0, b.0, made),
            SetOperation::Difference => ffi::MPI_Group_difference(a.0, b.0, made),
        }
    })
}

pub(crate) fn group_include(
    call: &Call<'_>,
    group: &RawGroup,
    ranks: &[c_int],
) -> Result<RawGroup> {
    let count = c_count(call, "number of ranks", ranks.len())?;
    // SAFETY: the array has `count` entries.
    made_group(call, |made| unsafe { ffi::MPI_Group_incl(group.0, count, ranks.as_ptr(), made) })
}

pub(crate) fn group_exclude(
    call: &Call<'_>,
    group: &RawGroup,
    ranks: &[c_int],
) -> Result<RawGroup> {
    let count = c_count(call, "number of ranks", ranks.len())?;
    // SAFETY: the array has `count` entries.
    made_group(call, |made| unsafe { ffi::MPI_Group_excl(group.0, count, ranks.as_ptr(), made) })
}

pub(crate) fn group_translate(
    call: &Call<'_>,
    from: &RawGroup,
    ranks: &[c_int],
    to: &RawGroup,
) -> Result<Vec<Option<usize>>> {
    let count = c_count(call, "number of ranks", ranks.len())?;
    let mut translated = vec![0; ranks.len()];
    // SAFETY: both arrays have `count` entries.
    gate(call, || unsafe {
        ffi::MPI_Group_translate_ranks(from.0, count, ranks.as_ptr(), to.0, translated.as_mut_ptr())
    })?;
    Ok(translated.into_iter().map(|rank| usize::try_from(rank).ok()).collect())
}

pub(crate) fn group_compare(call: &Call<'_>, a: &RawGroup, b: &RawGroup) -> Result<Comparison> {
    let mut answer = 0;
    // SAFETY: both groups are live, the result is writable.
    gate(call, || unsafe { ffi::MPI_Group_compare(a.0, b.0, &mut answer) })?;
    comparison(call, answer)
}

/// Makes errors on a communicator end the program: for those who do not look at return codes.
pub(crate) fn errors_are_fatal(call: &Call<'_>, comm: ffi::MPI_Comm) -> Result<()> {
    // SAFETY: the communicator is live.
    gate(call, || unsafe { ffi::MPI_Comm_set_errhandler(comm, ffi::RSMPI_ERRORS_ARE_FATAL) })
}
