//! What a file is saved as and read from: links, permissions, owners, and what is no regular file.
#![cfg(unix)]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use downhill::Error;
use downhill::prelude::*;
use flate2::Compression;
use flate2::write::GzEncoder;

#[network(sequential)]
pub struct Net {
    out: Linear<4, 2>,
}

/// A folder of its own for each test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("files-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in it, sorted.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Whether a file holds this model.
fn holds(path: &Path, model: &Model<Net>) -> bool {
    let mut found = Net::init(99);
    found.load(path).unwrap();
    found.get("out.weight").unwrap() == model.get("out.weight").unwrap()
}

fn message(result: downhill::Result<()>) -> String {
    match result {
        Err(error @ Error::Io { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

/// A FIFO, by the system's own command.
fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn links_are_written_through() -> Result<()> {
    let folder = Folder::new("links");
    fs::create_dir_all(folder.path("runs/deep"))?;
    let (real, model) = (folder.path("runs/deep/real"), Net::init(1));
    Net::init(0).save(&real)?;
    symlink("runs/deep/real", folder.path("relative"))?;
    symlink(&real, folder.path("absolute"))?;
    // A chain, of which each link begins in its own folder.
    symlink("../second", folder.path("runs/first"))?;
    symlink("runs/deep/../deep/real", folder.path("second"))?;
    // A link to a folder on the way.
    symlink("runs", folder.path("folder"))?;
    for name in ["relative", "absolute", "runs/first", "folder/deep/real", "folder/first"] {
        Net::init(0).save(&real)?;
        model.save(folder.path(name))?;
        assert!(holds(&real, &model), "{name}");
    }
    let links = ["relative", "absolute", "runs/first", "second", "folder"];
    assert!(links.iter().all(|name| folder.path(name).is_symlink()));
    assert_eq!(fs::read_dir(folder.path("runs/deep"))?.count(), 1);

    symlink("runs/new", folder.path("dangling"))?;
    model.save(folder.path("dangling"))?;
    assert!(folder.path("dangling").is_symlink() && holds(&folder.path("runs/new"), &model));
    symlink("absent/new", folder.path("nowhere"))?;
    assert!(message(model.save(folder.path("nowhere"))).contains("cannot create a temporary file in"));
    symlink("round", folder.path("about"))?;
    symlink("about", folder.path("round"))?;
    message(model.save(folder.path("round")));
    assert!(folder.path("round").is_symlink());
    Ok(())
}

#[test]
fn permissions_and_owner_stay() -> Result<()> {
    let folder = Folder::new("access");
    let (path, model) = (folder.path("net"), Net::init(1));
    File::create(folder.path("plain"))?;
    model.save(&path)?;
    assert_eq!(mode(&path), mode(&folder.path("plain")), "a new file is as any other");
    for bits in [0o600, 0o640, 0o666, 0o755] {
        fs::set_permissions(&path, Permissions::from_mode(bits))?;
        model.save(&path)?;
        assert_eq!(mode(&path), bits);
    }
    if is_root() {
        chown(&path, Some(1234), Some(2345))?;
        fs::set_permissions(&path, Permissions::from_mode(0o604))?;
        model.save(&path)?;
        let found = fs::metadata(&path)?;
        assert_eq!((found.uid(), found.gid(), mode(&path)), (1234, 2345, 0o604));
    } else {
        fs::set_permissions(&path, Permissions::from_mode(0o400))?;
        assert!(message(model.save(&path)).contains("ermission denied"));
        fs::set_permissions(&folder.0, Permissions::from_mode(0o500))?;
        let refused = message(model.save(folder.path("new")));
        fs::set_permissions(&folder.0, Permissions::from_mode(0o700))?;
        assert!(refused.contains("cannot create a temporary file in"), "{refused}");
    }
    assert_eq!(folder.names(), ["net", "plain"]);
    Ok(())
}

#[test]
fn what_is_no_file_is_left_alone() -> Result<()> {
    let folder = Folder::new("kinds");
    fs::create_dir(folder.path("folder"))?;
    fifo(&folder.path("fifo"));
    let _socket = UnixListener::bind(folder.path("socket"))?;
    symlink("fifo", folder.path("link"))?;
    let before = folder.names();
    for (name, kind) in [("folder", "a folder"), ("fifo", "a FIFO"), ("socket", "a socket"), ("link", "a FIFO")] {
        let (path, mut model) = (folder.path(name), Net::init(1));
        let expected = format!("{}: is {kind}, expected a regular file", path.display());
        assert_eq!(message(model.save(&path)), expected);
        assert_eq!(message(model.load(&path)), expected);
        let read = downhill::data::idx::read(&path).unwrap_err();
        assert!(matches!(read, Error::Io { .. }) && read.to_string() == expected, "{read}");
    }
    // A device is only read here; that none is written to is decided by what the path leads to, as for the others.
    let device = message(Net::init(1).load("/dev/null"));
    assert_eq!(device, "/dev/null: is a device, expected a regular file");
    message(Net::init(1).save(""));
    message(Net::init(1).save(folder.path("absent/")));
    assert_eq!(folder.names(), before);
    Ok(())
}

#[test]
fn names_of_every_kind() -> Result<()> {
    let folder = Folder::new("names");
    let model = Net::init(1);
    let long = "n".repeat(255);
    for name in
        [OsStr::new(&long), OsStr::from_bytes(b"\xff\xfe.safetensors"), OsStr::new(".downhill-"), OsStr::new("a b")]
    {
        let path = folder.0.join(name);
        model.save(&path)?;
        assert!(holds(&path, &model));
    }
    message(model.save(folder.path(&"n".repeat(256))));
    // What has the name of a leftover would be taken for one.
    let found = message(model.save(folder.path(".downhill-0123456789abcdef.tmp")));
    assert!(found.contains("has the name of a temporary file"), "{found}");
    assert_eq!(folder.names().len(), 4);
    Ok(())
}

/// What a writer that was killed has left is removed; what another one is writing is not, and neither is anything else.
#[test]
fn leftovers() -> Result<()> {
    let folder = Folder::new("leftovers");
    let model = Net::init(1);
    let names = [".downhill-0123456789abcdef.tmp", ".downhill-00000000000000ff.tmp"];
    let others = [".downhill-mine.tmp", ".downhill-0123456789abcdef", "net.1234-0.tmp"];
    names.iter().chain(&others).for_each(|name| fs::write(folder.path(name), b"half").unwrap());
    let writing = File::open(folder.path(names[1]))?;
    writing.lock()?;
    symlink("net.1234-0.tmp", folder.path(".downhill-1111111111111111.tmp"))?;
    model.save(folder.path("net"))?;
    let mut expected = vec![names[1], ".downhill-1111111111111111.tmp", "net"];
    expected.extend(others);
    expected.sort();
    assert_eq!(folder.names(), expected);
    drop(writing);
    model.save(folder.path("other"))?;
    assert!(!folder.path(names[1]).exists());
    Ok(())
}

/// Set for the process that is killed while it saves.
const VICTIM: &str = "DOWNHILL_TEST_SAVES_TO";

#[network(sequential)]
pub struct Large {
    out: Linear<1000, 1000>,
}

/// Saves for ever where it is told to; as a test of its own it does nothing.
#[test]
fn saves_until_killed() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let model = Large::init(1);
    loop {
        model.save(&path).unwrap();
    }
}

#[test]
fn a_killed_writer() -> Result<()> {
    let folder = Folder::new("killed");
    let path = folder.path("net");
    Large::init(1).save(&path)?;
    let mut model = Large::init(2);
    for round in 0..20 {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["files::saves_until_killed", "--exact"]).env(VICTIM, &path).stdout(Stdio::null());
        let mut victim = command.spawn()?;
        // Killed as soon as it writes, so that its file is not whole as a rule.
        while folder.names().len() == 1 {
            std::thread::yield_now();
        }
        victim.kill()?;
        victim.wait()?;
        model.load(&path)?;
        if folder.names().len() > 1 || round == 19 {
            break;
        }
    }
    model.save(&path)?;
    assert_eq!(folder.names(), ["net"]);
    Ok(())
}

#[test]
fn writers_at_the_same_time() -> Result<()> {
    let folder = Folder::new("threads");
    let (path, done) = (folder.path("net"), AtomicBool::new(false));
    let models = [Net::init(1), Net::init(2)];
    models[0].save(&path)?;
    std::thread::scope(|scope| {
        let writers: Vec<_> =
            models.iter().map(|model| scope.spawn(|| (0..50).for_each(|_| model.save(&path).unwrap()))).collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut found = Net::init(99);
                found.load(&path).unwrap();
                let found = found.get("out.weight").unwrap();
                assert!(models.iter().any(|model| model.get("out.weight").unwrap() == found));
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(folder.names(), ["net"]);
    Ok(())
}

#[test]
fn a_pipe_is_read_if_asked_for() -> Result<()> {
    let folder = Folder::new("pipes");
    let (path, pipe, model) = (folder.path("net"), folder.path("pipe"), Net::init(1));
    model.save(&path)?;
    let mut other = Net::init(2);
    other.load_from("bytes", &fs::read(&path)?[..])?;
    assert_eq!(other.get("out.weight")?, model.get("out.weight")?);
    // No more is read than there can be.
    let endless = other.load_from("endless", std::io::repeat(0)).unwrap_err().to_string();
    assert!(endless.starts_with("endless: has more than"), "{endless}");

    fifo(&pipe);
    let labels = [&[0, 0, 8, 1, 0, 0, 0, 3][..], &[7, 8, 9]].concat();
    let reader = downhill::data::idx::Reader::new().special_files(true);
    std::thread::scope(|scope| {
        scope.spawn(|| File::options().write(true).open(&pipe).unwrap().write_all(&labels).unwrap());
        assert_eq!(reader.labels(&pipe, 10).unwrap().data(), [7, 8, 9]);
    });
    assert!(reader.labels("/dev/zero", 10).unwrap_err().to_string().contains("elements of type 0x00"));
    Ok(())
}

/// A file of some kilobytes that says it holds a gigabyte, and one that holds more than it says.
#[test]
fn what_is_compressed_too_much() -> Result<()> {
    let folder = Folder::new("bomb");
    let path = folder.path("bomb-idx1-ubyte.gz");
    let mut gz = GzEncoder::new(File::create(&path)?, Compression::new(9));
    gz.write_all(&[0, 0, 8, 1, 0x40, 0, 0, 0])?;
    std::io::copy(&mut std::io::repeat(0).take(1 << 24), &mut gz)?;
    gz.finish()?;
    let expected = format!(
        "{}: the header says [1073741824], that is 1073741824 bytes, above the limit of 67108864 (see `Reader::limit`)",
        path.display()
    );
    assert_eq!(downhill::data::idx::labels(&path, 10).unwrap_err().to_string(), expected);
    assert_eq!(downhill::data::idx::read(&path).unwrap_err().to_string(), expected);
    let small = downhill::data::idx::Reader::new().limit(100).labels(&path, 10).unwrap_err().to_string();
    assert!(small.contains("above the limit of 100"), "{small}");
    // Of a stream that is longer than its header says, one byte more is read.
    let mut gz = GzEncoder::new(File::create(&path)?, Compression::new(9));
    gz.write_all(&[0, 0, 8, 1, 0, 0, 0, 2])?;
    std::io::copy(&mut std::io::repeat(0).take(1 << 24), &mut gz)?;
    gz.finish()?;
    let longer = downhill::data::idx::labels(&path, 10).unwrap_err().to_string();
    assert!(longer.ends_with("the header says [2], that is 2 bytes; the file has more"), "{longer}");
    Ok(())
}
