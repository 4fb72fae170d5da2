//! AVX2 and AVX-512.

use std::arch::x86_64::{__m256i, __m512i};

use pulp::bytemuck::cast;
use pulp::x86::{V3, V4};

use super::{Int8Linear, IntSimd, WeightPairs};
use crate::engine::linear::layer::LayerVisitor;

/// Whether the processor has the instructions.
pub(in super::super) fn is_available() -> bool {
    V3::try_new().is_some()
}

/// Runs `visitor` with the layer. Returns whether the processor can.
pub(super) fn visit(layer: Int8Linear<'_>, visitor: impl LayerVisitor) -> bool {
    if let Some(simd) = V4::try_new() {
        simd.vectorize(Visit {
            simd,
            layer,
            visitor,
        });
    } else if let Some(simd) = V3::try_new() {
        simd.vectorize(Visit {
            simd,
            layer,
            visitor,
        });
    } else {
        return false;
    }
    true
}

struct Visit<'a, S, T> {
    simd: S,
    layer: Int8Linear<'a>,
    visitor: T,
}

impl<S: IntSimd, T: LayerVisitor> pulp::NullaryFnOnce for Visit<'_, S, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.visitor.visit(self.simd, &self.layer);
    }
}

impl IntSimd for V3 {
    type Ints = __m256i;

    #[inline(always)]
    fn zeros(self) -> __m256i {
        self.avx._mm256_setzero_si256()
    }

    #[inline(always)]
    fn splat(self, pair: i32) -> __m256i {
        self.avx._mm256_set1_epi32(pair)
    }

    #[inline(always)]
    fn widen(self, weights: &WeightPairs, vector: usize) -> __m256i {
        let (vectors, _) = weights.as_flattened().as_chunks::<16>();
        self.avx2._mm256_cvtepi8_epi16(cast(vectors[vector]))
    }

    #[inline(always)]
    fn add_products(self, sums: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
        let products = self.avx2._mm256_madd_epi16(weights, inputs);
        self.avx2._mm256_add_epi32(sums, products)
    }

    #[inline(always)]
    fn to_f32s(self, sums: __m256i) -> Self::f32s {
        cast(self.avx._mm256_cvtepi32_ps(sums))
    }
}

impl IntSimd for V4 {
    type Ints = __m512i;

    #[inline(always)]
    fn zeros(self) -> __m512i {
        self.avx512f._mm512_setzero_si512()
    }

    #[inline(always)]
    fn splat(self, pair: i32) -> __m512i {
        self.avx512f._mm512_set1_epi32(pair)
    }

    #[inline(always)]
    fn widen(self, weights: &WeightPairs, vector: usize) -> __m512i {
        let (vectors, _) = weights.as_flattened().as_chunks::<32>();
        self.avx512bw._mm512_cvtepi8_epi16(cast(vectors[vector]))
    }

    #[inline(always)]
    fn add_products(self, sums: __m512i, weights: __m512i, inputs: __m512i) -> __m512i {
        let products = self.avx512bw._mm512_madd_epi16(weights, inputs);
        self.avx512f._mm512_add_epi32(sums, products)
    }

    #[inline(always)]
    fn to_f32s(self, sums: __m512i) -> Self::f32s {
        cast(self.avx512f._mm512_cvtepi32_ps(sums))
    }
}
