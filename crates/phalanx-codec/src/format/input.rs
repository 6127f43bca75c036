//! Reading bytes that may be damaged.

use super::error::Error;

/// Bytes of a number, or of the length of a string or a vector.
const USUAL_ELEMENT: usize = 8;

/// What is left of a message.
pub(super) struct Input<'de> {
    rest: &'de [u8],
}

#[cold]
#[inline(never)]
fn too_short() -> Error {
    Error::new("the bytes end before the value")
}

impl<'de> Input<'de> {
    #[inline(always)]
    pub fn new(bytes: &'de [u8]) -> Self {
        Input { rest: bytes }
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    #[inline(always)]
    pub fn rest(&self) -> &'de [u8] {
        self.rest
    }

    #[inline(always)]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        match self.rest.split_first_chunk() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(too_short()),
        }
    }

    #[inline(always)]
    pub fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    /// So many bytes, borrowed: a length that lies is no allocation.
    #[inline]
    pub fn bytes(&mut self, length: u64) -> Result<&'de [u8], Error> {
        match usize::try_from(length).ok().and_then(|at| self.rest.split_at_checked(at)) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(too_short()),
        }
    }

    #[inline]
    pub fn text(&mut self, length: u64) -> Result<&'de str, Error> {
        std::str::from_utf8(self.bytes(length)?).map_err(|error| Error::new(error.to_string()))
    }

    /// What a collection may reserve: no more than the message can hold of elements of a usual size.
    /// With smaller ones it grows while they come.
    #[inline]
    pub fn capacity(&self, announced: usize) -> usize {
        announced.min(self.rest.len() / USUAL_ELEMENT)
    }
}
