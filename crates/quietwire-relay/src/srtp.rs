//! SRTP (RFC 3711, RFC 6188, RFC 7714) with the keys of SDP (RFC 4568).

use std::collections::VecDeque;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rtc_shared::error::Error;
use rtc_srtp::context::Context;
use rtc_srtp::crypto;
use rtc_srtp::option::srtp_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::api::media::{Srtp, Suite};

/// Size of the replay window, packets (RFC 3711 section 3.3.2: at least 64).
const REPLAY_WINDOW: usize = 64;
/// Sources whose state is kept: the present one and earlier ones.
const MAX_SOURCES: usize = 4;
/// Packets of unknown sources that fail before their state is dropped.
const MAX_FAILED_PACKETS: u32 = 64;
/// Bytes of an RTP header up to the end of the SSRC.
const HEADER_BYTES: usize = 12;

/// Why a packet cannot be decrypted.
pub enum SrtpError {
    /// it was received before
    Replayed,
    /// not authentic, or damaged
    Invalid(String),
}

/// Decrypts the received packets of one stream.
pub struct SrtpDecryptor {
    key: Key,
    /// SSRC and state of the sources with authentic packets, the latest last
    authenticated: VecDeque<(u32, Context)>,
    /// decrypts packets of other sources; replaced regularly, so that forged sources leave no state
    unknown: Context,
    unknown_packets: u32,
}

/// Encrypts the sent packets of one stream.
pub struct SrtpEncryptor(Context);

struct Key {
    profile: ProtectionProfile,
    master: Vec<u8>,
    salt: Vec<u8>,
}

impl Key {
    fn new(srtp: &Srtp) -> Result<Self, String> {
        let profile = match srtp.suite {
            Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            Suite::Aes256CmHmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
            Suite::Aes256CmHmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
            Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        };
        let expected = profile.key_len() + profile.salt_len();
        // Errors contain only the length: the text may be most of a key.
        let mut master = BASE64_STANDARD.decode(srtp.key.text()).map_err(|_| {
            let found = srtp.key.text().len();
            format!("key: {found} characters that are not base64: expected the text after `inline:` in SDP")
        })?;
        if master.len() != expected {
            let found = master.len();
            return Err(format!(
                "key: {found} bytes: this suite needs {expected} for key and salt"
            ));
        }
        let salt = master.split_off(profile.key_len());
        Ok(Self {
            profile,
            master,
            salt,
        })
    }

    fn context(&self) -> Result<Context, String> {
        let provider = crypto::default_provider().map_err(|e| e.to_string())?;
        let window = Some(srtp_replay_protection(REPLAY_WINDOW));
        let (master, salt) = (&self.master, &self.salt);
        Context::new(master, salt, self.profile, window, None, provider.crypto())
            .map_err(|e| e.to_string())
    }
}

impl SrtpDecryptor {
    pub fn new(key: &Srtp) -> Result<Self, String> {
        let key = Key::new(key)?;
        Ok(Self {
            unknown: key.context()?,
            authenticated: VecDeque::with_capacity(MAX_SOURCES),
            key,
            unknown_packets: 0,
        })
    }

    /// Decrypts `datagram` into `packet`.
    pub fn decrypt(&mut self, datagram: &[u8], packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        packet.clear();
        let Some(header) = datagram.get(..HEADER_BYTES) else {
            return Err(SrtpError::Invalid("shorter than an RTP header".into()));
        };
        let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let authenticated = self
            .authenticated
            .iter_mut()
            .find(|(source, _)| *source == ssrc);
        let decrypted = match authenticated {
            Some((_, context)) => context.decrypt_rtp(datagram),
            None => {
                let decrypted = self.unknown.decrypt_rtp(datagram);
                self.update_unknown(ssrc, decrypted.is_ok())
                    .map_err(SrtpError::Invalid)?;
                decrypted
            }
        };
        match decrypted {
            Ok(decrypted) => {
                packet.extend_from_slice(&decrypted);
                Ok(())
            }
            Err(Error::SrtpSsrcDuplicated(..)) => Err(SrtpError::Replayed),
            Err(error) => Err(SrtpError::Invalid(error.to_string())),
        }
    }

    /// Counts a packet of an unknown source, and adds the source to the authenticated ones if the
    /// packet was authentic.
    fn update_unknown(&mut self, ssrc: u32, is_authentic: bool) -> Result<(), String> {
        self.unknown_packets += 1;
        if !is_authentic && self.unknown_packets < MAX_FAILED_PACKETS {
            return Ok(());
        }
        self.unknown_packets = 0;
        let fresh = self.key.context()?;
        let used = std::mem::replace(&mut self.unknown, fresh);
        if is_authentic {
            if self.authenticated.len() == MAX_SOURCES {
                self.authenticated.pop_front();
            }
            self.authenticated.push_back((ssrc, used));
        }
        Ok(())
    }
}

impl SrtpEncryptor {
    pub fn new(key: &Srtp) -> Result<Self, String> {
        Ok(Self(Key::new(key)?.context()?))
    }

    /// Encrypts `packet` in place.
    pub fn encrypt(&mut self, packet: &mut Vec<u8>) -> Result<(), String> {
        let encrypted = self.0.encrypt_rtp(packet).map_err(|e| e.to_string())?;
        packet.clear();
        packet.extend_from_slice(&encrypted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quietwire_testing::Random;

    use super::*;

    /// A key of `len` bytes with its salt.
    fn key(suite: &str, len: usize) -> Srtp {
        let bytes: Vec<u8> = (0..len as u8).map(|n| n.wrapping_mul(37) ^ 0xA5).collect();
        let key = BASE64_STANDARD.encode(bytes);
        serde_json::from_value(serde_json::json!({"suite": suite, "key": key})).unwrap()
    }

    const SUITES: [(&str, usize); 6] = [
        ("AES_CM_128_HMAC_SHA1_80", 30),
        ("AES_CM_128_HMAC_SHA1_32", 30),
        ("AES_256_CM_HMAC_SHA1_80", 46),
        ("AES_256_CM_HMAC_SHA1_32", 46),
        ("AEAD_AES_128_GCM", 28),
        ("AEAD_AES_256_GCM", 44),
    ];

    fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut bytes = vec![0x80, 111];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend([7; 40]);
        bytes
    }

    fn decrypt(decryptor: &mut SrtpDecryptor, datagram: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let mut packet = Vec::new();
        decryptor.decrypt(datagram, &mut packet).map(|()| packet)
    }

    #[test]
    fn authentic_packets_are_decrypted_once() {
        for (suite, len) in SUITES {
            let key = key(suite, len);
            let mut encryptor = SrtpEncryptor::new(&key).unwrap();
            let mut decryptor = SrtpDecryptor::new(&key).unwrap();
            // Two wraps of the sequence number.
            for n in 0..140_000u32 {
                let plain = packet(9, n as u16);
                if n % 1000 > 2 {
                    // Most packets are lost. Both sides must count the wraps.
                    continue;
                }
                let mut encrypted = plain.clone();
                encryptor.encrypt(&mut encrypted).unwrap();
                assert!(encrypted.len() > plain.len() && encrypted[12..52] != plain[12..]);
                let mut forged = encrypted.clone();
                forged[20] ^= 1;
                assert!(matches!(
                    decrypt(&mut decryptor, &forged),
                    Err(SrtpError::Invalid(_))
                ));
                assert!(
                    decrypt(&mut decryptor, &encrypted).is_ok_and(|decrypted| decrypted == plain)
                );
                assert!(
                    matches!(
                        decrypt(&mut decryptor, &encrypted),
                        Err(SrtpError::Replayed)
                    ),
                    "{suite}"
                );
            }
        }
    }

    #[test]
    fn forged_sources_leave_no_state_and_do_not_affect_others() {
        let key = key("AES_CM_128_HMAC_SHA1_80", 30);
        let mut encryptor = SrtpEncryptor::new(&key).unwrap();
        let mut decryptor = SrtpDecryptor::new(&key).unwrap();
        for n in 0..5000u16 {
            let mut encrypted = packet(u32::from(n % 7), n);
            encryptor.encrypt(&mut encrypted).unwrap();
            assert!(decrypt(&mut decryptor, &encrypted).is_ok(), "{n}");
            let forged = packet(1000 + u32::from(n), n);
            assert!(matches!(
                decrypt(&mut decryptor, &forged),
                Err(SrtpError::Invalid(_))
            ));
            assert!(
                decryptor.authenticated.len() <= MAX_SOURCES
                    && decryptor.unknown_packets < MAX_FAILED_PACKETS
            );
        }
        assert!(matches!(
            decrypt(&mut decryptor, &[0x80; 5]),
            Err(SrtpError::Invalid(_))
        ));
    }

    #[test]
    fn arbitrary_datagrams_are_rejected_without_a_panic() {
        let mut random = Random::new(1);
        for (suite, len) in SUITES {
            let mut decryptor = SrtpDecryptor::new(&key(suite, len)).unwrap();
            for n in 0..20_000 {
                let max_len = if n % 10 == 0 { 1500.0 } else { 60.0 };
                let len = (random.uniform() * max_len) as usize;
                let mut datagram: Vec<u8> = (0..len).map(|_| random.bits() as u8).collect();
                // Mostly valid RTP headers of few sources.
                if let Some(header) = datagram.first_chunk_mut::<12>().filter(|_| n % 3 > 0) {
                    header[0] = 0x80 | header[0] & 0x3F;
                    header[8..11].fill(0);
                }
                assert!(decrypt(&mut decryptor, &datagram).is_err());
            }
        }
    }

    #[test]
    fn the_error_of_a_wrong_key_does_not_contain_it() {
        let short = key("AES_CM_128_HMAC_SHA1_80", 28);
        let error = SrtpDecryptor::new(&short).err().unwrap();
        assert!(
            error.contains("28 bytes") && error.contains("30"),
            "{error}"
        );
        assert!(
            !error.contains(short.key.text()) && !format!("{short:?}").contains(short.key.text())
        );
    }
}
