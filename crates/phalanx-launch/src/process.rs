use std::fs;
use std::io;

/// What the system says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStat {
    /// `R`, `S`, `T`, `Z` and others, as proc(5) lists them.
    pub state: char,
    /// Number of its parent.
    pub parent: u32,
    /// When it started, in ticks since the machine did: tells it apart from a later process with the same number.
    pub started: u64,
}

/// What `/proc/ID/stat` says; `None` if it says nothing that is understood.
///
/// # Errors
/// When the file cannot be read: `NotFound`, or `ESRCH`, if there is no such process.
///
/// ```
/// let this = phalanx_launch::process_stat(std::process::id())?.expect("Linux tells");
/// assert_eq!(this.state, 'R');
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn process_stat(id: u32) -> io::Result<Option<ProcessStat>> {
    Ok(parse(&fs::read_to_string(format!("/proc/{id}/stat"))?))
}

/// Fields 3 (state), 4 (parent) and 22 (start time). The name before them, in parentheses, may hold anything.
fn parse(text: &str) -> Option<ProcessStat> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some(ProcessStat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        started: fields.nth(17)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_do_not_confuse_the_reader_of_stat() {
        let text = "12 (a) b (c) S 7 12 12 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 1 1";
        let stat = ProcessStat { state: 'S', parent: 7, started: 4242 };
        assert_eq!(parse(text), Some(stat));
        assert_eq!(parse("12 (a) S 7 12"), None);
    }

    #[test]
    fn a_process_that_never_was_is_not_found() {
        let error = process_stat(u32::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
