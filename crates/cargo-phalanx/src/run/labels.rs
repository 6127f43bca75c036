//! The labels that launchers put before a line of output.

/// Rank and text of a line that has a label.
///
/// Open MPI 4: `[1,2]<stdout>:text`; Open MPI 5: `[prterun-host-7@1,2]<stdout>: text`;
/// Hydra: `[2] text`; srun and flux: ` 2: text`.
pub fn split(line: &[u8]) -> Option<(usize, &[u8])> {
    match line.first()? {
        b'[' => bracketed(&line[1..]),
        b' ' | b'0'..=b'9' => {
            let line = line.trim_ascii_start();
            let (rank, rest) = number(line)?;
            let text = rest.strip_prefix(b":")?;
            Some((rank, text.strip_prefix(b" ").unwrap_or(text)))
        }
        _ => None,
    }
}

fn bracketed(line: &[u8]) -> Option<(usize, &[u8])> {
    let end = line.iter().position(|byte| *byte == b']')?;
    let (label, rest) = (&line[..end], &line[end + 1..]);
    let digits = label.rsplit(|byte| *byte == b',').next()?;
    let (rank, after) = number(digits)?;
    if !after.is_empty() {
        return None;
    }
    if digits.len() == label.len() {
        return Some((rank, rest.strip_prefix(b" ").unwrap_or(rest)));
    }
    let text =
        [b"<stdout>:".as_slice(), b"<stderr>:"].iter().find_map(|mark| rest.strip_prefix(*mark))?;
    // Version 5 names the job by more than a number, and sets the text apart.
    let is_new = label.contains(&b'@');
    Some((rank, if is_new { text.strip_prefix(b" ").unwrap_or(text) } else { text }))
}

fn number(text: &[u8]) -> Option<(usize, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_all_launchers_are_understood() {
        let read = |line: &'static str| {
            let (rank, text) = split(line.as_bytes())?;
            Some((rank, std::str::from_utf8(text).unwrap()))
        };
        assert_eq!(read("[1,2]<stdout>:  text"), Some((2, "  text")));
        assert_eq!(read("[1,13]<stderr>:"), Some((13, "")));
        assert_eq!(read("[prterun-a-7@1,2]<stdout>: text"), Some((2, "text")));
        assert_eq!(read("[2] text"), Some((2, "text")));
        assert_eq!(read("2: text"), Some((2, "text")));
        assert_eq!(read(" 2: text"), Some((2, "text")));
        for other in ["", "text", "[text]", "[mpiexec@vm] x", "12 monkeys", "[1,x]<stdout>:", "[1"]
        {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
