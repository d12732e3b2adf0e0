//! The real program, as its own process.

#![allow(dead_code)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use makegood::failpoint;

use crate::support::PROGRAM;

/// `makegood serve`. It is killed when this goes.
pub struct Server {
    child: Child,
    pub url: String,
    /// The fail points that it reached.
    reached: Receiver<String>,
}

impl Server {
    /// Serves from the database at `url_app`, keeping its own files in `data`, and returns once it does.
    pub fn start(url_app: &str, data: &Path, listen: &str, more: &[&OsStr]) -> Self {
        Self::armed("", url_app, data, listen, more)
    }

    /// As [`Server::start`], to stop at a fail point.
    pub fn armed(point: &str, url_app: &str, data: &Path, listen: &str, more: &[&OsStr]) -> Self {
        let mut command = Command::new(PROGRAM);
        if !point.is_empty() {
            command.env("MAKEGOOD_FAILPOINT", point);
        }
        let mut child = command
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
        let (tell, reached) = channel();
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                match line.strip_prefix(failpoint::SAID) {
                    Some(point) => drop(tell.send(point.to_owned())),
                    None => eprintln!("{line}"),
                }
            }
        });
        Server { child, url, reached }
    }

    /// Waits until it stops at the fail point that it was armed with.
    pub fn stops_at(&self, point: &str) {
        let reached = self.reached.recv_timeout(Duration::from_secs(60));
        assert_eq!(reached.as_deref(), Ok(point), "{point} is never reached");
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
