//! Batch scripts: the form of all of them, and those for systems that are not here (PBS, LSF, Flux), run with
//! stand-ins for the commands of the system and with the real launcher.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use phalanx_launch::{Launcher, Mpi};

const FAIL: &str = env!("CARGO_BIN_EXE_fail");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project").to_owned()
}

fn example(name: &str) -> String {
    let path = Path::new(FAIL).with_file_name(name);
    assert!(path.exists(), "{} is not built: cargo build --bins", path.display());
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Commands that answer as those of the systems do. What would be submitted is noted in `submitted`.
const STAND_INS: [(&str, &str); 3] = [
    ("qsub", r#"printf '%s\n' "$@" "PROGRAM=$PROGRAM" "PHALANX_RUN=$PHALANX_RUN" >submitted"#),
    (
        // Long lines are broken, and go on after a tab.
        "qstat",
        r#"printf 'Job Id: 7.server\n    Job_Name = phalanx\n    Account_Name = us\n'
           printf '    Resource_List.select = 1:ncpus=2:mpiprocs=2:m\n\tem=1gb\n'
           printf '    Resource_List.walltime = %s\n' "$LIMIT""#,
    ),
    (
        "flux",
        r#"case "$*" in
            *'{ncores}'*) echo 2 ;;
            *'{nnodes}'*) echo 1 ;;
            'job last') echo f1 ;;
            'job kill --signal=USR1 f1') kill -USR1 "$(cat flux.pid)" ;;
            'job kill --signal=TERM f1') kill -TERM "$(cat flux.pid)" ;;
            'run --ntasks=2 '*)
                while [[ $1 == run || $1 == --* ]]; do shift; done
                echo $$ >flux.pid
                exec mpiexec -n 2 "$@"
                ;;
            '--parent batch '*) printf '%s\n' "$@" "PHALANX_RUN=$PHALANX_RUN" >submitted ;;
            *) echo "flux: $*" >&2; exit 64 ;;
        esac"#,
    ),
];

/// A folder in which a script runs, with the stand-ins and the launcher on `PATH`.
struct Stage {
    folder: PathBuf,
    system: &'static str,
}

impl Stage {
    fn new(system: &'static str, name: &str) -> Stage {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{system}-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bin")).expect("a folder of this test");
        let stage = Stage { folder, system };
        let mpi = Mpi::of_executable(FAIL).expect("a program that is linked to MPI");
        let launcher = Launcher::of(&mpi).expect("the launcher of that MPI");
        stage.command("mpiexec", &format!("exec {} \"$@\"", launcher.path().display()));
        for (name, text) in STAND_INS {
            stage.command(name, text);
        }
        fs::write(stage.folder.join("nodes"), "node1\nnode1\n").expect("a list of nodes");
        let text = fs::read_to_string(root().join(format!("scripts/batch/{system}.sh")));
        // A warning that comes within seconds.
        let text = text.expect("a script").replace("warn_before=120", "warn_before=5");
        fs::write(stage.folder.join("job.sh"), text).expect("a script");
        stage
    }

    fn command(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.join("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\n{text}\n")).expect("a command");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a command");
    }

    /// Starts the script with a program and its arguments, which the system hands on in its own way.
    fn start(&self, program: &[&str], more: &[(&str, &str)]) -> Child {
        let path = env::var("PATH").unwrap_or_default();
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "120", "bash", "job.sh"]);
        if self.system == "flux" {
            command.args(program);
        } else {
            let quoted: Vec<String> = program.iter().map(|it| format!("'{it}'")).collect();
            command.env("PROGRAM", quoted.join(" "));
        }
        let here = self.folder.display();
        command
            .current_dir(&self.folder)
            .env("PATH", format!("{here}/bin:{path}"))
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
            .env("RUST_BACKTRACE", "0")
            .envs([("PBS_O_WORKDIR", format!("{here}")), ("PBS_NODEFILE", format!("{here}/nodes"))])
            .envs([("PBS_JOBID", "7.server"), ("PBS_JOBNAME", "phalanx"), ("PBS_O_QUEUE", "short")])
            .envs([("LSB_JOBID", "7"), ("LSB_DJOB_NUMPROC", "2"), ("LIMIT", "01:00:00")])
            // Hydra believes the variables, and would ask a system that is not there for the nodes.
            .envs([("HYDRA_LAUNCHER", "fork"), ("HYDRA_RMK", "user")])
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("timeout(1) runs")
    }

    fn run(&self, program: &[&str], more: &[(&str, &str)]) -> (Option<i32>, String) {
        ended(self.start(program, more).wait_with_output())
    }

    /// What was submitted, if anything was.
    fn submitted(&self) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.folder.join("submitted")).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn ended(output: std::io::Result<Output>) -> (Option<i32>, String) {
    let output = output.expect("timeout(1) runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The script itself, not the `timeout` around it.
fn send(signal: &str, timeout: &Child) {
    let children = format!("/proc/{0}/task/{0}/children", timeout.id());
    let script = fs::read_to_string(children).expect("timeout(1) runs a script");
    let sent = Command::new("kill").args([signal, script.trim()]).status();
    assert!(sent.expect("kill runs").success(), "{script}");
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "it takes too long: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn a_job_ends_as_its_program_does(system: &'static str) {
    let stage = Stage::new(system, "ends");
    let (code, text) = stage.run(&[&example("pi"), "--steps", "1e6"], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("pi = 3.14159") && text.contains("on 2 ranks"), "{text}");
    assert!(text.contains(", run 1") && text.contains("== ended with exit code 0"), "{text}");
    let (code, text) = stage.run(&["bash", "-c", "exit 3"], &[]);
    assert_eq!(code, Some(3), "{text}");
    assert_eq!(stage.submitted(), None);
    // A word stays a word.
    let (code, text) = stage.run(&["bash", "-c", "echo \"<$1>\"", "x", "a  b, c"], &[]);
    assert_eq!((code, text.matches("<a  b, c>").count()), (Some(0), 2), "{text}");
    // Who does not know the warning is not ended by it.
    let mut job = stage.start(&["bash", "-c", "touch begun; sleep 2; echo through$((1+1))"], &[]);
    wait_for("the ranks begin", || {
        stage.folder.join("begun").exists() || job.try_wait().is_ok_and(|it| it.is_some())
    });
    send("-USR1", &job);
    let (code, text) = ended(job.wait_with_output());
    assert_eq!((code, text.matches("through2").count()), (Some(0), 2), "{text}");
    assert!(text.contains("== warned"), "{text}");
}

fn a_job_that_is_told_to_end_ends_its_ranks(system: &'static str) {
    let stage = Stage::new(system, "told");
    let job = stage.start(&["bash", "-c", "touch begun; exec sleep 97.531"], &[]);
    wait_for("the ranks begin", || stage.folder.join("begun").exists());
    thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    send("-TERM", &job);
    let (code, text) = ended(job.wait_with_output());
    assert!(start.elapsed() < Duration::from_secs(30), "{text}");
    assert_ne!(code, Some(0), "{text}");
    assert!(
        text.contains("== received SIGTERM") && text.contains("== ended with exit code"),
        "{text}"
    );
    assert_eq!(stage.submitted(), None, "{text}");
}

fn a_warned_job_saves_and_is_queued_again(system: &'static str) {
    let stage = Stage::new(system, "warned");
    let heat = example("heat");
    let program = |steps: &str| -> Vec<String> {
        let words = [
            "--size",
            "20",
            "--steps",
            steps,
            "--quiet",
            "--json",
            "--checkpoint",
            "saved",
            "--resume",
        ];
        std::iter::once(heat.clone()).chain(words.map(str::to_owned)).collect()
    };
    // Who saves here, once the ranks can be warned.
    let holder =
        || fs::read_to_string(stage.folder.join("saved/.phalanx-lock")).unwrap_or_default();
    let endless = program("1000000000");
    let words: Vec<&str> = endless.iter().map(String::as_str).collect();
    let warned = |more: &[(&str, &str)]| {
        let _ = fs::remove_file(stage.folder.join("flux.pid"));
        let before = holder();
        let job = stage.start(&words, more);
        // PBS warns nobody: the script does.
        if system != "pbs" {
            wait_for("the ranks begin", || !holder().is_empty() && holder() != before);
            thread::sleep(Duration::from_secs(1));
            send("-USR1", &job);
        }
        ended(job.wait_with_output())
    };
    // This is the last run that it may have.
    let last = [("PHALANX_RUN", "100"), ("LIMIT", "00:00:17")];
    if system == "lsf" {
        fs::write(stage.folder.join(".runs-7-0"), "99\n").expect("a number");
    }
    let (code, text) = warned(&last);
    assert_ne!(code, Some(0), "{text}");
    assert!(text.contains("== warned") && text.contains("told to stop: step "), "{text}");
    assert_eq!(stage.submitted(), None, "{text}");

    let (code, text) = warned(&[("LIMIT", "00:00:17")]);
    assert!(text.contains("== warned") && text.contains("told to stop: step "), "{text}");
    let submitted = stage.submitted();
    match system {
        // LSF itself queues a job that ends so.
        "lsf" => assert_eq!((code, submitted), (Some(85), None), "{text}"),
        "pbs" => {
            assert_eq!(code, Some(0), "{text}");
            let asked = submitted.expect("a job").join(" ");
            let select =
                "-l walltime=00:00:17 -l select=1:ncpus=2:mpiprocs=2:mem=1gb -A us -q short";
            assert!(
                asked.starts_with(&format!("-N phalanx {select} -v PROGRAM,PHALANX_RUN")),
                "{asked}"
            );
            assert!(
                asked.contains("'--checkpoint' 'saved'") && asked.ends_with("PHALANX_RUN=2"),
                "{asked}"
            );
        }
        _ => {
            assert_eq!(code, Some(0), "{text}");
            let asked = submitted.expect("a job").join(" ");
            assert!(asked.starts_with("--parent batch --nslots=2 --nodes=1 job.sh "), "{asked}");
            assert!(asked.ends_with("--checkpoint saved --resume PHALANX_RUN=2"), "{asked}");
        }
    }
    let step: u64 = text
        .split_once("told to stop: step ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .expect("the step that was saved");
    let more = program(&(step + 1000).to_string());
    let words: Vec<&str> = more.iter().map(String::as_str).collect();
    let (code, text) = stage.run(&words, &[("PHALANX_RUN", "2")]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(", run 2"), "{text}");
    assert!(text.contains(&format!("\"resumed_from\":{step}")), "{text}");
    assert!(text.contains("\"identical\":true"), "the bits of an uninterrupted run: {text}");
}

/// Each test for each system, at the same time.
macro_rules! tests {
    ($($system:ident)*) => {
        $(
            mod $system {
                #[test]
                fn a_job_ends_as_its_program_does() {
                    super::a_job_ends_as_its_program_does(stringify!($system));
                }

                #[test]
                fn a_job_that_is_told_to_end_ends_its_ranks() {
                    super::a_job_that_is_told_to_end_ends_its_ranks(stringify!($system));
                }

                #[test]
                fn a_warned_job_saves_and_is_queued_again() {
                    super::a_warned_job_saves_and_is_queued_again(stringify!($system));
                }
            }
        )*
    };
}

tests! { pbs lsf flux }

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
fn all_scripts_supervise_their_job_in_the_same_way() {
    let functions = FORMS.map(|(system, ..)| {
        let text = fs::read_to_string(root().join(format!("scripts/batch/{system}.sh")));
        let text = text.expect("a script");
        let start = text.find("supervise() {").expect("a function");
        let end = text[start..].find("\n}\n").expect("its end");
        text[start..start + end].replace("read -r _ ", "read -r job ")
    });
    assert!(functions.iter().all(|function| *function == functions[0]), "{functions:#?}");
}

/// A launcher whose text comes in many pieces: a reader that leaves after the first one ends it by SIGPIPE.
const SLOW_LAUNCHERS: [(&str, &str, &str); 4] = [
    ("HYDRA build details:", "    Version:  4.2", "-prepend-rank"),
    ("Intel(R) MPI Library for Linux* OS, Version 2021.9", "Copyright", "-prepend-rank"),
    ("mpiexec (OpenRTE) 4.1.4", "Report bugs", "--tag-output"),
    ("mpiexec (Open MPI) 5.0.11", "Report bugs", "--tag-output"),
];

#[test]
fn scripts_always_choose_the_options_of_their_launcher() {
    for system in ["pbs", "lsf", "gridengine"] {
        let text = fs::read_to_string(root().join(format!("scripts/batch/{system}.sh")));
        let text = text.expect("a script");
        let start = text.find("case $(mpiexec --version").expect("the choice");
        let choice = &text[start..start + text[start..].find("\nesac\n").expect("its end") + 6];
        for (first, rest, wanted) in SLOW_LAUNCHERS {
            let script = format!(
                r#"set -euo pipefail
                mpiexec() {{
                    [[ $* == --version ]] || exit 64
                    echo '{first}'
                    for _ in {{1..100}}; do echo '{rest}' || exit 1; done
                }}
                for _ in {{1..100}}; do
                    {choice}
                    echo "chosen ${{label[*]}}"
                done"#
            );
            let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
            let text = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            let right = text.lines().filter(|line| line.ends_with(wanted)).count();
            assert_eq!((right, output.status.code()), (100, Some(0)), "{system}: {text}{error}");
        }
    }
}

#[test]
fn no_script_reads_a_pipe_in_part() {
    let check = root().join("scripts/lib/early_readers");
    let run = |file: &Path| Command::new(&check).arg(file).output().expect("the check runs");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("early-readers");
    fs::create_dir_all(&folder).expect("a folder of this test");
    let file = folder.join("script.sh");
    for (line, is_found) in [
        ("if mpiexec --version 2>&1 | grep -qi hydra; then", true),
        ("x=$(command |\n    head -n 1)", true),
        ("command | LC_ALL=C sed 1q", true),
        ("command |& grep -i -m1 word", true),
        ("# command | head", false),
        ("first || grep -q word file", false),
        ("command | grep word >/dev/null", false),
        ("command | sed -E 's/^(qname) .*/\\1/; s/x/q/'", false),
    ] {
        fs::write(&file, format!("set -euo pipefail\n{line}\n")).expect("a script");
        let output = run(&file);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(i32::from(is_found)), "{line}: {text}");
        assert_eq!(text.contains("script.sh:2: "), is_found, "{line}: {text}");
    }
    fs::remove_dir_all(folder).expect("a folder of this test");
}

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
        for part in [
            "set -euo pipefail",
            "85",
            "USR1",
            "exit \"$code\"",
            "module load",
            "env |",
            "max_runs",
        ] {
            assert!(text.contains(part), "{system}: no `{part}`");
        }
        // Directives after the first command are not read.
        let first_command = text.lines().position(|line| line.starts_with("set ")).expect("set");
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().rposition(|line| line.starts_with(start)).expect("directives");
        assert!(last < first_command, "{system}");
    }
}
