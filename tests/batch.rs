//! Batch scripts, run by a real Slurm of two nodes and a real Grid Engine of one node on this machine.
//!
//! Without Slurm, Grid Engine or root the jobs are skipped; `scripts/lib/batch_systems.sh` installs what is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use phalanx_launch::{Family, Launcher, Mpi};
use phalanx_tests::transcript::Transcript;

const FAIL: &str = env!("CARGO_BIN_EXE_fail");
const WATCHED: &str = env!("CARGO_BIN_EXE_watched");

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

#[derive(Clone, Copy, PartialEq)]
enum System {
    Slurm,
    GridEngine,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Slurm => "slurm",
            System::GridEngine => "gridengine",
        }
    }

    fn missing(self) -> Option<String> {
        // SAFETY: a question to the operating system.
        if unsafe { libc::geteuid() } != 0 {
            return Some("root".to_owned());
        }
        let tools: &[&str] = match self {
            System::Slurm => &["slurmctld", "slurmd", "srun", "sbatch", "munged", "unshare"],
            System::GridEngine => &["sge_qmaster", "sge_execd", "qsub", "qconf", "ip", "unshare"],
        };
        let is_missing = |tool: &&&str| {
            let found = Command::new("which").arg(tool).stdout(Stdio::null()).status();
            !found.is_ok_and(|status| status.success())
        };
        tools.iter().find(is_missing).map(|tool| format!("`{tool}`"))
    }

    /// What makes a cluster of it for one command: to this come a folder and the command.
    fn starter(self) -> Command {
        let script = root().join("tests/batch").join(self.name());
        let mut command = Command::new("timeout");
        match self {
            System::Slurm => command.args(["--kill-after=20", "300"]),
            System::GridEngine => command.args(["-s", "KILL", "300", "unshare"]).args([
                "--net",
                "--uts",
                "--ipc",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ]),
        };
        command.arg(script);
        command
    }
}

/// What the folder of a job holds at the end.
struct Cluster {
    folder: PathBuf,
    stdout: String,
}

impl Cluster {
    /// Runs a shell script on a cluster of its own, in a folder of its own. In the script `$SCRIPT` is the
    /// batch script for the system.
    fn run(system: System, name: &str, script: &str) -> Option<Cluster> {
        if let Some(tool) = system.missing() {
            eprintln!("SKIPPED, there is no {} here: this needs {tool}", system.name());
            return None;
        }
        // The nodes share the cores.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", system.name()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("work")).expect("a folder of this test");
        let output = system
            .starter()
            .arg(&folder)
            .args(["bash", "-euc", script])
            .current_dir(folder.join("work"))
            .env("SCRIPT", root().join("scripts/batch").join(system.name()).with_extension("sh"))
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
        // `phalanx-7.out` of Slurm, `phalanx.o7` of Grid Engine.
        let is_output = |path: &PathBuf| {
            path.extension().is_some_and(|it| it.as_encoded_bytes().starts_with(b"o"))
        };
        let last = outputs.filter(is_output).max()?;
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
    let Some(cluster) = Cluster::run(System::Slurm, "two-nodes", &script) else { return };
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
    let Some(cluster) = Cluster::run(System::Slurm, "fails", &script) else { return };
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
    let Some(cluster) = Cluster::run(System::Slurm, "requeue", &script) else { return };
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

/// What ranks are told by SIGTERM (before a job that others take the nodes from is ended) is the same as a
/// warning; and a job whose ranks cannot leave their note is not taken for one that has done its work.
#[test]
fn a_job_that_is_told_to_end_saves_and_is_queued_again() {
    let heat = example("heat");
    let script = format!(
        r#"job() {{
            sbatch --parsable {TWO_NODES} --chdir="$1" $SCRIPT {heat} --size 20 --steps 1000000000 --quiet                 --checkpoint $PWD/saved-$2 --resume
        }}
        state_of() {{ scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z]*\).*/\1/p'; }}
        until_state() {{
            for tick in $(seq 1 100); do
                [[ ! $(state_of "$1") =~ ^($2)$ ]] || return 0
                sleep 0.2
            done
            echo "job $1 is $(state_of "$1")"
        }}
        until_begun() {{
            until_state "$1" RUNNING
            # The folder is made when the ranks are ready to be told.
            for tick in $(seq 1 100); do [ ! -e saved-$2 ] || break; sleep 0.2; done
            sleep 2
        }}
        told=$(job . told)
        until_begun $told told
        scancel --signal=TERM $told
        until_state $told 'PENDING|REQUEUED'
        scontrol show job $told | grep Restarts
        scancel $told
        until_state $told CANCELLED
        cancelled=$(job . cancelled)
        until_begun $cancelled cancelled
        scancel $cancelled
        until_state $cancelled CANCELLED
        sleep 3
        scontrol show job $cancelled | grep -E 'JobState|Restarts'
        mkdir full
        trap "umount $PWD/full" EXIT
        mount -t tmpfs -o size=4k,nr_inodes=2 none full
        : >full/phalanx-0.out
        full=$(sbatch --parsable {TWO_NODES} --chdir=full --output=$PWD/full-%j.out $SCRIPT {heat} --size 20             --steps 1000000000 --quiet --checkpoint $PWD/saved-full --resume)
        until_begun $full full
        scancel --signal=TERM $full
        until_state $full 'PENDING|REQUEUED'
        scontrol show job $full | grep Restarts
        scancel $full
        until_state $full CANCELLED
        ls saved-told saved-cancelled saved-full
        cat *.out"#
    );
    let Some(cluster) = Cluster::run(System::Slurm, "told", &script) else { return };
    let text = &cluster.stdout;
    let in_vain = (1..=3).any(|job| text.contains(&format!("job {job} is")));
    assert!(!in_vain, "a state does not come: {text}");
    assert_eq!(
        text.matches("Restarts=0").count(),
        1,
        "one that is cancelled does not come back: {text}"
    );
    assert!(text.contains("JobState=CANCELLED"), "{text}");
    assert_eq!(text.matches("Restarts=1").count(), 2, "{text}");
    assert_eq!(text.matches("== stopped with a checkpoint: queued again").count(), 2, "{text}");
    assert!(text.matches(".phxckpt").count() >= 3, "{text}");
}

/// Runs a shell script as a job of two nodes with two ranks on each; its output.
fn within_a_job(name: &str, script: &str) -> Option<String> {
    let typed = format!(
        "cat >job.sh <<'END'
#!/bin/bash
#SBATCH --output=%j.out
try() {{ echo \"== $*\"; \"$@\" 2>&1 && code=0 || code=$?; echo \"== code $code\"; }}
{script}
END
sbatch --wait {TWO_NODES} job.sh >&2"
    );
    let cluster = Cluster::run(System::Slurm, name, &typed)?;
    Some(cluster.job_output().expect("an output"))
}

/// What a command that was tried in a job printed; its last line has its exit code.
#[track_caller]
fn tried<'a>(output: &'a str, command: &str) -> &'a str {
    let heading = format!("{command}\n");
    let start = output.find(&heading).unwrap_or_else(|| panic!("no `{command}` in {output}"));
    let rest = &output[start + heading.len()..];
    let code = rest.find("== code ").unwrap_or_else(|| panic!("no end of `{command}`: {output}"));
    let length = rest[code..].find('\n').unwrap_or(rest.len() - code);
    &rest[..code + length]
}

/// The variables that a job of Grid Engine needs here: nothing of them is passed without being named.
const PASSED: &str =
    "-v PATH,OMPI_ALLOW_RUN_AS_ROOT=1,OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1,RUST_BACKTRACE=0";

/// Makes the launcher of the programs' MPI the first one on `PATH`, under the name that the script uses.
fn launcher_on_path() -> String {
    let mpi = Mpi::of_executable(FAIL).expect("a program that is linked to MPI");
    let launcher = Launcher::of(&mpi).expect("the launcher of that MPI");
    let path = launcher.path().display();
    format!(
        "mkdir -p bin; printf '#!/bin/sh\\nexec {path} \"$@\"\\n' >bin/mpiexec; chmod +x bin/mpiexec
         export PATH=$PWD/bin:$PATH"
    )
}

#[test]
fn grid_engine_runs_jobs_and_tells_how_they_end() {
    let (pi, cargo, hello) = (example("pi"), example("cargo-phalanx"), example("hello"));
    let script = format!(
        "{}
         qsub {PASSED} -sync y $SCRIPT {pi} --steps 1e6 >&2; cat phalanx.o*
         qsub {PASSED} -sync y $SCRIPT {FAIL} exit-3 >&2 || echo \"qsub: $?\"; cat phalanx.o2
         {cargo} phalanx batch --scheduler gridengine -n 3 --time 5m --warn 30s --name made --output job.sh \
             -- {cargo} phalanx run --program {hello}
         sed -i 's/supervise mpiexec .*/supervise \"$@\" || code=$?/' job.sh
         qsub {PASSED} -sync y job.sh >&2; cat made.o*",
        launcher_on_path()
    );
    let Some(cluster) = Cluster::run(System::GridEngine, "jobs", &script) else { return };
    let text = &cluster.stdout;
    assert!(text.contains("pi = 3.14159") && text.contains("on 4 ranks"), "{text}");
    assert!(text.contains("== ended with exit code 0"), "{text}");
    assert!(text.contains("of 4 on node1 failed"), "the report of the rank: {text}");
    assert!(text.contains("== ended with exit code 3"), "{text}");
    assert!(text.contains("qsub: 3"), "{text}");
    // `run` knows from the job how many ranks there is room for.
    assert!(text.contains("hello from rank 2 of 3 on node1"), "{text}");
}

#[test]
fn a_job_of_grid_engine_at_its_soft_limit_goes_on_from_a_checkpoint_with_the_same_bits() {
    let heat = example("heat");
    let script = format!(
        r#"{}
        echo 1000000000 >steps
        qsub {PASSED} -l s_rt=00:00:08,h_rt=00:05:00 $SCRIPT sh -c \
            'exec {heat} --size 20 --steps $(cat steps) --quiet --json --checkpoint saved --resume' >&2
        for second in $(seq 1 500); do
            sleep 0.2
            if [ -n "$(ls saved 2>/dev/null)" ] && [ ! -e told ]; then
                saved=$(basename "$(ls saved | tail -n 1)" .phxckpt)
                echo $((10#${{saved#step-}} + 1000)) >steps
                touch told
            fi
            # For a moment between two runs qstat knows of no job.
            ! grep -qs '== ended with exit code [^8]' phalanx.o* || break
        done
        qstat
        for log in ../spool/*/messages; do tail -n 3 "$log"; done"#,
        launcher_on_path()
    );
    let Some(cluster) = Cluster::run(System::GridEngine, "requeue", &script) else { return };
    let output = cluster.job_output().expect("an output");
    for said in ["== warned", "told to stop: step ", "== ended with exit code 85"] {
        assert!(output.contains(said), "no `{said}` in {output}");
    }
    for run in 1..=2 {
        let began = output.contains(&format!("== job 1, run {run}, on node1, 4 ranks"));
        assert!(began, "{output}\n{}", cluster.stdout);
    }
    assert!(!output.contains(", run 3"), "{output}");
    let at = output.find("{\"").unwrap_or_else(|| panic!("no report in {output}"));
    let line = output[at..].lines().next().unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
    assert!(report["resumed_from"].as_u64() > Some(0), "{report}");
    assert_eq!(report["identical"], true, "the bits of an uninterrupted run: {report}");
}

#[test]
fn cargo_phalanx_run_starts_ranks_with_the_launcher_of_the_batch_job() {
    let (cargo, hello) = (example("cargo-phalanx"), example("hello"));
    let script = format!(
        "try {cargo} phalanx run --program {hello}
         try {cargo} phalanx run --tag-output -n 2 --program {hello}
         try {cargo} phalanx run --hosts node2:2,node1 --program {hello}
         try {cargo} phalanx run --hosts node2 --dry-run --program {hello}
         try {cargo} phalanx run --timeout 3s --program {WATCHED} -- busy 60"
    );
    let Some(output) = within_a_job("run", &script) else { return };
    let all = tried(&output, &format!("run --program {hello}"));
    assert!(all.contains("phalanx: launcher /") && all.contains("srun"), "{all}");
    assert!(all.contains(&format!("plugin {}), 4 ranks", plugin())), "{all}");
    for (rank, node) in [(0, "node1"), (1, "node1"), (2, "node2"), (3, "node2")] {
        assert!(all.contains(&format!("hello from rank {rank} of 4 on {node}")), "{all}");
    }
    assert!(all.ends_with("== code 0"), "{all}");

    let labelled = tried(&output, &format!("--tag-output -n 2 --program {hello}"));
    assert!(labelled.contains("[0] hello from rank 1 of 2"), "rank 0 prints for all: {labelled}");

    let placed = tried(&output, &format!("node2:2,node1 --program {hello}"));
    for (rank, node) in [(0, "node2"), (1, "node2"), (2, "node1")] {
        assert!(placed.contains(&format!("hello from rank {rank} of 3 on {node}")), "{placed}");
    }
    let dry = tried(&output, &format!("--dry-run --program {hello}"));
    let command = format!("'--distribution=arbitrary' '--nodes=1' --nodelist node2 -n 1 {hello}");
    assert!(dry.contains(&command), "{dry}");

    let ended = tried(&output, "busy 60");
    assert!(
        ended.contains("phalanx: the job was ended after its time limit of 3 s (--timeout)"),
        "{ended}"
    );
    assert!(ended.ends_with("== code 124"), "{ended}");
}

#[test]
fn cargo_phalanx_run_ends_with_the_code_of_the_rank_that_failed_in_a_batch_job() {
    let cargo = example("cargo-phalanx");
    let modes = [("abort", 42), ("exit-3", 3), ("panic", 101), ("killed", 137)];
    let tries =
        modes.map(|(mode, _)| format!("try {cargo} phalanx run --program {FAIL} -- {mode}\n"));
    let Some(output) = within_a_job("run-fails", &tries.concat()) else { return };
    for (mode, code) in modes {
        let ended = tried(&output, &format!("-- {mode}"));
        assert!(ended.ends_with(&format!("== code {code}")), "{mode}: {ended}");
    }
}

#[test]
fn a_script_made_by_cargo_phalanx_batch_runs() {
    let (cargo, hello) = (example("cargo-phalanx"), example("hello"));
    let family = if plugin() == "pmix" { "openmpi" } else { "mpich" };
    let made = format!(
        "unset PHALANX_SRUN_MPI
         {cargo} phalanx batch --scheduler slurm -n 3 --nodes 2 --time 5m --warn 30s --memory 100M --name made \
             --mpi {family} --output job.sh -- {hello}
         sbatch --wait job.sh >&2"
    );
    let Some(cluster) = Cluster::run(System::Slurm, "made", &made) else { return };
    let output = cluster.job_output().expect("an output");
    for rank in 0..3 {
        assert!(output.contains(&format!("0: hello from rank {rank} of 3 on node")), "{output}");
    }
    assert!(output.contains("SLURM_JOB_NAME=made"), "{output}");
    assert!(output.contains("== ended with exit code 0"), "{output}");
}
