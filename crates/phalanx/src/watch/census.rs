//! How the ranks of this node are, from the board and from the operating system.

use std::thread;
use std::time::Duration;

use super::author::decode;
use super::statement::{Seen, Statement};
use crate::board::{Board, Member, Phase};
use crate::host::ProcessState;

/// A rank and the number by which two looks at it are compared.
#[derive(Clone)]
pub(super) struct Observation {
    pub rank: usize,
    pub seen: Seen,
    pub sequence: u64,
}

/// Looks at every rank of the node.
pub(super) fn of_node(board: &Board) -> Vec<Observation> {
    board.members.iter().filter(|member| member.phase() != Phase::Free).map(of).collect()
}

/// A statement is written quickly: how often to look again at one that is being written.
const ROUNDS: usize = 20;
const ROUND: Duration = Duration::from_micros(200);

fn of(member: &Member) -> Observation {
    let mut look = one_look(member);
    for _ in 0..ROUNDS {
        if look.is_some() {
            break;
        }
        thread::sleep(ROUND);
        look = one_look(member);
    }
    let sequence = member.sequence();
    look.unwrap_or(Observation { rank: member.world_rank(), seen: Seen::Moving, sequence })
}

/// One look, or `None` where the slot changed meanwhile.
fn one_look(member: &Member) -> Option<Observation> {
    let sequence = member.sequence();
    let last = || statement_of(member).map(Box::new);
    let seen = match (member.phase(), member.process().state()) {
        (Phase::Finalized, _) => Seen::Finalized,
        (_, ProcessState::Gone) => {
            let how = format!("its process {} does not exist any more", member.process().id);
            Seen::Gone { how, last: last() }
        }
        (_, ProcessState::Stopped) => Seen::Stopped(last()),
        _ if member.stated() == Some(sequence) => {
            let statement = statement_of(member)?;
            if statement.sequence != sequence || !member.is_still_at(sequence) {
                return None;
            }
            Seen::Still(Box::new(statement))
        }
        _ => Seen::Moving,
    };
    Some(Observation { rank: member.world_rank(), seen, sequence })
}

fn statement_of(member: &Member) -> Option<Statement> {
    member.stated()?;
    decode(&member.statement()?)
}
