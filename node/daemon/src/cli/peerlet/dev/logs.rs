//! What an application logs, on all nodes of a ring.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Most of a log that is read at a look, in bytes.
const MAX_READ: u64 = 256 << 10;

/// The logs of a ring's nodes, from their beginning on.
#[derive(Debug)]
pub(super) struct Logs {
    /// What a line of the application has in it.
    mark: String,
    nodes: Vec<Log>,
}

#[derive(Debug)]
struct Log {
    node: String,
    path: PathBuf,
    read: u64,
    /// The beginning of a line whose end has not been written yet.
    rest: Vec<u8>,
}

impl Logs {
    /// The logs of these nodes, by name and file.
    pub(super) fn new(application: &str, nodes: impl IntoIterator<Item = (String, PathBuf)>) -> Logs {
        let nodes = nodes.into_iter().map(|(node, path)| Log { node, path, read: 0, rest: Vec::new() });
        Logs { mark: format!(" peerlet={application}"), nodes: nodes.collect() }
    }

    /// What the application has logged since the last look, with the node's name.
    pub(super) fn new_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for log in &mut self.nodes {
            for line in log.new_lines() {
                if let Some(said) = said(&line, &self.mark) {
                    lines.push(format!("{}  {said}", log.node));
                }
            }
        }
        lines
    }
}

impl Log {
    fn new_lines(&mut self) -> Vec<String> {
        let mut bytes = std::mem::take(&mut self.rest);
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.take(MAX_READ).read_to_end(&mut bytes)
        });
        self.read += read.unwrap_or(0) as u64;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes.split_off(end);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

/// The level and the text of a line of this application: `TIME LEVEL TARGET: TEXT peerlet=NAME`.
fn said(line: &str, mark: &str) -> Option<String> {
    let text = line.strip_suffix(mark)?;
    let (_, text) = text.trim_start().split_once(' ')?;
    let (level, text) = text.trim_start().split_once(' ')?;
    let text = text.split_once(": ").map_or(text, |(_, text)| text);
    Some(format!("{level:<5} {text}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_of_the_application_are_told_once_and_whole() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let mut logs = Logs::new("greeter", [("node-0".to_owned(), file.path().to_owned())]);
        assert!(logs.new_lines().is_empty());
        write!(
            file,
            "2026-01-01T00:00:00Z  INFO prost_node::driver: joined the ring\n\
                      2026-01-01T00:00:00Z  WARN prost_node::driver: a: b peerlet=greeter\n\
                      2026-01-01T00:00:00Z  INFO prost_node::driver: hel"
        )
        .expect("room");
        assert_eq!(logs.new_lines(), ["node-0  WARN  a: b"]);
        writeln!(file, "lo peerlet=greeter").expect("room");
        writeln!(file, "2026-01-01T00:00:00Z  INFO prost_node::driver: not mine peerlet=greeter2").expect("room");
        assert_eq!(logs.new_lines(), ["node-0  INFO  hello"]);
        assert!(logs.new_lines().is_empty());
    }
}
