//! Messages whose receivers do not know who sends.

use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comm::{Comm, any, to};
use crate::datatype::{Element, sent};
use crate::error::{Error, Result};
use crate::object::{self, Bincode};
use crate::raw::View;
use crate::raw::p2p::{self, Matched, Mode};
use crate::raw::request::was_refused;
use crate::raw::wait;
use crate::record::{self, Call, Kind, Name, Peer, SPARSE_EXCHANGE, SPARSE_EXCHANGE_OBJECT};
use crate::request::{PendingReceive, Request, receive_matched, start_matched};

/// Messages of at most so many bytes are on this side as soon as they are matched, or nearly.
const SHORT: usize = 4096;

/// # Exchanges that cannot deadlock: with ranks that the receivers do not know
impl Comm {
    /// Sends elements to some ranks and receives what any rank has sent here: nobody needs to know how
    /// many messages come, or from whom. Returns each message with its source, in the order of the
    /// sources; those of one source in the order in which it gave them. Collective.
    ///
    /// Takes pairs of a rank and what it shall get: several for one rank, none at all, empty ones and
    /// some for this rank itself are fine. Its cost grows with the number of partners, and with that of
    /// the ranks only as a barrier's does; [`alltoallv`](Comm::alltoallv) tells every rank a length for
    /// every rank, and is the faster one where ranks are few or most have something for most.
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
            outgoing.iter().map(|(rank, data)| Ok((*rank, sent(&call, data.as_ref())?))).collect();
        self.consensus::<T>(&call, views, Some(record::name_of::<T>))
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
            Ok((rank, object::to_bytes_checked::<Bincode, T>(&call, &value)?))
        };
        let encoded: Result<Vec<(usize, Vec<u8>)>> = outgoing.into_iter().map(encode).collect();
        let (encoded, refused) = match encoded {
            Ok(encoded) => (encoded, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        let views = encoded.iter().map(|(rank, bytes)| Ok((*rank, View::bytes(bytes)))).collect();
        let inbox = self.consensus::<u8>(&call, views, None);
        refused?;
        let open = |(source, bytes): (usize, Vec<u8>)| {
            let call = call.peer(Peer::From(source));
            Ok((source, object::decode::<Bincode, T>(&call, &bytes)?))
        };
        inbox?.into_iter().map(open).collect()
    }

    /// Takes part in the consensus, with what can be sent, before it returns any error. What travels are elements
    /// of this name, or objects.
    fn consensus<'env, T: Element>(
        &'env self,
        call: &Call<'_>,
        outgoing: Result<Vec<(usize, View<'env>)>>,
        element: Option<Name>,
    ) -> Result<Vec<(usize, Vec<T>)>> {
        // Tells the messages of two calls apart: a rank that is through may begin the next while
        // another still looks for messages of this one.
        let permit = crate::raw::permit(call)?;
        let tag = self.next_collective_tag(&permit, call);
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
        let looking = call.peer(Peer::AnySource).tag(Some(tag));
        let mut inbox: Vec<(usize, Vec<T>)> = Vec::new();
        // Long messages arrive side by side: each with its place in the inbox.
        let mut arriving: Vec<(usize, Request<Vec<T>>)> = Vec::new();
        let receive = |matched: Matched,
                       inbox: &mut Vec<(usize, Vec<T>)>,
                       arriving: &mut Vec<_>| {
            let source = matched.status.source() as usize;
            let call = call.peer(Peer::From(source));
            let mut message = Vec::new();
            if matched.status.bytes(&call)? <= SHORT {
                message = receive_matched::<T>(&call, matched, element)?;
            } else {
                arriving.push((inbox.len(), start_matched::<T>(self, &call, matched, element)?));
            }
            inbox.push((source, message));
            Ok(())
        };
        self.scope_at(true, call.location, |scope| {
            scope.reserve(outgoing.len());
            let mut flying = Vec::with_capacity(outgoing.len());
            for (call, to, view) in &outgoing {
                match scope.start_send(call, Mode::Synchronous, *view, *to) {
                    Ok(index) => flying.push(index),
                    Err(error) => keep(error, &mut errors)?,
                }
            }
            let mut barrier = None;
            let mut through = false;
            // What comes is taken, and not waited for.
            let mut pending = PendingReceive::default();
            pending.show(&looking, element.unwrap_or(record::no_name))?;
            // A wait each: one that has found something looks again at once.
            while !through || !arriving.is_empty() {
                wait::until(call, Kind::WaitAll, || {
                    let mut moved = false;
                    while let Some(matched) = p2p::try_probe(&looking, from)? {
                        moved = true;
                        receive(matched, &mut inbox, &mut arriving)
                            .or_else(|error| keep(error, &mut errors))?;
                    }
                    moved |= look_at(&mut arriving, &mut errors, |(place, request)| {
                        let message = request.test()?;
                        Ok(message.map(|message| inbox[*place].1 = message).is_some())
                    })?;
                    match &mut barrier {
                        None => {
                            let is_over = |index: &mut usize| Ok(scope.look(*index)?.is_some());
                            moved |= look_at(&mut flying, &mut errors, is_over)?;
                            if flying.is_empty() {
                                barrier = Some(self.ibarrier_at(call)?);
                            }
                        }
                        Some(barrier) if !through => through = barrier.test()?.is_some(),
                        Some(_) => {}
                    }
                    Ok((moved || through && arriving.is_empty()).then_some(()))
                })?;
            }
            Ok(())
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

/// Notes an error of one message. Where the gate refused the call, nothing can go on.
fn keep(error: Error, errors: &mut Vec<Error>) -> Result<()> {
    if was_refused(&error) {
        return Err(error);
    }
    errors.push(error);
    Ok(())
}

/// Looks at everything that is in flight, and forgets what is over. Returns whether anything was.
fn look_at<T>(
    flying: &mut Vec<T>,
    errors: &mut Vec<Error>,
    mut is_over: impl FnMut(&mut T) -> Result<bool>,
) -> Result<bool> {
    let before = flying.len();
    let mut number = 0;
    while number < flying.len() {
        match is_over(&mut flying[number]) {
            Ok(false) => {
                number += 1;
                continue;
            }
            Ok(true) => {}
            Err(error) => keep(error, errors)?,
        }
        flying.swap_remove(number);
    }
    Ok(flying.len() < before)
}
