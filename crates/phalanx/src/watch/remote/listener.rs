//! The port at which the watches of other nodes ask.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};

use super::conversation::{Answer, Conversation, Question};
use super::secret::Secret;
use crate::board::{Board, Member};
use crate::watch::{census, tell};

/// How many processes are listened to at once: the rest is turned away and may come again.
const AT_ONCE: usize = 8;

/// A port at which the watches of other nodes ask.
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Listens on a port that the system chooses.
    pub fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // A connection may be gone again before it is accepted.
        listener.set_nonblocking(true)?;
        Ok(Listener(listener))
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().map_or(0, |address| address.port())
    }

    /// Answers in threads of its own, until the result is dropped. Without the resources for it nobody is
    /// answered.
    pub fn answer(self, secret: Secret, board: &'static Board) -> Option<Answering> {
        let (ended, end) = rustix::pipe::pipe().ok()?;
        let strangers = Strangers::default();
        let its_strangers = strangers.clone();
        let thread = thread::Builder::new()
            .name("phalanx-watch-tcp".to_owned())
            .stack_size(1 << 18)
            .spawn(move || self.listen(&ended, &its_strangers, &secret, board))
            .ok()?;
        Some(Answering { end: Some(end), strangers, thread: Some(thread) })
    }

    fn listen(
        &self,
        ended: &OwnedFd,
        strangers: &Strangers,
        secret: &Secret,
        board: &'static Board,
    ) {
        loop {
            let mut ready =
                [PollFd::new(&self.0, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
            let polled = poll(&mut ready, None);
            let is_over = !ready[1].revents().is_empty();
            if is_over || polled.is_err_and(|error| error != rustix::io::Errno::INTR) {
                return;
            }
            let Ok((stream, _)) = self.0.accept() else { continue };
            let Some(stranger) = strangers.admit(&stream) else { continue };
            let secret = secret.clone();
            let serving = thread::Builder::new()
                .name("phalanx-watch-tcp".to_owned())
                .stack_size(1 << 20)
                // Who breaks off hears nothing: nothing is said of it either.
                .spawn(move || drop(serve(stream, stranger, &secret, board)));
            // Where the system has no thread left the connection is closed.
            drop(serving);
        }
    }
}

/// The connections of those who have not proved yet that they are of this job.
#[derive(Clone, Default)]
struct Strangers(Arc<Mutex<Vec<Option<TcpStream>>>>);

impl Strangers {
    /// Takes one more, if there is room for it.
    fn admit(&self, stream: &TcpStream) -> Option<Stranger> {
        // It is waited for with time limits, and not asked again and again.
        stream.set_nonblocking(false).ok()?;
        let mine = stream.try_clone().ok()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = all.iter().position(Option::is_none);
        let place = match free {
            Some(place) => place,
            None if all.len() < AT_ONCE => {
                all.push(None);
                all.len() - 1
            }
            None => return None,
        };
        all[place] = Some(mine);
        Some(Stranger { all: self.clone(), place })
    }

    /// Sends all of them away.
    fn turn_away(&self) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in all.iter().flatten() {
            // One that is gone already needs it not.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// One of them, until it is dropped.
struct Stranger {
    all: Strangers,
    place: usize,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner)[self.place] = None;
    }
}

/// The threads that answer, until it is dropped. That waits for nobody who has connected.
pub(crate) struct Answering {
    end: Option<OwnedFd>,
    strangers: Strangers,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        // The thread sees that nobody holds the other end any more.
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed; there is nothing to give back.
            let _ = thread.join();
        }
        self.strangers.turn_away();
    }
}

fn serve(stream: TcpStream, stranger: Stranger, secret: &Secret, board: &Board) -> io::Result<()> {
    let mut conversation = Conversation::accept(stream, secret)?;
    drop(stranger);
    let answer = match conversation.question()? {
        Question::DoesAnyWait => Answer::Waits(board.members.iter().any(Member::waits)),
        Question::Census => {
            let looks = census::of_node(board).into_iter();
            Answer::Census(looks.map(|look| (look.rank, look.sequence, look.seen)).collect())
        }
        Question::Tell(stuck, report) => {
            tell::tell(board, &stuck, &report);
            Answer::Done
        }
        Question::End(report, code) => {
            board.give_up_claim();
            tell::end(board, &report, code);
            Answer::Done
        }
        Question::Fails => {
            board.give_up_claim();
            Answer::Done
        }
    };
    conversation.answer(&answer)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::SocketAddr;

    use super::*;
    use crate::board::board_for_tests;

    fn listening(secret: &Secret) -> (SocketAddr, Answering) {
        let listener = Listener::open().expect("a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.port()));
        let answering = listener.answer(secret.clone(), board_for_tests()).expect("a thread");
        (address, answering)
    }

    fn connected(address: SocketAddr) -> TcpStream {
        TcpStream::connect(address).expect("it listens")
    }

    fn is_answered(address: SocketAddr, secret: &Secret) -> bool {
        let conversation = Conversation::begin(address, secret);
        let answer = conversation.and_then(|it| it.ask(&Question::DoesAnyWait));
        matches!(answer, Ok(Answer::Waits(false)))
    }

    #[test]
    fn who_knows_the_secret_is_answered_and_nobody_else() {
        let secret = Secret::new([7; 32]);
        let (address, _answering) = listening(&secret);
        // A busy machine may take longer than the watch waits.
        assert!((0..20).any(|_| is_answered(address, &secret)));
        let wrong = Secret::new([8; 32]);
        let other = Conversation::begin(address, &wrong);
        assert!(other.is_err_and(|error| error.to_string().contains("another job")));
        let mut stranger = connected(address);
        stranger.write_all(&[0; 16 + PROOF_AND_MORE]).expect("it listens");
        let mut came = Vec::new();
        // It is told a number and a proof, and then nothing: an end, or that the connection is broken.
        let _ = stranger.read_to_end(&mut came);
        assert!(came.len() <= 16 + 32, "{came:?}");
    }

    const PROOF_AND_MORE: usize = 200;

    #[test]
    fn the_end_waits_for_no_stranger_and_members_are_answered_beside_some() {
        let secret = Secret::new([7; 32]);
        let (address, answering) = listening(&secret);
        let silent: Vec<TcpStream> = (0..AT_ONCE / 2).map(|_| connected(address)).collect();
        assert!((0..20).any(|_| is_answered(address, &secret)));
        let crowd: Vec<TcpStream> = (0..4 * AT_ONCE).map(|_| connected(address)).collect();
        // None of them goes before the listener does.
        drop(answering);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
        drop((silent, crowd));
    }
}
