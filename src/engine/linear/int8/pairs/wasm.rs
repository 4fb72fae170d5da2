//! The SIMD of WebAssembly, with 128-bit vectors. Whether it is there is known when the library is
//! compiled.

use pulp::bytemuck::cast;
use pulp::wasm::Simd128;
use std::arch::wasm32::v128;

use super::{Int8Linear, IntSimd, WeightPairs};
use crate::engine::linear::layer::LayerVisitor;

/// Whether the module has the instructions.
pub(in super::super) fn is_available() -> bool {
    Simd128::try_new().is_some()
}

/// Runs `visitor` with the layer. Returns whether the module can.
pub(super) fn visit(layer: Int8Linear<'_>, visitor: impl LayerVisitor) -> bool {
    let simd = Simd128::try_new();
    if let Some(simd) = simd {
        visitor.visit(simd, &layer);
    }
    simd.is_some()
}

impl IntSimd for Simd128 {
    type Ints = v128;

    #[inline(always)]
    fn zeros(self) -> v128 {
        self.simd128.i32x4_splat(0)
    }

    #[inline(always)]
    fn splat(self, pair: i32) -> v128 {
        self.simd128.i32x4_splat(pair)
    }

    #[inline(always)]
    fn widen(self, weights: &WeightPairs, vector: usize) -> v128 {
        let (vectors, _) = weights.as_flattened().as_chunks::<8>();
        let [low, high] = [cast::<[i8; 8], i64>(vectors[vector]), 0];
        self.simd128
            .i16x8_extend_low_i8x16(self.simd128.i64x2(low, high))
    }

    #[inline(always)]
    fn add_products(self, sums: v128, weights: v128, inputs: v128) -> v128 {
        let products = self.simd128.i32x4_dot_i16x8(weights, inputs);
        self.simd128.i32x4_add(sums, products)
    }

    #[inline(always)]
    fn to_f32s(self, sums: v128) -> Self::f32s {
        cast(self.simd128.f32x4_convert_i32x4(sums))
    }
}
