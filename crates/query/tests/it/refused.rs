//! What is not answered, and how that is said.

use crate::{World, seen};
use query::{QueryError, SqlOptions};
use std::error::Error;

fn chain(error: &QueryError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[tokio::test]
async fn nothing_is_written_and_no_other_file_is_read() {
    let world = World::new(&[]).await;
    world.append(1, &[seen("A", 1, 1, Some(1))]).await;
    let out = world.lake.dir().join("out.csv");
    for sql in [
        format!("COPY nav TO '{}'", out.display()),
        format!("COPY (SELECT 1) TO '{}' STORED AS CSV", out.display()),
        format!("EXPLAIN ANALYZE COPY nav TO '{}'", out.display()),
        "INSERT INTO nav SELECT * FROM nav".into(),
        "CREATE EXTERNAL TABLE p STORED AS CSV LOCATION '/etc/passwd'".into(),
        "DROP TABLE nav".into(),
        "SET datafusion.catalog.information_schema = false".into(),
        "SELECT * FROM read_csv('/etc/passwd')".into(),
    ] {
        let refused = world.refused(&sql).await;
        assert!(matches!(refused, QueryError::ReadOnly { .. }), "{sql}: {refused:?}");
    }
    for sql in ["SELECT * FROM '/etc/passwd'", "SELECT * FROM \"file:///etc/passwd\""] {
        let refused = world.refused(sql).await;
        assert!(matches!(refused, QueryError::UnknownTable { .. }), "{sql}: {refused:?}");
    }
    assert!(!out.exists());
    assert_eq!(world.ask("SELECT count(*) FROM nav").await, ["1"]);
}

#[tokio::test]
async fn an_unknown_table_is_answered_with_the_tables_there_are() {
    let world = World::new(&[]).await;
    let refused = world.refused("SELECT * FROM nav").await.to_string();
    assert!(refused.contains("`nav`") && refused.contains("none yet"), "{refused}");
    world.append(1, &[seen("A", 1, 1, Some(1))]).await;
    for (sql, table) in [
        ("SELECT * FROM navv", "navv"),
        ("SELECT * FROM ledger.nav", "ledger.nav"),
        ("SELECT * FROM nav WHERE _entity IN (SELECT x FROM latest.other)", "latest.other"),
        ("SELECT * FROM elsewhere.data.nav", "elsewhere.data.nav"),
        ("DESCRIBE navv", "navv"),
    ] {
        let refused = world.refused(sql).await;
        assert!(matches!(refused, QueryError::UnknownTable { .. }), "{sql}: {refused:?}");
        let text = refused.to_string();
        assert!(text.contains(table) && text.contains("`latest.nav`, `nav`"), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_query_says_what_is_wrong() {
    let world = World::new(&[]).await;
    world.append(1, &[seen("A", 1, 1, Some(1))]).await;
    for (sql, word) in [
        ("SELECT prise FROM nav", "price"),
        ("SELECT no_such_function(1)", "no_such_function"),
        ("SELECT price + )", "Line: 1"),
    ] {
        let refused = world.refused(sql).await;
        assert!(chain(&refused).contains(word), "{sql}: {}", chain(&refused));
    }
    let failed = world.refused("SELECT CAST(_entity AS INT) FROM nav").await;
    assert!(matches!(failed, QueryError::Run { .. }), "{failed:?}");
}

#[tokio::test]
async fn a_query_is_bounded_in_memory() {
    let world = World::new(&[]).await;
    let query = world.query.clone().with_memory_limit(1 << 20);
    for sql in [
        "SELECT * FROM generate_series(1, 1000000)",
        "SELECT count(DISTINCT value) FROM generate_series(1, 100000000)",
    ] {
        let refused = query.sql(sql, &SqlOptions::default()).await.unwrap_err();
        assert!(matches!(refused, QueryError::Memory { limit_bytes: 1_048_576 }), "{refused:?}");
    }
    let sum = "SELECT sum(value) FROM generate_series(1, 1000000)";
    let result = query.sql(sum, &SqlOptions::default()).await.unwrap();
    assert_eq!(crate::lines(&result), ["500000500000"]);
}
