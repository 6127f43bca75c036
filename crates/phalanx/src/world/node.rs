//! What the ranks of a node arrange with each other at start: who reports a failure, and how to wait.

use std::env;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::board;
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::host;
use crate::op::{BitOr, Max};
use crate::raw::wait::{self, Policy};
use crate::raw::{self, delay};
use crate::record::Call;
use crate::watch;

const WAIT: &str = "PHALANX_WAIT";
const NODES: &str = "PHALANX_NODES";

/// `wanted` is the way of waiting that was asked for on this rank.
pub(super) fn prepare(world: &Comm, wanted: Option<Policy>) -> Result<()> {
    let node = nodes(world)?;
    share_board(world, &node)?;
    let policy = agree_on_waiting(world, &node, wanted)?;
    let setup = introduce(world, &node)?;
    node.free()?;
    if let Some(seed) = watch::settings().ok().and_then(|settings| settings.delay) {
        delay::set_delays(seed, world.rank());
    }
    if watch::is_wanted() {
        // Before the watch knows of any call: what came until here, the user has not called.
        world.identity().count_collectives_anew();
        watch::start(setup);
    }
    if watch::compares_types() {
        raw::compare_types();
    }
    wait::set_policy(policy);
    Ok(())
}

/// Tells the ranks of other nodes where the watch of this one can be reached.
fn introduce(world: &Comm, node: &Comm) -> Result<watch::Setup> {
    let (rank, size) = (world.rank(), world.size());
    // A node is known by its lowest rank.
    let mut number = [rank as u32];
    node.bcast(&mut number, 0)?;
    let highest = world.allreduce(&number[0], Max)?;
    let mut secret = [0_u64; 4];
    if rank == 0 {
        secret = std::array::from_fn(|_| random());
    }
    world.bcast(&mut secret, 0)?;
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_mut(8).zip(secret) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let secret = watch::Secret::new(bytes);
    if highest == 0 || !watch::is_wanted() {
        return Ok(watch::Setup { rank, size, addresses: Vec::new(), secret, listener: None });
    }
    let allowed = watch::settings().is_ok_and(|settings| settings.tcp);
    // Without a port the rank is found in a file.
    let listener = if allowed { watch::Listener::open().ok() } else { None };
    let mine = watch::Address {
        node: number[0],
        port: listener.as_ref().map_or(0, watch::Listener::port),
        hosts: watch::hosts(),
    };
    let addresses = world.allgather_object(&mine)?;
    Ok(watch::Setup { rank, size, addresses, secret, listener })
}

/// A number that nobody can guess.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    // Where the system gives no random numbers, the standard library still has those of its start.
    let weaker = |_| std::collections::hash_map::RandomState::new().build_hasher().finish();
    getrandom::u64().unwrap_or_else(weaker)
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
    let mut key = [0_u64; 1];
    let (mut created, mut memory) = (None, None);
    if node.rank() == 0 {
        key = [random()];
        if let Ok((made, shared)) = board::create(random(), node.size()) {
            let text = made.as_os_str().as_bytes();
            if text.len() < LONGEST {
                path[..text.len()].copy_from_slice(text);
            }
            (created, memory) = (Some(made), Some(shared));
        }
    }
    node.bcast(&mut path, 0)?;
    node.bcast(&mut key, 0)?;
    let length = path.iter().position(|&byte| byte == 0).unwrap_or(LONGEST);
    if node.rank() != 0 && length > 0 {
        let path = PathBuf::from(std::ffi::OsString::from_vec(path[..length].to_vec()));
        // Without it there is a board for this rank alone.
        memory = board::open(&path, node.size()).ok();
    }
    let (process, space) = (host::Process::this(), host::process_space());
    let mine = board::Owner { world_rank: world.rank(), process, space };
    let owners = node.allgather(&mine.to_words())?;
    let owners: Vec<_> = owners.as_chunks().0.iter().map(board::Owner::from_words).collect();
    board::begin(memory, key[0], &owners, node.rank());
    node.barrier()?;
    if let Some(path) = created {
        let _ = board::unlink(&path);
    }
    Ok(())
}

/// The way of waiting that the environment asks for, if it does.
pub(super) fn wanted_waiting(call: &Call<'_>) -> Result<Option<Policy>> {
    let value = match env::var(WAIT) {
        Ok(value) => value,
        Err(env::VarError::NotPresent) => return Ok(None),
        Err(env::VarError::NotUnicode(value)) => value.to_string_lossy().into_owned(),
    };
    match value.as_str() {
        "library" => Ok(Some(Policy::Library)),
        "poll" => Ok(Some(Policy::Poll)),
        "auto" => Ok(None),
        other => {
            let detail = format!("{WAIT}={other}: the values are auto, library and poll");
            Err(Error::new(ErrorKind::Setting, call, detail))
        }
    }
}

/// Every rank must wait in the same way, so the most careful answer of all nodes counts.
fn agree_on_waiting(world: &Comm, node: &Comm, wanted: Option<Policy>) -> Result<Policy> {
    let cores: u32 =
        node.allreduce(&host::core_mask(), BitOr)?.iter().map(|m| m.count_ones()).sum();
    let crowded = cores > 0 && node.size() > cores as usize;
    // Only a loop of ours can be left, or made late.
    let watched = watch::mode() == watch::Mode::Strict
        || watch::settings().is_ok_and(|settings| settings.delay.is_some());
    let wanted = match wanted {
        _ if watched => Policy::Poll,
        Some(wanted) => wanted,
        None if crowded => Policy::Poll,
        None => Policy::Library,
    };
    let agreed = world.allreduce(&(wanted as u8), Max)?;
    Ok(if agreed == Policy::Library as u8 { Policy::Library } else { Policy::Poll })
}
