//! Models of arrivals that were trained elsewhere, from ONNX files.
//!
//! A model has one input, a matrix of 32-bit floats with one row a span and
//! [`INPUTS`] columns (named in [`plan::arrival::external::NAMES`]); its first output is one float a
//! row: the rate per hour at which data comes there if it has not come before, 0 or more.

use plan::arrival::{
    distribution::POINTS_MAX,
    external::{External, INPUTS},
};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use tract_onnx::prelude::{
    DatumExt as _, Framework as _, InferenceModelExt, IntoTValue as _, Tensor, TypedModel,
    TypedSimplePlan, tvec,
};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A model from an ONNX file.
pub struct OnnxModel {
    path: PathBuf,
    plan: TypedSimplePlan<TypedModel>,
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OnnxModel").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A file that is no such model: what is wrong with it, and what is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxError {
    path: PathBuf,
    problem: String,
}

impl fmt::Display for OnnxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {}; expected is an ONNX model from float32 [spans, {INPUTS}] to float32 [spans], \
             the rate of arrival per hour",
            self.path.display(),
            self.problem
        )
    }
}

impl std::error::Error for OnnxError {}

impl OnnxModel {
    /// Reads a file and tries it on some rows.
    pub fn read(path: &Path) -> Result<Self, OnnxError> {
        let wrong = |problem: String| OnnxError { path: path.to_owned(), problem };
        let bytes = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(wrong(format!("{bytes} bytes are more than {FILE_BYTES_MAX}")));
        }
        let chain = |error: tract_onnx::prelude::TractError| {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            causes.join(": ").lines().next().unwrap_or_default().to_owned()
        };
        let model = tract_onnx::onnx()
            .model_for_path(path)
            .map_err(|error| wrong(format!("not readable as ONNX: {}", chain(error))))?;
        let inputs = model.inputs.len();
        if inputs != 1 {
            return Err(wrong(format!("it has {inputs} inputs")));
        }
        let plan = model
            .with_input_fact(0, f32::fact([POINTS_MAX, INPUTS]).into())
            .and_then(InferenceModelExt::into_optimized)
            .and_then(TypedModel::into_runnable)
            .map_err(|error| {
                wrong(format!(
                    "it does not take {POINTS_MAX} rows of {INPUTS} numbers: {}",
                    chain(error)
                ))
            })?;
        let model = Self { path: path.to_owned(), plan };
        let rows = [[0.0; INPUTS], [1.0; INPUTS], [24.0; INPUTS]];
        let rates = model.rates(&rows).map_err(&wrong)?;
        match rates.iter().find(|rate| !(rate.is_finite() && **rate >= 0.0)) {
            Some(rate) => Err(wrong(format!("it gives {rate} for a row of zeros, ones or 24s"))),
            None => Ok(model),
        }
    }

    /// One run, of at most [`POINTS_MAX`] rows; the rest of the matrix is zeros.
    fn run(&self, rows: &[[f32; INPUTS]]) -> Result<Vec<f64>, String> {
        let mut matrix = vec![0.0_f32; POINTS_MAX * INPUTS];
        for (to, row) in matrix.chunks_exact_mut(INPUTS).zip(rows) {
            to.copy_from_slice(row);
        }
        let told = |error: tract_onnx::prelude::TractError| error.to_string();
        let input = Tensor::from_shape(&[POINTS_MAX, INPUTS], &matrix).map_err(told)?;
        let outputs = self.plan.run(tvec!(input.into_tvalue())).map_err(told)?;
        let output = outputs.first().ok_or("it has no output")?;
        let output = output.cast_to::<f32>().map_err(told)?;
        let rates = output.as_slice::<f32>().map_err(told)?;
        if rates.len() != POINTS_MAX {
            let shape = output.shape();
            return Err(format!("it gives a tensor of shape {shape:?} for {POINTS_MAX} rows"));
        }
        Ok(rates[..rows.len()].iter().map(|rate| f64::from(*rate)).collect())
    }
}

impl External for OnnxModel {
    fn rates(&self, rows: &[[f32; INPUTS]]) -> Result<Vec<f64>, String> {
        let mut rates = Vec::with_capacity(rows.len());
        for rows in rows.chunks(POINTS_MAX) {
            rates.extend(self.run(rows)?);
        }
        Ok(rates)
    }
}
