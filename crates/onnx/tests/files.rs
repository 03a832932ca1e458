//! ONNX files, right and wrong. `arrival.onnx` was made by `docs/examples/arrival_onnx.py` from
//! invented arrivals of six entities, which come from the ninth to the fifteenth hour.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use onnx::OnnxModel;
use plan::arrival::external::{External, INPUTS};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A span of the middle of an entity's day that usually comes after eleven hours.
fn row(hours: f32) -> [f32; INPUTS] {
    [hours, 11.5, 11.5, 0.3, 0.0, 10.0, 2.0, 0.0, 0.0, 0.0]
}

#[test]
fn a_trained_network_says_when_data_comes() {
    let model = OnnxModel::read(&fixture("arrival.onnx")).unwrap();
    let rates = model.rates(&[row(5.0), row(11.5), row(30.0)]).unwrap();
    assert_eq!(rates.len(), 3);
    assert!(rates[1] > 10.0 * rates[0], "{rates:?}");
    assert!(rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0), "{rates:?}");
}

#[test]
fn more_rows_than_one_run_takes_give_a_rate_each() {
    let model = OnnxModel::read(&fixture("arrival.onnx")).unwrap();
    let rows: Vec<_> = (0..100).map(|at| row(at as f32 * 0.3)).collect();
    let all = model.rates(&rows).unwrap();
    assert_eq!(all.len(), 100);
    let alone = model.rates(&rows[77..78]).unwrap()[0];
    assert!((all[77] - alone).abs() < 1e-6, "{} and {alone}", all[77]);
    assert!(model.rates(&[]).unwrap().is_empty());
}

#[track_caller]
fn refused(path: &Path, because: &str) {
    let error = OnnxModel::read(path).unwrap_err().to_string();
    assert!(error.contains(because), "{error}");
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert!(error.contains("float32 [spans, 10]"), "{error}");
}

#[test]
fn files_of_another_shape_are_refused_by_name() {
    refused(&fixture("three-columns.onnx"), "it does not take");
    refused(&fixture("two-outputs.onnx"), "shape");
}

#[test]
fn what_is_no_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.onnx");
    refused(&file, "No such file");
    std::fs::write(&file, b"not a model").unwrap();
    refused(&file, "not readable as ONNX");
    let whole = std::fs::read(fixture("arrival.onnx")).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(OnnxModel::read(&file).is_err());
    std::fs::write(&file, b"").unwrap();
    assert!(OnnxModel::read(&file).is_err());
}
