//! What is wrong with a value or with its bytes, and where.

use std::fmt::{self, Display};

/// How a user sends what the compact format cannot carry.
pub(super) const REMEDY: &str = "use `send_object_with::<SelfDescribing, _>` and \
    `recv_object_with::<SelfDescribing, _>`, or the `_with` form of the collective";

/// A failure of a format. It is one pointer, so that results of small values stay small.
pub(crate) struct Error(Box<Inner>);

struct Inner {
    text: String,
    /// The type cannot travel in this format, or another one was sent: the bytes are not damaged.
    about_type: bool,
    /// The innermost type that is known.
    within: Option<&'static str>,
    /// Names of fields, the innermost first.
    path: Vec<&'static str>,
}

impl Error {
    #[cold]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Error(Box::new(Inner { text, about_type: false, within: None, path: Vec::new() }))
    }

    /// The type is the reason, not the bytes.
    #[cold]
    pub fn about_type(text: impl Into<String>) -> Self {
        let mut error = Error::new(text);
        error.0.about_type = true;
        error
    }

    pub fn is_about_type(&self) -> bool {
        self.0.about_type
    }

    /// The value belongs to a field, which is of type `T` here.
    #[cold]
    #[inline(never)]
    pub fn in_field(mut self, field: &'static str, type_name: fn() -> &'static str) -> Self {
        self.0.within.get_or_insert_with(type_name);
        self.0.path.push(field);
        self
    }

    /// The value is of this type.
    #[cold]
    #[inline(never)]
    pub fn in_type(mut self, type_name: fn() -> &'static str) -> Self {
        self.0.within.get_or_insert_with(type_name);
        self
    }
}

/// Whether it is not one of the types that serde's derive makes.
fn is_written_by_people(name: &str) -> bool {
    !name.contains("::_::") && !name.contains("::__") && !name.starts_with("serde::private::")
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { text, within, path, .. } = &*self.0;
        if !path.is_empty() {
            let path: Vec<&str> = path.iter().rev().copied().collect();
            write!(f, "field `{}`", path.join("."))?;
            if let Some(name) = within.filter(|name| is_written_by_people(name)) {
                write!(f, " (`{}`)", name.trim_start_matches('&'))?;
            }
            f.write_str(": ")?;
        } else if let Some(name) = within.filter(|name| is_written_by_people(name)) {
            write!(f, "`{}` inside it: ", name.trim_start_matches('&'))?;
        }
        f.write_str(text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl serde::ser::Error for Error {
    fn custom<T: Display>(text: T) -> Self {
        Error::new(text.to_string())
    }
}

impl serde::de::Error for Error {
    fn custom<T: Display>(text: T) -> Self {
        Error::new(text.to_string())
    }
}
