//! Objects that are sent and received later.

use std::panic::Location;

use phalanx_codec::{Bincode, Codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::incoming::{Incoming, Receiving};
use crate::comm::{Comm, Dest, Source, Status};
use crate::error::Result;
use crate::raw::p2p::Mode;
use crate::record::{IRECV_OBJECT, ISEND_OBJECT, ISSEND_OBJECT};
use crate::request::{Request, from_task};

/// # Non-blocking messages of objects
impl Comm {
    /// Starts to send any serde value, which is encoded before this returns.
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Isend`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let sending = world.isend_object(&Some("text"), me)?;
    /// assert_eq!(world.recv_object::<Option<String>>(me)?, Some("text".to_owned()));
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn isend_object<T>(&self, value: &T, to: impl Into<Dest>) -> Result<Request<()>>
    where
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.isend_object_in::<Bincode, T>(&ISEND_OBJECT, Mode::Standard, value, to, location)
    }

    /// [`isend_object`](Comm::isend_object) with another [`Codec`].
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Isend`, MPI-4.1 section 3.7.2.
    #[track_caller]
    pub fn isend_object_with<C, T>(&self, value: &T, to: impl Into<Dest>) -> Result<Request<()>>
    where
        C: Codec,
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.isend_object_in::<C, T>(&ISEND_OBJECT, Mode::Standard, value, to, location)
    }

    /// [`isend_object`](Comm::isend_object); complete when the receiver has begun to receive it.
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Issend`, MPI-4.1 section 3.7.2.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let mut sending = world.issend_object("text", me)?;
    /// assert!(sending.test()?.is_none()); // nobody receives yet
    /// assert_eq!(world.recv_object::<String>(me)?, "text");
    /// sending.wait()?;
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn issend_object<T>(&self, value: &T, to: impl Into<Dest>) -> Result<Request<()>>
    where
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.isend_object_in::<Bincode, T>(&ISSEND_OBJECT, Mode::Synchronous, value, to, location)
    }

    /// [`issend_object`](Comm::issend_object) with another [`Codec`].
    ///
    /// # Errors
    /// Those of [`send_object`](Comm::send_object).
    ///
    /// MPI: `MPI_Issend`, MPI-4.1 section 3.7.2.
    #[track_caller]
    pub fn issend_object_with<C, T>(&self, value: &T, to: impl Into<Dest>) -> Result<Request<()>>
    where
        C: Codec,
        T: Serialize + ?Sized,
    {
        let (to, location) = (to.into(), Location::caller());
        self.isend_object_in::<C, T>(&ISSEND_OBJECT, Mode::Synchronous, value, to, location)
    }

    /// Starts to receive a serde value of any length. It is matched in its turn among all receives of this
    /// rank, as MPI matches them, and its sender needs nothing more of this rank than that it calls MPI.
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank), [`InvalidTag`](crate::ErrorKind::InvalidTag). When it
    /// completes: those of [`recv_object`](Comm::recv_object).
    ///
    /// MPI: `MPI_Irecv`, MPI-4.1 section 3.7.2; what is longer than 16 KiB follows on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let me = world.rank();
    /// let receiving = world.irecv_object::<Vec<String>>(me)?;
    /// world.send_object(&["a", "b"][..], me)?;
    /// assert_eq!(receiving.wait()?, ["a", "b"]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_object<T>(&self, from: impl Into<Source>) -> Result<Request<T>>
    where
        T: DeserializeOwned + 'static,
    {
        let location = Location::caller();
        self.irecv_object_in::<Bincode, T, T>(from.into(), location, |(value, _)| value)
    }

    /// [`irecv_object`](Comm::irecv_object), with the source, tag and length in bytes of the message.
    ///
    /// # Errors
    /// As [`irecv_object`](Comm::irecv_object).
    ///
    /// MPI: as [`irecv_object`](Comm::irecv_object).
    ///
    /// ```
    /// use phalanx::prelude::*;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let receiving = world.irecv_object_with_status::<String>(any())?;
    /// world.send_object("text", world.rank())?;
    /// let (text, got) = receiving.wait()?;
    /// assert_eq!((text.as_str(), got.source), ("text", Some(world.rank())));
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn irecv_object_with_status<T>(
        &self,
        from: impl Into<Source>,
    ) -> Result<Request<(T, Status)>>
    where
        T: DeserializeOwned + 'static,
    {
        self.irecv_object_in::<Bincode, T, _>(from.into(), Location::caller(), |both| both)
    }

    /// [`irecv_object`](Comm::irecv_object) with another [`Codec`].
    ///
    /// # Errors
    /// As [`irecv_object`](Comm::irecv_object).
    ///
    /// MPI: as [`irecv_object`](Comm::irecv_object).
    #[track_caller]
    pub fn irecv_object_with<C, T>(&self, from: impl Into<Source>) -> Result<Request<T>>
    where
        C: Codec + 'static,
        T: DeserializeOwned + 'static,
    {
        self.irecv_object_in::<C, T, T>(from.into(), Location::caller(), |(value, _)| value)
    }

    fn irecv_object_in<C, T, R>(
        &self,
        from: Source,
        location: &'static Location<'static>,
        finish: fn((T, Status)) -> R,
    ) -> Result<Request<R>>
    where
        C: Codec + 'static,
        T: DeserializeOwned + 'static,
        R: 'static,
    {
        let call = self.call(&IRECV_OBJECT, location).peer(from.peer()).tag(from.tag);
        let incoming = Incoming::start(&call, self.private(), from.envelope(&call)?)?;
        Ok(from_task(self, &call, Receiving::<C, T, R>::new(incoming, finish)))
    }
}
