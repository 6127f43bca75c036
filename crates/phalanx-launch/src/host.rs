use std::fmt;
use std::str::FromStr;

/// MPI numbers ranks with an `int`.
pub const MOST_RANKS: usize = i32::MAX as usize;

/// A host that a job may use, and for how many ranks: `node1:4`, or `node1` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    slots: usize,
}

impl Host {
    /// Its name or address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For how many ranks there is room.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// For how many ranks there is room on all of them.
    pub fn all_slots(hosts: &[Host]) -> usize {
        hosts.iter().fold(0_usize, |all, host| all.saturating_add(host.slots)).min(MOST_RANKS)
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        let (name, slots) = match text.rsplit_once(':') {
            Some((name, slots)) => {
                let number = slots.parse().ok().filter(|slots| (1..=MOST_RANKS).contains(slots));
                let wrong = || format!("`{text}`: after the colon comes a number of ranks");
                (name, number.ok_or_else(wrong)?)
            }
            None => (text, 1),
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.starts_with('-') || !name.chars().all(allowed) {
            return Err(format!("`{text}` is not a host: write `node1` or `node1:4`"));
        }
        Ok(Host { name: name.to_owned(), slots })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_many_hosts_are_no_more_than_mpi_can_count() {
        let hosts = ["a:2", "b", "c:2147483647"].map(|text| text.parse::<Host>().unwrap());
        assert_eq!(Host::all_slots(&hosts[..2]), 3);
        assert_eq!(Host::all_slots(&hosts), MOST_RANKS);
    }

    #[test]
    fn hosts_are_read_with_and_without_slots() {
        let read = |text: &str| text.parse::<Host>().map(|host| host.to_string());
        assert_eq!(read("node1"), Ok("node1:1".to_owned()));
        assert_eq!(read("10.0.0.7:16"), Ok("10.0.0.7:16".to_owned()));
        for wrong in ["", ":2", "a:0", "a:x", "a:2147483648", "-x", "a b", "a;reboot", "a,b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
