//! Two hosts, of which one goes or becomes unreachable, and a network that is slow or loses packets.

#[path = "hosts/harness.rs"]
mod harness;

use std::time::Duration;

use harness::{Plan, run};

/// What makes Open MPI's launcher notice within seconds that a host is silent: by default it takes minutes.
const NOTICE: [(&str, &str); 3] = [
    ("OMPI_MCA_oob_tcp_keepalive_time", "2"),
    ("OMPI_MCA_oob_tcp_keepalive_intvl", "1"),
    ("OMPI_MCA_oob_tcp_keepalive_probes", "3"),
];

#[test]
fn a_host_that_dies_ends_the_job() {
    // The first process of the second host: with it goes all of the host.
    let plan =
        Plan { meanwhile: "sleep 3; kill -KILL $HOST2", environment: &NOTICE, ..Plan::default() };
    let Some(ended) = run(&["busy", "40"], &plan) else { return };
    assert_ne!(ended.code, Some(0), "{}", ended.text());
    assert!(ended.took < Duration::from_secs(20), "{}", ended.text());
    // Which words Open MPI finds depends on what it notices first: the silence, or that ssh has ended.
    ended.proves_nothing().says("ORTE ");
}

#[test]
fn a_cable_that_stays_out_ends_the_job() {
    let plan = Plan {
        meanwhile: "sleep 3; ip link set eth0 down",
        environment: &NOTICE,
        ..Plan::default()
    };
    let Some(ended) = run(&["busy", "40"], &plan) else { return };
    assert_ne!(ended.code, Some(0), "{}", ended.text());
    assert!(ended.took < Duration::from_secs(25), "{}", ended.text());
    ended.proves_nothing().says("host2").says("lost communication");
    println!("ended after {:?}", ended.took);
}

#[test]
fn a_slow_network_is_no_deadlock() {
    let environment = [("PHALANX_WATCH_AFTER", "200ms")];
    let plan = Plan { wire: Some("0 50"), environment: &environment, ..Plan::default() };
    let Some(ended) = run(&["busy", "6"], &plan) else { return };
    ended.ends_with(0).proves_nothing();
}

#[test]
fn a_network_that_loses_a_fifth_of_all_packets_is_no_deadlock() {
    let environment = [("PHALANX_WATCH_AFTER", "200ms")];
    let plan = Plan { wire: Some("0.2 5"), environment: &environment, ..Plan::default() };
    let Some(ended) = run(&["busy", "6"], &plan) else { return };
    ended.ends_with(0).proves_nothing();
}

#[test]
fn a_deadlock_is_proved_over_a_bad_network_too() {
    let plan = Plan { wire: Some("0.1 20"), ..Plan::default() };
    let Some(ended) = run(&["cycle"], &plan) else { return };
    ended.ends_with(harness::DEADLOCK).says("phalanx: deadlock (proved): ranks 0-3 of 4");
}
