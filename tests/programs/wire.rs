//! A bad cable between two hosts that are namespaces: loses packets and takes its time.
//!
//! `wire PROCESS LOSS DELAY`, for instance `wire 4711 0.2 50`: makes a network device `eth0` in the namespace
//! in which it is started and one in that of the process, and passes packets on between them, LOSS of them
//! not, the others DELAY milliseconds later. Says `ready` when both are there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// `TUNSETIFF` of Linux.
const SET_INTERFACE: libc::c_ulong = 0x4004_54ca;
/// Packets without a link layer and without a header of the device's own.
const FLAGS: libc::c_short = 0x1001;
/// The largest packet.
const LARGEST: usize = 65_536;

/// What `TUNSETIFF` takes: a name and flags, as long as `struct ifreq`.
#[repr(C)]
struct Interface {
    name: [u8; 16],
    flags: libc::c_short,
    rest: [u8; 22],
}

fn device() -> io::Result<File> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut interface = Interface { name: [0; 16], flags: FLAGS, rest: [0; 22] };
    interface.name[..4].copy_from_slice(b"eth0");
    // SAFETY: the argument is a structure of the size that the call reads and writes.
    match unsafe { libc::ioctl(device.as_raw_fd(), SET_INTERFACE, &raw mut interface) } {
        0 => Ok(device),
        _ => Err(io::Error::last_os_error()),
    }
}

fn enter(process: &str) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{process}/ns/net"))?;
    // SAFETY: an open namespace; only this thread moves there.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Passes packets on from one device to the other.
fn pass(mut from: File, mut to: File, loss: f64, delay: Duration, seed: u64) {
    let (late, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (time, packet) in due {
            thread::sleep(time.saturating_duration_since(Instant::now()));
            // A host whose device is down takes nothing, like a real one.
            let _ = to.write(&packet);
        }
    });
    let mut random = fastrand::Rng::with_seed(seed);
    let mut packet = vec![0; LARGEST];
    while let Ok(length) = from.read(&mut packet) {
        if random.f64() >= loss
            && late.send((Instant::now() + delay, packet[..length].to_vec())).is_err()
        {
            return;
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(process), Some(Ok(loss)), Some(Ok(delay))) = (
        arguments.first(),
        arguments.get(1).map(|it| it.parse::<f64>()),
        arguments.get(2).map(|it| it.parse::<u64>()),
    ) else {
        eprintln!("usage: wire PROCESS LOSS DELAY, as in: wire 4711 0.2 50");
        return ExitCode::from(2);
    };
    let devices = device().and_then(|here| {
        enter(process)?;
        Ok((here, device()?))
    });
    let (here, there) = match devices {
        Ok(devices) => devices,
        Err(error) => {
            eprintln!("error: no network device: {error}");
            return ExitCode::FAILURE;
        }
    };
    let delay = Duration::from_millis(delay);
    let copy = |device: &File| device.try_clone().expect("another handle of a device");
    let (back_from, back_to) = (copy(&there), copy(&here));
    thread::spawn(move || pass(back_from, back_to, loss, delay, 2));
    println!("ready");
    pass(here, there, loss, delay, 1);
    ExitCode::SUCCESS
}
