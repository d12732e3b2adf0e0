//! Every route, grouped by who calls it, and the document that describes them. One registration gives both.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    App, Problem, assessments, audit, batches, billing, calendars, claims, credit_runs, credits, describe, differences,
    directory, feed_reports, finance, health, incidents, ingest, ledger, mailbox_lists, outages, records, shards,
    terms,
};
use crate::domain::refusal::{Code, Refusal};

/// How long a request may take. Computing a period and bulk loads are free of it.
const DEADLINE: Duration = Duration::from_secs(15);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "makegood",
        description = "A ledger of what was promised, what was delivered and what is owed for the difference. Amounts are decimal \
                       strings with a currency, tax included unless said; times are RFC 3339. Errors are RFC 9457 problems with a \
                       stable `code`. Clients accept values of enumerations that they do not know.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Bearer),
    security(("token" = [])),
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The API and its document.
pub fn api() -> (Router<App>, utoipa::openapi::OpenApi) {
    let quick = OpenApiRouter::new()
        // Customers and staff.
        .routes(routes!(claims::file, claims::list))
        .routes(routes!(claims::get))
        .routes(routes!(claims::act))
        .routes(routes!(credits::list))
        .routes(routes!(credits::get))
        .routes(routes!(assessments::get))
        .routes(routes!(records::between))
        .routes(routes!(records::placements))
        .routes(routes!(records::charges))
        .routes(routes!(records::subscriptions))
        // Supervisors and finance.
        .routes(routes!(credit_runs::approve))
        .routes(routes!(differences::decide))
        .routes(routes!(finance::list_journals, finance::create_journal))
        .routes(routes!(finance::get_journal))
        .routes(routes!(finance::get_chart))
        .routes(routes!(credits::reverse))
        .routes(routes!(credits::offer))
        .routes(routes!(credits::unclaimed))
        .routes(routes!(credits::pay))
        // Billing.
        .routes(routes!(billing::pull))
        .routes(routes!(billing::answer))
        .routes(routes!(billing::unacknowledged))
        // Administrators.
        .routes(routes!(terms::publish))
        .routes(routes!(terms::approve))
        .routes(routes!(calendars::publish, calendars::get))
        .routes(routes!(calendars::list))
        // Operations and monitoring.
        .routes(routes!(outages::create_outage, outages::list_outages))
        .routes(routes!(outages::get_outage))
        .routes(routes!(outages::amend_outage))
        .routes(routes!(outages::confirm_outage))
        .routes(routes!(incidents::list, incidents::record))
        .routes(routes!(directory::settle, directory::settlements))
        .routes(routes!(ingest::ingest_alerts))
        .routes(routes!(ingest::list_unmapped))
        .routes(routes!(ingest::put_monitors))
        .routes(routes!(super::observations::of_outage))
        .routes(routes!(shards::put_shards, shards::list_shards))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .layer(middleware::from_fn(deadline));
    let slow = OpenApiRouter::new()
        .routes(routes!(credit_runs::assess))
        .routes(routes!(credit_runs::propose))
        .routes(routes!(credit_runs::propose_for_goodwill))
        .routes(routes!(credit_runs::get))
        .routes(routes!(credit_runs::lines))
        .routes(routes!(credit_runs::reverse))
        .routes(routes!(feed_reports::alarms))
        .routes(routes!(feed_reports::reconciliation))
        .routes(routes!(differences::make, differences::list))
        .routes(routes!(incidents::get))
        .routes(routes!(ledger::trial_balance))
        .routes(routes!(ledger::control_totals))
        .routes(routes!(audit::list))
        .routes(routes!(finance::transfers))
        .routes(routes!(finance::periods, finance::close))
        // The systems that know the customers.
        .routes(routes!(batches::accounts))
        .routes(routes!(batches::subscriptions))
        .routes(routes!(batches::charges))
        .routes(routes!(batches::placements))
        .routes(routes!(mailbox_lists::create))
        .routes(routes!(batches::given_elsewhere))
        .routes(routes!(directory::contested))
        .routes(routes!(directory::moving))
        .routes(routes!(directory::put_snapshot))
        .routes(routes!(directory::never_placed))
        .routes(routes!(ledger::verify));
    let (router, mut document) =
        OpenApiRouter::with_openapi(Document::openapi()).merge(quick).merge(slow).split_for_parts();
    describe::refusals(&mut document);
    (router, document)
}

/// The document, as it is committed in `openapi/openapi.json`.
pub fn document() -> String {
    let (_, document) = api();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Everything that the public listener serves.
pub fn router(app: App) -> Router {
    let (api, document) = api();
    api.merge(utoipa_swagger_ui::SwaggerUi::new("/docs").url("/openapi.json", document))
        .merge(super::pages::pages(&app))
        .fallback(super::pages::errors::not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app.clone())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app, super::observe::audited))
        .layer(middleware::from_fn(super::observe::requests))
        .layer(middleware::from_fn_with_state(super::observe::Room::default(), super::observe::shed))
        .layer(middleware::from_fn(super::request_ids))
}

async fn method_not_allowed() -> Problem {
    Problem(Refusal::new(Code::MethodNotAllowed, "This path does not take that method. See /docs."))
}

/// The answer of a handler that broke.
pub fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    Problem(Refusal::new(Code::Internal, "Something broke on our side. Nothing was saved.")).into_response()
}

/// Ends a request that takes too long.
pub async fn deadline(request: Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem(Refusal::new(Code::Unavailable, "This took too long. Try again with the same key.")).into_response()
        }
    }
}
