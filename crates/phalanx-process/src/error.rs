//! Errors: which operation, on what, where in the program, and why.

use std::fmt;
use std::panic::Location;

/// The result of every operation that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in an operation.
///
/// The message says everything a person needs: the operation, the object, the line of the program, the reason.
/// Code asks with the predicates ([`is_closed`](Error::is_closed), …) or with [`kind`](Error::kind).
///
/// ```
/// use phalanx_process::Queue;
///
/// let queue: Queue<i32> = Queue::new()?;
/// queue.close();
/// let error = queue.get().unwrap_err();
/// assert!(error.is_closed());
/// assert_eq!(error.operation(), "get");
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    subject: String,
    detail: String,
    location: Option<&'static Location<'static>>,
    panic: Option<Panic>,
    exit_code: Option<i32>,
    item: Option<usize>,
}

/// The kind of an [`Error`], and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A queue or pipe was closed, or the other end is gone. What was put before can still be got.
    Closed,
    /// A bounded queue has no room, and the call does not wait.
    Full,
    /// Nothing is there, and the call does not wait.
    Empty,
    /// The time is up. Nothing has changed.
    TimedOut,
    /// A process died, or panicked, while it held a lock: what the lock protects may be half changed.
    ///
    /// Look at it, put it right, and call `recover`.
    Poisoned,
    /// A barrier was broken, because a process that waited at it died, gave up or called `abort`.
    Broken,
    /// A process was killed, or left without a result.
    Died,
    /// A function panicked in another process; [`Error::panic`] has the details.
    Panicked,
    /// Processes wait for each other in a circle, or a thread for itself.
    Deadlock,
    /// A value could not be encoded: for the reason in the message. Nothing was sent.
    Encode,
    /// The bytes of a value are not what its type expects.
    Decode,
    /// A function cannot be called in another process: it is not part of the program itself.
    Function,
    /// The system refused something: memory, a descriptor, a process.
    System,
    /// An argument cannot be.
    Argument,
    /// The call does not fit what was done before.
    State,
    /// The other side of a connection has another key, or has an object of another type.
    Refused,
}

impl ErrorKind {
    fn describe(self) -> &'static str {
        match self {
            ErrorKind::Closed => "closed",
            ErrorKind::Full => "full",
            ErrorKind::Empty => "empty",
            ErrorKind::TimedOut => "timed out",
            ErrorKind::Poisoned => "poisoned",
            ErrorKind::Broken => "broken",
            ErrorKind::Died => "process died",
            ErrorKind::Panicked => "panicked",
            ErrorKind::Deadlock => "deadlock",
            ErrorKind::Encode => "value cannot be encoded",
            ErrorKind::Decode => "bytes cannot be decoded",
            ErrorKind::Function => "not a function of this program",
            ErrorKind::System => "refused by the system",
            ErrorKind::Argument => "invalid argument",
            ErrorKind::State => "not possible now",
            ErrorKind::Refused => "refused by the other side",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// A panic in another process.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Panic {
    /// What `panic!` was given.
    pub message: String,
    /// File, line and column.
    pub location: String,
    /// Where the process was, with functions and lines.
    pub backtrace: String,
}

impl Error {
    #[cold]
    pub(crate) fn new(kind: ErrorKind, operation: &'static str, detail: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            operation,
            subject: String::new(),
            detail: detail.into(),
            location: None,
            panic: None,
            exit_code: None,
            item: None,
        }))
    }

    /// What the operation was on.
    pub(crate) fn of(mut self, subject: impl fmt::Display) -> Self {
        if self.0.subject.is_empty() {
            self.0.subject = subject.to_string();
        }
        self
    }

    /// Where the program made the call.
    pub(crate) fn at(mut self, location: &'static Location<'static>) -> Self {
        self.0.location.get_or_insert(location);
        self
    }

    pub(crate) fn with_panic(mut self, panic: Panic) -> Self {
        self.0.panic = Some(panic);
        self
    }

    pub(crate) fn with_exit_code(mut self, code: i32) -> Self {
        self.0.exit_code = Some(code);
        self
    }

    /// It happened to one of several items.
    pub(crate) fn with_item(mut self, item: usize) -> Self {
        self.0.item = Some(item);
        self
    }

    #[cfg(feature = "remote")]
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The number of the item at which it happened, in a pool's `map`.
    pub fn item(&self) -> Option<usize> {
        self.0.item
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed: `"put"`, `"join"`, …
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Where the program made the call.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.0.location
    }

    /// The panic of a function that ran in another process.
    pub fn panic(&self) -> Option<&Panic> {
        self.0.panic.as_ref()
    }

    /// The exit code of a process that ended without a result: negative for a signal, as in Python.
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit_code
    }

    /// A queue or pipe was closed.
    pub fn is_closed(&self) -> bool {
        self.kind() == ErrorKind::Closed
    }

    /// A bounded queue has no room.
    pub fn is_full(&self) -> bool {
        self.kind() == ErrorKind::Full
    }

    /// Nothing is there.
    pub fn is_empty(&self) -> bool {
        self.kind() == ErrorKind::Empty
    }

    /// The time is up.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::TimedOut
    }

    /// The holder of a lock died or panicked.
    pub fn is_poisoned(&self) -> bool {
        self.kind() == ErrorKind::Poisoned
    }

    /// A barrier was broken.
    pub fn is_broken(&self) -> bool {
        self.kind() == ErrorKind::Broken
    }

    /// The other side of a connection has another key, or an object of another type.
    pub fn is_refused(&self) -> bool {
        self.kind() == ErrorKind::Refused
    }

    /// A process was killed or left without a result.
    pub fn is_died(&self) -> bool {
        self.kind() == ErrorKind::Died
    }

    /// A function panicked in another process.
    pub fn is_panicked(&self) -> bool {
        self.kind() == ErrorKind::Panicked
    }

    /// Processes wait for each other in a circle.
    pub fn is_deadlock(&self) -> bool {
        self.kind() == ErrorKind::Deadlock
    }

    /// A value could not be encoded.
    pub fn is_encode(&self) -> bool {
        self.kind() == ErrorKind::Encode
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, operation, subject, detail, location, item, .. } = &*self.0;
        f.write_str(operation)?;
        if !subject.is_empty() {
            write!(f, " of {subject}")?;
        }
        if let Some(item) = item {
            write!(f, ", item {item},")?;
        }
        if let Some(location) = location {
            write!(f, " at {location}")?;
        }
        write!(f, ": {kind}")?;
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

/// `main` prints errors in this form: it is the message.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        if let Some(Panic { backtrace, .. }) =
            self.panic().filter(|panic| !panic.backtrace.is_empty())
        {
            write!(f, "\nthe process was here:\n{backtrace}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// An item that was not taken, and why: it comes back.
///
/// ```
/// use phalanx_process::Queue;
///
/// let queue = Queue::bounded(1)?;
/// queue.put("first".to_owned())?;
/// let refused = queue.try_put("second".to_owned()).unwrap_err();
/// assert!(refused.error().is_full());
/// assert_eq!(refused.into_item(), "second");
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct PutError<T> {
    error: Error,
    item: T,
}

impl<T> PutError<T> {
    pub(crate) fn new(error: Error, item: T) -> Self {
        PutError { error, item }
    }

    pub(crate) fn at(self, location: &'static Location<'static>) -> Self {
        PutError { error: self.error.at(location), item: self.item }
    }

    /// Why it was not taken.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The item.
    pub fn into_item(self) -> T {
        self.item
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> std::error::Error for PutError<T> {}

impl<T> From<PutError<T>> for Error {
    fn from(refused: PutError<T>) -> Error {
        refused.error
    }
}
