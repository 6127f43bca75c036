//! How a collective call is made: complete when it returns, or started.

use std::os::raw::c_int;

use phalanx_sys as ffi;

use crate::error::Result;
use crate::raw::request::{self, Live};
use crate::raw::wait::{Policy, ignore, policy, poll};
use crate::raw::{SUCCESS, gate_collective, noted, numbered, permit, strict};
use crate::record::{self, Call, What};

/// Whether a collective completes in the call or is only started by it.
pub(crate) enum Form<'r> {
    Blocking,
    Start(StartToken<'r>),
}

/// The promise behind [`Form::Start`].
pub(crate) struct StartToken<'r>(pub(super) &'r mut Live);

impl<'r> Form<'r> {
    /// # Safety
    /// Everything that the views and slices passed to the collective point to stays where it is, and
    /// is used by nobody else, until the request is complete.
    pub unsafe fn start(request: &'r mut Live) -> Self {
        Form::Start(StartToken(request))
    }
}

/// A collective call that is complete when it returns.
#[inline(always)]
pub(super) fn blocking_collective(
    call: &Call<'_>,
    what: What,
    direct: impl FnOnce() -> c_int,
    start: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
) -> Result<()> {
    gate_collective(call, what, || match policy() {
        Policy::Library => direct(),
        Policy::Poll => {
            let mut request = request::null().raw;
            let code = start(&mut request);
            if code != SUCCESS { code } else { poll(&mut request, ignore(), what.kind) }
        }
    })
}

/// A collective call that is complete when its request is.
pub(super) fn starting(
    call: &Call<'_>,
    what: What,
    request: &mut Live,
    start: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
) -> Result<()> {
    let mut begun = what;
    let mut agreement = Ok(None);
    let raw = &mut request.raw;
    let permit = permit(call)?;
    noted(call, What::local, || {
        begun = numbered(call, what);
        if strict::is_on() {
            agreement = strict::Agreement::start(call, &begun);
            if agreement.is_err() {
                // What was not begun uses no buffers.
                return SUCCESS;
            }
        }
        start(raw)
    })?;
    let agreement = agreement?;
    // The request is forgotten when it is complete; what was called under this number is not.
    record::remember(permit.allowed(), call, &begun);
    request.started(permit.allowed(), call, &begun);
    if let Some(agreement) = agreement {
        request.agree(agreement);
    }
    Ok(())
}

/// Defines a pair of calls that differ in a request alone.
macro_rules! call_pairs {
    ($($name:ident = $blocking:ident | $starting:ident ($($argument:ident: $kind:ty),* $(,)?);)*) => {
        $(
            /// # Safety
            /// The pointers are valid for as many items as counts and displacements say, as the
            /// function of the same name in the MPI standard asks.
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn $name(
                call: &$crate::record::Call<'_>,
                form: $crate::raw::collective::Form<'_>,
                what: $crate::record::What,
                $($argument: $kind),*
            ) -> $crate::error::Result<()> {
                use $crate::raw::collective::calls::{Form, StartToken, blocking_collective, starting};
                let comm = $crate::raw::p2p::identity(call);
                match form {
                    Form::Blocking => blocking_collective(
                        call,
                        what,
                        // SAFETY: the caller's promise; complete when this returns.
                        move || unsafe { ffi::$blocking($($argument,)* comm) },
                        // SAFETY: as above.
                        move |request| unsafe { ffi::$starting($($argument,)* comm, request) },
                    ),
                    Form::Start(StartToken(request)) => {
                        // SAFETY: the promise of `Form::start` for the time until completion.
                        starting(call, what, request, |raw| unsafe {
                            ffi::$starting($($argument,)* comm, raw)
                        })
                    }
                }
            }
        )*
    };
}

pub(super) use call_pairs;
