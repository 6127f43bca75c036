//! An integer that needs no lock.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::{self, Arena, Kind, Object, fingerprint};
use crate::error::Result;
use crate::sync::handle;

#[repr(C, align(64))]
pub struct Body {
    /// The lowest bits are the value; those above are not used, and may be anything.
    bits: AtomicU64,
}

// SAFETY: it is `repr(C)`, an atomic, and aligned to 64.
unsafe impl arena::Shared for Body {
    const KIND: Kind = Kind::Atomic;

    fn destroy(&self, _arena: &Arena) {}
}

mod sealed {
    /// As the lowest bits of a word.
    pub trait Bits: Copy {
        fn to_bits(self) -> u64;
        fn from_bits(bits: u64) -> Self;
    }
}

use sealed::Bits;

/// What a [`SharedAtomic`] can be: integers of up to 64 bits, and `bool`.
pub trait AtomicValue: Bits + PartialEq {}

/// An [`AtomicValue`] that one can count with.
pub trait AtomicInteger: AtomicValue + Ord {}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Bits for $integer {
            fn to_bits(self) -> u64 {
                self as u64
            }

            fn from_bits(bits: u64) -> Self {
                bits as $integer
            }
        }

        impl AtomicValue for $integer {}
        impl AtomicInteger for $integer {}
    )*};
}

integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

impl Bits for bool {
    fn to_bits(self) -> u64 {
        self.into()
    }

    fn from_bits(bits: u64) -> Self {
        bits & 1 != 0
    }
}

impl AtomicValue for bool {}

/// An integer or `bool` that processes share, and change without a lock. A process that dies leaves it as it was or
/// changed.
///
/// All operations are in one order that all processes see alike. Counting beyond the largest value begins again at
/// the smallest.
///
/// ```
/// use phalanx_process::{Process, SharedAtomic};
///
/// fn count(steps: SharedAtomic<u64>) {
///     for _ in 0..1000 {
///         steps.fetch_add(1);
///     }
/// }
///
/// let steps = SharedAtomic::new(0)?;
/// let other = Process::spawn(count, steps.clone())?;
/// count(steps.clone());
/// other.join()?;
/// assert_eq!(steps.load(), 2000);
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub struct SharedAtomic<T> {
    object: Object<Body>,
    value: PhantomData<fn(T) -> T>,
}

handle!(SharedAtomic<T>, "value", value);

impl<T: AtomicValue> SharedAtomic<T> {
    /// Shares a value.
    ///
    /// # Errors
    /// `System` when there is no memory.
    #[track_caller]
    pub fn new(value: T) -> Result<Self> {
        let location = Location::caller();
        let object = Object::create(fingerprint::<Self>(), |_, body: &Body| {
            body.bits.store(value.to_bits(), Ordering::Relaxed);
            Ok(())
        })
        .map_err(|error| error.of("value").at(location))?;
        Ok(SharedAtomic { object, value: PhantomData })
    }

    /// The value now.
    pub fn load(&self) -> T {
        T::from_bits(self.object.bits.load(Ordering::SeqCst))
    }

    /// Replaces the value.
    pub fn store(&self, value: T) {
        self.object.bits.store(value.to_bits(), Ordering::SeqCst);
    }

    /// Replaces the value, and gives the one before.
    pub fn swap(&self, value: T) -> T {
        T::from_bits(self.object.bits.swap(value.to_bits(), Ordering::SeqCst))
    }

    /// Keeps the bits that are set in `value` too, and gives the value before.
    pub fn fetch_and(&self, value: T) -> T {
        T::from_bits(self.object.bits.fetch_and(value.to_bits(), Ordering::SeqCst))
    }

    /// Sets the bits that are set in `value`, and gives the value before.
    pub fn fetch_or(&self, value: T) -> T {
        T::from_bits(self.object.bits.fetch_or(value.to_bits(), Ordering::SeqCst))
    }

    /// Replaces the value if it is `current`, and gives the one before. Otherwise the value that it is comes as
    /// `Err`.
    ///
    /// ```
    /// let state = phalanx_process::SharedAtomic::new(1_u8)?;
    /// assert_eq!(state.compare_exchange(1, 2), Ok(1));
    /// assert_eq!(state.compare_exchange(1, 3), Err(2));
    /// # Ok::<(), phalanx_process::Error>(())
    /// ```
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        self.change(|now| (now == current).then_some(new))
    }

    /// Changes the value, if the function says to what, and gives the one before. The function may run several
    /// times: when others were faster.
    fn change(&self, f: impl Fn(T) -> Option<T>) -> Result<T, T> {
        self.object
            .bits
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |bits| {
                f(T::from_bits(bits)).map(T::to_bits)
            })
            .map(T::from_bits)
            .map_err(T::from_bits)
    }
}

impl<T: AtomicInteger> SharedAtomic<T> {
    /// Adds, and gives the value before.
    pub fn fetch_add(&self, value: T) -> T {
        T::from_bits(self.object.bits.fetch_add(value.to_bits(), Ordering::SeqCst))
    }

    /// Subtracts, and gives the value before.
    pub fn fetch_sub(&self, value: T) -> T {
        T::from_bits(self.object.bits.fetch_sub(value.to_bits(), Ordering::SeqCst))
    }

    /// Makes it the larger of both, and gives the value before.
    pub fn fetch_max(&self, value: T) -> T {
        let (Ok(before) | Err(before)) = self.change(|now| (now < value).then_some(value));
        before
    }

    /// Makes it the smaller of both, and gives the value before.
    pub fn fetch_min(&self, value: T) -> T {
        let (Ok(before) | Err(before)) = self.change(|now| (now > value).then_some(value));
        before
    }
}
