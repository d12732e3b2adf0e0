//! A PostgreSQL of one test's own, which is stopped and started again under its users.

#![allow(dead_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use makegood::pg::{self, Cluster, Options};
use makegood::store::setup;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::support::PROGRAM;

const NAME: &str = "makegood";

pub struct Stoppable {
    folder: PathBuf,
    cluster: Option<Cluster>,
    pub url_app: String,
    pub url_owner: String,
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        self.cluster = None;
        // Its supervisor ends it soon, and then the folder is only a folder.
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::fs::remove_dir_all(&self.folder).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

async fn start_cluster(folder: PathBuf) -> Cluster {
    let options = Options {
        data_dir: folder.join("postgres"),
        durable: true,
        linger: Duration::from_millis(100),
        program: PathBuf::from(PROGRAM),
        bin_dir: None,
    };
    tokio::task::spawn_blocking(move || pg::start(&options)).await.unwrap().unwrap()
}

impl Stoppable {
    /// Starts it, with a migrated database.
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("makegood-stoppable-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let cluster = start_cluster(folder.clone()).await;
        let url = cluster.url("postgres", "postgres");
        let mut superuser = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
        setup::prepare(&mut superuser, NAME).await.unwrap();
        superuser.close().await.unwrap();
        let (url_app, url_owner) = (cluster.url(setup::SERVER, NAME), cluster.url(setup::OWNER, NAME));
        let owner = PgPool::connect(&url_owner).await.unwrap();
        setup::migrate(&owner).await.unwrap();
        owner.close().await;
        Stoppable { folder, cluster: Some(cluster), url_app, url_owner }
    }

    /// Where its files are: `postgres/data` is the cluster.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Stops it, and returns when nobody can connect any more.
    pub async fn stop(&mut self) {
        self.cluster = None;
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Ok(connection) = PgConnection::connect(&self.url_app).await {
            let _ = connection.close().await;
            assert!(Instant::now() < deadline, "the server does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // It refuses connections before it has written its last checkpoint and taken away the files of tables that are no more.
        while self.folder.join("postgres/data/postmaster.pid").exists() {
            assert!(Instant::now() < deadline, "the server does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL to the server and all of its processes. Its supervisor starts it again.
    pub fn crash(&self) -> usize {
        self.cluster.as_ref().unwrap().crash()
    }

    pub async fn start_again(&mut self) {
        self.cluster = Some(start_cluster(self.folder.clone()).await);
    }
}
