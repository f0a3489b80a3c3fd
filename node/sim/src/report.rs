//! What a simulation has measured.

mod distribution;
mod peerlet;
mod series;

use serde::{Deserialize, Serialize};

pub use distribution::{Distribution, Summary};
pub use peerlet::{Calls, Fuel, Messages, PeerletReport};
pub use series::{AppSeries, Load, Mark, Second, Series};

/// The outcome of a simulation: what `prost sim --json` prints.
///
/// Everything but `wall_s` follows from the options and the seed. A summary is null where nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Nodes that the scenario asked for.
    pub nodes: u32,
    /// What everything follows from.
    pub seed: u64,
    /// Virtual time from the start to the end, in seconds.
    pub virtual_s: f64,
    /// Time that the simulation took, in seconds.
    pub wall_s: f64,
    /// Events that were handled.
    pub events: u64,
    /// How lookups ended.
    pub lookups: Lookups,
    /// Hops of the lookups that were answered.
    pub hops: Option<Summary>,
    /// Time of the lookups that were answered, from asking to the answer, in milliseconds.
    pub latency_ms: Option<Summary>,
    /// Mean time of a lookup over the mean direct round trip.
    pub stretch_mean: Option<f64>,
    /// Open connections of the nodes that live at the end.
    pub connections: Option<Summary>,
    /// Bytes that a node sends to keep the ring, a second.
    pub maintenance_bytes_per_node_s: f64,
    /// Bytes of handshakes that a node sends, a second.
    pub handshake_bytes_per_node_s: f64,
    /// Rules that were broken.
    pub violations: Vec<Violation>,
    /// Whether each member knew its true neighbours at the end.
    pub ideal_ring: bool,
    /// Seconds from the fault, or from its end, until all was right again; null where there was no such fault or no
    /// such moment.
    pub heal_s: Option<f64>,
    /// The application that was on the ring; left out where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peerlet: Option<PeerletReport>,
    /// The nodes that lied; left out where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byzantine: Option<Byzantine>,
    /// The hash of everything that happened, in hexadecimal digits.
    pub trace_hash: String,
    /// All options, those that follow from the seed included.
    pub options: serde_json::Value,
}

/// How lookups ended, of those asked while it was measured by nodes that lived until the end of the lookup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookups {
    /// Asked.
    pub asked: u64,
    /// Ended with an owner before the deadline.
    pub answered: u64,
    /// Ended with a node that was responsible at some instant of the lookup.
    pub correct: u64,
    /// Ended with the owner that most of those who asked for the key at once were told (Rhea, Geels, Roscoe,
    /// Kubiatowicz, USENIX 2004, section 3).
    pub consistent: u64,
    /// Ended with a failure.
    pub failed: u64,
}

/// The nodes that lied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Byzantine {
    /// How many.
    pub nodes: u64,
    /// How the lookups of the key ended that Sybil nodes gathered behind; null for other kinds.
    pub mined_key: Option<Lookups>,
}

/// A rule that was broken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule's name.
    pub rule: String,
    /// Virtual time, in seconds.
    pub time: f64,
    /// The node; null where the rule is about several.
    pub node: Option<u32>,
    /// What was seen.
    pub text: String,
}

impl Lookups {
    /// A count as a share of the lookups that were asked; 1 where none was.
    pub fn share(&self, count: u64) -> f64 {
        if self.asked == 0 { 1.0 } else { count as f64 / self.asked as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_names_that_programs_read() {
        let report = Report { hops: Distribution::new([1.0, 2.0]).summary(), ..Report::default() };
        let json = serde_json::to_value(&report).expect("JSON");
        let names = "scenario nodes seed virtual_s wall_s events lookups hops latency_ms stretch_mean connections \
                     maintenance_bytes_per_node_s handshake_bytes_per_node_s violations ideal_ring heal_s trace_hash options";
        for name in names.split_whitespace() {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json["hops"], serde_json::json!({"mean": 1.5, "p50": 1.0, "p99": 2.0, "max": 2.0}));
        assert_eq!(json["latency_ms"], serde_json::Value::Null);
        assert_eq!(json["lookups"]["consistent"], 0);
        assert_eq!(serde_json::from_value::<Report>(json).expect("a report"), report);
    }

    #[test]
    fn nothing_asked_is_nothing_missed() {
        assert!((Lookups::default().share(0) - 1.0).abs() < f64::EPSILON);
        assert!((Lookups { asked: 4, ..Lookups::default() }.share(3) - 0.75).abs() < f64::EPSILON);
    }
}
