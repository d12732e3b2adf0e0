//! What accounts should have got, beside what they were credited: listings that are only ever added, and what was decided.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::evidence::instant;
use super::{Error, money};
use crate::domain::difference::Decision;
use crate::domain::ids::{AccountId, DifferenceId, SubscriptionId};
use crate::domain::money::Money;
use crate::domain::period::Month;
use crate::domain::time::Instant;

/// One listing of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    pub period: Month,
    pub listed_at: Instant,
    pub recorded_as_of: Instant,
}

/// One account's difference, before it is listed.
#[derive(Clone, Debug)]
pub struct Found {
    pub account: AccountId,
    pub subscription: SubscriptionId,
    pub currency: String,
    pub credited_minor: i64,
    pub due_minor: Option<i64>,
    pub credited_as_of: Option<Instant>,
    /// How often something of it was taken back.
    pub taken_back: i64,
    pub blockers: Vec<String>,
}

impl Found {
    /// The same difference found again has the same id, until something is taken back: then it was settled, and this is another.
    pub fn id(&self, period: Month) -> DifferenceId {
        let due = self.due_minor.map_or_else(|| "unknown".to_owned(), |due| due.to_string());
        let credited = self.credited_minor.to_string();
        DifferenceId::of(self.account, self.subscription, &period.to_string(), (&credited, &due), self.taken_back)
    }
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    account_id: Uuid,
    subscription_id: Uuid,
    currency: String,
    credited_minor: i64,
    due_minor: Option<i64>,
    credited_as_of: Option<DateTime<Utc>>,
    taken_back: i64,
    blockers: Vec<String>,
}

/// A page of what differs between the assessments of a period as recorded at `as_of` and the contract credits for it, those given elsewhere
/// among them, by account. Those that were never credited and are held back are not among them: a credit run names them.
pub async fn find_after(
    conn: &mut PgConnection,
    period: Month,
    as_of: Instant,
    after: Option<(AccountId, SubscriptionId)>,
    limit: i64,
) -> Result<Vec<Found>, Error> {
    let (account, subscription) =
        after.map_or((Uuid::nil(), Uuid::nil()), |(account, subscription)| (account.0, subscription.0));
    let rows: Vec<FoundRow> = sqlx::query_as(
        r"SELECT account_id, subscription_id, coalesce(given.currency, due.currency) AS currency,
                 coalesce(given.minor, 0) AS credited_minor,
                 CASE WHEN due.currency IS NULL THEN 0 ELSE due.amount_minor END AS due_minor,
                 given.as_of AS credited_as_of, coalesce(given.times, 0) AS taken_back, coalesce(due.blockers, '{}') AS blockers
          FROM (SELECT account_id, subscription_id, min(currency) FILTER (WHERE minor IS NOT NULL) AS currency,
                       sum(minor)::bigint AS minor, max(as_of) AS as_of,
                       sum(times)::bigint AS times
                FROM (SELECT account_id, subscription_id, credit.currency, coalesce(times, 0) AS times,
                             CASE WHEN is_reversed THEN NULL ELSE gross_minor - coalesce(debited, 0) END AS minor,
                             CASE WHEN is_reversed THEN NULL ELSE recorded_as_of END AS as_of
                      FROM credit LEFT JOIN credit_run USING (run_id)
                      LEFT JOIN (SELECT account_id, credit_id, bool_or(kind = 'reversed') AS is_reversed,
                                        sum(gross_minor) FILTER (WHERE kind = 'debited') AS debited,
                                        count(*) FILTER (WHERE kind IN ('reversed', 'debited')) AS times
                                 FROM credit_deed GROUP BY account_id, credit_id) taken USING (account_id, credit_id)
                      WHERE credit.road = 'contract' AND service_from = $2 AND subscription_id IS NOT NULL
                      UNION ALL
                      SELECT account_id, subscription_id, currency, 0, amount_minor, NULL
                      FROM (SELECT DISTINCT ON (account_id, reference) * FROM given_elsewhere WHERE recorded_at <= $3
                            ORDER BY account_id, reference, recorded_at DESC) last
                      WHERE period = $1 AND kind = 'contract') one
                GROUP BY account_id, subscription_id) given
          FULL JOIN (SELECT account_id, subscription_id, currency, amount_minor, blockers
                     FROM assessment WHERE period = $1 AND recorded_as_of = $3) due
               USING (account_id, subscription_id)
          WHERE (account_id, subscription_id) > ($4, $5)
            AND coalesce(given.minor, 0) IS DISTINCT FROM
                (CASE WHEN due.currency IS NULL THEN 0 ELSE due.amount_minor END)
            AND (given.minor IS NOT NULL OR (due.amount_minor IS NOT NULL AND due.blockers = '{}'))
          ORDER BY account_id, subscription_id LIMIT $6",
    )
    .bind(period.to_string())
    .bind(period.first_day())
    .bind(as_of.utc())
    .bind(account)
    .bind(subscription)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Found {
                account: AccountId(row.account_id),
                subscription: SubscriptionId(row.subscription_id),
                currency: row.currency,
                credited_minor: row.credited_minor,
                due_minor: row.due_minor,
                credited_as_of: row.credited_as_of.map(|at| instant(at, "credit_run.recorded_as_of")).transpose()?,
                taken_back: row.taken_back,
                blockers: row.blockers,
            })
        })
        .collect()
}

/// How many contract credits were issued for the service period that begins on this day.
pub async fn credits_issued(conn: &mut PgConnection, service_from: NaiveDate) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(r"SELECT count(*) FROM credit WHERE road = 'contract' AND service_from = $1")
        .bind(service_from)
        .fetch_one(conn)
        .await?)
}

/// Begins a listing at `now`, or a microsecond after the last one of the period.
pub async fn begin(
    conn: &mut PgConnection,
    period: Month,
    as_of: Instant,
    now: Instant,
    by: &str,
) -> Result<Listing, Error> {
    let listed_at: DateTime<Utc> = sqlx::query_scalar(
        r"INSERT INTO difference_listing (period, listed_at, recorded_as_of, listed_by)
          SELECT $1, greatest($2, max(listed_at) + interval '1 microsecond'), $3, $4
          FROM difference_listing WHERE period = $1
          RETURNING listed_at",
    )
    .bind(period.to_string())
    .bind(now.utc())
    .bind(as_of.utc())
    .bind(by)
    .fetch_one(conn)
    .await?;
    Ok(Listing { period, listed_at: instant(listed_at, "difference_listing.listed_at")?, recorded_as_of: as_of })
}

pub async fn insert(conn: &mut PgConnection, listing: &Listing, found: &[Found]) -> Result<(), Error> {
    // Lists of different lengths travel as JSON.
    let blockers: Vec<serde_json::Value> = found.iter().map(|one| serde_json::json!(one.blockers)).collect();
    sqlx::query(
        r"INSERT INTO difference (account_id, period, listed_at, subscription_id, difference_id, currency, credited_minor, due_minor,
                                  credited_as_of, blockers)
          SELECT account_id, $1, $2, subscription_id, difference_id, currency, credited_minor, due_minor, credited_as_of,
                 ARRAY(SELECT jsonb_array_elements_text(blockers))
          FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[], $9::timestamptz[], $10::jsonb[])
               AS row (account_id, subscription_id, difference_id, currency, credited_minor, due_minor, credited_as_of, blockers)",
    )
    .bind(listing.period.to_string())
    .bind(listing.listed_at.utc())
    .bind(found.iter().map(|one| one.account.0).collect::<Vec<_>>())
    .bind(found.iter().map(|one| one.subscription.0).collect::<Vec<_>>())
    .bind(found.iter().map(|one| one.id(listing.period).0).collect::<Vec<_>>())
    .bind(found.iter().map(|one| one.currency.as_str()).collect::<Vec<_>>())
    .bind(found.iter().map(|one| one.credited_minor).collect::<Vec<_>>())
    .bind(found.iter().map(|one| one.due_minor).collect::<Vec<_>>())
    .bind(found.iter().map(|one| one.credited_as_of.map(Instant::utc)).collect::<Vec<_>>())
    .bind(blockers)
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest listing of a period.
pub async fn newest(conn: &mut PgConnection, period: Month) -> Result<Option<Listing>, Error> {
    let row: Option<(DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(
        r"SELECT listed_at, recorded_as_of FROM difference_listing WHERE period = $1 ORDER BY listed_at DESC LIMIT 1",
    )
    .bind(period.to_string())
    .fetch_optional(conn)
    .await?;
    row.map(|(listed_at, as_of)| {
        Ok(Listing {
            period,
            listed_at: instant(listed_at, "difference_listing.listed_at")?,
            recorded_as_of: instant(as_of, "difference_listing.recorded_as_of")?,
        })
    })
    .transpose()
}

/// What a listing comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Totals {
    pub accounts: i64,
    pub further_credits: i64,
    pub over_payments: i64,
    pub undecided: i64,
}

pub async fn totals(conn: &mut PgConnection, listing: &Listing) -> Result<Totals, Error> {
    Ok(sqlx::query_as(
        r"SELECT count(DISTINCT d.account_id) AS accounts, count(*) FILTER (WHERE due_minor > credited_minor) AS further_credits,
                 count(*) FILTER (WHERE due_minor < credited_minor) AS over_payments,
                 count(*) FILTER (WHERE decision IS NULL) AS undecided
          FROM difference d
          LEFT JOIN difference_decision c ON c.account_id = d.account_id AND c.difference_id = d.difference_id
          WHERE period = $1 AND listed_at = $2",
    )
    .bind(listing.period.to_string())
    .bind(listing.listed_at.utc())
    .fetch_one(conn)
    .await?)
}

/// One difference as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: DifferenceId,
    pub account: AccountId,
    pub subscription: SubscriptionId,
    pub period: Month,
    /// The operator's reference of the account.
    pub reference: String,
    pub credited: Money,
    pub due: Option<Money>,
    pub credited_as_of: Option<Instant>,
    pub blockers: Vec<String>,
    pub decided: Option<Decided>,
}

/// What somebody decided.
#[derive(Clone, Debug)]
pub struct Decided {
    pub decision: Decision,
    pub reason: String,
    pub at: Instant,
    /// `issuer|subject`.
    pub by: String,
}

#[derive(sqlx::FromRow)]
struct ListedRow {
    difference_id: Uuid,
    account_id: Uuid,
    subscription_id: Uuid,
    period: String,
    reference: String,
    currency: String,
    credited_minor: i64,
    due_minor: Option<i64>,
    credited_as_of: Option<DateTime<Utc>>,
    blockers: Vec<String>,
    decision: Option<String>,
    reason: Option<String>,
    decided_at: Option<DateTime<Utc>>,
    decided_by: Option<String>,
}

impl ListedRow {
    fn listed(self) -> Result<Listed, Error> {
        let decided = match (self.decision, self.reason, self.decided_at, self.decided_by) {
            (Some(decision), Some(reason), Some(at), Some(by)) => Some(Decided {
                decision: decision.parse().map_err(|error| Error::Corrupt(format!("difference_decision: {error}")))?,
                reason,
                at: instant(at, "difference_decision.decided_at")?,
                by,
            }),
            (..) => None,
        };
        Ok(Listed {
            id: DifferenceId(self.difference_id),
            account: AccountId(self.account_id),
            subscription: SubscriptionId(self.subscription_id),
            period: self.period.parse().map_err(|_| Error::Corrupt(format!("difference.period {}", self.period)))?,
            reference: self.reference,
            credited: money(self.credited_minor, &self.currency, "difference.credited_minor")?,
            due: self.due_minor.map(|due| money(due, &self.currency, "difference.due_minor")).transpose()?,
            credited_as_of: self.credited_as_of.map(|at| instant(at, "difference.credited_as_of")).transpose()?,
            blockers: self.blockers,
            decided,
        })
    }
}

/// A page of a listing, by account.
pub async fn page(
    conn: &mut PgConnection,
    listing: &Listing,
    after: Option<(AccountId, SubscriptionId)>,
    limit: i64,
) -> Result<Vec<Listed>, Error> {
    let (account, subscription) =
        after.map_or((Uuid::nil(), Uuid::nil()), |(account, subscription)| (account.0, subscription.0));
    let rows: Vec<ListedRow> = sqlx::query_as(
        r"SELECT d.difference_id, d.account_id, d.subscription_id, d.period, named.reference, d.currency, d.credited_minor, d.due_minor,
                 d.credited_as_of, d.blockers, c.decision, c.reason, c.decided_at, c.decided_by
          FROM difference d
          CROSS JOIN LATERAL (SELECT reference FROM account WHERE account.account_id = d.account_id LIMIT 1) named
          LEFT JOIN difference_decision c ON c.account_id = d.account_id AND c.difference_id = d.difference_id
          WHERE d.period = $1 AND d.listed_at = $2 AND (d.account_id, d.subscription_id) > ($3, $4)
          ORDER BY d.account_id, d.subscription_id LIMIT $5",
    )
    .bind(listing.period.to_string())
    .bind(listing.listed_at.utc())
    .bind(account)
    .bind(subscription)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ListedRow::listed).collect()
}

/// The difference, if the newest listing of its period still has it.
pub async fn standing(conn: &mut PgConnection, id: DifferenceId) -> Result<Option<Listed>, Error> {
    let row: Option<ListedRow> = sqlx::query_as(
        r"SELECT d.difference_id, d.account_id, d.subscription_id, d.period, named.reference, d.currency, d.credited_minor, d.due_minor,
                 d.credited_as_of, d.blockers, c.decision, c.reason, c.decided_at, c.decided_by
          FROM difference d
          CROSS JOIN LATERAL (SELECT reference FROM account WHERE account.account_id = d.account_id LIMIT 1) named
          LEFT JOIN difference_decision c ON c.account_id = d.account_id AND c.difference_id = d.difference_id
          WHERE d.difference_id = $1
            AND d.listed_at = (SELECT max(listed_at) FROM difference_listing l WHERE l.period = d.period)",
    )
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(ListedRow::listed).transpose()
}

/// Records a decision. False where there is one already.
pub async fn decide(
    conn: &mut PgConnection,
    account: AccountId,
    id: DifferenceId,
    decided: &Decided,
) -> Result<bool, Error> {
    let done = sqlx::query(
        r"INSERT INTO difference_decision (account_id, difference_id, decision, reason, decided_at, decided_by)
          VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(account.0)
    .bind(id.0)
    .bind(decided.decision.name())
    .bind(&decided.reason)
    .bind(decided.at.utc())
    .bind(&decided.by)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
