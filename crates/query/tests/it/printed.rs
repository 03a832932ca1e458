//! Answers as text.

use crate::World;
use arrow::array::RecordBatch;
use query::{SqlOptions, write_csv, write_json, write_table};

const SQL: &str = "SELECT * FROM (VALUES
    (1, CAST('12345678901234567890.123400' AS DECIMAL(38,6)), 'plain', 1.5e0::DOUBLE, true,
     DATE '2026-11-19', TIMESTAMP '2026-11-19T20:00:00.123457Z'),
    (-9223372036854775808, CAST('-0.000001' AS DECIMAL(38,6)), 'a,\"b\"', 'NaN'::DOUBLE, false,
     DATE '1969-12-31', TIMESTAMP '1969-12-31T23:59:59Z'),
    (NULL, NULL, '', NULL, NULL, NULL, NULL)) AS t(i, d, s, f, b, day, at)";

async fn printed(
    sql: &str,
    write: impl Fn(&query::QueryResult, &mut dyn std::io::Write) -> std::io::Result<()>,
) -> String {
    let world = World::new(&[]).await;
    let result = world.query.sql(sql, &SqlOptions::default()).await.unwrap();
    let mut out = Vec::new();
    write(&result, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn json_is_one_array_of_objects_with_exact_numbers() {
    let text = printed(SQL, |result, out| write_json(result, out)).await;
    let expected = r#"[
{"i":1,"d":12345678901234567890.123400,"s":"plain","f":1.5,"b":true,"day":"2026-11-19","at":"2026-11-19T20:00:00.123457"},
{"i":-9223372036854775808,"d":-0.000001,"s":"a,\"b\"","f":null,"b":false,"day":"1969-12-31","at":"1969-12-31T23:59:59"},
{"i":null,"d":null,"s":"","f":null,"b":null,"day":null,"at":null}
]
"#;
    assert_eq!(text, expected);
    let nested = "SELECT [1, NULL] AS l, named_struct('a', 0.10, 'b', 'x') AS o, X'00ff' AS r";
    let text = printed(nested, |result, out| write_json(result, out)).await;
    assert_eq!(text, "[\n{\"l\":[1,null],\"o\":{\"a\":0.10,\"b\":\"x\"},\"r\":\"00ff\"}\n]\n");
    let none = printed("SELECT 1 AS a WHERE false", |result, out| write_json(result, out)).await;
    assert_eq!(none, "[]\n");
}

#[tokio::test]
async fn times_of_tables_are_utc() {
    let world = World::new(&[]).await;
    world.append(1, &[crate::seen("A", 1_795_118_400, 1, Some(1))]).await;
    let sql = "SELECT _observed_at AS at FROM nav";
    let result = world.query.sql(sql, &SqlOptions::default()).await.unwrap();
    let mut json = Vec::new();
    write_json(&result, &mut json).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), "[\n{\"at\":\"2026-11-19T20:00:00Z\"}\n]\n");
}

#[tokio::test]
async fn csv_quotes_what_needs_it_and_tells_null_from_empty() {
    let text = printed(SQL, |result, out| write_csv(result, out)).await;
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines[0], "i,d,s,f,b,day,at");
    assert_eq!(
        lines[1],
        "1,12345678901234567890.123400,plain,1.5,true,2026-11-19,2026-11-19T20:00:00.123457"
    );
    assert_eq!(
        lines[2],
        "-9223372036854775808,-0.000001,\"a,\"\"b\"\"\",NaN,false,1969-12-31,1969-12-31T23:59:59"
    );
    assert_eq!(lines[3], ",,\"\",,,,");
    let breaks = printed("SELECT E'a\\nb' AS \"x,y\"", |result, out| write_csv(result, out)).await;
    assert_eq!(breaks, "\"x,y\"\r\n\"a\nb\"\r\n");
    let none = printed("SELECT 1 AS a WHERE false", |result, out| write_csv(result, out)).await;
    assert_eq!(none, "a\r\n");
}

#[tokio::test]
async fn a_table_is_aligned_and_cannot_steer_a_terminal() {
    let sql =
        "SELECT * FROM (VALUES (1, 'é'), (1000, 'long text'), (NULL, chr(27) || '[2J' || chr(10)
               || chr(8238))) AS t(number, text)";
    let text = printed(sql, |result, out| write_table(result, out)).await;
    let expected = "\
number  text
------  -------------------------
     1  é
  1000  long text
        \\u{1b}[2J\\n\\u{202e}
";
    let plain: String = text.lines().filter(|line| !line.starts_with("---")).collect();
    let wanted: String = expected.lines().filter(|line| !line.starts_with("---")).collect();
    assert_eq!(plain, wanted);
    assert!(text.lines().nth(1).unwrap().starts_with("------  ----"));
}

#[test]
fn no_batches_print_nothing_but_an_empty_array() {
    let none: Vec<RecordBatch> = Vec::new();
    let mut out = Vec::new();
    write_table(&none, &mut out).unwrap();
    write_csv(&none, &mut out).unwrap();
    assert!(out.is_empty());
    write_json(&none, &mut out).unwrap();
    assert_eq!(out, b"[]\n");
}
