//! Faulty programs, each with a correct twin: `watch_cases CASE [--correct]` runs one of them on
//! the ranks it is started on. `watch_score` starts them all, and looks at what the watch says.
//!
//! The classes are those of the public collections of MPI mistakes (MPI Bugs Initiative,
//! MPI-CorrBench, MPI-BugBench), as far as they can be written with this library: a data race on a
//! buffer in flight or an uninitialised handle does not compile.

use std::process::ExitCode;

use case::Case;
use clap::Parser;

mod any_source_knot;
mod buffering;
mod call_ordering_collective;
mod call_ordering_p2p;
mod case;
mod collective_arguments;
mod collectives;
mod communicators;
mod count_p2p;
mod forms;
mod freed;
mod invalid_argument;
mod leaks;
mod message_race;
mod missing_call;
mod mixed;
mod nonblocking_collectives;
mod objects;
mod outside_mpi;
mod peer_gone;
mod polling;
mod probe;
mod request_sets;
mod tag_mismatch;
mod type_p2p;
mod waiting_for_itself;

/// Runs a faulty program, or its correct twin, on the ranks it is started on
#[derive(Parser)]
#[command(arg_required_else_help = true)]
struct Args {
    /// Which one; see --list
    #[arg(value_name = "CASE", required_unless_present = "list")]
    case: Option<String>,
    /// Run the correct twin
    #[arg(long)]
    correct: bool,
    /// List them all
    #[arg(long)]
    list: bool,
    /// As a JSON array
    #[arg(long, requires = "list")]
    json: bool,
}

type Cases = fn() -> Vec<Case>;

/// In the order of the report.
const CLASSES: [(&str, Cases); 33] = [
    ("call-ordering-p2p", call_ordering_p2p::cases),
    ("call-ordering-collective", call_ordering_collective::cases),
    ("root-mismatch", collective_arguments::root),
    ("type-mismatch-p2p", type_p2p::cases),
    ("type-mismatch-collective", collective_arguments::element_type),
    ("reduction-mismatch", collective_arguments::reduction),
    ("count-mismatch-p2p", count_p2p::cases),
    ("count-mismatch-collective", collective_arguments::count),
    ("tag-mismatch", tag_mismatch::cases),
    ("communicator-mismatch", communicators::mismatch),
    ("invalid-argument", invalid_argument::cases),
    ("missing-wait", leaks::missing_wait),
    ("missing-send", missing_call::send),
    ("missing-receive", missing_call::receive),
    ("missing-collective", missing_call::collective),
    ("leaked-request", leaks::request),
    ("leaked-communicator", leaks::communicator),
    ("message-race", message_race::cases),
    ("buffering-hazard", buffering::cases),
    ("any-source-knot", any_source_knot::cases),
    ("peer-gone", peer_gone::cases),
    ("polling", polling::cases),
    ("request-sets", request_sets::cases),
    ("mixed-p2p-collective", mixed::cases),
    ("sub-communicators", communicators::sub),
    ("intertwined-communicators", communicators::intertwined),
    ("freed-communicators", freed::cases),
    ("nonblocking-collectives", nonblocking_collectives::cases),
    ("one-sided-collectives", nonblocking_collectives::one_sided),
    ("probe", probe::cases),
    ("objects", objects::cases),
    ("waiting-for-itself", waiting_for_itself::cases),
    ("outside-mpi", outside_mpi::cases),
];

fn all() -> Vec<Case> {
    let of_class = |&(class, cases): &(&str, Cases)| {
        let mut cases = cases();
        cases.iter_mut().for_each(|case| case.row.class = class.to_owned());
        cases
    };
    CLASSES.iter().flat_map(of_class).collect()
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cases = all();
    let Some(wanted) = args.case else {
        list(&cases, args.json);
        return ExitCode::SUCCESS;
    };
    let Some(case) = cases.into_iter().find(|case| case.row.name == wanted) else {
        eprintln!("error: there is no case `{wanted}`: see --list");
        return ExitCode::from(2);
    };
    phalanx::run(|world| {
        let needed = case.row.ranks;
        if world.size() != needed {
            return Err(format!("`{wanted}` needs {needed} ranks, not {}", world.size()).into());
        }
        (case.body)(&world, !args.correct)
    })
}

fn list(cases: &[Case], json: bool) {
    if json {
        let rows: Vec<_> = cases.iter().map(|case| &case.row).collect();
        println!("{}", serde_json::to_string(&rows).expect("plain texts and numbers"));
        return;
    }
    for case in cases {
        let row = &case.row;
        println!("{:<27}{} ranks  {}", row.class, row.ranks, row.name);
    }
}
