//! The image, hosts made of containers, and what describes them to other systems.
//!
//! Without a Docker engine the tests of images are skipped. Base images are made from Debian packages
//! (`scripts/containers/local-base`), so that no registry is needed; `PHALANX_TEST_RUNTIME` and
//! `PHALANX_TEST_BUILDER` name others.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use phalanx_tests::transcript::Transcript;
use yaml_rust2::{Yaml, YamlLoader};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    fn succeeds(self) -> Said {
        assert_eq!(self.code, Some(0), "{}", self.both());
        self
    }
}

/// Runs a command of this system, for ten minutes at most.
fn run(program: &str, arguments: &[&str]) -> Said {
    let output = Command::new("timeout")
        .args(["--kill-after=10", "600", program])
        .args(arguments)
        .current_dir(root())
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::null())
        .output()
        .expect("timeout(1) runs");
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn docker(arguments: &[&str]) -> Said {
    run("docker", arguments)
}

/// Why there is no image, said once.
fn skip(why: &str) -> Option<&'static str> {
    eprintln!("skipped: {why}");
    None
}

/// The base images: runtime and builder.
fn bases() -> Option<&'static (String, String)> {
    static BASES: OnceLock<Option<(String, String)>> = OnceLock::new();
    BASES
        .get_or_init(|| {
            let given = |name: &str, default: &str| env::var(name).unwrap_or(default.to_owned());
            let runtime = given("PHALANX_TEST_RUNTIME", "phalanx-test-runtime");
            let builder = given("PHALANX_TEST_BUILDER", "phalanx-test-builder");
            let is_there = |name: &str| docker(&["image", "inspect", name]).code == Some(0);
            if !(is_there(&runtime) && is_there(&builder)) {
                if run("debootstrap", &["--version"]).code != Some(0) {
                    skip("there are no base images, and debootstrap, which makes them, is missing");
                    return None;
                }
                run("scripts/containers/local-base", &[&runtime, &builder]).succeeds();
            }
            Some((runtime, builder))
        })
        .as_ref()
}

/// The image with an MPI, built from this checkout.
fn image(mpi: &'static str) -> Option<&'static str> {
    static OPENMPI: OnceLock<Option<String>> = OnceLock::new();
    static MPICH: OnceLock<Option<String>> = OnceLock::new();
    let built = if mpi == "mpich" { &MPICH } else { &OPENMPI };
    built.get_or_init(|| build(mpi)).as_deref()
}

fn build(mpi: &str) -> Option<String> {
    if run("docker", &["info"]).code != Some(0) {
        skip("there is no Docker engine");
        return None;
    }
    let (runtime, builder) = bases()?;
    let name = format!("phalanx-test-{mpi}");
    let dangling = || {
        let list = docker(&["images", "--quiet", "--filter", "dangling=true"]).succeeds().stdout;
        list.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = dangling();
    // Packages come over the host's network: that of containers need not lead outside.
    let arguments = [
        "build",
        "--network=host",
        "--tag",
        &name,
        "--build-arg",
        &format!("MPI={mpi}"),
        "--build-arg",
        &format!("RUNTIME={runtime}"),
        "--build-arg",
        &format!("BUILDER={builder}"),
        ".",
    ];
    docker(&arguments).succeeds();
    // The stage in which it was built takes a GB.
    for layer in dangling().iter().filter(|layer| !before.contains(layer)) {
        docker(&["rmi", layer]);
    }
    Some(name)
}

/// `docker run` of the image, as users type it.
fn in_container(image: &str, arguments: &[&str]) -> Said {
    docker(&[&["run", "--rm", image], arguments].concat())
}

fn pi_and_other_examples(mpi: &'static str) {
    let Some(image) = image(mpi) else { return };
    let mut page = Transcript::new(
        "docker-run",
        "Examples in a container",
        "Made by `tests/containers.rs` from what really ran.",
    );
    page.hide(image, "phalanx");
    let mut typed = |arguments: &[&str]| {
        let said = in_container(image, arguments).succeeds();
        assert_eq!(said.stderr, "", "{arguments:?}");
        let line = format!("docker run --rm {image} {}", arguments.join(" "));
        page.command(line.trim_end(), &said.stdout);
        said.stdout
    };
    let pi = typed(&[]);
    assert!(pi.starts_with("pi = 3.14159265358979") && pi.contains("on 4 ranks"), "{pi}");
    let heat = typed(&["mpirun", "-n", "2", "heat", "--size", "200", "--steps", "500"]);
    assert!(heat.contains("2 × 1 ranks") && heat.contains("the same bits"), "{heat}");
    let ring = typed(&["ring"]);
    assert!(ring.contains("from rank 3"), "{ring}");
    let hello = typed(&["mpirun", "-n", "16", "hello"]);
    assert_eq!(hello.matches("of 16 on").count(), 16, "{hello}");
    if mpi == "openmpi" {
        page.save();
    }
}

fn wrong_use(mpi: &'static str) {
    let Some(image) = image(mpi) else { return };
    let nonsense = in_container(image, &["heet", "--size", "5"]);
    assert_eq!(nonsense.code, Some(127), "{}", nonsense.both());
    assert!(
        nonsense.stderr.starts_with("error: 'heet' is neither an example nor a command.\n"),
        "{}",
        nonsense.stderr
    );
    assert!(nonsense.stderr.contains("examples: alltoall avoid_deadlock "), "{}", nonsense.stderr);
    let of_the_example = in_container(image, &["heat", "--size", "0"]);
    assert_eq!(of_the_example.code, Some(2), "{}", of_the_example.both());
    let across = in_container(image, &["across", "node1"]);
    assert_eq!(across.code, Some(2), "{}", across.both());
    assert!(across.stderr.contains("usage: across HOST[:RANKS]"), "{}", across.stderr);
    let slots = in_container(image, &["across", "node1:two", "pi"]);
    assert_eq!(slots.code, Some(2), "{}", slots.both());
    assert!(slots.stderr.contains("as in node1:2"), "{}", slots.stderr);
    assert_eq!(in_container(image, &["help"]).succeeds().stdout, "");
}

fn a_small_image_without_root_and_keys(mpi: &'static str) {
    let Some(image) = image(mpi) else { return };
    let script = "id -u; cat /proc/1/comm; find / -xdev \\( -name 'id_*' -o -name 'ssh_host_*' -o -name \
                  'host_ed25519*' \\) -not -path '/proc/*' 2>/dev/null; ls -A ~/.ssh; command -v cargo";
    let said = in_container(image, &["bash", "-c", script]);
    assert_eq!(said.stdout, "1000\ntini\n", "{}", said.both());
    let size = |name: &str| -> u64 {
        let said = docker(&["image", "inspect", "--format", "{{.Size}}", name]).succeeds();
        said.stdout.trim().parse().expect("a number of bytes")
    };
    let (runtime, _) = bases().expect("there is an image");
    let added = (size(image) - size(runtime)) / 1_000_000;
    assert!(added < 200, "{added} MB on top of the base image");
    // Too little shared memory is no bus error.
    let little = docker(&["run", "--rm", "--shm-size=8m", image, "mpirun", "-n", "4", "pi"]);
    assert_eq!(little.code, Some(0), "{}", little.both());
}

/// A group of hosts, which goes when the test is over.
struct Group {
    name: String,
    image: &'static str,
    job: String,
}

impl Group {
    fn new(name: &str, image: &'static str, job: &str) -> Group {
        let name = format!("phalanx-test-{name}-{}", std::process::id());
        Group { name, image, job: job.to_owned() }
    }

    fn compose(&self, arguments: &[&str]) -> Said {
        let mut command = vec![];
        let (image, job) = (format!("PHALANX_IMAGE={}", self.image), format!("JOB={}", self.job));
        command.extend([&image[..], &job]);
        match run("docker-compose", &["version"]).code {
            Some(0) => command.push("docker-compose"),
            _ => command.extend(["docker", "compose"]),
        }
        command.extend(["-p", &self.name, "-f", "scripts/containers/compose.yaml"]);
        command.extend(arguments);
        run("env", &command)
    }

    fn container(&self, service: &str) -> String {
        let said = self.compose(&["ps", "--quiet", service]).succeeds();
        said.stdout.trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let said = self.compose(&["down", "--volumes", "--timeout", "1"]);
        if said.code != Some(0) {
            eprintln!("{} is left behind: {}", self.name, said.both());
        }
    }
}

/// Groups take the cores from each other.
static ONE_GROUP: Mutex<()> = Mutex::new(());

fn jobs_across_hosts(mpi: &'static str) {
    let Some(image) = image(mpi) else { return };
    let _alone = ONE_GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    let group = Group::new("across", image, "");
    let arguments =
        ["up", "--no-color", "--abort-on-container-exit", "--exit-code-from", "launcher"];
    let said = group.compose(&arguments).succeeds();
    let of_launcher: Vec<&str> = said
        .stdout
        .lines()
        .filter(|line| line.contains("launcher"))
        .filter_map(|line| line.split_once("| "))
        .map(|(_, text)| text)
        .collect();
    let text = of_launcher.join("\n");
    for host in ["node1", "node2"] {
        let ranks = text.matches(&format!("of 4 on {host}")).count();
        assert_eq!(ranks, 2, "{text}");
    }
    assert!(text.contains("pi = 3.14159265358979"), "{text}");
    assert!(text.contains("the same bits as the serial result"), "{text}");
    if mpi == "openmpi" {
        let about = "Two containers with addresses of their own, and a launcher that reaches them with ssh. \
                     Made by `tests/containers.rs` from what really ran: what the launcher has printed.";
        let mut page = Transcript::new("compose-hosts", "A job across hosts", about);
        let line = "docker-compose -f scripts/containers/compose.yaml up --abort-on-container-exit \
                    --exit-code-from launcher";
        page.command(line, &text).save();
    }
}

fn a_host_that_goes_ends_the_job(mpi: &'static str) {
    let Some(image) = image(mpi) else { return };
    let _alone = ONE_GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    for how in ["kill", "disconnect"] {
        let job = "heat --size 400 --steps 1e9 --no-check --quiet";
        let group = Group::new(how, image, job);
        group.compose(&["up", "-d"]).succeeds();
        let (launcher, host) = (group.container("launcher"), group.container("node2"));
        let start = Instant::now();
        while !docker(&["top", &host]).stdout.contains("heat --size") {
            assert!(start.elapsed() < Duration::from_secs(60), "the job does not begin");
            thread::sleep(Duration::from_millis(200));
        }
        thread::sleep(Duration::from_secs(2));
        let start = Instant::now();
        match how {
            "kill" => docker(&["kill", &host]),
            _ => docker(&["network", "disconnect", &format!("{}_default", group.name), &host]),
        }
        .succeeds();
        let code = docker(&["wait", &launcher]).succeeds().stdout;
        let took = start.elapsed();
        let said = docker(&["logs", &launcher]).both();
        assert_ne!(code.trim(), "0", "{said}");
        assert!(took < Duration::from_secs(10), "{how}: it took {took:?}: {said}");
        assert!(said.contains("node2"), "{how}: nobody says which host: {said}");
        let names_it_as_lost = ["lost communication", "is lost", "closed by remote host"];
        assert!(names_it_as_lost.iter().any(|it| said.contains(it)), "{how}: {said}");
        // Nothing of the job goes on where hosts are left.
        thread::sleep(Duration::from_secs(2));
        let left = docker(&["top", &group.container("node1")]).stdout;
        assert!(!left.contains("heat --size"), "{how}: {left}");
        println!("{mpi}: after {how} the job ended within {took:.1?}");
    }
}

/// Each test for each MPI. A build takes minutes: the second one is for those who test everything.
macro_rules! tests {
    ($($name:ident;)*) => {
        mod openmpi {
            $(
                #[test]
                fn $name() {
                    super::$name("openmpi");
                }
            )*
        }
        mod mpich {
            $(
                #[test]
                #[ignore = "takes 3 minutes: builds another image"]
                fn $name() {
                    super::$name("mpich");
                }
            )*
        }
    };
}

tests! {
    pi_and_other_examples;
    wrong_use;
    a_small_image_without_root_and_keys;
    jobs_across_hosts;
    a_host_that_goes_ends_the_job;
}

fn parse(path: &str) -> Yaml {
    let documents =
        YamlLoader::load_from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(documents.len(), 1, "{path}");
    documents.into_iter().next().expect("one document")
}

#[test]
fn the_mpi_job_for_kubernetes_has_the_form_of_the_operator() {
    let job = parse("scripts/containers/mpijob.yaml");
    assert_eq!(job["apiVersion"].as_str(), Some("kubeflow.org/v2beta1"));
    assert_eq!(job["kind"].as_str(), Some("MPIJob"));
    let spec = &job["spec"];
    assert_eq!(spec["mpiImplementation"].as_str(), Some("OpenMPI"));
    // The image's user reads its keys there.
    assert_eq!(spec["sshAuthMountPath"].as_str(), Some("/home/phalanx/.ssh"));
    let slots = spec["slotsPerWorker"].as_i64().expect("a number of slots");
    let replicas = &spec["mpiReplicaSpecs"];
    assert_eq!(replicas["Launcher"]["replicas"].as_i64(), Some(1));
    let workers = replicas["Worker"]["replicas"].as_i64().expect("a number of workers");
    for kind in ["Launcher", "Worker"] {
        let pod = &replicas[kind]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(container["image"].as_str(), Some("phalanx:latest"), "{kind}");
        assert_eq!(container["securityContext"]["runAsUser"].as_i64(), Some(1000), "{kind}");
        assert!(!container["resources"]["limits"].is_badvalue(), "{kind}");
    }
    let arguments = &replicas["Launcher"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<&str> =
        arguments.as_vec().expect("a list").iter().filter_map(Yaml::as_str).collect();
    assert_eq!(arguments[..3], ["mpirun", "-n", &(slots * workers).to_string()]);
    let worker = &replicas["Worker"]["template"]["spec"]["containers"][0];
    assert_eq!(worker["args"][0].as_str(), Some("host"));
    let mount = worker["volumeMounts"][0]["name"].as_str();
    assert_eq!(mount, replicas["Worker"]["template"]["spec"]["volumes"][0]["name"].as_str());
}

#[test]
fn the_compose_file_has_hosts_and_a_launcher_that_share_keys() {
    let file = parse("scripts/containers/compose.yaml");
    let services = file["services"].as_hash().expect("services");
    let names: Vec<&str> = services.keys().filter_map(Yaml::as_str).collect();
    assert_eq!(names, ["node1", "node2", "launcher"]);
    assert!(
        file["volumes"].as_hash().is_some_and(|it| it.contains_key(&Yaml::String("keys".into())))
    );
    assert_eq!(file["x-host"]["volumes"][0].as_str(), Some("keys:/home/phalanx/.ssh"));
}

#[test]
fn the_apptainer_definition_has_its_sections() {
    let text = read("scripts/containers/phalanx.def");
    let mut header = text.lines().take_while(|line| !line.starts_with('%'));
    assert!(header.clone().any(|line| line == "Bootstrap: docker-archive"));
    assert!(header.any(|line| line == "From: phalanx.tar"));
    let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('%')).collect();
    assert_eq!(sections, ["labels", "help", "environment", "runscript", "test"]);
    assert!(text.contains("exec phalanx-entrypoint \"$@\""));
}

#[test]
fn no_key_is_in_the_project() {
    let files = run("git", &["ls-files"]).stdout;
    let is_key = |name: &str| {
        fs::read(root().join(name)).is_ok_and(|bytes| {
            // In two parts, or this file would hold it.
            let mark = ["PRIVATE", "KEY-----"].join(" ");
            bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
        })
    };
    let keys: Vec<&str> = files.lines().filter(|name| is_key(name)).collect();
    assert_eq!(keys, [""; 0]);
}
