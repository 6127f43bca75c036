//! Values that several commands take.

use std::time::Duration;

use clap::ValueEnum;

/// A family of MPI libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mpi {
    /// The one that is here
    Any,
    Openmpi,
    Mpich,
}

impl Mpi {
    /// As the scripts call it.
    pub fn name(self) -> &'static str {
        match self {
            Mpi::Any => "any",
            Mpi::Openmpi => "openmpi",
            Mpi::Mpich => "mpich",
        }
    }
}

/// Reads `90`, `90s`, `5m`, `1h30m`, `2d` or `01:30:00`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write 90s, 5m, 1h30m, 2d or 01:30:00");
    let seconds = if text.contains(':') {
        let mut seconds: u64 = 0;
        for part in text.split(':') {
            let part: u64 = part.parse().map_err(|_| wrong())?;
            seconds =
                seconds.checked_mul(60).and_then(|s| s.checked_add(part)).ok_or_else(wrong)?;
        }
        seconds
    } else {
        let mut total: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, unit) = rest.split_at(end);
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let (factor, after) = match unit.chars().next() {
                None => (1, ""),
                Some('s') => (1, &unit[1..]),
                Some('m') => (60, &unit[1..]),
                Some('h') => (3600, &unit[1..]),
                Some('d') => (86400, &unit[1..]),
                Some(_) => return Err(wrong()),
            };
            let part = number.checked_mul(factor).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
            rest = after;
        }
        total
    };
    if seconds == 0 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

/// A number of ranks, at least one.
pub fn ranks(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is no number of ranks: 1 or more")),
        Ok(ranks) => Ok(ranks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_forms() {
        let seconds = |text| duration(text).map(|time| time.as_secs());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("01:30:00"), Ok(5400));
        assert_eq!(seconds("2d"), Ok(172_800));
        for wrong in ["", "0", "x", "5x", "m", "-1", "1:x", "99999999999999999999h", "5é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
