//! Whom a message goes to or comes from.

use crate::record::Peer;

/// Where a message goes: a rank and a tag.
///
/// A rank alone is a destination with tag 0; `None` is the null process, to which a send does nothing
/// and returns at once.
///
/// ```
/// use phalanx::{Dest, to};
///
/// let plain: Dest = 3.into();
/// assert_eq!(plain, to(3).tag(0));
/// let edge: Dest = None.into(); // the null process
/// assert_eq!(edge.rank(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dest {
    pub(crate) rank: Option<usize>,
    pub(crate) tag: i32,
}

/// Where a message comes from: a rank or any, and a tag or any.
///
/// A rank alone matches a message with any tag from that rank; `None` is the null process, from which
/// a receive returns an empty message at once.
///
/// ```
/// use phalanx::{Source, any, from};
///
/// let plain: Source = 3.into();
/// assert_eq!(plain, from(3));
/// assert_ne!(plain, from(3).tag(7));
/// assert_eq!(any().tag(7).wanted_tag(), Some(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub(crate) rank: SourceRank,
    pub(crate) tag: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceRank {
    Any,
    Null,
    Rank(usize),
}

/// A destination: `to(1)`, `to(1).tag(7)`.
#[inline]
pub fn to(rank: impl Into<Option<usize>>) -> Dest {
    Dest { rank: rank.into(), tag: 0 }
}

/// A source: `from(1)`, `from(1).tag(7)`.
#[inline]
pub fn from(rank: impl Into<Option<usize>>) -> Source {
    let rank = rank.into().map_or(SourceRank::Null, SourceRank::Rank);
    Source { rank, tag: None }
}

/// Any source: `any()`, `any().tag(7)`.
#[inline]
pub fn any() -> Source {
    Source { rank: SourceRank::Any, tag: None }
}

impl Dest {
    /// The same destination with this tag (at least 0, at most [`tag_upper_bound`]).
    ///
    /// [`tag_upper_bound`]: crate::tag_upper_bound
    #[must_use]
    #[inline]
    pub fn tag(self, tag: i32) -> Self {
        Dest { tag, ..self }
    }

    /// The rank, or `None` for the null process.
    #[inline]
    pub fn rank(&self) -> Option<usize> {
        self.rank
    }

    #[inline]
    pub(crate) fn peer(&self) -> Peer {
        self.rank.map_or(Peer::Null, Peer::To)
    }
}

impl Source {
    /// The same source, for messages with this tag only.
    #[must_use]
    #[inline]
    pub fn tag(self, tag: i32) -> Self {
        Source { tag: Some(tag), ..self }
    }

    /// The tag that a message must have, or `None` for any.
    #[inline]
    pub fn wanted_tag(&self) -> Option<i32> {
        self.tag
    }

    #[inline]
    pub(crate) fn peer(&self) -> Peer {
        match self.rank {
            SourceRank::Any => Peer::AnySource,
            SourceRank::Null => Peer::Null,
            SourceRank::Rank(rank) => Peer::From(rank),
        }
    }
}

impl From<usize> for Dest {
    #[inline]
    fn from(rank: usize) -> Self {
        to(rank)
    }
}

impl From<Option<usize>> for Dest {
    #[inline]
    fn from(rank: Option<usize>) -> Self {
        to(rank)
    }
}

impl From<usize> for Source {
    #[inline]
    fn from(rank: usize) -> Self {
        from(rank)
    }
}

impl From<Option<usize>> for Source {
    #[inline]
    fn from(rank: Option<usize>) -> Self {
        from(rank)
    }
}

/// What a receive says of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The rank it came from; `None` for the null process. A valid destination of an answer.
    pub source: Option<usize>,
    /// Its tag.
    pub tag: i32,
    /// Its length in elements (in bytes for an object).
    pub len: usize,
}
