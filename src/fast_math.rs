//! Bounded approximations of elementary functions without branches or calls, so that the compiler
//! vectorizes loops over them.

/// 1.5 x 2^23. Adding it to a number of magnitude below 2^22 rounds that number to the nearest
/// integer, which is then in the lowest bits of the sum.
pub(crate) const ROUNDER: f32 = 12_582_912.0;

/// 10 / ln 10.
const DB_PER_NEPER: f32 = 4.342_944_8;

/// Whether vectors of `S` have a fused multiply-add instruction. On other targets `f32::mul_add`
/// calls the C library.
#[inline(always)]
pub(crate) fn has_fma<S: pulp::Simd>() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && !S::IS_SCALAR
}

/// `sum + a * b`, rounded once where [`has_fma`], otherwise twice.
#[inline(always)]
pub(crate) fn add_product<S: pulp::Simd>(sum: f32, a: f32, b: f32) -> f32 {
    if has_fma::<S>() {
        a.mul_add(b, sum)
    } else {
        sum + a * b
    }
}

/// 2^`exponent`, where `rounded` is `ROUNDER + exponent`, for exponents from -126 to 127.
#[inline(always)]
fn power_of_two(rounded: f32) -> f32 {
    let exponent = rounded.to_bits().wrapping_sub(ROUNDER.to_bits());
    f32::from_bits(exponent.wrapping_add(127) << 23)
}

/// e^(-`rate` x), limited to 2^-60 to 2^60, so that the product of two results is finite. Relative
/// error at most 2e-7 times the larger of 2 and |`rate` x|. The range is reduced in base 2.
///
/// The polynomial is a least-squares fit to 2^x for |x| of at most 1/2.
#[inline(always)]
pub(crate) fn exp_neg<S: pulp::Simd>(x: f32, rate: f32) -> f32 {
    let x = (x * (-rate * std::f32::consts::LOG2_E)).clamp(-60.0, 60.0);
    let shifted = x + ROUNDER;
    let rest = x - (shifted - ROUNDER);
    let mut sum = 1.327_648_2e-3;
    for coefficient in [
        9.675_547e-3,
        5.550_713_5e-2,
        2.402_212e-1,
        6.931_469e-1,
        1.000_000_1,
    ] {
        sum = add_product::<S>(coefficient, sum, rest);
    }
    sum * power_of_two(shifted)
}

/// 10 log10 of a positive normal number. Relative error at most 2e-6; near 0 dB, absolute error at
/// most 2e-6 dB.
///
/// The polynomial of Cephes (`logf`, S. L. Moshier).
#[inline(always)]
pub(crate) fn power_to_db(power: f32) -> f32 {
    const ROOT_HALF: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    const COEFFICIENTS: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    // power = (1 + f) 2^exponent, with 1 + f between sqrt(1/2) and sqrt(2).
    let exponent = (power.to_bits().wrapping_sub(ROOT_HALF) as i32) >> 23;
    let f = f32::from_bits(power.to_bits().wrapping_sub((exponent << 23) as u32)) - 1.0;
    let exponent = exponent as f32;
    let mut sum = 0.0;
    for coefficient in COEFFICIENTS {
        sum = sum * f + coefficient;
    }
    let square = f * f;
    // ln 2 in two parts: the product of the larger part and an exponent is exact.
    let small = sum * f * square - 2.121_944_4e-4 * exponent - 0.5 * square;
    (f + small + 0.693_359_4 * exponent) * DB_PER_NEPER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative_error(found: f32, expected: f64) -> f64 {
        (f64::from(found) / expected - 1.0).abs()
    }

    #[test]
    fn decibels_equal_the_standard_library() {
        let mut power = 1e-20f32;
        while power < 1e20 {
            let expected = 10.0 * f64::from(power).log10();
            let difference = (f64::from(power_to_db(power)) - expected).abs();
            assert!(difference <= 2e-6 * expected.abs().max(1.0), "{power}");
            power *= 1.003;
        }
        assert_eq!(power_to_db(1.0), 0.0);
    }

    #[test]
    fn negative_exponentials_equal_the_standard_library() {
        for x in (-400..=400).map(|step| step as f32 * 0.1) {
            let error = relative_error(exp_neg::<pulp::Scalar>(x, 1.0), f64::from(-x).exp());
            assert!(error < 2e-7 * f64::from(x.abs()).max(2.0), "{x}: {error}");
        }
        let ends = [-1e9, 1e9].map(|x| exp_neg::<pulp::Scalar>(x, 2.0));
        let expected = [60, -60].map(|exponent| 2.0f32.powi(exponent) * 1.000_000_1);
        assert_eq!(ends, expected);
        assert!(exp_neg::<pulp::Scalar>(f32::NAN, 1.0).is_nan());
    }
}
