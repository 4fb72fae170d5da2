//! Packets under a key: SRTP (RFC 3711, RFC 6188, RFC 7714), with keys as SDP gives them (RFC 4568).

use std::collections::VecDeque;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rtc_shared::error::Error;
use rtc_srtp::context::Context;
use rtc_srtp::crypto;
use rtc_srtp::option::srtp_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::view::{Srtp, Suite};

/// Packets that may be behind the newest (RFC 3711 section 3.3.2: at least 64).
const WINDOW: usize = 64;
/// Sources of a leg that are remembered: one, and those it changed from.
const SOURCES: usize = 4;
/// Packets of unknown sources that fail, until what was kept of them is dropped.
const MAX_TRIES: u32 = 64;
/// Of RTP, in bytes: to where its source stands.
const HEADER: usize = 12;

/// Why a packet does not open.
pub enum Closed {
    /// it came before
    Again,
    Wrong(String),
}

/// Opens what comes in.
pub struct Opener {
    key: Key,
    /// the latest last
    known: VecDeque<(u32, Context)>,
    /// takes sources that nobody has heard of; what it remembers of forged ones goes with it
    unknown: Context,
    tries: u32,
}

/// Closes what goes out.
pub struct Closer(Context);

struct Key {
    profile: ProtectionProfile,
    master: Vec<u8>,
    salt: Vec<u8>,
}

impl Key {
    fn new(of: &Srtp) -> Result<Self, String> {
        let profile = match of.suite {
            Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            Suite::Aes256CmHmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
            Suite::Aes256CmHmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
            Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        };
        let expected = profile.key_len() + profile.salt_len();
        // What was found is told by its length alone: it may be most of a key.
        let mut master = BASE64_STANDARD.decode(of.key.text()).map_err(|_| {
            let found = of.key.text().len();
            format!("key: not base64 ({found} characters); it is what SDP has after `inline:`")
        })?;
        if master.len() != expected {
            let found = master.len();
            return Err(format!(
                "key: {found} bytes; this suite has {expected}, key and salt"
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
        let window = Some(srtp_replay_protection(WINDOW));
        let (master, salt) = (&self.master, &self.salt);
        Context::new(master, salt, self.profile, window, None, provider.crypto())
            .map_err(|e| e.to_string())
    }
}

impl Opener {
    pub fn new(key: &Srtp) -> Result<Self, String> {
        let key = Key::new(key)?;
        Ok(Self {
            unknown: key.context()?,
            known: VecDeque::with_capacity(SOURCES),
            key,
            tries: 0,
        })
    }

    /// Puts the packet inside `datagram` in `packet`'s place.
    pub fn open(&mut self, datagram: &[u8], packet: &mut Vec<u8>) -> Result<(), Closed> {
        packet.clear();
        let Some(header) = datagram.get(..HEADER) else {
            return Err(Closed::Wrong("shorter than a header".into()));
        };
        let source = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let known = self.known.iter_mut().find(|(ssrc, _)| *ssrc == source);
        let opened = match known {
            Some((_, context)) => context.decrypt_rtp(datagram),
            None => {
                let opened = self.unknown.decrypt_rtp(datagram);
                self.note_first(source, opened.is_ok())
                    .map_err(Closed::Wrong)?;
                opened
            }
        };
        match opened {
            Ok(opened) => {
                packet.extend_from_slice(&opened);
                Ok(())
            }
            Err(Error::SrtpSsrcDuplicated(..)) => Err(Closed::Again),
            Err(error) => Err(Closed::Wrong(error.to_string())),
        }
    }

    /// A source that nobody had heard of was tried.
    fn note_first(&mut self, source: u32, is_opened: bool) -> Result<(), String> {
        self.tries += 1;
        if !is_opened && self.tries < MAX_TRIES {
            return Ok(());
        }
        self.tries = 0;
        let fresh = self.key.context()?;
        let tried = std::mem::replace(&mut self.unknown, fresh);
        if is_opened {
            if self.known.len() == SOURCES {
                self.known.pop_front();
            }
            self.known.push_back((source, tried));
        }
        Ok(())
    }
}

impl Closer {
    pub fn new(key: &Srtp) -> Result<Self, String> {
        Ok(Self(Key::new(key)?.context()?))
    }

    /// Puts `packet` under the key.
    pub fn close(&mut self, packet: &mut Vec<u8>) -> Result<(), String> {
        let closed = self.0.encrypt_rtp(packet).map_err(|e| e.to_string())?;
        packet.clear();
        packet.extend_from_slice(&closed);
        Ok(())
    }
}

#[cfg(test)]
#[path = "../../../../tests/noise/mod.rs"]
mod noise;

#[cfg(test)]
mod tests {
    use super::noise::Dice;
    use super::*;

    /// A key of `len` bytes, salt and all.
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

    fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Vec<u8>, Closed> {
        let mut packet = Vec::new();
        opener.open(datagram, &mut packet).map(|()| packet)
    }

    #[test]
    fn what_is_closed_opens_once_and_only_whole() {
        for (suite, len) in SUITES {
            let key = key(suite, len);
            let mut closer = Closer::new(&key).unwrap();
            let mut opener = Opener::new(&key).unwrap();
            // Across two wraps of the number.
            for n in 0..140_000u32 {
                let plain = packet(9, n as u16);
                if n % 1000 > 2 {
                    // Numbers go on, packets are lost; both sides must count the wraps.
                    continue;
                }
                let mut closed = plain.clone();
                closer.close(&mut closed).unwrap();
                assert!(closed.len() > plain.len() && closed[12..52] != plain[12..]);
                let mut forged = closed.clone();
                forged[20] ^= 1;
                assert!(matches!(open(&mut opener, &forged), Err(Closed::Wrong(_))));
                assert!(open(&mut opener, &closed).is_ok_and(|opened| opened == plain));
                assert!(
                    matches!(open(&mut opener, &closed), Err(Closed::Again)),
                    "{suite}"
                );
            }
        }
    }

    #[test]
    fn forged_sources_leave_nothing_behind_and_disturb_nobody() {
        let key = key("AES_CM_128_HMAC_SHA1_80", 30);
        let mut closer = Closer::new(&key).unwrap();
        let mut opener = Opener::new(&key).unwrap();
        for n in 0..5000u16 {
            let mut closed = packet(u32::from(n % 7), n);
            closer.close(&mut closed).unwrap();
            assert!(open(&mut opener, &closed).is_ok(), "{n}");
            let forged = packet(1000 + u32::from(n), n);
            assert!(matches!(open(&mut opener, &forged), Err(Closed::Wrong(_))));
            assert!(opener.known.len() <= SOURCES && opener.tries < MAX_TRIES);
        }
        assert!(matches!(
            open(&mut opener, &[0x80; 5]),
            Err(Closed::Wrong(_))
        ));
    }

    #[test]
    fn datagrams_of_any_bytes_are_refused_in_peace() {
        let mut dice = Dice::new(1);
        for (suite, len) in SUITES {
            let mut opener = Opener::new(&key(suite, len)).unwrap();
            for n in 0..20_000 {
                let most = if n % 10 == 0 { 1500.0 } else { 60.0 };
                let len = (dice.share() * most) as usize;
                let mut datagram: Vec<u8> = (0..len).map(|_| dice.bits() as u8).collect();
                // Mostly such as pass for RTP at first sight, from few sources.
                if let Some(header) = datagram.first_chunk_mut::<12>().filter(|_| n % 3 > 0) {
                    header[0] = 0x80 | header[0] & 0x3F;
                    header[8..11].fill(0);
                }
                assert!(open(&mut opener, &datagram).is_err());
            }
        }
    }

    #[test]
    fn a_wrong_key_is_told_without_it() {
        let short = key("AES_CM_128_HMAC_SHA1_80", 28);
        let error = Opener::new(&short).err().unwrap();
        assert!(
            error.contains("28 bytes") && error.contains("30"),
            "{error}"
        );
        assert!(
            !error.contains(short.key.text()) && !format!("{short:?}").contains(short.key.text())
        );
    }
}
