//! Is it alive, is it ready, and what is it doing: for load balancers and monitoring.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;

use super::{App, Problem};
use crate::domain::refusal::{Code, Refusal};

/// The process answers
#[utoipa::path(get, path = "/healthz", operation_id = "get_health", tag = "operations", security(()),
    responses((status = 200, description = "The process answers", body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok"
}

/// The database answers
#[utoipa::path(get, path = "/readyz", operation_id = "get_readiness", tag = "operations", security(()),
    responses(
        (status = 200, description = "Requests can be served", body = String, content_type = "text/plain"),
        (status = 503, description = "The database is away", body = super::problem::ProblemBody,
         content_type = "application/problem+json"),
    ))]
pub async fn readyz(State(app): State<App>) -> Response {
    let asked = tokio::time::timeout(std::time::Duration::from_millis(1_500), app.pool.acquire()).await;
    match asked {
        Ok(Ok(_)) => "ready".into_response(),
        Ok(Err(_)) | Err(_) => {
            Problem(Refusal::new(Code::Unavailable, "The database does not answer.")).into_response()
        }
    }
}

/// What the counters say, for Prometheus; on the admin listener only.
pub fn metrics(handle: PrometheusHandle) -> axum::Router {
    axum::Router::new().route("/metrics", axum::routing::get(move || std::future::ready(handle.render())))
}
