//! The tests of messages, collectives, exchanges and the watch, each as it is, with ranks on two hosts.
//!
//! The test programs are started on the first host with settings of Open MPI that spread the ranks of each of
//! their jobs over both, one after another, and let them talk over TCP alone.

#[path = "hosts/harness.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use harness::{Folder, NAMESPACES, SSH, TWO_HOSTS, WIRE, alone, launcher_or_skip};

/// A test program that has not ended after so many seconds is ended, with both hosts.
const LONGEST: &str = "400";

/// The latest build of a test program, which lies beside this one.
fn program(name: &str) -> Option<PathBuf> {
    let this = env::current_exe().expect("the path of this program");
    let folder = this.parent().expect("a folder");
    let is_it = |path: &PathBuf| {
        let file = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        file.rsplit_once('-').is_some_and(|(stem, hash)| stem == name && !hash.contains('.'))
    };
    let entries = fs::read_dir(folder).expect("the folder of this program").flatten();
    let programs = entries.map(|entry| entry.path()).filter(is_it);
    programs.max_by_key(|path| path.metadata().and_then(|it| it.modified()).ok())
}

/// Runs a test program across hosts; all tests whose names contain one of the words, or all.
#[track_caller]
fn suite(name: &str, words: &[&str], wire: Option<&str>) {
    let Some(_) = launcher_or_skip() else { return };
    let Some(program) = program(name) else {
        eprintln!(
            "SKIPPED: the test program `{name}` is not built: cargo test --no-run -p phalanx-tests"
        );
        return;
    };
    let _alone = alone();
    let folder = Folder::new();
    let hosts = folder.0.join("hosts");
    fs::write(&hosts, "host1 slots=8\nhost2 slots=8\n").expect("a list of hosts");
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", LONGEST, "unshare"]).args(NAMESPACES).arg(TWO_HOSTS);
    // A folder that both hosts see.
    command.arg("env").arg(format!("TMPDIR={}", folder.0.display())).arg(program);
    command.args(words).args(["--test-threads=2"]);
    let settings = [
        ("orte_default_hostfile", hosts.to_str().expect("a path that is text")),
        ("rmaps_base_mapping_policy", "node"),
        ("plm_rsh_agent", SSH),
        ("plm_rsh_no_tree_spawn", "1"),
        // A daemon that leaves its parent would end its host.
        ("orte_leave_session_attached", "1"),
        ("pml", "ob1"),
        ("btl", "tcp,self"),
        ("oob_tcp_if_include", "10.0.0.0/24"),
        ("btl_tcp_if_include", "10.0.0.0/24"),
    ];
    for (name, value) in settings {
        command.env(format!("OMPI_MCA_{name}"), value);
    }
    if let Some(wire) = wire {
        command.env("WIRE", format!("{WIRE} {wire}")).env("PHALANX_TEST_TIME_FACTOR", "4");
    }
    let output = command.stdin(Stdio::null()).output().expect("`timeout` starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text.lines().find(|line| line.starts_with("test result: ")).unwrap_or_default();
    println!("{name}: {result}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    // A filter that fits nothing would pass, too.
    assert!(!result.contains(" 0 passed"), "{name}: {result}");
}

#[test]
fn messages_pass_between_hosts() {
    suite("p2p", &[], None);
}

#[test]
fn exchanges_pass_between_hosts() {
    suite("exchange", &[], None);
}

#[test]
#[ignore = "takes 7 minutes"]
fn everything_else_passes_between_hosts() {
    let names = [
        "strided",
        "requests",
        "collectives",
        "reductions",
        "communicators",
        "objects",
        "object_collectives",
        "pairwise",
        "sparse",
        "in_order",
        "topologies",
        "neighbors",
        "halo",
    ];
    names.iter().for_each(|name| suite(name, &[], None));
    // Its full disk is a file system that one host alone has mounted.
    suite("checkpoints", &["--skip", "full_disk"], None);
}

/// But for what names processes of the other host or pretends to have several hosts.
#[test]
#[ignore = "takes 2 minutes"]
fn the_watch_watches_across_hosts() {
    let words =
        ["strict", "busy_ranks", "explained", "slow_and_no_deadlock", "messages_that_nobody"];
    suite("watch", &[&words[..], &["--skip", "stopped"]].concat(), None);
}

#[test]
fn a_slow_network_gives_right_answers() {
    suite("p2p", &["any_rank", "null_process"], Some("0 50"));
}

#[test]
#[ignore = "takes 5 minutes"]
fn a_slow_network_gives_right_answers_in_everything() {
    for name in ["p2p", "in_order", "object_collectives"] {
        suite(name, &["--skip", "ranks_7", "--skip", "ranks_8", "--skip", "ranks_9"], Some("0 50"));
    }
}

#[test]
#[ignore = "takes 5 minutes"]
fn a_network_that_loses_a_fifth_of_all_packets_gives_right_answers() {
    suite("in_order", &["turns_follow"], Some("0.2 0"));
    suite("p2p", &["any_rank", "null_process"], Some("0.2 0"));
    suite("exchange", &["error_names"], Some("0.2 0"));
}

#[test]
fn each_suite_is_a_test_program() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["p2p", "exchange", "watch", "halo"] {
        assert!(here.join(name).with_extension("rs").exists(), "{name}");
    }
}
