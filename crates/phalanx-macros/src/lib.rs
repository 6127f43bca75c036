//! The attributes and derives of `phalanx`, which re-exports them. Use them from there.

mod element;
mod main_attribute;
mod options;
mod refused;
mod signature;
mod test_attribute;

use proc_macro::TokenStream;

/// Makes `main` an MPI program: it gets the world and is run by `phalanx::run`.
///
/// ```
/// use phalanx::prelude::*;
///
/// #[phalanx::main]
/// fn main(world: Comm) -> phalanx::Result<()> {
///     let sum = world.allreduce(&world.rank(), Sum)?;
///     assert_eq!(sum, world.size() * (world.size() - 1) / 2);
///     Ok(())
/// }
/// ```
///
/// MPI is initialised before the function and finalized after it. A panic or an `Err` on any rank
/// ends all ranks, with one report and an exit code that is not zero. The function may return
/// nothing, a `Result`, or a `std::process::ExitCode`.
///
/// By default only the main thread may call MPI. `#[phalanx::main(threads = "multiple")]` asks for
/// more: `"single"`, `"funneled"` (the default), `"serialized"` or `"multiple"`.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    main_attribute::expand(arguments.into(), item.clone().into())
        .unwrap_or_else(|error| refused::main(&error, item.into()))
        .into()
}

/// A test that runs on several ranks, started by `cargo test` itself.
///
/// ```
/// use phalanx::prelude::*;
///
/// #[phalanx::test(ranks = [1, 2, 4], timeout = "30s")]
/// fn ranks_add_up(world: Comm) -> phalanx::Result<()> {
///     let sum = world.allreduce(&world.rank(), Sum)?;
///     assert_eq!(sum, world.size() * (world.size() - 1) / 2);
///     Ok(())
/// }
/// ```
///
/// There is one test for each number of ranks: `ranks_add_up::ranks_1`, `ranks_add_up::ranks_2`,
/// `ranks_add_up::ranks_4`. Each starts this test program again with the launcher of the MPI that
/// it is linked to, waits, and prints one report that leads with the first rank that failed and
/// shows the output of each rank. `cargo test`, `cargo nextest run`, name filters and the buttons
/// of an editor work as with any other test.
///
/// The function gets the world. It may return nothing or a `Result` whose error can be displayed; a
/// panic or an `Err` on any rank fails the test.
///
/// # Options
/// | option | meaning | default |
/// |---|---|---|
/// | `ranks = 3`, `ranks = [1, 2, 4]`, `ranks = 1..=4` | numbers of ranks | `1..=4`: the odd 3 finds what the powers of two hide |
/// | `timeout = "30s"` | `"500ms"`, `"30s"`, `"2m"`: then every process of the test is ended | `"60s"` |
/// | `threads = "multiple"` | thread level, as in `#[phalanx::main]` | `"funneled"` |
/// | `strict` | `PHALANX_WATCH=strict`: sends are synchronous, collectives and types are compared, a deadlock is an `Err` | the watch is on |
/// | `env("NAME" = "value", …)` | variables of every rank | none |
///
/// # Other attributes
/// `#[should_panic]` (with `expected`, which is looked for in the message of the first rank that
/// failed), `#[ignore]` and `#[cfg_attr]` apply to each of the tests, `#[cfg]` to all of it, and
/// everything else to the function.
///
/// # Time and cores
/// Tests that run at the same time share the cores of the machine: one of four ranks on a machine
/// of two cores waits until both are free. The time-out counts from then. A test that is ended, by
/// its time-out, by Ctrl-C or by SIGKILL, leaves no process behind.
///
/// # Variables
/// `PHALANX_MPIEXEC` names the launcher, where the right one is not found.
/// `PHALANX_TEST_TIME_FACTOR=10` gives every test ten times its time-out, for valgrind and the like.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    test_attribute::expand(arguments.into(), item.clone().into())
        .unwrap_or_else(|error| refused::test(&error, item.into()))
        .into()
}

/// Lets MPI send a struct directly from memory, without a copy and without serialisation.
///
/// ```
/// use phalanx::prelude::*;
///
/// #[derive(Clone, Copy, Element)]
/// #[repr(C)]
/// struct Particle {
///     position: [f64; 3],
///     mass: f64,
///     id: u64,
/// }
/// ```
///
/// A type may be sent typed only if every pattern of its bytes is a valid value. The derive checks
/// that each field is an `Element`, that the layout is fixed (`#[repr(C)]`, also with `packed` or `align`,
/// or `#[repr(transparent)]`), and that there are no padding bytes, whose contents would be undefined.
/// What does not pass does not compile. Send such values as objects: `send_object` takes any
/// serde value.
///
/// # Generic structs
/// Each type parameter must be an `Element`. Padding depends on the types: it is checked for those with
/// which the struct is used.
///
/// ```
/// use phalanx::prelude::*;
///
/// #[derive(Clone, Copy, Element)]
/// #[repr(C)]
/// struct Moments<T, const N: usize> {
///     mean: T,
///     higher: [T; N],
/// }
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let mine = Moments { mean: 1.5_f32, higher: [0.5; 3] };
/// assert_eq!(world.allgather(&mine)?[0].mean, 1.5);
/// # Ok(())
/// # });
/// ```
///
/// ```compile_fail
/// # use phalanx::prelude::*;
/// #[derive(Clone, Copy, Element)]
/// #[repr(C)]
/// struct Pair<A, B>(A, B);
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// world.send(&Pair(1_u8, 2.0_f64), 0)?; // seven bytes of padding
/// # Ok(())
/// # });
/// ```
///
/// # Another name of the library
/// `#[element(crate = path)]` says where `phalanx` is found, where it is renamed or re-exported.
///
/// ```
/// use phalanx as mpi_for_us;
///
/// #[derive(Clone, Copy, phalanx::Element)]
/// #[repr(transparent)]
/// #[element(crate = mpi_for_us)]
/// struct Metres(f64);
/// ```
#[proc_macro_derive(Element, attributes(element))]
pub fn element(item: TokenStream) -> TokenStream {
    element::expand(item.into()).unwrap_or_else(|error| error.into_compile_error()).into()
}
