//! Bounded approximations of elementary functions that vectorize.

/// 10 / ln 10.
const DB_PER_NEPER: f32 = 4.342_944_8;

/// 10 log10 of a positive normal number. Relative error at most 2e-6; near 0 dB, absolute error at
/// most 2e-6 dB.
///
/// The logarithm of Cephes (`logf`, S. L. Moshier) without branches or calls, so that the compiler
/// vectorizes loops over it.
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
    use super::power_to_db;

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
}
