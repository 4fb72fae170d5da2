//! G.711: mu-law and A-law companding (ITU-T G.711, tables 1a to 2b).

/// One of the two companding laws.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Law {
    Mu,
    A,
}

/// Added to the 14-bit magnitude before mu-law companding.
const BIAS: i32 = 33;

impl Law {
    pub(super) fn expand(self, byte: u8) -> i16 {
        match self {
            Self::Mu => {
                let byte = !byte;
                let segment = byte >> 4 & 7;
                let step = i32::from(byte & 0x0F);
                let magnitude = ((2 * step + BIAS) << segment) - BIAS;
                let sample = (magnitude << 2) as i16;
                if byte & 0x80 == 0 { sample } else { -sample }
            }
            Self::A => {
                let byte = byte ^ 0x55;
                let segment = byte >> 4 & 7;
                let step = i32::from(byte & 0x0F);
                let magnitude = match segment {
                    0 => 2 * step + 1,
                    _ => (2 * step + BIAS) << (segment - 1),
                };
                let sample = (magnitude << 3) as i16;
                if byte & 0x80 == 0 { -sample } else { sample }
            }
        }
    }

    pub(super) fn compress(self, sample: i16) -> u8 {
        let sample = i32::from(sample);
        match self {
            Self::Mu => {
                let magnitude = (sample.abs() >> 2).min(8158) + BIAS;
                let segment = (26 - magnitude.leading_zeros()) as i32;
                let step = magnitude >> (segment + 1) & 0x0F;
                let sign = if sample < 0 { 0x80 } else { 0 };
                !(sign | segment << 4 | step) as u8
            }
            Self::A => {
                // One's complement: the two halves mirror each other.
                let magnitude = if sample < 0 { !sample } else { sample } >> 4;
                let segment = (28 - (magnitude | 0x0F).leading_zeros()) as i32;
                let step = magnitude >> (segment - 1).max(0) & 0x0F;
                let sign = if sample < 0 { 0 } else { 0x80 };
                (sign | segment << 4 | step) as u8 ^ 0x55
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_samples_are_within_half_a_step() {
        for law in [Law::Mu, Law::A] {
            for byte in 0..=255 {
                let restored = law.compress(law.expand(byte));
                // Mu-law has two zeros.
                let zeros = [restored, byte].iter().all(|b| law.expand(*b) == 0);
                assert!(
                    restored == byte || zeros,
                    "{law:?} {byte:02x} {restored:02x}"
                );
            }
            for sample in i16::MIN..=i16::MAX {
                let found = i32::from(law.expand(law.compress(sample)));
                let error = (found - i32::from(sample)).abs();
                // Half a step of a segment is 1/32 of its samples; the smallest steps are 8 and 16.
                let max_error = (i32::from(sample).abs() / 32 + 16).max(16);
                assert!(
                    error <= max_error + 640 * i32::from(sample.unsigned_abs() > 32_100),
                    "{law:?} {sample} {found}"
                );
            }
        }
    }

    #[test]
    fn silence_and_full_scale_have_the_codes_of_the_recommendation() {
        assert_eq!(
            [0, 32_635, -32_635].map(|s| Law::Mu.compress(s)),
            [0xFF, 0x80, 0x00]
        );
        assert_eq!(
            [8, 32_256, -32_256].map(|s| Law::A.compress(s)),
            [0xD5, 0xAA, 0x2A]
        );
    }
}
