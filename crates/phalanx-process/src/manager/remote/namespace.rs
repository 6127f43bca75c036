//! A namespace of a server's.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::map::RemoteMap;
use crate::error::Result;
use crate::manager::Namespace;
use crate::manager::namespace::Typed;

/// A [`Namespace`] on another machine.
///
/// Every method gives `Closed` when the connection breaks, `TimedOut` when no answer comes, and `Encode` or `Decode`
/// when a value cannot be encoded or decoded, or is of another type.
///
/// ```
/// use phalanx_process::Namespace;
/// use phalanx_process::remote::{Client, Key, Server};
///
/// let (shared, key) = (Namespace::new()?, Key::random()?);
/// let server = Server::bind("127.0.0.1:0", key.clone())?;
/// server.serve_namespace("shared", &shared)?;
///
/// let remote = Client::connect(server.local_addr(), key)?.namespace("shared")?;
/// remote.set("rounds", &3_u32)?;
/// remote.update("rounds", |rounds: &mut u32| *rounds += 1)?;
/// assert_eq!(shared.get::<u32>("rounds")?, Some(4));
/// # Ok::<(), phalanx_process::Error>(())
/// ```
#[derive(Clone)]
pub struct RemoteNamespace {
    values: RemoteMap<String, Typed>,
}

impl RemoteNamespace {
    #[track_caller]
    pub(super) fn open(client: Client, name: &str) -> Result<Self> {
        Ok(RemoteNamespace { values: RemoteMap::open_as::<Namespace>(client, name, "namespace")? })
    }

    /// Gives a name a value, instead of any that it has.
    ///
    /// # Errors
    /// See [`RemoteNamespace`].
    #[track_caller]
    pub fn set<T: Serialize + DeserializeOwned + 'static>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<()> {
        let value = self.values.named().run(|| Typed::abroad("set", value))?;
        self.values.insert(name.to_owned(), value).map(drop)
    }

    /// A copy of a value, if the name has one.
    ///
    /// # Errors
    /// See [`RemoteNamespace`].
    #[track_caller]
    pub fn get<T: Serialize + DeserializeOwned + 'static>(&self, name: &str) -> Result<Option<T>> {
        let value = self.values.get(name)?;
        self.values.named().run(|| value.map(|typed| typed.value_abroad("get", name)).transpose())
    }

    /// Changes a value in one atomic step, as [`RemoteMap::update`].
    ///
    /// # Errors
    /// See [`RemoteNamespace`].
    #[track_caller]
    pub fn update<T: Serialize + DeserializeOwned + 'static, R>(
        &self,
        name: &str,
        mut f: impl FnMut(&mut T) -> R,
    ) -> Result<Option<R>> {
        self.values.try_update(name, |typed| {
            let mut value = typed.value_abroad("update", name)?;
            let result = f(&mut value);
            *typed = Typed::abroad("update", &value)?;
            Ok(result)
        })
    }

    /// Takes a name and its value away: whether there was one.
    ///
    /// # Errors
    /// See [`RemoteNamespace`].
    #[track_caller]
    pub fn remove(&self, name: &str) -> Result<bool> {
        Ok(self.values.remove(name)?.is_some())
    }

    /// The names that have a value, in the order of the alphabet.
    ///
    /// # Errors
    /// See [`RemoteNamespace`].
    #[track_caller]
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = self.values.keys()?;
        names.sort_unstable();
        Ok(names)
    }
}

impl fmt::Debug for RemoteNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteNamespace: {}", self.values.named())
    }
}
