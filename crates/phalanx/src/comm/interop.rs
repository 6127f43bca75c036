//! Guests: communicators of rsmpi and of C libraries, in both directions.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::Location;

use mpi::raw::AsRaw;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, FromRaw};
use phalanx_sys as ffi;

use super::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::raw;
use crate::record::{COMM_ATTACH, COMM_DUP, COMM_FREE, Call};

/// # Other libraries that use MPI
impl Comm {
    /// A communicator with the ranks of an rsmpi communicator. Collective over it.
    ///
    /// It is a duplicate: the guest's own is neither used nor changed.
    ///
    /// # Errors
    /// What the MPI library reports; [`Unsupported`](ErrorKind::Unsupported) for an inter-communicator.
    ///
    /// MPI: `MPI_Comm_dup`, MPI-4.1 section 7.4.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let guest = mpi::topology::SimpleCommunicator::world();
    /// let ours = phalanx::Comm::from_rsmpi(&guest)?;
    /// assert_eq!(ours.size(), world.size());
    /// ours.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn from_rsmpi<C>(guest: &C) -> Result<Comm>
    where
        C: mpi::traits::Communicator + AsRaw<Raw = ffi::MPI_Comm>,
    {
        // SAFETY: rsmpi keeps the handle alive while the guest is borrowed.
        unsafe { Comm::from_raw(guest.as_raw()) }
    }

    /// A communicator with the ranks of a raw handle, which stays the guest's. Collective over it.
    ///
    /// # Safety
    /// The handle is a live communicator of the MPI that this program is linked to.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank) for the null handle,
    /// [`Unsupported`](ErrorKind::Unsupported) for an inter-communicator.
    ///
    /// MPI: `MPI_Comm_dup`, MPI-4.1 section 7.4.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// // SAFETY: the handle is that of a live communicator.
    /// let twin = unsafe { phalanx::Comm::from_raw(world.as_raw()) }?;
    /// assert_eq!(twin.rank(), world.rank());
    /// twin.free()
    /// # });
    /// ```
    #[track_caller]
    pub unsafe fn from_raw(guest: ffi::MPI_Comm) -> Result<Comm> {
        let location = Location::caller();
        let call = Call::local(&COMM_ATTACH, location);
        let _permit = raw::permit(&call)?;
        if raw::comm::is_null(guest) {
            return Err(Error::new(ErrorKind::InvalidRank, &call, "the handle is null"));
        }
        if raw::comm::is_inter(&call, guest)? {
            let detail = "the handle is an inter-communicator";
            return Err(Error::new(ErrorKind::Unsupported, &call, detail));
        }
        let name = raw::comm::get_name(&call, guest)?;
        let made = raw::comm::dup(&call, guest)?;
        let name = if name.is_empty() { "guest".to_owned() } else { name };
        Comm::adopt(&COMM_ATTACH, made, name, location)
    }

    /// The handle, for calls into C. It lives as long as this communicator and its clones.
    ///
    /// Errors on it are return codes (`MPI_ERRORS_RETURN`): look at them. From now on the watch proves
    /// nothing about messages on this communicator: it does not see those of the C code.
    pub fn as_raw(&self) -> ffi::MPI_Comm {
        self.identity().give_away();
        self.handle()
    }

    /// A duplicate as an rsmpi communicator. Collective.
    ///
    /// rsmpi does not look at return codes, so that on this duplicate an error ends the program, as
    /// it does everywhere in rsmpi.
    ///
    /// # Errors
    /// What the MPI library reports.
    ///
    /// MPI: `MPI_Comm_dup`, MPI-4.1 section 7.4.2.
    ///
    /// ```
    /// use mpi::traits::Communicator;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let theirs = world.to_rsmpi()?;
    /// assert_eq!(theirs.size() as usize, world.size());
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn to_rsmpi(&self) -> Result<RsmpiComm> {
        let location = Location::caller();
        let call = self.call(&COMM_DUP, location);
        let _permit = raw::permit(&call)?;
        let made = raw::comm::dup(&call, self.handle())?;
        raw::comm::errors_are_fatal(&call, made)?;
        // SAFETY: the handle is new, and rsmpi becomes its only owner.
        let guest = unsafe { SimpleCommunicator::from_raw(made) };
        debug_assert_eq!(guest.size() as usize, self.size());
        Ok(RsmpiComm { guest: ManuallyDrop::new(guest), location })
    }
}

/// A communicator of rsmpi that may outlive MPI; see [`Comm::to_rsmpi`].
///
/// It is used as the `SimpleCommunicator` to which it dereferences. Dropping it frees the communicator, which is
/// collective; after MPI was finalized, or on a thread that may not call MPI, nothing is freed: rsmpi
/// itself would call the library all the same, and that ends the program.
pub struct RsmpiComm {
    guest: ManuallyDrop<SimpleCommunicator>,
    location: &'static Location<'static>,
}

impl Deref for RsmpiComm {
    type Target = SimpleCommunicator;

    fn deref(&self) -> &SimpleCommunicator {
        &self.guest
    }
}

impl Drop for RsmpiComm {
    fn drop(&mut self) {
        // Held until it is freed: MPI is not finalized meanwhile.
        if let Ok(_permit) = raw::permit(&Call::local(&COMM_FREE, self.location)) {
            // SAFETY: it is dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.guest) };
        }
    }
}

impl fmt::Debug for RsmpiComm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsmpiComm(made at {})", self.location)
    }
}
