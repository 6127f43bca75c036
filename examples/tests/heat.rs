//! `heat` is told to stop, or killed, and goes on from its checkpoint with the same bits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use phalanx_launch::{Finished, Job, Output, RunningJob};

const HEAT: &str = env!("CARGO_BIN_EXE_heat");

/// A folder of its own for the checkpoints of a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn start(ranks: usize, folder: &Path, arguments: &[&str]) -> RunningJob {
    Job::new(HEAT)
        .ranks(ranks)
        .args(arguments)
        .arg("--checkpoint")
        .arg(folder)
        .output(Output::Capture)
        .share_cores(true)
        .timeout(Duration::from_secs(240))
        .start()
        .expect("the launcher of the MPI that the example is linked to")
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn end(mut job: RunningJob) -> Ended {
    assert!(job.wait(), "it hangs");
    let Finished { status, stdout, stderr, .. } = job.finish();
    Ended {
        code: status.and_then(|status| status.code()),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// The ranks of a job, when it has saved so many checkpoints.
fn ranks_after(job: &RunningJob, folder: &Path, checkpoints: usize) -> Vec<u32> {
    let start = Instant::now();
    let is_whole = |name: &str| name.ends_with(".phxckpt");
    loop {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let whole = entries.filter(|it| it.file_name().to_str().is_some_and(is_whole)).count();
        if whole >= checkpoints {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no checkpoint is written");
        thread::sleep(Duration::from_millis(2));
    }
    let is_rank = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "heat")
    };
    job.process_ids().into_iter().filter(is_rank).collect()
}

fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").arg(signal).arg(process.to_string()).status();
    assert!(sent.expect("kill runs").success());
}

fn report(ended: &Ended) -> serde_json::Value {
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).expect("a JSON object")
}

#[test]
fn told_to_stop_it_saves_and_goes_on_with_other_ranks_to_the_same_bits() {
    let folder = folder("told-to-stop");
    let plate = ["--size", "60", "--steps", "60000", "--json"];
    let job = start(4, &folder, &[&plate[..], &["--every", "1000"]].concat());
    let ranks = ranks_after(&job, &folder, 1);
    assert_eq!(ranks.len(), 4);
    // One of them is enough.
    send("-USR1", ranks[1]);
    let stopped = end(job);
    assert_eq!(stopped.code, Some(85), "{}{}", stopped.stdout, stopped.stderr);
    assert_eq!(stopped.stderr.matches("told to stop: step ").count(), 1, "{}", stopped.stderr);
    assert_eq!(stopped.stdout, "");

    let forgotten = end(start(3, &folder, &plate));
    assert_eq!(forgotten.code, Some(2), "{}", forgotten.stderr);
    assert!(forgotten.stderr.contains("give --resume to go on from there"), "{}", forgotten.stderr);

    let resumed = report(&end(start(3, &folder, &[&plate[..], &["--resume"]].concat())));
    let from = resumed["resumed_from"].as_u64().expect("the step of the checkpoint");
    assert!((1000..60_000).contains(&from), "{from}");
    assert_eq!(resumed["identical"], true);
}

#[test]
fn a_rank_that_is_killed_while_it_saves_leaves_a_checkpoint_to_go_on_from() {
    let plate = ["--size", "200", "--steps", "1000", "--json"];
    for (run, wait) in [0, 3, 9].into_iter().enumerate() {
        let folder = folder(&format!("killed-{run}"));
        // It does hardly anything but saving.
        let job = start(3, &folder, &[&plate[..], &["--every", "5"]].concat());
        let ranks = ranks_after(&job, &folder, 2);
        thread::sleep(Duration::from_millis(wait));
        send("-KILL", ranks[run]);
        let killed = end(job);
        assert_ne!(killed.code, Some(0), "{}", killed.stderr);
        let resumed = report(&end(start(2, &folder, &[&plate[..], &["--resume"]].concat())));
        assert!(resumed["resumed_from"].as_u64() >= Some(5), "{resumed}");
        assert_eq!(resumed["identical"], true);
    }
}

#[test]
fn a_checkpoint_of_another_plate_is_refused() {
    let folder = folder("another-plate");
    let small = end(start(2, &folder, &["--size", "40", "--steps", "20", "--every", "20"]));
    assert_eq!(small.code, Some(0), "{}", small.stderr);
    let wrong = [
        (["--size", "41", "--steps", "20"], "is of a plate of 40 × 40 cells, not 41 × 41"),
        (["--size", "40", "--steps", "19"], "is of step 20, after the last one, 19"),
    ];
    for (arguments, says) in wrong {
        let refused = end(start(2, &folder, &[&arguments[..], &["--resume"]].concat()));
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    let nothing_left = [&["--size", "40", "--steps", "20", "--json", "--resume"][..]].concat();
    let report = report(&end(start(1, &folder, &nothing_left)));
    assert_eq!((&report["resumed_from"], &report["identical"]), (&20.into(), &true.into()));
}
