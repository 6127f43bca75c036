//! What a sender says of a message.

pub(super) struct SentNote {
    pub bytes: u64,
    /// The hash of the name of its type, or 0 for none.
    pub element: u64,
    /// Its type, the line and the name of the call.
    pub texts: Box<dyn FnOnce() -> [String; 3]>,
}
