//! Starts, ends, panics and leaves in the way that its argument names. `lifecycle.rs` starts it.

use std::cell::RefCell;
use std::env;
use std::io::Write as _;
use std::os::raw::{c_int, c_void};
use std::panic;
use std::process::{self, Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use phalanx::prelude::*;
use phalanx::{Request, Result, Threading};

#[allow(dead_code, reason = "`refused.rs` uses the rest")]
#[path = "operations.rs"]
mod operations;

fn main() -> ExitCode {
    let mode = env::args().nth(1).expect("a mode");
    match mode.as_str() {
        "busy-at-the-end" => {
            phalanx::run_with(Threading::Multiple, |world| busy(&world, Threading::Multiple))
        }
        "busy-at-the-end-serialized" => {
            phalanx::run_with(Threading::Serialized, |world| busy(&world, Threading::Serialized))
        }
        "stuck-at-the-end" => phalanx::run_with(Threading::Multiple, |world| stuck(&world)),
        "finalize-refused" => finalize_refused(),
        "finalize-elsewhere" => finalize_elsewhere(),
        "refused-and-dropped" => refused_and_dropped(),
        "free-refused" => phalanx::run(|world| free_refused(&world)),
        "two-starts" => two_starts(),
        "init" => init(),
        "hello" => phalanx::run(|world| println!("rank {} of {}", world.rank(), world.size())),
        "inside" => phalanx::run(|world| inside(&world)),
        "guest-outlives" => guest_outlives(),
        "closure-drops" => phalanx::run(|world| closure_drops(&world)),
        "closure-captures" => phalanx::run(closure_captures),
        "closure-panics" => phalanx::run(|world| closure_panics(&world)),
        "panic-in-drop" => phalanx::run(|world| panic_in_drop(&world, "the cleanup failed, too")),
        "same-panic-in-drop" => phalanx::run(|world| panic_in_drop(&world, "the real cause")),
        "panic-in-callback" => phalanx::run(|world| panic_in_callback(&world)),
        "abort-after-panic" => phalanx::run(|world| abort_after_panic(&world)),
        "abort-after-caught-panic" => phalanx::run(|world| -> Result<()> {
            if world.rank() == 0 {
                assert!(panic::catch_unwind(|| panic!("not the cause")).is_err());
                process::abort();
            }
            world.barrier()
        }),
        "exit-while-stdout-is-locked" => exit_while_locked(Threading::Funneled),
        "exit-while-stdout-is-locked-multiple" => exit_while_locked(Threading::Multiple),
        "exit-before" => phalanx::run(|_world| -> Result<()> { process::exit(0) }),
        "exit-after" => phalanx::run(|world| -> Result<()> {
            world.barrier()?;
            process::exit(0)
        }),
        "arguments" => phalanx::run(|world| arguments(&world)),
        "arguments-before" => {
            let steps = phalanx::parse_arguments(parse);
            phalanx::run(move |world| world.barrier().map(|()| println!("{steps} steps")))
        }
        "dropped-receives" => phalanx::run(|world| dropped_receives(&world)),
        "dropped-objects" => phalanx::run(|world| dropped_objects(&world)),
        "received-typed" => phalanx::run(|world| received_typed(&world)),
        "objects-in-a-destructor" => {
            phalanx::run_with(Threading::Multiple, |world| objects_in_a_destructor(&world))
        }
        "too-long-to-cancel" => phalanx::run(|world| too_long_to_cancel(&world)),
        "refused-then-stuck" => phalanx::run(|world| refused_then_stuck(&world)),
        "no-such-rank" => phalanx::run(|world| world.send(&1, 1)),
        "before-run" => before_run(),
        "many-communicators" => phalanx::run(|world| many_communicators(&world)),
        other => panic!("there is no mode `{other}`"),
    }
}

/// Other threads go on calling when the main one is through.
fn busy(world: &Comm, level: Threading) -> Result<()> {
    if phalanx::threading() < level {
        println!("not granted");
        return Ok(());
    }
    let turn = std::sync::Arc::new(Mutex::new(()));
    let (say, hear) = mpsc::channel();
    for tag in 0..3 {
        let (alone, turn, say) = (world.self_comm()?, turn.clone(), say.clone());
        thread::spawn(move || {
            for round in 0_u64.. {
                let _turn = (level == Threading::Serialized).then(|| turn.lock());
                match alone.sendrecv(&[round; 100], to(0).tag(tag), from(0).tag(tag)) {
                    Ok(came) => assert_eq!(came, [round; 100]),
                    Err(error) => {
                        assert!(error.is_state(), "{error}");
                        println!("refused: {}", error.detail());
                        return;
                    }
                }
                if round == 10 {
                    say.send(()).expect("the main thread waits");
                }
            }
        });
    }
    (0..3).try_for_each(|_| hear.recv()).expect("all threads are busy");
    // No turn is taken: the end comes at any moment. At the level Serialized it may meet a call.
    Ok(())
}

/// Another thread waits for a message that never comes.
fn stuck(world: &Comm) -> Result<()> {
    if phalanx::threading() < Threading::Multiple {
        println!("not granted");
        process::exit(0);
    }
    let alone = world.self_comm()?;
    let (say, hear) = mpsc::channel();
    thread::spawn(move || {
        say.send(()).expect("the main thread waits");
        println!("it waits at {}:{}:", file!(), line!() + 1);
        let _ = alone.recv::<u8>(from(0).tag(5));
    });
    hear.recv().expect("the thread has started");
    // The line is printed before the call begins.
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// What is refused is not consumed, and has no effect.
fn finalize_refused() -> ExitCode {
    let session = phalanx::init(Threading::Funneled).expect("MPI starts");
    let world = session.world().clone();
    let elsewhere = thread::scope(|s| s.spawn(|| session.finalize()).join().expect("no panic"));
    if phalanx::threading() <= Threading::Multiple {
        let error = elsewhere.expect_err("another thread");
        assert!(error.is_thread(), "{error}");
    }
    world.barrier().expect("MPI still runs");
    assert!(phalanx::world().is_some());
    session.finalize().expect("MPI ends");
    assert!(session.finalize().expect_err("a second end").is_state());
    println!("done");
    ExitCode::SUCCESS
}

fn finalize_elsewhere() -> ExitCode {
    let session = phalanx::init(Threading::Multiple).expect("MPI starts");
    let elsewhere = thread::scope(|s| s.spawn(|| session.finalize()).join().expect("no panic"));
    let error = elsewhere.expect_err("another thread than the one that has initialised MPI");
    assert!(error.is_thread() && error.detail().contains("that initialised"), "{error}");
    session.world().barrier().expect("MPI still runs");
    session.finalize().expect("MPI ends");
    println!("done");
    ExitCode::SUCCESS
}

fn refused_and_dropped() -> ExitCode {
    let session = phalanx::init(Threading::Multiple).expect("MPI starts");
    let refused = thread::scope(|s| s.spawn(|| session.finalize()).join().expect("no panic"));
    assert!(refused.is_err());
    drop(session);
    ExitCode::SUCCESS
}

fn free_refused(world: &Comm) -> Result<()> {
    let copy = world.dup()?;
    let clone = copy.clone();
    let error = copy.free().expect_err("there is a clone");
    assert!(error.is_in_use(), "{error}");
    let copy = error.into_comm().expect("it is given back");
    drop(clone);
    copy.barrier()?;
    let copy = if phalanx::threading() <= Threading::Funneled {
        let error = thread::spawn(move || copy.free()).join().expect("no panic");
        let error = error.expect_err("another thread");
        assert!(error.is_thread(), "{error}");
        error.into_comm().expect("it is given back")
    } else {
        copy
    };
    copy.barrier()?;
    copy.free()?;
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let clone = ring.clone();
    let comm = ring.free().expect_err("there is a clone").into_comm().expect("it is given back");
    drop(clone);
    comm.barrier()?;
    comm.free()?;
    assert!(world.send(&1, world.size()).expect_err("no such rank").into_comm().is_none());
    println!("done");
    Ok(())
}

fn two_starts() -> ExitCode {
    let together = Barrier::new(2);
    let sessions: Vec<_> = thread::scope(|s| {
        let starts: Vec<_> = (0..2)
            .map(|_| {
                s.spawn(|| {
                    together.wait();
                    phalanx::init(Threading::Multiple)
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().expect("no panic")).collect()
    });
    let number = sessions.iter().filter(|session| session.is_ok()).count();
    for error in sessions.iter().filter_map(|session| session.as_ref().err()) {
        assert!(error.is_state(), "{error}");
    }
    println!("{number} session");
    // The thread that initialised MPI is gone: the job is ended, not finalized.
    process::exit(0)
}

fn init() -> ExitCode {
    match phalanx::init(Threading::Funneled) {
        Ok(session) => {
            println!("started");
            session.finalize().expect("MPI ends");
        }
        Err(error) => println!("goes on without MPI: {error}"),
    }
    ExitCode::SUCCESS
}

/// Rank 0 starts this program once more, as a process.
fn inside(world: &Comm) -> Result<()> {
    if world.rank() == world.size() - 1 {
        let program = env::current_exe().expect("this program");
        let output = Command::new(program).arg("hello").output().expect("a process");
        println!("code {:?}", output.status.code());
        print!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    world.barrier()
}

fn guest_outlives() -> ExitCode {
    let mut kept = None;
    let code = phalanx::run(|world| -> Result<()> {
        let theirs = world.to_rsmpi()?;
        assert_eq!(mpi::traits::Communicator::size(&*theirs) as usize, world.size());
        drop(theirs);
        kept = Some(world.to_rsmpi()?);
        Ok(())
    });
    drop(kept);
    println!("done");
    code
}

/// The closure of a dropped reduction drops a request, and makes a call, which is refused.
fn closure_drops(world: &Comm) -> Result<()> {
    static HELD: Mutex<Option<Request<u8>>> = Mutex::new(None);
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    let me = world.rank();
    *HELD.lock().expect("no panic") = Some(world.issend(1_u8, to(me).tag(9))?);
    let inner = world.clone();
    let reduction = world.iallreduce(
        vec![1_u64; 100],
        op(move |a: u64, b: u64| {
            CALLED.fetch_add(1, Ordering::Relaxed);
            drop(HELD.lock().expect("no panic").take());
            assert!(inner.isend(0_u8, None).is_err_and(|error| error.is_thread()));
            a + b
        }),
    )?;
    drop(reduction);
    // Some rank combines, in the time of its own calls.
    let is_called = || world.allreduce(&CALLED.load(Ordering::Relaxed), Sum);
    while world.size() > 1 && is_called()? == 0 {
        drop(world.isend(0_u8, None)?);
    }
    assert_eq!(world.recv::<u8>(from(me).tag(9))?, 1);
    drop(HELD.lock().expect("no panic").take());
    world.barrier()?;
    println!("done");
    Ok(())
}

/// Reduces when it is dropped.
struct Reduces(Comm);

impl Drop for Reduces {
    fn drop(&mut self) {
        let sum = self.0.allreduce(&1_u64, op(|a: u64, b: u64| a + b)).expect("a sum");
        assert_eq!(sum as usize, self.0.size());
    }
}

fn closure_captures(world: Comm) -> Result<()> {
    let captured = Reduces(world.clone());
    let add = move |a: u64, b: u64| {
        let _ = &captured;
        a + b
    };
    assert_eq!(world.allreduce(&1_u64, op(add))? as usize, world.size());
    println!("done");
    Ok(())
}

fn closure_panics(world: &Comm) -> Result<()> {
    let reduction = world.iallreduce(
        vec![1_u64; 4],
        op(|a: u64, b: u64| if a + b > 0 { panic!("the table is full") } else { a }),
    )?;
    drop(reduction);
    world.barrier()
}

struct PanicsInDrop(&'static str);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

fn panic_in_drop(world: &Comm, second: &'static str) -> Result<()> {
    if world.rank() == 0 {
        let _guard = PanicsInDrop(second);
        panic!("the real cause");
    }
    world.barrier()
}

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    panic!("the real cause: index 7 of 5")
}

fn panic_in_callback(world: &Comm) -> Result<()> {
    if world.rank() == 0 {
        let mut numbers = [3, 1, 2];
        // SAFETY: the array has three elements of four bytes. The comparison ends the process.
        unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 3, 4, Some(compare)) };
    }
    world.barrier()
}

/// The process ends by a signal while a panic is under way, in a way that no hook sees.
fn abort_after_panic(world: &Comm) -> Result<()> {
    struct Aborts;
    impl Drop for Aborts {
        fn drop(&mut self) {
            process::abort();
        }
    }
    if world.rank() == 0 {
        let _guard = Aborts;
        panic!("the real cause");
    }
    world.barrier()
}

fn exit_while_locked(level: Threading) -> ExitCode {
    phalanx::run_with(level, |world| -> Result<()> {
        if world.rank() == 1 {
            let mut out = std::io::stdout().lock();
            writeln!(out, "results as they come").expect("an open output");
            thread::spawn(|| process::exit(3));
            writeln!(out, "{}", world.recv::<u8>(0)?).expect("an open output");
        } else {
            let _: u8 = world.recv(1)?;
        }
        Ok(())
    })
}

/// A parser as `clap` has them: it prints and leaves.
fn parse() -> u32 {
    match env::args().nth(2).as_deref() {
        Some("--help") => {
            println!("Usage: life STEPS");
            process::exit(0)
        }
        Some(text) => text.parse().unwrap_or_else(|_| {
            eprintln!("error: invalid value '{text}' for STEPS");
            process::exit(2)
        }),
        None => 1,
    }
}

fn arguments(world: &Comm) -> Result<()> {
    let steps = phalanx::parse_arguments(parse);
    world.barrier()?;
    println!("{steps} steps");
    Ok(())
}

/// Receives that nobody waits for any more: one that nothing has matched, and one that has its message.
fn dropped_receives(world: &Comm) -> Result<()> {
    let me = world.rank();
    // Posted first, and dropped: the message goes to the second.
    let first = world.irecv_into([0_u8; 4], from(me).tag(1))?;
    let second = world.irecv_into([0_u8; 4], from(me).tag(1))?;
    drop(first);
    world.send(&[1_u8; 4], to(me).tag(1))?;
    assert_eq!(second.wait()?.0, [1; 4]);
    // The same where the receive after it blocks, and of any length.
    drop(world.irecv_at_most::<Vec<u8>>(4, from(me).tag(2))?);
    let sending = world.isend([2_u8; 4], to(me).tag(2))?;
    assert_eq!(world.recv::<Vec<u8>>(from(me).tag(2))?, [2; 4]);
    sending.wait()?;
    // The message is sent before this one is dropped: the library may have matched the two, or not.
    let line = line!() + 1;
    let receiving = world.irecv_into([0_u8; 4], from(me).tag(3))?;
    world.send(&[3_u8; 3], to(me).tag(3))?;
    drop(receiving);
    world.barrier()?;
    // What is still there is found when the library has looked often enough.
    let mut found = None;
    for _ in 0..1000 {
        found = found.or(world.try_probe(from(me).tag(3))?);
    }
    match found {
        Some(message) => assert_eq!(message.recv::<Vec<u8>>()?, [3; 3]),
        None => println!("taken at {}:{line}:", file!()),
    }
    Ok(())
}

/// The same for objects: a short one, and one of which the first message says how long it is.
fn dropped_objects(world: &Comm) -> Result<()> {
    let me = world.rank();
    drop(world.irecv_object::<String>(from(me).tag(1))?);
    for (tag, letters) in [(2, 3), (3, 1_000_000)] {
        let line = line!() + 1;
        let receiving = world.irecv_object::<String>(from(me).tag(tag))?;
        let sending = world.isend_object(&"a".repeat(letters), to(me).tag(tag))?;
        drop(receiving);
        let mut found = None;
        for _ in 0..1000 {
            found = found.or(world.try_probe(from(me).tag(tag))?);
        }
        match found {
            Some(message) => assert_eq!(message.recv_object::<String>()?.len(), letters),
            None => println!("taken at {}:{line}: {letters} letters", file!()),
        }
        sending.wait()?;
    }
    // What it takes is no object.
    let receiving = world.irecv_object::<String>(from(me).tag(4))?;
    let sending = world.isend([1_u8; 20_000], to(me).tag(4))?;
    drop(receiving);
    let mut found = None;
    for _ in 0..1000 {
        found = found.or(world.try_probe(from(me).tag(4))?);
    }
    match found {
        Some(message) => assert_eq!(message.recv::<Vec<u8>>()?, [1; 20_000]),
        None => println!("of another kind"),
    }
    sending.wait()?;
    world.barrier()
}

/// A long object is received as elements: the program handles the error, and what follows is nobody's.
fn received_typed(world: &Comm) -> Result<()> {
    if world.rank() == 0 {
        world.send_object(&vec![1_u8; 1_000_000], 1)
    } else {
        assert!(world.recv::<Vec<u8>>(0).is_err());
        Ok(())
    }
}

/// A thread whose last words are objects, when its thread-local values are dropped.
fn objects_in_a_destructor(world: &Comm) -> Result<()> {
    struct Last(Comm);

    impl Drop for Last {
        fn drop(&mut self) {
            let me = self.0.rank();
            let words = vec![me as u8; 100_000];
            let sending = self.0.isend_object("first", to(me).tag(3)).expect("it is sent");
            assert_eq!(self.0.recv_object::<String>(from(me).tag(3)).expect("it comes"), "first");
            sending.wait().expect("it has left");
            self.0.send_object(&words, to(0).tag(1)).expect("it is sent");
        }
    }

    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    let comm = world.clone();
    let thread = thread::spawn(move || {
        LAST.replace(Some(Last(comm.clone())));
        // What the library keeps for the thread is made later, and dropped earlier.
        comm.send_object(&comm.rank(), to(0).tag(2)).expect("it is sent");
    });
    if world.rank() == 0 {
        for rank in 0..world.size() {
            assert_eq!(world.recv_object::<usize>(from(rank).tag(2))?, rank);
            let words: Vec<u8> = world.recv_object(from(rank).tag(1))?;
            assert_eq!(words, vec![rank as u8; 100_000]);
        }
    }
    thread.join().expect("no panic");
    Ok(())
}

/// A receive that has a message which is too long is told so, and is over.
fn too_long_to_cancel(world: &Comm) -> Result<()> {
    if world.rank() == 0 {
        world.send(&[1_u8; 100], 1)?;
        return world.barrier();
    }
    let receiving = world.irecv_into([0_u8; 4], 0)?;
    world.barrier()?;
    for _ in 0..1000 {
        assert!(world.try_probe(from(0).tag(9))?.is_none());
    }
    assert!(receiving.cancel().is_err_and(|error| error.is_truncated()));
    Ok(())
}

/// Refused calls and drops on another thread, and then two ranks that wait for each other.
fn refused_then_stuck(world: &Comm) -> Result<()> {
    let things = operations::Things::new(world)?;
    let data = vec![1.0; 12];
    let view = phalanx::Strided::column(&data, 4, 1)?;
    let request = world.irecv_into([0_u8; 4], from(world.rank()).tag(9))?;
    thread::scope(|s| {
        s.spawn(|| {
            for (operation, result) in operations::attempts(&things) {
                assert!(result.is_err(), "{operation}");
            }
            drop((view, request));
        });
    });
    world.barrier()?;
    world.recv::<u8>(1 - world.rank()).map(drop)
}

fn before_run() -> ExitCode {
    println!("{}", phalanx::processor_name().expect_err("MPI does not run"));
    ExitCode::SUCCESS
}

fn many_communicators(world: &Comm) -> Result<()> {
    let result = (0..3000).try_for_each(|_| world.dup().map(drop));
    match result {
        Ok(()) => println!("not limited"),
        Err(error) => println!("{error}"),
    }
    // Another one would be needed for nothing that follows.
    Ok(())
}
