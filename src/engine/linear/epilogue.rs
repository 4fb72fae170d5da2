//! The operations on the sums of a layer before they are stored.

use super::layer::PANEL;

/// output = relu(sum * scale + bias + residual), the last two steps optional. (Epilogue: the common
/// term of matrix-product libraries, e.g. CUTLASS.)
pub(super) struct Epilogue<'a> {
    /// inputs and outputs of the layer
    pub(super) sizes: [usize; 2],
    /// [panels, PANEL]
    pub(super) scales: &'a [[f32; PANEL]],
    /// [panels, PANEL]
    pub(super) biases: &'a [[f32; PANEL]],
    /// whether the sums are added to the present values of the output
    pub(super) residual: bool,
    /// whether negative results become zero
    pub(super) relu: bool,
}

impl Epilogue<'_> {
    /// Outputs from the first one of `panel` to the last one of the layer.
    #[inline(always)]
    pub(super) fn outputs_from(&self, panel: usize) -> usize {
        self.sizes[1] - panel * PANEL
    }

    /// Stores the sums of the `P` outputs from `begin` on, which are `V` vectors, in `row`. The sums are
    /// multiplied by `row_scale` too, if there is one.
    #[inline(always)]
    pub(super) fn store<S: pulp::Simd, const V: usize, const P: usize>(
        &self,
        (simd, begin): (S, usize),
        (sums, row_scale): ([S::f32s; V], Option<f32>),
        row: &mut [f32],
    ) {
        let end = (begin + P).min(self.sizes[1]);
        let output = &mut row[begin..end];
        // A constant length compiles to a few moves, any other length to a call.
        if let Ok(output) = <&mut [f32; P]>::try_from(&mut *output) {
            self.store_part::<S, V, P>((simd, begin), (sums, row_scale), output);
        } else {
            let mut padded = [0.0f32; P];
            if self.residual {
                padded[..end - begin].copy_from_slice(output);
            }
            self.store_part::<S, V, P>((simd, begin), (sums, row_scale), &mut padded);
            output.copy_from_slice(&padded[..end - begin]);
        }
    }

    /// [`Self::store`] for a part whose outputs all exist.
    #[inline(always)]
    fn store_part<S: pulp::Simd, const V: usize, const P: usize>(
        &self,
        (simd, begin): (S, usize),
        (mut sums, row_scale): ([S::f32s; V], Option<f32>),
        output: &mut [f32; P],
    ) {
        let (scales, _) = S::as_simd_f32s(&self.scales.as_flattened()[begin..][..P]);
        let (biases, _) = S::as_simd_f32s(&self.biases.as_flattened()[begin..][..P]);
        let (output, _) = S::as_mut_simd_f32s(output);
        let zero = simd.splat_f32s(0.0);
        for vector in 0..V {
            let scale = match row_scale {
                Some(row_scale) => simd.mul_f32s(scales[vector], simd.splat_f32s(row_scale)),
                None => scales[vector],
            };
            let scaled = simd.mul_f32s(sums[vector], scale);
            sums[vector] = simd.add_f32s(scaled, biases[vector]);
        }
        if self.residual {
            for vector in 0..V {
                sums[vector] = simd.add_f32s(sums[vector], output[vector]);
            }
        }
        if self.relu {
            for sum in &mut sums {
                *sum = simd.select_f32s(simd.greater_than_f32s(*sum, zero), *sum, zero);
            }
        }
        for (output, sum) in output.iter_mut().zip(sums) {
            *output = sum;
        }
    }
}
