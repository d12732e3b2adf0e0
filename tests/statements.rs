//! Every statement of `store`, found in the source, and tried on the database as the migrations make it: that it can be
//! prepared, and that the application's role may run it.

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use makegood::store::staging;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The calls that take a statement.
const CALLS: [&str; 3] = ["query", "query_as", "query_scalar"];

/// The files whose statements stand outside the rule: they define things and run as the owner.
const EXEMPT: [&str; 4] = ["erasure.rs", "floor.rs", "floor_credits.rs", "setup.rs"];

/// One statement and where it is written.
struct Statement {
    at: String,
    text: String,
}

#[derive(Default)]
struct Finder {
    file: String,
    statements: Vec<Statement>,
    /// Calls that this test cannot read, and so nobody can check.
    unreadable: Vec<String>,
}

impl Finder {
    fn take(&mut self, name: &str, argument: Option<&syn::Expr>, span: proc_macro2::Span) {
        let at = format!("src/store/{}:{}", self.file, span.start().line);
        match argument {
            Some(syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. })) if is_raw(text) => {
                self.statements.push(Statement { at, text: text.value() });
            }
            _ => self.unreadable.push(format!(
                "{at}: `{name}` takes its statement as one raw string literal, r\"...\", so that it can be found and tried"
            )),
        }
    }
}

fn is_raw(text: &syn::LitStr) -> bool {
    text.token().to_string().starts_with('r')
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func
            && let Some(last) = path.path.segments.last()
        {
            let name = last.ident.to_string();
            if CALLS.contains(&name.as_str()) {
                self.take(&name, call.args.first(), call.span());
            } else if name.starts_with("query_") || ["raw_sql", "AssertSqlSafe"].contains(&name.as_str()) {
                self.unreadable.push(format!(
                    "src/store/{}:{}: `{name}`: only {} take statements here",
                    self.file,
                    call.span().start().line,
                    CALLS.join(", ")
                ));
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let text = call.tokens.to_string();
        if CALLS.iter().any(|name| text.contains(&format!("sqlx :: {name}"))) {
            self.unreadable.push(format!(
                "src/store/{}:{}: a statement inside a macro is not found: bind it before",
                self.file,
                call.span().start().line
            ));
        }
    }
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn found_in(file: &str, text: &str) -> Finder {
    let mut finder = Finder { file: file.to_owned(), ..Finder::default() };
    finder.visit_file(&syn::parse_file(text).unwrap_or_else(|error| panic!("src/store/{file}: {error}")));
    finder
}

fn statements() -> Finder {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut paths = Vec::new();
    rust_files(&store, &mut paths);
    paths.sort();
    let mut all = Finder::default();
    for path in paths {
        let file = path.strip_prefix(&store).expect("a file of store").to_string_lossy().replace('\\', "/");
        if !EXEMPT.contains(&file.as_str()) {
            let found = found_in(&file, &fs::read_to_string(&path).expect("the file can be read"));
            all.statements.extend(found.statements);
            all.unreadable.extend(found.unreadable);
        }
    }
    all
}

/// A connection as the server has it, with the tables that bulk loads make for themselves.
async fn connection(url: &str) -> PgConnection {
    let mut conn = PgConnection::connect(url).await.expect("the server's role can log in");
    for table in staging::TABLES {
        let kept = table.replace("ON COMMIT DROP", "");
        conn.execute(AssertSqlSafe(kept)).await.expect("a staging table can be made");
    }
    conn
}

/// Whether the statement reads or writes rows, so that a plan can be made of it.
fn has_plan(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default().trim_start_matches('(');
    ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES"].contains(&first)
}

/// Plans the statement without running it. A plan begins with the check of the role's privileges.
async fn plan(conn: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    conn.execute(AssertSqlSafe(format!("PREPARE tried AS {text}"))).await?;
    let count: i32 = sqlx::query_scalar(
        "SELECT coalesce(cardinality(parameter_types), 0) FROM pg_prepared_statements WHERE name = 'tried'",
    )
    .fetch_one(&mut *conn)
    .await?;
    let nulls = vec!["NULL"; usize::try_from(count).expect("a count")].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let planned = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE tried {arguments}"))).execute(&mut *conn).await;
    sqlx::raw_sql("DEALLOCATE tried").execute(conn).await?;
    planned.map(|_| ())
}

#[test]
fn every_statement_can_be_found() {
    let found = statements();
    assert!(found.unreadable.is_empty(), "\n{}\n", found.unreadable.join("\n"));
    let files: HashSet<&str> =
        found.statements.iter().map(|one| one.at.split(':').next().unwrap_or_default()).collect();
    let (count, files) = (found.statements.len(), files.len());
    assert!(count > 80 && files > 15, "only {count} statements in {files} files were found: the search is broken");
}

#[test]
fn a_statement_that_cannot_be_found_is_told() {
    let read = |text: &str| {
        let found = found_in("a.rs", &format!("fn a() {{ {text}; }}"));
        (found.statements.len(), found.unreadable.len())
    };
    for text in [
        "sqlx::query(r\"SELECT 1\").execute(conn)",
        "sqlx::query_as::<_, (i64,)>(r#\"SELECT 1\"#)",
        "let a: i64 = query_scalar(r\"SELECT 1\")",
        "if b { run(move || sqlx::query_as(r\"SELECT 1\")) }",
    ] {
        assert_eq!(read(text), (1, 0), "{text}");
    }
    for text in [
        "sqlx::query(\"SELECT 1\")",
        "sqlx::query(STATEMENT)",
        "sqlx::query_as(&format!(\"SELECT {a}\"))",
        "sqlx::query_with(r\"SELECT 1\", arguments)",
        "sqlx::raw_sql(\"SELECT 1\")",
        "tokio::join!(sqlx::query(r\"SELECT 1\").execute(conn))",
    ] {
        assert_eq!(read(text), (0, 1), "{text}");
    }
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    if support::is_skipped("every_statement_can_be_prepared") {
        return;
    }
    let database = support::database().await;
    let mut conn = connection(&database.url_app).await;
    let mut found = Vec::new();
    for statement in statements().statements {
        if let Err(error) = conn.prepare(AssertSqlSafe(statement.text.clone()).into_sql_str()).await {
            found.push(format!("{}: {error}\n    {}", statement.at, statement.text.trim()));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    conn.close().await.expect("the connection ends");
}

#[tokio::test]
async fn the_application_may_run_every_statement() {
    if support::is_skipped("the_application_may_run_every_statement") {
        return;
    }
    let database = support::database().await;
    let mut conn = connection(&database.url_app).await;
    // The staging tables belong to the server's role; what matters here is what was granted on the others.
    for grant in [
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pg_temp TO makegood_app",
        "SET plan_cache_mode = force_generic_plan",
        "SET ROLE makegood_app",
    ] {
        conn.execute(grant).await.expect("the session can be set up");
    }
    let (mut found, mut planned) = (Vec::new(), 0);
    for statement in statements().statements.iter().filter(|one| has_plan(&one.text)) {
        planned += 1;
        if let Err(error) = plan(&mut conn, &statement.text).await {
            found.push(format!(
                "{}: {error}\n    makegood_app needs the grant, in a migration; or the statement asks for too much.\n    {}",
                statement.at,
                statement.text.trim()
            ));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    assert!(planned > 80, "only {planned} statements were planned");
    conn.close().await.expect("the connection ends");
}
