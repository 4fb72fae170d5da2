//! Quantization of the inputs of a row to 16-bit integers.

use crate::fast_math::ROUNDER;

/// Rows whose largest absolute value is below this are treated as zeros, so that the scale of all
/// other rows is finite.
const MIN_ROW_MAX: f32 = 1e-30;

/// How a row is quantized. A non-finite input makes the scale NaN, and with it all outputs of the row.
pub(super) struct Range {
    /// integers for 1
    scale: f32,
    /// the value of the integer 1
    pub(super) row_scale: f32,
}

impl Range {
    #[inline(always)]
    pub(super) fn new(row: &[f32], quantized_max: f32) -> Self {
        // The bits of absolute values have the order of the values, with infinity and NaN at the top.
        let mut max_bits = 0;
        for number in row {
            max_bits = max_bits.max(number.to_bits() & !(1 << 31));
        }
        let max_abs = f32::from_bits(max_bits);
        let (scale, row_scale) = if !max_abs.is_finite() {
            (0.0, f32::NAN)
        } else if max_abs < MIN_ROW_MAX {
            (0.0, 0.0)
        } else {
            (quantized_max / max_abs, max_abs / quantized_max)
        };
        Self { scale, row_scale }
    }

    /// [`Self::integer`] of a vector, in the lower 16 bits of each lane.
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    #[inline(always)]
    pub(super) fn integers<S: pulp::Simd>(&self, simd: S, numbers: S::f32s) -> S::f32s {
        let scaled = simd.mul_f32s(numbers, simd.splat_f32s(self.scale));
        simd.add_f32s(scaled, simd.splat_f32s(ROUNDER))
    }

    /// The integer nearest to a number of the row.
    #[inline(always)]
    pub(super) fn integer(&self, number: f32) -> i16 {
        (number * self.scale + ROUNDER).to_bits() as i16
    }
}

/// Quantizes a row to integers of at most `quantized_max` and returns their scale. Zeros follow up to the
/// end of `quantized`.
#[inline(always)]
pub(super) fn quantize_row(row: &[f32], quantized_max: f32, quantized: &mut [i16]) -> f32 {
    let range = Range::new(row, quantized_max);
    let (integers, padding) = quantized.split_at_mut(row.len());
    for (integer, number) in integers.iter_mut().zip(row) {
        *integer = range.integer(*number);
    }
    // Another layer may have left numbers here.
    padding.fill(0);
    range.row_scale
}
