//! Temporary folders, audio files and ffmpeg for the tests of the file shell and of the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::random::Random;

/// A temporary folder for one test. Removed when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder. `name` must be unique within the test program.
    ///
    /// # Panics
    /// When it cannot be created.
    pub fn new(name: &str) -> Self {
        let id = format!(
            "quietwire-{}-{name}-{}",
            std::env::current_exe()
                .ok()
                .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
                .unwrap_or_default(),
            std::process::id()
        );
        let path = std::env::temp_dir().join(id);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A path in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// All files below the folder, hidden ones included, sorted.
    ///
    /// # Panics
    /// When the folder cannot be read.
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

/// A sample clip of the repository, for a test in the crate with this `CARGO_MANIFEST_DIR`.
pub fn sample(manifest_dir: &str, name: &str) -> PathBuf {
    Path::new(manifest_dir).join("../../samples").join(name)
}

/// A WAV file, written independently of the writer under test.
#[derive(Debug, Clone)]
pub struct Wav {
    /// Format tag: 1 for integers, 3 for floats.
    pub tag: u16,
    /// Bits per sample.
    pub bits: u16,
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Interleaved channels.
    pub channels: u16,
    /// Bytes of the data chunk.
    pub data: Vec<u8>,
}

impl Wav {
    /// Integer samples at 48 kHz.
    pub fn int(bits: u16, channels: u16, data: Vec<u8>) -> Self {
        Self {
            tag: 1,
            bits,
            rate_hz: 48000,
            channels,
            data,
        }
    }

    /// Float samples at 48 kHz.
    pub fn float(bits: u16, channels: u16, data: Vec<u8>) -> Self {
        Self {
            tag: 3,
            bits,
            rate_hz: 48000,
            channels,
            data,
        }
    }

    /// Bytes of the format chunk.
    pub fn format_chunk(&self) -> Vec<u8> {
        let frame_bytes = self.channels * self.bits / 8;
        let mut chunk = Vec::new();
        chunk.extend(self.tag.to_le_bytes());
        chunk.extend(self.channels.to_le_bytes());
        chunk.extend(self.rate_hz.to_le_bytes());
        chunk.extend((self.rate_hz * u32::from(frame_bytes)).to_le_bytes());
        chunk.extend(frame_bytes.to_le_bytes());
        chunk.extend(self.bits.to_le_bytes());
        chunk
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        riff(&[(b"fmt ", self.format_chunk()), (b"data", self.data.clone())])
    }
}

/// A RIFF file with these chunks.
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

/// The body of a chunk of a WAV file.
///
/// # Panics
/// When the file has no such chunk.
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

/// Reproducible samples in [-1, 1]: a tone with noise.
pub fn signal(frames: usize) -> Vec<f32> {
    let mut random = Random::new(7);
    (0..frames)
        .map(|n| 0.4 * (n as f32 * 0.021).sin() + 0.1 * (random.uniform() as f32 - 0.5))
        .collect()
}

/// 16-bit samples of [`signal`], as WAV data.
pub fn data16(frames: usize) -> Vec<u8> {
    signal(frames)
        .iter()
        .flat_map(|s| ((s * 32767.0) as i16).to_le_bytes())
        .collect()
}

/// Runs ffmpeg. Returns false where it is not installed; under CI (variable `CI`) that is a failure.
///
/// # Panics
/// When ffmpeg fails, and when it is missing under CI.
pub fn ffmpeg(args: &[&str]) -> bool {
    let run = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(args)
        .output();
    match run {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(
                std::env::var_os("CI").is_none(),
                "ffmpeg is not installed: {args:?}"
            );
            eprintln!("SKIPPED: ffmpeg is not installed: {args:?} was not tested");
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
