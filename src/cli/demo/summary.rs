//! What came of the story, read from the service and never remembered.

use anyhow::Context;
use serde_json::{Value, json};

use super::people::person;
use super::story::{Story, october};
use super::{ClaimSummary, Summary};
use crate::domain::ids::CreditRunId;
use crate::domain::ratio::Ratio;
use crate::http::pages::fmt;

/// Reads the figures through the doors that anybody with the role has.
pub async fn read(story: &Story<'_>) -> anyhow::Result<Summary> {
    let client = &story.client;
    let (auditor, hana, wiremu) = (story.auditor()?, story.hana()?, story.wiremu()?);
    let proposer = person("aroha").context("nobody proposed")?.actor().key();
    let run_id = CreditRunId::of(&proposer, "run-2026-10");
    let run = client.get(&format!("/v1/credit-runs/{run_id}"), &wiremu).await?;
    let controls = client.get("/v1/ledger/control-totals", &auditor).await?;
    let chain = client.get("/v1/ledger/verify", &auditor).await?;
    let balance = client.get("/v1/ledger/trial-balance", &auditor).await?;
    let claims = client.get("/v1/claims", &hana).await?;
    let claim = claims["data"].as_array().and_then(|all| all.last()).context("the claim is not there")?;
    let month = client.get(&format!("/v1/accounts/20418876/assessments/{}", october()), &hana).await?;
    let sum = &month["receipts"][0]["assessment"];
    let down = &sum["strands"][0]["total"];
    Ok(Summary {
        accounts: story.accounts().await?,
        affected_accounts: number(&run["affected_accounts"])?,
        credited_accounts: number(&run["credited_accounts"])?,
        held_back_accounts: number(&run["held_back_accounts"])?,
        held_back_by_reason: run["held_back_by_reason"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|held| Ok((held["reason"].as_str().unwrap_or_default().to_owned(), number(&held["accounts"])?)))
            .collect::<anyhow::Result<_>>()?,
        nothing_due_accounts: number(&run["nothing_due_accounts"])?,
        run_total: run["total"].clone(),
        credited_total: credited(&balance)?,
        credits_issued: number(&controls["issued"])?,
        feed_pulled: number(&controls["delivered"])?,
        feed_acknowledged: number(&controls["answered"])?,
        control_totals_agree: controls["agree"] == true && balance["balanced"] == true,
        chain_verified: chain["intact"] == true,
        claim: ClaimSummary {
            id: claim["id"].clone(),
            asked: claim["asked"].clone(),
            computed: sum["outcome"]["amount"].clone(),
            approved: claim["given"].clone(),
            state: claim["state"].clone(),
        },
        minutes_down: number(&down["counted_micros"])? / 60_000_000,
        uptime: percent(&down["uptime"])?,
        seconds: story.seconds.clone(),
    })
}

/// Everything that was ever owed: the credit side of OWED, since nothing of the story is reversed.
fn credited(balance: &Value) -> anyhow::Result<Value> {
    let lines = balance["lines"].as_array().context("no trial balance")?;
    let owed = lines.iter().find(|line| line["account"] == "OWED").context("nothing was ever owed")?;
    Ok(json!({ "amount": owed["credit"], "currency": owed["currency"] }))
}

/// "97.009%".
fn percent(uptime: &Value) -> anyhow::Result<String> {
    let ratio: Ratio =
        uptime.as_str().context("no uptime")?.parse().map_err(|_| anyhow::anyhow!("{uptime} is no ratio"))?;
    let exact = ratio.for_rounding().map_err(|_| anyhow::anyhow!("{uptime} is too long"))?;
    Ok(fmt::percent(exact))
}

fn number(value: &Value) -> anyhow::Result<i64> {
    value.as_i64().with_context(|| format!("{value} is no count"))
}
