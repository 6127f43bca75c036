//! The watch on two hosts.

#[path = "hosts/harness.rs"]
mod harness;

use std::fs;

use harness::{DEADLOCK, Folder, Plan, run};

#[test]
fn the_hosts_are_two_nodes_that_share_no_memory() {
    let Some(ended) = run(&["nodes"], &Plan::default()) else { return };
    ended.ends_with(0);
    let mut lines: Vec<_> = ended.stdout.lines().collect();
    lines.sort_unstable();
    let wanted = [
        "rank 0 is 0 of 2 on host1",
        "rank 1 is 1 of 2 on host1",
        "rank 2 is 0 of 2 on host2",
        "rank 3 is 1 of 2 on host2",
    ];
    assert_eq!(lines, wanted, "{}", ended.text());
}

#[test]
fn a_cycle_across_hosts_is_proved_and_printed_once() {
    let Some(ended) = run(&["cycle"], &Plan::default()) else { return };
    ended
        .ends_with(DEADLOCK)
        .says_once("phalanx: deadlock (proved): ranks 0-3 of 4 wait for each other")
        .says("receive cycle")
        .says("rank 0  recv from rank 3, any tag, on `world`")
        .says("rank 2  recv from rank 1, any tag, on `world`");
}

#[test]
fn two_ranks_of_different_hosts_are_told_apart_from_those_that_wait_for_them() {
    let Some(ended) = run(&["cycle-of-two"], &Plan::default()) else { return };
    ended
        .ends_with(DEADLOCK)
        .says_once("phalanx: deadlock (proved): ranks 0 and 3 of 4 wait for each other")
        .says("also waiting for them:")
        .says("ranks 1 and 2  barrier on `world`");
}

#[test]
fn a_rank_that_computes_is_slow_for_the_other_host_too() {
    let Some(ended) = run(&["slow", "3"], &Plan::default()) else { return };
    ended.ends_with(0).proves_nothing().says("waiting for a rank outside MPI: rank 0");
}

#[test]
fn busy_hosts_are_no_deadlock() {
    let plan = Plan { environment: &[("PHALANX_WATCH_AFTER", "100ms")], ..Plan::default() };
    let Some(ended) = run(&["busy", "5"], &plan) else { return };
    ended.ends_with(0).proves_nothing();
}

#[test]
fn hosts_whose_watches_do_not_talk_find_each_other_s_files() {
    let folder = Folder::new();
    // With the longer time a host writes its files more rarely than the other one looks twice.
    for after in ["700ms", "8s"] {
        let plan = Plan {
            environment: &[
                ("PHALANX_WATCH_AFTER", after),
                ("PHALANX_WATCH_TCP", "off"),
                ("PHALANX_WATCH_DIR", folder.0.to_str().expect("a path that is text")),
            ],
            ..Plan::default()
        };
        let Some(ended) = run(&["cycle"], &plan) else { return };
        ended
            .ends_with(DEADLOCK)
            .says_once("phalanx: deadlock (proved): ranks 0-3 of 4 wait for each other");
        let left: Vec<_> = fs::read_dir(&folder.0).expect("the folder").collect();
        assert!(left.is_empty(), "{left:?} of:\n{}", ended.text());
        println!("proved after {:?}", ended.took);
    }
}

#[test]
fn a_cable_that_is_out_for_a_while_is_no_deadlock() {
    let folder = Folder::new();
    let plan = Plan {
        meanwhile: "sleep 2; ip link set eth0 down; sleep 4; ip link set eth0 up",
        environment: &[
            ("PHALANX_WATCH_AFTER", "100ms"),
            ("PHALANX_WATCH_DIR", folder.0.to_str().expect("a path that is text")),
        ],
        ..Plan::default()
    };
    let Some(ended) = run(&["busy", "8"], &plan) else { return };
    // That nothing is proved means something only if it was noticed.
    ended.ends_with(0).proves_nothing().says("continues after");
}
