//! `makegood demo` as a process: the story on a database of its own, and then the service, until the test is over.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::PROGRAM;

/// A running demo.
pub struct Demo {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    child: Child,
    folder: PathBuf,
}

impl Demo {
    /// Tells the story and waits until it is told.
    pub fn start() -> Demo {
        let folder = std::env::temp_dir().join(format!("makegood-demo-{}", uuid::Uuid::now_v7().simple()));
        let mut child = Command::new(PROGRAM)
            .args(["demo", "--port", "0", "--data"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut said = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let mut all = String::new();
        let url = loop {
            let start = all.len();
            let read = said.read_line(&mut all).expect("stderr is text");
            assert!(read > 0, "the demo ended: {all}");
            let line = all[start..].trim();
            if let Some((url, _)) = line.split_once("/sign-in ") {
                break url.to_owned();
            }
        };
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Demo { url, child, folder }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
