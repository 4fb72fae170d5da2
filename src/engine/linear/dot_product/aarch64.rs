//! The dot product of NEON, part of most processors since 2018 (Armv8.4; an extension before): all integers have
//! a sign.

use std::arch::aarch64::int32x4_t;
use std::arch::asm;

use pulp::Simd;
use pulp::aarch64::Neon as Simd128;
use pulp::bytemuck::cast;

use super::super::quantize::Range;
use super::{DotProduct, LANES, ORDER, Quads};

/// NEON with the dot product, which neither pulp nor the stable standard library has.
#[derive(Clone, Copy)]
pub(super) struct Neon {
    simd: Simd128,
}

impl DotProduct for Neon {
    type Simd = Simd128;
    type Ints = [int32x4_t; 4];
    const REGISTERS: usize = 4;
    /// The high byte has the sign of the input; the low one, 0 to 255, less 128 is one with a sign.
    const FLIPPED: u16 = 0x0080;

    fn new() -> Option<Self> {
        // The bytes of a quad are in the order of memory.
        let has_instruction =
            cfg!(target_endian = "little") && std::arch::is_aarch64_feature_detected!("dotprod");
        let simd = Simd128::try_new().filter(|_| has_instruction)?;
        Some(Self { simd })
    }

    #[inline(always)]
    #[expect(
        unsafe_code,
        reason = "a function with features of the processor is called"
    )]
    fn vectorize<F: pulp::NullaryFnOnce>(self, function: F) -> F::Output {
        #[target_feature(enable = "neon,dotprod")]
        fn run<F: pulp::NullaryFnOnce>(function: F) -> F::Output {
            function.call()
        }
        // SAFETY: a `Neon` exists only where the processor has both features: only `new` makes one, and it asks
        // for both.
        unsafe { run(function) }
    }

    #[inline(always)]
    fn simd(self) -> Simd128 {
        self.simd
    }

    #[inline(always)]
    fn splat(self, quad: i32) -> Self::Ints {
        [self.simd.neon.vdupq_n_s32(quad); 4]
    }

    #[inline(always)]
    fn load(self, quads: &Quads) -> Self::Ints {
        cast(*quads)
    }

    #[inline(always)]
    #[expect(
        unsafe_code,
        reason = "the standard library's function for this instruction is not stable"
    )]
    fn add_products(self, sums: Self::Ints, inputs: Self::Ints, weights: Self::Ints) -> Self::Ints {
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        fn dot(mut sums: int32x4_t, inputs: int32x4_t, weights: int32x4_t) -> int32x4_t {
            // SAFETY: the instruction reads and writes these registers only. The features of this function have it.
            unsafe {
                asm!(
                    "sdot {sums:v}.4s, {inputs:v}.16b, {weights:v}.16b",
                    sums = inlateout(vreg) sums,
                    inputs = in(vreg) inputs,
                    weights = in(vreg) weights,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        }
        // SAFETY: a `Neon` exists only where the processor has both features: only `new` makes one, and it asks
        // for both.
        unsafe {
            [
                dot(sums[0], inputs[0], weights[0]),
                dot(sums[1], inputs[1], weights[1]),
                dot(sums[2], inputs[2], weights[2]),
                dot(sums[3], inputs[3], weights[3]),
            ]
        }
    }

    #[inline(always)]
    fn load_ints(self, ints: &[i32; LANES]) -> Self::Ints {
        cast(*ints)
    }

    #[inline(always)]
    fn add(self, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        let neon = self.simd.neon;
        [
            neon.vaddq_s32(a[0], b[0]),
            neon.vaddq_s32(a[1], b[1]),
            neon.vaddq_s32(a[2], b[2]),
            neon.vaddq_s32(a[3], b[3]),
        ]
    }

    #[inline(always)]
    fn shift_byte(self, ints: Self::Ints) -> Self::Ints {
        let neon = self.simd.neon;
        [
            neon.vshlq_n_s32::<8>(ints[0]),
            neon.vshlq_n_s32::<8>(ints[1]),
            neon.vshlq_n_s32::<8>(ints[2]),
            neon.vshlq_n_s32::<8>(ints[3]),
        ]
    }

    #[inline(always)]
    fn store_f32s<const F: usize>(
        self,
        ints: Self::Ints,
        floats: &mut [<Simd128 as Simd>::f32s; F],
        at: usize,
    ) {
        for part in 0..4 {
            floats[4 * at + part] = cast(self.simd.neon.vcvtq_f32_s32(ints[part]));
        }
    }

    #[inline(always)]
    fn quantize(self, range: &Range, numbers: &[f32; LANES]) -> [u8; 2 * LANES] {
        let neon = self.simd.neon;
        let numbers: [<Simd128 as Simd>::f32s; 4] = cast(*numbers);
        let mut bytes = [0u128; 2];
        for half in 0..2 {
            // The integers are in the lower 16 bits of each lane.
            let first = cast(range.integers(self.simd, numbers[2 * half]));
            let second = cast(range.integers(self.simd, numbers[2 * half + 1]));
            let integers = neon.vuzp1q_u16(first, second);
            let integers = neon.veorq_u16(integers, cast([Self::FLIPPED; 8]));
            bytes[half] = cast(neon.vqtbl1q_u8(cast(integers), cast(ORDER)));
        }
        cast(bytes)
    }
}
