use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::marker::Marker;
use crate::settings::Machine;
use crate::tree::{Process, Tree};
use crate::watchdog::Watchdog;
use crate::{
    Batch, CoreTokens, Error, Family, Host, JOB_VARIABLE, Launcher, Mpi, Result, Setting,
    inherited, settings, sys,
};

/// How long a job that is to end may take to end by itself. Open MPI's mpirun needs a little more
/// than a second after the last rank.
const GRACE: Duration = Duration::from_secs(3);

/// Variable that names the folder for temporary files.
const TEMPORARY: &str = "TMPDIR";

/// Where the output of a job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// To this process's own stdout and stderr; stdin is passed on to rank 0.
    #[default]
    Inherit,
    /// Into [`Finished`]; stdin is empty.
    Capture,
    /// To whoever takes the pipes with [`RunningJob::take_pipes`]; stdin is passed on to rank 0.
    Pipe,
}

/// The standard output and the standard error of a job.
pub type Pipes = (ChildStdout, ChildStderr);

/// An MPI job to be started.
#[derive(Debug, Clone)]
pub struct Job {
    program: PathBuf,
    arguments: Vec<OsString>,
    launcher_arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    ranks: usize,
    timeout: Option<Duration>,
    launcher: Option<Launcher>,
    output: Output,
    shared: bool,
    held: Option<Arc<CoreTokens>>,
    announced: bool,
    hosts: Vec<Host>,
    labelled: bool,
    wrapped: Option<(usize, Vec<OsString>)>,
}

impl Job {
    /// A job of one rank of `program`, found on `PATH` when it is a bare name.
    pub fn new(program: impl Into<PathBuf>) -> Job {
        Job {
            program: program.into(),
            arguments: Vec::new(),
            launcher_arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            ranks: 1,
            timeout: None,
            launcher: None,
            output: Output::Inherit,
            shared: false,
            held: None,
            announced: false,
            hosts: Vec::new(),
            labelled: false,
            wrapped: None,
        }
    }

    /// How many ranks to start.
    pub fn ranks(mut self, ranks: usize) -> Job {
        self.ranks = ranks;
        self
    }

    /// Adds an argument of the program.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Job {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments of the program.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Job {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds arguments of the launcher, before the number of ranks and the program.
    pub fn launcher_args(
        mut self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Job {
        self.launcher_arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable for every rank.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Job {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The folder in which the job runs.
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Job {
        self.folder = Some(folder.into());
        self
    }

    /// Ends the job when it takes longer than this. The clock starts when the launcher does, after
    /// any wait for cores.
    pub fn timeout(mut self, timeout: Duration) -> Job {
        self.timeout = Some(timeout);
        self
    }

    /// Starts the job with this launcher, whatever the program is linked to.
    pub fn launcher(mut self, launcher: Launcher) -> Job {
        self.launcher = Some(launcher);
        self
    }

    /// Where the output goes.
    pub fn output(mut self, output: Output) -> Job {
        self.output = output;
        self
    }

    /// Shares the machine's cores with other jobs that do the same: the job waits for
    /// [`CoreTokens`] and its ranks are not bound to cores. Meant for tests.
    pub fn share_cores(mut self, shared: bool) -> Job {
        self.shared = shared;
        self
    }

    /// As [`share_cores`](Self::share_cores), on cores for which the caller has tokens already:
    /// several jobs that mostly wait may share them. The job keeps the tokens until its end.
    pub fn share_held_cores(mut self, tokens: Arc<CoreTokens>) -> Job {
        self.shared = true;
        self.held = Some(tokens);
        self
    }

    /// Says on stderr which settings are made, and why, one line each.
    pub fn announce(mut self, announced: bool) -> Job {
        self.announced = announced;
        self
    }

    /// The hosts to use, reached as the launcher does it (ssh). Without any, this one.
    pub fn hosts(mut self, hosts: impl IntoIterator<Item = Host>) -> Job {
        self.hosts.extend(hosts);
        self
    }

    /// Lets the launcher put the rank before each line of output, in its own words.
    pub fn label_output(mut self, labelled: bool) -> Job {
        self.labelled = labelled;
        self
    }

    /// Starts one rank through another program, such as a debugger: `wrapper` comes before the
    /// program and its arguments. The launcher then runs in a process group of its own, without
    /// stdin, so that the terminal belongs to who talks to that program.
    pub fn wrap_rank<W: Into<OsString>>(
        mut self,
        rank: usize,
        wrapper: impl IntoIterator<Item = W>,
    ) -> Job {
        self.wrapped = Some((rank, wrapper.into_iter().map(Into::into).collect()));
        self
    }

    /// Decides how the job would be started, without starting it.
    ///
    /// # Errors
    /// When the program is not linked to MPI, or its launcher is not found.
    pub fn plan(&self) -> Result<Plan> {
        let machine = Machine::current();
        let (launcher, mpi) = match &self.launcher {
            Some(launcher) => (launcher.clone(), None),
            None => {
                let mpi = Mpi::of_executable(resolve(&self.program))?;
                (Launcher::of(&mpi)?, Some(mpi))
            }
        };
        if self.arguments.iter().any(|argument| argument == ":") {
            return Err(Error::separator(launcher.to_string()));
        }
        let mut settings =
            settings::decide(&launcher, self.ranks, self.shared, &self.hosts, &machine);
        settings.retain(|setting| !self.environment.iter().any(|(name, _)| name == setting.name));
        // Names alone: on other hosts Open MPI's ranks see of the caller's only what is named.
        let on_other_hosts = |name: &&str| {
            const OF_PROGRAMS: [&str; 4] =
                ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE", "RUST_LOG", "LD_LIBRARY_PATH"];
            name.starts_with("PHALANX_") || OF_PROGRAMS.contains(name)
        };
        let forwarded = if self.hosts.is_empty() || launcher.is_of_batch_system() {
            Vec::new()
        } else {
            machine.environment.names().filter(on_other_hosts).map(str::to_owned).collect()
        };
        Ok(Plan {
            arguments: self.arguments(&launcher, &forwarded),
            settings,
            removed: inherited::to_remove(&machine.environment),
            batch: Batch::detect_in(&machine.environment),
            launcher,
            mpi,
        })
    }

    /// Starts the job.
    ///
    /// # Errors
    /// Those of [`Job::plan`], when `TMPDIR` names no folder and the launcher needs one, and when the launcher cannot
    /// be run.
    pub fn start(self) -> Result<RunningJob> {
        let plan = self.plan()?;
        if plan.launcher.needs_temporary_folder() {
            self.check_temporary_folder(&plan.launcher)?;
        }
        if self.announced {
            for setting in &plan.settings {
                eprintln!("phalanx: set {setting}");
            }
        }
        let tokens = match &self.held {
            Some(held) => Some(Arc::clone(held)),
            None if self.shared => Some(Arc::new(CoreTokens::acquire(self.ranks))),
            None => None,
        };
        let marker = Marker::new();
        let command = self.command(&plan, &marker);
        let collects = self.output == Output::Capture;
        RunningJob::start(command, &plan.launcher, marker, tokens, self.timeout, collects)
    }

    /// Starts the job and waits for its end or its time-out.
    ///
    /// # Errors
    /// Those of [`Job::start`]. How the job ended is in [`Finished`].
    pub fn run(self) -> Result<Finished> {
        let mut running = self.start()?;
        running.wait();
        Ok(running.finish())
    }

    /// Open MPI's launcher says of a missing folder that an "internal failure" has happened.
    fn check_temporary_folder(&self, launcher: &Launcher) -> Result<()> {
        let given = self.environment.iter().rev().find(|(name, _)| name == TEMPORARY);
        let given = given.map(|(_, value)| value.clone()).or_else(|| env::var_os(TEMPORARY));
        match given.map(PathBuf::from) {
            Some(path) if !path.as_os_str().is_empty() && !path.is_dir() => {
                Err(Error::no_temporary_folder(&path, launcher))
            }
            _ => Ok(()),
        }
    }

    /// Everything after the name of the launcher.
    fn arguments(&self, launcher: &Launcher, forwarded: &[String]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = launcher
            .arguments(self.ranks, &self.hosts, self.labelled)
            .into_iter()
            .map(OsString::from)
            .collect();
        arguments.extend(self.launcher_arguments.iter().cloned());
        // Open MPI passes other hosts only what it is told to; Hydra passes everything.
        if launcher.family() == Family::OpenMpi && !launcher.is_of_batch_system() {
            let given = self.environment.iter().map(|(name, _)| name.clone());
            for name in given.chain(forwarded.iter().map(OsString::from)) {
                arguments.extend(["-x".into(), name]);
            }
        }
        let mut first = true;
        for (count, wrapper) in self.parts() {
            if !first {
                arguments.push(":".into());
            }
            first = false;
            arguments.extend(["-n".into(), count.to_string().into()]);
            arguments.extend(wrapper.iter().cloned());
            arguments.push(self.program.clone().into());
            arguments.extend(self.arguments.iter().cloned());
        }
        arguments
    }

    /// How many ranks are started through which wrapper, in the order of ranks.
    fn parts(&self) -> Vec<(usize, &[OsString])> {
        match &self.wrapped {
            Some((rank, wrapper)) if *rank < self.ranks => {
                let parts =
                    [(*rank, [].as_slice()), (1, wrapper), (self.ranks - rank - 1, [].as_slice())];
                parts.into_iter().filter(|(count, _)| *count > 0).collect()
            }
            _ => vec![(self.ranks, &[])],
        }
    }

    fn command(&self, plan: &Plan, marker: &Marker) -> Command {
        let mut command = Command::new(plan.launcher.path());
        for name in &plan.removed {
            command.env_remove(name);
        }
        for setting in &plan.settings {
            command.env(setting.name, setting.value);
        }
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command.env(JOB_VARIABLE, marker.value()).args(&plan.arguments);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        match self.output {
            Output::Inherit => {}
            Output::Capture => {
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            }
            Output::Pipe => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        if self.wrapped.is_some() {
            command.stdin(Stdio::null()).process_group(0);
        }
        command
    }
}

/// How a job would be started.
#[derive(Debug, Clone)]
pub struct Plan {
    arguments: Vec<OsString>,
    launcher: Launcher,
    mpi: Option<Mpi>,
    settings: Vec<Setting>,
    removed: Vec<String>,
    batch: Option<Batch>,
}

impl Plan {
    /// The launcher.
    pub fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    /// What the launcher is given.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The MPI library of the program; `None` when the launcher was given by the caller.
    pub fn mpi(&self) -> Option<&Mpi> {
        self.mpi.as_ref()
    }

    /// Variables that are set for the launcher, with reasons.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Variables of a surrounding MPI job that are kept from the launcher.
    pub fn removed(&self) -> &[String] {
        &self.removed
    }

    /// The batch system that was recognised.
    pub fn batch(&self) -> Option<Batch> {
        self.batch
    }
}

/// A job that was started. Dropping it ends all of its processes.
#[derive(Debug)]
pub struct RunningJob {
    tree: Tree,
    launcher: u32,
    exit: Receiver<io::Result<ExitStatus>>,
    status: Option<ExitStatus>,
    pipes: Option<Pipes>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    started: Instant,
    timeout: Option<Duration>,
    timed_out: bool,
    watchdog: Option<Watchdog>,
    hurry: Arc<AtomicBool>,
    _tokens: Option<Arc<CoreTokens>>,
}

impl RunningJob {
    fn start(
        mut command: Command,
        launcher: &Launcher,
        marker: Marker,
        tokens: Option<Arc<CoreTokens>>,
        timeout: Option<Duration>,
        collects: bool,
    ) -> Result<RunningJob> {
        let watchdog = Watchdog::start(&marker)
            .map_err(|error| Error::io("cannot start sh to watch over the job", error))?;
        let (born, birth) = mpsc::channel();
        let (over, exit) = mpsc::channel();
        thread::Builder::new()
            .name("phalanx-launch".into())
            .spawn(move || match command.spawn() {
                Ok(mut child) => {
                    let pipes = (child.stdout.take(), child.stderr.take());
                    let _ = born.send(Ok((child.id(), pipes)));
                    let _ = over.send(wait(&mut child));
                }
                Err(error) => drop(born.send(Err(error))),
            })
            .map_err(|error| Error::io("cannot start a thread", error))?;
        let started = Instant::now();
        let (pid, (stdout, stderr)) =
            birth.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())).map_err(
                |error| Error::io(format!("cannot run {}", launcher.path().display()), error),
            )?;
        let (collected, pipes) = match (collects, stdout, stderr) {
            (true, stdout, stderr) => ((stdout, stderr), None),
            (false, Some(stdout), Some(stderr)) => ((None, None), Some((stdout, stderr))),
            (false, ..) => ((None, None), None),
        };
        Ok(RunningJob {
            tree: Tree::new(Process::with_pid(pid), marker),
            launcher: pid,
            exit,
            status: None,
            pipes,
            stdout: collected.0.map(read_all),
            stderr: collected.1.map(read_all),
            started,
            timeout,
            timed_out: false,
            watchdog: Some(watchdog),
            hurry: Arc::default(),
            _tokens: tokens,
        })
    }

    /// Process number of the launcher.
    pub fn launcher_id(&self) -> u32 {
        self.launcher
    }

    /// Passes a signal to the launcher, which passes those for programs (SIGUSR1, SIGUSR2) on to all
    /// ranks.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        sys::send_signal(self.launcher, signal)
            .map_err(|error| Error::io("cannot pass a signal to the launcher", error))
    }

    /// When this becomes true, processes that are asked to end are killed without further patience.
    pub fn hurry_when(&mut self, hurry: Arc<AtomicBool>) {
        self.hurry = hurry;
    }

    /// Process numbers of all living processes of the job, the launcher's included.
    pub fn process_ids(&self) -> Vec<u32> {
        self.tree.members().iter().map(|process| process.pid).collect()
    }

    /// Where the job's output comes out, with [`Output::Pipe`]; once.
    pub fn take_pipes(&mut self) -> Option<Pipes> {
        self.pipes.take()
    }

    /// Waits until the launcher ends (`true`) or the time is up (`false`). In the second case the
    /// job is still running: look at it, then call [`finish`](Self::finish).
    pub fn wait(&mut self) -> bool {
        self.wait_at_most(Duration::MAX)
    }

    /// Waits until the launcher ends (`true`), but not longer than `patience` nor than the job's
    /// time; whether that is up says [`is_timed_out`](Self::is_timed_out).
    pub fn wait_at_most(&mut self, patience: Duration) -> bool {
        if self.status.is_some() {
            return true;
        }
        let left = self.timeout.map(|timeout| timeout.saturating_sub(self.started.elapsed()));
        match self.exit.recv_timeout(left.map_or(patience, |left| left.min(patience))) {
            Ok(status) => self.status = status.ok(),
            Err(RecvTimeoutError::Timeout) => {
                self.timed_out = left.is_some_and(|left| left <= patience);
                return false;
            }
            Err(RecvTimeoutError::Disconnected) => {}
        }
        true
    }

    /// Whether the job has taken longer than it may.
    pub fn is_timed_out(&self) -> bool {
        self.timed_out
    }

    /// Ends whatever is left of the job, and says how it went.
    pub fn finish(mut self) -> Finished {
        let elapsed = self.started.elapsed();
        let (ended, survivors) = self.end();
        if self.status.is_none() {
            let status = self.exit.recv_timeout(GRACE);
            self.status = status.ok().and_then(|status| status.ok());
        }
        // A survivor may keep the pipes open for ever.
        let collect = |reader: Option<JoinHandle<Vec<u8>>>| match reader {
            Some(reader) if survivors.is_empty() => reader.join().unwrap_or_default(),
            _ => Vec::new(),
        };
        let (stdout, stderr) = (collect(self.stdout.take()), collect(self.stderr.take()));
        Finished {
            status: self.status,
            timed_out: self.timed_out,
            stdout,
            stderr,
            elapsed,
            ended,
            survivors,
        }
    }

    fn end(&mut self) -> (usize, Vec<u32>) {
        if self.watchdog.is_none() {
            return (0, Vec::new());
        }
        // Ranks may take a moment longer than their launcher to end by themselves.
        let ended = if self.status.is_some() && self.tree.wait_until_gone(GRACE, &self.hurry) {
            (0, Vec::new())
        } else {
            self.tree.end(GRACE, &self.hurry)
        };
        self.watchdog = None;
        ended
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a job ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// How the launcher ended; `None` when it could not be waited for.
    pub status: Option<ExitStatus>,
    /// Whether the job was ended because its time was up.
    pub timed_out: bool,
    /// What it wrote to stdout, with [`Output::Capture`].
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, with [`Output::Capture`].
    pub stderr: Vec<u8>,
    /// Time from the start of the launcher to its end or the time-out.
    pub elapsed: Duration,
    /// How many processes were still there and had to be ended.
    pub ended: usize,
    /// Process numbers of those that could not be ended.
    pub survivors: Vec<u32>,
}

impl Finished {
    /// Whether the launcher reported success before the time was up.
    pub fn success(&self) -> bool {
        !self.timed_out && self.status.is_some_and(|status| status.success())
    }
}

fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    child.wait()
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// The file that is meant: launchers disagree about names without a folder.
fn resolve(program: &Path) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_bare = program.components().count() == 1 && !program.exists();
    if let Some(found) = is_bare.then(|| on_path(program.as_os_str(), &path)).flatten() {
        return found;
    }
    // The launcher may run it from another folder.
    std::path::absolute(program).unwrap_or_else(|_| program.to_owned())
}

fn on_path(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
