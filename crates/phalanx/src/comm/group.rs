//! Groups: ordered sets of ranks. Everything here is local.

use std::panic::Location;

use super::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::raw;
use crate::raw::comm::{RawGroup, SetOperation};
use crate::record::{COMM_COMPARE, COMM_GROUP, Call, GROUP};

/// An ordered set of ranks, from which communicators are made.
///
/// MPI: MPI-4.1 section 7.3.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let everyone = world.group()?;
/// let first = everyone.include(&[0])?;
/// let others = everyone.difference(&first)?;
/// assert_eq!(others.size()?, world.size() - 1);
/// # Ok(())
/// # });
/// ```
pub struct Group {
    raw: RawGroup,
}

/// How alike two communicators or two groups are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same object: the same ranks in the same order and, for communicators, the same context.
    Identical,
    /// The same ranks in the same order, in another context.
    Congruent,
    /// The same ranks in another order.
    Similar,
    /// Other ranks.
    Unequal,
}

impl From<raw::comm::Comparison> for Comparison {
    fn from(answer: raw::comm::Comparison) -> Self {
        match answer {
            raw::comm::Comparison::Identical => Comparison::Identical,
            raw::comm::Comparison::Congruent => Comparison::Congruent,
            raw::comm::Comparison::Similar => Comparison::Similar,
            raw::comm::Comparison::Unequal => Comparison::Unequal,
        }
    }
}

/// # Groups
impl Comm {
    /// The group of this communicator.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Comm_group`, MPI-4.1 section 7.3.2.
    #[track_caller]
    pub fn group(&self) -> Result<Group> {
        let call = self.call(&COMM_GROUP, Location::caller());
        Ok(Group { raw: raw::comm::group_of(&call, self.identity())? })
    }

    /// How alike two communicators are. Local.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Comm_compare`, MPI-4.1 section 7.4.1.
    ///
    /// ```
    /// use phalanx::Comparison;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let copy = world.dup()?;
    /// assert_eq!(world.compare(&copy)?, Comparison::Congruent);
    /// copy.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn compare(&self, other: &Comm) -> Result<Comparison> {
        let call = self.call(&COMM_COMPARE, Location::caller());
        Ok(raw::comm::compare(&call, self.handle(), other.handle())?.into())
    }

    /// Which ranks of `other` the given ranks of this communicator are; `None` for those that are not
    /// members there. Local.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank) if a rank does not exist here.
    ///
    /// MPI: `MPI_Group_translate_ranks`, MPI-4.1 section 7.3.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.self_comm()?;
    /// assert_eq!(world.translate_ranks(&[world.rank()], &me)?, [Some(0)]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn translate_ranks(&self, ranks: &[usize], other: &Comm) -> Result<Vec<Option<usize>>> {
        self.group()?.translate_ranks(ranks, &other.group()?)
    }
}

impl Group {
    pub(crate) fn raw(&self) -> &RawGroup {
        &self.raw
    }

    #[track_caller]
    fn call(&self) -> Call<'static> {
        Call::local(&GROUP, Location::caller())
    }

    /// The number of ranks.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Group_size`, MPI-4.1 section 7.3.1.
    #[track_caller]
    pub fn size(&self) -> Result<usize> {
        raw::comm::group_size(&self.call(), &self.raw)
    }

    /// The rank of this process in the group, if it is a member.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Group_rank`, MPI-4.1 section 7.3.1.
    #[track_caller]
    pub fn rank(&self) -> Result<Option<usize>> {
        raw::comm::group_rank(&self.call(), &self.raw)
    }

    /// All ranks of this group, then those of `other` that are not in it.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Group_union`, MPI-4.1 section 7.3.2.
    #[track_caller]
    pub fn union(&self, other: &Group) -> Result<Group> {
        self.combine(SetOperation::Union, other)
    }

    /// The ranks that are in both, in the order of this group.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Group_intersection`, MPI-4.1 section 7.3.2.
    #[track_caller]
    pub fn intersection(&self, other: &Group) -> Result<Group> {
        self.combine(SetOperation::Intersection, other)
    }

    /// The ranks of this group that are not in `other`.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Group_difference`, MPI-4.1 section 7.3.2.
    #[track_caller]
    pub fn difference(&self, other: &Group) -> Result<Group> {
        self.combine(SetOperation::Difference, other)
    }

    #[track_caller]
    fn combine(&self, operation: SetOperation, other: &Group) -> Result<Group> {
        let raw = raw::comm::group_combine(&self.call(), operation, &self.raw, &other.raw)?;
        Ok(Group { raw })
    }

    /// The given ranks of this group, in the given order.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank) if a rank does not exist or stands twice.
    ///
    /// MPI: `MPI_Group_incl`, MPI-4.1 section 7.3.2.
    #[track_caller]
    pub fn include(&self, ranks: &[usize]) -> Result<Group> {
        let ranks = self.checked(ranks)?;
        Ok(Group { raw: raw::comm::group_include(&self.call(), &self.raw, &ranks)? })
    }

    /// This group without the given ranks.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank) if a rank does not exist or stands twice.
    ///
    /// MPI: `MPI_Group_excl`, MPI-4.1 section 7.3.2.
    #[track_caller]
    pub fn exclude(&self, ranks: &[usize]) -> Result<Group> {
        let ranks = self.checked(ranks)?;
        Ok(Group { raw: raw::comm::group_exclude(&self.call(), &self.raw, &ranks)? })
    }

    #[track_caller]
    fn checked(&self, ranks: &[usize]) -> Result<Vec<i32>> {
        let size = self.size()?;
        let mut seen = vec![false; size];
        for &rank in ranks {
            match seen.get_mut(rank) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return Err(self.wrong_rank(format!("rank {rank} stands twice"))),
                None => return Err(self.wrong_rank(format!("rank {rank} of a group of {size}"))),
            }
        }
        Ok(ranks.iter().map(|&rank| rank as i32).collect())
    }

    #[track_caller]
    fn wrong_rank(&self, detail: String) -> Error {
        Error::new(ErrorKind::InvalidRank, &self.call(), detail)
    }

    /// Which ranks of `other` the given ranks of this group are; `None` for those not in it.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank) if a rank does not exist here.
    ///
    /// MPI: `MPI_Group_translate_ranks`, MPI-4.1 section 7.3.2.
    #[track_caller]
    pub fn translate_ranks(&self, ranks: &[usize], other: &Group) -> Result<Vec<Option<usize>>> {
        let size = self.size()?;
        if let Some(rank) = ranks.iter().find(|&&rank| rank >= size) {
            return Err(self.wrong_rank(format!("rank {rank} of a group of {size}")));
        }
        let ranks: Vec<i32> = ranks.iter().map(|&rank| rank as i32).collect();
        raw::comm::group_translate(&self.call(), &self.raw, &ranks, &other.raw)
    }

    /// How alike two groups are.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Group_compare`, MPI-4.1 section 7.3.1.
    #[track_caller]
    pub fn compare(&self, other: &Group) -> Result<Comparison> {
        Ok(raw::comm::group_compare(&self.call(), &self.raw, &other.raw)?.into())
    }
}
