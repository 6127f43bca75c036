//! `cargo phalanx run --hosts` on two hosts, with Open MPI and with MPICH.

#[path = "hosts/harness.rs"]
mod harness;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use harness::{Ended, NAMESPACES, SSH, TWO_HOSTS, WATCHED, alone, family_or_skip};
use phalanx_launch::Family;

const FAIL: &str = env!("CARGO_BIN_EXE_fail");

/// An example, which lies beside the programs of the tests.
fn example(name: &str) -> String {
    let path = Path::new(FAIL).with_file_name(name);
    assert!(path.exists(), "{} is not built: cargo build --bins", path.display());
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Runs `cargo phalanx run` on the first host.
#[track_caller]
fn run(family: Family, meanwhile: &str, arguments: &[&str]) -> Ended {
    let _alone = alone();
    let start = Instant::now();
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60", "unshare"]).args(NAMESPACES).arg(TWO_HOSTS);
    command.args(["sh", "-c", &format!("({meanwhile}) >/dev/null & exec \"$0\" \"$@\"")]);
    command.arg(example("cargo-phalanx")).args(["phalanx", "run"]);
    if family == Family::OpenMpi {
        // A daemon that leaves its parent would end its host.
        command.arg("--launcher-arg=--leave-session-attached");
    }
    let settings: &[(&str, &str)] = match family {
        Family::OpenMpi => &[
            ("OMPI_MCA_plm_rsh_agent", SSH),
            ("OMPI_MCA_plm_rsh_no_tree_spawn", "1"),
            ("OMPI_MCA_oob_tcp_if_include", "10.0.0.0/24"),
            ("OMPI_MCA_btl_tcp_if_include", "10.0.0.0/24"),
        ],
        _ => &[("HYDRA_LAUNCHER", "ssh"), ("HYDRA_LAUNCHER_EXEC", SSH), ("HYDRA_IFACE", "eth0")],
    };
    command.envs(settings.iter().copied()).env("RUST_BACKTRACE", "0");
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("`timeout` starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: start.elapsed(),
    }
}

#[test]
fn ranks_go_to_the_hosts_that_are_named() {
    let Some(family) = family_or_skip() else { return };
    let hello = example("hello");
    // Open MPI counts the ranks of the host on which it was started before all others.
    let local_first = match family {
        Family::OpenMpi => &["host1", "host1", "host2"],
        _ => &["host2", "host1", "host1"],
    };
    for (hosts, names) in [
        ("host1:2,host2:2", &["host1", "host1", "host2", "host2"][..]),
        ("host2:1,host1:2", local_first),
        ("host2", &["host2"]),
    ] {
        let ended = run(family, ":", &["--hosts", hosts, "--tag-output", "--program", &hello]);
        ended.ends_with(0);
        for (rank, name) in names.iter().enumerate() {
            let line = format!("[0] hello from rank {rank} of {} on {name}\n", names.len());
            assert!(ended.stdout.contains(&line), "no `{line}` in {}", ended.text());
        }
    }
}

#[test]
fn the_exit_code_is_that_of_the_rank_that_failed_on_another_host() {
    let Some(family) = family_or_skip() else { return };
    for (mode, code) in [("exit-3", 3), ("abort", 42), ("panic", 101)] {
        let hosts = ["--hosts", "host1:1,host2:2", "--program", FAIL, "--", mode];
        let ended = run(family, ":", &hosts);
        ended.ends_with(code).says("rank 1 of 3 on host2");
        assert!(!ended.stdout.contains("Exit codes"), "{}", ended.text());
        assert!(!ended.stdout.contains("[host2]"), "a line of the launcher: {}", ended.text());
    }
}

#[test]
fn a_host_that_dies_ends_the_job_within_seconds() {
    let Some(family) = family_or_skip() else { return };
    let busy = ["--hosts", "host1:2,host2:2", "--program", WATCHED, "--", "busy", "40"];
    let ended = run(family, "sleep 3; kill -KILL $HOST2", &busy);
    assert!(!matches!(ended.code, None | Some(0)), "{}", ended.text());
    assert!(ended.took.as_secs() < 20, "{}", ended.text());
    println!("ended after {:?}", ended.took);
}

#[test]
fn the_time_of_a_job_on_several_hosts_has_an_end() {
    let Some(family) = family_or_skip() else { return };
    let busy =
        ["--hosts", "host1:2,host2:2", "--timeout", "4s", "--program", WATCHED, "--", "busy", "40"];
    let ended = run(family, ":", &busy);
    ended.ends_with(124).says("phalanx: the job was ended after its time limit of 4 s (--timeout)");
}
