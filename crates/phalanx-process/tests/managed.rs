//! Lists, maps and namespaces that processes share.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use phalanx_process::{ManagedMap, ManagedVec, Namespace, Process, Queue, Result};
use serde::{Deserialize, Serialize, Serializer};

#[test]
fn a_list_does_what_a_vec_does() -> Result<()> {
    let list = ManagedVec::new()?;
    let mut model: Vec<String> = Vec::new();
    let item = |x: usize| format!("{x}").repeat(x % 9);
    for x in 0..2000 {
        let at = (x * 7919) % (model.len() + 1);
        match x % 11 {
            0..=4 => {
                list.push(item(x))?;
                model.push(item(x));
            }
            5 => {
                list.insert(at, item(x))?;
                model.insert(at, item(x));
            }
            6 => assert_eq!(list.pop()?, model.pop()),
            7 if at < model.len() => assert_eq!(list.remove(at)?, model.remove(at)),
            8 if at < model.len() => {
                list.swap(at, 0)?;
                model.swap(at, 0);
            }
            9 if at < model.len() => {
                list.set(at, item(x))?;
                model[at] = item(x);
            }
            10 if at < model.len() => {
                assert_eq!(
                    list.update(at, |item| {
                        item.push('!');
                        item.len()
                    })?,
                    {
                        model[at].push('!');
                        model[at].len()
                    }
                );
            }
            _ => {
                list.extend([item(x), item(x + 1)])?;
                model.extend([item(x), item(x + 1)]);
            }
        }
        assert_eq!(list.len(), model.len());
        assert_eq!(list.get(at)?.as_ref(), model.get(at));
    }
    assert_eq!(list.to_vec()?, model);
    assert!(list.iter()?.eq(model.clone()));
    list.update_all(|items| items.sort_by_key(|item| std::cmp::Reverse(item.len())))?;
    model.sort_by_key(|item| std::cmp::Reverse(item.len()));
    assert_eq!(list.to_vec()?, model);
    list.clear()?;
    assert!(list.is_empty() && list.to_vec()?.is_empty());
    list.push("again".to_owned())?;
    assert_eq!(list.pop()?.as_deref(), Some("again"));
    assert_eq!(list.pop()?, None);
    Ok(())
}

#[test]
fn what_is_not_in_a_list_is_an_error_with_its_length() -> Result<()> {
    let list = ManagedVec::from_items([1, 2])?;
    assert_eq!(list.get(2)?, None);
    for error in [
        list.set(2, 0).unwrap_err(),
        list.remove(2).map(drop).unwrap_err(),
        list.update(2, |_| ()).unwrap_err(),
        list.swap(0, 2).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("no item 2") && text.contains("has 2"), "{text}");
        assert!(text.contains("managed.rs"), "{text}");
    }
    assert!(list.insert(3, 0).is_err());
    list.insert(2, 3)?;
    assert_eq!(list.to_vec()?, [1, 2, 3]);
    Ok(())
}

#[test]
fn a_map_does_what_a_hash_map_does() -> Result<()> {
    let map: ManagedMap<String, Vec<u32>> = ManagedMap::new()?;
    let mut model: HashMap<String, Vec<u32>> = HashMap::new();
    for x in 0..4000_u32 {
        let key = format!("key {}", x.wrapping_mul(2_654_435_761) % 700);
        let value = vec![x; x as usize % 5];
        match x % 5 {
            0 | 1 => {
                assert_eq!(map.insert(key.clone(), value.clone())?, model.insert(key, value));
            }
            2 => assert_eq!(map.remove(key.as_str())?, model.remove(&key)),
            3 => {
                let grown = map.update(&key, |value| {
                    value.push(x);
                    value.len()
                })?;
                assert_eq!(
                    grown,
                    model.get_mut(&key).map(|value| {
                        value.push(x);
                        value.len()
                    })
                );
            }
            _ => {
                map.update_or(&key, vec![7], |value| value.push(x))?;
                model.entry(key).or_insert_with(|| vec![7]).push(x);
            }
        }
        assert_eq!(map.len(), model.len());
    }
    for x in 0..700 {
        let key = format!("key {x}");
        assert_eq!(map.get(&key)?.as_ref(), model.get(&key));
        assert_eq!(map.contains_key(&key)?, model.contains_key(&key));
    }
    let sorted: BTreeMap<_, _> = map.iter()?.collect();
    assert!(sorted.into_iter().eq(model.clone().into_iter().collect::<BTreeMap<_, _>>()));
    assert_eq!(map.keys()?.len(), model.len());
    assert_eq!(map.values()?.concat().len(), model.values().map(Vec::len).sum());
    map.clear()?;
    assert!(map.is_empty() && map.to_vec()?.is_empty());
    map.insert("again".to_owned(), vec![])?;
    assert_eq!(map.len(), 1);
    Ok(())
}

#[test]
fn processes_update_one_map_and_one_list_exactly() -> Result<()> {
    type Shared = (ManagedMap<u32, u64>, ManagedVec<u64>);
    let (map, list): Shared = (ManagedMap::new()?, ManagedVec::from_items([0, 0])?);
    let work = |(map, list): Shared| {
        for x in 0..2000 {
            map.update_or(&(x % 13), 0, |count| *count += 1).expect("there is memory");
            list.update(1, |count| *count += 1).expect("it is there");
            list.push(1).expect("there is memory");
        }
    };
    let processes: Vec<_> =
        (0..3).map(|_| Process::spawn(work, (map.clone(), list.clone()))).collect::<Result<_>>()?;
    for process in processes {
        process.join()?;
    }
    assert_eq!(map.values()?.into_iter().sum::<u64>(), 6000);
    assert_eq!((list.get(1)?, list.len()), (Some(6000), 6002));
    Ok(())
}

type Outer = ManagedMap<String, ManagedVec<ManagedMap<u8, String>>>;

#[test]
fn values_may_be_lists_and_maps_themselves() -> Result<()> {
    let outer: Outer = ManagedMap::new()?;
    fn fill(outer: &Outer) -> Result<()> {
        let inner = ManagedMap::new()?;
        inner.insert(1, "one".to_owned())?;
        outer.insert("list".to_owned(), ManagedVec::from_items([inner])?)?;
        Ok(())
    }
    // The inner objects outlive the process that has made them.
    let process = Process::spawn(|outer: Outer| fill(&outer).is_ok(), outer.clone())?;
    assert!(process.join()?);
    let list = outer.get("list")?.expect("it was inserted");
    let inner = list.get(0)?.expect("it was pushed");
    assert_eq!(inner.get(&1)?.as_deref(), Some("one"));
    list.update(0, |inner| inner.insert(2, "two".to_owned())).and_then(|inserted| inserted)?;
    assert_eq!(
        outer
            .update("list", |list| list.get(0).map(|inner| inner.map(|i| i.len())))?
            .transpose()?,
        Some(Some(2))
    );
    Ok(())
}

#[test]
fn an_update_within_an_update_of_the_same_object_is_an_error() -> Result<()> {
    let list = ManagedVec::from_items([1])?;
    let inner = list.update(0, |x| {
        *x += 1;
        (list.get(0), list.push(3), list.len())
    })?;
    assert!(inner.0.unwrap_err().is_deadlock());
    assert!(inner.1.unwrap_err().to_string().contains("deadlock"));
    assert_eq!(inner.2, 1);
    assert_eq!(list.to_vec()?, [2]);
    let map = ManagedMap::new()?;
    map.insert(1, 1)?;
    assert!(map.update(&1, |_| map.clear())?.expect("it is there").unwrap_err().is_deadlock());
    // Another object is no problem.
    assert!(map.update(&1, |x| list.push(*x))?.expect("it is there").is_ok());
    Ok(())
}

#[test]
fn an_update_that_panics_changes_nothing_and_leaves_no_lock() -> Result<()> {
    let map = ManagedMap::new()?;
    map.insert("x".to_owned(), 1)?;
    let list = ManagedVec::from_items([1, 2])?;
    let panicked = std::thread::scope(|scope| {
        let update = scope.spawn(|| {
            map.update("x", |x| {
                *x = 2;
                panic!("on purpose")
            })
        });
        let all = scope.spawn(|| {
            list.update_all(|x| {
                x.clear();
                panic!("on purpose")
            })
        });
        [update.join().is_err(), all.join().is_err()]
    });
    assert_eq!(panicked, [true, true]);
    assert_eq!(map.get("x")?, Some(1));
    assert_eq!(list.to_vec()?, [1, 2]);
    Ok(())
}

#[derive(Deserialize, Debug, PartialEq)]
struct Stubborn(u32);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.0 == 13 {
            return Err(serde::ser::Error::custom("not this one"));
        }
        self.0.serialize(serializer)
    }
}

#[test]
fn a_value_that_cannot_be_encoded_changes_nothing() -> Result<()> {
    let list = ManagedVec::from_items([Stubborn(1), Stubborn(2)])?;
    assert!(list.push(Stubborn(13)).unwrap_err().is_encode());
    assert!(list.update(0, |x| x.0 = 13).unwrap_err().is_encode());
    assert!(list.update_all(|all| all[1].0 = 13).unwrap_err().is_encode());
    assert!(list.extend([Stubborn(3), Stubborn(13)]).unwrap_err().is_encode());
    assert_eq!(list.to_vec()?, [Stubborn(1), Stubborn(2)]);
    let map = ManagedMap::new()?;
    map.insert(1, Stubborn(1))?;
    assert!(map.insert(1, Stubborn(13)).unwrap_err().is_encode());
    assert!(map.update(&1, |x| x.0 = 13).unwrap_err().is_encode());
    assert!(map.update_or(&2, Stubborn(2), |x| x.0 = 13).unwrap_err().is_encode());
    assert_eq!(map.to_vec()?, [(1, Stubborn(1))]);
    Ok(())
}

#[test]
fn a_namespace_has_values_of_several_types() -> Result<()> {
    let shared = Namespace::new()?;
    shared.set("number", &7_u64)?;
    shared.set("list", &ManagedVec::from_items([1, 2])?)?;
    let work = |shared: Namespace| {
        let list: ManagedVec<i32> = shared.get("list").expect("a list").expect("it is there");
        list.push(3).expect("there is memory");
        shared.update("number", |x: &mut u64| *x += 1).expect("a number").expect("it is there");
    };
    Process::spawn(work, shared.clone())?.join()?;
    assert_eq!(shared.get::<u64>("number")?, Some(8));
    assert_eq!(shared.get::<ManagedVec<i32>>("list")?.expect("it is there").len(), 3);
    let error = shared.get::<String>("number").unwrap_err().to_string();
    assert!(error.contains("`number` is not a `alloc::string::String`"), "{error}");
    assert!(shared.update("number", |x: &mut i8| *x += 1).is_err());
    assert_eq!(shared.names()?, ["list", "number"]);
    assert!(shared.remove("number")? && !shared.contains("number")?);
    assert_eq!(shared.update("number", |x: &mut u64| *x += 1)?, None);
    Ok(())
}

type Client = (ManagedMap<u64, u64>, ManagedVec<u64>, Queue<u64>, u64);

/// Updates a map and a list for ever, and says after each round that it is done.
fn update_for_ever((map, list, acknowledged, client): Client) {
    for round in 0.. {
        // A key that comes and goes, so that the table grows and forgets.
        map.insert(1000 + round % 97, round).expect("there is memory");
        map.update_or(&client, 0, |count| *count += 1).expect("there is memory");
        map.remove(&(1000 + (round + 31) % 97)).expect("it can be read");
        list.update(0, |count| *count += 1).expect("it is there");
        list.push(client << 32 | round).expect("there is memory");
        match round % 16 {
            3 => list.swap(1, 2).expect("they are there"),
            7 => list.update_all(|items| items[3..].reverse()).expect("there is memory"),
            11 => list.insert(3, u64::MAX).expect("there is memory"),
            12 => drop(list.remove(3).expect("it is there")),
            _ => {}
        }
        acknowledged.put(client << 32 | round).expect("it is open");
    }
}

#[test]
fn clients_that_are_killed_in_the_middle_of_updates_leave_exact_values() -> Result<()> {
    const KILLS: u64 = 200;
    let map: ManagedMap<u64, u64> = ManagedMap::new()?;
    let acknowledged: Queue<u64> = Queue::new()?;
    let (mut rounds, mut pushed) = (0, 0);
    for client in 0..KILLS / 2 {
        // Small lists, so that whole updates are many.
        let list = ManagedVec::from_items([0, 10, 20])?;
        let start = |client| {
            let arguments = (map.clone(), list.clone(), acknowledged.clone(), client);
            Process::spawn(update_for_ever, arguments)
        };
        let clients = [2 * client, 2 * client + 1];
        let victims = [start(clients[0])?, start(clients[1])?];
        std::thread::sleep(Duration::from_micros(4000 + client * 977 % 5000));
        for victim in &victims {
            victim.kill()?;
            victim.wait();
        }
        let begun = Instant::now();
        let mut told: HashMap<u64, u64> = HashMap::new();
        while let Some(done) = acknowledged.try_get()? {
            told.insert(done >> 32, (done & u64::from(u32::MAX)) + 1);
        }
        let mut total = 0;
        for client in clients {
            let acknowledged = told.get(&client).copied().unwrap_or(0);
            let count = map.get(&client)?.unwrap_or(0);
            assert!((acknowledged..=acknowledged + 1).contains(&count), "{count}, {acknowledged}");
            total += acknowledged;
        }
        let items = list.to_vec()?;
        assert_eq!(items.len(), list.len());
        assert!((total..=total + 2).contains(&items[0]), "{} of {total}", items[0]);
        let mut fixed = [items[1], items[2]];
        fixed.sort_unstable();
        assert_eq!(fixed, [10, 20]);
        let mut seen: HashMap<u64, Vec<u64>> = HashMap::new();
        for &item in items[3..].iter().filter(|&&item| item != u64::MAX) {
            seen.entry(item >> 32).or_default().push(item & u64::from(u32::MAX));
        }
        // What clients removed at position 3 may be what the other one has pushed: so items are not counted one by
        // one, but none is there twice.
        for rounds in seen.values_mut() {
            let count = rounds.len();
            rounds.sort_unstable();
            rounds.dedup();
            assert_eq!(rounds.len(), count, "doubled");
            pushed += count;
        }
        assert_eq!(map.to_vec()?.len(), map.len());
        rounds += total;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert!(rounds > KILLS && pushed > 0, "{rounds} rounds, {pushed} items");
    Ok(())
}

#[test]
fn what_killed_clients_have_appended_is_there() -> Result<()> {
    let list: ManagedVec<(u64, String)> = ManagedVec::new()?;
    let acknowledged: Queue<u64> = Queue::new()?;
    type Appender = (ManagedVec<(u64, String)>, Queue<u64>, u64);
    let append = |(list, acknowledged, round): Appender| {
        for x in round * 1_000_000.. {
            list.push((x, format!("item {x}"))).expect("there is memory");
            acknowledged.put(x).expect("it is open");
        }
    };
    for round in 0..40 {
        let victim = Process::spawn(append, (list.clone(), acknowledged.clone(), round))?;
        std::thread::sleep(Duration::from_micros(2000 + round * 131));
        victim.kill()?;
        victim.wait();
    }
    acknowledged.close();
    let items = list.to_vec()?;
    assert!(items.iter().all(|(x, text)| *text == format!("item {x}")));
    assert!(items.windows(2).all(|pair| pair[0].0 < pair[1].0), "doubled or out of order");
    let there: std::collections::HashSet<u64> = items.iter().map(|&(x, _)| x).collect();
    let told: Vec<u64> = acknowledged.iter().collect();
    assert!(!told.is_empty() && told.iter().all(|x| there.contains(x)));
    assert!(there.len() - told.len() <= 40);
    Ok(())
}

#[test]
fn a_key_is_found_by_what_it_borrows_as() -> Result<()> {
    let map: ManagedMap<Vec<u8>, Vec<u64>> = ManagedMap::new()?;
    map.insert(vec![1, 2], vec![3])?;
    assert_eq!(map.get(&[1_u8, 2][..])?, Some(vec![3]));
    assert_eq!(map.update_or(&[9_u8][..], vec![], |items| items.len())?, 0);
    assert!(map.contains_key(&vec![9])?);
    let mut keys = map.keys()?;
    keys.sort();
    assert_eq!(keys, [vec![1, 2], vec![9]]);
    Ok(())
}
