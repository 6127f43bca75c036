//! Values within values: the stack grows with them, and those that are too deep are refused.
//!
//! serde follows nested values by recursion, and the frames are as large as the user's types. A fixed
//! number of levels is too small for one type and too large for another. So the address of a local
//! variable is compared at each level, and where the stack becomes short the rest runs on another one.
//!
//! What remains is that the program must be able to drop the value, also by recursion, on its own
//! stack: [`BYTES_PER_LEVEL`] of the stack that is there are kept for each level.

use std::mem::MaybeUninit;

use super::error::Error;

/// Stack that dropping one level takes: a few frames of the compiler's drop code, without optimisation.
const BYTES_PER_LEVEL: usize = 256;
/// The encoder keeps more than the decoder asks for: what one rank sends, another with a stack of the
/// same size receives.
const BYTES_PER_LEVEL_SENT: usize = 320;
/// Levels that are allowed on any stack.
const ALWAYS: u32 = 500;
/// Levels that are followed before the size of the stack is asked for.
const FIRST_LOOK: u32 = 32;
/// Stack that may be used before the next look.
const STEP: usize = 16 << 10;
/// What a level needs, without the values that its frames hold.
const RESERVE: usize = 256 << 10;
/// Copies of a value that lie in the frames of one level, without optimisation.
const COPIES: usize = 24;
/// The size of a stack that is added.
const SEGMENT: usize = 4 << 20;

pub(super) struct Depth {
    level: u32,
    /// Deeper levels need a look.
    allowed: u32,
    /// Known after the first look.
    deepest: Option<u32>,
    /// Frames below this address need a look: stacks grow downwards.
    look_below: usize,
    bytes_per_level: usize,
}

/// The address of something in the caller's frame.
#[inline(always)]
fn here() -> usize {
    let local = MaybeUninit::<u8>::uninit();
    (&raw const local).addr()
}

impl Depth {
    #[inline(always)]
    fn new(bytes_per_level: usize) -> Self {
        Depth {
            level: 0,
            allowed: FIRST_LOOK,
            deepest: None,
            look_below: here().saturating_sub(STEP),
            bytes_per_level,
        }
    }

    #[inline(always)]
    pub fn of_encoder() -> Self {
        Depth::new(BYTES_PER_LEVEL_SENT)
    }

    #[inline(always)]
    pub fn of_decoder() -> Self {
        Depth::new(BYTES_PER_LEVEL)
    }

    /// Goes one level deeper; true if this needs [`with_room`].
    #[inline(always)]
    pub fn enter(&mut self) -> bool {
        self.level += 1;
        self.level > self.allowed || here() < self.look_below
    }

    #[inline(always)]
    pub fn leave(&mut self) {
        self.level -= 1;
    }

    /// Whether the stack must grow for a level whose values are of this size.
    fn must_grow(&mut self, size: usize) -> Result<bool, Error> {
        let left = stacker::remaining_stack().unwrap_or(0);
        let bytes = self.bytes_per_level;
        let deepest = *self
            .deepest
            .get_or_insert_with(|| ALWAYS.max(u32::try_from(left / bytes).unwrap_or(u32::MAX)));
        self.allowed = deepest;
        if self.level > deepest {
            return Err(Error::new(format!(
                "values are nested more than {deepest} deep: dropping them could overflow the stack \
                 of this thread; send the parts in a vector, or use a thread with a larger stack"
            )));
        }
        Ok(left < RESERVE + COPIES.saturating_mul(size))
    }
}

pub(super) trait HasDepth {
    fn depth(&mut self) -> &mut Depth;
}

/// Goes on where there is enough stack for values of this size.
#[cold]
#[inline(never)]
pub(super) fn with_room<S: HasDepth, R>(
    state: &mut S,
    size: usize,
    f: impl FnOnce(&mut S) -> Result<R, Error>,
) -> Result<R, Error> {
    let before = state.depth().look_below;
    let grow = state.depth().must_grow(size)?;
    let go_on = |state: &mut S| {
        state.depth().look_below = here().saturating_sub(STEP);
        f(state)
    };
    let result = if grow {
        let segment = SEGMENT.max((RESERVE + COPIES.saturating_mul(size)).saturating_mul(2));
        stacker::grow(segment, || go_on(state))
    } else {
        go_on(state)
    };
    state.depth().look_below = before;
    result
}
