//! The pages in a real browser: the story of one claim with JavaScript switched off, and every page that it meets looked
//! at with axe. What it does is written in `tests/browser/story.mjs`.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::demo::Demo;

mod support;

/// A program on the `PATH`, by the first of these names that is there.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|file| file.is_file())
}

/// What the test needs and does not find. It is named past the capture of output, for a test that did not run must not look
/// like one that passed. In CI it fails instead.
fn missing(folder: &Path) -> Option<&'static str> {
    let has_browser =
        std::env::var_os("CHROMIUM").is_some() || program(&["chromium", "chromium-browser", "google-chrome"]).is_some();
    if program(&["node"]).is_none() {
        Some("Node.js is not on the PATH")
    } else if !has_browser {
        Some("there is no Chromium on the PATH")
    } else if !folder.join("node_modules").is_dir() {
        Some("run `npm ci` in tests/browser first")
    } else {
        None
    }
}

#[test]
fn a_claim_is_filed_and_answered_in_a_browser_without_javascript_and_axe_finds_nothing() {
    if support::is_skipped("browser") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if let Some(missing) = missing(&folder) {
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        let _ = writeln!(std::io::stderr(), "skipped: browser: {missing}");
        return;
    }
    let demo = Demo::start();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    let output = Command::new(program(&["node"]).expect("node was found"))
        .arg("story.mjs")
        .current_dir(&folder)
        .envs([("BASE_URL", OsStr::new(&demo.url)), ("SHOTS", pictures.as_os_str())])
        .output()
        .expect("node starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
