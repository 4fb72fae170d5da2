//! Golden vectors: files of little-endian f32 numbers that training writes beside a model.

use std::path::{Path, PathBuf};

/// Reads `NAME.f32` of a folder.
///
/// # Panics
/// When the file cannot be read or is not a whole number of f32 values.
pub fn read_f32(folder: &Path, name: &str) -> Vec<f32> {
    let path = folder.join(format!("{name}.f32"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (numbers, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty(), "{}: {} bytes", path.display(), bytes.len());
    numbers.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The model folders under test: those of the embedded models in `models`, or the one that
/// `QUIETWIRE_PARITY_MODEL` names, so that a fresh export can be compared with its own vectors.
pub fn model_folders(models: &Path) -> Vec<PathBuf> {
    match std::env::var_os("QUIETWIRE_PARITY_MODEL") {
        Some(folder) => vec![folder.into()],
        None => ["base", "tiny"].map(|id| models.join(id)).into(),
    }
}

/// The largest absolute difference of two lists of one length; infinite when any difference is not
/// a number.
///
/// # Panics
/// When the lengths differ.
pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |max, d| {
        if d.is_nan() {
            f32::INFINITY
        } else {
            max.max(d)
        }
    })
}
