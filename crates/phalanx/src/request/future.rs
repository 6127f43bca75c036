//! Requests in async code.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::Request;
use crate::error::Result;
use crate::raw::wait::Backoff;

impl<R: 'static> Future for Request<R> {
    type Output = Result<R>;

    /// Looks once. MPI cannot call back, so the task asks to be polled again at once: other tasks of
    /// the executor run in between.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        match self.get_mut().test() {
            Ok(Some(result)) => Poll::Ready(Ok(result)),
            Ok(None) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// Runs a future on this thread until it is done, waiting in the way of this library.
///
/// A whole executor is not needed to `.await` requests; any executor that stays on the thread which
/// may call MPI works too.
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let me = world.rank();
/// let echo = phalanx::block_on(async {
///     let sending = world.isend(vec![1, 2, 3], me)?;
///     let numbers = world.irecv_at_most::<Vec<i32>>(10, me)?.await?;
///     sending.await?;
///     phalanx::Result::Ok(numbers)
/// })?;
/// assert_eq!(echo, [1, 2, 3]);
/// # Ok(())
/// # });
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let mut backoff = Backoff::new();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        backoff.pause();
    }
}
