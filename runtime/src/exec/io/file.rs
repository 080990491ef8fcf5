//! Regular files: read, and written so that they are whole or absent.

use std::ffi::OsStr;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Symbolic links that are followed one after the other, as many as Linux follows.
const LINKS: usize = 40;

/// Names that are tried for a temporary file.
const NAMES: usize = 100;

/// What the name of a temporary file begins and ends with. The name does not depend on that of the file to
/// be written, so that it is never too long.
const TEMPORARY: (&str, &str) = (".downhill-", ".tmp");

/// Opens a file for reading, which must be a regular one: a FIFO could block for ever, and a device never end.
pub(crate) fn open(path: &Path) -> Result<File> {
    let opened = fs::metadata(path).and_then(regular).and_then(|_| File::open(path));
    opened.map_err(|error| Error::Io { path: path.into(), error })
}

/// Writes a file so that at any moment, crashes included, its name stands for the old content or the new one: a
/// temporary file in the same folder is written, synced to disk and renamed.
///
/// Symbolic links are followed. An old file must be a regular one that may be written; the new one gets its
/// permissions and owner.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes).map_err(|error| Error::Io { path: path.into(), error })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What the path leads to is told before anything is opened, since opening a device or FIFO can act on it.
    let old = match fs::metadata(path) {
        Ok(found) => Some(regular(found)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = followed(path)?;
    if target.file_name().is_some_and(is_temporary) {
        let message = "has the name of a temporary file, which the next one to be saved would remove";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    if old.is_some() {
        // A file that may not be written may not be replaced either.
        OpenOptions::new().write(true).open(&target)?;
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    remove_leftovers(folder);
    let mut temporary = Temporary::create(folder, old.is_some())?;
    temporary.file.write_all(bytes)?;
    if let Some(old) = &old {
        keep_access(&temporary.file, old)?;
    }
    temporary.file.sync_all()?;
    fs::rename(&temporary.path, &target)?;
    temporary.renamed = true;
    // Makes the new name itself durable. Not every system and file system can sync a folder, and the file is
    // whole without it.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Refuses what is no regular file.
fn regular(found: Metadata) -> io::Result<Metadata> {
    if found.is_file() {
        return Ok(found);
    }
    let kind = kind(found.file_type());
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("is {kind}, expected a regular file")))
}

#[cfg(unix)]
fn kind(found: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match found {
        found if found.is_dir() => "a folder",
        found if found.is_fifo() => "a FIFO",
        found if found.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn kind(found: FileType) -> &'static str {
    if found.is_dir() { "a folder" } else { "a device" }
}

/// The path that symbolic links at the end of a path lead to; nothing need be there yet.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            // A relative link begins in the folder that it is in.
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other(format!("more than {LINKS} symbolic links one after the other")))
}

/// A file that another one is to become; removed unless it was renamed.
struct Temporary {
    path: PathBuf,
    /// Locked as long as it is open, by which others know that it is no leftover.
    file: File,
    renamed: bool,
}

impl Temporary {
    /// A new file of a random name. If it is to replace another one, none but its owner can read it for now.
    fn create(folder: &Path, private: bool) -> io::Result<Temporary> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if private {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let (start, end) = TEMPORARY;
        for _ in 0..NAMES {
            // The standard library's hashers have keys from the system's random numbers.
            let path = folder.join(format!("{start}{:016x}{end}", RandomState::new().hash_one(std::process::id())));
            let file = match options.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(|error| {
                    let message = format!("cannot create a temporary file in {}: {error}", folder.display());
                    io::Error::new(error.kind(), message)
                })?,
            };
            // Between these two lines another writer may have taken the file for a leftover. Where files cannot be
            // locked, nobody removes it.
            let taken = matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock));
            if !taken && fs::symlink_metadata(&path).is_ok() {
                return Ok(Temporary { path, file, renamed: false });
            }
        }
        Err(io::Error::other(format!("no free name for a temporary file in {}", folder.display())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the temporary files of writers that were killed: those that nobody holds the lock of. What cannot be
/// removed stays.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().filter(|entry| is_temporary(&entry.file_name())).map(|entry| entry.path()) {
        if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
            continue;
        }
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_temporary(name: &OsStr) -> bool {
    let (start, end) = TEMPORARY;
    let digits = name.to_str().and_then(|name| name.strip_prefix(start)?.strip_suffix(end));
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Gives a new file the owner and the permissions of the one that it replaces.
#[cfg(unix)]
fn keep_access(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (new, (user, group)) = (file.metadata()?, (old.uid(), old.gid()));
    if (new.uid(), new.gid()) != (user, group) {
        fchown(file, Some(user), Some(group)).map_err(|error| {
            let message =
                format!("belongs to user {user} and group {group}, which a new file cannot be given ({error})");
            io::Error::new(error.kind(), message)
        })?;
    }
    // After the owner, since a change of that takes permissions away.
    file.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn keep_access(file: &File, old: &Metadata) -> io::Result<()> {
    file.set_permissions(old.permissions())
}
