//! Whether the name of this host stands for something.

use super::{Found, note, ok, warning};
use crate::doctor::machine::Machine;

pub fn check(machine: &Machine) -> Vec<Found> {
    let name = &machine.host.name;
    if name.is_empty() || name == "localhost" || name == "(none)" {
        return vec![warning(
            format!(
                "this host has no name of its own (`{name}`): reports cannot distinguish hosts"
            ),
            "hostnamectl set-hostname NAME, or docker run --hostname NAME",
        )];
    }
    if name.contains('_') {
        return vec![warning(
            format!(
                "`{name}`, the name of this host, contains a `_`, which host names must not: some launchers fail"
            ),
            "hostnamectl set-hostname NAME, or docker run --hostname NAME",
        )];
    }
    if machine.host.addresses.is_empty() {
        return vec![warning(
            format!("`{name}`, the name of this host, has no address: launchers are slow or fail"),
            format!(
                "add a line `127.0.1.1 {name}` to /etc/hosts, or its real address for several hosts"
            ),
        )];
    }
    let list =
        machine.host.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if machine.host.addresses.iter().all(|address| address.is_loopback()) {
        return vec![note(
            format!("`{name}` is {list}: right on one host, wrong for others"),
            "for jobs on several hosts give it its real address in /etc/hosts",
        )];
    }
    vec![ok(format!("`{name}` is {list}"))]
}
