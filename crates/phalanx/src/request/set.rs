//! Several requests of one kind, completed together or one by one.

use super::task::Progress;
use super::{Origin, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::wait::{self, Policy, policy};
use crate::raw::{self};
use crate::record::{Call, Kind, WAIT_ALL, WAIT_ANY};

/// A set of requests that give the same kind of result.
///
/// Each has an index, in the order in which it was added, that does not change when others complete.
///
/// MPI: MPI-4.1 section 3.7.5.
///
/// ```
/// use phalanx::{RequestSet, prelude::*};
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let mut sends = RequestSet::new();
/// for rank in 0..world.size() {
///     sends.push(world.isend(vec![world.rank()], rank)?);
/// }
/// let mut sum = 0;
/// for rank in 0..world.size() {
///     sum += world.recv::<usize>(rank)?;
/// }
/// assert_eq!(sum, world.size() * (world.size() - 1) / 2);
/// let buffers = sends.wait_all()?;
/// # assert_eq!(buffers.len(), world.size());
/// # Ok(())
/// # });
/// ```
pub struct RequestSet<R: 'static> {
    requests: Vec<Option<Request<R>>>,
    /// An error that was found after results which had to be given back first.
    failed: Option<Error>,
    /// The index that is looked at first, the one after the last that completed: otherwise a request that is
    /// replaced whenever it completes would let no other one come.
    first: usize,
}

impl<R: 'static> Default for RequestSet<R> {
    fn default() -> Self {
        RequestSet { requests: Vec::new(), failed: None, first: 0 }
    }
}

impl<R: 'static> RequestSet<R> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a request and returns its index.
    pub fn push(&mut self, request: Request<R>) -> usize {
        self.requests.push(Some(request));
        self.requests.len() - 1
    }

    /// How many requests have not completed yet, or have failed and not said so.
    pub fn pending(&self) -> usize {
        self.requests.iter().flatten().count() + usize::from(self.failed.is_some())
    }

    /// Waits for all, and returns the results of those that were pending in the order of the indices.
    ///
    /// # Errors
    /// The first error, after all have completed.
    ///
    /// MPI: `MPI_Waitall`, MPI-4.1 section 3.7.5.
    pub fn wait_all(mut self) -> Result<Vec<R>> {
        let completed = self.complete_handles();
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        completed?;
        let mut results = Vec::with_capacity(self.requests.len());
        let mut first_error = None;
        for request in self.requests.drain(..).flatten() {
            match request.wait() {
                Ok(result) => results.push(result),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(results), Err)
    }

    /// Completes all requests that are one MPI request each, in one call.
    fn complete_handles(&mut self) -> Result<()> {
        let Some(origin) = self.origin() else { return Ok(()) };
        if policy() == Policy::Poll {
            return self.poll_until_all();
        }
        let pending = self.requests.iter().flatten().count();
        let mut tasks = Vec::new();
        let mut handles = Vec::new();
        for request in self.requests.iter_mut().flatten() {
            if let Some(handle) = request.task.as_mut().and_then(|task| task.handle()) {
                handles.push(*handle);
                tasks.push(request);
            }
        }
        // Requests of several steps need polling while the others wait.
        if tasks.len() < pending {
            return self.poll_until_all();
        }
        let call = Call { operation: &WAIT_ALL, ..origin.call() };
        let origins: Vec<&Origin> = tasks.iter().map(|request| &request.origin).collect();
        let outcomes = raw::request::wait_all(&call, &mut handles, |index| origins[index].call())?;
        let mut first_error = None;
        for (request, outcome) in tasks.into_iter().zip(outcomes) {
            match outcome {
                Ok(status) => {
                    if let Some(task) = request.task.as_mut() {
                        task.completed(status);
                    }
                }
                Err(error) => {
                    // Its MPI request is over, unless the gate refused: there is no result to take.
                    if !raw::request::was_refused(&error) {
                        request.task = None;
                    }
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Polls all in turn: none of them may need another one's progress.
    fn poll_until_all(&mut self) -> Result<()> {
        let mut first_error = None;
        let Some(origin) = self.origin() else { return Ok(()) };
        let call = Call { operation: &WAIT_ALL, ..origin.call() };
        wait::until(&call, Kind::WaitAll, || {
            let mut pending = false;
            for request in self.requests.iter_mut().flatten() {
                let call = request.origin.call();
                if let Some(task) = request.task.as_mut() {
                    match task.poll(&call) {
                        Ok(progress) => pending |= progress == Progress::Pending,
                        Err(error) if raw::request::was_refused(&error) => return Err(error),
                        Err(error) => {
                            // Its MPI request is over; there is no result to take.
                            request.task = None;
                            first_error.get_or_insert(error);
                        }
                    }
                }
            }
            Ok((!pending).then_some(()))
        })?;
        first_error.map_or(Ok(()), Err)
    }

    /// One for each request, those that have completed included.
    fn origins(&self) -> Vec<Origin> {
        let Some(some) = self.origin() else { return Vec::new() };
        let origin =
            |slot: &Option<Request<R>>| slot.as_ref().map_or(&some, |it| &it.origin).clone();
        self.requests.iter().map(origin).collect()
    }

    fn origin(&self) -> Option<Origin> {
        self.requests.iter().flatten().next().map(|request| request.origin.clone())
    }

    /// Waits until one is complete and returns its index and result, or `None` if none is pending.
    ///
    /// # Errors
    /// Those of the request that completed.
    ///
    /// MPI: `MPI_Waitany`, MPI-4.1 section 3.7.5.
    ///
    /// ```
    /// use phalanx::{RequestSet, prelude::*};
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let mut receives = RequestSet::new();
    /// for tag in 0..3 {
    ///     receives.push(world.irecv_into(vec![0; 1], from(world.rank()).tag(tag))?);
    /// }
    /// let sending = world.isend(vec![7], to(world.rank()).tag(1))?;
    /// let (index, (data, _)) = receives.wait_any()?.expect("three are pending");
    /// assert_eq!((index, data), (1, vec![7]));
    /// sending.wait()?;
    /// # for tag in [0, 2] { world.send(&[0], to(world.rank()).tag(tag))?; }
    /// # receives.wait_all()?;
    /// # Ok(())
    /// # });
    /// ```
    pub fn wait_any(&mut self) -> Result<Option<(usize, R)>> {
        if self.pending() == 0 {
            return Ok(None);
        }
        if policy() == Policy::Library
            && self.failed.is_none()
            && let Some(index) = self.block_for_any()?
        {
            return self.take(index).map(|result| Some((index, result)));
        }
        let Some(origin) = self.origin() else { return self.test_any() };
        let call = Call { operation: &WAIT_ANY, ..origin.call() };
        wait::until(&call, Kind::WaitAny, || self.test_any()).map(Some)
    }

    /// The index of a request that the MPI library has completed, if all are one MPI request each.
    fn block_for_any(&mut self) -> Result<Option<usize>> {
        let Some(origin) = self.origin() else { return Ok(None) };
        // The library begins with the first of the list.
        let turns: Vec<usize> = self.turns().collect();
        let mut handles = vec![raw::request::null(); turns.len()];
        for (handle, &index) in handles.iter_mut().zip(&turns) {
            let Some(task) = self.requests[index].as_mut().and_then(|it| it.task.as_mut()) else {
                continue;
            };
            match task.handle() {
                Some(it) => *handle = *it,
                None => return Ok(None),
            }
        }
        let call = Call { operation: &WAIT_ANY, ..origin.call() };
        let origins: Vec<Origin> = self.origins();
        let origin_of = |turn: usize| origins[turns[turn]].call();
        let waited = raw::request::wait_any(&call, &mut handles, origin_of)?;
        let Some((turn, outcome)) = waited else { return Ok(None) };
        let index = turns[turn];
        let Some(request) = self.requests[index].as_mut() else { return Ok(None) };
        match outcome {
            Ok(status) => {
                if let Some(task) = request.task.as_mut() {
                    task.completed(status);
                }
                Ok(Some(index))
            }
            Err(error) => {
                request.task = None;
                self.requests[index] = None;
                Err(error)
            }
        }
    }

    /// All indices, in the order in which they are looked at.
    fn turns(&self) -> impl Iterator<Item = usize> + use<R> {
        let (number, first) = (self.requests.len(), self.first);
        (0..number).map(move |turn| (first + turn) % number)
    }

    fn take(&mut self, index: usize) -> Result<R> {
        self.first = index + 1;
        match self.requests[index].take() {
            Some(request) => request.wait(),
            None => Err(self.nothing_there(index)),
        }
    }

    fn nothing_there(&self, index: usize) -> Error {
        let location = std::panic::Location::caller();
        let call = Call::local(&WAIT_ANY, location);
        Error::new(ErrorKind::State, &call, format!("request {index} has completed already"))
    }

    /// Waits until at least one is complete and returns all that are, or nothing if none is pending.
    ///
    /// # Errors
    /// The first error of the requests that completed. If others have completed too, their results
    /// come first, and the next call returns the error.
    ///
    /// MPI: `MPI_Waitsome`, MPI-4.1 section 3.7.5.
    pub fn wait_some(&mut self) -> Result<Vec<(usize, R)>> {
        let Some(first) = self.wait_any()? else { return Ok(Vec::new()) };
        let mut results = self.collect_after(vec![first])?;
        results.sort_by_key(|(index, _)| *index);
        Ok(results)
    }

    /// Adds what else is complete. An error waits for the next call where there are results already:
    /// those must not be lost.
    fn collect_after(&mut self, mut results: Vec<(usize, R)>) -> Result<Vec<(usize, R)>> {
        loop {
            match self.test_any() {
                Ok(Some(found)) => results.push(found),
                Ok(None) => return Ok(results),
                Err(error) if results.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    return Ok(results);
                }
            }
        }
    }

    /// All results, if all requests are complete.
    ///
    /// # Errors
    /// That of a request which failed. It leaves the set; the others stay.
    ///
    /// MPI: `MPI_Testall`, MPI-4.1 section 3.7.5.
    pub fn test_all(&mut self) -> Result<Option<Vec<R>>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut pending = false;
        // Each is looked at, even when one is known to be pending: what it waits for may be another.
        for slot in &mut self.requests {
            let Some(request) = slot else { continue };
            let call = request.origin.call();
            let Some(task) = request.task.as_mut() else { continue };
            match task.poll(&call) {
                Ok(progress) => pending |= progress == Progress::Pending,
                Err(error) => {
                    if !raw::request::was_refused(&error) {
                        request.task = None;
                        *slot = None;
                    }
                    return Err(error);
                }
            }
        }
        if pending { Ok(None) } else { std::mem::take(self).wait_all().map(Some) }
    }

    /// The index and result of one that is complete, if there is one.
    ///
    /// # Errors
    /// Those of the request that completed.
    ///
    /// MPI: `MPI_Testany`, MPI-4.1 section 3.7.5.
    pub fn test_any(&mut self) -> Result<Option<(usize, R)>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        for index in self.turns() {
            let slot = &mut self.requests[index];
            let Some(request) = slot else { continue };
            match request.test() {
                Ok(None) => {}
                Ok(Some(result)) => {
                    *slot = None;
                    self.first = index + 1;
                    return Ok(Some((index, result)));
                }
                Err(error) => {
                    if !raw::request::was_refused(&error) {
                        *slot = None;
                    }
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// The indices and results of all that are complete.
    ///
    /// # Errors
    /// As [`wait_some`](RequestSet::wait_some).
    ///
    /// MPI: `MPI_Testsome`, MPI-4.1 section 3.7.5.
    pub fn test_some(&mut self) -> Result<Vec<(usize, R)>> {
        self.collect_after(Vec::new())
    }
}

impl<R: 'static> Extend<Request<R>> for RequestSet<R> {
    fn extend<I: IntoIterator<Item = Request<R>>>(&mut self, requests: I) {
        self.requests.extend(requests.into_iter().map(Some));
    }
}

impl<R: 'static> FromIterator<Request<R>> for RequestSet<R> {
    fn from_iter<I: IntoIterator<Item = Request<R>>>(requests: I) -> Self {
        let mut set = RequestSet::new();
        set.extend(requests);
        set
    }
}
