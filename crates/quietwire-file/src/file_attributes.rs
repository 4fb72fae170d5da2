//! Owner, permissions and times, which outputs get from their input.

use std::fs::{File, FileTimes, Metadata, OpenOptions};

use crate::input::Input;

/// The owner, the permissions and the times of an input. Empty for a pipe or a device.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileAttributes {
    input: Option<Metadata>,
    with_times: bool,
}

impl FileAttributes {
    /// The attributes of the outputs of an input.
    pub(crate) fn of(input: &Input) -> Self {
        let input = match input {
            Input::File(path) => path.metadata().ok().filter(Metadata::is_file),
            Input::Stream(_) | Input::Raw { .. } => None,
        };
        Self {
            input,
            with_times: true,
        }
    }

    /// The same without the times: for outputs that are no recording.
    pub(crate) fn without_times(&self) -> Self {
        Self {
            input: self.input.clone(),
            with_times: false,
        }
    }

    /// Makes a new file accessible to its owner only. [`apply`](Self::apply) adds the permissions of
    /// the input when the file is complete.
    pub(crate) fn restrict(&self, options: &mut OpenOptions) {
        #[cfg(unix)]
        if self.input.is_some() {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        #[cfg(not(unix))]
        let _ = options;
    }

    /// Gives a file the attributes of the input, as far as the user may and the file system can.
    pub(crate) fn apply(&self, file: &File) {
        let Some(input) = &self.input else { return };
        #[cfg(unix)]
        apply_permissions(input, file);
        if self.with_times
            && let (Ok(modified), Ok(accessed)) = (input.modified(), input.accessed())
        {
            let times = FileTimes::new().set_modified(modified);
            // Not all file systems have times that can be set.
            let _ = file.set_times(times.set_accessed(accessed));
        }
    }
}

#[cfg(unix)]
fn apply_permissions(input: &Metadata, file: &File) {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

    let Ok(created) = file.metadata() else { return };
    let mut mode = input.mode() & 0o777;
    let (owner, group) = (Some(input.uid()), Some(input.gid()));
    let is_owned = (created.uid(), created.gid()) == (input.uid(), input.gid())
        || fchown(file, owner, group).is_ok()
        || fchown(file, None, group).is_ok();
    if !is_owned && created.gid() != input.gid() {
        // The file belongs to another group, which gets no more than everybody.
        mode &= 0o707 | (mode & 0o007) << 3;
    }
    // File systems without permissions refuse this.
    let _ = file.set_permissions(Permissions::from_mode(mode));
}
