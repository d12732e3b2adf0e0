//! The operator's own settings.

mod support;

use makegood::cli::administrator;
use makegood::domain::operator::Operator;
use makegood::domain::refusal::Code;
use makegood::domain::time::Instant;
use makegood::flows::set_up_operator::set_up_operator;
use makegood::flows::system_actor;
use makegood::store::{Error, operator};

fn refusal(outcome: Result<(), Error>) -> Code {
    match outcome {
        Err(Error::Refused(refusal)) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_example_sets_an_operator_up_once_and_its_currency_stays() {
    if support::is_skipped("the_example_sets_an_operator_up_once_and_its_currency_stays") {
        return;
    }
    let database = support::database().await;
    let now = Instant::parse("2026-10-01T00:00:00Z").unwrap();
    let settings: Operator = serde_saphyr::from_str(include_str!("../assets/operator.yaml")).unwrap();
    let admin = administrator("test");
    let nobody = system_actor("test");
    assert_eq!(refusal(set_up_operator(&database.app, now, &nobody, &settings).await), Code::Forbidden);
    set_up_operator(&database.app, now, &admin, &settings).await.unwrap();
    set_up_operator(&database.app, now, &admin, &settings).await.unwrap();
    let other = Operator { currency: "AUD".parse().unwrap(), ..settings.clone() };
    assert_eq!(refusal(set_up_operator(&database.app, now, &admin, &other).await), Code::InvalidRequest);
    let renamed = Operator { name: "Aoraki Post".to_owned(), ..settings.clone() };
    set_up_operator(&database.app, now, &admin, &renamed).await.unwrap();
    let mut conn = database.app.acquire().await.unwrap();
    assert_eq!(operator::get(&mut conn).await.unwrap(), renamed);
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = 'operator.set_up'")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert_eq!(audited, 2, "the same settings again are no change");
}
