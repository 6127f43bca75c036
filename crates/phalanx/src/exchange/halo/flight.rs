//! An exchange that owns its array, from its start to its finish.
//!
//! The array lies in a block that the exchange and the request share, and which is used through its
//! address alone: whoever of the two lasts longer frees it. So an exchange may be forgotten or dropped;
//! a request that is dropped while pending is kept by the orphans, and with it the block that MPI reads
//! and writes.

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::Arc;

use super::{Access, Halo, Interior, is_whole};
use crate::datatype::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::{self, Mode};
use crate::raw::request::{self as raw, Live};
use crate::record::{Call, HALO, WAIT_ALL};
use crate::request::{Handle, Origin, Progress, Request, Task, start_steps};

/// An exchange of ghost cells on its way, with the array that it is of. Made by [`Halo::start`].
///
/// It may be kept in a struct or returned, so that work in other functions overlaps with it. One that is
/// dropped before its [`finish`](HaloExchange::finish) goes on without its array, as a
/// [`Request`](crate::Request) does: the neighbours get their ghost cells, and finalize names its line
/// if it never completes.
#[must_use = "an exchange that is dropped before its finish is reported at finalize"]
pub struct HaloExchange<'h, T> {
    halo: &'h Halo<T>,
    request: Request<()>,
    is_over: bool,
    block: Arc<Block<T>>,
}

/// The memory of a vector, without the vector: there is no reference to the whole of it while MPI
/// writes to a part.
struct Block<T> {
    start: *mut T,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its elements, as a vector does.
unsafe impl<T: Send> Send for Block<T> {}
// SAFETY: what is read through a shared block are elements that nobody writes.
unsafe impl<T: Sync> Sync for Block<T> {}

impl<T> Block<T> {
    fn new(array: Vec<T>) -> Self {
        let mut array = ManuallyDrop::new(array);
        Block { start: array.as_mut_ptr(), len: array.len(), capacity: array.capacity() }
    }

    fn into_vec(self) -> Vec<T> {
        let block = ManuallyDrop::new(self);
        // SAFETY: these are the parts of a vector, which is made again once.
        unsafe { Vec::from_raw_parts(block.start, block.len, block.capacity) }
    }
}

impl<T> Drop for Block<T> {
    fn drop(&mut self) {
        // SAFETY: as above.
        drop(unsafe { Vec::from_raw_parts(self.start, self.len, self.capacity) });
    }
}

/// All messages of an exchange. Over when all of them are, whatever became of them: only then may the
/// block be freed.
struct Messages<T> {
    /// With the bytes that are expected, of a receive.
    flights: Vec<(Handle, Origin, Option<usize>)>,
    failed: Option<Error>,
    /// What the messages are parts of.
    _block: Arc<Block<T>>,
}

impl<T: Element> Task<()> for Messages<T> {
    fn poll(&mut self, _call: &Call<'_>) -> Result<Progress> {
        let mut progress = Progress::Complete;
        for (Handle(request), origin, expected) in &mut self.flights {
            if request.is_null() {
                continue;
            }
            let call = origin.call();
            match raw::test(&call, request) {
                Ok(Some(end)) => {
                    if let Err(error) = is_whole(&call, end, *expected) {
                        self.failed.get_or_insert(error);
                    }
                }
                Ok(None) => progress = Progress::Pending,
                Err(error) if raw::was_refused(&error) => return Err(error),
                Err(error) => {
                    self.failed.get_or_insert(error);
                }
            }
        }
        match self.failed.take_if(|_| progress == Progress::Complete) {
            Some(error) => Err(error),
            None => Ok(progress),
        }
    }

    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        let call = Call { operation: &WAIT_ALL, ..call.copy() };
        let mut requests: Vec<Live> = self.flights.iter().map(|(request, ..)| request.0).collect();
        let pending: Vec<bool> = requests.iter().map(|request| !request.is_null()).collect();
        let ends = raw::wait_all(&call, &mut requests, |index| self.flights[index].1.call());
        for ((handle, ..), request) in self.flights.iter_mut().zip(requests) {
            handle.0 = request;
        }
        // A wait that was refused leaves messages in flight: an earlier error is told when they are over.
        for ((end, (_, origin, expected)), pending) in
            ends?.into_iter().zip(&self.flights).zip(pending)
        {
            let call = origin.call();
            let end = end.and_then(|end| match pending {
                true => is_whole(&call, end, *expected),
                false => Ok(()),
            });
            if let Err(error) = end {
                self.failed.get_or_insert(error);
            }
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn take(&mut self, _call: &Call<'_>) -> Result<()> {
        Ok(())
    }
}

impl<T: Element> Halo<T> {
    /// Starts to bring all ghost cells up to date, and returns an exchange that owns the array until its
    /// [`finish`](HaloExchange::finish). Collective.
    ///
    /// Several exchanges may be in flight at once. All ranks start them in the same order; each may finish
    /// them in an order of its own.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if the array does not have [`len`](Halo::len) cells: then
    /// nothing was sent, and the neighbours wait until this rank takes part or ends; what the MPI library
    /// reports. The array is lost.
    ///
    /// MPI: `MPI_Irecv` and `MPI_Isend`, MPI-4.1 section 3.7.2, with every neighbour, on a private
    /// communicator.
    ///
    /// ```
    /// use phalanx::HaloExchange;
    /// // Work in another function, while the ghost cells are on their way.
    /// fn middle(exchange: &HaloExchange<'_, f64>) -> f64 {
    ///     exchange.interior().row(&[])[1..3].iter().sum()
    /// }
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let halo = ring.halo::<f64>(&[4], &[1])?;
    /// let exchange = halo.start(vec![1.0; halo.len()])?;
    /// let sum = middle(&exchange);
    /// let cells = exchange.finish()?;
    /// assert_eq!(sum + cells[0] + cells[5], 4.0); // the ghost cells are there
    /// # drop(halo);
    /// ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn start(&self, array: Vec<T>) -> Result<HaloExchange<'_, T>> {
        let call = self.cart.private_call(&HALO, Location::caller());
        self.check_array(&call, array.len())?;
        let permit = crate::raw::permit(&call)?;
        let tag = self.cart.next_collective_tag(&permit, &call);
        let block = Arc::new(Block::new(array));
        let mut flights = Vec::with_capacity(self.plan.receives.len() + self.plan.sends.len());
        // SAFETY: who holds the block longest is the task, which is over when all messages are; until
        // then only the interior is lent, and only to be read. A datatype may be freed earlier: MPI
        // completes what uses it as if it had not been (MPI-4.1, section 5.1.9).
        let begun = unsafe {
            self.begin(&call, block.start, tag, |call, part, envelope| {
                let mut request = raw::null();
                let expected = match &part {
                    Access::Receive(_) => self.plan.receives.get(flights.len()).map(|it| it.bytes),
                    Access::Send(_) => None,
                };
                match part {
                    Access::Receive(view) => p2p::irecv(call, view, envelope, &mut request)?,
                    Access::Send(view) => {
                        p2p::isend(call, Mode::Standard, view, envelope, &mut request)?
                    }
                }
                flights.push((Handle(request), Origin::new(&self.cart, call), expected));
                Ok(())
            })
        };
        let begun = match begun {
            Err(error) if flights.is_empty() => return Err(error),
            begun => begun,
        };
        let messages = Messages { flights, failed: None, _block: block.clone() };
        let request = start_steps(&self.cart, &call, messages)?;
        // What has been started before an error is the orphans'.
        begun?;
        Ok(HaloExchange { halo: self, request, is_over: false, block })
    }
}

impl<T: Element> HaloExchange<'_, T> {
    /// The interior, which may be read while the ghost cells are on their way.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let halo = ring.halo::<u8>(&[2], &[1])?;
    /// let exchange = halo.start(vec![0, 7, 8, 0])?;
    /// assert_eq!(exchange.interior().row(&[]), [7, 8]);
    /// # exchange.finish()?;
    /// # drop(halo);
    /// # ring.free()
    /// # });
    /// ```
    pub fn interior(&self) -> Interior<'_, T> {
        // SAFETY: the block lives as long as `self`; MPI only reads its interior, and the array is given
        // back by a method that takes `self`.
        unsafe { self.halo.interior_of(self.block.start) }
    }

    /// Looks whether all messages are through, and lets MPI make progress. Then
    /// [`finish`](HaloExchange::finish) does not wait.
    ///
    /// # Errors
    /// As [`finish`](HaloExchange::finish).
    ///
    /// MPI: `MPI_Test`, MPI-4.1 section 3.7.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let halo = ring.halo::<u64>(&[1], &[1])?;
    /// let mut exchange = halo.start(vec![5; 3])?;
    /// while !exchange.test()? {
    ///     // … work …
    /// }
    /// assert_eq!(exchange.finish()?, [5; 3]);
    /// # drop(halo);
    /// # ring.free()
    /// # });
    /// ```
    pub fn test(&mut self) -> Result<bool> {
        if !self.is_over {
            self.is_over = self.request.test()?.is_some();
        }
        Ok(self.is_over)
    }

    /// Waits until all ghost cells are there and all neighbours have theirs on the way, and gives the
    /// array back.
    ///
    /// # Errors
    /// What the MPI library reports, naming the line of [`start`](Halo::start), after all messages are
    /// over; [`InvalidLength`](ErrorKind::InvalidLength) if a neighbour has sent fewer cells; [`State`](ErrorKind::State) if [`test`](HaloExchange::test) has returned an error. The array
    /// is lost.
    ///
    /// MPI: `MPI_Waitall`, MPI-4.1 section 3.7.5.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    /// let halo = ring.halo::<i32>(&[3], &[1])?;
    /// // Two at once: pressures and heights.
    /// let pressure = halo.start(vec![1; halo.len()])?;
    /// let height = halo.start(vec![2; halo.len()])?;
    /// assert_eq!(height.finish()?[0], 2);
    /// assert_eq!(pressure.finish()?[4], 1);
    /// # drop(halo);
    /// # ring.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn finish(self) -> Result<Vec<T>> {
        let location = Location::caller();
        let HaloExchange { halo, request, is_over, block } = self;
        if !is_over {
            request.wait()?;
        }
        // The task is gone, and with it the only other holder.
        Arc::into_inner(block).map(Block::into_vec).ok_or_else(|| {
            let call = halo.cart.private_call(&HALO, location);
            Error::new(ErrorKind::State, &call, "messages of the exchange are still in flight")
        })
    }
}

impl<T> fmt::Debug for HaloExchange<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HaloExchange({:?} of {:?})", self.request, self.halo)
    }
}
