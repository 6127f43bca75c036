//! Colours for what is printed on a terminal.
//!
//! Under a launcher the ranks write to a pipe. That somebody reads it on a terminal is known from
//! `PHALANX_COLOR` (`always` or `never`), which `cargo phalanx run` sets; without it `NO_COLOR`, `CLICOLOR`
//! and `CLICOLOR_FORCE` are honoured.

use std::borrow::Cow;
use std::io;
use std::sync::OnceLock;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

const ALARM: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HELP: Style = AnsiColor::Green.on_default().bold();
const NAME: Style = Style::new().bold();
const PLACE: Style = AnsiColor::Cyan.on_default();

/// A report of this library as standard error shows it best.
pub(crate) fn for_stderr(report: &str) -> Cow<'_, str> {
    static COLOURS: OnceLock<bool> = OnceLock::new();
    let colours = COLOURS.get_or_init(|| match std::env::var("PHALANX_COLOR").as_deref() {
        Ok("always") => true,
        Ok("never") => false,
        _ => AutoStream::choice(&io::stderr()) != ColorChoice::Never,
    });
    if *colours { Cow::Owned(painted(report)) } else { Cow::Borrowed(report) }
}

/// A report with colours: its headlines, the names of causes, the help, and places in the source.
fn painted(report: &str) -> String {
    let lines: Vec<String> = report.lines().map(line).collect();
    lines.join("\n")
}

fn line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let (before, text) = line.split_at(indent);
    let until = |end: &str| text.find(end).map(|at| at + end.len());
    if indent == 0 && text.starts_with("phalanx: ") {
        let is_alarm = ["deadlock", "failed", "panicked"].iter().any(|word| text.contains(word))
            && !text.contains("no deadlock");
        let end = if text.contains("(proved): ") { until("(proved): ") } else { until(": ") };
        return head(before, text, end, if is_alarm { ALARM } else { WARNING });
    }
    match indent {
        2 if text.starts_with("help: ") => head(before, text, until(":"), HELP),
        // The name of a cause, a few words before a colon.
        2 if until(": ").is_some_and(|end| end < 48) => head(before, text, until(":"), NAME),
        4.. => match text.rsplit_once("  ") {
            Some((what, place)) if is_place(place) => {
                format!("{before}{what}  {PLACE}{place}{PLACE:#}")
            }
            _ => line.to_owned(),
        },
        _ => line.to_owned(),
    }
}

/// A line whose beginning has a style.
fn head(before: &str, text: &str, end: Option<usize>, style: Style) -> String {
    let (name, rest) = text.split_at(end.unwrap_or(0));
    format!("{before}{style}{name}{style:#}{rest}")
}

/// `src/main.rs:12:9`
fn is_place(text: &str) -> bool {
    let is_number = |it: Option<&str>| it.is_some_and(|it| it.parse::<u32>().is_ok());
    let mut parts = text.rsplitn(3, ':');
    is_number(parts.next()) && is_number(parts.next()) && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
phalanx: deadlock (proved): ranks 0 and 1 of 2 wait for each other and can never continue
  receive cycle: 0 waits for 1, 1 waits for 0: each receives before it sends
    rank 0  recv from rank 1, tag 8, on `world`  src/main.rs:12:9
  help: post the receives first";

    /// What is left when the colours are taken away again.
    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn colours_change_nothing_but_the_looks() {
        let painted = painted(REPORT);
        assert_ne!(painted, REPORT);
        assert_eq!(plain(&painted), REPORT);
        for part in [
            format!("{ALARM}phalanx: deadlock (proved): {ALARM:#}ranks"),
            format!("  {NAME}receive cycle:{NAME:#} 0 waits"),
            format!("on `world`  {PLACE}src/main.rs:12:9{PLACE:#}"),
            format!("  {HELP}help:{HELP:#} post"),
        ] {
            assert!(painted.contains(&part), "{part:?} in {painted:?}");
        }
    }

    #[test]
    fn a_warning_has_another_colour() {
        let text = "phalanx: rank 1 of 2 has waited for 31 s: no deadlock is proved";
        assert!(painted(text).starts_with(&format!("{WARNING}phalanx: {WARNING:#}rank 1")));
        assert_eq!(plain(&painted(text)), text);
        assert_eq!(painted(""), "");
    }
}
