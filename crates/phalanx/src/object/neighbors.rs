//! Objects from and to neighbours. Messages of unknown length on the private communicator; what goes
//! over several edges between the same two ranks goes in one, so that nothing depends on which message
//! comes first.

use std::panic::Location;

use phalanx_codec::{Bincode, Codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::flat::{Flat, Inbox, SharedBytes};
use super::nonblocking_collective::{open_one, or_empty};
use super::wire;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{
    Call, INEIGHBOR_ALLGATHER_OBJECT, INEIGHBOR_ALLTOALL_OBJECT, NEIGHBOR_ALLGATHER_OBJECT,
    NEIGHBOR_ALLTOALL_OBJECT, Operation,
};
use crate::request::{Request, start_steps};
use crate::topology::Neighborhood;

/// A place for a value from each source.
fn places<T>(neighborhood: &Neighborhood) -> Vec<Option<T>> {
    (0..neighborhood.indegree()).map(|_| None).collect()
}

impl Neighborhood {
    /// Sends a value to every destination, and collects one from every source, in order: `None` for a
    /// neighbour on a grid that does not exist. Collective.
    ///
    /// # Errors
    /// On this rank and its neighbours an error if its value cannot be encoded;
    /// [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: a message to every neighbour, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let line = world.cart(&[0], &[false])?.expect("every rank fits");
    /// let names = line.neighbor_allgather_object(&format!("rank {}", line.rank()))?;
    /// assert_eq!(names[0].is_none(), line.rank() == 0);
    /// line.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_allgather_object<T>(&self, value: &T) -> Result<Vec<Option<T>>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.neighbor_allgather_object_with::<Bincode, T>(value)
    }

    /// [`neighbor_allgather_object`](Neighborhood::neighbor_allgather_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`neighbor_allgather_object`](Neighborhood::neighbor_allgather_object).
    ///
    /// MPI: as [`neighbor_allgather_object`](Neighborhood::neighbor_allgather_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let ranks = ring.neighbor_allgather_object_with::<Bincode, _>(&ring.rank())?;
    /// assert_eq!(ranks.len(), ring.indegree());
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_allgather_object_with<C, T>(&self, value: &T) -> Result<Vec<Option<T>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + 'static,
    {
        let location = Location::caller();
        self.start_allgather_object::<C, T>(&NEIGHBOR_ALLGATHER_OBJECT, value, location)?.wait()
    }

    /// Starts a [`neighbor_allgather_object`](Neighborhood::neighbor_allgather_object); the value is
    /// encoded before this returns. Collective.
    ///
    /// # Errors
    /// When it completes, those of
    /// [`neighbor_allgather_object`](Neighborhood::neighbor_allgather_object).
    ///
    /// MPI: a message to every neighbour, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let names = ring.ineighbor_allgather_object(&"a name".to_owned())?.wait()?;
    /// assert_eq!(names[0].as_deref(), Some("a name"));
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_allgather_object<T>(&self, value: &T) -> Result<Request<Vec<Option<T>>>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.ineighbor_allgather_object_with::<Bincode, T>(value)
    }

    /// [`ineighbor_allgather_object`](Neighborhood::ineighbor_allgather_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`ineighbor_allgather_object`](Neighborhood::ineighbor_allgather_object).
    ///
    /// MPI: as [`ineighbor_allgather_object`](Neighborhood::ineighbor_allgather_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let ranks = ring.ineighbor_allgather_object_with::<Bincode, _>(&ring.rank())?.wait()?;
    /// assert_eq!(ranks.len(), ring.indegree());
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_allgather_object_with<C, T>(
        &self,
        value: &T,
    ) -> Result<Request<Vec<Option<T>>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + 'static,
    {
        let location = Location::caller();
        self.start_allgather_object::<C, T>(&INEIGHBOR_ALLGATHER_OBJECT, value, location)
    }

    fn start_allgather_object<C, T>(
        &self,
        operation: &'static Operation,
        value: &T,
        location: &'static Location<'static>,
    ) -> Result<Request<Vec<Option<T>>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + 'static,
    {
        let call = self.private_call(operation, location);
        let permit = crate::raw::permit(&call)?;
        let tag = self.next_collective_tag(&permit, &call);
        let (message, encoded) = or_empty(wire::to_bytes_checked::<C, T>(&call, value));
        let outgoing = self.outgoing().iter().map(|(to, _)| (to, message.clone()));
        let here = self.clone();
        let finish = move |inbox: Inbox, call: &Call<'_>| {
            encoded?;
            let mut values = places(&here);
            for ((from, message), (_, indices)) in inbox.iter().zip(here.incoming().iter()) {
                for &index in indices {
                    values[index] = Some(open_one::<C, T>(call, message, *from)?);
                }
            }
            Ok(values)
        };
        let sources = self.incoming().iter().map(|(from, _)| from);
        let flat = Flat::start(&call, tag, outgoing, sources, finish)?;
        start_steps(self, &call, flat)
    }

    /// Gives every destination its value, and takes one from every source, in order: `None` for a
    /// neighbour on a grid that does not exist, and what is given for it is not looked at. `values` holds
    /// one for each destination. Collective.
    ///
    /// # Errors
    /// On this rank and its neighbours an error if it gives another number of values or one that cannot
    /// be encoded; [`TypeMismatch`](ErrorKind::TypeMismatch).
    ///
    /// MPI: a message to every neighbour, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let words = ring.neighbor_alltoall_object(&["to the left".to_owned(), "to the right".into()])?;
    /// assert_eq!(words[0].as_deref(), Some("to the right")); // said the left neighbour
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_alltoall_object<T>(&self, values: &[T]) -> Result<Vec<Option<T>>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.neighbor_alltoall_object_with::<Bincode, T>(values)
    }

    /// [`neighbor_alltoall_object`](Neighborhood::neighbor_alltoall_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`neighbor_alltoall_object`](Neighborhood::neighbor_alltoall_object).
    ///
    /// MPI: as [`neighbor_alltoall_object`](Neighborhood::neighbor_alltoall_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let received = ring.neighbor_alltoall_object_with::<Bincode, _>(&['l', 'r'])?;
    /// assert_eq!(received, [Some('r'), Some('l')]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn neighbor_alltoall_object_with<C, T>(&self, values: &[T]) -> Result<Vec<Option<T>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + 'static,
    {
        let location = Location::caller();
        self.start_alltoall_object::<C, T>(&NEIGHBOR_ALLTOALL_OBJECT, values, location)?.wait()
    }

    /// Starts a [`neighbor_alltoall_object`](Neighborhood::neighbor_alltoall_object); the values are
    /// encoded before this returns. Collective.
    ///
    /// # Errors
    /// When it completes, those of
    /// [`neighbor_alltoall_object`](Neighborhood::neighbor_alltoall_object).
    ///
    /// MPI: a message to every neighbour, on a private communicator.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let received = ring.ineighbor_alltoall_object(&[Some('l'), Some('r')])?.wait()?;
    /// assert_eq!(received[1], Some(Some('l')));
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_alltoall_object<T>(&self, values: &[T]) -> Result<Request<Vec<Option<T>>>>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.ineighbor_alltoall_object_with::<Bincode, T>(values)
    }

    /// [`ineighbor_alltoall_object`](Neighborhood::ineighbor_alltoall_object) with another codec, which every rank names.
    ///
    /// # Errors
    /// Those of [`ineighbor_alltoall_object`](Neighborhood::ineighbor_alltoall_object).
    ///
    /// MPI: as [`ineighbor_alltoall_object`](Neighborhood::ineighbor_alltoall_object).
    ///
    /// ```
    /// use phalanx::Bincode;
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let received = ring.ineighbor_alltoall_object_with::<Bincode, _>(&['l', 'r'])?.wait()?;
    /// assert_eq!(received, [Some('r'), Some('l')]);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn ineighbor_alltoall_object_with<C, T>(
        &self,
        values: &[T],
    ) -> Result<Request<Vec<Option<T>>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + 'static,
    {
        let location = Location::caller();
        self.start_alltoall_object::<C, T>(&INEIGHBOR_ALLTOALL_OBJECT, values, location)
    }

    fn start_alltoall_object<C, T>(
        &self,
        operation: &'static Operation,
        values: &[T],
        location: &'static Location<'static>,
    ) -> Result<Request<Vec<Option<T>>>>
    where
        C: Codec + 'static,
        T: Serialize + DeserializeOwned + 'static,
    {
        let call = self.private_call(operation, location);
        let permit = crate::raw::permit(&call)?;
        let tag = self.next_collective_tag(&permit, &call);
        let (given, needed) = (values.len(), self.outdegree());
        let mut failed = Ok(());
        if given != needed {
            let detail = format!("{given} values were given for {needed} destinations");
            failed = Err(Error::new(ErrorKind::InvalidLength, &call, detail));
        }
        let mut outgoing = Vec::new();
        for (to, indices) in self.outgoing().iter() {
            // Without its values the neighbour hears of it, in an empty message.
            let group: Option<Vec<&T>> = indices.iter().map(|&index| values.get(index)).collect();
            let encoded = match (&failed, group) {
                (Ok(()), Some(group)) => wire::to_bytes::<C, Vec<&T>>(&call, &group),
                _ => Ok(Vec::new()),
            };
            let (message, outcome) = or_empty(encoded);
            outgoing.push((to, message));
            failed = failed.and(outcome);
        }
        if failed.is_err() {
            outgoing.iter_mut().for_each(|(_, message)| *message = SharedBytes::default());
        }
        let here = self.clone();
        let finish = move |inbox: Inbox, call: &Call<'_>| {
            failed?;
            let mut values = places(&here);
            for ((from, message), (_, indices)) in inbox.iter().zip(here.incoming().iter()) {
                let group = open_one::<C, Vec<T>>(call, message, *from)?;
                if group.len() != indices.len() {
                    let (came, edges) = (group.len(), indices.len());
                    let detail = format!("rank {from} sent {came} values over {edges} edges");
                    return Err(Error::new(ErrorKind::Mismatch, call, detail));
                }
                for (&index, value) in indices.iter().zip(group) {
                    values[index] = Some(value);
                }
            }
            Ok(values)
        };
        let sources = self.incoming().iter().map(|(from, _)| from);
        let flat = Flat::start(&call, tag, outgoing, sources, finish)?;
        start_steps(self, &call, flat)
    }
}
