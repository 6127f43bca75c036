//! What the ranks of a node arrange with each other at start: who reports a failure, and how to wait.

use std::env;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::panic::Location;
use std::path::PathBuf;

use crate::board;
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::host;
use crate::op::{BitOr, Max};
use crate::raw::strict;
use crate::raw::wait::{self, Policy};
use crate::record::{Call, INIT};
use crate::watch;

const WAIT: &str = "PHALANX_WAIT";
const NODES: &str = "PHALANX_NODES";

pub(super) fn prepare(world: &Comm, location: &'static Location<'static>) -> Result<()> {
    let node = nodes(world)?;
    share_board(world, &node)?;
    let policy = agree_on_waiting(world, &node, location)?;
    let setup = introduce(world, &node)?;
    node.free()?;
    wait::set_policy(policy);
    if let Some(seed) = watch::settings().ok().and_then(|settings| settings.delay) {
        strict::set_delays(seed, world.rank());
    }
    if watch::is_wanted() {
        watch::start(setup);
    }
    Ok(())
}

/// Tells the ranks of other nodes where the watch of this one can be reached.
fn introduce(world: &Comm, node: &Comm) -> Result<watch::Setup> {
    let (rank, size) = (world.rank(), world.size());
    // A node is known by its lowest rank.
    let mut number = [rank as u32];
    node.bcast(&mut number, 0)?;
    let highest = world.allreduce(&number[0], Max)?;
    if highest == 0 || !watch::is_wanted() {
        return Ok(watch::Setup { rank, size, addresses: Vec::new(), doorbell: None });
    }
    let allowed = watch::settings().is_ok_and(|settings| settings.tcp);
    // Without a socket the rank is found in a file.
    let doorbell = if allowed { watch::Doorbell::open().ok() } else { None };
    let mine = watch::Address {
        node: number[0],
        port: doorbell.as_ref().map_or(0, watch::Doorbell::port),
        hosts: watch::hosts(),
        word: word(),
    };
    let addresses = world.allgather_object(&mine)?;
    let word = addresses[0].word;
    let doorbell = doorbell.map(|it| it.with_word(word));
    Ok(watch::Setup { rank, size, addresses, doorbell })
}

/// A number that nobody can guess.
fn word() -> u128 {
    use std::collections::hash_map::RandomState;
    use std::hash::{BuildHasher, Hasher};
    // Seeded by the operating system.
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
}

/// The ranks of this node. `PHALANX_NODES` makes several of one, in blocks of ranks, so that what
/// happens between nodes can be tried on one machine.
fn nodes(world: &Comm) -> Result<Comm> {
    let wanted = env::var(NODES).ok().and_then(|text| text.parse::<usize>().ok());
    let nodes = world.allreduce(&wanted.unwrap_or(0), Max)?;
    if nodes == 0 {
        return world.split_by_node();
    }
    let block = world.size().div_ceil(nodes);
    let part = world.split(Some((world.rank() / block) as u32), 0)?;
    part.map_or_else(|| world.split_by_node(), Ok)
}

/// Opens the board of the node. A rank that cannot open it has one for itself: it then reports its
/// failures by itself, and the watch of the others knows nothing of it.
fn share_board(world: &Comm, node: &Comm) -> Result<()> {
    const LONGEST: usize = 512;
    let mut path = [0_u8; LONGEST];
    let mut created = None;
    if node.rank() == 0 {
        let unique = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64);
        created = board::create(unique, node.size()).ok();
        if let Some(text) = &created {
            let text = text.as_os_str().as_bytes();
            if text.len() < LONGEST {
                path[..text.len()].copy_from_slice(text);
            }
        }
    }
    node.bcast(&mut path, 0)?;
    let length = path.iter().position(|&byte| byte == 0).unwrap_or(LONGEST);
    if node.rank() != 0 && length > 0 {
        let path = PathBuf::from(std::ffi::OsString::from_vec(path[..length].to_vec()));
        // Without it the board below is all there is.
        let _ = board::open(&path, node.size(), node.rank());
    }
    node.barrier()?;
    if board::board().is_none() || !board::is_understood() {
        board::alone();
    }
    if let Some(board) = board::board() {
        board.mine().take(world.rank());
    }
    node.barrier()?;
    if let Some(path) = created {
        let _ = board::unlink(&path);
    }
    Ok(())
}

/// Every rank must wait in the same way, so the most careful answer of all nodes counts.
fn agree_on_waiting(
    world: &Comm,
    node: &Comm,
    location: &'static Location<'static>,
) -> Result<Policy> {
    let cores: u32 =
        node.allreduce(&host::core_mask(), BitOr)?.iter().map(|m| m.count_ones()).sum();
    let crowded = cores > 0 && node.size() > cores as usize;
    // Only a loop of ours can be left, or made late.
    let watched = watch::mode() == watch::Mode::Strict
        || watch::settings().is_ok_and(|settings| settings.delay.is_some());
    let wanted = match env::var(WAIT).as_deref() {
        _ if watched => Policy::Poll,
        Ok("library") => Policy::Library,
        Ok("poll") => Policy::Poll,
        Ok("auto") | Err(env::VarError::NotPresent) if crowded => Policy::Poll,
        Ok("auto") | Err(env::VarError::NotPresent) => Policy::Library,
        Ok(other) => return Err(bad_value(other, location)),
        Err(env::VarError::NotUnicode(other)) => {
            return Err(bad_value(&other.to_string_lossy(), location));
        }
    };
    let agreed = world.allreduce(&(wanted as u8), Max)?;
    Ok(if agreed == Policy::Library as u8 { Policy::Library } else { Policy::Poll })
}

fn bad_value(value: &str, location: &'static Location<'static>) -> Error {
    let call = Call::local(&INIT, location);
    let detail = format!("{WAIT}={value}: the values are auto, library and poll");
    Error::new(ErrorKind::Unsupported, &call, detail)
}
