//! One rank in a debugger.
//!
//! A launcher gives its ranks no terminal. So the rank runs in gdbserver, which waits, and gdb talks
//! to that from the terminal at which the user sits.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

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

    /// Gives the terminal to the debugger, once the rank is there.
    pub fn attach(self) -> Result<Debugging> {
        let How::Server { gdb, port, .. } = &self.how else {
            eprintln!("phalanx: rank {} is started by the debugger", self.rank);
            return Ok(Debugging(None));
        };
        wait_for_listener(*port)
            .with_context(|| format!("rank {} did not start in gdbserver", self.rank))?;
        eprintln!("phalanx: rank {} is in the debugger, before its first line", self.rank);
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
fn wait_for_listener(port: u16) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("nothing listens on port {port} after {} s", PATIENCE.as_secs())
}
