//! What is behind a request: one MPI request, or several steps.

use super::stable::Stable;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::p2p::RawStatus;
use crate::raw::request::Live;
use crate::raw::{self, wait};
use crate::record::{Call, Kind};

/// Whether there is more to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Pending,
    Complete,
}

/// An operation in flight.
pub(crate) trait Task<R>: Send {
    /// Makes what progress is possible without waiting.
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress>;

    /// Waits until the operation is complete.
    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        wait::until(call, Kind::WaitAll, || {
            Ok((self.poll(call)? == Progress::Complete).then_some(()))
        })
    }

    /// The MPI request, if there is just one behind this task now. More may follow when it is complete.
    fn handle(&mut self) -> Option<&mut Live> {
        None
    }

    /// Says that the MPI request was completed by somebody else.
    fn completed(&mut self, _status: RawStatus) {}

    /// What came, of a receive that is complete, and its length where that is not what MPI says.
    fn received(&self) -> Option<(RawStatus, Option<usize>)> {
        None
    }

    /// The result. Called once, after completion.
    fn take(&mut self, call: &Call<'_>) -> Result<R>;
}

/// A handle of a request that may move to another thread.
pub(crate) struct Handle(pub Live);

// SAFETY: a request handle is a plain value; the gate checks which thread may use it.
unsafe impl Send for Handle {}

/// One MPI request with what it reads and writes, and the function that makes its result.
pub(crate) struct Single<S, F> {
    request: Handle,
    status: Option<RawStatus>,
    rest: Option<(Stable<S>, F)>,
}

impl<S, F> Single<S, F> {
    pub fn new(storage: S, finish: F) -> Self {
        Single {
            request: Handle(raw::request::null()),
            status: None,
            rest: Some((Stable::new(storage), finish)),
        }
    }

    pub fn begin(&mut self, begin: impl FnOnce(&mut S, &mut Live) -> Result<()>) -> Result<()> {
        match &mut self.rest {
            Some((storage, _)) => begin(storage.lend(), &mut self.request.0),
            None => Ok(()),
        }
    }
}

impl<S, R, F> Task<R> for Single<S, F>
where
    S: Send,
    F: FnOnce(S, RawStatus, &Call<'_>) -> Result<R> + Send,
{
    fn poll(&mut self, call: &Call<'_>) -> Result<Progress> {
        if self.status.is_none() {
            self.status = raw::request::test(call, &mut self.request.0)?;
        }
        Ok(if self.status.is_some() { Progress::Complete } else { Progress::Pending })
    }

    fn block(&mut self, call: &Call<'_>) -> Result<()> {
        if self.status.is_none() {
            self.status = Some(raw::request::wait(call, &mut self.request.0)?);
        }
        Ok(())
    }

    fn handle(&mut self) -> Option<&mut Live> {
        self.status.is_none().then_some(&mut self.request.0)
    }

    fn completed(&mut self, status: RawStatus) {
        self.request.0 = raw::request::null();
        self.status = Some(status);
    }

    fn received(&self) -> Option<(RawStatus, Option<usize>)> {
        self.status.map(|status| (status, None))
    }

    fn take(&mut self, call: &Call<'_>) -> Result<R> {
        match (self.rest.take(), self.status) {
            (Some((storage, finish)), Some(status)) => finish(storage.into_inner(), status, call),
            _ => Err(Error::new(ErrorKind::State, call, "the operation is not complete")),
        }
    }
}
