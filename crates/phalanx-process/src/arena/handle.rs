//! Objects as values: cloned within a process, and sent to others inside of other values.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::objects::{Kind, Name, Shared};
use super::{Arena, Place, arena, existing};
use crate::error::Result;

/// An object of shared memory. It lives for as long as a process has a handle to it.
pub struct Object<T: Shared> {
    local: Arc<Local>,
    place: Place,
    body: &'static T,
}

/// The handles of this process to one object.
struct Local {
    name: Name,
    destroy: fn(Kind, Place),
}

/// For each object of which this process has handles, the one `Local`.
static LOCALS: Mutex<Option<HashMap<u32, Weak<Local>>>> = Mutex::new(None);

fn locals<R>(f: impl FnOnce(&mut HashMap<u32, Weak<Local>>) -> R) -> R {
    f(LOCALS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

impl Drop for Local {
    fn drop(&mut self) {
        let this: *const Local = self;
        let arena = existing();
        let has_let_go = locals(|locals| {
            let is_mine = locals.get(&self.name.index).is_some_and(|local| local.as_ptr() == this);
            if is_mine {
                locals.remove(&self.name.index);
            }
            // Before another thread can receive a handle to the object, and hold it anew.
            is_mine && arena.is_mine() && arena.let_go(self.name, arena.me())
        });
        if has_let_go {
            arena.end_if_unused(self.name, self.destroy);
        }
    }
}

/// Where a handle goes that is being encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transit {
    /// To the process in this slot, as its argument.
    To(u32),
    /// To whoever decodes it, once.
    Once,
    /// To whoever decodes it, however often.
    Often,
}

thread_local! {
    // Neither needs a destructor: every value passes here, and few have handles.
    static TRANSIT: Cell<Option<Transit>> = const { Cell::new(None) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Handles that were written by the encodings that run now, the innermost last: `COUNT` of them.
    static SENT: RefCell<Vec<Name>> = const { RefCell::new(Vec::new()) };
}

/// Encodes or decodes a value with handles in it. When that fails the handles count as not sent.
pub fn with_transit<R, E>(transit: Transit, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
    noting_sent(transit, f).map(|(result, _)| result)
}

/// [`with_transit`], which also says what was sent.
pub fn noting_sent<R, E>(
    transit: Transit,
    f: impl FnOnce() -> Result<R, E>,
) -> Result<(R, Vec<Name>), E> {
    /// At the end, also by a panic.
    struct Within {
        before: Option<Transit>,
        transit: Transit,
        start: usize,
        is_sent: bool,
    }
    impl Drop for Within {
        fn drop(&mut self) {
            TRANSIT.set(self.before);
            if COUNT.get() > self.start {
                COUNT.set(self.start);
                let sent = SENT.with_borrow_mut(|sent| sent.split_off(self.start));
                if !self.is_sent {
                    for name in sent {
                        not_sent(name, self.transit);
                    }
                }
            }
        }
    }
    let before = TRANSIT.replace(Some(transit));
    let mut within = Within { before, transit, start: COUNT.get(), is_sent: false };
    let result = f()?;
    within.is_sent = true;
    Ok((result, sent_since(within.start)))
}

/// How many handles were written by the encodings that run now.
pub fn sent_until_now() -> usize {
    COUNT.get()
}

/// The handles that were written since there were so many.
pub fn sent_since(start: usize) -> Vec<Name> {
    if COUNT.get() > start { SENT.with_borrow(|sent| sent[start..].to_vec()) } else { Vec::new() }
}

fn not_sent(name: Name, transit: Transit) {
    let arena = existing();
    match transit {
        // The slot is given up, and its bits with it.
        Transit::To(_) => {}
        // An entry that is there was found before; an error would be one of mapping.
        Transit::Once | Transit::Often => drop(arena.count_under_way(name, false)),
    }
}

/// Tells types apart in all processes of a program.
pub fn fingerprint<T: ?Sized>() -> u64 {
    // FNV-1a: the names are short, and the value is compared, not attacked.
    type_name::<T>().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

impl<T: Shared> Object<T> {
    /// Makes an object. `init` finds zeros, or what the last object of this kind has left.
    pub fn create(fingerprint: u64, init: impl FnOnce(&Arena, &T) -> Result<()>) -> Result<Self> {
        let arena = arena()?;
        let (name, body) = arena.create::<T>(fingerprint, |body| init(arena, body))?;
        let local = Arc::new(Local { name, destroy: destroy::<T> });
        locals(|locals| locals.insert(name.index, Arc::downgrade(&local)));
        Object::new(arena, local, body)
    }

    fn new(arena: &'static Arena, local: Arc<Local>, body: Place) -> Result<Self> {
        // SAFETY: the object is of this type, and the handle keeps it.
        let structure = unsafe { arena.structure::<T>(body)? };
        Ok(Object { local, place: body, body: structure })
    }

    /// Where its structure lies.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The number of the object, for messages.
    pub fn number(&self) -> u32 {
        self.local.name.index
    }

    /// The name of the object in all processes.
    pub fn name(&self) -> Name {
        self.local.name
    }

    fn import(name: Name, fingerprint: u64) -> Result<Option<Self>> {
        let arena = arena()?;
        let Some(body) = arena.find(name, T::KIND, fingerprint)? else { return Ok(None) };
        let local = locals(|locals| {
            let known =
                locals.get(&name.index).and_then(Weak::upgrade).filter(|local| local.name == name);
            match known {
                Some(local) => Ok::<_, crate::Error>(local),
                None => {
                    arena.hold(name, arena.me())?;
                    let local = Arc::new(Local { name, destroy: destroy::<T> });
                    locals.insert(name.index, Arc::downgrade(&local));
                    Ok(local)
                }
            }
        })?;
        if TRANSIT.get() == Some(Transit::Once) {
            arena.count_under_way(name, false)?;
        }
        Object::new(arena, local, body).map(Some)
    }

    /// Writes the name of the object, and notes that it is on its way.
    pub fn serialize_as<S: Serializer>(
        &self,
        serializer: S,
        fingerprint: u64,
    ) -> Result<S::Ok, S::Error> {
        let name = self.local.name;
        let noted = match TRANSIT.get() {
            None => {
                return Err(S::Error::custom(
                    "it can only be sent to processes of the same tree: as an argument of a process, in a result, \
                     a queue, a pipe or a pool",
                ));
            }
            Some(Transit::To(process)) => existing().hold(name, process),
            Some(Transit::Once | Transit::Often) => existing().count_under_way(name, true),
        };
        noted.map_err(S::Error::custom)?;
        SENT.with_borrow_mut(|sent| sent.push(name));
        COUNT.set(COUNT.get() + 1);
        (name.index, name.generation, fingerprint, existing().tree()).serialize(serializer)
    }

    /// Reads the name of an object, and makes a handle to it.
    pub fn deserialize_as<'de, D: Deserializer<'de>>(
        deserializer: D,
        wanted: u64,
    ) -> Result<Self, D::Error> {
        let (index, generation, fingerprint, tree) =
            <(u32, u64, u64, u64)>::deserialize(deserializer)?;
        if TRANSIT.get().is_none() {
            return Err(D::Error::custom(
                "a handle can only be received from a process of the same tree",
            ));
        }
        if arena().map_err(D::Error::custom)?.tree() != tree {
            return Err(D::Error::custom("a handle to an object of another tree of processes"));
        }
        if fingerprint != wanted {
            return Err(D::Error::custom("a handle to an object of another type"));
        }
        match Object::import(Name { index, generation }, fingerprint) {
            Ok(Some(object)) => Ok(object),
            Ok(None) => {
                Err(D::Error::custom("the object is gone: nobody had a handle to it any more"))
            }
            Err(error) => Err(D::Error::custom(error)),
        }
    }
}

fn destroy<T: Shared>(_kind: Kind, body: Place) {
    let arena = existing();
    // SAFETY: the last handle to the object of this type was just given up. What cannot be mapped cannot be cleaned.
    if let Ok(body) = unsafe { arena.structure::<T>(body) } {
        body.destroy(arena);
    }
}

impl<T: Shared> Clone for Object<T> {
    fn clone(&self) -> Self {
        Object { local: self.local.clone(), place: self.place, body: self.body }
    }
}

impl<T: Shared> std::ops::Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.body
    }
}

impl<T: Shared> PartialEq for Object<T> {
    fn eq(&self, other: &Self) -> bool {
        self.local.name == other.local.name
    }
}

impl<T: Shared> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", T::KIND, self.number())
    }
}

/// A handle as a part of other values of this crate.
pub struct Handle<T: Shared>(pub Object<T>);

impl<T: Shared> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_as(serializer, fingerprint::<Self>())
    }
}

impl<'de, T: Shared> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::deserialize_as(deserializer, fingerprint::<Self>()).map(Handle)
    }
}
