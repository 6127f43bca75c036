//! Batch scripts, run by a real Slurm of two nodes on this machine, and the form of those for other systems.
//!
//! Without Slurm, munge or root the jobs are skipped; `scripts/lib/slurm.sh` installs what is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use phalanx_launch::{Family, Mpi};
use phalanx_tests::transcript::Transcript;

const FAIL: &str = env!("CARGO_BIN_EXE_fail");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project").to_owned()
}

/// An example, which lies beside the programs of the tests.
fn example(name: &str) -> String {
    let path = Path::new(FAIL).with_file_name(name);
    assert!(path.exists(), "{} is not built: cargo build --bins", path.display());
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// How Slurm starts ranks of the MPI that the programs are linked to.
fn plugin() -> &'static str {
    let mpi = Mpi::of_executable(FAIL).expect("a program that is linked to MPI");
    if mpi.family() == Family::OpenMpi { "pmix" } else { "pmi2" }
}

fn missing() -> Option<String> {
    // SAFETY: a question to the operating system.
    if unsafe { libc::geteuid() } != 0 {
        return Some("root".to_owned());
    }
    let tools = ["slurmctld", "slurmd", "srun", "sbatch", "munged", "unshare"];
    let is_missing = |tool: &&&str| {
        let found = Command::new("which").arg(tool).stdout(Stdio::null()).status();
        !found.is_ok_and(|status| status.success())
    };
    tools.iter().find(is_missing).map(|tool| format!("`{tool}`"))
}

/// What the folder of a job holds at the end.
struct Cluster {
    folder: PathBuf,
    stdout: String,
}

impl Cluster {
    /// Runs a shell script on a cluster of its own, in a folder of its own. In the script `$SCRIPT` is the
    /// batch script for Slurm.
    fn run(name: &str, script: &str) -> Option<Cluster> {
        if let Some(tool) = missing() {
            eprintln!("SKIPPED, there is no Slurm here: this needs {tool}");
            return None;
        }
        // The nodes share the cores.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("slurm-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("work")).expect("a folder of this test");
        let output = Command::new("timeout")
            .args(["--kill-after=20", "300"])
            .arg(root().join("tests/batch/slurm"))
            .arg(&folder)
            .args(["bash", "-euc", script])
            .current_dir(folder.join("work"))
            .env("SCRIPT", root().join("scripts/batch/slurm.sh"))
            .env("PHALANX_SRUN_MPI", plugin())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .output()
            .expect("timeout(1) runs");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let cluster = Cluster { folder, stdout };
        assert!(
            output.status.success(),
            "{}\n{stderr}\n{}",
            cluster.stdout,
            cluster.job_output().unwrap_or_default()
        );
        Some(cluster)
    }

    /// The output of the last job.
    fn job_output(&self) -> Option<String> {
        let entries = fs::read_dir(self.folder.join("work")).ok()?.flatten();
        let outputs = entries.map(|entry| entry.path());
        let last = outputs.filter(|path| path.extension().is_some_and(|it| it == "out")).max()?;
        fs::read_to_string(last).ok()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

const TWO_NODES: &str = "--nodes=2 --ntasks-per-node=2";

#[test]
fn jobs_run_on_two_nodes_with_labelled_output() {
    let (pi, hello) = (example("pi"), example("hello"));
    let script = format!(
        "sbatch --wait {TWO_NODES} $SCRIPT {pi} --steps 1e6 >&2; cat *.out; rm *.out
         sbatch --wait {TWO_NODES} $SCRIPT {hello} >&2"
    );
    let Some(cluster) = Cluster::run("two-nodes", &script) else { return };
    let pi = &cluster.stdout;
    assert!(pi.contains("\n0: pi = 3.14159"), "{pi}");
    assert!(pi.contains("on 4 ranks"), "one job, not four of one rank: {pi}");
    let hello = cluster.job_output().expect("an output");
    for (rank, node) in [(0, "node1"), (1, "node1"), (2, "node2"), (3, "node2")] {
        let line = format!("hello from rank {rank} of 4 on {node}");
        assert!(hello.contains(&line), "{hello}");
    }
    for logged in ["== job ", "SLURM_JOB_NODELIST=node[1-2]", "== ended with exit code 0"] {
        assert!(hello.contains(logged), "no `{logged}` in {hello}");
    }
}

#[test]
fn a_rank_that_fails_ends_the_job() {
    let script = format!(
        "for mode in panic abort; do
             sbatch --wait {TWO_NODES} $SCRIPT {FAIL} $mode >&2 && echo 'it succeeded'
             echo $mode; cat *.out; rm *.out
         done
         sleep 1
         for process in /proc/[0-9]*; do
             [ \"$(readlink $process/exe)\" = '{FAIL}' ] || continue
             if grep -qa \"$SLURM_CONF\" $process/environ; then echo 'a rank is left'; fi
         done"
    );
    let Some(cluster) = Cluster::run("fails", &script) else { return };
    let text = &cluster.stdout;
    assert!(!text.contains("it succeeded"), "{text}");
    assert!(text.contains("of 4 on node"), "the report of the rank: {text}");
    assert!(text.matches("== ended with exit code ").count() == 2, "{text}");
    assert!(!text.contains("== ended with exit code 0"), "{text}");
    assert!(!text.contains("a rank is left"), "{text}");
}

/// A job that does not end within its time limit is warned, saves, is queued again and goes on.
#[test]
fn a_job_at_its_time_limit_goes_on_from_a_checkpoint_with_the_same_bits() {
    let heat = example("heat");
    // It would not end, but for the number of steps that is written when it has been stopped.
    let script = format!(
        r#"sed 's/B:USR1@[0-9]*/B:USR1@40/' $SCRIPT >warned-early.sh
        echo 1000000000 >steps
        sbatch {TWO_NODES} --time=00:01:00 warned-early.sh sh -c \
            'exec {heat} --size 20 --steps $(cat steps) --quiet --json --checkpoint saved --resume'
        job=$(squeue --noheader --format=%A)
        for second in $(seq 1 220); do
            sleep 1
            state=$(scontrol show job "$job" | sed -n 's/.*JobState=\([A-Z]*\).*/\1/p')
            case $state in
                COMPLETED | FAILED | TIMEOUT | NODE_FAIL | CANCELLED) break ;;
                PENDING)
                    # At first it has not run yet.
                    [ -n "$(ls saved 2>/dev/null)" ] || continue
                    saved=$(basename "$(ls saved | tail -n 1)" .phxckpt)
                    echo $((10#${{saved#step-}} + 1000)) >steps
                    # Slurm would wait for two minutes, so that everything of the first run is gone.
                    sleep 4
                    scontrol update JobId="$job" StartTime=now || true
                    ;;
            esac
        done
        scontrol show job "$job" | grep -E 'JobState|Restarts'"#
    );
    let Some(cluster) = Cluster::run("requeue", &script) else { return };
    let output = cluster.job_output().expect("an output");
    let both = format!("{}\n{output}", cluster.stdout);
    assert!(cluster.stdout.contains("JobState=COMPLETED"), "{both}");
    for said in
        ["== warned", "told to stop: step ", "== stopped with a checkpoint", "run 2, on node"]
    {
        assert!(output.contains(said), "no `{said}` in {both}");
    }
    let report = output.lines().find_map(|line| line.strip_prefix("0: {")).expect("a report");
    let report: serde_json::Value =
        serde_json::from_str(&format!("{{{report}")).expect("a JSON object");
    assert!(report["resumed_from"].as_u64() > Some(0), "{report}");
    assert_eq!(report["identical"], true, "the bits of an uninterrupted run: {report}");

    if plugin() == "pmix" {
        let about = "A job that is warned before its time limit, saves, and goes on where it was. Made by \
                     `tests/batch.rs` from what really ran, on a Slurm of two nodes.";
        let mut page = Transcript::new("sbatch-requeue", "A job that is queued again", about);
        page.hide(heat, "target/release/heat");
        let is_of_this_run =
            |line: &&str| ["SLURM", "OMPI_", "PHALANX_"].iter().any(|it| line.starts_with(it));
        let lines = output.lines().filter(|line| !is_of_this_run(line));
        let typed = "sbatch --nodes=2 --ntasks-per-node=2 --time=00:01:00 scripts/batch/slurm.sh sh -c \
                     'exec target/release/heat --size 20 --steps $(cat steps) --quiet --json --checkpoint saved \
                     --resume'";
        page.command(typed, cluster.stdout.lines().next().unwrap_or_default());
        page.command("cat phalanx-*.out", &lines.collect::<Vec<_>>().join("\n"));
        page.save();
    }
}

/// What a line of a script that is meant for a batch system may say, for each system.
const FORMS: [(&str, &str, &[&str]); 5] = [
    (
        "slurm",
        "#SBATCH --",
        &[
            "job-name",
            "nodes",
            "ntasks-per-node",
            "cpus-per-task",
            "mem-per-cpu",
            "time",
            "signal",
            "requeue",
            "output",
            "open-mode",
        ],
    ),
    ("pbs", "#PBS -", &["N", "l", "j", "o", "r", "W", "k"]),
    ("lsf", "#BSUB -", &["J", "n", "R", "W", "M", "oo", "o", "r", "wa", "wt", "Q"]),
    ("gridengine", "#$ -", &["N", "pe", "l", "cwd", "j", "o", "r", "notify", "S", "V"]),
    (
        "flux",
        "#flux: --",
        &[
            "job-name",
            "nodes",
            "nslots",
            "tasks-per-node",
            "cores-per-task",
            "time-limit",
            "output",
            "signal",
        ],
    ),
];

#[test]
fn each_script_has_the_form_of_its_system() {
    for (system, start, known) in FORMS {
        let path = root().join(format!("scripts/batch/{system}.sh"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{system}: {error}"));
        let checked = Command::new("bash").arg("-n").arg(&path).output().expect("bash runs");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let word = |line: &str| {
            let rest = line.strip_prefix(start)?;
            Some(rest.split([' ', '=']).next().unwrap_or_default().to_owned())
        };
        let words: Vec<String> = text.lines().filter_map(word).collect();
        assert!(words.len() >= 5, "{system}: {words:?}");
        for word in &words {
            assert!(known.contains(&word.as_str()), "{system}: `{start}{word}` is not known");
        }
        for part in ["set -euo pipefail", "85", "USR1", "exit \"$code\"", "module load", "env |"] {
            assert!(text.contains(part), "{system}: no `{part}`");
        }
        // Directives after the first command are not read.
        let first_command = text.lines().position(|line| line.starts_with("set ")).expect("set");
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().rposition(|line| line.starts_with(start)).expect("directives");
        assert!(last < first_command, "{system}");
    }
}
