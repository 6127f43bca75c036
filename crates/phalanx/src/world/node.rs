//! What the ranks of a node arrange with each other at start: who reports a failure, and how to wait.

use std::env;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::panic::Location;
use std::path::PathBuf;

use crate::claim;
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::op::{BitOr, Max};
use crate::raw::wait::{self, Policy};
use crate::record::{Call, INIT};

const WAIT: &str = "PHALANX_WAIT";

pub(super) fn prepare(world: &Comm, location: &'static Location<'static>) -> Result<()> {
    let node = world.split_by_node()?;
    share_claim(&node)?;
    let policy = agree_on_waiting(world, &node, location)?;
    node.free()?;
    wait::set_policy(policy);
    Ok(())
}

/// Opens the shared page. A node where that fails has no page: each of its ranks then reports.
fn share_claim(node: &Comm) -> Result<()> {
    const LONGEST: usize = 512;
    let mut path = [0_u8; LONGEST];
    let mut created = None;
    if node.rank() == 0 {
        let unique = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64);
        created = claim::create(unique).ok();
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
        // Reports of a rank that has no page are printed, at worst more than once.
        let _ = claim::open(&path);
    }
    node.barrier()?;
    if let Some(path) = created {
        let _ = claim::unlink(&path);
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
        node.allreduce(&claim::core_mask(), BitOr)?.iter().map(|m| m.count_ones()).sum();
    let crowded = cores > 0 && node.size() > cores as usize;
    let wanted = match env::var(WAIT).as_deref() {
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
