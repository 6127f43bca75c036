//! Communicators that are dropped, and freed when all ranks have dropped them.
//!
//! To free a communicator is collective, and a drop is not. But whenever the members of a communicator
//! make another one they are together, and can agree on which of those that were made of it nobody has any
//! more. Every rank keeps the same list of them: a communicator enters it on all ranks when it is made, and leaves
//! it on all ranks when it is freed here. So a bit for each of the first ones is enough to agree.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Comm, Inner};
use crate::error::Result;
use crate::raw;
use crate::record::{Call, Identity, Strict};

/// What was made of a communicator, oldest first.
#[derive(Default)]
pub(super) struct Children(Mutex<List>);

#[derive(Default)]
struct List {
    children: Vec<Child>,
    made: u64,
}

struct Child {
    number: u64,
    state: State,
}

enum State {
    Held,
    /// Dropped, and to be freed.
    Dropped([Arc<Identity>; 2]),
    /// Freed by the program, or never this rank's.
    Gone,
}

/// The place of a communicator in the list of the one that it was made of.
pub(super) struct Birth {
    family: Arc<Children>,
    number: u64,
}

impl Children {
    fn list(&self) -> std::sync::MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, state: State) -> u64 {
        let mut list = self.list();
        let number = list.made;
        list.made += 1;
        list.children.push(Child { number, state });
        number
    }

    fn set(&self, number: u64, state: State) {
        if let Some(child) = self.list().children.iter_mut().find(|it| it.number == number) {
            child.state = state;
        }
    }

    /// A bit for each of the first ones that this rank does not hold.
    fn not_held(&self) -> u64 {
        let list = self.list();
        let bit = |(index, child): (usize, &Child)| match child.state {
            State::Held => 0,
            State::Dropped(_) | State::Gone => 1 << index,
        };
        list.children.iter().take(u64::BITS as usize).enumerate().map(bit).sum()
    }

    /// Takes those out of the list that no rank holds.
    fn take(&self, nobodys: u64) -> Vec<Child> {
        let mut index = 0;
        let is_nobodys = |_: &mut Child| {
            index += 1;
            nobodys.checked_shr(index - 1).is_some_and(|bits| bits & 1 != 0)
        };
        self.list().children.extract_if(.., is_nobodys).collect()
    }
}

impl Comm {
    /// Notes that a communicator was made of this one, on every rank, whether it is a member or not. Frees those
    /// that nobody has any more. Collective, inside of the operation that has made it.
    pub(super) fn gave_birth(&self, call: &Call<'_>, is_member: bool) -> Result<Option<Birth>> {
        let family = &self.inner.children;
        let nobodys = raw::comm::common_bits(call, self.inner.private.handle, family.not_held())?;
        for child in family.take(nobodys) {
            if let State::Dropped(identities) = child.state {
                free(call, &identities)?;
            }
        }
        let number = family.add(if is_member { State::Held } else { State::Gone });
        Ok(is_member.then(|| Birth { family: family.clone(), number }))
    }
}

/// Frees all communicators that are behind one.
pub(super) fn free(call: &Call<'_>, [public, private]: &[Arc<Identity>; 2]) -> Result<()> {
    if let Some(Strict { collectives, messages }) = public.strict {
        raw::comm::free(call, collectives)?;
        raw::comm::free(call, messages)?;
    }
    for identity in [private, public] {
        raw::comm::free(call, identity.handle)?;
        identity.freed();
    }
    Ok(())
}

impl Birth {
    /// The program has freed it.
    pub fn freed(&self) {
        self.family.set(self.number, State::Gone);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(Birth { family, number }) = self.birth.take() {
            let identities = [self.identity.clone(), self.private.clone()];
            family.set(number, State::Dropped(identities));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_nobody_holds_leave_the_list_and_the_others_keep_their_order() {
        let family = Children::default();
        let numbers: Vec<u64> = (0..5).map(|_| family.add(State::Held)).collect();
        assert_eq!(family.not_held(), 0);
        family.set(numbers[1], State::Gone);
        family.set(numbers[3], State::Gone);
        assert_eq!(family.not_held(), 0b01010);
        // Another rank still holds the fourth.
        assert_eq!(family.take(0b00010).len(), 1);
        assert_eq!(family.not_held(), 0b0100);
        assert_eq!(family.take(0b0100)[0].number, numbers[3]);
        let left: Vec<u64> = family.list().children.iter().map(|it| it.number).collect();
        assert_eq!(left, [0, 2, 4]);
    }

    #[test]
    fn only_the_first_ones_of_many_are_agreed_on() {
        let family = Children::default();
        for _ in 0..100 {
            family.add(State::Gone);
        }
        assert_eq!(family.not_held(), u64::MAX);
        assert_eq!(family.take(u64::MAX).len(), 64);
        assert_eq!(family.take(family.not_held()).len(), 36);
        assert_eq!(family.not_held(), 0);
    }
}
