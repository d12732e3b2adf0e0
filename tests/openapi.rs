//! The API's document says what the service does: it is the committed one, each of its operations is there, and nothing is
//! there that it does not name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use makegood::clock::Clock;
use makegood::http::auth::{Issuers, IssuersConfig};
use makegood::http::{App, router};
use proc_macro2::TokenTree;
use serde_json::{Map, Value};
use sqlx::postgres::PgPoolOptions;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use tower::ServiceExt;

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

/// One operation of the document.
struct Operation {
    method: String,
    path: String,
    body: Map<String, Value>,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    fn text(&self, field: &str) -> &str {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it needs a token: the whole document does, where the operation says nothing else.
    fn is_secured(&self) -> bool {
        let needed = self.body.get("security").and_then(Value::as_array);
        needed.is_none_or(|needed| needed.iter().any(|one| one.as_object().is_some_and(|one| !one.is_empty())))
    }
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&router::document()).expect("the document is JSON");
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in METHODS {
            if let Some(body) = item.get(method) {
                let body = body.as_object().expect("an operation").clone();
                all.push(Operation { method: method.to_owned(), path: path.clone(), body });
            }
        }
    }
    assert!(all.len() >= 25, "only {} operations are in the document", all.len());
    all
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The service with no database behind it, which answers whoever has no token all the same.
async fn service() -> Router {
    let pool = PgPoolOptions::new()
        .acquire_timeout(std::time::Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/none")
        .expect("a URL of our own making");
    let issuers = Issuers::load(&IssuersConfig { issuer: Vec::new() }).await.expect("no issuers");
    router::router(App::new(pool, Clock::real(), Arc::new(issuers)))
}

/// The status, and the code of the problem if it is one.
async fn ask(service: &Router, method: &str, path: &str) -> (u16, String) {
    let request = Request::builder().method(method.to_uppercase().as_str()).uri(path).body(Body::empty());
    let response = service.clone().oneshot(request.expect("a request")).await.expect("the router does not fail");
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// The path with something in each of its places.
fn filled(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
    parts.join("/")
}

#[test]
fn the_committed_document_is_the_one_of_this_build() {
    let committed = fs::read_to_string(root().join("openapi/openapi.json")).unwrap_or_default();
    let made = router::document();
    let line = committed.lines().zip(made.lines()).position(|(one, other)| one != other);
    assert!(
        committed == made,
        "openapi/openapi.json is not what this build says{}. Look at what changed for clients, and then: \
         cargo run -- openapi > openapi/openapi.json",
        line.map_or(String::new(), |line| format!(", from line {} on", line + 1))
    );
}

#[tokio::test]
async fn every_operation_of_the_document_is_there_and_locked() {
    let service = service().await;
    let mut found = Vec::new();
    for operation in operations() {
        let (status, code) = ask(&service, &operation.method, &filled(&operation.path)).await;
        if code == "not_found" || code == "method_not_allowed" || status == 404 || status == 405 {
            found.push(format!("{} is in the document, but the router answers {status} {code}", operation.name()));
        } else if operation.is_secured() && status != 401 {
            found.push(format!(
                "{} answers {status} {code} to whoever has no token, not 401: let the handler take `Caller` before anything that \
                 reads the request, or give it `security(())` if everybody may call it",
                operation.name()
            ));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[tokio::test]
async fn what_is_not_in_the_document_is_not_there() {
    let service = service().await;
    assert_eq!(ask(&service, "get", "/v1/nothing").await, (404, "not_found".to_owned()));
    let mut found = Vec::new();
    let all = operations();
    let paths: BTreeSet<&str> = all.iter().map(|one| one.path.as_str()).collect();
    for path in paths {
        for method in ["get", "put", "post", "delete", "patch"] {
            let is_documented = all.iter().any(|one| one.path == path && one.method == method);
            let (status, code) = ask(&service, method, &filled(path)).await;
            if !is_documented && (status, code.as_str()) != (405, "method_not_allowed") {
                found.push(format!(
                    "{method} {path} is not in the document, and answers {status} {code}: register it with routes!"
                ));
            }
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_operation_says_what_it_is_and_how_it_answers() {
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let name = operation.name();
        let mut say = |words: &str| found.push(format!("{name}: {words}"));
        let (id, summary) = (operation.text("operationId"), operation.text("summary"));
        if !id.contains('_') || !ids.insert(id.to_owned()) {
            say("give it an operation_id of its own: a verb and what it is done to, as in file_claim");
        }
        if operation.body.get("tags").and_then(Value::as_array).is_none_or(|tags| tags.len() != 1) {
            say("give it one tag");
        }
        if summary.is_empty() || summary.contains('\n') || summary.len() > 120 {
            say("begin the handler's comment with one short line, then an empty one: it is the summary");
        }
        let responses = operation.body["responses"].as_object().expect("responses");
        for (status, response) in responses {
            if response["description"].as_str().unwrap_or_default().is_empty() {
                say(&format!("say what {status} means, with `description`"));
            }
            let is_problem = response["content"].get("application/problem+json").is_some();
            if (status.starts_with('4') || status.starts_with('5')) && !is_problem {
                say(&format!(
                    "{status} is a problem: `body = ProblemBody, content_type = \"application/problem+json\"`"
                ));
            }
        }
        if !responses.keys().any(|status| status.starts_with('2')) {
            say("name the answer of a success");
        }
        for status in ["401", "403", "503"] {
            if operation.is_secured() && !responses.contains_key(status) {
                say(&format!("{status} is missing: http/describe.rs adds it"));
            }
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Finds what the source of `http` calls operations and routes.
#[derive(Default)]
struct Routes {
    file: String,
    /// Method, path and place of each `#[utoipa::path(...)]`.
    described: Vec<(String, String, String)>,
    /// Routes of the API that are registered past the document.
    plain: Vec<String>,
}

impl Routes {
    fn read(file: &str, text: &str) -> Self {
        let mut routes = Routes { file: file.to_owned(), ..Routes::default() };
        routes.visit_file(&syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}")));
        routes
    }
}

fn literal(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Literal(literal) => {
            syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| text.value())
        }
        TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Punct(_) => None,
    }
}

impl<'ast> Visit<'ast> for Routes {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let syn::Meta::List(list) = &attribute.meta else { return };
        let names: Vec<String> = list.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names != ["utoipa", "path"] {
            return;
        }
        let tokens: Vec<TokenTree> = list.tokens.clone().into_iter().collect();
        let method = tokens.first().map(ToString::to_string).unwrap_or_default();
        let path = tokens.windows(3).find(|three| three[0].to_string() == "path" && three[1].to_string() == "=");
        let path = path.and_then(|three| literal(&three[2])).unwrap_or_default();
        self.described.push((method, path, format!("{}:{}", self.file, attribute.span().start().line)));
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let registers = ["route", "route_service", "nest", "nest_service"].iter().any(|name| call.method == name);
        if let (true, Some(syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }))) =
            (registers, call.args.first())
            && path.value().starts_with("/v1")
        {
            self.plain.push(format!(
                "{}:{}: `.{}(\"{}\"` leaves it out of the document: describe the handler with #[utoipa::path] and register it with \
                 routes! in http/router.rs",
                self.file,
                call.method.span().start().line,
                call.method,
                path.value()
            ));
        }
        visit::visit_expr_method_call(self, call);
    }
}

fn gather(folder: &Path, into: &mut Vec<Routes>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(root()).expect("a file of ours").to_string_lossy().into_owned();
            into.push(Routes::read(&file, &fs::read_to_string(&path).expect("the file can be read")));
        }
    }
}

#[test]
fn every_handler_that_is_described_is_registered() {
    let mut all = Vec::new();
    gather(&root().join("src/http"), &mut all);
    let operations = operations();
    let described: Vec<_> = all.iter().flat_map(|routes| &routes.described).collect();
    assert!(described.len() >= 25, "only {} descriptions were found", described.len());
    let mut found: Vec<String> = all.iter().flat_map(|routes| routes.plain.clone()).collect();
    for (method, path, at) in described {
        if !operations.iter().any(|one| one.method == *method && one.path == *path) {
            found.push(format!("{at}: {method} {path} is described, but not registered: add it to http/router.rs"));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_route_that_is_registered_past_the_document_is_found() {
    let read = |text: &str| Routes::read("a.rs", text);
    assert_eq!(read("fn a() { Router::new().route(\"/v1/secret\", get(secret)); }").plain.len(), 1);
    assert_eq!(read("fn a() { Router::new().layer(b).nest(\"/v1\", inner); }").plain.len(), 1);
    assert_eq!(read("fn a() { Router::new().route(\"/sign-in\", get(page)); }").plain.len(), 0);
    let described = read("#[utoipa::path(post, path = \"/v1/a\", tag = \"a\")] async fn a() {}").described;
    assert_eq!(described, [("post".to_owned(), "/v1/a".to_owned(), "a.rs:1".to_owned())]);
}
