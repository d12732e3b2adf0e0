use std::path::PathBuf;

use axum::http::{HeaderMap, HeaderValue, header};
use jsonwebtoken::Algorithm::{self, ES256, EdDSA, PS256, RS256};
use serde_json::{Value, json};
use uuid::Uuid;

use super::testing::{TestKey, base64url, jwks, sign_hs256};
use super::token::{Check, Verified};
use super::{AuthError, Issuers, IssuersConfig, MachineKey, bearer};
use crate::domain::actor::{Actor, Role};
use crate::domain::time::{DAY, Instant, SECOND};
use crate::store::machine_tokens::MachineToken;

/// A person in good standing.
pub fn actor(issuer: &str, subject: &str) -> Actor {
    Actor {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        name: subject.to_owned(),
        roles: [Role::Agent].into(),
        accounts: Vec::new(),
        source: None,
    }
}

fn now() -> Instant {
    Instant::parse("2026-10-13T06:00:00Z").unwrap()
}

/// Seconds since 1970, `offset` seconds from now.
fn seconds(offset: i64) -> i64 {
    now().micros() / SECOND + offset
}

/// A folder that is removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("makegood-auth-{}", Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An issuer of staff and one of customers, each with its own algorithm.
struct Desk {
    issuers: Issuers,
    staff: TestKey,
    customers: TestKey,
    _folder: Folder,
}

async fn desk(staff: Algorithm, customers: Algorithm) -> Desk {
    let (staff, customers) = (TestKey::new(staff), TestKey::new(customers));
    let folder = Folder::new();
    let staff_file = folder.write("staff.json", &jwks(&[("s1", &staff)]));
    let customer_file = folder.write("customers.pem", &customers.pem);
    let config: IssuersConfig = toml::from_str(&format!(
        r#"
        [[issuer]]
        name = "staff"
        issuer = "https://staff.example"
        audience = "makegood"
        roles = ["operations", "agent", "supervisor", "auditor", "customer"]
        algorithm = "{:?}"
        keys = {{ jwks_file = {:?} }}
        role_claim = "/realm/roles"

        [[issuer]]
        name = "customers"
        issuer = "https://customers.example"
        audience = "makegood"
        roles = ["customer"]
        algorithm = "{:?}"
        keys = {{ file = {:?} }}
        account_claim = "https://customers.example/accounts"
        max_lifetime_seconds = 600
        "#,
        staff.algorithm, staff_file, customers.algorithm, customer_file,
    ))
    .unwrap();
    Desk { issuers: Issuers::load(&config).await.unwrap(), staff, customers, _folder: folder }
}

fn staff_header(algorithm: Algorithm) -> Value {
    json!({ "typ": "JWT", "alg": format!("{algorithm:?}"), "kid": "s1" })
}

fn staff_claims() -> Value {
    json!({
        "iss": "https://staff.example", "aud": "makegood", "sub": "ana", "name": "Ana Pērkons",
        "iat": seconds(-10), "exp": seconds(590), "realm": { "roles": ["agent", "supervisor"] },
    })
}

fn customer_claims() -> Value {
    json!({
        "iss": "https://customers.example", "aud": ["makegood"], "sub": "c-1",
        "iat": seconds(-10), "exp": seconds(590), "roles": ["customer"],
        "https://customers.example/accounts": ["20418876", "20418877"],
    })
}

impl Desk {
    async fn staff(&self, header: &Value, claims: &Value) -> Result<Verified, AuthError> {
        self.issuers.verify(&self.staff.sign(&header.to_string(), &claims.to_string()), now()).await
    }

    /// A good staff token but for one claim; null takes the claim out.
    async fn with(&self, claim: &str, value: Value) -> Result<Verified, AuthError> {
        let mut claims = staff_claims();
        claims[claim] = value;
        self.staff(&staff_header(self.staff.algorithm), &claims).await
    }

    async fn without(&self, claim: &str) -> Result<Verified, AuthError> {
        let mut claims = staff_claims();
        claims.as_object_mut().unwrap().remove(claim);
        self.staff(&staff_header(self.staff.algorithm), &claims).await
    }
}

#[tokio::test]
async fn each_of_the_four_algorithms_vouches_for_staff_and_for_customers() {
    for (staff, customers) in [(ES256, EdDSA), (EdDSA, ES256), (RS256, PS256), (PS256, RS256)] {
        let desk = desk(staff, customers).await;
        let verified = desk.staff(&staff_header(staff), &staff_claims()).await.unwrap();
        assert_eq!(verified.check, Check::Person { issued_at: Some(now().plus(-10 * SECOND)) });
        assert_eq!(verified.actor.key(), "staff|ana");
        assert_eq!(verified.actor.name, "Ana Pērkons");
        assert_eq!(verified.actor.roles, [Role::Agent, Role::Supervisor].into());

        let header = json!({ "alg": format!("{customers:?}"), "typ": "at+jwt", "kid": "whatever" });
        let token = desk.customers.sign(&header.to_string(), &customer_claims().to_string());
        let verified = desk.issuers.verify(&token, now()).await.unwrap();
        assert_eq!(verified.actor.accounts, ["20418876", "20418877"]);
        assert_eq!(verified.actor.name, "c-1");
    }
}

#[tokio::test]
async fn a_token_under_another_algorithm_key_or_issuer_is_not_trusted() {
    let desk = desk(RS256, EdDSA).await;
    let untrusted = Err(AuthError::Untrusted);
    let (header, claims) = (staff_header(RS256).to_string(), staff_claims().to_string());

    for name in ["none", "None", "nOnE", "HS256", "PS256", "ES256", "", "rs256"] {
        let header = json!({ "alg": name, "kid": "s1" });
        assert_eq!(desk.staff(&header, &staff_claims()).await, untrusted, "{name}");
        let unsigned = format!("{}.{}.", base64url(header.to_string()), base64url(&claims));
        assert_eq!(desk.issuers.verify(&unsigned, now()).await, untrusted, "{name}");
    }
    let confused = json!({ "alg": "HS256", "kid": "s1" }).to_string();
    for secret in [desk.staff.pem.as_bytes(), desk.staff.jwk("s1")["n"].as_str().unwrap().as_bytes(), b"secret", b""] {
        assert_eq!(desk.issuers.verify(&sign_hs256(secret, &confused, &claims), now()).await, untrusted);
        assert_eq!(desk.issuers.verify(&sign_hs256(secret, &header, &claims), now()).await, untrusted);
    }
    let other = TestKey::new(RS256);
    assert_eq!(desk.issuers.verify(&other.sign(&header, &claims), now()).await, untrusted, "another key, a known id");
    let of_the_other_issuer = desk.customers.sign(&json!({ "alg": "EdDSA" }).to_string(), &claims);
    assert_eq!(desk.issuers.verify(&of_the_other_issuer, now()).await, untrusted);
    assert_eq!(desk.staff(&json!({ "alg": "RS256", "kid": "s2" }), &staff_claims()).await, untrusted);
    assert_eq!(desk.with("iss", json!("https://staff.example/")).await, untrusted);
    assert_eq!(desk.with("iss", json!("makegood")).await, untrusted, "no machine's key is set");

    let good = desk.staff.sign(&header, &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut raised = staff_claims();
    raised["sub"] = json!("somebody else");
    let (head, _) = message.split_once('.').unwrap();
    let tampered = format!("{head}.{}.{signature}", base64url(raised.to_string()));
    assert_eq!(desk.issuers.verify(&tampered, now()).await, untrusted);
    assert_eq!(desk.issuers.verify(&format!("{message}."), now()).await, untrusted);
    assert!(desk.issuers.verify(&good, now()).await.is_ok());
}

#[tokio::test]
async fn a_header_that_brings_a_key_or_changes_the_reading_is_refused_even_when_well_signed() {
    let desk = desk(ES256, EdDSA).await;
    let other = TestKey::new(ES256);
    for (name, value) in [
        ("jku", json!("http://127.0.0.1:9/jwks")),
        ("x5u", json!("http://127.0.0.1:9/x")),
        ("x5c", json!(["MIIB"])),
        ("jwk", other.jwk("s1")),
        ("crit", json!(["exp2"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("logout+jwt")),
        ("typ", json!(7)),
        ("kid", json!("a\u{0}b")),
        ("kid", json!("")),
        ("kid", json!(["s1"])),
        ("kid", json!("x".repeat(201))),
    ] {
        let mut header = staff_header(ES256);
        header[name] = value.clone();
        let refused = desk.staff(&header, &staff_claims()).await.unwrap_err();
        assert!(matches!(refused, AuthError::Malformed(_)), "{name}: {value}: {refused:?}");
    }
    let mut header = staff_header(ES256);
    header["x5t#S256"] = json!("some thumbprint");
    header["vendor"] = json!({ "n": 1 });
    assert!(desk.staff(&header, &staff_claims()).await.is_ok(), "what is not understood and harmless is passed over");
}

#[tokio::test]
async fn what_is_no_compact_token_is_malformed() {
    let desk = desk(EdDSA, EdDSA).await;
    let good = desk.staff.sign(&staff_header(EdDSA).to_string(), &staff_claims().to_string());
    let (head, rest) = good.split_once('.').unwrap();
    for bad in [
        "".to_owned(),
        "a.b".to_owned(),
        "a.b.c.d".to_owned(),
        "..".to_owned(),
        format!("{head}=.{rest}"),
        format!("{good}.x.y"),
        format!("{good}.{}", "x".repeat(9000)),
        format!("{}.{rest}", base64url(r#"{"alg":"EdDSA","alg":"none"}"#)),
        format!("{}.{rest}", base64url("[]")),
        format!("{}.{rest}", base64url(b"\xff\xfe")),
        format!("{head}.{}.c2ln", base64url("[".repeat(4000))),
    ] {
        let refused = desk.issuers.verify(&bad, now()).await.unwrap_err();
        assert!(matches!(refused, AuthError::Malformed(_)), "{bad}: {refused:?}");
    }
    let padded = desk.issuers.verify(&format!("{good}="), now()).await.unwrap_err();
    assert_eq!(padded, AuthError::Untrusted, "a signature that is no base64url holds for nothing");
}

#[tokio::test]
async fn issuer_audience_subject_and_expiry_are_required_and_of_the_right_type() {
    let desk = desk(EdDSA, ES256).await;
    for name in ["iss", "aud", "sub", "exp"] {
        assert_eq!(desk.without(name).await.unwrap_err(), AuthError::Claim(name));
    }
    for bad in [json!(null), json!(["https://staff.example"]), json!(7)] {
        assert_eq!(desk.with("iss", bad).await.unwrap_err(), AuthError::Claim("iss"));
    }
    for bad in
        [json!([]), json!(["other"]), json!("other"), json!(["makegood", 7]), json!({ "makegood": 1 }), json!("")]
    {
        assert!(desk.with("aud", bad.clone()).await.is_err(), "{bad}");
    }
    assert!(desk.with("aud", json!(["other", "makegood"])).await.is_ok());
    for bad in [json!(""), json!(" "), json!(7), json!(null), json!("a\u{1f}b"), json!("x".repeat(256))] {
        assert_eq!(desk.with("sub", bad).await.unwrap_err(), AuthError::Claim("sub"));
    }
    for bad in [json!("claims:read\u{a0}credits:issue"), json!("a\tb"), json!(["a"]), json!(null)] {
        assert_eq!(desk.with("scope", bad).await.unwrap_err(), AuthError::Claim("scope"));
    }
    assert!(desk.with("scope", json!("openid profile")).await.is_ok());
    assert_eq!(desk.with("name", json!(["Ana"])).await.unwrap_err(), AuthError::Claim("name"));
}

#[tokio::test]
async fn times_are_integers_and_are_held_against_the_clock_with_half_a_minute_to_spare() {
    let desk = desk(EdDSA, ES256).await;
    assert!(desk.with("exp", json!(seconds(-29))).await.is_ok());
    for late in [-30, -61, -3600] {
        let mut claims = staff_claims();
        claims["iat"] = json!(seconds(-3700));
        claims["exp"] = json!(seconds(late));
        assert_eq!(desk.staff(&staff_header(EdDSA), &claims).await.unwrap_err(), AuthError::Expired);
    }
    for name in ["exp", "nbf", "iat"] {
        for bad in [
            json!(null),
            json!(seconds(60).to_string()),
            json!({}),
            json!([seconds(0)]),
            json!(true),
            json!(-1),
            json!(i64::MAX),
            json!(u64::MAX),
            serde_json::from_str(&format!("{}.5", seconds(60))).unwrap(),
            serde_json::from_str(&format!("{}.0", seconds(60))).unwrap(),
            serde_json::from_str("1e18").unwrap(),
        ] {
            let refused = desk.with(name, bad.clone()).await.unwrap_err();
            assert!(matches!(refused, AuthError::Claim(_) | AuthError::Malformed(_)), "{name}: {bad}: {refused:?}");
        }
    }
    for name in ["nbf", "iat"] {
        assert!(desk.with(name, json!(seconds(30))).await.is_ok(), "{name}");
        assert_eq!(desk.with(name, json!(seconds(31))).await.unwrap_err(), AuthError::TooEarly, "{name}");
    }
    let claims = staff_claims().to_string().replace(&seconds(590).to_string(), "1e400");
    let token = desk.staff.sign(&staff_header(EdDSA).to_string(), &claims);
    assert!(desk.issuers.verify(&token, now()).await.is_err());
}

#[tokio::test]
async fn a_token_that_lives_for_longer_than_its_issuer_may_grant_is_refused() {
    let desk = desk(EdDSA, ES256).await;
    assert!(desk.with("exp", json!(seconds(3590))).await.is_ok());
    assert_eq!(desk.with("exp", json!(seconds(3591))).await.unwrap_err(), AuthError::TooLong);
    assert_eq!(desk.with("exp", json!(seconds(315_360_000))).await.unwrap_err(), AuthError::TooLong);
    let mut claims = staff_claims();
    claims.as_object_mut().unwrap().remove("iat");
    let verified = desk.staff(&staff_header(EdDSA), &claims).await.unwrap();
    assert_eq!(verified.check, Check::Person { issued_at: None });
    claims["exp"] = json!(seconds(3631));
    assert_eq!(desk.staff(&staff_header(EdDSA), &claims).await.unwrap_err(), AuthError::TooLong);
}

#[tokio::test]
async fn claims_that_stand_twice_are_refused_whichever_would_win() {
    let desk = desk(EdDSA, ES256).await;
    let sign = |more: &str| {
        let claims = staff_claims().to_string();
        let claims = format!("{}{more}}}", claims.strip_suffix('}').unwrap());
        desk.staff.sign(&staff_header(EdDSA).to_string(), &claims)
    };
    assert!(desk.issuers.verify(&sign(r#","extra":1"#), now()).await.is_ok());
    for more in [
        r#","sub":"ana""#,
        r#","sub":"bob""#,
        r#","\u0073ub":"bob""#,
        r#","extra":1,"extra":1"#,
        r#","o":{"p":1,"p":2}"#,
    ] {
        let refused = desk.issuers.verify(&sign(more), now()).await.unwrap_err();
        assert_eq!(refused, AuthError::Malformed("its claims cannot be read"), "{more}");
    }
}

#[tokio::test]
async fn roles_are_a_list_of_permitted_ones_and_evidence_does_not_mix_with_money() {
    let desk = desk(EdDSA, ES256).await;
    let with = |roles: Value| desk.with("realm", json!({ "roles": roles }));
    for bad in [
        json!("agent"),
        json!([]),
        json!(null),
        json!(["agent", "wizard"]),
        json!(["Agent"]),
        json!([["agent"]]),
        json!(["finance"]),
        json!(["admin"]),
        json!(["operations", "agent"]),
        json!(["operations", "supervisor", "auditor"]),
        json!(["customer", "agent"]),
        json!({ "agent": true }),
    ] {
        assert_eq!(with(bad.clone()).await.unwrap_err(), AuthError::Roles, "{bad}");
    }
    assert!(with(json!(["operations", "auditor"])).await.is_ok());
    assert_eq!(with(json!(["customer"])).await.unwrap_err(), AuthError::Accounts);
    assert_eq!(desk.with("realm", json!("agent")).await.unwrap_err(), AuthError::Roles);
    assert_eq!(desk.without("realm").await.unwrap_err(), AuthError::Roles);
}

#[tokio::test]
async fn a_customers_token_lists_the_accounts_that_it_is_for() {
    let desk = desk(EdDSA, ES256).await;
    let header = json!({ "alg": "ES256" }).to_string();
    for bad in
        [json!("20418876"), json!([]), json!([7]), json!(["a", null]), json!(["a\u{1f}b"]), json!([""]), json!(null)]
    {
        let mut claims = customer_claims();
        claims["https://customers.example/accounts"] = bad.clone();
        let token = desk.customers.sign(&header, &claims.to_string());
        assert_eq!(desk.issuers.verify(&token, now()).await.unwrap_err(), AuthError::Accounts, "{bad}");
    }
}

#[tokio::test]
async fn our_own_key_is_made_once_kept_to_its_owner_and_signs_what_is_then_verified() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let dir = folder.0.join("data");
    let starters: Vec<_> = (0..8)
        .map(|_| dir.clone())
        .map(|dir| std::thread::spawn(move || MachineKey::load_or_create(&dir).unwrap()))
        .collect();
    let kids: Vec<String> = starters.into_iter().map(|starter| starter.join().unwrap().kid().to_owned()).collect();
    assert!(kids.iter().all(|kid| *kid == kids[0]), "{kids:?}");
    let path = dir.join("machine-key.pem");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "no draft is left behind");

    let key = MachineKey::load_or_create(&dir).unwrap();
    let secret = std::fs::read_to_string(&path).unwrap();
    assert!(!format!("{key:?}").contains(&secret[40..60]));
    let mut token = MachineToken {
        jti: Uuid::now_v7(),
        role: Role::Ingest,
        source: "alertmanager-north".to_owned(),
        subject: "ingest:alertmanager-north".to_owned(),
        created_by: "cli|root".to_owned(),
        created_at: now(),
        expires_at: now().plus(400 * DAY),
        revoked_at: None,
    };
    let issuers = Issuers::default().with_machines(&key);
    let verified = issuers.verify(&key.mint(&token).unwrap(), now()).await.unwrap();
    assert_eq!(verified.check, Check::Machine { jti: token.jti });
    assert_eq!(verified.actor.key(), "makegood|ingest:alertmanager-north");
    assert_eq!(verified.actor.source.as_deref(), Some("alertmanager-north"));
    assert_eq!(verified.actor.roles, [Role::Ingest].into());

    token.role = Role::Admin;
    assert_eq!(issuers.verify(&key.mint(&token).unwrap(), now()).await.unwrap_err(), AuthError::Roles);
    token.role = Role::Ingest;
    token.expires_at = now().plus(401 * DAY);
    assert_eq!(issuers.verify(&key.mint(&token).unwrap(), now()).await.unwrap_err(), AuthError::TooLong);

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(MachineKey::load_or_create(&dir).unwrap_err().to_string().contains("can be read by others"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "nonsense").unwrap();
    assert!(MachineKey::load_or_create(&dir).is_err(), "a damaged key is not replaced in silence");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_the_start_and_named() {
    let folder = Folder::new();
    let key = TestKey::new(EdDSA);
    let pem = folder.write("key.pem", &key.pem);
    let two = folder.write("two.pem", &key.pem.repeat(2));
    let wrong = folder.write("wrong.json", &jwks(&[("r", &TestKey::new(ES256))]));
    let same = folder.write("same.json", &jwks(&[("r", &key), ("r", &TestKey::new(EdDSA))]));
    let issuer = |name: &str, iss: &str, roles: &str, keys: String| {
        format!(
            "[[issuer]]\nname = {name:?}\nissuer = {iss:?}\naudience = \"makegood\"\nroles = {roles}\n\
             algorithm = \"EdDSA\"\nkeys = {keys}\n"
        )
    };
    let file = format!("{{ file = {pem:?} }}");
    let good = issuer("staff", "https://a.example", "[\"agent\"]", file.clone());
    let load = async |text: &str| match toml::from_str::<IssuersConfig>(text) {
        Ok(config) => Issuers::load(&config).await.map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(load(&good).await, Ok(()));
    assert_eq!(load("").await, Ok(()));
    for (text, said) in [
        (issuer("makegood", "https://a.example", "[\"agent\"]", file.clone()), "none of makegood"),
        (issuer("system", "https://a.example", "[\"agent\"]", file.clone()), "none of makegood"),
        (issuer("a|b", "https://a.example", "[\"agent\"]", file.clone()), "small letters"),
        (issuer("staff", "makegood", "[\"agent\"]", file.clone()), "the same"),
        (issuer("staff", "", "[\"agent\"]", file.clone()), "must not be empty"),
        (issuer("staff", "https://a.example", "[]", file.clone()), "no role"),
        (issuer("staff", "https://a.example", "[\"wizard\"]", file.clone()), "wizard"),
        (format!("{good}{}", issuer("other", "https://a.example", "[\"agent\"]", file.clone())), "the same"),
        (format!("{good}{}", issuer("staff", "https://b.example", "[\"agent\"]", file.clone())), "the same"),
        (good.replace("EdDSA", "HS256"), "HS256"),
        (good.replace("EdDSA", "ES256"), "cannot be read"),
        (format!("{good}max_lifetime_seconds = 0"), "86400"),
        (format!("{good}secret = \"x\""), "secret"),
        (issuer("staff", "https://a.example", "[\"agent\"]", format!("{{ file = {two:?} }}")), "more than one key"),
        (issuer("staff", "https://a.example", "[\"agent\"]", format!("{{ jwks_file = {wrong:?} }}")), "no EdDSA key"),
        (issuer("staff", "https://a.example", "[\"agent\"]", format!("{{ jwks_file = {same:?} }}")), "stands twice"),
        (issuer("staff", "https://a.example", "[\"agent\"]", "{ file = \"/nowhere/at/all\" }".to_owned()), "/nowhere"),
        (
            issuer("staff", "https://a.example", "[\"agent\"]", "{ jwks_url = \"http://k.example\" }".to_owned()),
            "https",
        ),
    ] {
        let refused = load(&text).await.unwrap_err();
        assert!(refused.contains(said), "{refused} does not say {said}\n{text}");
    }
}

#[tokio::test]
async fn a_key_set_is_read_for_its_fitting_keys_alone() {
    let (good, other) = (TestKey::new(RS256), TestKey::new(ES256));
    let mut encryption = TestKey::new(RS256).jwk("enc");
    encryption["use"] = json!("enc");
    let mut named = TestKey::new(RS256).jwk("pss");
    named["alg"] = json!("PS256");
    let mut short = good.jwk("short");
    short["n"] = json!(base64url([0x80u8; 128]));
    let set = json!({ "keys": [good.jwk("g"), other.jwk("e"), encryption, named, short, { "kty": "RSA" }, 7, { "kty": "oct", "k": "c2VjcmV0", "kid": "o" }] });
    let keys = super::keys::KeySet::from_jwks(set.to_string().as_bytes(), super::issuers::Algorithm::Rs256).unwrap();
    for (kid, known) in [("g", true), ("e", false), ("enc", false), ("pss", false), ("short", false), ("o", false)] {
        assert_eq!(keys.find(Some(kid)).is_some(), known, "{kid}");
    }
    assert!(keys.find(None).is_some(), "the only one");
}

#[test]
fn a_token_comes_in_one_header_as_one_bearer_token() {
    let headers = |values: &[&str]| {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        map
    };
    assert_eq!(bearer(&headers(&["Bearer a.b-c_d.E9"])), Ok("a.b-c_d.E9"));
    assert_eq!(bearer(&headers(&["bearer a"])), Ok("a"));
    assert_eq!(bearer(&headers(&[])), Err(AuthError::Missing));
    for bad in [
        "Bearer ",
        "Bearer",
        "",
        "Basic YTpi",
        "Bearer a.b.c,a.b.c",
        "Bearer a b",
        "Bearer  a",
        "Bearer\ta",
        "Bearer {\"payload\":\"\"}",
        "Bearer a=",
        "Token a",
    ] {
        assert_eq!(bearer(&headers(&[bad])), Err(AuthError::NotBearer), "{bad}");
    }
    assert_eq!(bearer(&headers(&["Bearer a", "Bearer b"])), Err(AuthError::NotBearer));
    let mut binary = HeaderMap::new();
    binary.insert(header::AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff").unwrap());
    assert_eq!(bearer(&binary), Err(AuthError::NotBearer));
}
