//! What each system calls the things that are asked for.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::script::Script;
use super::{Arguments, Scheduler};
use crate::values::Mpi;

/// The lines with which the templates choose a program.
const CHOICE: [&str; 2] = ["if [[ $# -eq 0 ]]; then", "fi"];
const QUOTED: [&str; 2] =
    ["# Quotes in it are those", "eval \"command=(${PROGRAM:-target/release/pi})\""];

pub fn write(scheduler: Scheduler, job: &Arguments) -> Result<String> {
    let template = match scheduler {
        Scheduler::Slurm => include_str!("../../batch/slurm.sh"),
        Scheduler::Pbs => include_str!("../../batch/pbs.sh"),
        Scheduler::Lsf => include_str!("../../batch/lsf.sh"),
        Scheduler::Gridengine => include_str!("../../batch/gridengine.sh"),
        Scheduler::Flux => include_str!("../../batch/flux.sh"),
    };
    let mut script = Script::from(template);
    script.set(
        "# A job for ",
        format!("# A job of {} ranks, made by cargo phalanx batch", job.ranks),
    )?;
    if !job.module.is_empty() {
        script.set("modules=()", format!("modules=({})", job.module.join(" ")))?;
    }
    let words = shlex::try_join(job.command.iter().map(String::as_str))?;
    match scheduler {
        Scheduler::Pbs | Scheduler::Lsf => {
            script.set_all(QUOTED[0], QUOTED[1], format!("command=({words})"))?;
        }
        _ => script.set_all(CHOICE[0], CHOICE[1], format!("set -- {words}"))?,
    }
    match scheduler {
        Scheduler::Slurm => slurm(&mut script, job)?,
        Scheduler::Pbs => pbs(&mut script, job)?,
        Scheduler::Lsf => lsf(&mut script, job)?,
        Scheduler::Gridengine => grid_engine(&mut script, job)?,
        Scheduler::Flux => flux(&mut script, job)?,
    }
    Ok(script.text())
}

pub fn advice(scheduler: Scheduler, path: &Path) -> Result<String> {
    let path = path.to_string_lossy();
    let path = shlex::try_quote(&path)?;
    Ok(match scheduler {
        Scheduler::Slurm => format!("sbatch {path}"),
        Scheduler::Pbs | Scheduler::Gridengine => format!("qsub {path}"),
        Scheduler::Lsf => format!("bsub < {path}"),
        Scheduler::Flux => format!("flux batch {path}"),
    })
}

fn slurm(script: &mut Script, job: &Arguments) -> Result<()> {
    script.set("#SBATCH --job-name=", format!("#SBATCH --job-name={}", job.name))?;
    match job.nodes {
        Some(nodes) => script.set("#SBATCH --nodes=", format!("#SBATCH --nodes={nodes}"))?,
        None => script.remove("#SBATCH --nodes=")?,
    }
    script.set("#SBATCH --ntasks-per-node=", format!("#SBATCH --ntasks={}", job.ranks))?;
    script.set("#SBATCH --mem-per-cpu=", format!("#SBATCH --mem-per-cpu={}M", job.memory))?;
    script.set("#SBATCH --time=", format!("#SBATCH --time={}", with_days(job.time)))?;
    script.set("#SBATCH --signal=", format!("#SBATCH --signal=B:USR1@{}", job.warn().as_secs()))?;
    set_or_remove(script, "##SBATCH --partition=", "#SBATCH --partition=", &job.partition)?;
    set_or_remove(script, "##SBATCH --account=", "#SBATCH --account=", &job.account)?;
    let plugin = match job.mpi {
        Mpi::Any => return Ok(()),
        Mpi::Openmpi => "pmix",
        Mpi::Mpich => "pmi2",
    };
    script.set("mpi=", format!("mpi=${{PHALANX_SRUN_MPI:-{plugin}}}"))
}

fn pbs(script: &mut Script, job: &Arguments) -> Result<()> {
    script.set("#PBS -N ", format!("#PBS -N {}", job.name))?;
    let nodes = job.nodes.unwrap_or(1);
    let chunk = |count: usize, ranks: usize| {
        let memory = job.memory.checked_mul(ranks as u64).context("no node has so much memory")?;
        Ok(format!("{count}:ncpus={ranks}:mpiprocs={ranks}:mem={memory}mb"))
    };
    let (least, more) = (job.ranks / nodes, job.ranks % nodes);
    let chunks: Vec<String> = [(more, least + 1), (nodes - more, least)]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, ranks)| chunk(count, ranks))
        .collect::<Result<_>>()?;
    script.set("#PBS -l select=", format!("#PBS -l select={}", chunks.join("+")))?;
    script.set("#PBS -l walltime=", format!("#PBS -l walltime={}", with_hours(job.time)))?;
    script.set("walltime=", format!("walltime={}", job.time.as_secs()))?;
    script.set("warn_before=", format!("warn_before={}", job.warn().as_secs()))?;
    add(script, "#PBS -j ", "#PBS -q ", &job.partition)?;
    add(script, "#PBS -j ", "#PBS -A ", &job.account)
}

fn lsf(script: &mut Script, job: &Arguments) -> Result<()> {
    script.set("#BSUB -J ", format!("#BSUB -J {}", job.name))?;
    script.set("#BSUB -n ", format!("#BSUB -n {}", job.ranks))?;
    let span = match job.nodes {
        Some(nodes) => format!("span[ptile={}] ", job.ranks.div_ceil(nodes)),
        None => String::new(),
    };
    script.set("#BSUB -R ", format!("#BSUB -R \"{span}rusage[mem={}MB]\"", job.memory))?;
    let minutes = |time: Duration| time.as_secs().div_ceil(60);
    let limit = minutes(job.time);
    if minutes(job.warn()) >= limit {
        bail!("LSF counts in minutes: --time has to be a minute longer than --warn");
    }
    script.set("#BSUB -W ", format!("#BSUB -W {:02}:{:02}", limit / 60, limit % 60))?;
    script.set("#BSUB -wt ", format!("#BSUB -wt {}", minutes(job.warn())))?;
    add(script, "#BSUB -r", "#BSUB -q ", &job.partition)?;
    add(script, "#BSUB -r", "#BSUB -P ", &job.account)
}

fn grid_engine(script: &mut Script, job: &Arguments) -> Result<()> {
    script.set("#$ -N ", format!("#$ -N {}", job.name))?;
    script.set("#$ -pe ", format!("#$ -pe mpi {}", job.ranks))?;
    script.set("#$ -l h_rt=", format!("#$ -l h_rt={}", with_hours(job.time)))?;
    script.set("#$ -l s_rt=", format!("#$ -l s_rt={}", with_hours(job.time - job.warn())))?;
    script.set("#$ -l h_vmem=", format!("#$ -l h_vmem={}M", job.memory))?;
    add(script, "#$ -cwd", "#$ -q ", &job.partition)?;
    add(script, "#$ -cwd", "#$ -P ", &job.account)
}

fn flux(script: &mut Script, job: &Arguments) -> Result<()> {
    script.set("#flux: --job-name=", format!("#flux: --job-name={}", job.name))?;
    match job.nodes {
        Some(nodes) => script.set("#flux: --nodes=", format!("#flux: --nodes={nodes}"))?,
        None => script.remove("#flux: --nodes=")?,
    }
    script.set("#flux: --nslots=", format!("#flux: --nslots={}", job.ranks))?;
    script.set("#flux: --time-limit=", format!("#flux: --time-limit={}s", job.time.as_secs()))?;
    script.set("#flux: --signal=", format!("#flux: --signal=USR1@{}s", job.warn().as_secs()))?;
    script.set("#flux: --output=", format!("#flux: --output={}-{{{{id}}}}.out", job.name))?;
    add(script, "#flux: --output=", "#flux: --queue=", &job.partition)?;
    add(script, "#flux: --output=", "#flux: --bank=", &job.account)
}

fn set_or_remove(script: &mut Script, old: &str, new: &str, value: &Option<String>) -> Result<()> {
    match value {
        Some(value) => script.set(old, format!("{new}{value}")),
        None => script.remove(old),
    }
}

fn add(script: &mut Script, before: &str, start: &str, value: &Option<String>) -> Result<()> {
    value.as_ref().map_or(Ok(()), |value| script.before(before, format!("{start}{value}")))
}

/// `1-02:03:04`, without the days when there are none.
fn with_days(time: Duration) -> String {
    let days = time.as_secs() / 86400;
    let rest = with_hours(Duration::from_secs(time.as_secs() % 86400));
    if days == 0 { rest } else { format!("{days}-{rest}") }
}

fn with_hours(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn script(scheduler: Scheduler, options: &[&str]) -> String {
        let line =
            ["cargo-phalanx", "batch"].iter().chain(options).chain(&["--", "a b", "it's", "$x"]);
        let Command::Batch(arguments) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command")
        };
        write(scheduler, &arguments).unwrap()
    }

    #[track_caller]
    fn holds(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "no line `{line}` in\n{text}");
        }
    }

    const OPTIONS: [&str; 15] = [
        "-n",
        "10",
        "--nodes",
        "4",
        "--time",
        "26h",
        "--warn",
        "3m",
        "--memory",
        "2G",
        "--partition",
        "short",
        "--account=us",
        "--module",
        "openmpi/4.1",
    ];

    #[test]
    fn each_system_is_asked_in_its_own_words() {
        holds(
            &script(Scheduler::Slurm, &OPTIONS),
            &[
                "#SBATCH --nodes=4",
                "#SBATCH --ntasks=10",
                "#SBATCH --mem-per-cpu=2048M",
                "#SBATCH --time=1-02:00:00",
                "#SBATCH --signal=B:USR1@180",
                "#SBATCH --partition=short",
                "#SBATCH --account=us",
                "modules=(openmpi/4.1)",
                "mpi=${PHALANX_SRUN_MPI:-pmix}",
            ],
        );
        holds(
            &script(Scheduler::Pbs, &OPTIONS),
            &[
                "#PBS -l select=2:ncpus=3:mpiprocs=3:mem=6144mb+2:ncpus=2:mpiprocs=2:mem=4096mb",
                "#PBS -l walltime=26:00:00",
                "walltime=93600",
                "warn_before=180",
                "#PBS -q short",
                "#PBS -A us",
            ],
        );
        holds(
            &script(Scheduler::Lsf, &OPTIONS),
            &[
                "#BSUB -n 10",
                "#BSUB -R \"span[ptile=3] rusage[mem=2048MB]\"",
                "#BSUB -W 26:00",
                "#BSUB -wt 3",
                "#BSUB -q short",
                "#BSUB -P us",
            ],
        );
        holds(
            &script(Scheduler::Gridengine, &OPTIONS),
            &[
                "#$ -pe mpi 10",
                "#$ -l h_rt=26:00:00",
                "#$ -l s_rt=25:57:00",
                "#$ -l h_vmem=2048M",
                "#$ -q short",
                "#$ -P us",
            ],
        );
        holds(
            &script(Scheduler::Flux, &OPTIONS),
            &[
                "#flux: --nodes=4",
                "#flux: --nslots=10",
                "#flux: --time-limit=93600s",
                "#flux: --signal=USR1@180s",
                "#flux: --queue=short",
                "#flux: --bank=us",
            ],
        );
        let pmi2 = script(Scheduler::Slurm, &["--mpi", "mpich"]);
        holds(&pmi2, &["mpi=${PHALANX_SRUN_MPI:-pmi2}"]);
        assert!(!pmi2.contains("partition") && !pmi2.contains("--nodes"), "{pmi2}");
    }

    #[test]
    fn arguments_stay_words_and_nothing_of_them_is_run() {
        use std::process::Command as Shell;
        for scheduler in [
            Scheduler::Slurm,
            Scheduler::Pbs,
            Scheduler::Lsf,
            Scheduler::Gridengine,
            Scheduler::Flux,
        ] {
            let text = script(scheduler, &[]);
            let line = text
                .lines()
                .find(|line| line.starts_with("set -- ") || line.starts_with("command=("))
                .unwrap();
            let show = format!("{line}\nprintf '%s|' \"$@\" \"${{command[@]}}\"");
            let output = Shell::new("bash").args(["-c", &show]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.trim_end_matches('|'), "a b|it's|$x", "{scheduler:?}");
            let check = Shell::new("bash").args(["-n", "-c", &text]).output().unwrap();
            assert!(check.status.success(), "{scheduler:?}: {check:?}");
        }
    }

    #[test]
    fn the_warning_comes_before_the_limit_however_short_that_is() {
        let short = script(Scheduler::Slurm, &["--time", "1m"]);
        holds(&short, &["#SBATCH --time=00:01:00", "#SBATCH --signal=B:USR1@15"]);
        holds(&script(Scheduler::Slurm, &["--time", "2h"]), &["#SBATCH --signal=B:USR1@120"]);
    }

    #[test]
    fn lsf_does_not_warn_at_the_start() {
        let line = ["cargo-phalanx", "batch", "--time", "1m", "--", "pi"];
        let Command::Batch(arguments) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command")
        };
        let error = write(Scheduler::Lsf, &arguments).unwrap_err().to_string();
        assert!(error.contains("counts in minutes"), "{error}");
        holds(&script(Scheduler::Lsf, &["--time", "3m"]), &["#BSUB -W 00:03", "#BSUB -wt 1"]);
    }

    #[test]
    fn memory_that_nobody_has_is_refused() {
        let line =
            ["cargo-phalanx", "batch", "-n", "2147483647", "--memory", "99999999999G", "--", "pi"];
        let Command::Batch(arguments) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command")
        };
        let error = write(Scheduler::Pbs, &arguments).unwrap_err().to_string();
        assert!(error.contains("so much memory"), "{error}");
    }

    #[test]
    fn what_cannot_stand_in_a_directive_is_refused() {
        for wrong in [
            ["--name", "a b"],
            ["--name", "a/b"],
            ["--partition", "x;y"],
            ["--account", "$(id)"],
            ["--module", "a\nb"],
        ] {
            let line = ["cargo-phalanx", "batch"].iter().chain(&wrong).chain(&["--", "pi"]);
            let error = Cli::try_parse_from(line).unwrap_err().to_string();
            assert!(error.contains("only letters"), "{error}");
        }
    }
}
