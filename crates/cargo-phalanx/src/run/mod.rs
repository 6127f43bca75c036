//! `cargo phalanx run`: builds a program and starts it on several ranks.

mod debugger;
mod labels;
mod left;
mod outcome;
mod output;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstream::AutoStream;
use anstream::stream::RawStream;
use anyhow::{Context as _, Result, bail};
use clap::ColorChoice;
use clap::builder::Resettable::Reset;
use phalanx_launch::{
    Batch, EndOfJob, Family, Finished, Host, Job, Launcher, Output, Plan, RunningJob,
};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;

use crate::folders::short;
use crate::project::Selection;
use crate::tools::Tools;
use crate::values::{self, Mpi};
use crate::{FAILURE, print};
use debugger::{Debugger, Debugging};
use left::Left;
use outcome::ReportedCodes;
use output::Relay;

/// Exit code of a job whose time was up, as that of timeout(1).
const TIMED_OUT: u8 = 124;

/// Build a program and run it on several ranks
///
/// The launcher is the one that belongs to the MPI that the program is linked to; inside a job of
/// Slurm or Flux it is srun or flux run. The settings that the machine needs are made, and shown in one
/// line each. The exit code is that of the first rank that fails (128 and the number of a signal; 124
/// after a time-out, 130 after Ctrl-C).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo phalanx run -n 4 --release --bin pi -- --steps 1000000
  cargo phalanx run --example ring --tag-output --timeout 30s
  cargo phalanx run --hosts node1:8,node2:8 --program target/release/heat
  cargo phalanx run -n 4 --debug 2")]
pub struct Arguments {
    /// Number of ranks [default: all slots of the hosts, of the batch job, or cores of this machine]
    #[arg(short = 'n', long, value_name = "N", value_parser = values::ranks, allow_hyphen_values = true)]
    ranks: Option<usize>,
    /// Run this program, without building
    #[arg(long, value_name = "PATH", conflicts_with_all = ["bin", "example", "package"])]
    program: Option<PathBuf>,
    /// Build with the MPI of this family
    #[arg(long, value_enum, default_value = "any")]
    mpi: Mpi,
    /// Hosts to use, with the number of ranks on each (default 1): node1:4,node2:4
    #[arg(long, value_name = "HOST[:N],…", value_delimiter = ',')]
    hosts: Vec<Host>,
    /// Begin each line of output with its rank, in a colour for each rank
    #[arg(long)]
    tag_output: bool,
    /// When to use colours: in the ranks' reports, and for the ranks of --tag-output
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    /// Time limit of the job: 90s, 0.5s, 5m, 1h30m. The ranks are then told to end, and say where they are
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,
    /// Print the command that would start the job, without starting it
    #[arg(long)]
    dry_run: bool,
    /// Start this rank in a debugger on this terminal
    #[arg(long, value_name = "RANK", conflicts_with = "hosts")]
    debug: Option<usize>,
    /// Debugger to use instead of gdb, for example "xterm -e gdb --args"
    #[arg(long, value_name = "COMMAND", requires = "debug")]
    debugger: Option<String>,
    /// Additional argument for the launcher; may be given several times
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    launcher_arg: Vec<OsString>,
    /// Do not show the launcher and the settings
    #[arg(short, long)]
    quiet: bool,
    /// Show the launcher's messages about the end of the job, too
    #[arg(short, long)]
    verbose: bool,
    // Last, because the headings in it count for all options after it.
    #[command(flatten)]
    selection: Selection,
    /// Arguments for the program, after --
    #[arg(last = true, value_name = "ARGUMENTS", help_heading = Reset)]
    arguments: Vec<OsString>,
}

/// Whether the ranks, which write to a pipe, are to colour their reports. `None` leaves it to their environment.
fn colours_of_reports(choice: ColorChoice, stderr: &impl RawStream) -> Option<&'static str> {
    match choice {
        ColorChoice::Always => Some("always"),
        ColorChoice::Never => Some("never"),
        ColorChoice::Auto => {
            (AutoStream::choice(stderr) != anstream::ColorChoice::Never).then_some("always")
        }
    }
}

pub fn execute(arguments: Arguments) -> Result<ExitCode> {
    let say = |line: &str| {
        if !arguments.quiet {
            print::note(format!("phalanx: {line}"));
        }
    };
    let program = match &arguments.program {
        // A name without a folder would be looked up on PATH.
        Some(program) => std::path::absolute(program)?,
        None => build(&arguments, &say)?,
    };
    let (launcher, family) = launcher_for(&program, &say)?;
    let ranks = arguments.ranks.unwrap_or_else(|| default_ranks(&arguments.hosts));
    let mut job = Job::new(program.clone())
        .launcher(launcher.clone())
        .ranks(ranks)
        .hosts(arguments.hosts.iter().cloned())
        .label_output(arguments.tag_output)
        .launcher_args(arguments.launcher_arg.iter())
        .args(arguments.arguments.iter());
    if let Some(colours) = colours_of_reports(arguments.color, &io::stderr()) {
        job = job.env("PHALANX_COLOR", colours);
    }
    let hydra = family == Family::Mpich && !launcher.is_of_batch_system();
    if hydra {
        job = job.launcher_args(["-print-all-exitcodes"]);
    }
    if let Some(timeout) = arguments.timeout {
        job = job.timeout(timeout);
    }
    let debugger = match arguments.debug {
        Some(rank) if rank >= ranks => {
            bail!("--debug {rank}: a job of {ranks} ranks has ranks 0 to {}", ranks - 1)
        }
        Some(_) if launcher.is_of_batch_system() => {
            bail!("--debug does not work with {launcher}: run it outside of the batch job")
        }
        Some(rank) => {
            let debugger = Debugger::new(rank, &program, arguments.debugger.as_deref())?;
            job = job.wrap_rank(rank, debugger.wrapper());
            Some(debugger)
        }
        None => None,
    };

    let plan = job.plan().map_err(anyhow::Error::new)?;
    if arguments.dry_run {
        print::out(format!("{}\n", command_line(&plan)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "launcher {} ({launcher}), {ranks} {}",
        launcher.path().display(),
        if ranks == 1 { "rank" } else { "ranks" }
    ));
    for setting in plan.settings() {
        say(&format!("set {setting}"));
    }
    let codes = if hydra {
        ReportedCodes::by_hydra()
    } else if launcher.is_of_batch_system() && plan.batch() == Some(Batch::Slurm) {
        ReportedCodes::by_srun()
    } else {
        ReportedCodes::nothing()
    };
    // A debugger of the user's own may need the terminal. Open MPI, whose ranks have one of their own anyway, says
    // all by its exit code; but when the output pipe closes (`| head`), it crashes.
    let piped = debugger.is_none()
        || arguments.tag_output
        || hydra
        || launcher.is_of_batch_system()
        || !io::stdout().is_terminal();
    job = job.output(if piped { Output::Pipe } else { Output::Inherit });
    let is_local = arguments.hosts.is_empty() && !launcher.is_of_batch_system();
    let left = (is_local && debugger.is_none()).then(|| Left::new(&program, ranks));
    start(job, &codes, debugger, left, &arguments)
}

fn build(arguments: &Arguments, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let here = arguments.selection.build.folders()?;
    // Before the search for tools, so that a wrong name is reported at once.
    let metadata = arguments.selection.build.metadata()?;
    let tools = Tools::find(arguments.mpi, &here);
    if let Ok(tools) = &tools {
        tools.news(&here).iter().for_each(|line| say(line));
    }
    match (arguments.selection.build(&metadata, tools.as_ref().ok()), tools) {
        (Ok(program), _) => Ok(program),
        (Err(error), Err(missing)) => {
            Err(error.context(format!("{missing:#}\n`cargo phalanx setup` installs it")))
        }
        (Err(error), Ok(_)) => Err(error),
    }
}

/// The launcher of the program, and the family of its MPI.
fn launcher_for(program: &Path, say: &dyn Fn(&str)) -> Result<(Launcher, Family)> {
    if !program.is_file() {
        bail!("no program `{}`", program.display());
    }
    let mpi = phalanx_launch::Mpi::of_executable(program).map_err(anyhow::Error::new)?;
    if let Some(batch) = Batch::detect() {
        match Launcher::of_batch(batch, &mpi) {
            Ok(Some(launcher)) => return Ok((launcher, mpi.family())),
            Ok(None) => {}
            Err(why) => {
                say(&format!("inside a job of {batch}, but {why}: using the launcher of the MPI"))
            }
        }
    }
    let launcher = Launcher::of(&mpi)
        .with_context(|| format!("{} is linked to {}", short(program), mpi.library().display()))?;
    Ok((launcher, mpi.family()))
}

fn default_ranks(hosts: &[Host]) -> usize {
    if !hosts.is_empty() {
        return Host::all_slots(hosts);
    }
    // How batch systems say how many ranks a job has room for.
    let number = |name: &str| std::env::var(name).ok()?.parse().ok().filter(|ranks| *ranks > 0);
    let given = match Batch::detect() {
        Some(Batch::Slurm) => number("SLURM_NTASKS"),
        Some(Batch::Lsf) => number("LSB_DJOB_NUMPROC"),
        Some(Batch::GridEngine) => number("NSLOTS"),
        Some(Batch::Pbs) => std::env::var("PBS_NODEFILE")
            .and_then(|path| {
                std::fs::read_to_string(path).map_err(|_| std::env::VarError::NotPresent)
            })
            .ok()
            .map(|text| text.lines().count())
            .filter(|ranks| *ranks > 0),
        _ => None,
    };
    given.unwrap_or_else(phalanx_launch::physical_cores)
}

/// The command as a shell would take it.
fn command_line(plan: &Plan) -> Result<String> {
    let mut words: Vec<String> = Vec::new();
    if !plan.removed().is_empty() || !plan.settings().is_empty() {
        words.push("env".to_owned());
        words.extend(plan.removed().iter().flat_map(|name| ["-u".to_owned(), name.clone()]));
        let setting =
            |setting: &phalanx_launch::Setting| format!("{}={}", setting.name, setting.value);
        words.extend(plan.settings().iter().map(setting));
    }
    words.push(plan.launcher().path().display().to_string());
    for argument in plan.arguments() {
        words.push(argument.to_str().context("an argument is not valid UTF-8")?.to_owned());
    }
    Ok(shlex::try_join(words.iter().map(String::as_str))?)
}

fn start(
    job: Job,
    codes: &Arc<ReportedCodes>,
    debugger: Option<Debugger>,
    left: Option<Left>,
    arguments: &Arguments,
) -> Result<ExitCode> {
    let signals = Signals::watch()?;
    let mut running = job.start().map_err(anyhow::Error::new)?;
    let end = Arc::new(EndOfJob::default());
    let relay = running.take_pipes().map(|(stdout, stderr)| {
        let form = (arguments.tag_output, arguments.color);
        Relay::start(stdout, stderr, form, codes, (!arguments.verbose).then_some(&end))
    });
    let is_over = || running.wait_at_most(TICK) || running.is_timed_out() || signals.is_told();
    let mut debugging = debugger.map(|debugger| debugger.attach(is_over)).transpose()?;
    let mut watch = Watch { signals: &signals, relay: relay.as_ref(), left };
    let told_to_end = watch.wait(&mut running, debugging.as_mut());
    if told_to_end.is_some() || running.is_timed_out() {
        end.note_order();
    }
    // From now on Ctrl-C means: at once.
    running.hurry_when(Arc::clone(&signals.interrupt));
    let finished = running.finish();
    let unheard = relay.and_then(|relay| relay.finish(finished.survivors.is_empty()));
    let told_to_end = told_to_end.or_else(|| unheard.as_ref().map(cannot_be_heard));
    if let Some(debugging) = debugging {
        debugging.finish();
    }
    Ok(ExitCode::from(exit_code(&finished, told_to_end, codes, arguments.timeout)))
}

/// How often is looked for a reason to end the job.
const TICK: Duration = Duration::from_millis(50);

/// What may end a job before it ends by itself.
struct Watch<'a> {
    signals: &'a Signals,
    relay: Option<&'a Relay>,
    left: Option<Left>,
}

impl Watch<'_> {
    /// Waits for the end of the job, its time, or a reason to end it: then the exit code.
    fn wait(
        &mut self,
        running: &mut RunningJob,
        mut debugging: Option<&mut Debugging>,
    ) -> Option<u8> {
        let signals = self.signals;
        loop {
            if running.wait_at_most(TICK) || running.is_timed_out() {
                return None;
            }
            // In a debugger, Ctrl-C is the debugger's.
            let has_terminal = debugging.as_mut().is_some_and(|it| it.has_terminal());
            if signals.interrupt.swap(false, Ordering::Relaxed) && !has_terminal {
                print::note("phalanx: interrupted: ending the job (Ctrl-C again ends it at once)");
                return Some(130);
            }
            if signals.terminate.load(Ordering::Relaxed) {
                print::note("phalanx: terminated: ending the job");
                return Some(143);
            }
            for (flag, signal) in [(&signals.user1, SIGUSR1), (&signals.user2, SIGUSR2)] {
                if flag.swap(false, Ordering::Relaxed) {
                    // A launcher that is gone is noticed above.
                    let _ = running.signal(signal);
                }
            }
            if let Some(error) = self.relay.and_then(Relay::failure) {
                return Some(cannot_be_heard(&error));
            }
            if let Some(left) = &mut self.left {
                left.look(running);
            }
        }
    }
}

/// The exit code of a job whose output cannot be passed on.
fn cannot_be_heard(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return print::PIPE_CLOSED;
    }
    print::note(format!("phalanx: the output of the job cannot be written: {error}"));
    FAILURE
}

fn exit_code(
    finished: &Finished,
    interrupted: Option<u8>,
    codes: &ReportedCodes,
    timeout: Option<Duration>,
) -> u8 {
    if !finished.survivors.is_empty() {
        let left = &finished.survivors;
        print::note(format!("phalanx: these processes could not be ended: {left:?}"));
    }
    if let Some(code) = interrupted {
        return code;
    }
    if finished.timed_out {
        let time = timeout.unwrap_or_default().as_secs_f64();
        print::note(format!(
            "phalanx: the job was ended after its time limit of {time} s (--timeout)"
        ));
        return TIMED_OUT;
    }
    outcome::code(finished.status, codes)
}

/// Flags that signals set.
#[derive(Default)]
struct Signals {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    user1: Arc<AtomicBool>,
    user2: Arc<AtomicBool>,
}

impl Signals {
    /// Whether somebody wants the job to end.
    fn is_told(&self) -> bool {
        [&self.interrupt, &self.terminate].iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    fn watch() -> Result<Signals> {
        let signals = Signals::default();
        let flags = [
            (SIGINT, &signals.interrupt),
            (SIGTERM, &signals.terminate),
            (SIGUSR1, &signals.user1),
            (SIGUSR2, &signals.user2),
        ];
        for (signal, set) in flags {
            flag::register(signal, Arc::clone(set)).context("cannot watch for signals")?;
        }
        Ok(signals)
    }
}
