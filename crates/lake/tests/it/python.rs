//! The tables as other programs see them: `deltalake`, `polars` and `duckdb` from Python.

use crate::{eager, later, table};
use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
        Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::Schema,
};
use lake::{DeltaLake, Lake, Maintenance};
use std::{env, io::Write, path::Path, process::Command, sync::Arc};

const SCRIPT: &str = r#"
import datetime, decimal, json, sys
import deltalake, duckdb, polars, pyarrow.compute

folder, files = sys.argv[1], int(sys.argv[2])
table = deltalake.DeltaTable(folder)
protocol = table.protocol()
assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2), protocol
assert len(table.file_uris()) == files, table.file_uris()

decimal.getcontext().prec = 60
utc = datetime.timezone.utc
expected = []
for batch in range(6):
    expected.append({
        "text": f"é'{batch}", "int": -(2 ** 63) + batch, "small": batch, "float": batch / 2,
        "exact": decimal.Decimal("12345678901234567890123456789012.345678") + batch,
        "price": decimal.Decimal("-0.0001") + batch, "flag": batch % 2 == 0,
        "day": datetime.date(2026, 11, 19) + datetime.timedelta(days=batch),
        "at": datetime.datetime(2026, 11, 19, 20, 0, 0, 123457, utc) + datetime.timedelta(days=batch),
        "raw": b"\x00\xff", "note": None if batch < 3 else f"note {batch}",
    })
    expected.append({column: None for column in expected[0]} | {"int": batch})
key = lambda row: row["int"]
expected.sort(key=key)

def compare(name, rows):
    rows = sorted(rows, key=key)
    for row in rows:
        if row["at"] is not None:
            row["at"] = row["at"].astimezone(utc)
    assert rows == expected, f"{name}:\n{rows}\nis not\n{expected}"

arrow = table.to_pyarrow_table()
compare("deltalake", arrow.to_pylist())
compare("polars", polars.read_delta(folder).to_dicts())
lazy = polars.scan_delta(folder).filter(polars.col("price") == decimal.Decimal("1.9999"))
assert lazy.collect()["text"].to_list() == ["é'2"]
last = datetime.datetime(2026, 11, 24, 20, 0, 0, 123457, utc)
day = polars.scan_delta(folder).filter(polars.col("at") >= last).collect()
assert day["text"].to_list() == ["é'5"], day
text = pyarrow.compute.field("text")
one = table.to_pyarrow_dataset().to_table(filter=text == "é'4")
assert one.num_rows == 1, one
duckdb.sql("SET TimeZone = 'UTC'")
for name, source in {
    "duckdb over arrow": "arrow",
    "duckdb over the files": f"read_parquet({table.file_uris()!r}, union_by_name = true)",
}.items():
    found = duckdb.sql(f"SELECT * FROM {source}")
    compare(name, found.to_arrow_table().to_pylist())
versions = {m.__name__: m.__version__ for m in (deltalake, duckdb, polars)}
print(json.dumps(versions))
"#;

/// The interpreter with the three packages; `None` if there is none and this is not CI.
fn interpreter() -> Option<std::ffi::OsString> {
    let python = env::var_os("TIDEWATCH_PYTHON").unwrap_or_else(|| "python3".into());
    let probe = Command::new(&python).args(["-c", "import deltalake, polars, duckdb"]).output();
    match probe {
        Ok(output) if output.status.success() => Some(python),
        found => {
            let ci = env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!ci, "{} cannot import deltalake, polars, duckdb: {found:?}", python.display());
            let mut stderr = std::io::stderr();
            let skipped = "SKIPPED: no Python with deltalake, polars and duckdb (TIDEWATCH_PYTHON)";
            writeln!(stderr, "{skipped}").unwrap();
            None
        }
    }
}

fn batch(number: i64) -> RecordBatch {
    let exact = 12_345_678_901_234_567_890_123_456_789_012_345_678 + i128::from(number) * 1_000_000;
    let at = 1_795_118_400_123_457 + number * 86_400_000_000;
    let note = (number >= 3).then(|| format!("note {number}"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(StringArray::from(vec![Some(format!("é'{number}")), None]))),
        ("int", Arc::new(Int64Array::from(vec![i64::MIN + number, number]))),
        ("small", Arc::new(Int32Array::from(vec![Some(number as i32), None]))),
        ("float", Arc::new(Float64Array::from(vec![Some(number as f64 / 2.0), None]))),
        ("exact", decimal([Some(exact), None], 38, 6)),
        ("price", decimal([Some(i128::from(number) * 10_000 - 1), None], 10, 4)),
        ("flag", Arc::new(BooleanArray::from(vec![Some(number % 2 == 0), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(20_776 + number as i32), None]))),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(at), None]).with_timezone("UTC")),
        ),
        ("raw", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
        ("note", Arc::new(StringArray::from(vec![note, None]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

fn decimal(values: [Option<i128>; 2], precision: u8, scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(values.to_vec());
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

fn check(python: &std::ffi::OsStr, folder: &Path, files: usize) {
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(folder)
        .arg(files.to_string())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    println!("{}", String::from_utf8_lossy(&output.stdout).trim());
}

#[tokio::test]
async fn python_reads_the_same_rows_before_and_after_compaction() {
    let Some(python) = interpreter() else { return };
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    let all = batch(0).schema();
    let without_note = Schema::new(all.fields()[..10].to_vec());
    lake.ensure(&table(), Arc::new(without_note)).await.unwrap();
    for number in 0..6 {
        let mut rows = batch(number);
        if number < 3 {
            rows = rows.project(&(0..10).collect::<Vec<_>>()).unwrap();
        } else {
            lake.ensure(&table(), all.clone()).await.unwrap();
        }
        let files = lake.stage(&table(), vec![rows]).await.unwrap();
        lake.commit(&table(), "engine", number, &files).await.unwrap();
    }
    // Neither of these may be seen.
    lake.stage(&table(), vec![batch(99)]).await.unwrap();
    let path = folder.path().join("data/prices");
    check(&python, &path, 6);
    let checkpoint_only = Maintenance { compact_at_files: 99, ..eager() };
    assert!(lake.maintain(&table(), later(), &checkpoint_only).await.unwrap().checkpoint.is_some());
    check(&python, &path, 6);
    assert_eq!(lake.maintain(&table(), later(), &eager()).await.unwrap().files_replaced, 6);
    check(&python, &path, 1);
}
