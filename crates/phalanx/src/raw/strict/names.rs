//! Names of types.

use xxhash_rust::xxh3::xxh3_64;

/// A number that stands for a name; 0 for none.
pub(in crate::raw) fn hash_of_name(name: &str) -> u64 {
    if name.is_empty() { 0 } else { xxh3_64(name.as_bytes()) | 1 }
}

/// The element of arrays, as MPI sees them, with one name for what is the same type to it.
pub(crate) fn base(name: &str) -> &str {
    let name = match name.strip_prefix('[').and_then(|rest| rest.rsplit_once("; ")) {
        Some((element, _)) => return base(element),
        None => name,
    };
    match name {
        "usize" if size_of::<usize>() == 8 => "u64",
        "isize" if size_of::<isize>() == 8 => "i64",
        name => name,
    }
}
