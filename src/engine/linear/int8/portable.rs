//! The kernel for every processor: plain loops that the compiler vectorizes. The other kernels have the
//! same sums.

use pulp::bytemuck::cast_slice_mut;

use super::super::epilogue::Epilogue;
use super::super::layer::{Layer, LayerVisitor, PANEL, ROWS};
use super::super::quantize::quantize_row;
use super::quantized_max;

/// Outputs whose sums stay in registers.
const PART: usize = 16;

/// Runs `visitor` with a layer of weights [panels, inputs, PANEL].
pub(super) fn visit(weights: &[i8], epilogue: Epilogue<'_>, visitor: impl LayerVisitor) {
    let layer = PortableLinear {
        weights: weights.as_chunks().0,
        quantized_max: quantized_max(epilogue.sizes[0]),
        epilogue,
    };
    pulp::Arch::new().dispatch(Visit { layer, visitor });
}

struct Visit<'a, T> {
    layer: PortableLinear<'a>,
    visitor: T,
}

impl<T: LayerVisitor> pulp::WithSimd for Visit<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        self.visitor.visit(simd, &self.layer);
    }
}

/// A layer in 8-bit weights.
struct PortableLinear<'a> {
    /// [panels, inputs]
    weights: &'a [[i8; PANEL]],
    quantized_max: f32,
    epilogue: Epilogue<'a>,
}

impl<S: pulp::Simd> Layer<S> for PortableLinear<'_> {
    #[inline(always)]
    fn run(&self, simd: S, input: &[f32], output: &mut [f32], scratch: &mut [i32]) {
        let [inputs, outputs] = self.epilogue.sizes;
        let quantized: &mut [i16] = cast_slice_mut(scratch);
        let mut row_scales = [0.0f32; ROWS];
        let groups = input.chunks(ROWS * inputs);
        for (input, output) in groups.zip(output.chunks_mut(ROWS * outputs)) {
            let rows = input.chunks_exact(inputs);
            for ((row, quantized), row_scale) in rows
                .zip(quantized.chunks_exact_mut(inputs))
                .zip(&mut row_scales)
            {
                *row_scale = quantize_row(row, self.quantized_max, quantized);
            }
            for (panel, weights) in self.weights.chunks_exact(inputs).enumerate() {
                let rows = output.chunks_exact_mut(outputs);
                for ((output, quantized), row_scale) in
                    rows.zip(quantized.chunks_exact(inputs)).zip(row_scales)
                {
                    self.add_row((simd, panel, weights), (quantized, row_scale), output);
                }
            }
        }
    }
}

impl PortableLinear<'_> {
    /// Computes the outputs of a panel for one row.
    #[inline(always)]
    fn add_row<S: pulp::Simd>(
        &self,
        (simd, panel, weights): (S, usize, &[[i8; PANEL]]),
        (quantized, row_scale): (&[i16], f32),
        output: &mut [f32],
    ) {
        for part in 0..PANEL.min(self.epilogue.outputs_from(panel)).div_ceil(PART) {
            let mut sums = [0i32; PART];
            for (input, weights) in quantized.iter().zip(weights) {
                let (parts, _) = weights.as_chunks::<PART>();
                for (sum, weight) in sums.iter_mut().zip(&parts[part]) {
                    // The sums fit; with checks of the dev profile the compiler would not vectorize the loop.
                    *sum = sum.wrapping_add(i32::from(*weight) * i32::from(*input));
                }
            }
            let floats = sums.map(|sum| sum as f32);
            let at = (simd, panel * PANEL + part * PART);
            match S::F32_LANES {
                16 => self.store::<S, 1>(at, &floats, row_scale, output),
                8 => self.store::<S, 2>(at, &floats, row_scale, output),
                4 => self.store::<S, 4>(at, &floats, row_scale, output),
                _ => self.store::<S, PART>(at, &floats, row_scale, output),
            }
        }
    }

    /// Stores sums that are `V` vectors.
    #[inline(always)]
    fn store<S: pulp::Simd, const V: usize>(
        &self,
        at: (S, usize),
        sums: &[f32; PART],
        row_scale: f32,
        output: &mut [f32],
    ) {
        let (vectors, _) = S::as_simd_f32s(sums);
        let mut floats = [at.0.splat_f32s(0.0); V];
        floats.copy_from_slice(&vectors[..V]);
        self.epilogue
            .store::<S, V, PART>(at, (floats, Some(row_scale)), output);
    }
}
