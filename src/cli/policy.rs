//! `makegood policy lint FILE...` and `makegood policy schema`: terms, for whoever writes them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::evaluate::{self, AGREES, DIFFERS, NOT_ONE};
use crate::domain::case::{self, Case};
use crate::domain::terms::Terms;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say what is wrong with terms, by line; exit code 0 if nothing is, 1 if something is, 2 if a file is not terms
    Lint {
        /// Terms, or case files, whose terms are looked at.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON object for each file.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of terms
    Schema {
        /// That of case files instead.
        #[arg(long)]
        case: bool,
    },
}

/// Does what the command says; the exit code.
pub fn run(command: &PolicyCommand) -> u8 {
    match command {
        PolicyCommand::Lint { files, json } => lint(files, *json),
        PolicyCommand::Schema { case } => {
            evaluate::say(&schema(*case));
            AGREES
        }
    }
}

/// The published JSON Schema, of terms or of case files, as its file has it.
pub fn schema(of_case: bool) -> String {
    let schema = if of_case { Case::schema() } else { Terms::schema() };
    format!("{schema:#}\n")
}

/// Looks at each file. The exit code is the worst of all.
pub fn lint(files: &[PathBuf], as_json: bool) -> u8 {
    files.iter().map(|file| lint_one(file, as_json)).max().unwrap_or(NOT_ONE)
}

fn lint_one(file: &Path, as_json: bool) -> u8 {
    let name = file.display().to_string();
    let linted = evaluate::read(file).and_then(|text| case::lint_text(&text).map_err(|refusal| refusal.to_string()));
    match linted {
        Ok(findings) => {
            if as_json {
                evaluate::say_json(&json!({"file": name, "findings": findings}));
            }
            for one in findings.iter().filter(|_| !as_json) {
                evaluate::say(&format!("{name}: {one}\n"));
            }
            let (code, said) = match findings.len() {
                0 => (AGREES, "nothing is wrong".to_owned()),
                1 => (DIFFERS, "1 thing is wrong; these terms cannot be published".to_owned()),
                many => (DIFFERS, format!("{many} things are wrong; these terms cannot be published")),
            };
            evaluate::tell(&format!("{name}: {said}"));
            code
        }
        Err(why) => evaluate::say_not_one(file, "terms", &why, as_json),
    }
}
