//! Which statements are queries. Pure.

use crate::error::QueryError;
use datafusion::sql::{
    parser::{DFParserBuilder, Statement},
    sqlparser::{
        ast::{Query, Select, SetExpr, Statement as Ansi, TableFactor, TableWithJoins},
        dialect::GenericDialect,
    },
};

/// How deep a query may nest: deeper ones are refused instead of overflowing the stack.
const DEPTH_MAX: usize = 64;

/// Functions that make rows out of nothing but their arguments. Others might read files.
pub(crate) const TABLE_FUNCTIONS: [&str; 3] = ["generate_series", "range", "unnest"];

/// Reads one statement and checks that it only reads.
pub(crate) fn parse(sql: &str) -> Result<Statement, QueryError> {
    let dialect = GenericDialect {};
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&dialect)
        .with_recursion_limit(DEPTH_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| QueryError::Syntax { reason: plain(&error.strip_backtrace()) })?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => {
            check(&statement)?;
            Ok(statement)
        }
        (None, _) => Err(QueryError::Statements { found: 0 }),
        (Some(_), more) => Err(QueryError::Statements { found: more + 1 }),
    }
}

/// Without the parser's own prefixes.
fn plain(text: &str) -> String {
    let text = text.strip_prefix("SQL error: ").unwrap_or(text);
    let text =
        text.strip_prefix("ParserError(\"").and_then(|t| t.strip_suffix("\")")).unwrap_or(text);
    text.to_owned()
}

fn check(statement: &Statement) -> Result<(), QueryError> {
    match statement {
        Statement::Statement(ansi) => check_ansi(ansi),
        Statement::Explain(explain) => check(&explain.statement),
        _ => Err(refused(statement)),
    }
}

fn check_ansi(statement: &Ansi) -> Result<(), QueryError> {
    match statement {
        Ansi::Query(query) => check_query(query),
        Ansi::Explain { statement, .. } => check_ansi(statement),
        Ansi::ExplainTable { .. } | Ansi::ShowTables { .. } | Ansi::ShowColumns { .. } => Ok(()),
        _ => Err(refused(statement)),
    }
}

fn check_query(query: &Query) -> Result<(), QueryError> {
    for named in query.with.iter().flat_map(|with| &with.cte_tables) {
        check_query(&named.query)?;
    }
    check_body(&query.body)
}

fn check_body(body: &SetExpr) -> Result<(), QueryError> {
    match body {
        SetExpr::Select(select) => check_select(select),
        SetExpr::Query(query) => check_query(query),
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(refused(body))
        }
    }
}

fn check_select(select: &Select) -> Result<(), QueryError> {
    if let Some(into) = &select.into {
        return Err(refused(into));
    }
    select.from.iter().try_for_each(check_joined)
}

fn check_joined(table: &TableWithJoins) -> Result<(), QueryError> {
    check_factor(&table.relation)?;
    table.joins.iter().try_for_each(|join| check_factor(&join.relation))
}

fn check_factor(factor: &TableFactor) -> Result<(), QueryError> {
    match factor {
        TableFactor::Table { name, args: Some(_), .. } => {
            let function = name.to_string().to_lowercase();
            if TABLE_FUNCTIONS.contains(&function.as_str()) { Ok(()) } else { Err(refused(name)) }
        }
        TableFactor::Function { name, .. } => Err(refused(name)),
        TableFactor::TableFunction { expr, .. } => Err(refused(expr)),
        TableFactor::Derived { subquery, .. } => check_query(subquery),
        TableFactor::NestedJoin { table_with_joins, .. } => check_joined(table_with_joins),
        // The rest names tables, which are looked up among ours, or makes rows of its arguments.
        _ => Ok(()),
    }
}

fn refused(part: &impl ToString) -> QueryError {
    let words: Vec<String> =
        part.to_string().split_whitespace().take(4).map(str::to_owned).collect();
    QueryError::ReadOnly { statement: words.join(" ").chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn queries_pass() {
        for sql in [
            "SELECT 1",
            "select * from a join latest.b using (x) where y in (select y from c);",
            "WITH w AS (SELECT 1) SELECT * FROM w UNION ALL VALUES (2)",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT 1",
            "SHOW TABLES",
            "SHOW COLUMNS FROM nav",
            "DESCRIBE nav",
            "SELECT * FROM generate_series(1, 3)",
        ] {
            assert!(parse(sql).is_ok(), "{sql}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        for sql in [
            "INSERT INTO a VALUES (1)",
            "UPDATE a SET b = 1",
            "DELETE FROM a",
            "CREATE TABLE a (b INT)",
            "CREATE TABLE a AS SELECT 1",
            "CREATE VIEW a AS SELECT 1",
            "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION '/etc/passwd'",
            "DROP TABLE a",
            "TRUNCATE TABLE a",
            "COPY a TO 'out.csv'",
            "COPY (SELECT 1) TO 'out.csv'",
            "EXPLAIN COPY a TO 'out.csv'",
            "EXPLAIN ANALYZE INSERT INTO a VALUES (1)",
            "EXPLAIN EXPLAIN ANALYZE DELETE FROM a",
            "SET datafusion.execution.batch_size = 1",
            "RESET datafusion.execution.batch_size",
            "SELECT * INTO b FROM a",
            "WITH w AS (INSERT INTO a VALUES (1)) SELECT * FROM w",
            "WITH w AS (SELECT 1) DELETE FROM a",
            "SELECT * FROM read_parquet('/etc/x.parquet')",
            "SELECT * FROM a JOIN (SELECT * FROM read_csv('/etc/passwd')) b ON true",
            "SELECT * FROM TABLE(read_csv('/etc/passwd'))",
            "BEGIN",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "CREATE FUNCTION f() RETURNS INT RETURN 1",
        ] {
            match parse(sql) {
                Err(QueryError::ReadOnly { .. } | QueryError::Syntax { .. }) => {}
                other => panic!("{sql}: {other:?}"),
            }
        }
        let refused = parse("COPY a TO 'out.csv'").unwrap_err().to_string();
        assert!(refused.contains("COPY a TO") && refused.contains("SELECT"), "{refused}");
    }

    #[test]
    fn one_statement_is_asked_at_a_time() {
        for (sql, count) in [("", 0), (";", 0), ("-- nothing", 0), ("SELECT 1; DROP TABLE a", 2)] {
            match parse(sql) {
                Err(QueryError::Statements { found }) => assert_eq!(found, count, "{sql}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_mistake_is_placed_and_deep_nesting_is_refused() {
        let mistake = parse("SELECT a\nFROM nav WHERE )").unwrap_err().to_string();
        assert!(mistake.contains("Line: 2"), "{mistake}");
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(matches!(parse(&deep), Err(QueryError::Syntax { .. })));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(sql in "\\PC{0,80}") {
            drop(parse(&sql));
        }
    }
}
