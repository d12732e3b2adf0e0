//! The rules of the house, read from the tree: who may import whom, and what has no place in which room.
//!
//! ARCHITECTURE.md draws the rooms. What is wrong is found in the syntax and not in the text, so that a nested `use`, a path in
//! an expression and the arguments of a macro count as well. Test modules are left out.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// What each room may import of ours, beside itself. `http::App` stands for that one name.
const ROOMS: [(&str, &[&str]); 10] = [
    ("domain", &[]),
    ("sources", &["domain"]),
    ("store", &["domain", "failpoint"]),
    ("flows", &["domain", "store", "failpoint"]),
    ("http", &["domain", "sources", "store", "flows", "clock"]),
    ("jobs", &["domain", "sources", "store", "flows", "clock", "http::App"]),
    ("cli", &["domain", "sources", "store", "flows", "clock", "http", "jobs", "pg", "failpoint"]),
    ("pg", &[]),
    ("failpoint", &[]),
    ("clock", &["domain"]),
];

/// The longest file of a room, in lines outside its tests, where that is over [`LONG`]. These numbers only go down.
const LONGEST: [(&str, usize); 1] = [("http", 1214)];
const LONG: usize = 600;

/// Crates that do I/O or wait: nothing for `domain`.
const IMPURE_CRATES: [&str; 10] =
    ["tokio", "sqlx", "axum", "reqwest", "tower", "tower_http", "hyper", "hyper_util", "futures_util", "rustix"];
const IMPURE_STD: [&str; 6] = ["fs", "net", "env", "process", "thread", "os"];

/// Where transactions may be opened, beside all of `flows`.
const OPENERS: [&str; 7] = [
    "store/customer.rs",
    "store/floor.rs",
    "store/floor_credits.rs",
    "store/floor_feed.rs",
    "store/setup.rs",
    "store/snapshot.rs",
    "cli/soak/issue.rs",
];

/// One place that breaks a rule.
#[derive(Debug, PartialEq)]
struct Finding {
    file: String,
    line: usize,
    words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "src/{}:{}: {}", self.file, self.line, self.words)
    }
}

/// Reads one file.
struct Reader<'a> {
    /// Below `src`.
    file: &'a str,
    room: &'a str,
    /// The module that is being read, from the root of the crate.
    module: Vec<String>,
    findings: Vec<Finding>,
    /// How many lines of the file are test modules.
    test_lines: usize,
}

impl Reader<'_> {
    fn find(&mut self, span: proc_macro2::Span, words: impl Into<String>) {
        self.findings.push(Finding { file: self.file.to_owned(), line: span.start().line, words: words.into() });
    }

    /// One whole path, as it is written.
    fn path(&mut self, path: &[String], span: proc_macro2::Span) {
        let Some(first) = path.first() else { return };
        if path.windows(2).any(|pair| pair == ["super", "super"]) {
            self.find(span, "`super::super` is hard to follow: write the path from `crate`.");
        }
        if self.room == "domain" {
            self.domain_path(path, span);
        }
        if self.room != "store" && first == "sqlx" && path.last().is_some_and(|name| is_statement(name)) {
            self.find(span, format!("`{}` outside `store`: {MOVE_SQL}", path.join("::")));
        }
        let whole = match first.as_str() {
            "crate" => path[1..].to_vec(),
            "self" => [self.module.clone(), path[1..].to_vec()].concat(),
            "super" => {
                let up = path.iter().take_while(|name| *name == "super").count();
                let stay = self.module.len().saturating_sub(up);
                [self.module[..stay].to_vec(), path[up..].to_vec()].concat()
            }
            _ => return,
        };
        self.import(&whole, span);
    }

    /// A path of ours, from the root of the crate.
    fn import(&mut self, whole: &[String], span: proc_macro2::Span) {
        let Some(target) = whole.first() else { return };
        if self.room.is_empty() || target == self.room || !ROOMS.iter().any(|(room, _)| room == target) {
            return;
        }
        let allowed = ROOMS.iter().find(|(room, _)| *room == self.room).map_or(&[][..], |(_, allowed)| allowed);
        let start = whole[..whole.len().min(2)].join("::");
        if allowed.contains(&target.as_str()) || allowed.contains(&start.as_str()) {
            return;
        }
        let may = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
        self.find(
            span,
            format!(
                "`{}` runs the wrong way: `{}` may import {may}. Take the value as an argument, or move this to a room \
                 that may; ARCHITECTURE.md draws them.",
                whole.join("::"),
                self.room
            ),
        );
    }

    fn domain_path(&mut self, path: &[String], span: proc_macro2::Span) {
        let is_impure = IMPURE_CRATES.contains(&path[0].as_str())
            || (path[0] == "std" && path.get(1).is_some_and(|part| IMPURE_STD.contains(&part.as_str())));
        if is_impure {
            let words =
                "in `domain`, which is pure: no I/O, no waiting. Do it in a flow and hand over what came of it.";
            self.find(span, format!("`{}` {words}", path.join("::")));
        }
    }

    /// An identifier, wherever it stands.
    fn name(&mut self, name: &str, span: proc_macro2::Span) {
        if self.room != "domain" {
            return;
        }
        match name {
            "f32" | "f64" => {
                self.find(
                    span,
                    format!("`{name}` in `domain`: money and time are counted in whole units or `Decimal`."),
                );
            }
            "async" | "await" => {
                self.find(
                    span,
                    format!("`{name}` in `domain`, which is pure: what has to be waited for is an argument."),
                );
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, span: proc_macro2::Span) {
        if self.room != "store" && is_sql(text) {
            self.find(span, format!("SQL outside `store`: {MOVE_SQL}"));
        }
    }

    fn opens(&mut self, name: &str, span: proc_macro2::Span) {
        let is_opening = name == "begin" || name == "begin_with";
        if is_opening && self.room != "flows" && !OPENERS.contains(&self.file) {
            self.find(
                span,
                format!(
                    "`.{name}(` here: only flows open transactions. Write a flow; to read, take `store::customer::open` or \
                     `store::snapshot::open`."
                ),
            );
        }
    }

    /// What a macro is given has no syntax of its own: read its tokens.
    fn tokens(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(syn::Lit::Str(text)) = syn::parse_str(&literal.to_string()) {
                        self.text(&text.value(), literal.span());
                    }
                }
                TokenTree::Ident(ident) => {
                    let (mut path, span) = (vec![ident.to_string()], ident.span());
                    while let Some(next) = after_colons(&tokens, at) {
                        path.push(next);
                        at += 3;
                    }
                    for name in &path {
                        self.name(name, span);
                    }
                    if is_dot(&tokens, at) && is_called(&tokens, at) {
                        self.opens(&path[0], span);
                    }
                    self.path(&path, span);
                }
                TokenTree::Punct(_) => {}
            }
            at += 1;
        }
    }

    fn attribute_lists(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let TokenTree::Ident(ident) = token else { continue };
            if let Some(TokenTree::Group(group)) = tokens.get(at + 1) {
                self.lint_attribute(&ident.to_string(), &group.stream(), ident.span());
            }
        }
    }

    fn lint_attribute(&mut self, name: &str, arguments: &TokenStream, span: proc_macro2::Span) {
        let has_reason =
            arguments.clone().into_iter().any(|token| matches!(token, TokenTree::Ident(name) if name == "reason"));
        match name {
            "allow" => self.find(
                span,
                "`#[allow]` outlives what it was for: write `#[expect(..., reason = \"...\")]`, which says when it is no longer needed.",
            ),
            "expect" if !has_reason => self.find(span, "`#[expect]` without a reason: add `reason = \"...\"`."),
            _ => {}
        }
    }

    fn use_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" => self.path(before, name.ident.span()),
            syn::UseTree::Name(name) => self.path(&with(&name.ident), name.ident.span()),
            syn::UseTree::Rename(rename) => self.path(&with(&rename.ident), rename.ident.span()),
            syn::UseTree::Glob(glob) => self.path(&[before, &["*".to_owned()]].concat(), glob.span()),
            syn::UseTree::Group(group) => {
                for one in &group.items {
                    self.use_tree(one, before);
                }
            }
        }
    }
}

const MOVE_SQL: &str = "write a function in the noun's file of `store` and call it from a flow.";

fn is_statement(name: &str) -> bool {
    name.starts_with("query") || name == "raw_sql" || name == "QueryBuilder"
}

fn is_sql(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let is_verb = |word: &str| ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&word);
    let has_more = words.next().is_some();
    let is_lower =
        is_verb(&first.to_uppercase()) && text.split_whitespace().any(|word| word == "from" || word == "into");
    has_more && (is_verb(first) || (is_lower && first == first.to_lowercase() && text.contains(['$', '*', '='])))
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// The identifier that follows the one at `at` after `::`.
fn after_colons(tokens: &[TokenTree], at: usize) -> Option<String> {
    let is_path = is_punct(tokens.get(at + 1), ':') && is_punct(tokens.get(at + 2), ':');
    match tokens.get(at + 3) {
        Some(TokenTree::Ident(ident)) if is_path => Some(ident.to_string()),
        _ => None,
    }
}

fn is_dot(tokens: &[TokenTree], at: usize) -> bool {
    at > 0 && is_punct(tokens.get(at - 1), '.')
}

fn is_called(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at + 1), Some(TokenTree::Group(_)))
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list)
                if list.tokens.clone().into_iter().any(|token| matches!(token, TokenTree::Ident(name) if name == "test")))
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_for_tests(&module.attrs) {
            self.test_lines += module.span().end().line + 1 - module.span().start().line;
            return;
        }
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        // A deserializer hands a float over whether it is wanted or not: the method that turns it away has to name it.
        let turns_away = ["visit_f32", "visit_f64"].iter().any(|name| function.sig.ident == name);
        if !turns_away && !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if !is_for_tests(&block.attrs) {
            visit::visit_item_impl(self, block);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.use_tree(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&names, path.span());
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some(last) = path.path.segments.last().filter(|_| path.path.segments.len() > 1) {
            let owner = &path.path.segments[path.path.segments.len() - 2].ident;
            if ["Connection", "Acquire", "Pool", "PgPool", "PgConnection"].iter().any(|name| owner == name) {
                self.opens(&last.ident.to_string(), last.span());
            }
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.opens(&call.method.to_string(), call.method.span());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(word) = signature.asyncness {
            self.name("async", word.span);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.name("async", block.async_token.span);
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_await(&mut self, waiting: &'ast syn::ExprAwait) {
        self.name("await", waiting.await_token.span);
        visit::visit_expr_await(self, waiting);
    }

    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        self.name(&ident.to_string(), ident.span());
    }

    fn visit_lit_float(&mut self, number: &'ast syn::LitFloat) {
        if self.room == "domain" {
            self.find(number.span(), "a float in `domain`: write whole units, or `dec!(...)`.");
        }
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.text(&text.value(), text.span());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let syn::Meta::List(list) = &attribute.meta else { return };
        let name = list.path.get_ident().map(ToString::to_string).unwrap_or_default();
        if name == "cfg_attr" {
            self.attribute_lists(list.tokens.clone());
        }
        self.lint_attribute(&name, &list.tokens, attribute.span());
    }
}

/// The module that a file holds, from the root of the crate.
fn module_of(file: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    stem.split('/').filter(|part| !["lib", "main"].contains(part)).map(str::to_owned).collect()
}

fn read<'a>(file: &'a str, room: &'a str, text: &str) -> Reader<'a> {
    let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("src/{file}: {error}"));
    let mut reader = Reader { file, room, module: module_of(file), findings: Vec::new(), test_lines: 0 };
    reader.visit_file(&tree);
    reader
}

/// What is wrong with a file that reads so.
fn findings(file: &str, text: &str) -> Vec<String> {
    let room = module_of(file).into_iter().next().unwrap_or_default();
    read(file, &room, text).findings.iter().map(ToString::to_string).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file of `src`, by its path below it, with its text.
fn files() -> BTreeMap<String, String> {
    fn gather(folder: &Path, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                gather(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(source()).expect("a file below src").to_string_lossy().replace('\\', "/");
                into.insert(name, fs::read_to_string(&path).expect("the file can be read"));
            }
        }
    }
    let mut found = BTreeMap::new();
    gather(&source(), &mut found);
    let tests = test_modules(&found);
    found.retain(|file, _| !tests.iter().any(|module| module_of(file).starts_with(module)));
    found
}

/// The modules that `#[cfg(test)] mod name;` puts in files of their own.
fn test_modules(files: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let mut modules = Vec::new();
    for (file, text) in files {
        for item in syn::parse_file(text).unwrap_or_else(|error| panic!("src/{file}: {error}")).items {
            if let syn::Item::Mod(module) = item
                && module.content.is_none()
                && is_for_tests(&module.attrs)
            {
                modules.push([module_of(file), vec![module.ident.to_string()]].concat());
            }
        }
    }
    modules
}

#[test]
fn every_file_keeps_the_rules_of_its_room() {
    let files = files();
    assert!(files.len() > 80, "only {} files were found: the walk over src is broken", files.len());
    let found: Vec<String> = files.iter().flat_map(|(file, text)| findings(file, text)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_fail_point_is_listed_once_and_every_listed_one_is_there() {
    let mut named: Vec<String> = Vec::new();
    for (file, text) in files() {
        let calls: Vec<&str> = text.split("failpoint::reach(\"").skip(1).collect();
        assert_eq!(
            text.matches("failpoint::reach(").count(),
            calls.len(),
            "src/{file}: a fail point is named by a literal"
        );
        named.extend(calls.iter().filter_map(|rest| rest.split('"').next()).map(str::to_owned));
    }
    named.sort();
    let mut listed = makegood::failpoint::ALL.map(str::to_owned).to_vec();
    listed.sort();
    assert_eq!(named, listed, "left: reached in src, right: failpoint::ALL");
}

#[test]
fn every_room_is_on_the_plan() {
    for file in files().keys() {
        let room = module_of(file).into_iter().next();
        let is_known = room.as_ref().is_none_or(|room| ROOMS.iter().any(|(known, _)| known == room));
        assert!(
            is_known,
            "src/{file} is in no room that is drawn: add it to ROOMS here and to ARCHITECTURE.md, or move it"
        );
    }
}

#[test]
fn no_file_grows_beyond_the_longest_of_its_room() {
    let mut found = Vec::new();
    for (file, text) in &files() {
        let room = module_of(file).into_iter().next().unwrap_or_default();
        let most = LONGEST.iter().find(|(name, _)| *name == room).map_or(LONG, |(_, most)| *most);
        let lines = text.lines().count() - read(file, &room, text).test_lines;
        if lines > most {
            found.push(format!(
                "src/{file} has {lines} lines outside its tests, {most} is the most in `{room}`: give one of its subjects a \
                 file of its own. LONGEST only goes down."
            ));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn is_found(file: &str, text: &str, words: &str) {
    let found = findings(file, text);
    assert!(found.len() == 1 && found[0].contains(words), "{file}: {text}: {found:?}");
}

fn is_fine(file: &str, text: &str) {
    let found = findings(file, text);
    assert!(found.is_empty(), "{file}: {text}: {found:?}");
}

#[test]
fn an_import_that_runs_the_wrong_way_is_found_however_it_is_written() {
    is_found("domain/a.rs", "use crate::store::books;", "src/domain/a.rs:1: `store::books` runs the wrong way");
    is_found("domain/a.rs", "use crate::{domain::money::Money, store::{self}};", "`store` runs the wrong way");
    is_found("domain/a/b.rs", "use crate::clock as time;", "`clock` runs the wrong way");
    is_found("domain/mod.rs", "use super::store;", "`store` runs the wrong way");
    is_found("domain/a.rs", "mod inner { fn a() -> crate::pg::Cluster { todo!() } }", "`pg::Cluster`");
    is_found("store/a.rs", "fn a() { crate::flows::load_accounts::load_accounts(); }", "`flows::load_accounts");
    is_found("store/a.rs", "fn a() { println!(\"{}\", crate::http::router::document()); }", "`http::router::document`");
    is_found("flows/a.rs", "use crate::sources::alertmanager;", "may import domain, store, failpoint.");
    is_found("jobs/mod.rs", "use crate::http::router;", "`http::router`");
    is_found("http/a.rs", "impl crate::cli::Door for Form {}", "`cli::Door`");
    is_found("pg/a.rs", "use crate::domain::money::Money;", "may import nothing of ours");
}

#[test]
fn an_import_that_runs_the_right_way_is_none() {
    is_fine("jobs/mod.rs", "use crate::{http::App, flows};");
    is_fine("store/a/b.rs", "use super::Error; use crate::domain::{money::{Money, Currency}, ids::*};");
    is_fine("http/a.rs", "#[cfg(test)] mod tests { use crate::cli::Door; fn a() { pool.begin(); } }");
    is_fine("main.rs", "fn main() { makegood::cli::main() }");
}

#[test]
fn every_name_of_a_nested_import_is_followed() {
    let found = findings("domain/a.rs", "use crate::{ids, store::{self, books::{links, rows as them}, feed::*}};");
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn super_of_super_is_found() {
    is_found("http/pages/a.rs", "use super::super::App;", "write the path from `crate`");
    is_found("http/pages/a.rs", "fn a() { format!(\"{}\", super::super::name()); }", "write the path from `crate`");
}

#[test]
fn what_is_not_pure_is_found_in_domain() {
    for text in [
        "async fn a() {}",
        "fn a() { let _ = async { 1 }; }",
        "use tokio::time::sleep;",
        "use std::{collections::BTreeMap, fs};",
        "fn a(at: &sqlx::PgPool) {}",
        "struct A { rate: f64 }",
        "fn a() -> i32 { assert_eq!(1, b as f32) }",
        "const RATE: Decimal = 0.5;",
    ] {
        let found = findings("domain/a.rs", text);
        assert!(!found.is_empty(), "{text}");
    }
    is_fine("domain/a.rs", "use serde::Serialize; #[derive(Serialize, utoipa::ToSchema)] struct A;");
    is_fine("domain/a.rs", "impl V for A { fn visit_f64<E>(self, _: f64) -> Result<A, E> { Err(refused()) } }");
}

#[test]
fn sql_outside_store_is_found() {
    is_found("http/a.rs", "const A: &str = \"SELECT 1 FROM credit\";", "SQL outside `store`");
    is_found("flows/a.rs", "const A: &str = r\"\n  WITH a AS (VALUES (1)) TABLE a\";", "SQL outside `store`");
    is_found("flows/a.rs", "fn a() { run(format!(\"DELETE FROM {table}\")); }", "SQL outside `store`");
    is_found("flows/a.rs", "const A: &str = \"select * from credit\";", "SQL outside `store`");
    is_found("cli/a.rs", "fn a() { sqlx::raw_sql(text).execute(pool); }", "`sqlx::raw_sql` outside `store`");
    is_fine("store/a.rs", "const A: &str = \"SELECT 1 FROM credit\";");
    is_fine("http/a.rs", "/// SELECT is a word.\nconst A: &str = \"With care: select a plan from the list.\";");
}

#[test]
fn a_transaction_that_is_opened_elsewhere_is_found() {
    is_found("http/a.rs", "async fn a() { app.pool.begin().await; }", "only flows open transactions");
    is_found(
        "store/a.rs",
        "async fn a() { pool.begin_with(\"BEGIN READ ONLY\").await; }",
        "only flows open transactions",
    );
    is_found("cli/a.rs", "fn a() { tokio::join!(pool.begin()); }", "only flows open transactions");
    is_found("jobs/a.rs", "fn a() { sqlx::Connection::begin(conn); }", "only flows open transactions");
    is_fine("flows/a.rs", "async fn a() { pool.begin().await; }");
    is_fine("store/customer.rs", "async fn a() { pool.begin().await; }");
}

#[test]
fn a_lint_that_is_silenced_for_good_is_found() {
    is_found("http/a.rs", "#[allow(dead_code)] fn a() {}", "write `#[expect(");
    is_found("http/a.rs", "#![allow(dead_code)]", "write `#[expect(");
    is_found("http/a.rs", "#[cfg_attr(unix, allow(dead_code))] fn a() {}", "write `#[expect(");
    is_found("http/a.rs", "#[expect(dead_code)] fn a() {}", "without a reason");
    is_fine("http/a.rs", "#[expect(dead_code, reason = \"called on Windows\")] fn a() {}");
}
