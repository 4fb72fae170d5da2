//! VNNI: the inputs have no sign.

use std::arch::x86_64::{__m256i, __m512i, _mm256_dpbusd_avx_epi32, _mm512_dpbusd_epi32};

use pulp::bytemuck::cast;
use pulp::x86::{V3, V4};

use super::super::quantize::Range;
use super::{DotProduct, LANES, ORDER, Quads};

pulp::simd_type! {
    /// AVX-512 with VNNI.
    struct Vnni512 {
        sse: "sse",
        sse2: "sse2",
        fxsr: "fxsr",
        sse3: "sse3",
        ssse3: "ssse3",
        sse4_1: "sse4.1",
        sse4_2: "sse4.2",
        popcnt: "popcnt",
        avx: "avx",
        avx2: "avx2",
        bmi1: "bmi1",
        bmi2: "bmi2",
        fma: "fma",
        lzcnt: "lzcnt",
        avx512f: "avx512f",
        avx512bw: "avx512bw",
        avx512cd: "avx512cd",
        avx512dq: "avx512dq",
        avx512vl: "avx512vl",
        avx512vnni: "avx512vnni",
    }
}

/// AVX-512 with VNNI, and the vectors of f32 of the same width.
#[derive(Clone, Copy)]
pub(super) struct Avx512 {
    vnni: Vnni512,
    simd: V4,
}

/// AVX-VNNI, which pulp does not know, and the vectors of f32 of the same width.
#[derive(Clone, Copy)]
pub(super) struct Avx {
    simd: V3,
}

impl DotProduct for Avx512 {
    type Simd = V4;
    type Ints = __m512i;
    const REGISTERS: usize = 1;
    /// input + 2^15 = 2^8 high + low
    const FLIPPED: u16 = 0x8000;

    fn new() -> Option<Self> {
        let (vnni, simd) = (Vnni512::try_new()?, V4::try_new()?);
        Some(Self { vnni, simd })
    }

    #[inline(always)]
    fn vectorize<F: pulp::NullaryFnOnce>(self, function: F) -> F::Output {
        self.vnni.vectorize(function)
    }

    #[inline(always)]
    fn simd(self) -> V4 {
        self.simd
    }

    #[inline(always)]
    fn splat(self, quad: i32) -> __m512i {
        self.simd.avx512f._mm512_set1_epi32(quad)
    }

    #[inline(always)]
    fn load(self, quads: &Quads) -> __m512i {
        cast(*quads)
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "pulp has no safe function for this instruction")]
    fn add_products(self, sums: __m512i, inputs: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: the instruction needs AVX-512 VNNI and AVX-512F. A `Vnni512` exists only where the
        // processor has both: `try_new` is the only safe function that makes one, and it asks for each
        // feature.
        unsafe { _mm512_dpbusd_epi32(sums, inputs, weights) }
    }

    #[inline(always)]
    fn load_ints(self, ints: &[i32; LANES]) -> __m512i {
        cast(*ints)
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        self.simd.avx512f._mm512_add_epi32(a, b)
    }

    #[inline(always)]
    fn shift_byte(self, ints: __m512i) -> __m512i {
        self.simd.avx512f._mm512_slli_epi32::<8>(ints)
    }

    #[inline(always)]
    fn store_f32s<const F: usize>(
        self,
        ints: __m512i,
        floats: &mut [<V4 as pulp::Simd>::f32s; F],
        at: usize,
    ) {
        floats[at] = cast(self.simd.avx512f._mm512_cvtepi32_ps(ints));
    }

    #[inline(always)]
    fn quantize(self, range: &Range, numbers: &[f32; LANES]) -> [u8; 2 * LANES] {
        let integers = cast(range.integers(self.simd, cast(*numbers)));
        let integers = self.simd.avx512f._mm512_cvtepi32_epi16(integers);
        let integers = self
            .simd
            .avx2
            ._mm256_xor_si256(integers, cast([Self::FLIPPED; LANES]));
        cast(self.simd.avx2._mm256_shuffle_epi8(integers, cast(ORDER_16)))
    }
}

/// [`ORDER`] in each half of a vector of 16-bit integers. Arrays of bytes: the compiler would write a larger integer
/// to memory for each vector.
const ORDER_16: [[u8; 16]; 2] = [ORDER; 2];
/// [`ORDER`] in each half of a vector of 32-bit integers, whose upper 16 bits are left out.
const ORDER_32: [[u8; 16]; 2] = [
    [
        1, 5, 9, 13, 0, 4, 8, 12, 128, 128, 128, 128, 128, 128, 128, 128,
    ],
    [
        1, 5, 9, 13, 0, 4, 8, 12, 128, 128, 128, 128, 128, 128, 128, 128,
    ],
];

impl DotProduct for Avx {
    type Simd = V3;
    type Ints = [__m256i; 2];
    const REGISTERS: usize = 2;
    /// input + 2^15 = 2^8 high + low
    const FLIPPED: u16 = 0x8000;

    fn new() -> Option<Self> {
        let has_vnni = std::arch::is_x86_feature_detected!("avxvnni");
        let simd = V3::try_new().filter(|_| has_vnni)?;
        Some(Self { simd })
    }

    #[inline(always)]
    #[expect(
        unsafe_code,
        reason = "a function with features of the processor is called"
    )]
    fn vectorize<F: pulp::NullaryFnOnce>(self, function: F) -> F::Output {
        // The features of `V3`, and AVX-VNNI.
        #[target_feature(
            enable = "sse,sse2,fxsr,sse3,ssse3,sse4.1,sse4.2,popcnt,avx,avx2,bmi1,bmi2,fma,lzcnt,avxvnni"
        )]
        fn run<F: pulp::NullaryFnOnce>(function: F) -> F::Output {
            function.call()
        }
        // SAFETY: an `Avx` exists only where the processor has AVX-VNNI and the features of `V3`: only `new`
        // makes one, and it asks for both.
        unsafe { run(function) }
    }

    #[inline(always)]
    fn simd(self) -> V3 {
        self.simd
    }

    #[inline(always)]
    fn splat(self, quad: i32) -> [__m256i; 2] {
        [self.simd.avx._mm256_set1_epi32(quad); 2]
    }

    #[inline(always)]
    fn load(self, quads: &Quads) -> [__m256i; 2] {
        cast(*quads)
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "pulp has no safe function for this instruction")]
    fn add_products(
        self,
        sums: [__m256i; 2],
        inputs: [__m256i; 2],
        weights: [__m256i; 2],
    ) -> [__m256i; 2] {
        // SAFETY: the instruction needs AVX-VNNI. An `Avx` exists only where the processor has it: only
        // `new` makes one, and it asks for the feature.
        unsafe {
            [
                _mm256_dpbusd_avx_epi32(sums[0], inputs[0], weights[0]),
                _mm256_dpbusd_avx_epi32(sums[1], inputs[1], weights[1]),
            ]
        }
    }

    #[inline(always)]
    fn load_ints(self, ints: &[i32; LANES]) -> [__m256i; 2] {
        cast(*ints)
    }

    #[inline(always)]
    fn add(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        let avx2 = self.simd.avx2;
        [
            avx2._mm256_add_epi32(a[0], b[0]),
            avx2._mm256_add_epi32(a[1], b[1]),
        ]
    }

    #[inline(always)]
    fn shift_byte(self, ints: [__m256i; 2]) -> [__m256i; 2] {
        let avx2 = self.simd.avx2;
        [
            avx2._mm256_slli_epi32::<8>(ints[0]),
            avx2._mm256_slli_epi32::<8>(ints[1]),
        ]
    }

    #[inline(always)]
    fn store_f32s<const F: usize>(
        self,
        ints: [__m256i; 2],
        floats: &mut [<V3 as pulp::Simd>::f32s; F],
        at: usize,
    ) {
        for half in 0..2 {
            floats[2 * at + half] = cast(self.simd.avx._mm256_cvtepi32_ps(ints[half]));
        }
    }

    #[inline(always)]
    fn quantize(self, range: &Range, numbers: &[f32; LANES]) -> [u8; 2 * LANES] {
        let numbers: [<V3 as pulp::Simd>::f32s; 2] = cast(*numbers);
        // Not a closure: the compiler would not compile it for the instructions.
        let mut bytes = [[0u64; 2]; 2];
        for at in 0..2 {
            let integers: __m256i = cast(range.integers(self.simd, numbers[at]));
            let integers = self
                .simd
                .avx2
                ._mm256_xor_si256(integers, cast([u32::from(Self::FLIPPED); 8]));
            // The bytes of four integers are in the lower half of each half.
            let [low, _, high, _]: [u64; 4] =
                cast(self.simd.avx2._mm256_shuffle_epi8(integers, cast(ORDER_32)));
            bytes[at] = [low, high];
        }
        cast(bytes)
    }
}
