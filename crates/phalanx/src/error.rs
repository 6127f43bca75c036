//! Errors: which operation, which rank or peer, which communicator, what was expected, what came.

use std::any::Any;
use std::fmt;
use std::panic::Location;

use crate::record::{Call, Peer};

/// The result of every operation that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in an operation.
///
/// The message says everything a person needs: operation, ranks, communicator, tag, sizes, the MPI
/// library's own words and the line of the program that made the call. Code asks with the
/// predicates ([`is_truncated`](Error::is_truncated), …) or with [`kind`](Error::kind).
///
/// ```
/// # phalanx::run(|world| -> phalanx::Result<()> {
/// let error = world.send(&1.0, world.size()).unwrap_err();
/// assert!(error.is_invalid_rank());
/// assert_eq!(error.operation(), "send");
/// assert_eq!(error.peer(), Some(world.size()));
/// # Ok(())
/// # });
/// ```
pub struct Error(Box<Inner>);

/// The kind of an [`Error`], and what to do about it.
///
/// The message of an error says more: ranks, lengths, types, the line of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A destination, source or group member is not a rank of the communicator.
    ///
    /// Ranks are numbered from 0 to `comm.size() - 1`, anew in each communicator. If the program runs alone,
    /// start it with `cargo phalanx run -n 4` or `mpirun -n 4`.
    InvalidRank,
    /// The root of a collective is not a rank of the communicator.
    ///
    /// As for [`InvalidRank`](ErrorKind::InvalidRank); all ranks give the same root.
    InvalidRoot,
    /// A tag is negative or above what the MPI library allows.
    ///
    /// Use tags from 0 to [`tag_upper_bound`](crate::tag_upper_bound), at least 32767.
    InvalidTag,
    /// Lengths do not fit: a buffer, a list of counts, a chunk that does not divide.
    ///
    /// The message has both numbers. The forms with a `v` (`gatherv`, `scatterv`, …) take any length on each
    /// rank; [`BlockDistribution`](crate::distribution::BlockDistribution) divides any number of items.
    InvalidLength,
    /// The elements of an array do not lie in memory as the operation needs them.
    ///
    /// Send and receive such an array with `Strided::array` and `StridedMut::array`; give a collective a
    /// contiguous copy.
    Layout,
    /// A message was longer than the buffer it should go into.
    ///
    /// Give a longer buffer, or receive with a type of any length: `let v: Vec<f64> = comm.recv(0)?`. If the
    /// message is another one than you expected, keep them apart with tags. The next message still arrives.
    Truncated,
    /// A message holds something else than what the receiver asked for.
    ///
    /// Compare the types of both sides; what was sent with `send_object` is received with `recv_object`.
    /// `PHALANX_WATCH=strict` names the line of the send.
    TypeMismatch,
    /// A value could not be encoded.
    ///
    /// Serde or the codec has refused it, for the reason in the message: change the value or its
    /// `Serialize`, or use another [`Codec`](crate::Codec). Nothing was sent.
    Encode,
    /// The bytes of a message are not what an encoder of this library makes.
    ///
    /// Sender and receiver are different programs, or the `Deserialize` of the type does not read what its
    /// `Serialize` writes. All ranks must run the same build.
    Decode,
    /// The thread may not make MPI calls at the level that was granted.
    ///
    /// Make the call on the main thread, or ask for more: `#[phalanx::main(threads = "multiple")]`. See
    /// [`Threading`](crate::Threading).
    Thread,
    /// The call does not fit what was done before: MPI is not initialised, or finalized already; the result of a
    /// request was taken already.
    ///
    /// Make calls inside of `#[phalanx::main]` or [`run`](crate::run).
    State,
    /// The program was started in a way in which its processes cannot find each other.
    ///
    /// Start it with the launcher of the MPI that it is linked to: `cargo phalanx run` finds that launcher,
    /// `cargo phalanx doctor` says what is wrong.
    Launch,
    /// An environment variable of this library has a value that it cannot have.
    ///
    /// The message lists the values. All ranks must be started with the same environment.
    Setting,
    /// Something is still in use: a communicator with other owners, a full table.
    ///
    /// Drop clones and complete requests first.
    InUse,
    /// The buffer for buffered sends is missing or full.
    ///
    /// Attach a larger one with [`attach_buffer`](crate::attach_buffer), or use `isend`.
    BufferFull,
    /// The linked MPI cannot do this.
    ///
    /// The message says what, and what can be done instead.
    Unsupported,
    /// Ranks disagree about a collective call: its arguments, or whether they can take part.
    ///
    /// The message names a rank; the error of that rank says why.
    Mismatch,
    /// Ranks wait for each other and can never continue; the detail is the whole report.
    ///
    /// The report has the line at which each rank waits. Operations that cannot deadlock are in
    /// [`Comm`](crate::Comm) under headings of their own.
    Deadlock,
    /// A file or folder cannot be read or written.
    ///
    /// The message has the path and the system's reason.
    File,
    /// What a file holds is not what was written.
    ///
    /// Use an earlier file; for checkpoints, [`Folder::latest`](crate::checkpoint::Folder::latest) does.
    Damaged,
    /// Any other error that the MPI library reported.
    ///
    /// [`Error::mpi_text`] has the library's own words.
    Library,
}

impl ErrorKind {
    fn describe(self) -> &'static str {
        match self {
            ErrorKind::InvalidRank => "invalid rank",
            ErrorKind::InvalidRoot => "invalid root",
            ErrorKind::InvalidTag => "invalid tag",
            ErrorKind::InvalidLength => "invalid length",
            ErrorKind::Layout => "unsuitable memory layout",
            ErrorKind::Truncated => "message truncated",
            ErrorKind::TypeMismatch => "type mismatch",
            ErrorKind::Encode => "value cannot be encoded",
            ErrorKind::Decode => "damaged message",
            ErrorKind::Thread => "call from a thread that is not allowed to",
            ErrorKind::State => "not possible now",
            ErrorKind::Launch => "launcher mismatch",
            ErrorKind::Setting => "invalid setting",
            ErrorKind::InUse => "still in use",
            ErrorKind::BufferFull => "no room for a buffered send",
            ErrorKind::Unsupported => "not supported by this MPI",
            ErrorKind::Mismatch => "ranks disagree",
            ErrorKind::Deadlock => "deadlock (proved)",
            ErrorKind::File => "file error",
            ErrorKind::Damaged => "damaged file",
            ErrorKind::Library => "MPI error",
        }
    }
}

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    function: &'static str,
    origin: Option<Origin>,
    peer: Peer,
    tag: Option<i32>,
    detail: String,
    library: Option<LibraryError>,
    location: &'static Location<'static>,
    parts: Vec<Error>,
    given_back: Option<GivenBack>,
}

/// What a refused operation would have consumed.
type GivenBack = Box<dyn Any + Send + Sync>;

/// Where the call was made, copied so that an error may outlive its communicator.
struct Origin {
    communicator: String,
    rank: usize,
    size: usize,
}

/// What the MPI library said.
pub(crate) struct LibraryError {
    pub class: i32,
    pub text: String,
}

impl Error {
    #[cold]
    pub(crate) fn new(kind: ErrorKind, call: &Call<'_>, detail: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            operation: call.operation.name,
            function: call.operation.function,
            origin: call.comm.map(|comm| Origin {
                communicator: comm.name(),
                rank: comm.rank,
                size: comm.size,
            }),
            peer: call.peer,
            tag: call.tag,
            detail: detail.into(),
            library: None,
            location: call.location,
            parts: Vec::new(),
            given_back: None,
        }))
    }

    /// The same error as one of this call: what makes a view of a buffer does not know for which.
    #[cold]
    pub(crate) fn at(self, call: &Call<'_>) -> Self {
        let Inner { kind, detail, library, .. } = *self.0;
        let mut error = Error::new(kind, call, detail);
        error.0.library = library;
        error
    }

    /// The error of an operation of which parts have failed. The first decides its kind.
    #[cold]
    pub(crate) fn of_parts(call: &Call<'_>, detail: impl Into<String>, parts: Vec<Error>) -> Self {
        let kind = parts.first().map_or(ErrorKind::Library, Error::kind);
        let mut error = Error::new(kind, call, detail);
        error.0.parts = parts;
        error
    }

    /// The same error with another detail.
    #[cold]
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The same error as one of another kind.
    #[cold]
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_library(mut self, library: LibraryError) -> Self {
        self.0.library = Some(library);
        self
    }

    /// With what a refused operation would have consumed.
    pub(crate) fn giving_back(mut self, value: GivenBack) -> Self {
        self.0.given_back = Some(value);
        self
    }

    pub(crate) fn into_given_back(self) -> Option<GivenBack> {
        self.0.given_back
    }

    /// The same with what the user can do about it.
    #[cold]
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        if !self.0.detail.is_empty() {
            self.0.detail.push_str("; ");
        }
        self.0.detail.push_str(hint);
        self
    }

    /// The kind of the error, for code that distinguishes more than one.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed, as its method is called (`"send"`, `"allreduce"`).
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The MPI function behind the operation (`"MPI_Send"`).
    pub fn mpi_function(&self) -> &'static str {
        self.0.function
    }

    /// The rank of this process in the communicator of the call.
    pub fn rank(&self) -> Option<usize> {
        self.0.origin.as_ref().map(|origin| origin.rank)
    }

    /// The other side of the call: destination, source or root. `None` for any source.
    pub fn peer(&self) -> Option<usize> {
        match self.0.peer {
            Peer::To(rank) | Peer::From(rank) | Peer::Root(rank) => Some(rank),
            Peer::None | Peer::AnySource | Peer::Null => None,
        }
    }

    /// The tag of the call, where it named one.
    pub fn tag(&self) -> Option<i32> {
        self.0.tag
    }

    /// The name of the communicator (`"world"`).
    pub fn communicator(&self) -> Option<&str> {
        self.0.origin.as_ref().map(|origin| origin.communicator.as_str())
    }

    /// What was expected and what came.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The error class of the MPI library, if the library reported the error.
    pub fn mpi_class(&self) -> Option<i32> {
        self.0.library.as_ref().map(|library| library.class)
    }

    /// The MPI library's own text, if the library reported the error.
    pub fn mpi_text(&self) -> Option<&str> {
        self.0.library.as_ref().map(|library| library.text.as_str())
    }

    /// The errors of all parts that failed, of an operation that has parts: see
    /// [`exchange`](crate::Comm::exchange). Empty for all other errors.
    pub fn parts(&self) -> &[Error] {
        &self.0.parts
    }

    /// The line of the program that made the call.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }
}

/// Declares one predicate for each kind.
macro_rules! predicates {
    ($($name:ident => $kind:ident: $text:literal;)*) => {
        impl Error {
            $(
                #[doc = concat!("Whether ", $text, " ([`ErrorKind::", stringify!($kind), "`]).")]
                pub fn $name(&self) -> bool {
                    self.0.kind == ErrorKind::$kind
                }
            )*
        }
    };
}

predicates! {
    is_invalid_rank => InvalidRank: "a rank does not exist in the communicator";
    is_invalid_root => InvalidRoot: "the root does not exist in the communicator";
    is_invalid_tag => InvalidTag: "a tag is out of range";
    is_invalid_length => InvalidLength: "a length or a list of counts does not fit";
    is_layout => Layout: "the elements of an array do not lie in memory as the operation needs them";
    is_truncated => Truncated: "a message was longer than its buffer";
    is_type_mismatch => TypeMismatch: "a message holds another type";
    is_encode => Encode: "a value could not be encoded";
    is_decode => Decode: "a message is damaged";
    is_thread => Thread: "the calling thread may not use MPI";
    is_state => State: "MPI is not running, or what was done before does not allow the call";
    is_launch => Launch: "the program was started by the wrong launcher";
    is_setting => Setting: "an environment variable of this library has an invalid value";
    is_in_use => InUse: "something is still in use";
    is_buffer_full => BufferFull: "there is no room for a buffered send";
    is_unsupported => Unsupported: "the linked MPI lacks a feature";
    is_mismatch => Mismatch: "two ranks disagree about a collective";
    is_deadlock => Deadlock: "ranks wait for each other and can never continue";
    is_file => File: "a file or folder cannot be read or written";
    is_damaged => Damaged: "what a file holds is not what was written";
    is_library => Library: "the MPI library reported some other error";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "{}{}", inner.operation, inner.peer)?;
        if let Some(tag) = inner.tag {
            write!(f, ", tag {tag},")?;
        }
        if let Some(origin) = &inner.origin {
            let Origin { communicator, rank, size } = origin;
            write!(f, " on rank {rank} of {size} in `{communicator}`")?;
        }
        // A report of several lines is no sentence that a place could end.
        let place_first = inner.detail.contains('\n');
        if place_first {
            write!(f, " [{}]", inner.location)?;
        }
        write!(f, ": {}", inner.kind.describe())?;
        if !inner.detail.is_empty() {
            write!(f, ": {}", inner.detail)?;
        }
        if let Some(library) = &inner.library {
            write!(f, "; {} says: {}", inner.function, library.text)?;
        }
        if !place_first {
            write!(f, " [{}]", inner.location)?;
        }
        // Libraries tell long stories.
        let indented = |part: &Error| part.to_string().replace('\n', "\n    ");
        inner.parts.iter().try_for_each(|part| write!(f, "\n  {}", indented(part)))
    }
}

impl fmt::Debug for Error {
    /// The same text as `Display`: `fn main() -> Result<()>` and `unwrap` print errors with `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
