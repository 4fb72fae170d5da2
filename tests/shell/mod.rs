//! What the tests of the file shell and of the program share.
// Each of them uses its own part.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of one test's own, removed at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let id = format!(
            "quietwire-{}-{name}-{}",
            env!("CARGO_CRATE_NAME"),
            std::process::id()
        );
        let path = std::env::temp_dir().join(id);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and gives its path.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Every file below, hidden ones too, in order.
    pub fn list(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, names: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, names);
                } else {
                    names.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        let mut names = Vec::new();
        walk(&self.0, &self.0, &mut names);
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A clip of the repository.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name)
}

/// A WAV file written by hand, independently of the crate's own writer.
pub struct Wav {
    pub tag: u16,
    pub bits: u16,
    pub rate_hz: u32,
    pub channels: u16,
    pub data: Vec<u8>,
}

impl Wav {
    pub fn int(bits: u16, channels: u16, data: Vec<u8>) -> Self {
        Self {
            tag: 1,
            bits,
            rate_hz: 48000,
            channels,
            data,
        }
    }

    pub fn float(bits: u16, channels: u16, data: Vec<u8>) -> Self {
        Self {
            tag: 3,
            bits,
            rate_hz: 48000,
            channels,
            data,
        }
    }

    pub fn format_chunk(&self) -> Vec<u8> {
        let frame = self.channels * self.bits / 8;
        let mut chunk = Vec::new();
        chunk.extend(self.tag.to_le_bytes());
        chunk.extend(self.channels.to_le_bytes());
        chunk.extend(self.rate_hz.to_le_bytes());
        chunk.extend((self.rate_hz * u32::from(frame)).to_le_bytes());
        chunk.extend(frame.to_le_bytes());
        chunk.extend(self.bits.to_le_bytes());
        chunk
    }

    pub fn bytes(&self) -> Vec<u8> {
        riff(&[(b"fmt ", self.format_chunk()), (b"data", self.data.clone())])
    }
}

/// A RIFF file of chunks.
pub fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = b"WAVE".to_vec();
    for (name, bytes) in chunks {
        body.extend(*name);
        body.extend((bytes.len() as u32).to_le_bytes());
        body.extend(bytes);
        body.extend(vec![0; bytes.len() % 2]);
    }
    let mut file = b"RIFF".to_vec();
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(body);
    file
}

/// The body of a WAV file's chunk.
pub fn chunk(wav: &[u8], name: &[u8; 4]) -> Vec<u8> {
    let mut at = 12;
    loop {
        let size = u32::from_le_bytes(wav[at + 4..at + 8].try_into().unwrap()) as usize;
        if &wav[at..at + 4] == name {
            return wav[at + 8..(at + 8 + size).min(wav.len())].to_vec();
        }
        at += 8 + size + size % 2;
    }
}

/// Reproducible samples between -1 and 1: a voice-like tone with noise.
pub fn signal(frames: usize) -> Vec<f32> {
    let mut seed = 7u32;
    (0..frames)
        .map(|n| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (seed >> 8) as f32 / (1 << 24) as f32 - 0.5;
            0.4 * (n as f32 * 0.021).sin() + 0.1 * noise
        })
        .collect()
}

/// 16-bit samples of [`signal`], as WAV data.
pub fn data16(frames: usize) -> Vec<u8> {
    signal(frames)
        .iter()
        .flat_map(|s| ((s * 32767.0) as i16).to_le_bytes())
        .collect()
}

/// Runs ffmpeg; false, loudly, where there is none.
pub fn ffmpeg(args: &[&str]) -> bool {
    let run = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(args)
        .output();
    match run {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: ffmpeg is not installed, so {args:?} was not tested");
            false
        }
        run => {
            let run = run.unwrap();
            assert!(
                run.status.success(),
                "{}",
                String::from_utf8_lossy(&run.stderr)
            );
            true
        }
    }
}
