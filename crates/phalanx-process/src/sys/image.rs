//! Names for functions and static values of the program that another process of the same program understands.
//!
//! Each process has the program at another address, but its parts at the same distances. So a function is named by
//! its distance from a static of this crate. A *function* would be a bad base: the compiler may copy it.

use std::ops::Range;
use std::panic::Location;
use std::sync::OnceLock;

static BASE: u8 = 0;

fn base() -> usize {
    (&raw const BASE).addr()
}

/// Where the program itself lies, without shared libraries: code and data.
fn extent() -> &'static Range<usize> {
    static EXTENT: OnceLock<Range<usize>> = OnceLock::new();
    EXTENT.get_or_init(|| {
        let mut extent = 0..0;
        // SAFETY: `note` is called with the list of the loaded objects and this pointer.
        unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut extent).cast()) };
        extent
    })
}

/// The first object is the program itself: no other is asked for.
unsafe extern "C" fn note(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    extent: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `dl_iterate_phdr` gives an object with that many headers; `extent` is the one of our caller.
    let (object, headers, extent) = unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        (object, headers, &mut *extent.cast::<Range<usize>>())
    };
    let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let start = loaded.clone().map(|header| header.p_vaddr).min().unwrap_or(0);
    let end = loaded.map(|header| header.p_vaddr + header.p_memsz).max().unwrap_or(0);
    *extent = (object.dlpi_addr + start) as usize..(object.dlpi_addr + end) as usize;
    1
}

/// The name of what lies at this address; nothing when it is not part of the program itself.
pub fn name_of(address: usize) -> Option<u64> {
    extent().contains(&address).then(|| (address as u64).wrapping_sub(base() as u64))
}

/// The address of what has this name here, if it can be one.
pub fn address_of(name: u64) -> Option<usize> {
    let address = (base() as u64).wrapping_add(name) as usize;
    extent().contains(&address).then_some(address)
}

/// The name of a place in the source; 0 stands for one that is not known.
pub fn name_of_location(location: &'static Location<'static>) -> u64 {
    name_of((&raw const *location).addr()).unwrap_or(0)
}

/// The place in the source that has this name.
///
/// # Safety
/// The name comes from [`name_of_location`] in a process of the same program.
pub unsafe fn location(name: u64) -> Option<&'static Location<'static>> {
    if name == 0 {
        return None;
    }
    let address = address_of(name)?;
    // SAFETY: the caller says that a location lies there, which is never changed and never goes.
    Some(unsafe { &*std::ptr::with_exposed_provenance(address) })
}
