//! Finding `initdb` and `postgres`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PgError;

/// The oldest major version that our SQL runs on.
const OLDEST: u32 = 15;

/// Where versions lie side by side: the part before the version, the part after it.
const SIDE_BY_SIDE: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Where there is one version only.
const SINGLE: [&str; 3] = ["/usr/lib64/pgsql/bin", "/usr/lib64/pgsql", "/usr/local/pgsql/bin"];

/// Server programs that can be run.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) bin_dir: PathBuf,
    pub(super) major: u32,
}

/// The programs in the folder that was named, by `explicit` or by PG_BIN_DIR; else those used last time; else the first
/// that the machine has. `needed` is the major version that made the cluster, if there is one already.
pub(super) fn programs(
    explicit: Option<&Path>,
    remembered: Option<PathBuf>,
    needed: Option<u32>,
) -> Result<Programs, PgError> {
    let named = explicit
        .map(Path::to_path_buf)
        .or_else(|| env::var_os("PG_BIN_DIR").filter(|value| !value.is_empty()).map(PathBuf::from));
    let Some(dir) = named else {
        return choose(remembered.into_iter().chain(iter::once_with(surroundings).flatten()), needed);
    };
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let programs = inspect(&dir)?;
    match needed {
        Some(made_by) if made_by != programs.major => Err(PgError::OtherMajor { made_by, found: described(&programs) }),
        Some(_) | None => Ok(programs),
    }
}

/// The first folder that will do.
fn choose(candidates: impl Iterator<Item = PathBuf>, needed: Option<u32>) -> Result<Programs, PgError> {
    let mut others = Vec::new();
    let mut unusable = Vec::new();
    for dir in candidates {
        match inspect(&dir) {
            Ok(programs) if needed.is_none_or(|major| major == programs.major) => return Ok(programs),
            Ok(programs) => others.push(described(&programs)),
            Err(PgError::BadPrograms { dir, why }) if dir.join("postgres").exists() => {
                unusable.push(format!("{} ({why})", dir.display()));
            }
            Err(_) => {}
        }
    }
    others.dedup();
    unusable.dedup();
    match (needed, others.is_empty()) {
        (Some(made_by), false) => Err(PgError::OtherMajor { made_by, found: others.join(", ") }),
        (Some(_), true) | (None, _) if unusable.is_empty() => Err(PgError::NotFound { seen: String::new() }),
        (Some(_), true) | (None, _) => Err(PgError::NotFound { seen: format!(", save {}", unusable.join(", ")) }),
    }
}

fn described(programs: &Programs) -> String {
    format!("PostgreSQL {} in {}", programs.major, programs.bin_dir.display())
}

/// What is in the folder, by asking `postgres` itself; it answers root too.
pub(super) fn inspect(dir: &Path) -> Result<Programs, PgError> {
    let bad = |why: String| PgError::BadPrograms { dir: dir.to_path_buf(), why };
    for program in ["initdb", "postgres"] {
        if !dir.join(program).is_file() {
            return Err(bad(format!("it has no `{program}`")));
        }
    }
    let said = Command::new(dir.join("postgres"))
        .arg("--version")
        .env_clear()
        .current_dir("/")
        .output()
        .map_err(|error| bad(format!("`postgres --version` cannot be run: {error}")))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let Some(major) = major(&text).filter(|_| said.status.success()) else {
        return Err(bad(format!("`postgres --version` says {:?}", String::from_utf8_lossy(&said.stderr).trim())));
    };
    if major < OLDEST {
        return Err(bad(format!("it is PostgreSQL {major}, and {OLDEST} is the oldest that works")));
    }
    Ok(Programs { bin_dir: dir.to_path_buf(), major })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0)` is 15, and `18beta1` is 18.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Every folder in which this machine may have server programs, the likeliest first.
fn surroundings() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(said) = Command::new("pg_config").arg("--bindir").output()
        && let Ok(text) = String::from_utf8(said.stdout)
        && !text.trim().is_empty()
    {
        found.push(PathBuf::from(text.trim()));
    }
    found.extend(on_path(env::var_os("PATH")));
    for (root, before, after) in SIDE_BY_SIDE {
        found.extend(side_by_side(Path::new(root), before, after));
    }
    found.extend(SINGLE.map(PathBuf::from));
    found
}

/// The folders where the `postgres` on the path really lies, for `initdb` may not be linked beside it.
fn on_path(path: Option<OsString>) -> Vec<PathBuf> {
    let path = path.unwrap_or_default();
    let programs = env::split_paths(&path).filter_map(|dir| dir.join("postgres").canonicalize().ok());
    programs.filter_map(|program| program.parent().map(Path::to_path_buf)).collect()
}

/// The folders `root/before<version>/after`, newest first.
fn side_by_side(root: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(before)?.parse().ok()?;
            Some((version, entry.path().join(after)))
        })
        .collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions.into_iter().map(|(_, dir)| dir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = env::temp_dir().join(format!("makegood-find-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A folder with programs that claim to be of this version.
    fn pretend(dir: &Path, version: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(dir).unwrap();
        for program in ["initdb", "postgres"] {
            let path = dir.join(program);
            fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir.to_path_buf()
    }

    #[test]
    fn nothing_found_says_what_to_install() {
        let said = choose(iter::empty(), None).unwrap_err().to_string();
        for part in ["apt-get install postgresql", "PG_BIN_DIR", "DATABASE_URL"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_version_that_is_too_old_is_passed_over_and_named() {
        let root = scratch("old");
        let old = pretend(&root.join("14"), "14.9");
        let said = choose([old.clone()].into_iter(), None).unwrap_err().to_string();
        assert!(said.contains("PostgreSQL 14") && said.contains("apt-get"), "{said}");
        let fit = pretend(&root.join("16"), "16.2 (Debian)");
        assert_eq!(choose([old, fit].into_iter(), None).unwrap().major, 16);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_version_that_made_the_cluster_is_chosen_and_no_other() {
        let root = scratch("major");
        let all = [pretend(&root.join("18"), "18.1"), pretend(&root.join("16"), "16.2")];
        assert_eq!(choose(all.clone().into_iter(), Some(16)).unwrap().major, 16);
        assert_eq!(choose(all.clone().into_iter(), None).unwrap().major, 18);
        let said = choose(all.into_iter(), Some(17)).unwrap_err();
        assert!(matches!(said, PgError::OtherMajor { made_by: 17, .. }), "{said}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn versions_side_by_side_come_newest_first_by_number() {
        let root = scratch("order");
        for version in ["pg-9", "pg-18", "pg-15", "pg-x", "other"] {
            fs::create_dir_all(root.join(version)).unwrap();
        }
        let order = side_by_side(&root, "pg-", "bin");
        assert_eq!(order, ["pg-18/bin", "pg-15/bin", "pg-9/bin"].map(|path| root.join(path)));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major("postgres: command not found"), None);
    }
}
