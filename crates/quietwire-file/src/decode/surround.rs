//! The channel order of Vorbis and Opus (Vorbis I, section 4.3.9; RFC 7845, section 5.1.1.2) and its
//! place in the order of `WAVE_FORMAT_EXTENSIBLE`.

use crate::speaker_layout::default_mask;

/// [channels - 1] the position in the WAV order of each Vorbis channel
const WAV_POSITIONS: [&[usize]; 8] = [
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 2, 1, 3, 4],
    &[0, 2, 1, 4, 5, 3],
    &[0, 2, 1, 5, 6, 4, 3],
    &[0, 2, 1, 6, 7, 4, 5, 3],
];

/// The position in the WAV order of each Vorbis channel. More than 8 channels have no order.
pub(super) fn wav_positions(channels: usize) -> Vec<usize> {
    match WAV_POSITIONS.get(channels.wrapping_sub(1)) {
        Some(positions) => positions.to_vec(),
        None => (0..channels).collect(),
    }
}

/// The speaker mask of 3 to 8 channels.
pub(super) fn channel_mask(channels: usize) -> Option<u32> {
    default_mask(channels).filter(|_| channels > 2)
}
