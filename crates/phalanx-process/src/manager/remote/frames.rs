//! Messages in encrypted frames.
//!
//! A frame is its length, two bytes, and a message of Noise. A message of ours begins with its length, eight bytes,
//! and goes through as many frames as it needs. Memory for it is taken as its bytes come, never as its length says.

use std::io::{ErrorKind as Io, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::{RecvFlags, sockopt};
use snow::{Builder, HandshakeState, TransportState};

use super::key::Key;
use crate::sys::{Deadline, SLICE};

/// The longest frame of Noise, and what its authentication takes of it.
const FRAME: usize = 65_535;
const TAG: usize = 16;
const HEADER: usize = 2;
/// The longest frame before the other side has proven its key.
const UNPROVEN: usize = 256;
const LENGTH: usize = 8;
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"phalanx-process remote 1";
/// How long a dead peer stays unnoticed.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Why there is no message.
#[derive(Debug)]
pub enum Broken {
    /// The connection has ended, or failed.
    Ended(String),
    TimedOut,
    /// The other side has another key, or sent what it must not.
    Refused(&'static str),
}

const WRONG_KEY: &str = "its key is another one";

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Broken::Ended(error.to_string())
    }
}

/// Cuts bytes into frames.
pub struct Cutter {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
}

impl Cutter {
    pub fn new() -> Cutter {
        Cutter { buffer: vec![0; 2 * UNPROVEN], start: 0, end: 0, limit: UNPROVEN }
    }

    /// The other side has proven its key.
    fn trust(&mut self) {
        self.limit = FRAME;
    }

    /// The first frame, if it is complete.
    fn next(&mut self) -> Result<Option<&[u8]>, Broken> {
        let waiting = &self.buffer[self.start..self.end];
        let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes(*header));
        if length > self.limit {
            return Err(Broken::Refused("a frame is too long"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let begin = self.start + HEADER;
        self.start = begin + length;
        Ok(Some(&self.buffer[begin..begin + length]))
    }

    /// Where more bytes go.
    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let longer = (2 * self.buffer.len()).min(self.limit + HEADER);
            self.buffer.resize(longer.max(self.end + 1), 0);
        }
        &mut self.buffer[self.end..]
    }

    fn filled(&mut self, count: usize) {
        self.end += count;
    }
}

/// Puts the contents of frames together.
#[derive(Default)]
pub struct Assembler {
    message: Vec<u8>,
}

impl Assembler {
    /// Whether the message is complete with this.
    fn add(&mut self, content: &[u8], limit: usize) -> Result<bool, Broken> {
        self.message.extend_from_slice(content);
        let Some(length) = self.message.first_chunk::<LENGTH>() else { return Ok(false) };
        let length = u64::from_le_bytes(*length);
        if length > limit as u64 {
            return Err(Broken::Refused("a message is too long"));
        }
        match (self.message.len() - LENGTH).cmp(&(length as usize)) {
            std::cmp::Ordering::Less => Ok(false),
            std::cmp::Ordering::Equal => Ok(true),
            std::cmp::Ordering::Greater => Err(Broken::Refused("a message is longer than it says")),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let mut message = std::mem::take(&mut self.message);
        message.drain(..LENGTH);
        message
    }
}

/// A connection with encryption.
pub struct Connection {
    stream: TcpStream,
    cutter: Cutter,
    assembler: Assembler,
    cipher: TransportState,
    max_message: usize,
    plain: Vec<u8>,
    frames: Vec<u8>,
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    // Everybody who waits looks around after a slice.
    stream.set_read_timeout(Some(SLICE))?;
    stream.set_write_timeout(Some(SLICE))?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(3))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    sockopt::set_tcp_user_timeout(stream, SILENCE.as_millis() as u32)?;
    Ok(())
}

fn is_slice(error: &std::io::Error) -> bool {
    matches!(error.kind(), Io::WouldBlock | Io::TimedOut | Io::Interrupted)
}

fn read_more(
    stream: &mut TcpStream,
    cutter: &mut Cutter,
    deadline: Deadline,
    go_on: &dyn Fn() -> bool,
) -> Result<(), Broken> {
    loop {
        // Also when bytes come, one by one.
        if deadline.has_passed() {
            return Err(Broken::TimedOut);
        }
        match stream.read(cutter.room()) {
            Ok(0) => return Err(Broken::Ended("the other side has ended the connection".into())),
            Ok(count) => {
                cutter.filled(count);
                return Ok(());
            }
            Err(error) if is_slice(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if !go_on() {
            return Err(Broken::Ended("it was stopped".into()));
        }
    }
}

fn write_all(stream: &mut TcpStream, mut bytes: &[u8], deadline: Deadline) -> Result<(), Broken> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(Broken::Ended("nothing can be written".into())),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_slice(&error) => {
                if deadline.has_passed() {
                    return Err(Broken::TimedOut);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wrong_key(_: snow::Error) -> Broken {
    Broken::Refused(WRONG_KEY)
}

fn handshake(key: &Key, starts: bool) -> Result<HandshakeState, snow::Error> {
    let builder = Builder::new(PATTERN.parse()?).psk(0, key.as_bytes())?.prologue(PROLOGUE)?;
    if starts { builder.build_initiator() } else { builder.build_responder() }
}

impl Connection {
    /// Connects the two sides, each of which proves that it has the key: the one that starts by its next message.
    pub fn new(
        mut stream: TcpStream,
        key: &Key,
        starts: bool,
        max_message: usize,
        deadline: Deadline,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Connection, Broken> {
        prepare(&stream)?;
        let mut state = handshake(key, starts).map_err(wrong_key)?;
        let mut cutter = Cutter::new();
        for turn in 0..2 {
            if starts == (turn == 0) {
                let mut frame = [0; UNPROVEN];
                let length = state.write_message(&[], &mut frame[HEADER..]).map_err(wrong_key)?;
                frame[..HEADER].copy_from_slice(&(length as u16).to_le_bytes());
                write_all(&mut stream, &frame[..HEADER + length], deadline)?;
                continue;
            }
            let proven = loop {
                let Some(frame) = cutter.next()? else {
                    read_more(&mut stream, &mut cutter, deadline, go_on)?;
                    continue;
                };
                break state.read_message(frame, &mut [0; UNPROVEN]);
            };
            if proven.is_err() {
                if !starts {
                    // An empty frame tells the client why.
                    let _gone = write_all(&mut stream, &[0; HEADER], deadline);
                }
                return Err(Broken::Refused(WRONG_KEY));
            }
        }
        let cipher = state.into_transport_mode().map_err(wrong_key)?;
        if starts {
            cutter.trust();
        }
        let (plain, frames) = (Vec::new(), Vec::new());
        let assembler = Assembler::default();
        Ok(Connection { stream, cutter, assembler, cipher, max_message, plain, frames })
    }

    /// Sends a message.
    pub fn send(&mut self, message: &[u8], deadline: Deadline) -> Result<(), Broken> {
        let length = (message.len() as u64).to_le_bytes();
        let mut rest = message;
        let mut first = true;
        while first || !rest.is_empty() {
            let head: &[u8] = if first { &length } else { &[] };
            let (now, later) = rest.split_at(rest.len().min(FRAME - TAG - head.len()));
            self.plain.clear();
            self.plain.extend_from_slice(head);
            self.plain.extend_from_slice(now);
            self.frames.resize(HEADER + self.plain.len() + TAG, 0);
            let written = self
                .cipher
                .write_message(&self.plain, &mut self.frames[HEADER..])
                .map_err(|error| Broken::Ended(error.to_string()))?;
            self.frames[..HEADER].copy_from_slice(&(written as u16).to_le_bytes());
            write_all(&mut self.stream, &self.frames[..HEADER + written], deadline)?;
            (rest, first) = (later, false);
        }
        Ok(())
    }

    /// Receives a message. Each frame that comes may take as long as `patience`; a deadline there is not, because a
    /// long message takes long.
    pub fn receive(
        &mut self,
        patience: Option<Duration>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, Broken> {
        let until = || patience.map_or(Deadline::NEVER, Deadline::after);
        let mut deadline = until();
        loop {
            let Some(frame) = self.cutter.next()? else {
                read_more(&mut self.stream, &mut self.cutter, deadline, go_on)?;
                continue;
            };
            self.plain.resize(frame.len(), 0);
            let length = self.cipher.read_message(frame, &mut self.plain).map_err(wrong_key)?;
            self.cutter.trust();
            if self.assembler.add(&self.plain[..length], self.max_message)? {
                return Ok(self.assembler.take());
            }
            deadline = until();
        }
    }

    /// Whether the other side has ended the connection.
    pub fn has_ended(&self) -> bool {
        let mut byte = [0_u8; 1];
        match rustix::net::recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, count)) => count == 0,
            Err(error) => {
                error != rustix::io::Errno::WOULDBLOCK && error != rustix::io::Errno::INTR
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{Reader, Request};
    use super::*;

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn bytes(&mut self, most: u64) -> Vec<u8> {
            (0..self.next() % most).map(|_| self.next() as u8).collect()
        }
    }

    /// Feeds so many frames, most of which are nearly right.
    fn feed(frames: u64) {
        const LIMIT: usize = 4096;
        let mut random = Random(0x5eed);
        let (mut cutter, mut assembler) = (Cutter::new(), Assembler::default());
        let mut good = 0;
        for round in 0..frames {
            let mut content = random.bytes(120);
            if random.next().is_multiple_of(2) && content.len() >= LENGTH {
                let length = (content.len() - LENGTH) as u64 + random.next() % 3;
                content[..LENGTH].copy_from_slice(&length.to_le_bytes());
            }
            let length = if random.next().is_multiple_of(16) {
                random.next() as u16
            } else {
                content.len() as u16
            };
            let sent = [&length.to_le_bytes()[..], &content].concat();
            let mut rest = &sent[..];
            'sent: while !rest.is_empty() {
                let room = cutter.room();
                let count = room.len().min(rest.len());
                room[..count].copy_from_slice(&rest[..count]);
                cutter.filled(count);
                rest = &rest[count..];
                loop {
                    let added = match cutter.next() {
                        Ok(Some(frame)) => assembler.add(frame, LIMIT),
                        Ok(None) => break,
                        Err(_) => {
                            cutter = Cutter::new();
                            break 'sent;
                        }
                    };
                    match added {
                        Ok(true) => {
                            drop(assembler.take());
                            good += 1;
                        }
                        Ok(false) => {}
                        Err(_) => assembler = Assembler::default(),
                    }
                    assert!(assembler.message.capacity() <= 2 * (LIMIT + FRAME));
                }
                assert!(cutter.buffer.len() <= 2 * UNPROVEN + HEADER);
            }
            if round % 2 == 0 && !content.is_empty() {
                content[0] %= 16;
                for at in [17, 25, 33] {
                    if let Some(number) = content.get_mut(at..at + 8) {
                        number.copy_from_slice(&(random.next() % 20).to_le_bytes());
                    }
                }
            }
            if let Some(request) = Request::decode(&content) {
                let mut again = Vec::new();
                request.encode(&mut again);
                assert_eq!(again, content);
            }
            let mut reader = Reader(&content);
            while reader.bytes().is_some() {}
        }
        assert!(good > 0);
    }

    #[test]
    fn hostile_frames_and_requests_are_refused_without_a_panic() {
        feed(200_000);
    }

    #[test]
    #[ignore = "takes long: cargo test -p phalanx-process --features remote --lib -- --ignored"]
    fn a_million_hostile_frames() {
        feed(1_000_000);
    }
}
