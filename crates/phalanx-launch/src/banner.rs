//! What launchers say about the end of a job.
//!
//! When a rank ends the job, Open MPI and Hydra print a block of text that says less than the rank has said itself, and
//! that comes last, where people look first. These blocks are recognised word by word and held back. At the end of
//! the job those are left out whose cause is known; the others are shown. Everything else passes as it is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of the end of a job without its launcher. The filters of one job share it.
#[derive(Debug, Default)]
pub struct EndOfJob(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Ranks that have said why they fail.
    ranks: BTreeSet<usize>,
    /// Whether a rank has said why it ends the job.
    reported: bool,
    /// Whether the job was ended from outside.
    ordered: bool,
}

impl EndOfJob {
    /// A rank has said why it fails.
    pub fn note_failure_of(&self, rank: usize) {
        self.known().ranks.insert(rank);
    }

    /// A rank has said why it ends the job.
    pub fn note_report(&self) {
        self.known().reported = true;
    }

    /// Whoever started the job ends it, and says so.
    pub fn note_order(&self) {
        self.known().ordered = true;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what Phalanx says in a rank.
    fn read(&self, line: &str) {
        // A label may come before it.
        let Some((_, text)) = line.split_once("phalanx: ") else { return };
        if let Some(rest) = text.strip_prefix("rank ") {
            let is_failure = rest.contains(" panicked") || rest.contains(" failed");
            let rank = rest.split(' ').next().and_then(|word| word.parse().ok());
            if let (true, Some(rank)) = (is_failure, rank) {
                self.note_failure_of(rank);
            }
        } else if text.starts_with("ending all ") || text.starts_with("deadlock ") {
            self.note_report();
        }
    }

    /// Whether people know already what the text says.
    fn explains(&self, banner: Banner) -> bool {
        const ORDERED: [i32; 2] = [libc::SIGTERM, libc::SIGKILL];
        let known = self.known();
        known.ordered
            || match banner {
                Banner::General => known.reported || !known.ranks.is_empty(),
                // Launchers send it to the ranks that are left.
                Banner::OfRank { rank, signal: None | Some(libc::SIGTERM) } => {
                    known.reported || known.ranks.contains(&rank)
                }
                Banner::OfRank { rank, .. } => known.ranks.contains(&rank),
                Banner::OfSome { signal } => known.reported && ORDERED.contains(&signal),
            }
    }
}

/// What a text of a launcher is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Banner {
    /// Nothing that could not be known.
    General,
    /// How this rank ended.
    OfRank { rank: usize, signal: Option<i32> },
    /// That a rank, it is not said which, was ended by a signal.
    OfSome { signal: i32 },
}

/// Holds back what the launcher says about the end of a job in one stream of output.
#[derive(Debug)]
pub struct BannerFilter {
    end: Arc<EndOfJob>,
    /// The current line, as far as it may belong to a text of the launcher.
    line: Vec<u8>,
    /// Whether a part of the current line was passed on.
    begun: bool,
    /// How that part begins.
    start: Vec<u8>,
    /// The lines that may be a text of the launcher.
    block: Vec<Vec<u8>>,
    state: State,
    held: Vec<(Banner, Vec<u8>)>,
}

/// Where in a text of the launcher the lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    /// An empty line, with which Hydra's text begins.
    Blank,
    /// The line above a text of Open MPI.
    Dashes,
    OpenMpi(Banner),
    /// The line above Hydra's text.
    Equals,
    Hydra,
    /// Hydra's last words, of which so many were seen.
    LastWords(Banner, usize),
}

/// The line above and below a text of Open MPI.
const DASHES: &str = "--------------------------------------------------------------------------";
/// The line above and below a text of Hydra.
const EQUALS: &str =
    "===================================================================================";
const HYDRA: &str = "=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES";
const LAST_WORDS: [&str; 3] = [
    "YOUR APPLICATION TERMINATED WITH THE EXIT STRING: ",
    "This typically refers to a problem with your application.",
    "Please see the FAQ page for debugging suggestions",
];

/// Open MPI's longest text has less lines.
const LONGEST: usize = 16;

impl BannerFilter {
    /// A filter for a stream of the job of which `end` knows.
    pub fn new(end: &Arc<EndOfJob>) -> BannerFilter {
        BannerFilter {
            end: Arc::clone(end),
            line: Vec::new(),
            begun: false,
            start: Vec::new(),
            block: Vec::new(),
            state: State::Outside,
            held: Vec::new(),
        }
    }

    /// Takes what the job has written, and appends to `ready` what is to be shown now.
    pub fn pass(&mut self, bytes: &[u8], ready: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end_line(ready);
            }
        }
        // What has no end of line yet is shown, unless it may be a line of the launcher.
        if !self.line.is_empty() && (self.begun || !self.may_go_on()) {
            self.begun = true;
            self.release(ready);
            self.read_start();
            ready.append(&mut self.line);
        }
    }

    /// Nothing more comes. Appends to `ready` what cannot be a text of the launcher after all.
    pub fn end(&mut self, ready: &mut Vec<u8>) {
        self.release(ready);
        ready.append(&mut self.line);
    }

    /// What the launcher has said that is not known yet, once all streams have ended.
    pub fn unexplained(self) -> Vec<u8> {
        let new = self.held.into_iter().filter(|(banner, _)| !self.end.explains(*banner));
        new.flat_map(|(_, text)| text).collect()
    }

    /// Keeps as much of a line that is passed on as a report needs to be known.
    fn read_start(&mut self) {
        const ENOUGH: usize = 256;
        let room = ENOUGH.saturating_sub(self.start.len());
        self.start.extend_from_slice(&self.line[..room.min(self.line.len())]);
    }

    fn end_line(&mut self, ready: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        if std::mem::replace(&mut self.begun, false) {
            self.line = line;
            self.read_start();
            self.end.read(&String::from_utf8_lossy(&std::mem::take(&mut self.start)));
            ready.append(&mut self.line);
            return;
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        let text = text.trim_end_matches(['\n', '\r']);
        self.end.read(text);
        if !self.goes_on(text) {
            self.release(ready);
            self.state = State::Outside;
            if !self.goes_on(text) {
                ready.extend(line);
                return;
            }
        }
        self.block.push(line);
        match self.state {
            State::Outside => self.hold(Banner::General),
            State::OpenMpi(banner) if self.block.len() > 2 && text == DASHES => {
                self.hold(banner);
            }
            State::OpenMpi(_) if self.block.len() > LONGEST => self.release(ready),
            State::Hydra if text == EQUALS => self.hold(Banner::General),
            State::LastWords(banner, seen) if seen == LAST_WORDS.len() => self.hold(banner),
            _ => {}
        }
    }

    /// Whether a line that is not over yet may be the next one of a text of the launcher.
    fn may_go_on(&self) -> bool {
        let text = String::from_utf8_lossy(&self.line);
        let is_one = |whole: &str| {
            let shared = whole.len().min(text.len());
            whole.as_bytes()[..shared] == text.as_bytes()[..shared]
        };
        let may_be_rule = |rule: &str| text.len() <= rule.len() && is_one(rule);
        match self.state {
            State::Outside => may_be_rule(DASHES) || may_be_rule(EQUALS),
            State::Blank => may_be_rule(EQUALS),
            State::Dashes => {
                let (name, rest) = text.split_once(' ').unwrap_or((&text, ""));
                let is_launcher = ["mpi", "prte", "orte"]
                    .iter()
                    .any(|it| name.starts_with(it) || (rest.is_empty() && it.starts_with(name)));
                let says = ["noticed that", "detected that", "has exited due to"];
                let is_said = says.iter().any(|it| it.starts_with(rest) || rest.starts_with(it));
                is_one("Primary job ")
                    || is_one("MPI_ABORT was invoked")
                    || (is_launcher && is_said)
            }
            State::OpenMpi(_) => true,
            State::Equals => is_one(HYDRA),
            State::Hydra => text.starts_with('='),
            State::LastWords(_, seen) => LAST_WORDS.get(seen).is_some_and(|it| is_one(it)),
        }
    }

    /// Whether the line may be the next one of a text of the launcher, or is one in itself.
    fn goes_on(&mut self, text: &str) -> bool {
        let (is_dashes, is_equals) = (text == DASHES, text == EQUALS);
        self.state = match self.state {
            State::Outside if text.is_empty() => State::Blank,
            State::Outside if is_dashes => State::Dashes,
            State::Outside | State::Blank if is_equals => State::Equals,
            State::Outside if text.starts_with(LAST_WORDS[0]) => {
                let banner = match signal_in(text) {
                    Some(signal) => Banner::OfSome { signal },
                    None => Banner::General,
                };
                State::LastWords(banner, 1)
            }
            State::Outside => return is_line_of_launcher(text),
            State::Dashes => match open_mpi(text) {
                Some(banner) => State::OpenMpi(banner),
                None => return false,
            },
            State::OpenMpi(banner) => State::OpenMpi(of_process(text).unwrap_or(banner)),
            State::Equals if text == HYDRA => State::Hydra,
            State::Hydra if is_equals || text.starts_with("=   ") => State::Hydra,
            State::LastWords(banner, seen) if text == LAST_WORDS[seen] => {
                State::LastWords(banner, seen + 1)
            }
            _ => return false,
        };
        true
    }

    /// The block is a text of the launcher.
    fn hold(&mut self, banner: Banner) {
        self.held.push((banner, self.block.concat()));
        self.block.clear();
        self.state = State::Outside;
    }

    /// The block is none.
    fn release(&mut self, ready: &mut Vec<u8>) {
        self.block.drain(..).for_each(|line| ready.extend(line));
        self.state = State::Outside;
    }
}

/// What is left of the whole output of a job without what is known already.
///
/// ```
/// use std::sync::Arc;
/// use phalanx_launch::{EndOfJob, without_banners};
///
/// let output = b"result 3\nAbort(1) on node 0 (rank 0 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 1)\n";
/// let end = Arc::new(EndOfJob::default());
/// assert_eq!(without_banners(output, &end), output);
/// end.note_failure_of(0);
/// assert_eq!(without_banners(output, &end), b"result 3\n");
/// ```
pub fn without_banners(output: &[u8], end: &Arc<EndOfJob>) -> Vec<u8> {
    let (mut filter, mut ready) = (BannerFilter::new(end), Vec::new());
    filter.pass(output, &mut ready);
    filter.end(&mut ready);
    ready.extend(filter.unexplained());
    ready
}

/// The first line of a text of Open MPI, in versions 4 and 5.
fn open_mpi(line: &str) -> Option<Banner> {
    let rank_after =
        |mark: &str| line.split_once(mark)?.1.split([' ', ',']).next()?.parse::<usize>().ok();
    if let Some(rank) = rank_after("MPI_ABORT was invoked on rank ") {
        return Some(Banner::OfRank { rank, signal: None });
    }
    if let Some(rank) = rank_after(" noticed that process rank ") {
        return Some(Banner::OfRank { rank, signal: signal_in(line) });
    }
    if let Some(rank) = rank_after(" has exited due to process rank ") {
        return Some(Banner::OfRank { rank, signal: None });
    }
    let is_general = line.starts_with("Primary job ") && line.contains("terminated normally, but ")
        || line.contains(" noticed that the job aborted")
        || line.contains(" detected that one or more processes exited with non-zero status");
    is_general.then_some(Banner::General)
}

/// `  Process name: [[29139,1],0]`
fn of_process(line: &str) -> Option<Banner> {
    let (_, rank) = line
        .trim_start()
        .strip_prefix("Process name: [[")?
        .trim_end_matches(']')
        .rsplit_once(',')?;
    Some(Banner::OfRank { rank: rank.parse().ok()?, signal: None })
}

/// `… exited on signal 15 (Terminated).`, `… Killed (signal 9)`
fn signal_in(line: &str) -> Option<i32> {
    let (_, rest) = line.rsplit_once("signal ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Lines that stand alone.
fn is_line_of_launcher(line: &str) -> bool {
    let after_host = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let is_of_open_mpi = after_host.is_some_and(|(_, text)| {
        (text.contains("ORTE_ERROR_LOG: ") && text.contains(" in file "))
            || text.ends_with("sent help message help-mpi-api.txt / mpi-abort")
            || text.starts_with("Set MCA parameter \"orte_base_help_aggregate\" to 0")
    });
    is_of_open_mpi
        || is_abort_of_mpich(line)
        || line.ends_with(" total processes killed (some possibly by mpirun during cleanup)")
        || line.ends_with(" total processes killed (some possibly by mpiexec during cleanup)")
}

/// `Abort(1) on node 1 (rank 1 in comm 0): application called MPI_Abort(…`. The rank itself prints it, so that it may
/// have a label, with or without colour.
fn is_abort_of_mpich(line: &str) -> bool {
    line.split_once("Abort(").is_some_and(|(label, rest)| {
        let is_label = label.is_empty() || label.ends_with("] ") || label.ends_with("]\u{1b}[0m ");
        is_label && rest.contains(": application called MPI_Abort(")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABORT: &str = "\
--------------------------------------------------------------------------
MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD
with errorcode 101.

NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.
You may or may not see output from other processes, depending on
exactly when Open MPI kills them.
--------------------------------------------------------------------------
";
    const SIGNAL: &str = "\
--------------------------------------------------------------------------
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
--------------------------------------------------------------------------
--------------------------------------------------------------------------
mpiexec noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).
--------------------------------------------------------------------------
";
    const CODE: &str = "\
--------------------------------------------------------------------------
mpiexec detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[5577,1],2]
  Exit code:    7
--------------------------------------------------------------------------
";
    const HYDRA_SIGNAL: &str = "
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 946 RUNNING AT vm
=   EXIT CODE: 9
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
===================================================================================
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)
This typically refers to a problem with your application.
Please see the FAQ page for debugging suggestions
";
    const REPORT: &str = "\
phalanx: rank 1 of 3 on vm panicked at src/main.rs:81:20:
    the roof is on fire
phalanx: ending all 3 ranks
";

    /// What is shown of some output, however it comes in pieces.
    fn shown(output: &str, prepare: impl Fn(&EndOfJob)) -> String {
        let in_pieces = |length: usize| {
            let end = Arc::new(EndOfJob::default());
            prepare(&end);
            let (mut filter, mut ready) = (BannerFilter::new(&end), Vec::new());
            for piece in output.as_bytes().chunks(length) {
                filter.pass(piece, &mut ready);
            }
            filter.end(&mut ready);
            ready.extend(filter.unexplained());
            String::from_utf8(ready).unwrap()
        };
        let whole = in_pieces(output.len().max(1));
        // Lines that stand alone are recognised only if they come in one piece, as launchers write them.
        if !["YOUR APPLICATION", "Abort(", "ORTE_"].iter().any(|it| output.contains(it)) {
            for length in [1, 7, 64, 100] {
                assert_eq!(in_pieces(length), whole, "in pieces of {length}");
            }
        }
        whole
    }

    #[test]
    fn texts_of_launchers_go_after_a_report() {
        for banner in [ABORT, HYDRA_SIGNAL] {
            assert_eq!(shown(&format!("a\n{REPORT}{banner}"), |_| {}), format!("a\n{REPORT}"));
        }
        let killed = SIGNAL.replace("signal 9 (Killed)", "signal 15 (Terminated)");
        assert_eq!(shown(&format!("{REPORT}{killed}"), |_| {}), REPORT);
        let lines = "[vm:1] [[5271,0],0] ORTE_ERROR_LOG: Out of resource in file ../x.c at line 501\n\
                     Abort(1) on node 1 (rank 1 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 1) - process 1\n";
        assert_eq!(shown(&format!("{REPORT}{lines}"), |_| {}), REPORT);
        let deadlock = "phalanx: deadlock (proved): ranks 0 and 1 of 2 can never go on\n";
        assert_eq!(shown(&format!("{deadlock}{CODE}"), |_| {}), deadlock);
        let aborted = "Abort(1) on node 1 (rank 1 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 1)";
        for label in ["[1] ", "\u{1b}[33m[1]\u{1b}[0m "] {
            assert_eq!(shown(&format!("{REPORT}{label}{aborted}\n"), |_| {}), REPORT);
        }
        let labelled = format!("[1] {}", REPORT.replace("\nphalanx", "\n[1] phalanx"));
        assert_eq!(shown(&format!("{labelled}{ABORT}"), |_| {}), labelled);
    }

    #[test]
    fn without_a_report_everything_is_shown() {
        for banner in [ABORT, SIGNAL, CODE, HYDRA_SIGNAL] {
            let output = format!("result 3\n{banner}");
            assert_eq!(shown(&output, |_| {}), output);
            assert_eq!(shown(&output, EndOfJob::note_order), "result 3\n", "{banner}");
        }
        // Not a failure, only a warning.
        let warned = format!("phalanx: rank 1 of 3 waits for 4.0 s\n{SIGNAL}");
        assert_eq!(shown(&warned, |_| {}), warned);
    }

    #[test]
    fn a_rank_that_was_killed_is_named_although_another_one_has_reported() {
        let other = REPORT.replace("rank 1", "rank 0");
        let said = shown(&format!("{other}{SIGNAL}"), |_| {});
        assert!(said.contains("rank 1 with PID 0 on node vm exited on signal 9"), "{said}");
        assert!(!said.contains("Primary job"), "{said}");
        let crashed = HYDRA_SIGNAL.replace("Killed (signal 9)", "Segmentation fault (signal 11)");
        let said = shown(&format!("{other}{crashed}"), |_| {});
        assert!(said.contains("Segmentation fault (signal 11)"), "{said}");
        assert_eq!(shown(CODE, |end| end.note_failure_of(2)), "");
        assert_eq!(shown(CODE, |end| end.note_failure_of(1)), CODE);
    }

    #[test]
    fn a_program_may_draw_lines_and_print_what_launchers_say() {
        let (dashes, equals) = (DASHES, EQUALS);
        for text in [
            format!("{dashes}\n| a table |\n{dashes}\n"),
            format!("{dashes}\n{dashes}\n{dashes}\n"),
            format!("\n\n{equals}\n=   A TITLE\n{equals}\n"),
            format!("{equals}\n{HYDRA}\nand then\n"),
            format!("{dashes}\nMPI_ABORT was invoked on rank 1\n{}", "more\n".repeat(20)),
            "\n\nname? ".to_owned(),
            dashes.to_owned(),
            format!("{dashes}-\n"),
            "Abort(3) is no function\n".to_owned(),
        ] {
            let output = format!("{REPORT}{text}");
            assert_eq!(shown(&output, EndOfJob::note_report), output);
        }
    }

    #[test]
    fn what_has_no_end_of_line_is_passed_on_at_once() {
        let mut filter = BannerFilter::new(&Arc::default());
        let mut ready = Vec::new();
        filter.pass(b"\nname? ", &mut ready);
        assert_eq!(ready, b"\nname? ");
        filter.pass(b"x\r---", &mut ready);
        assert_eq!(ready, b"\nname? x\r---");
        let menu = format!("\n{DASHES}\nWhich one? ");
        filter.pass(menu.as_bytes(), &mut ready);
        assert!(ready.ends_with(menu.as_bytes()));
        filter.pass(b"2\n=====", &mut ready);
        assert!(ready.ends_with(b"2\n"), "it may be a line of the launcher");
        filter.pass(b"> 10 %", &mut ready);
        assert!(ready.ends_with(b"2\n=====> 10 %"));
    }
}
