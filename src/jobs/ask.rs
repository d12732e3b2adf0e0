//! Asks the monitors what they did not tell: Alertmanager what fires, Prometheus what fired since it was asked last.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Client, StatusCode, redirect};
use sqlx::Connection;
use tokio::sync::watch;

use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;
use crate::flows::reconcile_monitors::{Answer, Due, Question, due, note_asked, reconcile_monitors, still_due};
use crate::http::App;
use crate::sources::asked;
use crate::store::{self, Error};

/// How long until it is looked whether anybody is to be asked.
const TURN: Duration = Duration::from_secs(1);
/// How long an answer may take, and how large it may be, in bytes.
const ANSWER_IN: Duration = Duration::from_secs(20);
const LARGEST: usize = 64 * 1024 * 1024;

/// Why somebody was not asked, or the answer was of no use.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("it does not answer: {0}")]
    Away(#[from] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is over {LARGEST} bytes")]
    TooLarge,
    #[error("{0:?}")]
    Unreadable(Vec<String>),
}

impl From<Refusal> for AskError {
    fn from(refusal: Refusal) -> Self {
        AskError::Unreadable(refusal.errors.into_iter().map(|error| error.message).collect())
    }
}

/// Asks until `stop` says so.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    // An answer comes from the address that operations named and from nowhere else.
    let client =
        Client::builder().redirect(redirect::Policy::none()).connect_timeout(ANSWER_IN).timeout(ANSWER_IN).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "nobody can be asked"),
    };
    while !*stop.borrow() {
        tokio::select! {
            () = turn(&app, &client) => {}
            _ = stop.changed() => break,
        }
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            _ = stop.changed() => break,
        }
    }
}

async fn turn(app: &App, client: &Client) {
    let sources = match due(&app.pool, app.clock.now()).await {
        Ok(sources) => sources,
        Err(error) if error.is_unavailable() => return,
        Err(error) => return tracing::error!(%error, "it is not known who is to be asked"),
    };
    for source in sources {
        if let Err(error) = one(app, client, &source).await {
            tracing::error!(%error, source = source.source.name, "a source could not be asked");
        }
    }
}

/// Asks one source, unless another server does.
async fn one(app: &App, client: &Client, due: &Due) -> Result<(), Error> {
    // The connection ends with this, and the lease with it.
    let mut leased = app.pool.acquire().await?.detach();
    if !store::asked::lease(&mut leased, &due.source.name).await? || !still_due(&app.pool, due).await? {
        return Ok(());
    }
    let source = due.source.name.as_str();
    if let Some(address) = &due.ask.alertmanager
        && let Err(error) = alertmanager(app, client, due, address).await
    {
        tracing::warn!(%error, source, "Alertmanager was asked in vain");
    }
    let mut asked_to = None;
    if let Some(address) = &due.ask.prometheus {
        // What was asked stays asked if the next question fails.
        let began = app.clock.now();
        let mut questions = VecDeque::from(due.questions(began));
        while let Some(question) = questions.pop_front() {
            match prometheus(app, client, due, address, question).await {
                Ok(()) => asked_to = Some(question.to.min(due.horizon(began))),
                Err(error) => {
                    if let Some([first, second]) = halves(&error, question, due) {
                        tracing::info!(%error, source, "Prometheus is asked for less at once");
                        questions.push_front(second);
                        questions.push_front(first);
                        continue;
                    }
                    tracing::warn!(%error, source, "Prometheus was asked in vain: it is asked again for the same time");
                    break;
                }
            }
        }
    }
    let noted = note_asked(&app.pool, due, asked_to, app.clock.now()).await;
    let _ = leased.close().await;
    noted
}

/// The question in two, where the answer to it is too much: for us, for Prometheus, or for the time there is.
fn halves(error: &AskError, question: Question, due: &Due) -> Option<[Question; 2]> {
    let is_too_much = match error {
        AskError::TooLarge => true,
        AskError::Away(error) => error.is_timeout() && !error.is_connect(),
        // Prometheus says so of a question that takes too many samples, or too long.
        AskError::Status(status) => {
            matches!(*status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::SERVICE_UNAVAILABLE)
        }
        AskError::Store(_) | AskError::Unreadable(_) => false,
    };
    is_too_much.then(|| question.halves(due.ask.step_seconds)).flatten()
}

async fn alertmanager(app: &App, client: &Client, due: &Due, address: &str) -> Result<(), AskError> {
    let path = "api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true";
    let raw = get(client, &format!("{}/{path}", address.trim_end_matches('/'))).await?;
    let firing = asked::alertmanager(&raw)?;
    let found = reconcile_monitors(&app.pool, app.clock.now(), due, &raw, Answer::Firing(&firing)).await?;
    if found.observations > 0 {
        tracing::warn!(source = due.source.name, ?found, "Alertmanager holds what was not told");
    }
    Ok(())
}

async fn prometheus(app: &App, client: &Client, due: &Due, address: &str, question: Question) -> Result<(), AskError> {
    let url = format!(
        "{}/api/v1/query_range?query={}&start={}&end={}&step={}",
        address.trim_end_matches('/'),
        asked::encoded(&asked::query(&due.alerts)),
        seconds(question.from),
        seconds(question.to),
        due.ask.step_seconds,
    );
    let raw = get(client, &url).await?;
    let series = asked::prometheus(&raw)?;
    let answer = Answer::Fired(question, &series);
    let found = reconcile_monitors(&app.pool, app.clock.now(), due, &raw, answer).await?;
    if found.observations > 0 {
        tracing::warn!(source = due.source.name, ?found, "Prometheus knows what was not told");
    }
    Ok(())
}

/// An instant as Prometheus takes it: seconds since 1970.
fn seconds(at: Instant) -> String {
    format!("{}.{:06}", at.micros() / 1_000_000, at.micros() % 1_000_000)
}

async fn get(client: &Client, url: &str) -> Result<Vec<u8>, AskError> {
    let mut response = client.get(url).send().await?;
    if response.status() != StatusCode::OK {
        return Err(AskError::Status(response.status()));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LARGEST {
            return Err(AskError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.to_vec())
}
