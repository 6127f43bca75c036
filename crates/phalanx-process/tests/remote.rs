//! Objects of this process, as processes use them that only know its address and the key.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use phalanx_process::remote::{Client, Key, Options, Server};
use phalanx_process::{ErrorKind, ManagedMap, ManagedVec, Namespace, Process, Queue};

type Where = (SocketAddr, Key);

fn server() -> (Server, Key) {
    let key = Key::random().unwrap();
    (Server::bind("127.0.0.1:0", key.clone()).unwrap(), key)
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn use_everything((address, key): Where) {
    let client = Client::connect(address, key).unwrap();
    let map = client.map::<String, Vec<u64>>("map").unwrap();
    assert_eq!(map.insert("a".into(), vec![1]).unwrap(), None);
    assert_eq!(map.insert("a".into(), vec![2]).unwrap(), Some(vec![1]));
    assert_eq!(map.get("a").unwrap(), Some(vec![2]));
    assert_eq!(map.get("b").unwrap(), None);
    assert_eq!(map.update("a", |v| v.push(3)).unwrap(), Some(()));
    assert_eq!(map.update("b", |v| v.push(3)).unwrap(), None);
    assert_eq!(map.keys().unwrap(), ["a"]);
    assert_eq!(map.to_vec().unwrap(), [("a".to_owned(), vec![2, 3])]);
    assert_eq!(map.len().unwrap(), 1);
    assert_eq!(map.remove("a").unwrap(), Some(vec![2, 3]));
    assert_eq!(map.remove("a").unwrap(), None);
    let large = vec![7; 100_000];
    map.insert("large".into(), large.clone()).unwrap();
    assert_eq!(map.get("large").unwrap(), Some(large));

    let list = client.vec::<String>("list").unwrap();
    list.push("x".into()).unwrap();
    list.push("y".into()).unwrap();
    list.set(0, "z".into()).unwrap();
    assert_eq!(list.set(5, "z".into()).unwrap_err().kind(), ErrorKind::Argument);
    assert_eq!(list.update(1, |item| item.push('!')).unwrap(), Some(()));
    assert_eq!(list.to_vec().unwrap(), ["z", "y!"]);
    assert_eq!(list.pop().unwrap().as_deref(), Some("y!"));
    assert_eq!((list.get(0).unwrap().as_deref(), list.get(1).unwrap()), (Some("z"), None));
    assert_eq!(list.len().unwrap(), 1);

    let names = client.namespace("names").unwrap();
    names.set("n", &4_u32).unwrap();
    assert_eq!(names.update("n", |n: &mut u32| *n += 1).unwrap(), Some(()));
    assert_eq!(names.get::<u32>("n").unwrap(), Some(5));
    assert_eq!(names.get::<String>("n").unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(names.names().unwrap(), ["n"]);
    assert!(names.remove("n").unwrap());

    let queue = client.queue::<u32>("queue").unwrap();
    assert_eq!(queue.try_get().unwrap(), None);
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert_eq!((queue.len().unwrap(), queue.get().unwrap()), (2, 1));
    assert_eq!(queue.get_timeout(Duration::from_secs(5)).unwrap(), Some(2));
    assert_eq!(queue.get_timeout(Duration::from_millis(20)).unwrap(), None);
    queue.put(3).unwrap();
    queue.close().unwrap();
    assert!(queue.put(4).unwrap_err().is_closed());
    assert_eq!(queue.get().unwrap(), 3);
    assert!(queue.get().unwrap_err().is_closed());

    let wrong = client.queue::<String>("queue").unwrap_err();
    assert!(wrong.is_refused() && wrong.to_string().contains("Queue<u32>"), "{wrong}");
    assert_eq!(client.vec::<u8>("none").unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
fn another_process_uses_all_objects() {
    let (server, key) = server();
    let map: ManagedMap<String, Vec<u64>> = ManagedMap::new().unwrap();
    let list: ManagedVec<String> = ManagedVec::new().unwrap();
    let (queue, names) = (Queue::<u32>::new().unwrap(), Namespace::new().unwrap());
    server.serve_map("map", &map).unwrap();
    server.serve_vec("list", &list).unwrap();
    server.serve_queue("queue", &queue).unwrap();
    server.serve_namespace("names", &names).unwrap();
    assert_eq!(server.serve_vec("list", &list).unwrap_err().kind(), ErrorKind::State);
    Process::spawn(use_everything, (server.local_addr(), key)).unwrap().join().unwrap();
    assert_eq!(map.get("large").unwrap().unwrap().len(), 100_000);
    assert_eq!(list.to_vec().unwrap(), ["z"]);
}

#[test]
fn a_wrong_key_is_refused_on_both_sides() {
    let (server, key) = server();
    let error = Client::connect(server.local_addr(), Key::random().unwrap()).unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("key"), "{error}");
    eventually("the server counts it", || server.refused() == 1);
    assert!(server.last_refusal().unwrap().contains("key"));
    Client::connect(server.local_addr(), key).unwrap();
}

#[test]
fn updates_of_three_clients_are_all_counted() {
    let (server, key) = server();
    let map = ManagedMap::new().unwrap();
    map.insert("n".to_owned(), 0_u64).unwrap();
    server.serve_map("map", &map).unwrap();
    let work = |(address, key): Where| {
        let map = Client::connect(address, key).unwrap().map::<String, u64>("map").unwrap();
        for _ in 0..100 {
            map.update("n", |n| *n += 1).unwrap();
        }
    };
    let at = (server.local_addr(), key);
    let clients = [(); 3].map(|()| Process::spawn(work, at.clone()).unwrap());
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(map.get("n").unwrap(), Some(300));
}

#[test]
fn a_killed_client_takes_nothing_with_it() {
    let (server, key) = server();
    let queue: Queue<u32> = Queue::new().unwrap();
    let started: Queue<()> = Queue::new().unwrap();
    server.serve_queue("queue", &queue).unwrap();
    let work = |((address, key), started): (Where, Queue<()>)| {
        let queue = Client::connect(address, key).unwrap().queue::<u32>("queue").unwrap();
        started.put(()).unwrap();
        queue.get().unwrap();
    };
    let at = (server.local_addr(), key.clone());
    let process = Process::spawn(work, (at, started.clone())).unwrap();
    started.get().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    process.kill().unwrap();
    assert!(process.join().is_err());
    queue.put(1).unwrap();
    let client = Client::connect(server.local_addr(), key).unwrap();
    let remote = client.queue::<u32>("queue").unwrap();
    assert_eq!(remote.get_timeout(Duration::from_secs(20)).unwrap(), Some(1));
}

#[test]
fn a_client_finds_a_server_that_was_started_again() {
    let (server, key) = server();
    let list = ManagedVec::from_items([1]).unwrap();
    server.serve_vec("list", &list).unwrap();
    let address = server.local_addr();
    let remote = Client::connect(address, key.clone()).unwrap().vec::<i32>("list").unwrap();
    remote.push(2).unwrap();
    server.stop();
    assert!(remote.len().unwrap_err().is_closed());
    let server = Server::bind(address, key).unwrap();
    server.serve_vec("list", &list).unwrap();
    remote.push(3).unwrap();
    assert_eq!(remote.to_vec().unwrap(), [1, 2, 3]);
}

#[test]
fn a_waiting_client_notices_that_its_server_stops() {
    let (server, key) = server();
    let queue: Queue<u32> = Queue::new().unwrap();
    server.serve_queue("queue", &queue).unwrap();
    let remote = Client::connect(server.local_addr(), key).unwrap().queue::<u32>("queue").unwrap();
    let waiting = std::thread::spawn(move || remote.get());
    std::thread::sleep(Duration::from_millis(50));
    server.stop();
    assert!(waiting.join().unwrap().unwrap_err().is_closed());
}

#[test]
fn what_is_too_long_is_refused_and_the_next_call_works() {
    let (server, key) = server();
    let list = ManagedVec::from_items(["x".repeat(100_000)]).unwrap();
    server.serve_vec("list", &list).unwrap();
    let options = Options { max_message: 10_000, ..Options::default() };
    let client = Client::connect_with(server.local_addr(), key, options).unwrap();
    let remote = client.vec::<String>("list").unwrap();
    assert_eq!(remote.push("y".repeat(20_000)).unwrap_err().kind(), ErrorKind::Argument);
    assert!(remote.get(0).unwrap_err().is_refused());
    assert_eq!(remote.len().unwrap(), 1);
}

#[test]
fn hostile_bytes_do_not_stop_the_server() {
    let (server, key) = server();
    let list = ManagedVec::from_items([1]).unwrap();
    server.serve_vec("list", &list).unwrap();
    let mut random = 0x5eed_u64;
    for round in 0..200_usize {
        let mut stream = TcpStream::connect(server.local_addr()).unwrap();
        let bytes: Vec<u8> = (0..round * 3)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 40) as u8
            })
            .collect();
        if round % 2 == 0 {
            let _refused = stream.write_all(&(bytes.len() as u16).to_le_bytes());
        }
        let _refused = stream.write_all(&bytes);
        if round % 4 == 0 && round > 0 {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let _answer = stream.read(&mut [0; 16]);
        }
    }
    let client = Client::connect(server.local_addr(), key).unwrap();
    assert_eq!(client.vec::<i32>("list").unwrap().to_vec().unwrap(), [1]);
    assert!(server.refused() > 0);
}

#[test]
fn a_key_comes_back_from_its_file_which_only_its_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("phalanx-key-{}", std::process::id()));
    let key = Key::random().unwrap();
    key.save(&path).unwrap();
    assert_eq!(Key::load(&path).unwrap(), key);
    assert!(key.save(&path).is_err());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(Key::load(&path).unwrap_err().kind(), ErrorKind::System);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Key::from_hex("00").unwrap_err().kind(), ErrorKind::Argument);
}

#[test]
#[ignore = "measures: cargo test --release -p phalanx-process --features remote --test remote -- --ignored --nocapture"]
fn calls_per_second() {
    let (server, key) = server();
    let map = ManagedMap::new().unwrap();
    map.insert("n".to_owned(), 0_u64).unwrap();
    server.serve_map("map", &map).unwrap();
    let work = |(address, key): Where| {
        let map = Client::connect(address, key).unwrap().map::<String, u64>("map").unwrap();
        let measure = |what: &str, call: &dyn Fn()| {
            let (start, mut calls) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_millis(1500) {
                call();
                calls += 1;
            }
            println!("{what}: {:.0} a second", f64::from(calls) / start.elapsed().as_secs_f64());
        };
        measure("get", &|| assert!(map.get("n").unwrap().is_some()));
        measure("update", &|| map.update("n", |n| *n += 1).unwrap().unwrap());
    };
    Process::spawn(work, (server.local_addr(), key)).unwrap().join().unwrap();
}
