//! What a demo did.

use core::fmt;
use std::path::PathBuf;

use prost_kbr::NodeId;
use serde::{Deserialize, Serialize};

use super::installs::Installed;
use super::moves::Moved;
use super::say::{count, size};
use super::upgrade::Upgraded;

/// What a demo did. As JSON, it is what `prost demo --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Nodes of the ring at the beginning.
    pub nodes: usize,
    /// Files that were stored.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that came back byte for byte.
    pub verified: usize,
    /// Files that came back byte for byte after the loss of a node.
    pub verified_after_kill: usize,
    /// The node that was killed.
    pub killed: NodeId,
    /// Seconds from the kill until every record had all its copies again.
    pub whole_after_kill_s: f64,
    /// What moved when a node joined.
    pub joined: Moved,
    /// What moved when one left.
    pub left: Moved,
    /// The upgrade of the application.
    pub upgraded: Upgraded,
    /// Who installed the application, in the order seen.
    pub installs: Vec<Installed>,
    /// Hops of lookups from the storing node.
    pub hops: Hops,
    /// Seconds that storing took.
    pub put_s: f64,
    /// Seconds that reading back took.
    pub get_s: f64,
    /// Seconds from the kill until every survivor knew its true neighbours again.
    pub healed_s: f64,
    /// Seconds that reading back took after the loss of a node.
    pub get_after_kill_s: f64,
    /// Seconds from the demo's start to its report.
    pub elapsed_s: f64,
    /// Seconds from the demo's start until the first file was stored.
    pub first_message_s: f64,
    /// Requests that were made again because the first attempt failed.
    pub retries: u64,
    /// Addresses of the living nodes' administration interfaces, where the ring runs on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub admin: Option<Vec<String>>,
    /// Files with their tokens, in the same order.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens: Option<Vec<PathBuf>>,
}

/// How far messages went.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Hops {
    /// On average.
    pub mean: f64,
    /// At most.
    pub max: u8,
}

impl Report {
    /// Files that did not come back byte for byte each time.
    pub(super) fn wrong(&self) -> usize {
        let Report { verified, verified_after_kill, joined, left, upgraded, .. } = self;
        let counts = [*verified, *verified_after_kill, joined.verified, left.verified, upgraded.verified];
        self.files - counts.into_iter().min().unwrap_or(0)
    }
}

impl Hops {
    /// Of these ways; zero where there are none.
    pub(super) fn of(hops: &[u8]) -> Hops {
        let sum: u64 = hops.iter().map(|hops| u64::from(*hops)).sum();
        let mean = if hops.is_empty() { 0.0 } else { sum as f64 / hops.len() as f64 };
        Hops { mean, max: hops.iter().copied().max().unwrap_or(0) }
    }
}

impl fmt::Display for Report {
    /// A summary for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = count(self.files, "file");
        writeln!(f, "{}, {files}, {}", count(self.nodes, "node"), size(self.bytes))?;
        writeln!(f, "  stored            in {:6.2} s  {}", self.put_s, rate(self.bytes, self.put_s))?;
        writeln!(f, "  read back         in {:6.2} s  {}", self.get_s, rate(self.bytes, self.get_s))?;
        let after = rate(self.bytes, self.get_after_kill_s);
        writeln!(f, "  after the kill    in {:6.2} s  {after}", self.get_after_kill_s)?;
        writeln!(f, "  ring healed       in {:6.2} s", self.healed_s)?;
        writeln!(f, "  copies whole      in {:6.2} s", self.whole_after_kill_s)?;
        for (what, moved) in [("a node joined", &self.joined), ("a node left", &self.left)] {
            let (seconds, bytes) = (moved.seconds, size(moved.bytes));
            writeln!(f, "  {what:17} in {seconds:6.2} s  {bytes} of records, {} copies moved", moved.copies)?;
        }
        writeln!(f, "  hops              {:.2} on average, {} at most", self.hops.mean, self.hops.max)?;
        let given = self.installs.iter().filter(|install| install.peer.is_none()).count();
        let fetched = self.installs.len() - given;
        writeln!(f, "  application       given to {}, fetched by {}", count(given, "node"), count(fetched, "node"))?;
        let Upgraded { version, nodes, of, .. } = &self.upgraded;
        writeln!(f, "  upgraded          to {version} on {nodes} of {}", count(*of, "node"))?;
        writeln!(f, "  byte for byte     {} of {files}", self.verified)?;
        writeln!(f, "  after the kill    {} of {files}", self.verified_after_kill)?;
        writeln!(f, "  after the join    {} of {files}", self.joined.verified)?;
        writeln!(f, "  after the leave   {} of {files}", self.left.verified)?;
        write!(f, "  after the upgrade {} of {files}", self.upgraded.verified)
    }
}

fn rate(bytes: u64, seconds: f64) -> String {
    if seconds > 0.0 { format!("{}/s", size((bytes as f64 / seconds) as u64)) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Moved {
        Moved { node: NodeId::hash(b"moved"), copies: 9, bytes: 4096, seconds: 3.0, verified: 2 }
    }

    #[test]
    fn a_file_that_was_wrong_once_counts() {
        assert_eq!(report().wrong(), 0);
        assert_eq!(Report { verified_after_kill: 1, ..report() }.wrong(), 1);
        assert_eq!(Report { left: Moved { verified: 0, ..moved() }, ..report() }.wrong(), 2);
        assert_eq!(Report { upgraded: Upgraded { verified: 1, ..report().upgraded }, ..report() }.wrong(), 1);
    }

    fn report() -> Report {
        Report {
            nodes: 3,
            files: 2,
            bytes: 2048,
            verified: 2,
            verified_after_kill: 2,
            killed: NodeId::hash(b"killed"),
            whole_after_kill_s: 1.5,
            joined: moved(),
            left: moved(),
            upgraded: Upgraded { version: "0.2.1".to_owned(), nodes: 2, of: 3, verified: 2 },
            installs: vec![Installed {
                node: NodeId::hash(b"node"),
                app: "dht@00".to_owned(),
                version: "0.2.0".to_owned(),
                from: "previous-hop".to_owned(),
                peer: Some(NodeId::hash(b"peer")),
                bytes: 7,
                ms: 8,
            }],
            hops: Hops::of(&[0, 1, 2]),
            put_s: 1.0,
            get_s: 2.0,
            healed_s: 0.1,
            get_after_kill_s: 2.5,
            elapsed_s: 9.0,
            first_message_s: 0.5,
            retries: 0,
            admin: None,
            tokens: None,
        }
    }

    #[test]
    fn the_report_is_one_json_object_with_plain_ids() {
        let json = serde_json::to_value(report()).expect("it can be encoded");

        assert_eq!(json["hops"], serde_json::json!({ "mean": 1.0, "max": 2 }));
        let install = &json["installs"][0];
        assert_eq!(install["from"], "previous-hop");
        assert_eq!(install["node"], NodeId::hash(b"node").to_string());
        for field in ["nodes", "files", "bytes", "verified", "verified_after_kill", "put_s", "get_s", "elapsed_s"] {
            assert!(json[field].is_number(), "{field}");
        }
        assert_eq!(json.get("admin"), None);
    }

    #[test]
    fn a_ring_that_runs_on_says_where() {
        let admin = Some(vec!["http://127.0.0.1:1".to_owned()]);
        let tokens = Some(vec![PathBuf::from("/tmp/node-0/admin.token")]);
        let json = serde_json::to_value(Report { admin, tokens, ..report() }).expect("it can be encoded");

        assert_eq!(json["admin"], serde_json::json!(["http://127.0.0.1:1"]));
        assert_eq!(json["tokens"], serde_json::json!(["/tmp/node-0/admin.token"]));
    }

    #[test]
    fn the_summary_tells_what_counts() {
        let text = report().to_string();

        assert!(text.starts_with("3 nodes, 2 files, 2.0 KiB\n"), "{text}");
        assert!(text.contains("fetched by 1 node"), "{text}");
        assert!(text.ends_with("2 of 2 files"), "{text}");
    }

    #[test]
    fn no_ways_have_no_hops() {
        assert_eq!(Hops::of(&[]), Hops::default());
    }
}
