//! The catalogue of a freshly migrated database, held to the manifest in `migrations/tables.toml` and to the rules that let
//! the same tables stand on one server or on several; and the privileges, both as they are granted and as they work.
//!
//! Each rule is a query that gives what breaks it, in words that say what to do.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

/// The books and the evidence: whatever is in them stays as it was written.
const INSERT_ONLY: [&str; 31] = [
    "credit",
    "transfer",
    "audit",
    "feed",
    "chain",
    "billing_answer",
    "credit_deed",
    "claim_event",
    "source",
    "alert_rule",
    "component",
    "delivery",
    "observation",
    "heartbeat",
    "outage_window",
    "observation_window",
    "plan",
    "terms",
    "terms_approval",
    "calendar",
    "calendar_version",
    "account",
    "subscription",
    "charge",
    "placement",
    "placement_settlement",
    "given_elsewhere",
    "chart_version",
    "accounting_step",
    "provision",
    "journal_batch",
];

/// What a customer's policy says, as PostgreSQL prints it.
const OWN: &str = "(account_id = ANY ((string_to_array(NULLIF(current_setting('makegood.account'::text, true), ''::text), \
                   ','::text))::uuid[]))";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Ref,
    Dist,
    Lane,
    Local,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: Kind,
    column: Option<String>,
}

type Manifest = BTreeMap<String, Table>;

fn manifest() -> Manifest {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/tables.toml");
    toml::from_str(&fs::read_to_string(path).expect("migrations/tables.toml can be read"))
        .unwrap_or_else(|error| panic!("migrations/tables.toml: {error}"))
}

/// The names of the tables of these kinds.
fn of_kinds(kinds: &[Kind]) -> Vec<String> {
    manifest().into_iter().filter(|(_, table)| kinds.contains(&table.kind)).map(|(name, _)| name).collect()
}

/// Fails with every sentence that the rules give. `$1` is the list of tables, or roles, that they are about.
async fn hold(pool: &PgPool, names: &[String], rules: &[&'static str]) {
    assert!(!names.is_empty());
    let mut found: Vec<String> = Vec::new();
    for rule in rules {
        let broken = sqlx::query_scalar(*rule).bind(names).fetch_all(pool).await;
        found.extend(broken.unwrap_or_else(|error| panic!("{error}\n{rule}")));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

async fn rule_about(kinds: &[Kind], rules: &[&'static str]) {
    let database = support::database().await;
    // A table that is not there is another test's to tell.
    let there = "SELECT t FROM unnest($1::text[]) t WHERE to_regclass(t) IS NOT NULL";
    let tables: Vec<String> = sqlx::query_scalar(there).bind(of_kinds(kinds)).fetch_all(&database.owner).await.unwrap();
    hold(&database.owner, &tables, rules).await;
    database.close().await;
}

const ALL: [Kind; 4] = [Kind::Ref, Kind::Dist, Kind::Lane, Kind::Local];

#[tokio::test]
async fn every_table_is_in_the_manifest_and_the_other_way_round() {
    if support::is_skipped("every_table_is_in_the_manifest_and_the_other_way_round") {
        return;
    }
    let database = support::database().await;
    let there: Vec<String> = sqlx::query_scalar(
        r"SELECT relname::text FROM pg_class
          WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'f') ORDER BY 1",
    )
    .fetch_all(&database.owner)
    .await
    .unwrap();
    let manifest = manifest();
    let mut found = Vec::new();
    for table in there.iter().filter(|table| !manifest.contains_key(*table)) {
        found.push(format!(
            "the table {table} is not in migrations/tables.toml: add `{table} = {{ kind = ... }}`, dist on account_id if an \
             account owns its rows"
        ));
    }
    for table in manifest.keys().filter(|table| !there.contains(table)) {
        found.push(format!("migrations/tables.toml names {table}, which is no table: take its line away"));
    }
    for (name, table) in &manifest {
        let column = match table.kind {
            Kind::Dist => Some("account_id"),
            Kind::Lane => Some("lane"),
            Kind::Ref | Kind::Local => None,
        };
        if table.column.as_deref() != column {
            found.push(format!("migrations/tables.toml: {name} is {:?}, so its column is {column:?}", table.kind));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    database.close().await;
}

#[tokio::test]
async fn a_customers_table_has_the_account_first_in_every_key() {
    if support::is_skipped("a_customers_table_has_the_account_first_in_every_key") {
        return;
    }
    rule_about(
        &[Kind::Dist],
        &[
            r"SELECT format('%s: account_id must be uuid, NOT NULL and without a default: the application makes it', t)
              FROM unnest($1::text[]) t LEFT JOIN pg_attribute a ON a.attrelid = to_regclass(t) AND a.attname = 'account_id'
              WHERE a.attname IS NULL OR a.atttypid <> 'uuid'::regtype OR NOT a.attnotnull OR a.atthasdef",
            r"SELECT format('%s: the unique index %s must begin with account_id, or hold on one server only', t, i.indexrelid::regclass)
              FROM unnest($1::text[]) t JOIN pg_index i ON i.indrelid = to_regclass(t)
              LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
              WHERE i.indisunique AND a.attname IS DISTINCT FROM 'account_id'",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_names_an_account_belongs_to_it() {
    if support::is_skipped("what_names_an_account_belongs_to_it") {
        return;
    }
    // From a claim's reference to its account: the one thing that is asked before the account is known.
    rule_about(
        &[Kind::Ref, Kind::Local],
        &[r"SELECT format('%s has an account_id, so an account owns its rows: it is dist in migrations/tables.toml', t)
            FROM unnest($1::text[]) t JOIN pg_attribute a ON a.attrelid = to_regclass(t) AND a.attname = 'account_id'
            WHERE t <> 'claim_reference'"],
    )
    .await;
}

#[tokio::test]
async fn a_table_of_the_sequencer_has_the_lane_first_in_every_key() {
    if support::is_skipped("a_table_of_the_sequencer_has_the_lane_first_in_every_key") {
        return;
    }
    rule_about(
        &[Kind::Lane],
        &[
            r"SELECT format('%s: lane must be smallint, NOT NULL and without a default', t)
              FROM unnest($1::text[]) t LEFT JOIN pg_attribute a ON a.attrelid = to_regclass(t) AND a.attname = 'lane'
              WHERE a.attname IS NULL OR a.atttypid <> 'smallint'::regtype OR NOT a.attnotnull OR a.atthasdef",
            r"SELECT format('%s: the unique index %s must begin with lane', t, i.indexrelid::regclass)
              FROM unnest($1::text[]) t JOIN pg_index i ON i.indrelid = to_regclass(t)
              LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
              WHERE i.indisunique AND a.attname IS DISTINCT FROM 'lane'",
        ],
    )
    .await;
}

#[tokio::test]
async fn every_table_has_a_primary_key_that_no_sequence_fills() {
    if support::is_skipped("every_table_has_a_primary_key_that_no_sequence_fills") {
        return;
    }
    rule_about(
        &ALL,
        &[
            r"SELECT format('%s: give it a primary key', t) FROM unnest($1::text[]) t
              WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(t) AND contype = 'p')",
            r"SELECT format('%s.%s: the database must not number it: nothing may rest on the order of a sequence. Make the id in the application', t, a.attname)
              FROM unnest($1::text[]) t JOIN pg_attribute a ON a.attrelid = to_regclass(t)
              LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              WHERE a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) ~ 'nextval|uuid'",
        ],
    )
    .await;
}

#[tokio::test]
async fn no_table_has_what_a_spread_database_refuses() {
    if support::is_skipped("no_table_has_what_a_spread_database_refuses") {
        return;
    }
    rule_about(
        &ALL,
        &[
            r"SELECT format('%s: no triggers: put %s in a flow', t, g.tgname)
              FROM unnest($1::text[]) t JOIN pg_trigger g ON g.tgrelid = to_regclass(t) AND NOT g.tgisinternal",
            r"SELECT format('%s: no rules: put %s in a flow', t, r.rulename)
              FROM unnest($1::text[]) t JOIN pg_rewrite r ON r.ev_class = to_regclass(t)",
            r"SELECT format('%s: no exclusion constraints: %s is checked by a set-based query when rows are loaded', t, c.conname)
              FROM unnest($1::text[]) t JOIN pg_constraint c ON c.conrelid = to_regclass(t) AND c.contype = 'x'",
            r"SELECT format('%s: %s is no plain index: make it a btree', t, i.indexrelid::regclass)
              FROM unnest($1::text[]) t JOIN pg_index i ON i.indrelid = to_regclass(t)
              JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
              WHERE m.amname NOT IN ('btree', 'hash')",
            r"SELECT format('%s: an ordinary logged table, not a partition, a child or an unlogged one', t)
              FROM unnest($1::text[]) t JOIN pg_class c ON c.oid = to_regclass(t)
              WHERE c.relkind <> 'r' OR c.relispartition OR c.relpersistence <> 'p'
                 OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid OR inhparent = c.oid)",
            r"SELECT format('%s: %s must neither set null nor cascade: rows go when somebody deletes them', t, c.conname)
              FROM unnest($1::text[]) t JOIN pg_constraint c ON c.conrelid = to_regclass(t) AND c.contype = 'f'
              WHERE c.confdeltype NOT IN ('a', 'r') OR c.confupdtype NOT IN ('a', 'r')",
            r"SELECT format('the view %s: create it WITH (security_invoker = true), or it reads past row-level security', c.oid::regclass)
              FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND $1::text[] IS NOT NULL
                AND (c.relkind = 'm' OR (c.relkind = 'v' AND NOT coalesce(c.reloptions @> '{security_invoker=true}', false)))",
            r"SELECT format('%s: no code in the database: put it in a flow', p.oid::regprocedure)
              FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND $1::text[] IS NOT NULL",
            r"SELECT format('the extension %s: the migrations run on a plain PostgreSQL', extname)
              FROM pg_extension WHERE extname <> 'plpgsql' AND $1::text[] IS NOT NULL",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_foreign_key_stays_within_the_account_or_asks_a_reference_table() {
    if support::is_skipped("a_foreign_key_stays_within_the_account_or_asks_a_reference_table") {
        return;
    }
    let manifest = manifest();
    let database = support::database().await;
    let keys: Vec<(String, String, String, String, String)> = sqlx::query_as(
        r"SELECT c.conname::text, t.relname::text, o.relname::text,
                 (SELECT attname::text FROM pg_attribute WHERE attrelid = c.conrelid AND attnum = c.conkey[1]),
                 (SELECT attname::text FROM pg_attribute WHERE attrelid = c.confrelid AND attnum = c.confkey[1])
          FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class o ON o.oid = c.confrelid
          WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace",
    )
    .fetch_all(&database.owner)
    .await
    .unwrap();
    let kind = |table: &str| manifest.get(table).map(|table| table.kind);
    let mut found = Vec::new();
    for (name, from, to, first, other) in keys {
        let is_within = (kind(&from), kind(&to)) == (Some(Kind::Dist), Some(Kind::Dist))
            && first == "account_id"
            && other == "account_id";
        let asks_reference = kind(&to) == Some(Kind::Ref);
        let is_local = (kind(&from), kind(&to)) == (Some(Kind::Local), Some(Kind::Local));
        if !is_within && !asks_reference && !is_local {
            found.push(format!(
                "{from}: {name} points to {to}: a foreign key has account_id first on both sides, or points to a reference \
                 table. Let the control totals check it instead"
            ));
        }
        if ["credit", "transfer", "outbox", "feed", "chain"].contains(&from.as_str()) {
            found.push(format!("{from}: {name}: no foreign keys on the mass path: the control totals check instead"));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    database.close().await;
}

#[tokio::test]
async fn every_constraint_and_index_has_a_name_of_ours() {
    if support::is_skipped("every_constraint_and_index_has_a_name_of_ours") {
        return;
    }
    rule_about(
        &ALL,
        &[
            r"SELECT format('%s: %s is a name that nobody chose: say what is true, as in transfer_moves_something', t, c.conname)
              FROM unnest($1::text[]) t JOIN pg_constraint c ON c.conrelid = to_regclass(t)
              WHERE c.contype NOT IN ('n', 'p') AND c.conname ~ '_(check|key|fkey|excl)[0-9]*$'",
            r"SELECT format('%s: its primary key is %s, not %s_pkey', t, c.conname, t)
              FROM unnest($1::text[]) t JOIN pg_constraint c ON c.conrelid = to_regclass(t)
              WHERE c.contype = 'p' AND c.conname <> t || '_pkey'",
            r"SELECT format('%s: %s is a name that nobody chose: say what it is for, as in session_by_end', t, i.indexrelid::regclass)
              FROM unnest($1::text[]) t JOIN pg_index i ON i.indrelid = to_regclass(t)
              WHERE i.indexrelid::regclass::text ~ '_idx[0-9]*$'",
            r"SELECT format('%s: the foreign key columns of %s and what they point to differ in type', t, c.conname)
              FROM unnest($1::text[]) t JOIN pg_constraint c ON c.conrelid = to_regclass(t) AND c.contype = 'f'
              WHERE EXISTS (SELECT FROM unnest(c.conkey, c.confkey) k (a, b)
                            JOIN pg_attribute x ON x.attrelid = c.conrelid AND x.attnum = k.a
                            JOIN pg_attribute y ON y.attrelid = c.confrelid AND y.attnum = k.b
                            WHERE x.atttypid <> y.atttypid)",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_books_and_the_evidence_are_only_ever_added_to() {
    if support::is_skipped("the_books_and_the_evidence_are_only_ever_added_to") {
        return;
    }
    let database = support::database().await;
    let tables: Vec<String> = INSERT_ONLY.iter().map(|table| (*table).to_owned()).collect();
    let rules = [
        r"SELECT format('%s is no table any more: take it out of INSERT_ONLY', t) FROM unnest($1::text[]) t
          WHERE to_regclass(t) IS NULL",
        r"SELECT format('%s: %s may %s it. The books and the evidence are only added to: insert another row', t, r, p)
          FROM unnest($1::text[]) t, unnest(ARRAY['makegood_app', 'makegood_customer', 'makegood_server', 'public']) r,
               unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) p
          WHERE has_table_privilege(r, t, p)",
        r"SELECT format('%s: %s may UPDATE a column of it. The books and the evidence are only added to', t, r)
          FROM unnest($1::text[]) t, unnest(ARRAY['makegood_app', 'makegood_customer', 'makegood_server', 'public']) r
          WHERE has_any_column_privilege(r, t, 'UPDATE') AND NOT has_table_privilege(r, t, 'UPDATE')",
    ];
    hold(&database.owner, &tables, &rules).await;
    database.close().await;
}

#[tokio::test]
async fn the_application_may_not_empty_a_table_or_move_a_row_to_another_account() {
    if support::is_skipped("the_application_may_not_empty_a_table_or_move_a_row_to_another_account") {
        return;
    }
    rule_about(
        &ALL,
        &[
            r"SELECT format('%s: makegood_app may %s it, which no flow needs', t, p)
              FROM unnest($1::text[]) t, unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) p
              WHERE has_table_privilege('makegood_server', t, p)",
            r"SELECT format('%s: grants go to makegood_app and makegood_customer, not to %s', t, coalesce(r.rolname, 'PUBLIC'))
              FROM unnest($1::text[]) t JOIN pg_class c ON c.oid = to_regclass(t)
              CROSS JOIN LATERAL aclexplode(c.relacl) acl LEFT JOIN pg_roles r ON r.oid = acl.grantee
              WHERE acl.grantee <> c.relowner
                AND coalesce(r.rolname, 'public') NOT IN ('makegood_app', 'makegood_customer')",
        ],
    )
    .await;
    rule_about(
        &[Kind::Dist],
        &[r"SELECT format('%s: makegood_app may UPDATE account_id: grant UPDATE on the columns that change', t)
            FROM unnest($1::text[]) t WHERE has_column_privilege('makegood_app', t, 'account_id', 'UPDATE')"],
    )
    .await;
}

#[tokio::test]
async fn the_roles_own_nothing_and_cannot_get_past_row_level_security() {
    if support::is_skipped("the_roles_own_nothing_and_cannot_get_past_row_level_security") {
        return;
    }
    let database = support::database().await;
    let roles: Vec<String> = ["makegood_app", "makegood_customer", "makegood_server"].map(str::to_owned).to_vec();
    let rules = [
        r"SELECT format('there is no role %s', r) FROM unnest($1::text[]) r WHERE to_regrole(r) IS NULL",
        r"SELECT format('%s may do more than it was granted: NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION', rolname)
          FROM pg_roles WHERE rolname = ANY ($1)
            AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)",
        r"SELECT format('%s can log in: only makegood_server does, as a member of it', rolname)
          FROM pg_roles WHERE rolname = ANY ($1) AND rolcanlogin AND rolname <> 'makegood_server'",
        r"SELECT format('%s owns something: everything belongs to makegood_owner', refobjid::regrole)
          FROM pg_shdepend WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass
            AND refobjid IN (SELECT oid FROM pg_roles WHERE rolname = ANY ($1))
            AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))",
        r"SELECT format('%s is a member of %s: it may be of none but makegood_server of both', m.member::regrole, m.roleid::regrole)
          FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
          WHERE r.rolname = ANY ($1)
            AND NOT (r.rolname = 'makegood_server' AND m.roleid::regrole::text IN ('makegood_app', 'makegood_customer'))",
        r"SELECT format('%s may create in the schema public', r) FROM unnest($1::text[]) r
          WHERE has_schema_privilege(r, 'public', 'CREATE')",
        r"SELECT format('%s belongs to %s, not to makegood_owner', c.oid::regclass, c.relowner::regrole)
          FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relowner <> to_regrole('makegood_owner')
            AND cardinality($1) > 0",
    ];
    hold(&database.owner, &roles, &rules).await;
    database.close().await;
}

#[tokio::test]
async fn a_customer_reads_own_rows_or_nothing_and_writes_nowhere() {
    if support::is_skipped("a_customer_reads_own_rows_or_nothing_and_writes_nowhere") {
        return;
    }
    rule_about(
        &ALL,
        &[
            r"SELECT format('%s: makegood_customer may %s it: customers write through flows, as makegood_app', t, p)
              FROM unnest($1::text[]) t, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
              WHERE has_table_privilege('makegood_customer', t, p)
                 OR (p IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege('makegood_customer', t, p))",
            r"SELECT format('the sequence %s: makegood_customer may use it', s.seqrelid::regclass)
              FROM pg_sequence s WHERE has_sequence_privilege('makegood_customer', s.seqrelid, 'USAGE, SELECT, UPDATE')
                AND cardinality($1) > 0",
        ],
    )
    .await;
    rule_about(
        &[Kind::Dist],
        &[
            r"SELECT format('%s: makegood_customer may read it, so row-level security must be enabled and forced', t)
              FROM unnest($1::text[]) t JOIN pg_class c ON c.oid = to_regclass(t)
              WHERE has_any_column_privilege('makegood_customer', c.oid, 'SELECT')
                AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
            r"SELECT format('%s: customers never read it, so it needs no row-level security, which COPY cannot pass', t)
              FROM unnest($1::text[]) t JOIN pg_class c ON c.oid = to_regclass(t)
              WHERE NOT has_any_column_privilege('makegood_customer', c.oid, 'SELECT')
                AND (c.relrowsecurity OR c.relforcerowsecurity)",
            r"SELECT format('%s: row-level security has the policies own and staff, each for its role, and no others: it has %s', t,
                            coalesce(string_agg(p.policyname, ', '), 'none'))
              FROM unnest($1::text[]) t JOIN pg_class c ON c.oid = to_regclass(t) AND c.relrowsecurity
              LEFT JOIN pg_policies p ON p.schemaname = 'public' AND p.tablename = t
              GROUP BY t
              HAVING array_agg(p.policyname || ' ' || array_to_string(p.roles, ',') || ' ' || p.permissive || ' ' || p.cmd
                               ORDER BY p.policyname)
                     IS DISTINCT FROM ARRAY['own makegood_customer PERMISSIVE ALL', 'staff makegood_app PERMISSIVE ALL']",
        ],
    )
    .await;
    rule_about(
        &[Kind::Ref, Kind::Lane, Kind::Local],
        &[r"SELECT format('%s: makegood_customer may read it, but it has an account_id and no row-level security', t)
              FROM unnest($1::text[]) t JOIN pg_attribute a ON a.attrelid = to_regclass(t) AND a.attname = 'account_id'
              WHERE has_any_column_privilege('makegood_customer', a.attrelid, 'SELECT')"],
    )
    .await;
}

#[tokio::test]
async fn a_customer_reads_nothing_of_people_machines_and_the_sequencer() {
    if support::is_skipped("a_customer_reads_nothing_of_people_machines_and_the_sequencer") {
        return;
    }
    rule_about(
        &[Kind::Lane, Kind::Local],
        &[r"SELECT format('%s: makegood_customer may read it: it is about other people, machines or the sequencer', t)
            FROM unnest($1::text[]) t WHERE has_any_column_privilege('makegood_customer', to_regclass(t), 'SELECT')"],
    )
    .await;
}

#[tokio::test]
async fn the_policies_say_what_they_should() {
    if support::is_skipped("the_policies_say_what_they_should") {
        return;
    }
    let database = support::database().await;
    let policies: Vec<(String, String, String, String)> = sqlx::query_as(
        r"SELECT tablename::text, policyname::text, coalesce(qual, ''), coalesce(with_check, '') FROM pg_policies
          WHERE schemaname = 'public'",
    )
    .fetch_all(&database.owner)
    .await
    .unwrap();
    assert!(policies.len() >= 16, "only {} policies were found", policies.len());
    let mut found = Vec::new();
    for (table, policy, condition, check) in policies {
        let expected = if policy == "own" { (OWN, "") } else { ("true", "true") };
        if (condition.as_str(), check.as_str()) != expected {
            found.push(format!(
                "{table}: the policy {policy} says {condition:?}, and with check {check:?}: copy the two policies of \
                 migrations/0003_accounts.sql as they are"
            ));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    database.close().await;
}

/// The SQLSTATE that the statement is refused with; none where it is not.
async fn refused_with(pool: &PgPool, statement: &str) -> Option<String> {
    let error = sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await.err()?;
    error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned)
}

#[tokio::test]
async fn the_server_is_refused_when_it_tries_to_change_the_books() {
    if support::is_skipped("the_server_is_refused_when_it_tries_to_change_the_books") {
        return;
    }
    let database = support::database().await;
    for table in INSERT_ONLY {
        let column: String = sqlx::query_scalar(
            r"SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 ORDER BY attnum LIMIT 1",
        )
        .bind(table)
        .fetch_one(&database.owner)
        .await
        .unwrap();
        for statement in [
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
            format!("DROP TABLE {table}"),
        ] {
            let refused = refused_with(&database.app, &statement).await;
            assert_eq!(refused.as_deref(), Some("42501"), "{statement}");
        }
        assert_eq!(refused_with(&database.app, &format!("SELECT FROM {table}")).await, None, "{table} can be read");
    }
    database.close().await;
}

/// A row of the account in this table. What the columns say does not matter here, so the checks are taken away first.
async fn add_row(owner: &PgPool, table: &str, account: Uuid) {
    let checks: Vec<String> = sqlx::query_scalar(
        r"SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', $1, conname) FROM pg_constraint
          WHERE conrelid = to_regclass($1) AND contype IN ('c', 'f')",
    )
    .bind(table)
    .fetch_all(owner)
    .await
    .unwrap();
    for check in checks {
        sqlx::raw_sql(AssertSqlSafe(check)).execute(owner).await.unwrap();
    }
    let columns: Vec<(String, String)> = sqlx::query_as(
        r"SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
          WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attnotnull",
    )
    .bind(table)
    .fetch_all(owner)
    .await
    .unwrap();
    let value = |(name, kind): &(String, String)| match (name.as_str(), kind.as_str()) {
        ("account_id", _) => format!("'{account}'"),
        (_, "uuid") => format!("'{}'", Uuid::now_v7()),
        (_, "text") => "'x'".to_owned(),
        (_, "boolean") => "false".to_owned(),
        (_, "date" | "timestamp with time zone") => "'2026-03-01'".to_owned(),
        (_, "smallint" | "integer" | "bigint") => "1".to_owned(),
        (_, "bytea") => "''".to_owned(),
        (_, "jsonb") => "'{}'".to_owned(),
        (_, kind) if kind.ends_with("[]") => "'{}'".to_owned(),
        (name, kind) => panic!("{table}.{name}: teach this test a value of the type {kind}"),
    };
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<String> = columns.iter().map(value).collect();
    let insert = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "));
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(owner).await.unwrap();
}

/// The accounts whose rows of the table a customer sees, where `makegood.account` is this; none leaves it as it is.
async fn seen(pool: &PgPool, table: &str, setting: Option<&str>) -> Vec<Uuid> {
    let mut tx = pool.begin().await.unwrap();
    if let Some(setting) = setting {
        sqlx::query("SELECT set_config('makegood.account', $1, true)").bind(setting).execute(&mut *tx).await.unwrap();
    }
    sqlx::query("SET LOCAL ROLE makegood_customer").execute(&mut *tx).await.unwrap();
    let select = format!("SELECT account_id FROM {table} ORDER BY account_id");
    sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&mut *tx).await.unwrap()
}

#[tokio::test]
async fn a_customers_connection_sees_the_rows_of_its_accounts_in_every_table() {
    if support::is_skipped("a_customers_connection_sees_the_rows_of_its_accounts_in_every_table") {
        return;
    }
    let database = support::database().await;
    let tables: Vec<String> = sqlx::query_scalar(
        r"SELECT t FROM unnest($1::text[]) t WHERE has_any_column_privilege('makegood_customer', t, 'SELECT')",
    )
    .bind(of_kinds(&[Kind::Dist]))
    .fetch_all(&database.owner)
    .await
    .unwrap();
    assert!(tables.len() >= 8, "{tables:?}");
    let (one, other, nobody) = (Uuid::from_u128(1), Uuid::from_u128(2), Vec::<Uuid>::new());
    // One connection, so that what a transaction leaves behind would be seen by the next.
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&database.url_app).await.unwrap();
    for table in &tables {
        add_row(&database.owner, table, one).await;
        add_row(&database.owner, table, other).await;
        assert_eq!(seen(&pool, table, None).await, nobody, "{table}: no account was named");
        assert_eq!(seen(&pool, table, Some(&one.to_string())).await, [one], "{table}");
        assert_eq!(seen(&pool, table, None).await, nobody, "{table}: the transaction before named one");
        assert_eq!(seen(&pool, table, Some("")).await, nobody, "{table}");
        assert_eq!(seen(&pool, table, Some(&format!("{one},{other}"))).await, [one, other], "{table}");
        assert_eq!(seen(&pool, table, Some(&Uuid::from_u128(3).to_string())).await, nobody, "{table}");
    }
    pool.close().await;
    database.close().await;
}
