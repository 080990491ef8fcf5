//! Files that are whole or absent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::Io { path: path.into(), error })
}

/// Writes a file so that at any moment, crashes included, its name stands for the old content or
/// the new one: a temporary file beside it is written, synced to disk and renamed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    let written = create(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    match written {
        Ok(()) => sync_folder(path),
        Err(error) => {
            // This error is the one to report; there may be nothing to remove.
            let _ = fs::remove_file(&temporary);
            return Err(Error::Io { path: path.into(), error });
        }
    }
    Ok(())
}

/// A name beside `path` that no other writer uses.
fn temporary(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(unique);
    path.with_file_name(name)
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the new name itself durable. Not every system and file system can sync a folder, and the
/// file is whole without it.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}
