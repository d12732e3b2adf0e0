//! `makegood erase`: a person's data, at their word or at the law's.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::database::{self, DatabaseArgs};
use crate::clock::Clock;
use crate::flows::erase_account::{ErasureReason, erase_account};

#[derive(Debug, Args)]
pub struct EraseArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The operator's reference of the account.
    #[arg(long)]
    account: String,
    /// Why.
    #[arg(long)]
    reason: Reason,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reason {
    /// The person asked for it
    Asked,
    /// The law no longer asks to keep it
    RetentionOver,
    /// It should not have been kept
    NotNeeded,
}

/// Erases, and says how many rows that changed in each table.
pub async fn run(args: &EraseArgs) -> anyhow::Result<()> {
    let opened = database::open(&args.database).await?;
    let owner = opened
        .owner
        .as_ref()
        .context("name the owner's database in MAKEGOOD_OWNER_URL: the service's own role may not erase")?;
    let reason = match args.reason {
        Reason::Asked => ErasureReason::Asked,
        Reason::RetentionOver => ErasureReason::RetentionOver,
        Reason::NotNeeded => ErasureReason::NotNeeded,
    };
    let actor = super::administrator("terminal");
    let counts = erase_account(owner, Clock::real().now(), &actor, &args.account, reason).await?;
    println!("{}", serde_json::to_string(&counts.into_iter().collect::<BTreeMap<_, _>>())?);
    eprintln!(
        "names, addresses and words of {} are gone from the database; backups and the database's log of changes hold them until they \
         are rotated (docs/proof.md, \"Erasure\")",
        args.account
    );
    Ok(())
}
