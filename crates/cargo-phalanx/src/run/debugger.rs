//! One rank in a debugger.
//!
//! A launcher gives its ranks no terminal. So the rank runs in gdbserver, which waits, and gdb talks
//! to that from the terminal at which the user sits.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::print;
use crate::tools::on_path;

/// How long the ranks may take until the debugger's server listens.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Debugger {
    rank: usize,
    program: PathBuf,
    how: How,
}

enum How {
    /// The user's own command, which finds its way to the user by itself.
    Command(Vec<String>),
    Server {
        gdb: PathBuf,
        server: PathBuf,
        port: u16,
    },
}

impl Debugger {
    pub fn new(rank: usize, program: &Path, command: Option<&str>) -> Result<Debugger> {
        let program = std::path::absolute(program)?;
        let how = match command {
            Some(text) => {
                let words = shlex::split(text).filter(|words| !words.is_empty());
                How::Command(words.with_context(|| format!("--debugger `{text}` is no command"))?)
            }
            None => {
                let gdb = on_path("rust-gdb").filter(|_| on_path("gdb").is_some());
                let (Some(gdb), Some(server)) = (gdb.or(on_path("gdb")), on_path("gdbserver"))
                else {
                    bail!(
                        "--debug needs gdb and gdbserver (Debian, Ubuntu: apt install gdb gdbserver), \
                         or --debugger with a command of your own"
                    );
                };
                How::Server { gdb, server, port: free_port()? }
            }
        };
        Ok(Debugger { rank, program, how })
    }

    /// What comes before the program of that rank.
    pub fn wrapper(&self) -> Vec<OsString> {
        match &self.how {
            How::Command(words) => words.iter().map(OsString::from).collect(),
            How::Server { server, port, .. } => {
                vec![server.into(), "--once".into(), format!("127.0.0.1:{port}").into()]
            }
        }
    }

    /// Gives the terminal to the debugger, once the rank is there. `is_over` waits a moment and says
    /// whether there is no more reason to wait.
    pub fn attach(self, is_over: impl FnMut() -> bool) -> Result<Debugging> {
        let How::Server { gdb, port, .. } = &self.how else {
            print::note(format!("phalanx: rank {} is started by the debugger", self.rank));
            return Ok(Debugging(None));
        };
        let listens = wait_for_listener(*port, is_over)
            .with_context(|| format!("rank {} did not start in gdbserver", self.rank))?;
        if !listens {
            return Ok(Debugging(None));
        }
        let rank = self.rank;
        print::note(format!(
            "phalanx: rank {rank} is in the debugger, stopped before its first instruction"
        ));
        let child = Command::new(gdb)
            // The libraries are here: there is no need to read them through the connection.
            .args(["-q", "-iex", "set sysroot /"])
            .args(["-ex", &format!("target remote 127.0.0.1:{port}")])
            .arg(&self.program)
            .spawn()
            .with_context(|| format!("cannot run {}", gdb.display()))?;
        Ok(Debugging(Some(child)))
    }
}

/// A debugger at work.
pub struct Debugging(Option<Child>);

impl Debugging {
    /// Whether it has the terminal, and with it Ctrl-C.
    pub fn has_terminal(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// The job is over: waits until the user leaves the debugger.
    pub fn finish(self) {
        if let Some(mut child) = self.0 {
            // Its exit code says nothing of the job.
            let _ = child.wait();
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Waits without connecting: the server takes one connection only, and that is the debugger's.
/// `false` if the job is over before.
fn wait_for_listener(port: u16, mut is_over: impl FnMut() -> bool) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err() {
            return Ok(true);
        }
        if is_over() {
            return Ok(false);
        }
    }
    bail!("nothing listens on port {port} after {} s", PATIENCE.as_secs())
}
