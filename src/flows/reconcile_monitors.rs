//! Monitors were asked: what they never told becomes observations, and the outage windows follow.
//!
//! Only differences are recorded. Each is of its own kind, since the answer that it comes from is kept as one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::refold::{Evidence, groups_of, record, refold_all, touched_by_silence};
use super::system_actor;
use crate::domain::ask::{self, Ask, Series};
use crate::domain::monitors::{Mapping, Meaning, Source};
use crate::domain::observation::{Observation, ObservationKey};
use crate::domain::time::{DAY, Instant, SECOND};
use crate::store::asked::{self, Asked, Origin};
use crate::store::{Error, Tx, evidence, heartbeats, monitors, observations};

/// The most points that Prometheus gives for one question.
const POINTS: i64 = 11_000;
/// How far back Prometheus is asked at most: what it keeps unless told otherwise, in microseconds.
const FURTHEST: i64 = 15 * DAY;
/// The fewest points that a question is halved to.
const FEWEST: i64 = 20;

/// A source that is to be asked now.
#[derive(Clone, Debug)]
pub struct Due {
    pub source: Source,
    pub ask: Ask,
    /// The alerts that have a rule, sorted: Prometheus is asked for these.
    pub alerts: Vec<String>,
    set_up: Instant,
    asked: Option<Asked>,
}

/// One question to Prometheus: samples from `from` to `to`, one a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub from: Instant,
    pub to: Instant,
}

/// What an answer told that was not told before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Alerts, and ends of alerts.
    pub observations: usize,
    pub heartbeats: usize,
    pub windows: usize,
}

/// The sources whose time to be asked has come.
pub async fn due(pool: &PgPool, now: Instant) -> Result<Vec<Due>, Error> {
    let mut conn = pool.acquire().await?;
    let mut due: Vec<Due> = Vec::new();
    for source in monitors::sources(&mut conn).await? {
        let Some(ask) = source.ask.clone() else { continue };
        let Some((set_up, asked)) = asked::progress(&mut conn, &source.name).await? else { continue };
        let every = i64::from(ask.every_seconds) * SECOND;
        if asked.is_none_or(|asked| asked.at.plus(every) <= now) {
            due.push(Due { source, ask, alerts: Vec::new(), set_up, asked });
        }
    }
    if !due.is_empty() {
        let mapping = monitors::mapping(&mut conn).await?;
        due.iter_mut().for_each(|one| one.alerts = mapping.alerts_of(&one.source.name));
    }
    Ok(due)
}

/// Whether it is still due, for whoever had to wait for another server that asked.
pub async fn still_due(pool: &PgPool, due: &Due) -> Result<bool, Error> {
    let mut conn = pool.acquire().await?;
    let progress = asked::progress(&mut conn, &due.source.name).await?;
    Ok(progress.is_some_and(|(_, asked)| asked == due.asked))
}

/// Notes that everybody was asked.
pub async fn note_asked(pool: &PgPool, due: &Due, to: Option<Instant>, now: Instant) -> Result<(), Error> {
    let mut conn = pool.acquire().await?;
    asked::note(&mut conn, &due.source.name, to, now).await
}

impl Question {
    /// The same in two, the earlier first, for whoever cannot answer it in one. The later looks back as every question does. None
    /// where it is too short for that.
    pub fn halves(self, step_seconds: u32) -> Option<[Question; 2]> {
        let step = i64::from(step_seconds) * SECOND;
        let points = (self.to.micros() - self.from.micros()) / step;
        let middle = self.from.plus(points / 2 * step);
        let halves = [Question { to: middle, ..self }, Question { from: middle.plus(-3 * step), ..self }];
        (points >= 2 * FEWEST).then_some(halves)
    }
}

impl Due {
    /// The questions to Prometheus, the earliest first: from where it was asked last, or from when the source was set up. Each
    /// looks back a little, so that an alert which goes on is seen to go on. None while no alert has a rule.
    pub fn questions(&self, now: Instant) -> Vec<Question> {
        let step = i64::from(self.ask.step_seconds) * SECOND;
        let begin = self.asked.and_then(|asked| asked.to).unwrap_or(self.set_up).max(now.plus(-FURTHEST));
        let mut from = begin.plus(-3 * step);
        let mut questions = Vec::new();
        while from < now && !self.alerts.is_empty() {
            let to = from.plus((POINTS - 1) * step).min(now);
            questions.push(Question { from, to });
            if to == now {
                break;
            }
            from = to.plus(-3 * step);
        }
        questions
    }

    /// What began or ended after this may still be told.
    pub fn horizon(&self, now: Instant) -> Instant {
        now.plus(-i64::from(self.ask.patience_seconds) * SECOND)
    }
}

/// What somebody answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// Alertmanager: what fires.
    Firing(&'a [Observation]),
    /// Prometheus: what fired in the time of the question.
    Fired(Question, &'a [Series]),
}

/// What an answer is held against.
#[derive(Debug, PartialEq, Eq)]
struct Basis {
    mapping: Mapping,
    known: Vec<Observation>,
    heard: Vec<Instant>,
}

async fn basis(tx: &mut Tx, now: Instant, due: &Due, answer: Answer<'_>) -> Result<Basis, Error> {
    let source = due.source.name.as_str();
    let mapping = monitors::mapping(tx).await?;
    let (known, heard) = match answer {
        Answer::Firing(held) => {
            let earliest = held.iter().map(|one| one.starts_at).min().unwrap_or(now);
            (asked::known(tx, source, earliest).await?, Vec::new())
        }
        Answer::Fired(question, _) => {
            let before = question.from.plus(-10 * i64::from(due.ask.step_seconds) * SECOND);
            let known = asked::known(tx, source, before).await?;
            let heard = match due.source.heartbeat_gap_seconds.map(|gap| i64::from(gap) * SECOND) {
                Some(margin) => asked::heard(tx, source, question.from.plus(-margin), question.to.plus(margin)).await?,
                None => Vec::new(),
            };
            (known, heard)
        }
    };
    Ok(Basis { mapping, known, heard })
}

/// What was never told of `answer`: alerts, and heartbeats.
fn find(basis: &Basis, now: Instant, due: &Due, answer: Answer<'_>) -> (Vec<Observation>, Vec<Instant>) {
    let (source, step) = (due.source.name.as_str(), due.ask.step_seconds);
    let Basis { mapping, known, heard } = basis;
    let (question, series) = match answer {
        Answer::Firing(held) => return (ask::untold(held, known, due.horizon(now)), Vec::new()),
        Answer::Fired(question, series) => (question, series),
    };
    let meaning = |one: &Observation| mapping.meaning(source, one);
    let (beats, alerts): (Vec<Series>, Vec<Series>) = series.iter().cloned().partition(|one| {
        let fired = ask::fired(std::slice::from_ref(one), step, question.to);
        fired.first().is_some_and(|one| meaning(one) == Ok(Meaning::Heartbeat))
    });
    let about = |one: &Observation| match meaning(one) {
        Ok(Meaning::Outage { groups, .. }) => groups,
        Ok(Meaning::Heartbeat | Meaning::Ignored) | Err(_) => Vec::new(),
    };
    let fired = ask::fired(&alerts, step, question.to);
    let missed = ask::missed(&fired, known, step, due.horizon(now), about);
    let Some(gap) = due.source.heartbeat_gap_seconds else { return (missed, Vec::new()) };
    let samples: BTreeSet<Instant> = beats.iter().flat_map(|one| one.at.iter().copied()).collect();
    let samples: Vec<Instant> = samples.into_iter().collect();
    (missed, ask::unheard(&samples, heard, gap))
}

/// Holds an answer against what is known, and records what differs. `raw` is the answer as it came.
pub async fn reconcile_monitors(
    pool: &PgPool,
    now: Instant,
    due: &Due,
    raw: &[u8],
    answer: Answer<'_>,
) -> Result<Found, Error> {
    let source = due.source.name.as_str();
    let origin = match answer {
        Answer::Firing(_) => Origin::AskedAlertmanager,
        Answer::Fired(..) => Origin::AskedPrometheus,
    };
    let mut tx = pool.begin().await?;
    let before = basis(&mut tx, now, due, answer).await?;
    tx.rollback().await?;
    let (mut observed, mut beats) = find(&before, now, due, answer);
    if observed.is_empty() && beats.is_empty() {
        return Ok(Found::default());
    }
    // Nobody else records anything from here on. It is held against what is known once more only if that is not the same.
    let mut tx = pool.begin().await?;
    let recorded_at = evidence::stamp(&mut tx, now).await?;
    let basis = basis(&mut tx, now, due, answer).await?;
    if basis != before {
        (observed, beats) = find(&basis, now, due, answer);
    }
    let mapping = basis.mapping;
    let sha256: [u8; 32] = Sha256::digest(raw).into();
    let mut distinct: BTreeMap<ObservationKey, &Observation> = BTreeMap::new();
    for one in &observed {
        let known = distinct.entry(one.key(source)).or_insert(one);
        if one.ends_at > known.ends_at {
            *known = one;
        }
    }
    if !distinct.is_empty() {
        asked::keep_answer(&mut tx, source, origin, &sha256, raw, now).await?;
    }
    let stored = observations::insert_new(&mut tx, &distinct, &sha256, recorded_at).await?;
    let stored: BTreeSet<ObservationKey> = stored.into_iter().collect();
    let mut groups = groups_of(&mapping, source, &observed);
    for beat in &beats {
        heartbeats::hear(&mut tx, source, *beat).await?;
    }
    if let (Some(first), Some(last), Some(gap)) = (beats.first(), beats.last(), due.source.heartbeat_gap_seconds) {
        // Ends that these heartbeats may prove.
        let half = (last.micros() - first.micros()) / 2;
        let reach = gap.saturating_add(u32::try_from(half / SECOND + 1).unwrap_or(u32::MAX / 2));
        let ended = observations::ended_near(&mut tx, source, first.plus(half), reach).await?;
        groups.extend(groups_of(&mapping, source, &ended));
        if heartbeats::settle(&mut tx, source, gap, (*first, *last), recorded_at).await? > 0 {
            groups.extend(touched_by_silence(&mut tx, &mapping, &due.source).await?);
        }
    }
    let actor = system_actor("ask");
    let evidence = Evidence { mapping: &mapping, by: source, actor: &actor, recorded_at, now };
    let windows = refold_all(&mut tx, &evidence, groups, &stored).await?.windows.len();
    let found = Found { observations: stored.len(), heartbeats: beats.len(), windows };
    if found.observations > 0 {
        let detail = json!({
            "origin": origin.name(), "observations": found.observations, "windows": windows, "sha256": hex::encode(sha256),
        });
        record(&mut tx, &actor, "monitors.ask", source, detail, now).await?;
    }
    tx.commit().await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::monitors::SourceKind;

    #[test]
    fn the_time_since_prometheus_was_asked_is_asked_in_pieces_that_it_gives() {
        let now = Instant::parse("2026-10-12T17:10:00Z").unwrap();
        let ask = Ask {
            alertmanager: None,
            prometheus: Some("http://127.0.0.1:9090".to_owned()),
            every_seconds: 60,
            step_seconds: 15,
            patience_seconds: 600,
        };
        let source = Source {
            name: "prometheus-north".to_owned(),
            kind: SourceKind::Alertmanager,
            heartbeat_gap_seconds: Some(180),
            ask: Some(ask.clone()),
            watches: Vec::new(),
        };
        let due = |asked_to: Option<Instant>| Due {
            source: source.clone(),
            ask: ask.clone(),
            alerts: vec!["InboundDown".to_owned()],
            set_up: now.plus(-100 * DAY),
            asked: asked_to.map(|to| Asked { to: Some(to), at: to }),
        };
        let minute_ago = now.plus(-60 * SECOND);
        let short = due(Some(minute_ago)).questions(now);
        assert_eq!(short, [Question { from: minute_ago.plus(-45 * SECOND), to: now }]);
        let long = due(None).questions(now);
        assert_eq!(long.first().unwrap().from, now.plus(-FURTHEST - 45 * SECOND), "no further than what is kept");
        assert_eq!(long.last().unwrap().to, now);
        assert!(long.iter().all(|one| one.to.micros() - one.from.micros() <= 10_999 * 15 * SECOND));
        assert!(long.windows(2).all(|pair| pair[1].from < pair[0].to), "an alert that goes on is seen to go on");
        assert_eq!(Due { alerts: Vec::new(), ..due(None) }.questions(now), [], "nobody says what any alert means");
    }

    #[test]
    fn a_question_that_is_too_large_is_asked_in_halves_down_to_a_few_points() {
        let at = |second: i64| Instant::parse("2026-10-12T17:10:00Z").unwrap().plus(second * SECOND);
        let whole = Question { from: at(0), to: at(150_010) };
        let [first, second] = whole.halves(15).unwrap();
        assert_eq!(
            (first, second),
            (Question { from: at(0), to: at(75_000) }, Question { from: at(75_000 - 45), to: at(150_010) },)
        );
        assert!(Question { from: at(0), to: at(600) }.halves(15).is_some());
        assert_eq!(Question { from: at(0), to: at(599) }.halves(15), None);
        let (mut left, mut smallest) = (vec![whole], 0);
        while let Some(one) = left.pop() {
            match one.halves(15) {
                Some(halves) => left.extend(halves),
                None => smallest += 1,
            }
        }
        assert!(smallest > 100, "it comes to an end");
    }
}
