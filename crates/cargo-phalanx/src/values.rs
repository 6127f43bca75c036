//! Values that several commands take.

use std::time::Duration;

use clap::ValueEnum;
use phalanx_launch::MOST_RANKS;

/// A family of MPI libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mpi {
    /// The one that is installed
    Any,
    /// Open MPI
    Openmpi,
    /// MPICH
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

/// Reads `90`, `90s`, `0.5s`, `500ms`, `5m`, `1h30m`, `2d`, `01:30:00` or `1-00:00:00`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let time = if text.contains(':') { clock(text) } else { with_units(text) };
    time.filter(|time| !time.is_zero()).ok_or_else(|| {
        format!("`{text}` is not a time: write 90s, 0.5s, 5m, 1h30m, 2d or 01:30:00")
    })
}

/// A time in whole seconds, as batch systems count.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.subsec_nanos() != 0 {
        return Err(format!("`{text}`: batch systems take whole seconds"));
    }
    Ok(time)
}

/// `[hours:]minutes:seconds`, `days-hours:minutes[:seconds]`: as Slurm reads them.
fn clock(text: &str) -> Option<Duration> {
    let (days, rest) = text.split_once('-').unwrap_or(("0", text));
    let number =
        |text: &str| text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse().ok())?;
    let mut parts = rest.split(':').map(number).collect::<Option<Vec<u32>>>()?;
    if text.contains('-') && parts.len() == 2 {
        parts.push(0);
    }
    let in_range = parts.len() <= 3 && parts.iter().skip(1).all(|part| *part < 60);
    let seconds = parts.iter().fold(0, |seconds, part| seconds * 60 + u64::from(*part));
    in_range.then_some(Duration::from_secs(seconds + u64::from(number(days)?) * 86400))
}

/// Numbers with units, or a number of seconds.
fn with_units(text: &str) -> Option<Duration> {
    let unit = if text.ends_with(|c: char| c.is_ascii_digit()) { "s" } else { "" };
    humantime::parse_duration(&format!("{text}{unit}")).ok()
}

/// A number of ranks, at least one.
pub fn ranks(text: &str) -> Result<usize, String> {
    let known = text.parse().ok().filter(|ranks| (1..=MOST_RANKS).contains(ranks));
    known.ok_or_else(|| format!("`{text}` is not a number of ranks: 1 to {MOST_RANKS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_forms() {
        let seconds = |text| duration(text).map(|time| time.as_secs_f64());
        assert_eq!(seconds("90"), Ok(90.0));
        assert_eq!(seconds("90s"), Ok(90.0));
        assert_eq!(seconds("5m"), Ok(300.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("01:30:00"), Ok(5400.0));
        assert_eq!(seconds("2d"), Ok(172_800.0));
        assert_eq!(seconds("1d12h"), Ok(129_600.0));
        assert_eq!(seconds("1-00:00:10"), Ok(86_410.0));
        assert_eq!(seconds("1-12:00"), Ok(129_600.0));
        assert_eq!(seconds("01:30"), Ok(90.0));
        assert_eq!(seconds("0.5s"), Ok(0.5));
        assert_eq!(seconds("1s500ms"), Ok(1.5));
        let wrong = [
            "",
            "0",
            "x",
            "5x",
            "m",
            "-1",
            "1:x",
            "99999999999999999999h",
            "5é",
            "00:99",
            "1:+5",
            "1:2:3:4:5",
            ".",
            "1..2s",
            "inf",
            "nan",
            "1e3",
            "0s",
        ];
        for wrong in wrong {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(super::seconds("0.5s").is_err() && super::seconds("1m").is_ok());
    }

    #[test]
    fn there_are_as_many_ranks_as_mpi_can_count() {
        assert_eq!(ranks("2147483647"), Ok(2_147_483_647));
        for wrong in ["0", "-1", "2147483648", "x", ""] {
            assert!(ranks(wrong).is_err(), "{wrong}");
        }
    }
}
