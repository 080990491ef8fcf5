//! The names of kernels for a profiler: what `DOWNHILL_PERF` asks for (see [`Step::explain`](crate::Step::explain)).
//!
//! The form is that of `perf`: a line for each function with its start and size, both hexadecimal, and its name.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::Program;
use crate::error::{Error, Result};

/// The file that the environment variable `DOWNHILL_PERF` asks for, if it is set. It is made at the first call.
///
/// # Errors
///
/// When the variable is not 1, the system is another than Linux, or the file cannot be made.
fn file() -> Result<Option<&'static Mutex<File>>> {
    static FILE: OnceLock<Result<Option<Mutex<File>>, String>> = OnceLock::new();
    let file = FILE.get_or_init(|| match std::env::var("DOWNHILL_PERF").as_deref() {
        Err(std::env::VarError::NotPresent) => Ok(None),
        Ok("1") if cfg!(target_os = "linux") => {
            let path = format!("/tmp/perf-{}.map", std::process::id());
            create(path.as_ref()).map(|file| Some(Mutex::new(file))).map_err(|error| format!("1, but {path}: {error}"))
        }
        Ok(found) => Err(found.into()),
        Err(error) => Err(error.to_string()),
    });
    file.as_ref().map(Option::as_ref).map_err(|found| refused(found.clone()))
}

fn refused(found: String) -> Error {
    Error::Setting { setting: "DOWNHILL_PERF", expected: "1, on Linux, and a file in /tmp to be written", found }
}

/// A new file in a folder where others may have put a link of that name, which is never followed. Only a file of a
/// former process of the same number and user is replaced.
#[cfg(unix)]
fn create(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::MetadataExt;
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = std::fs::symlink_metadata(path)?;
            // SAFETY: the call has no conditions and cannot fail.
            if !found.is_file() || found.uid() != unsafe { libc::geteuid() } {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            File::create_new(path)
        }
        made => made,
    }
}

#[cfg(not(unix))]
fn create(path: &std::path::Path) -> io::Result<File> {
    File::create_new(path)
}

/// Names the kernels of a program that no other program had before, if the setting asks for it.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn add(program: &Program) -> Result<()> {
    let Some(file) = file()? else { return Ok(()) };
    let (mut lines, mut known) = (String::new(), HashSet::new());
    for (i, (parts, (kernel, _))) in program.codes().zip(program.kernels()).enumerate() {
        let kind = kernel.kind.split(',').next().unwrap_or_default();
        for (part, code) in parts.iter().enumerate() {
            let start = code.address();
            if !code.is_fresh() || !known.insert(start) {
                continue;
            }
            let (start, size) = (start.addr(), code.bytes().len());
            let _ = write!(lines, "{start:x} {size:x} {}#{i} {kind}", program.name());
            let _ = if parts.len() > 1 { writeln!(lines, " part {part}") } else { writeln!(lines) };
        }
    }
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    io::Write::write_all(&mut *file, lines.as_bytes()).map_err(|error| refused(format!("1, but {error}")))
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_followed_and_a_file_of_before_is_replaced() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("downhill-perf-map-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let (target, link) = (folder.join("target"), folder.join("link"));
        std::fs::write(&target, "before")?;
        std::os::unix::fs::symlink(&target, &link)?;
        assert_eq!(create(&link).map_err(|error| error.kind()).err(), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(std::fs::read_to_string(&target)?, "before");
        create(&target)?;
        assert_eq!(std::fs::read_to_string(&target)?, "");
        std::fs::remove_dir_all(&folder)
    }
}
