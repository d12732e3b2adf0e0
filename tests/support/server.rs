//! The real program, as its own process.

#![allow(dead_code)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::PROGRAM;

/// `makegood serve`. It is killed when this goes.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    /// Serves from the database at `url_app`, keeping its own files in `data`, and returns once it does.
    pub fn start(url_app: &str, data: &Path, listen: &str, more: &[&OsStr]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", listen, "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(more)
            .env("DATABASE_URL", url_app)
            .env("MAKEGOOD_LOG", "error")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut all) = (String::new(), String::new());
        let url = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the server does not start: {all}");
            all += &line;
            if let Some((_, rest)) = line.split_once("serves on ") {
                break rest.split(',').next().unwrap().to_owned();
            }
        };
        // What else it says is read until it ends, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::stderr()));
        Server { child, url }
    }

    /// SIGKILL, to this process alone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
