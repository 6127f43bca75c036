//! Messages whose receivers do not know who sends.

use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comm::{Comm, any, to};
use crate::datatype::{Element, Payload};
use crate::error::{Error, Result};
use crate::object::{self, Bincode};
use crate::p2p::Received;
use crate::raw::View;
use crate::raw::p2p::{self, Matched, Mode};
use crate::raw::request::was_refused;
use crate::raw::wait;
use crate::record::{Call, Peer, SPARSE_EXCHANGE, SPARSE_EXCHANGE_OBJECT};

impl Comm {
    /// Sends elements to some ranks and receives what any rank has sent here: nobody needs to know how
    /// many messages come, or from whom. Returns each message with its source, in the order of the
    /// sources; those of one source in the order in which it gave them. Collective.
    ///
    /// Takes pairs of a rank and what it shall get: several for one rank, none at all, empty ones and
    /// some for this rank itself are fine. Its cost grows with the number of partners, and not with
    /// the number of ranks but for a barrier: where few ranks have something for each other it is
    /// faster than [`alltoallv`](Comm::alltoallv).
    ///
    /// # Errors
    /// [`InvalidRank`](crate::ErrorKind::InvalidRank) if a destination does not exist: this rank
    /// then sends nothing, and all other messages arrive.
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if a message is no whole number of
    /// elements. The error comes after all ranks are through.
    ///
    /// MPI: `MPI_Issend`, `MPI_Improbe`, `MPI_Ibarrier` on a private communicator; MPI-4.1 sections 3.7,
    /// 3.8 and 6.12. The algorithm is NBX of T. Hoefler, C. Siebert and A. Lumsdaine (PPoPP 2010).
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// // Particles that have left this rank's part of space, and where they belong.
    /// let next = (world.rank() + 1) % world.size();
    /// let inbox = world.sparse_exchange([(next, vec![0.5, 1.5]), (next, vec![2.5])])?;
    /// let previous = (world.rank() + world.size() - 1) % world.size();
    /// assert_eq!(inbox, [(previous, vec![0.5, 1.5]), (previous, vec![2.5])]);
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn sparse_exchange<T, D>(
        &self,
        outgoing: impl IntoIterator<Item = (usize, D)>,
    ) -> Result<Vec<(usize, Vec<T>)>>
    where
        T: Element,
        D: AsRef<[T]>,
    {
        let call = self.private_call(&SPARSE_EXCHANGE, Location::caller());
        let outgoing: Vec<(usize, D)> = outgoing.into_iter().collect();
        let views =
            outgoing.iter().map(|(rank, data)| Ok((*rank, data.as_ref().view()?))).collect();
        self.consensus::<Vec<T>>(&call, views)
    }

    /// [`sparse_exchange`](Comm::sparse_exchange) of any serde values. Collective.
    ///
    /// # Errors
    /// As [`sparse_exchange`](Comm::sparse_exchange), and [`Encode`](crate::ErrorKind::Encode) on a
    /// rank whose values cannot be encoded, which then sends nothing.
    ///
    /// MPI: as [`sparse_exchange`](Comm::sparse_exchange).
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let question = (world.rank() > 0).then(|| (0, format!("rank {} asks", world.rank())));
    /// let questions = world.sparse_exchange_object(question)?;
    /// assert_eq!(questions.len(), if world.rank() == 0 { world.size() - 1 } else { 0 });
    /// # Ok(())
    /// # });
    /// ```
    #[track_caller]
    pub fn sparse_exchange_object<T>(
        &self,
        outgoing: impl IntoIterator<Item = (usize, T)>,
    ) -> Result<Vec<(usize, T)>>
    where
        T: Serialize + DeserializeOwned,
    {
        let call = self.private_call(&SPARSE_EXCHANGE_OBJECT, Location::caller());
        let encode = |(rank, value): (usize, T)| {
            let call = call.peer(Peer::To(rank));
            Ok((rank, object::to_bytes::<Bincode, T>(&call, &value)?))
        };
        let encoded: Result<Vec<(usize, Vec<u8>)>> = outgoing.into_iter().map(encode).collect();
        let (encoded, refused) = match encoded {
            Ok(encoded) => (encoded, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        let views = encoded.iter().map(|(rank, bytes)| Ok((*rank, View::bytes(bytes)))).collect();
        let inbox = self.consensus::<Vec<u8>>(&call, views);
        refused?;
        let open = |(source, bytes): (usize, Vec<u8>)| {
            let call = call.peer(Peer::From(source));
            Ok((source, object::decode::<Bincode, T>(&call, &bytes)?))
        };
        inbox?.into_iter().map(open).collect()
    }

    /// Takes part in the consensus, with what can be sent, before it returns any error.
    fn consensus<'env, R: Received>(
        &'env self,
        call: &Call<'_>,
        outgoing: Result<Vec<(usize, View<'env>)>>,
    ) -> Result<Vec<(usize, R)>> {
        // Tells the messages of two calls apart: a rank that is through may begin the next while
        // another still looks for messages of this one.
        let tag = self.next_collective_tag();
        let address = |(rank, view): (usize, View<'env>)| {
            let to = to(rank).tag(tag);
            let call = call.peer(to.peer());
            Ok((call, to.envelope(&call)?, view))
        };
        let outgoing: Result<Vec<_>> =
            outgoing.and_then(|outgoing| outgoing.into_iter().map(address).collect());
        let (outgoing, mut errors) = match outgoing {
            Ok(outgoing) => (outgoing, Vec::new()),
            Err(error) => (Vec::new(), vec![error]),
        };
        let from = any().tag(tag).envelope(call)?;
        let looking = call.peer(Peer::AnySource);
        let mut inbox: Vec<(usize, R)> = Vec::new();
        let mut receive = |matched: Matched, errors: &mut Vec<Error>| {
            let source = matched.status.source() as usize;
            match R::receive_matched(&call.peer(Peer::From(source)), matched) {
                Ok((message, _)) => inbox.push((source, message)),
                Err(error) => errors.push(error),
            }
        };
        self.scope_at(true, call.location, |scope| {
            scope.reserve(outgoing.len());
            let mut flying = Vec::with_capacity(outgoing.len());
            for (call, to, view) in &outgoing {
                match scope.start_send(call, Mode::Synchronous, *view, *to) {
                    Ok(index) => flying.push(index),
                    Err(error) if was_refused(&error) => return Err(error),
                    Err(error) => errors.push(error),
                }
            }
            let mut barrier = None;
            wait::until(|| {
                while let Some(matched) = p2p::try_probe(&looking, from)? {
                    receive(matched, &mut errors);
                }
                if let Some(barrier) = &mut barrier {
                    return crate::Request::test(barrier);
                }
                let mut number = 0;
                while number < flying.len() {
                    match scope.look(flying[number]) {
                        Ok(None) => {
                            number += 1;
                            continue;
                        }
                        Ok(Some(_)) => {}
                        Err(error) if was_refused(&error) => return Err(error),
                        Err(error) => errors.push(error),
                    }
                    flying.swap_remove(number);
                }
                if flying.is_empty() {
                    barrier = Some(self.ibarrier_at(call)?);
                }
                Ok(None)
            })
        })?;
        match errors.len() {
            0 => {
                // Stable: those of one source stay in the order in which they were sent.
                inbox.sort_by_key(|(source, _)| *source);
                Ok(inbox)
            }
            1 => Err(errors.remove(0)),
            failed => Err(Error::of_parts(call, format!("{failed} messages are lost"), errors)),
        }
    }
}
