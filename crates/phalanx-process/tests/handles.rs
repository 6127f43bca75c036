//! Handles that travel: an object lives for as long as somebody has a handle, or one is on its way.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use phalanx_process::bytemuck::{self, Pod};
use phalanx_process::{
    Lock, Pool, Process, Queue, Receiver, RwLock, Sender, Shared, SharedArray, one_way,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Result<T, E = phalanx_process::Error> = std::result::Result<T, E>;

/// Hands handles on for a while, and says whether all of them were good.
fn hand_on(carrier: &Queue<Queue<u32>>, time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        let inner = carrier.get()?;
        carrier.put(inner.clone())?;
        drop(inner);
    }
    Ok(())
}

fn carrier_of_one_queue(messages: usize) -> Result<Queue<Queue<u32>>> {
    let carrier = Queue::new()?;
    let inner = Queue::new()?;
    inner.put(7)?;
    for _ in 0..messages {
        carrier.put(inner.clone())?;
    }
    Ok(carrier)
}

#[test]
fn threads_that_drop_and_receive_handles_to_one_object_keep_it() -> Result<()> {
    let carrier = carrier_of_one_queue(2)?;
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let carrier = carrier.clone();
            std::thread::spawn(move || hand_on(&carrier, Duration::from_secs(2)))
        })
        .collect();
    for thread in threads {
        thread.join().expect("it does not panic")?;
    }
    assert_eq!(carrier.get()?.get()?, 7);
    Ok(())
}

#[test]
fn processes_that_drop_and_receive_handles_to_one_object_keep_it() -> Result<()> {
    let carrier = carrier_of_one_queue(2)?;
    let work = |carrier: Queue<Queue<u32>>| {
        hand_on(&carrier, Duration::from_secs(2)).map_err(|error| error.to_string())
    };
    let processes: Vec<_> =
        (0..3).map(|_| Process::spawn(work, carrier.clone())).collect::<Result<_>>()?;
    for process in processes {
        assert_eq!(process.join()?, Ok(()));
    }
    assert_eq!(carrier.get()?.get()?, 7);
    Ok(())
}

/// A value of a type that has the same name as others, which are larger or smaller.
macro_rules! value_of_same_name {
    ($numbers:literal) => {{
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        struct Same([u64; $numbers]);
        // SAFETY: it is an array of numbers.
        unsafe impl bytemuck::Zeroable for Same {}
        // SAFETY: as above.
        unsafe impl bytemuck::Pod for Same {}
        Same([1; $numbers])
    }};
}

/// Is encoded as one type, and decoded as another.
struct Changing<A, B>(Option<A>, Option<B>);

impl<A: Serialize, B> Serialize for Changing<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().expect("it was made of one").serialize(serializer)
    }
}

impl<'de, A, B: Deserialize<'de>> Deserialize<'de> for Changing<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Changing(None, Some(B::deserialize(deserializer)?)))
    }
}

#[test]
fn a_value_is_not_taken_for_a_larger_one_whose_type_has_the_same_name() -> Result<()> {
    fn larger<A: Pod, B: Pod>(small: A, _large: B) -> Result<()> {
        assert_eq!(std::any::type_name::<A>(), std::any::type_name::<B>());
        let way = Queue::<Changing<Shared<A>, Shared<B>>>::new()?;
        way.put(Changing(Some(Shared::new(small)?), None))?;
        let got = way.get().and_then(|changed| changed.1.expect("it was decoded").get());
        assert!(got.is_err(), "it has read {} bytes", size_of::<B>());

        let way = Queue::<Changing<SharedArray<A>, SharedArray<B>>>::new()?;
        way.put(Changing(Some(SharedArray::new(&[small; 3])?), None))?;
        let got = way.get().and_then(|changed| changed.1.expect("it was decoded").to_vec());
        assert!(got.is_err(), "it has read {} values of {} bytes", 3, size_of::<B>());
        Ok(())
    }
    larger(value_of_same_name!(1), value_of_same_name!(4096))
}

#[test]
fn a_guard_that_is_leaked_does_not_keep_others_from_making_locks() -> Result<()> {
    let lock = Lock::new()?;
    std::mem::forget(lock.lock()?);
    drop(lock);
    // This thread lives on, and with it the guard.
    let others = std::thread::spawn(|| (0..10).map(|_| Lock::new()).collect::<Result<Vec<_>>>());
    let others = others.join().expect("it does not panic")?;
    for lock in &others {
        assert!(lock.try_lock()?.is_some());
    }
    Ok(())
}

#[test]
fn a_value_whose_encoding_panics_does_not_keep_the_handles_in_it() -> Result<()> {
    struct Panics(Sender<u32>);
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let _sent = self.0.serialize(serializer);
            panic!("in the middle");
        }
    }
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Sender::deserialize(deserializer).map(Panics)
        }
    }
    let (sender, receiver) = one_way()?;
    let queue = Queue::new()?;
    let put = std::panic::catch_unwind(AssertUnwindSafe(|| queue.put(Panics(sender))));
    assert!(put.is_err());
    // Nobody can send any more.
    assert!(receiver.recv_timeout(Duration::from_secs(5)).is_err());
    Ok(())
}

#[test]
fn a_guard_that_is_leaked_says_nothing_about_a_later_lock() -> Result<()> {
    for _ in 0..3 {
        let lock = RwLock::new()?;
        std::mem::forget(lock.read()?);
        drop(lock);
    }
    let lock = RwLock::new()?;
    drop(lock.write()?);
    Ok(())
}

/// Everybody who could send is gone.
fn is_over<T: serde::de::DeserializeOwned + 'static>(receiver: &Receiver<T>) -> bool {
    receiver.recv_timeout(Duration::from_secs(5)).is_err()
}

#[test]
fn handles_in_what_a_pool_was_given_go_when_it_is_done() -> Result<()> {
    let pool = Pool::new(2)?;
    let answer = |(sender, x): (Sender<u64>, u64)| sender.send(x).expect("somebody listens");
    let (sender, receiver) = one_way()?;
    pool.submit(answer, (sender, 1))?.get()?;
    assert_eq!(receiver.recv()?, 1);
    assert!(is_over(&receiver), "after submit");

    let (sender, receiver) = one_way()?;
    pool.map(answer, (0..20).map(|x| (sender.clone(), x)))?;
    drop(sender);
    assert_eq!((0..20).map(|_| receiver.recv()).sum::<Result<u64>>()?, 190);
    assert!(is_over(&receiver), "after map");

    let (sender, receiver) = one_way()?;
    let cancelled = pool.submit(answer, (sender, 1))?;
    let _in_time = cancelled.cancel();
    assert!(receiver.iter().count() <= 1, "after cancel");

    let (sender, receiver) = one_way()?;
    let pool = Pool::builder().workers(1).initializer(answer, (sender, 3)).start()?;
    assert_eq!(receiver.recv()?, 3);
    assert_eq!(pool.map(|x: u32| x, [1])?, [1]);
    drop(pool);
    assert!(is_over(&receiver), "after the end of a pool");
    Ok(())
}

#[test]
fn handles_in_what_the_calls_of_a_job_share_go_with_the_workers_that_have_it() -> Result<()> {
    let pool = Pool::new(1)?;
    let (sender, receiver) = one_way()?;
    let answer = |sender: &Sender<u64>, x: u64| sender.send(x).expect("somebody listens");
    pool.map_with(&sender, answer, 0..5)?;
    drop(sender);
    drop(pool);
    assert_eq!(receiver.iter().count(), 5);
    Ok(())
}

#[test]
fn handles_in_items_that_nobody_gets_go_with_their_queue() -> Result<()> {
    for length in [1, 10_000] {
        let requests = Queue::<(String, Sender<u32>)>::new()?;
        let (sender, receiver) = one_way()?;
        requests.put(("x".repeat(length), sender))?;
        let server = |_: Queue<(String, Sender<u32>)>| std::thread::park();
        let server = Process::spawn(server, requests.clone())?;
        drop(requests);
        server.kill()?;
        assert!(is_over(&receiver));

        let queue = Queue::new()?;
        let (sender, receiver) = one_way()?;
        queue.put(("x".repeat(length), sender))?;
        let (text, sender) = queue.get()?;
        sender.send(text.len() as u32)?;
        drop(sender);
        assert_eq!(receiver.recv()?, length as u32);
        assert!(is_over(&receiver));
    }
    Ok(())
}
