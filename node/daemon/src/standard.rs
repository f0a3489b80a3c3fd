//! The standard peerlets, which every `prost` carries with it.

use bytes::Bytes;
use prost_contract::{CONTRACT, Capability};
use prost_kbr::AppName;
use prost_package::manifest::{Acknowledgement, ComponentRef};
use prost_package::{Budgets, Digest, Manifest, Package, ProviderKey, SignedManifest};
use semver::Version;

/// A component that was compiled together with this program.
#[derive(Debug, Clone, Copy)]
pub struct Standard {
    /// The application's name.
    pub name: &'static str,
    /// Version of the code: major, minor, patch.
    pub version: (u64, u64, u64),
    /// The component.
    pub component: &'static [u8],
    /// What it asks for, and why.
    pub capabilities: &'static [(Capability, &'static str)],
    /// Copies of each record, the owner's included.
    pub replicas: u8,
    /// When a keyed write counts as done.
    pub acknowledgement: Acknowledgement,
}

/// Values at ring keys: put, get, remove, list.
pub const DHT: Standard = Standard {
    name: "dht",
    version: (0, 3, 0),
    component: include_bytes!(concat!(env!("PROST_PEERLETS_DIR"), "/dht.wasm")),
    capabilities: &[
        (Capability::Route, "finds the nodes that hold a value"),
        (Capability::Storage, "keeps the values"),
        (Capability::Timer, "asks again where no answer comes"),
        (Capability::Client, "answers programs on the node's machine"),
        (Capability::Log, "tells what goes wrong"),
    ],
    replicas: 3,
    acknowledgement: Acknowledgement::Majority,
};

/// Blocks that prove themselves, and files of them.
pub const CFS: Standard = Standard {
    name: "cfs",
    version: (0, 1, 0),
    component: include_bytes!(concat!(env!("PROST_PEERLETS_DIR"), "/cfs.wasm")),
    capabilities: &[
        (Capability::Route, "finds the nodes that hold a block"),
        (Capability::Storage, "keeps the blocks"),
        (Capability::Timer, "asks again where no answer comes, and counts what publishers have"),
        (Capability::Client, "answers programs on the node's machine"),
        (Capability::Identity, "signs which blocks this node wants kept"),
        (Capability::Log, "tells what goes wrong"),
    ],
    replicas: 3,
    // What a publisher is told is kept must survive the loss of any two.
    acknowledgement: Acknowledgement::All,
};

/// A stream from one node to many, P2PTV v1.9.
pub const P2PTV: Standard = Standard {
    name: "p2ptv",
    version: (1, 9, 0),
    component: include_bytes!(concat!(env!("PROST_PEERLETS_DIR"), "/p2ptv.wasm")),
    capabilities: &[
        (Capability::Route, "passes segments on, and adds receivers along the path"),
        (Capability::Storage, "notes whom a channel belongs to"),
        (Capability::Timer, "asks for what is missing"),
        (Capability::Client, "takes segments from the source's program, and gives them to those that watch"),
        (Capability::Identity, "signs segments, so that relays cannot forge them"),
        (Capability::Log, "tells what goes wrong"),
    ],
    replicas: 3,
    acknowledgement: Acknowledgement::Majority,
};

/// Messages to groups: create, join, publish, anycast.
pub const SCRIBE: Standard = Standard {
    name: "scribe",
    version: (0, 1, 0),
    component: include_bytes!(concat!(env!("PROST_PEERLETS_DIR"), "/scribe.wasm")),
    capabilities: &[
        (Capability::Route, "brings messages from node to node"),
        (Capability::Storage, "keeps the rules of groups"),
        (Capability::Timer, "sees that parents and children are there"),
        (Capability::Client, "answers programs on the node's machine"),
        (Capability::Identity, "signs messages, and tells who signed them"),
        (Capability::Log, "tells what goes wrong"),
    ],
    replicas: 5,
    acknowledgement: Acknowledgement::Majority,
};

/// The Internet Indirection Infrastructure: packets to names.
pub const I3: Standard = Standard {
    name: "i3",
    version: (0, 1, 0),
    component: include_bytes!(concat!(env!("PROST_PEERLETS_DIR"), "/i3.wasm")),
    capabilities: &[
        (Capability::Route, "passes packets on to whoever listens"),
        (Capability::Timer, "refreshes triggers"),
        (Capability::Client, "answers programs on the node's machine"),
        (Capability::Log, "tells what goes wrong"),
    ],
    replicas: 1,
    acknowledgement: Acknowledgement::One,
};

/// Every one of them.
pub const STANDARD: [Standard; 5] = [DHT, CFS, I3, SCRIBE, P2PTV];

impl Standard {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Standard> {
        STANDARD.into_iter().find(|standard| standard.name == name)
    }

    /// What the application asks for. A node's policy can grant less.
    pub fn budgets(&self) -> Budgets {
        Budgets {
            storage_bytes: 64 << 30,
            messages_per_second: 100_000,
            bytes_per_second: 1 << 30,
            written_bytes_per_second: 1 << 30,
            fuel_per_second: 20_000_000_000,
            ..Budgets::default()
        }
    }

    /// The package, signed by this provider.
    pub fn package(&self, key: &ProviderKey) -> Package {
        self.sign(key, self.version, Bytes::from_static(self.component))
    }

    /// A package of the next version: the same code, in a component with another digest.
    pub fn next_package(&self, key: &ProviderKey) -> Package {
        let (major, minor, patch) = self.version;
        // A custom section, which an engine passes over: id 0, its length, the length of its name, the name.
        let component = [self.component, &[0, 5, 4], b"next"].concat();
        self.sign(key, (major, minor, patch + 1), component.into())
    }

    fn sign(&self, key: &ProviderKey, (major, minor, patch): (u64, u64, u64), component: Bytes) -> Package {
        let manifest = Manifest {
            format: 1,
            name: AppName::try_from(self.name.to_owned()).expect("a standard peerlet has a proper name"),
            provider: key.public(),
            version: Version::new(major, minor, patch),
            sequence: 1,
            component: ComponentRef { digest: Digest::of(&component), size: component.len() as u64 },
            world: CONTRACT.to_owned(),
            capabilities: self.capabilities.iter().map(|(asked, why)| (*asked, (*why).to_owned())).collect(),
            budgets: self.budgets(),
            replicas: self.replicas,
            acknowledgement: self.acknowledgement,
            expires: None,
        };
        let manifest = SignedManifest::sign(manifest, key).expect("a standard peerlet's manifest is proper");
        Package::new(manifest, component).expect("the manifest was made for this component")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_package_of_a_standard_peerlet_is_whole_and_its_provider_the_signer() {
        let key = ProviderKey::from_seed(&[7; 32]);

        let package = DHT.package(&key);

        let read = Package::decode(package.encode().into()).expect("it is a package");
        assert_eq!(read.manifest.manifest().provider, key.public());
        assert_eq!(read.manifest.manifest().name.as_str(), "dht");
    }

    #[test]
    fn the_next_version_is_a_component_of_its_own_that_does_the_same() {
        let key = ProviderKey::from_seed(&[7; 32]);
        let (now, next) = (DHT.package(&key), DHT.next_package(&key));

        let (old, new) = (now.manifest.manifest(), next.manifest.manifest());
        assert!(new.version > old.version && new.component.digest != old.component.digest);
        let (was, is) = (prost_sandbox::inspect(&now.component), prost_sandbox::inspect(&next.component));
        assert_eq!(is.expect("it is a component"), was.expect("it is a component"));
    }

    #[test]
    fn it_asks_for_what_its_component_imports_and_no_more() {
        for standard in STANDARD {
            let imports = prost_sandbox::inspect(standard.component).expect("it is a component");

            let asked: BTreeSet<_> = standard.capabilities.iter().map(|(capability, _)| *capability).collect();

            assert_eq!(asked, imports.capabilities.iter().copied().collect(), "{}", standard.name);
        }
    }
}
