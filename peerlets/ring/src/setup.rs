//! What a ring is to be like.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use prost_contract::{CONTRACT, Capability};
use prost_package::manifest::{Acknowledgement, ComponentRef};
use prost_package::{Budgets, Digest, Manifest, Package, ProviderKey, SignedManifest};
use prost_sim::latency::parse;

/// How far nodes are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// The same round-trip time between all.
    Flat(Duration),
    /// Hosts of PlanetLab; where there are more nodes than the 490 hosts, several are on one.
    PlanetLab,
}

impl Latency {
    pub(crate) fn model(self, seed: u64) -> Arc<dyn prost_sim::Latency> {
        let name = match self {
            Latency::Flat(time) => format!("fixed:{}us", time.as_micros()),
            Latency::PlanetLab => "planetlab".to_owned(),
        };
        parse(&name, seed).expect("a model that is there")
    }
}

/// A ring, and the package of the peerlet on it.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The application's name.
    pub name: &'static str,
    /// How many nodes.
    pub nodes: u32,
    /// Decides everything that happens.
    pub seed: u64,
    /// How far they are from each other.
    pub latency: Latency,
    /// How long the ring rests once it is ideal, so that its fingers settle.
    pub rest: Duration,
    /// Whether the package is installed on all nodes at the start, or on the first and then by messages.
    pub everywhere: bool,
    /// Copies of each keyed record.
    pub replicas: u8,
    /// How many of them acknowledge a write.
    pub acknowledgement: Acknowledgement,
    /// What the package asks for.
    pub budgets: Budgets,
    /// The routing layer.
    pub routing: prost_kbr::Config,
}

impl Setup {
    /// Sixteen nodes, 40 ms from each other.
    pub fn new(name: &'static str) -> Setup {
        Setup {
            name,
            nodes: 16,
            seed: 1,
            latency: Latency::Flat(Duration::from_millis(40)),
            rest: Duration::from_secs(10),
            everywhere: true,
            replicas: 3,
            acknowledgement: Acknowledgement::Majority,
            budgets: Budgets::default(),
            routing: prost_kbr::Config::default(),
        }
    }

    pub(crate) fn package(&self) -> Package {
        let key = ProviderKey::from_seed(&[7; 32]);
        // Any bytes do: what runs is the Rust type. Their number is the time that the code takes to travel.
        let component = vec![0; 100_000];
        let capabilities = Capability::ALL.iter().map(|capability| (*capability, "in a test".to_owned()));
        let manifest = Manifest {
            format: 1,
            name: self.name.parse().expect("an application's name"),
            provider: key.public(),
            version: semver::Version::new(0, 1, 0),
            sequence: 1,
            component: ComponentRef { digest: Digest::of(&component), size: component.len() as u64 },
            world: CONTRACT.to_owned(),
            capabilities: capabilities.collect::<BTreeMap<_, _>>(),
            budgets: self.budgets.clone(),
            replicas: self.replicas,
            acknowledgement: self.acknowledgement,
            expires: None,
        };
        let manifest = SignedManifest::sign(manifest, &key).expect("a proper manifest");
        Package::new(manifest, component.into()).expect("a manifest of this component")
    }
}
