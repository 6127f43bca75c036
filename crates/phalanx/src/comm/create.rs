//! New communicators from old ones. All of it collective over the old one, unless it says otherwise.

use std::panic::Location;

use super::{Comm, Group};
use crate::error::{Error, ErrorKind, Result};
use crate::raw;
use crate::record::{
    COMM_CREATE, COMM_CREATE_GROUP, COMM_DUP, COMM_SPLIT, COMM_SPLIT_NODE, Operation,
};

/// # New communicators
impl Comm {
    /// The same ranks in a new context: messages of one never meet those of the other.
    ///
    /// A library that communicates on behalf of its caller works on a duplicate.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Comm_dup`, MPI-4.1 section 7.4.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mine = world.dup()?;
    /// assert_eq!((mine.rank(), mine.size()), (world.rank(), world.size()));
    /// mine.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn dup(&self) -> Result<Comm> {
        let location = Location::caller();
        let call = self.call(&COMM_DUP, location);
        let _permit = raw::permit(&call)?;
        let made = raw::comm::dup(&call, self.handle())?;
        let birth = self.gave_birth(&call, true)?;
        let name = format!("{} (dup)", self.name());
        Comm::adopt_child(&COMM_DUP, made, name, location, birth)
    }

    /// One new communicator for each color. Ranks are ordered by `key`, then by their old rank.
    ///
    /// `None` as the color takes part in the call and becomes a member of nothing.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if the color is above `i32::MAX`.
    ///
    /// MPI: `MPI_Comm_split`, MPI-4.1 section 7.4.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let color = (world.rank() % 2) as u32;
    /// let half = world.split(Some(color), 0)?.expect("every rank has a color");
    /// assert_eq!(half.rank(), world.rank() / 2);
    /// half.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn split(&self, color: Option<u32>, key: i32) -> Result<Option<Comm>> {
        let location = Location::caller();
        let call = self.call(&COMM_SPLIT, location);
        let _permit = raw::permit(&call)?;
        let made = raw::comm::split(&call, self.handle(), color, key)?;
        self.member_of(&COMM_SPLIT, made, "split", location)
    }

    /// One new communicator for each node: ranks that can share memory.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Comm_split_type` with `MPI_COMM_TYPE_SHARED`, MPI-4.1 section 7.4.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let node = world.split_by_node()?;
    /// println!("rank {} is number {} on its node", world.rank(), node.rank());
    /// node.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn split_by_node(&self) -> Result<Comm> {
        let location = Location::caller();
        let call = self.call(&COMM_SPLIT_NODE, location);
        let _permit = raw::permit(&call)?;
        let made = raw::comm::split_by_node(&call, self.handle(), 0)?;
        let birth = self.gave_birth(&call, true)?;
        let name = format!("{} (node)", self.name());
        Comm::adopt_child(&COMM_SPLIT_NODE, made, name, location, birth)
    }

    /// A communicator of the ranks of a group, in the order of the group. `None` elsewhere.
    ///
    /// Collective over this communicator: ranks outside the group call it too.
    /// [`create_group`](Comm::create_group) is for members alone.
    ///
    /// # Errors
    /// What the MPI library reports, for one a group with ranks that are not members here.
    ///
    /// MPI: `MPI_Comm_create`, MPI-4.1 section 7.4.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let first = world.group()?.include(&[0])?;
    /// let alone = world.create(&first)?;
    /// assert_eq!(alone.is_some(), world.rank() == 0);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn create(&self, group: &Group) -> Result<Option<Comm>> {
        let location = Location::caller();
        let call = self.call(&COMM_CREATE, location);
        let _permit = raw::permit(&call)?;
        let made = raw::comm::create(&call, self.handle(), group.raw().0)?;
        self.member_of(&COMM_CREATE, made, "group", location)
    }

    /// A communicator of the ranks of a group, made by its members alone.
    ///
    /// `tag` keeps apart what several threads create at the same time.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank) if this rank is not in the group.
    ///
    /// MPI: `MPI_Comm_create_group`, MPI-4.1 section 7.4.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let group = world.group()?.include(&[0])?;
    /// if world.rank() == 0 {
    ///     let alone = world.create_group(&group, 0)?;
    ///     assert_eq!(alone.size(), 1);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn create_group(&self, group: &Group, tag: i32) -> Result<Comm> {
        let location = Location::caller();
        let call = self.call(&COMM_CREATE_GROUP, location);
        let _permit = raw::permit(&call)?;
        super::check_tag(&call, tag)?;
        if group.rank()?.is_none() {
            let detail = format!(
                "rank {} is not a member of the group: members alone call create_group, all ranks call create",
                self.rank()
            );
            return Err(Error::new(ErrorKind::InvalidRank, &call, detail));
        }
        let made = raw::comm::create_group(&call, self.handle(), group.raw().0, tag)?;
        let name = format!("{} (group)", self.name());
        Comm::adopt(&COMM_CREATE_GROUP, made, name, location)
    }

    fn member_of(
        &self,
        operation: &'static Operation,
        made: phalanx_sys::MPI_Comm,
        how: &str,
        location: &'static Location<'static>,
    ) -> Result<Option<Comm>> {
        let is_member = !raw::comm::is_null(made);
        let birth = self.gave_birth(&self.call(operation, location), is_member)?;
        if !is_member {
            return Ok(None);
        }
        let name = format!("{} ({how})", self.name());
        Comm::adopt_child(operation, made, name, location, birth).map(Some)
    }
}
