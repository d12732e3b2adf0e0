//! The audit trail: one row for each state change and each refused privileged try, in the transaction of the change.
//!
//! In which request, by whom and from where is known at the door and wanted here, under every flow that lies between. It travels with
//! the request's task ([`within`]) and not through each of their arguments; what the clock or a terminal does has none.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, outbox};
use crate::domain::actor::Actor;
use crate::domain::ids::AccountId;
use crate::domain::refusal::Refusal;
use crate::domain::time::Instant;

/// The account of what concerns none.
pub const NO_ACCOUNT: AccountId = AccountId(Uuid::nil());

/// What happened. `detail` holds figures and ids, never names, addresses or free text.
#[derive(Debug)]
pub struct Entry<'a> {
    /// [`NO_ACCOUNT`] where no account is concerned.
    pub account: AccountId,
    pub actor: &'a Actor,
    /// A verb with its noun, such as `claim.recommend`, or `claim.approve.refused`.
    pub action: &'a str,
    /// The id of what it was done to.
    pub subject: &'a str,
    pub detail: Value,
    /// Business time.
    pub at: Instant,
}

/// The request that is being answered, and what became known of it on the way.
#[derive(Debug)]
pub struct Request {
    id: String,
    address: Option<IpAddr>,
    /// So that nobody finds the address from its hash by trying all there are.
    salt: [u8; 16],
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    actor: Option<Actor>,
    refusal: Option<Refusal>,
    is_noted: bool,
}

tokio::task_local! {
    static REQUEST: Arc<Request>;
}

impl Request {
    pub fn new(id: &str, address: Option<IpAddr>) -> Arc<Self> {
        let salt = *Uuid::new_v4().as_bytes();
        Arc::new(Request { id: id.to_owned(), address, salt, known: Mutex::default() })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Who was refused what, unless a flow has put that into the audit trail already.
    pub fn unnoted_refusal(&self) -> Option<(Actor, Refusal)> {
        let mut known = self.known();
        if known.is_noted {
            return None;
        }
        known.actor.take().zip(known.refusal.take())
    }

    /// What the address hashes to.
    fn origin(&self) -> Option<(Vec<u8>, String)> {
        let address = self.address?.to_string();
        let origin = Sha256::new().chain_update(self.salt).chain_update(&address).finalize();
        Some((origin.to_vec(), address))
    }
}

/// Lets everything that `answering` writes into the audit trail say in which request it was.
pub async fn within<F: Future>(request: Arc<Request>, answering: F) -> F::Output {
    REQUEST.scope(request, answering).await
}

/// Says by whom the request is.
pub fn by(actor: &Actor) {
    let _ = REQUEST.try_with(|request| request.known().actor = Some(actor.clone()));
}

/// Says that the request was refused.
pub fn refused(refusal: &Refusal) {
    let _ = REQUEST.try_with(|request| request.known().refusal = Some(refusal.clone()));
}

/// Says that the refusal stands in the audit trail.
pub fn noted() {
    let _ = REQUEST.try_with(|request| request.known().is_noted = true);
}

/// What the audit rows of this request say of it, after keeping the address that they commit to; none outside of a request.
pub(super) async fn context(conn: &mut PgConnection, at: Instant) -> Result<Option<Value>, Error> {
    let Ok(request) = REQUEST.try_with(Arc::clone) else { return Ok(None) };
    let mut context = json!({ "request": request.id });
    if let Some((origin, address)) = request.origin() {
        sqlx::query(
            r"INSERT INTO request_origin (origin, salt, address, recorded_at) VALUES ($1, $2, $3, $4)
              ON CONFLICT (origin) DO NOTHING",
        )
        .bind(&origin)
        .bind(request.salt.as_slice())
        .bind(address)
        .bind(at.utc())
        .execute(conn)
        .await?;
        context["from"] = Value::from(hex::encode(origin));
    }
    Ok(Some(context))
}

/// Writes the row and the outbox row that will put it into the chain. Locks the account's head.
pub async fn record(conn: &mut PgConnection, entry: &Entry<'_>) -> Result<Uuid, Error> {
    let audit_id = insert(conn, entry).await?;
    outbox::put(
        conn,
        &outbox::Event {
            account: entry.account,
            event_id: audit_id,
            transfer_ids: &[],
            audit_ids: &[audit_id],
            at: entry.at,
        },
    )
    .await?;
    Ok(audit_id)
}

/// Writes the row alone, for an event whose own outbox row will name it.
pub async fn insert(conn: &mut PgConnection, entry: &Entry<'_>) -> Result<Uuid, Error> {
    let audit_id = Uuid::now_v7();
    let context = context(conn, entry.at).await?;
    sqlx::query(
        r"INSERT INTO audit (account_id, audit_id, recorded_at, actor, action, subject, detail, context)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(entry.account.0)
    .bind(audit_id)
    .bind(entry.at.utc())
    .bind(entry.actor.key())
    .bind(entry.action)
    .bind(entry.subject)
    .bind(&entry.detail)
    .bind(context)
    .execute(conn)
    .await?;
    Ok(audit_id)
}

/// What an auditor looks for. Whatever is none is not asked.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub account: Option<AccountId>,
    /// `issuer|subject`.
    pub actor: Option<String>,
    /// An action, or the beginning of several, such as `credit_run.`.
    pub action: Option<String>,
    /// Recorded from here on.
    pub from: Option<Instant>,
    /// Recorded before this.
    pub to: Option<Instant>,
}

/// A row of the audit trail as an auditor reads it.
#[derive(Clone, Debug)]
pub struct Found {
    pub account: AccountId,
    pub id: Uuid,
    pub at: Instant,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: Value,
    pub request: Option<String>,
    /// Where the request came from; none where that is not known, or was erased.
    pub address: Option<String>,
    /// The number of its entry in the chain; none while it waits for one.
    pub entry: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    account_id: Uuid,
    audit_id: Uuid,
    recorded_at: DateTime<Utc>,
    actor: String,
    action: String,
    subject: String,
    detail: Value,
    request: Option<String>,
    address: Option<String>,
    entry: Option<i64>,
}

/// A report: the rows that are wanted, the oldest first, after one of them.
pub async fn list(
    conn: &mut PgConnection,
    wanted: &Wanted,
    after: Option<(Instant, Uuid)>,
    limit: i64,
) -> Result<Vec<Found>, Error> {
    let (after_at, after_id) = after.map_or((Instant::MIN, Uuid::nil()), |after| after);
    let rows: Vec<FoundRow> = sqlx::query_as(
        r"SELECT page.account_id, page.audit_id, page.recorded_at, page.actor, page.action, page.subject, page.detail,
                 page.context ->> 'request' AS request, request_origin.address, chain.no AS entry
          FROM (
              SELECT account_id, audit_id, recorded_at, actor, action, subject, detail, context FROM audit
              WHERE (recorded_at, audit_id) > ($1, $2)
                AND ($3::uuid IS NULL OR account_id = $3) AND ($4::text IS NULL OR actor = $4)
                AND ($5::text IS NULL OR starts_with(action, $5))
                AND ($6::timestamptz IS NULL OR recorded_at >= $6) AND ($7::timestamptz IS NULL OR recorded_at < $7)
              ORDER BY recorded_at, audit_id LIMIT $8
          ) AS page
          LEFT JOIN request_origin ON request_origin.origin = decode(page.context ->> 'from', 'hex')
          LEFT JOIN chain ON chain.lane = ANY (ARRAY(SELECT lane FROM lane_head)) AND chain.account_id = page.account_id
                         AND chain.row_id = page.audit_id AND chain.kind = 'audit'
          ORDER BY page.recorded_at, page.audit_id",
    )
    .bind(after_at.utc())
    .bind(after_id)
    .bind(wanted.account.map(|account| account.0))
    .bind(wanted.actor.as_deref())
    .bind(wanted.action.as_deref())
    .bind(wanted.from.map(Instant::utc))
    .bind(wanted.to.map(Instant::utc))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Found {
                account: AccountId(row.account_id),
                id: row.audit_id,
                at: instant(row.recorded_at, "audit.recorded_at")?,
                actor: row.actor,
                action: row.action,
                subject: row.subject,
                detail: row.detail,
                request: row.request,
                address: row.address,
                entry: row.entry,
            })
        })
        .collect()
}
