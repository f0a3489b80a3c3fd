//! Files to store where the user names none: the same on every run.

use std::fs;
use std::io;
use std::path::Path;

/// How many files.
const FILES: usize = 120;
/// Length of the file that is larger than any message, in bytes.
const LARGEST: usize = 3 << 19;
/// Lengths at which something could go wrong: nothing, one byte, and both sides of what fits into one record.
const SPECIAL: [usize; 7] = [LARGEST, 0, 1, 48 << 10, (60 << 10) - 1, 60 << 10, (96 << 10) + 1];
/// Longest of the other files, in bytes. Their lengths are spread evenly below it.
const LONGEST: u64 = 84 << 10;
/// Files in one directory.
const IN_DIRECTORY: usize = 15;

/// Writes the files below a directory.
pub(super) fn write(root: &Path, seed: u64) -> io::Result<()> {
    for i in 0..FILES {
        let directory = root.join(format!("part-{}", i / IN_DIRECTORY));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("file-{i:03}.bin")), content(seed, i))?;
    }
    Ok(())
}

/// One file's bytes: BLAKE3's output stream of seed and number. The first eight bytes choose the length.
fn content(seed: u64, i: usize) -> Vec<u8> {
    let mut stream = blake3::Hasher::new().update(&seed.to_be_bytes()).update(&(i as u64).to_be_bytes()).finalize_xof();
    let mut chosen = [0; 8];
    stream.fill(&mut chosen);
    let length = SPECIAL.get(i).copied().unwrap_or((u64::from_be_bytes(chosen) % LONGEST) as usize);
    let mut bytes = vec![0; length];
    stream.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_the_same_every_time_and_some_mebibytes() {
        let files: Vec<_> = (0..FILES).map(|i| content(1, i)).collect();

        assert!(files == (0..FILES).map(|i| content(1, i)).collect::<Vec<_>>());
        assert_ne!(content(1, 50), content(2, 50));
        let bytes: usize = files.iter().map(Vec::len).sum();
        assert!((5 << 20..8 << 20).contains(&bytes), "{bytes} bytes");
        assert_eq!(files.iter().map(Vec::len).max(), Some(LARGEST));
        assert!(files.iter().any(Vec::is_empty));
    }

    #[test]
    fn every_file_is_written_below_the_directory() {
        let root = tempfile::tempdir().expect("a directory");

        write(root.path(), 1).expect("it is written");

        let first = fs::read(root.path().join("part-0/file-000.bin")).expect("the first file");
        assert!(first == content(1, 0));
        assert_eq!(fs::read_dir(root.path()).expect("the directory").count(), FILES / IN_DIRECTORY);
    }
}
