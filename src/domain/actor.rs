//! Who acts: a person or a machine, with the roles that an issuer vouches for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::AccountId;

/// What somebody may do. Evidence roles (`ingest`, `operations`) and money roles do not mix in one person's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Ingest,
    Operations,
    Customer,
    Agent,
    Supervisor,
    Billing,
    Finance,
    Auditor,
    Admin,
}

impl Role {
    pub const ALL: [Role; 9] = [
        Role::Ingest,
        Role::Operations,
        Role::Customer,
        Role::Agent,
        Role::Supervisor,
        Role::Billing,
        Role::Finance,
        Role::Auditor,
        Role::Admin,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Operations => "operations",
            Role::Customer => "customer",
            Role::Agent => "agent",
            Role::Supervisor => "supervisor",
            Role::Billing => "billing",
            Role::Finance => "finance",
            Role::Auditor => "auditor",
            Role::Admin => "admin",
        }
    }

    /// Whether the role says what happened (and so must not also give money for it).
    pub fn is_evidence(self) -> bool {
        matches!(self, Role::Ingest | Role::Operations)
    }

    /// Whether the role gives money or takes it to billing.
    pub fn is_money(self) -> bool {
        matches!(self, Role::Agent | Role::Supervisor | Role::Billing | Role::Finance)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Role::ALL
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| UnknownRole(name.chars().take(40).collect()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a role; roles are ingest, operations, customer, agent, supervisor, billing, finance, auditor and admin"
)]
pub struct UnknownRole(String);

/// Somebody who acts, as their token or session says. Never taken from a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `issuer` and `subject` together name one person or machine for good; see [`Actor::key`].
    pub issuer: String,
    pub subject: String,
    /// How pages name the person; the subject where the token says no name.
    pub name: String,
    pub roles: BTreeSet<Role>,
    /// The operator's references of the accounts that a customer's token names.
    pub accounts: Vec<String>,
    /// The monitoring or billing source that a machine's token names.
    pub source: Option<String>,
}

impl Actor {
    /// What idempotency keys, limits and audit rows are kept under: `issuer|subject`.
    pub fn key(&self) -> String {
        format!("{}|{}", self.issuer, self.subject)
    }

    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    pub fn has_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }

    /// The account that a customer means by `reference`, if it is one of theirs.
    pub fn own_account(&self, reference: &str) -> Option<AccountId> {
        self.accounts.iter().any(|own| own == reference).then(|| AccountId::of(reference))
    }

    pub fn own_accounts(&self) -> Vec<AccountId> {
        self.accounts.iter().map(|reference| AccountId::of(reference)).collect()
    }
}
