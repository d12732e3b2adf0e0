//! `makegood feed`: what a billing system does, from a shell: pull the credits into books of its own, put them on bills, answer
//! them; the same by files; and what an operator does when the feed stopped.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::billing_books::{self, Answer, Books, Item, Said};
use super::client::{CallError, Client, ServerArgs};
use super::database::{self, DatabaseArgs};
use crate::clock::Clock;
use crate::domain::feed_file::{AnswerLine, FeedFile, read_answers};
use crate::flows::sequence_feed::new_epoch;

#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// Pull the feed into books of one's own, or as JSON lines on stdout
    #[command(
        after_help = "Examples:\n  makegood feed pull --books books\n  makegood feed pull --after CURSOR > credits.ndjson\n\n\
                            Exit codes: 0 ok, 1 failed (do it again), 4 not allowed, 5 the cursor is refused (docs/billing.md)."
    )]
    Pull(PullArgs),
    /// Put every credit that has no bill on one for each payer, and answer it
    Ack(AckArgs),
    /// Read the feed from its beginning again, after its cursor was refused; what is booked stays
    Resync(ResyncArgs),
    /// What the books hold, by currency
    Books(BooksArgs),
    /// Write the feed into a CSV file with a trailer
    Export(ExportArgs),
    /// Send the answers of a CSV file with a trailer
    ImportAnswers(ImportArgs),
    /// Open a new epoch after a restore or a lossy fail-over
    NewEpoch(DatabaseArgs),
}

#[derive(Debug, Args)]
pub struct PullArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// The folder of the books: they know where to go on.
    #[arg(long, value_name = "FOLDER", conflicts_with = "after")]
    pub books: Option<PathBuf>,
    /// Go on after this cursor.
    #[arg(long)]
    pub after: Option<String>,
    /// How many items a page may have.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub page: u32,
}

#[derive(Debug, Args)]
pub struct AckArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// The folder of the books. Without it, what the service lists as unanswered is answered.
    #[arg(long, value_name = "FOLDER")]
    pub books: Option<PathBuf>,
    /// What the numbers of the bills begin with.
    #[arg(long, default_value = "INV")]
    pub bill: String,
    /// The date of the bills.
    #[arg(long)]
    pub date: NaiveDate,
    /// How many answers go at once.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub page: u32,
}

#[derive(Debug, Args)]
pub struct ResyncArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// The folder of the books.
    #[arg(long, value_name = "FOLDER")]
    pub books: PathBuf,
}

#[derive(Debug, Args)]
pub struct BooksArgs {
    /// The folder of the books.
    #[arg(long, value_name = "FOLDER")]
    pub books: PathBuf,
    /// Every item as a line of JSON, with its answer, instead of the sums.
    #[arg(long)]
    pub list: bool,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// Go on after this cursor: it stands in the trailer of the last file.
    #[arg(long)]
    pub after: Option<String>,
    /// The file. It is there when it is whole.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// CSV: credit,answer,reference,date,net,tax,code,detail, and a trailer.
    pub file: PathBuf,
}

/// Does it; gives what the program ends with: 4 not signed in or not allowed, 5 a cursor that is refused.
pub async fn run(command: &FeedCommand) -> anyhow::Result<ExitCode> {
    let done = match command {
        FeedCommand::Pull(args) => match &args.books {
            Some(books) => pull_into(&args.server, books, args.page).await,
            None => pull(args).await,
        },
        FeedCommand::Ack(args) => match &args.books {
            Some(books) => ack_from(args, books).await,
            None => ack(args).await,
        },
        FeedCommand::Resync(args) => resync(args).await,
        FeedCommand::Books(args) => show_books(args),
        FeedCommand::Export(args) => export(args).await,
        FeedCommand::ImportAnswers(args) => import_answers(args).await,
        FeedCommand::NewEpoch(args) => {
            let opened = database::open(args).await?;
            let epoch = new_epoch(&opened.pool, 0, Clock::real().now()).await?;
            println!("{}", json!({ "epoch": epoch }));
            Ok(true)
        }
    };
    match done {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) => match error.downcast_ref::<CallError>() {
            Some(refused) => {
                eprintln!("error: {error:#}");
                Ok(ExitCode::from(refused.exit_code()))
            }
            None => Err(error),
        },
    }
}

/// One page of the feed, as it was sent.
struct Page {
    epoch: i64,
    items: Vec<Item>,
    cursor: String,
    has_more: bool,
}

async fn page_after(client: &Client<'_>, after: Option<&str>, limit: u32) -> anyhow::Result<Page> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(after.map(|cursor| ("after", cursor.to_owned())));
    let mut page = client.get("/v1/billing/feed", &query).await?;
    let items = serde_json::from_value(page["data"].take()).context("a page that is none: what answers there?")?;
    let cursor = page["next_cursor"].as_str().context("a page without next_cursor")?.to_owned();
    let epoch = page["epoch"].as_i64().context("a page without its epoch")?;
    Ok(Page { epoch, items, cursor, has_more: page["has_more"] == true })
}

async fn pull(args: &PullArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.server)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let (mut after, mut pulled) = (args.after.clone(), 0usize);
    loop {
        let page = page_after(&client, after.as_deref(), args.page).await?;
        for item in &page.items {
            writeln!(out, "{}", serde_json::to_string(item)?)?;
        }
        pulled += page.items.len();
        after = Some(page.cursor);
        if !page.has_more {
            break;
        }
    }
    out.flush()?;
    eprintln!("pulled {pulled}; go on with --after {}", after.unwrap_or_default());
    Ok(true)
}

fn open_books(folder: &Path) -> anyhow::Result<Books> {
    let books = Books::open(folder)?;
    if books.was_cut {
        eprintln!("the last record of the books was not whole and is left out: what it was about is done again");
    }
    Ok(books)
}

/// Pulls page after page; each is booked with the cursor behind it before the next is asked for.
async fn pull_into(server: &ServerArgs, folder: &Path, limit: u32) -> anyhow::Result<bool> {
    let mut books = open_books(folder)?;
    pull_all(&Client::new(server)?, &mut books, folder, limit).await
}

async fn pull_all(client: &Client<'_>, books: &mut Books, folder: &Path, limit: u32) -> anyhow::Result<bool> {
    let (mut pulled, mut booked, mut differing) = (0, 0, 0);
    loop {
        let page = match page_after(client, books.cursor(), limit).await {
            Ok(page) => page,
            Err(error) => {
                if let Some(CallError::Refused { code, .. }) = error.downcast_ref::<CallError>()
                    && code == "cursor_stale"
                {
                    return Err(error.context(format!(
                        "the feed is not the one that these books know: read it from its beginning with \
                         `makegood feed resync --books {}`; what is booked stays and nothing is booked twice",
                        folder.display()
                    )));
                }
                return Err(error);
            }
        };
        pulled += page.items.len();
        let (new, other) = books.book(page.epoch, &page.cursor, page.items)?;
        booked += new;
        for item in &other {
            differing += 1;
            eprintln!("{} {} is booked with another content: settle it with the operator", item.op, item.text("id"));
        }
        if !page.has_more {
            break;
        }
    }
    println!("{}", json!({ "pulled": pulled, "booked": booked, "differing": differing, "epoch": books.epoch() }));
    Ok(differing == 0)
}

async fn resync(args: &ResyncArgs) -> anyhow::Result<bool> {
    let mut books = open_books(&args.books)?;
    books.resync()?;
    let is_same = pull_all(&Client::new(&args.server)?, &mut books, &args.books, 1_000).await?;
    let missing = books.missing().unwrap_or_default();
    for item in &missing {
        let line = json!({ "missing": item.id, "op": item.op, "credit": item.credit });
        println!("{line}");
    }
    if !missing.is_empty() {
        eprintln!(
            "{} items are in these books and not in the feed: the operator lost them. They are listed on stdout; settle them with the \
             operator, who may issue them again under the same ids",
            missing.len()
        );
    }
    eprintln!("every answer is told again by the next `makegood feed ack`: what the service knows is not taken twice");
    Ok(is_same && missing.is_empty())
}

/// Decides what is new, keeps that, and tells what was not told.
async fn ack_from(args: &AckArgs, folder: &Path) -> anyhow::Result<bool> {
    let mut books = open_books(folder)?;
    let client = Client::new(&args.server)?;
    let (answers, unknown) = billing_books::decide(&books, &args.bill, args.date)?;
    books.decide(answers)?;
    let mut totals = BTreeMap::from([("recorded", 0usize), ("already", 0), ("refused", 0)]);
    let untold: Vec<Answer> = books.untold().cloned().collect();
    for answers in untold.chunks(usize::try_from(args.page)?) {
        let items: Vec<Value> = answers.iter().map(wire).collect();
        let taken = client.post("/v1/billing/acks", &json!({ "items": items })).await?;
        let said = taken["items"].as_array().context("an answer without items: what answers there?")?;
        ensure!(said.len() == answers.len(), "{} answers were sent and {} came back", answers.len(), said.len());
        let result = |(answer, said): (&Answer, &Value)| billing_books::Result {
            id: answer.id.clone(),
            result: said["result"].as_str().unwrap_or_default().to_owned(),
            detail: said["detail"].as_str().map(str::to_owned),
        };
        let results: Vec<_> = answers.iter().zip(said).map(result).collect();
        for (answer, one) in answers.iter().zip(&results) {
            if let Some(total) = totals.get_mut(one.result.as_str()) {
                *total += 1;
            }
            if one.result == "refused" {
                let why = one.detail.as_deref().unwrap_or_default();
                eprintln!("{} {}: {why}", answer.credit, answer.reference.as_deref().unwrap_or_default());
            }
        }
        books.tell(results)?;
    }
    println!("{}", serde_json::to_string(&totals)?);
    for item in &unknown {
        eprintln!(
            "{} {}: these books do not know what {:?} asks for; do it by hand",
            item.id,
            item.text("id"),
            item.op
        );
    }
    let refused = totals.get("refused").copied().unwrap_or_default();
    if refused > 0 {
        eprintln!("error: {refused} answers were refused: they stand in the books with why, and are not sent again");
    }
    Ok(refused == 0 && unknown.is_empty())
}

fn wire(answer: &Answer) -> Value {
    let Answer { credit, answer, reference, date, net, tax, .. } = answer;
    match answer {
        Said::Applied | Said::Debited => {
            json!({ "credit": credit, "answer": answer, "reference": reference, "date": date, "net": net, "tax": tax })
        }
        Said::Cancelled | Said::Nothing => json!({ "credit": credit, "answer": answer }),
    }
}

fn show_books(args: &BooksArgs) -> anyhow::Result<bool> {
    let books = open_books(&args.books)?;
    if args.list {
        for item in books.items() {
            let answer = books.answer_to(&item.id).map(serde_json::to_value).transpose()?;
            let told = books.result_of(&item.id).map(|result| result.result.as_str());
            let line = json!({ "id": item.id, "op": item.op, "credit": item.credit, "answer": answer, "told": told });
            println!("{line}");
        }
        return Ok(true);
    }
    let mut sums: BTreeMap<(String, &str), (u64, rust_decimal::Decimal)> = BTreeMap::new();
    for item in books.items() {
        let place = match books.answer_to(&item.id).map(|answer| answer.answer) {
            None => "open",
            Some(Said::Applied) => "applied",
            Some(Said::Debited) => "debited",
            Some(Said::Cancelled) => "cancelled",
            Some(Said::Nothing) => "left_out",
        };
        let gross: rust_decimal::Decimal =
            item.text("gross").parse().with_context(|| format!("gross of {}", item.id))?;
        let sum = sums.entry((item.text("currency").to_owned(), place)).or_default();
        *sum = (sum.0 + 1, sum.1 + gross);
    }
    let sums: Vec<Value> = sums
        .into_iter()
        .map(|((currency, place), (count, gross))| {
            json!({ "currency": currency, "state": place, "items": count, "gross": gross.to_string() })
        })
        .collect();
    let untold = books.untold().count();
    println!("{}", json!({ "epoch": books.epoch(), "cursor": books.cursor(), "untold": untold, "sums": sums }));
    Ok(true)
}

async fn export(args: &ExportArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.server)?;
    let mut draft = args.out.clone().into_os_string();
    draft.push(".part");
    let draft = PathBuf::from(draft);
    let named = || format!("cannot write {}", draft.display());
    let mut out = std::io::BufWriter::new(std::fs::File::create(&draft).with_context(named)?);
    let (mut file, header) = FeedFile::begin();
    out.write_all(header.as_bytes()).with_context(named)?;
    let (mut after, mut count) = (args.after.clone(), 0usize);
    loop {
        let page = page_after(&client, after.as_deref(), 1_000).await?;
        for item in &page.items {
            let line = file
                .item(item.position, &item.id, &item.op, &item.credit)
                .with_context(|| format!("the amounts of {} cannot be read", item.id))?;
            out.write_all(line.as_bytes()).with_context(named)?;
        }
        count += page.items.len();
        after = Some(page.cursor);
        if !page.has_more {
            break;
        }
    }
    let cursor = after.unwrap_or_default();
    out.write_all(file.end(&cursor).as_bytes()).with_context(named)?;
    out.into_inner().map_err(|error| error.into_error()).and_then(|file| file.sync_all()).with_context(named)?;
    std::fs::rename(&draft, &args.out).with_context(|| format!("cannot name {}", args.out.display()))?;
    println!("{}", json!({ "file": args.out, "items": count, "cursor": cursor }));
    Ok(true)
}

async fn import_answers(args: &ImportArgs) -> anyhow::Result<bool> {
    let bytes = std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let lines = match read_answers(&bytes) {
        Ok(lines) => lines,
        Err(refusal) => {
            for error in &refusal.errors {
                eprintln!("error: {}{}: {}", args.file.display(), error.pointer, error.message);
            }
            return Ok(false);
        }
    };
    let client = Client::new(&args.server)?;
    let mut totals = BTreeMap::from([("recorded", 0u64), ("already", 0), ("refused", 0)]);
    for (at, chunk) in lines.chunks(1_000).enumerate() {
        let items: Vec<Value> = chunk.iter().map(answered).collect();
        let taken = client.post("/v1/billing/acks", &json!({ "items": items })).await?;
        for (name, total) in &mut totals {
            *total += taken[*name].as_u64().unwrap_or(0);
        }
        for (place, one) in taken["items"].as_array().into_iter().flatten().enumerate() {
            if one["result"] == "refused" {
                let (line, detail) = (at * 1_000 + place + 2, one["detail"].as_str().unwrap_or_default());
                eprintln!("line {line}: {}: {detail}", one["credit"].as_str().unwrap_or_default());
            }
        }
    }
    println!("{}", serde_json::to_string(&totals)?);
    Ok(totals.get("refused").is_none_or(|refused| *refused == 0))
}

fn answered(line: &AnswerLine) -> Value {
    let AnswerLine { credit, answer, reference, date, net, tax, code, detail } = line;
    json!({
        "credit": credit, "answer": answer, "reference": reference, "date": date, "net": net, "tax": tax, "code": code,
        "detail": detail,
    })
}

async fn ack(args: &AckArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.server)?;
    let mut totals = BTreeMap::from([("recorded", 0u64), ("already", 0), ("refused", 0)]);
    let mut after = 0;
    loop {
        let query = [("limit", args.page.to_string()), ("after", after.to_string())];
        let page = client.get("/v1/billing/unacknowledged", &query).await?;
        let items: Vec<Value> =
            page["data"].as_array().into_iter().flatten().map(|item| answer(args, &item["credit"])).collect();
        if items.is_empty() {
            break;
        }
        let taken = client.post("/v1/billing/acks", &json!({ "items": items })).await?;
        for (name, total) in &mut totals {
            *total += taken[*name].as_u64().unwrap_or(0);
        }
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    println!("{}", serde_json::to_string(&totals)?);
    let is_taken = totals.get("refused").is_none_or(|refused| *refused == 0);
    if !is_taken {
        eprintln!("error: some answers were refused: GET /v1/billing/unacknowledged lists what is still open");
    }
    Ok(is_taken)
}

fn answer(args: &AckArgs, credit: &Value) -> Value {
    json!({
        "credit": credit["id"],
        "answer": "applied",
        "reference": format!("{}-{}", args.bill, credit["bill_to"].as_str().unwrap_or_default()),
        "date": args.date,
        "net": credit["net"],
        "tax": credit["tax"],
    })
}
