//! Completions and manual pages, generated from the description of the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Command, ValueEnum};
use clap_complete::shells;

use crate::print;

/// Print completions for a shell
///
/// They complete `cargo phalanx …` and `cargo-phalanx …`.
#[derive(Debug, clap::Args)]
#[command(after_help = "To install them:
  bash: cargo phalanx completions bash > ~/.local/share/bash-completion/completions/cargo-phalanx
        and source that file in ~/.bashrc, for `cargo phalanx`
  zsh:  cargo phalanx completions zsh > a folder of $fpath, as _cargo-phalanx
  fish: cargo phalanx completions fish > ~/.config/fish/completions/cargo-phalanx.fish
        and source that file in ~/.config/fish/config.fish, for `cargo phalanx`")]
pub struct Completions {
    /// Shell that is to complete the commands
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// Print the manual page, or write those of all commands
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Write cargo-phalanx.1, cargo-phalanx-run.1, … into this folder
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// After cargo's own completions, `cargo phalanx …` is completed as `cargo-phalanx …`.
const BASH_HOOK: &str = r#"
_cargo_phalanx_before=$(complete -p cargo 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
_cargo_phalanx_hook() {
    if [[ ${COMP_WORDS[1]} == phalanx && $COMP_CWORD -gt 1 ]]; then
        COMP_WORDS=(cargo-phalanx "${COMP_WORDS[@]:2}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _cargo__phalanx cargo-phalanx "$2" "$3"
    elif [[ -n $_cargo_phalanx_before ]]; then
        "$_cargo_phalanx_before" "$@"
    fi
}
if [[ $_cargo_phalanx_before != _cargo_phalanx_hook ]]; then
    complete -F _cargo_phalanx_hook -o bashdefault -o default cargo
fi
"#;

pub fn completions(arguments: &Completions, command: &Command) -> Result<ExitCode> {
    let mut text = Vec::new();
    let name = "cargo-phalanx";
    match arguments.shell {
        Shell::Bash => {
            clap_complete::generate(shells::Bash, &mut command.clone(), name, &mut text);
            // Where it looks a command up and where it has it, it calls it by two names.
            let script =
                String::from_utf8(text)?.replace("cargo__subcmd__phalanx", "cargo__phalanx");
            text = (script + BASH_HOOK).into_bytes();
        }
        // Cargo's own completions for zsh call `_cargo-phalanx` for `cargo phalanx`.
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command.clone(), name, &mut text),
        Shell::Fish => {
            clap_complete::generate(shells::Fish, &mut command.clone(), name, &mut text);
            let mut cargo = Command::new("cargo").subcommand(command.clone().name("phalanx"));
            clap_complete::generate(shells::Fish, &mut cargo, "cargo", &mut text);
        }
    }
    print::out(String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(arguments: &Man, command: Command) -> Result<ExitCode> {
    match &arguments.output {
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(command, folder))
                .with_context(|| format!("cannot write to {}", folder.display()))?;
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text)?;
            print::out(String::from_utf8(text)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
