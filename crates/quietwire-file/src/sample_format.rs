//! Sample formats: conversion between bytes and `f32`.

/// The format of one stored sample.
///
/// The signal path is `f32`, which represents every 8-, 16- and 24-bit integer exactly. A 32-bit
/// integer or a 64-bit float keeps its 24 most significant bits, about 144 dB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SampleFormat {
    /// 8-bit unsigned integer. In FLAC: the same range, signed.
    U8,
    /// 16-bit signed integer.
    S16,
    /// 24-bit signed integer.
    S24,
    /// 32-bit signed integer.
    S32,
    /// 32-bit float, full scale at 1.
    F32,
    /// 64-bit float, full scale at 1.
    F64,
}

impl SampleFormat {
    /// Bits of one sample.
    pub fn bits(self) -> u16 {
        8 * self.bytes() as u16
    }

    /// Bytes of one sample.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::S16 => 2,
            Self::S24 => 3,
            Self::S32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Whether this is a floating-point format.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// Full scale: the largest positive value of an integer format, 1 for a float.
    pub(crate) fn full_scale(self) -> f32 {
        match self {
            Self::F32 | Self::F64 => 1.0,
            // 2^31 - 1 is not an f32: the largest f32 below 1 is used instead.
            Self::S32 => 1.0 - f32::EPSILON / 2.0,
            _ => 1.0 - 1.0 / self.scale(),
        }
    }

    /// Integers per unit. A power of two, so scaling never rounds.
    fn scale(self) -> f32 {
        match self {
            Self::F32 | Self::F64 => 1.0,
            _ => 2f32.powi(i32::from(self.bits()) - 1),
        }
    }

    /// Rounds every sample to the nearest value of this format, limited to full scale. Returns the
    /// number of samples beyond full scale. Does not change samples of floating-point formats.
    pub(crate) fn quantize(self, samples: &mut [f32]) -> u64 {
        if self.is_float() {
            return 0;
        }
        let scale = self.scale();
        let (low, high) = (-scale, self.full_scale() * scale);
        let mut clipped = 0;
        for sample in samples {
            let wanted = (*sample * scale).round();
            let kept = wanted.clamp(low, high);
            clipped += u64::from(wanted != kept);
            *sample = kept / scale;
        }
        clipped
    }

    /// The integer of a sample that was rounded by [`quantize`](Self::quantize).
    pub(crate) fn integer(self, sample: f32) -> i32 {
        // The cast saturates at i32::MAX, which is full scale.
        (sample * self.scale()) as i32
    }

    /// Appends quantized samples as little-endian bytes.
    pub(crate) fn encode(self, samples: &[f32], bytes: &mut Vec<u8>) {
        for &sample in samples {
            match self {
                Self::U8 => bytes.push((self.integer(sample) + 128) as u8),
                Self::S16 => bytes.extend((self.integer(sample) as i16).to_le_bytes()),
                Self::S24 => bytes.extend(&self.integer(sample).to_le_bytes()[..3]),
                Self::S32 => bytes.extend(self.integer(sample).to_le_bytes()),
                Self::F32 => bytes.extend(sample.to_le_bytes()),
                Self::F64 => bytes.extend(f64::from(sample).to_le_bytes()),
            }
        }
    }

    /// Appends the samples of little-endian bytes. Ignores an incomplete sample at the end.
    pub(crate) fn decode(self, bytes: &[u8], samples: &mut Vec<f32>) {
        let scale = self.scale().recip();
        match self {
            Self::U8 => samples.extend(bytes.iter().map(|&b| (f32::from(b) - 128.0) * scale)),
            Self::S16 => samples
                .extend(chunks(bytes).map(|b: [u8; 2]| f32::from(i16::from_le_bytes(b)) * scale)),
            Self::S24 => {
                samples.extend(chunks(bytes).map(|[a, b, c]: [u8; 3]| {
                    (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 * scale
                }))
            }
            // The largest integers would be rounded up to 1, which is beyond full scale.
            Self::S32 => {
                samples.extend(chunks(bytes).map(|b: [u8; 4]| {
                    (i32::from_le_bytes(b) as f32 * scale).min(self.full_scale())
                }))
            }
            Self::F32 => samples.extend(chunks(bytes).map(f32::from_le_bytes)),
            Self::F64 => {
                samples.extend(chunks(bytes).map(|b: [u8; 8]| f64::from_le_bytes(b) as f32));
            }
        }
    }
}

impl std::fmt::Display for SampleFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_float() { "float" } else { "int" };
        write!(f, "{}-bit {kind}", self.bits())
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks::<N>().0.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::SampleFormat::{self, *};

    fn round_trip(format: SampleFormat, bytes: &[u8]) -> Vec<u8> {
        let mut samples = Vec::new();
        format.decode(bytes, &mut samples);
        assert_eq!(format.quantize(&mut samples), 0);
        let mut out = Vec::new();
        format.encode(&samples, &mut out);
        out
    }

    #[test]
    fn integers_up_to_24_bit_come_back_exactly() {
        let all8: Vec<u8> = (0..=255).collect();
        assert_eq!(round_trip(U8, &all8), all8);
        let all16: Vec<u8> = (i16::MIN..=i16::MAX).flat_map(i16::to_le_bytes).collect();
        assert_eq!(round_trip(S16, &all16), all16);
        let all24: Vec<u8> = (-(1i32 << 23)..1 << 23)
            .step_by(7)
            .flat_map(|v| v.to_le_bytes()[..3].to_vec())
            .collect();
        assert_eq!(round_trip(S24, &all24), all24);
    }

    #[test]
    fn a_32_bit_integer_keeps_24_bits() {
        for value in [
            i32::MIN,
            -123_456_789,
            -1,
            0,
            1,
            0x1234_5600,
            987_654_321,
            i32::MAX,
        ] {
            let back = round_trip(S32, &value.to_le_bytes());
            let back = i32::from_le_bytes([back[0], back[1], back[2], back[3]]);
            assert!(
                (i64::from(back) - i64::from(value)).abs() <= 128,
                "{value} became {back}"
            );
        }
    }

    #[test]
    fn beyond_full_scale_is_limited_and_counted() {
        for format in [U8, S16, S24, S32] {
            let mut samples = [1.5, -1.5, -1.0, 0.0, 0.5];
            assert_eq!(format.quantize(&mut samples), 2, "{format}");
            assert_eq!(
                samples,
                [format.full_scale(), -1.0, -1.0, 0.0, 0.5],
                "{format}"
            );
        }
        let mut samples = [1.5, -1.5];
        assert_eq!(F32.quantize(&mut samples), 0);
        assert_eq!(samples, [1.5, -1.5]);
    }

    #[test]
    fn rounding_goes_to_the_nearest_integer() {
        let step = 1.0 / 32768.0;
        let mut samples = [0.4 * step, 0.6 * step, -0.4 * step, -0.6 * step];
        S16.quantize(&mut samples);
        assert_eq!(samples, [0.0, step, 0.0, -step]);
    }
}
