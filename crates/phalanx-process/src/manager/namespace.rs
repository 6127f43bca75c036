//! Named values that processes share.

use std::any::type_name;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::map::ManagedMap;
use crate::arena::{Transit, fingerprint};
use crate::codec;
use crate::error::{Error, ErrorKind, Result};

/// A value, and which type it is of.
#[derive(Serialize, Deserialize)]
pub(super) struct Typed {
    fingerprint: u64,
    bytes: Vec<u8>,
}

impl Typed {
    fn of<T: Serialize + 'static>(operation: &'static str, value: &T) -> Result<Typed> {
        let mut bytes = Vec::new();
        codec::encode(operation, Transit::Often, value, &mut bytes)?;
        Ok(Typed { fingerprint: fingerprint::<T>(), bytes })
    }

    /// For a namespace on another machine.
    #[cfg(feature = "remote")]
    pub(super) fn abroad<T: Serialize + 'static>(
        operation: &'static str,
        value: &T,
    ) -> Result<Typed> {
        let mut bytes = Vec::new();
        codec::encode_abroad(operation, value, &mut bytes)?;
        Ok(Typed { fingerprint: fingerprint::<T>(), bytes })
    }

    #[cfg(feature = "remote")]
    pub(super) fn value_abroad<T: DeserializeOwned + 'static>(
        &self,
        operation: &'static str,
        name: &str,
    ) -> Result<T> {
        if self.fingerprint != fingerprint::<T>() {
            let detail = format!("`{name}` is not a `{}`", type_name::<T>());
            return Err(Error::new(ErrorKind::Decode, operation, detail));
        }
        codec::decode_abroad(operation, &self.bytes)
    }

    fn value<T: DeserializeOwned + 'static>(
        &self,
        operation: &'static str,
        name: &str,
    ) -> Result<T> {
        if self.fingerprint != fingerprint::<T>() {
            let detail = format!("`{name}` is not a `{}`", type_name::<T>());
            return Err(Error::new(ErrorKind::Decode, operation, detail));
        }
        codec::decode(operation, Transit::Often, &self.bytes)
    }
}

/// Named values that processes share, each of a type of its own, as Python's `Manager().Namespace()`.
///
/// Otherwise it is as a [`ManagedMap`]: a handle, in shared memory, every operation one atomic step.
///
/// ```
/// use phalanx_process::{Namespace, Process};
///
/// let shared = Namespace::new()?;
/// shared.set("rounds", &3_u32)?;
/// shared.set("title", &"Mandelbrot".to_owned())?;
/// let work = |shared: Namespace| shared.update("rounds", |rounds: &mut u32| *rounds += 1).is_ok();
/// assert!(Process::spawn(work, shared.clone())?.join()?);
/// assert_eq!(shared.get::<u32>("rounds")?, Some(4));
/// assert_eq!(shared.get::<String>("title")?.as_deref(), Some("Mandelbrot"));
/// assert_eq!(shared.get::<u32>("colours")?, None);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    values: ManagedMap<String, Typed>,
}

impl Namespace {
    /// A namespace without values.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new() -> Result<Self> {
        Ok(Namespace { values: ManagedMap::new()? })
    }

    /// Gives a name a value, instead of any that it has.
    ///
    /// # Errors
    /// `Encode` when the value cannot be encoded, `System` when there is no memory, `Deadlock` from within an update of
    /// the same namespace.
    #[track_caller]
    pub fn set<T: Serialize + DeserializeOwned + 'static>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<()> {
        let value = self.locate(Typed::of("set", value))?;
        self.values.insert(name.to_owned(), value).map(drop)
    }

    /// A copy of a value, if the name has one.
    ///
    /// # Errors
    /// `Decode` when it is of another type, or cannot be decoded; `Deadlock` from within an update of the same
    /// namespace.
    #[track_caller]
    pub fn get<T: Serialize + DeserializeOwned + 'static>(&self, name: &str) -> Result<Option<T>> {
        let value = self.values.get(name)?;
        self.locate(value.map(|value| value.value("get", name)).transpose())
    }

    /// Changes a value in one atomic step, as [`ManagedMap::update`]: `None` when the name has no value.
    ///
    /// # Errors
    /// As [`set`](Namespace::set) and [`get`](Namespace::get). The value stays as it was then.
    #[track_caller]
    pub fn update<T: Serialize + DeserializeOwned + 'static, R>(
        &self,
        name: &str,
        f: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>> {
        let updated = self.values.update(name, |typed| {
            let mut value = typed.value("update", name)?;
            let result = f(&mut value);
            *typed = Typed::of("update", &value)?;
            Ok(result)
        })?;
        self.locate(updated.transpose())
    }

    /// Takes a name and its value away: whether there was one.
    ///
    /// # Errors
    /// `Deadlock` from within an update of the same namespace.
    #[track_caller]
    pub fn remove(&self, name: &str) -> Result<bool> {
        Ok(self.values.remove(name)?.is_some())
    }

    /// Whether a name has a value.
    ///
    /// # Errors
    /// `Deadlock` from within an update of the same namespace.
    #[track_caller]
    pub fn contains(&self, name: &str) -> Result<bool> {
        self.values.contains_key(name)
    }

    /// The names that have a value, in the order of the alphabet.
    ///
    /// # Errors
    /// `Deadlock` from within an update of the same namespace.
    #[track_caller]
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = self.values.keys()?;
        names.sort_unstable();
        Ok(names)
    }

    /// Takes all names and values away.
    ///
    /// # Errors
    /// As [`ManagedMap::clear`].
    #[track_caller]
    pub fn clear(&self) -> Result<()> {
        self.values.clear()
    }

    #[cfg(feature = "remote")]
    pub(super) fn values(&self) -> &ManagedMap<String, Typed> {
        &self.values
    }

    #[track_caller]
    fn locate<R>(&self, result: Result<R>) -> Result<R> {
        let location = std::panic::Location::caller();
        result.map_err(|error| {
            error.of(format_args!("namespace {}", self.values.number())).at(location)
        })
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace {} ({} values)", self.values.number(), self.values.len())
    }
}
