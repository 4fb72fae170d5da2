//! The interface between a layer's numeric format and the code that uses the layer.

/// Outputs whose weights are contiguous in memory. Weights are packed as [panels, inputs, PANEL].
pub(super) const PANEL: usize = 64;
/// Rows whose sums stay in registers while the inputs of a panel pass.
pub(super) const TILE: usize = 8;
/// Rows that share one reading of the weights.
pub(super) const ROWS: usize = 32;
/// Largest absolute value of an 8-bit weight.
pub(super) const INT8_MAX: f32 = 127.0;
/// Largest absolute value of a 16-bit weight: the nearest multiple of 2^8 is at most 2^8 times [`INT8_MAX`].
pub(super) const INT16_MAX: f32 = 32_639.0;

/// A layer in one numeric format, for vectors of `S`.
pub(in crate::engine) trait Layer<S> {
    /// [rows, inputs] to [rows, outputs]. `scratch` has at least [`scratch_len`] numbers.
    fn run(&self, simd: S, input: &[f32], output: &mut [f32], scratch: &mut [i32]);
}

/// Code that uses a layer of any format, compiled for each instruction set.
pub(in crate::engine) trait LayerVisitor {
    fn visit<S: pulp::Simd>(self, simd: S, layer: &impl Layer<S>);
}

/// Runs a layer on rows that are contiguous.
pub(in crate::engine) struct LinearRows<'a> {
    /// [rows, inputs]
    pub(in crate::engine) input: &'a [f32],
    /// [rows, outputs]
    pub(in crate::engine) output: &'a mut [f32],
    /// at least [`scratch_len`] numbers
    pub(in crate::engine) scratch: &'a mut [i32],
}

impl LayerVisitor for LinearRows<'_> {
    #[inline(always)]
    fn visit<S: pulp::Simd>(self, simd: S, layer: &impl Layer<S>) {
        layer.run(simd, self.input, self.output, self.scratch);
    }
}

/// Numbers of scratch memory for `rows` rows of `inputs` numbers: their integers.
pub(in crate::engine) fn scratch_len(inputs: usize, rows: usize) -> usize {
    // 16 bits of each input, in groups of four inputs.
    rows.min(ROWS) * 2 * inputs.div_ceil(4)
}
