//! The manifest: what a provider says of one version of an application.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use prost_contract::{Capability, Limits, MAX_COPIES};
use prost_kbr::{AppId, AppName};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::envelope::SignedManifest;
use crate::package::Package;

/// Version of the manifest format.
const FORMAT: u8 = 1;
/// Longest version, in bytes.
const MAX_VERSION: usize = 64;
/// Longest name of a world, in bytes.
const MAX_WORLD: usize = 64;
/// Longest reason why a capability is asked for, in bytes.
const MAX_REASON: usize = 256;

/// The component that a manifest speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentRef {
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// When a keyed write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acknowledgement {
    /// On the owner.
    One,
    /// On most of the replicas.
    Majority,
    /// On all of them.
    All,
}

/// What an application asks for, or is granted, in all. Every number is at least 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Bytes of linear memory and tables.
    pub memory_bytes: u64,
    /// Bytes of records.
    pub storage_bytes: u64,
    /// Fuel of one event.
    pub fuel_per_event: u64,
    /// Fuel a second, over ten seconds.
    pub fuel_per_second: u64,
    /// Messages a second that it may send, over ten seconds.
    pub messages_per_second: u64,
    /// Payload bytes a second that it may send, over ten seconds.
    pub bytes_per_second: u64,
    /// Bytes a second that its own events may write into records, over two seconds. What a package does not say is what
    /// [`Budgets::default`] says.
    #[serde(default = "default_written")]
    pub written_bytes_per_second: u64,
    /// Timers set at once.
    pub timers: u32,
    /// Events that may wait for it.
    pub queue: u32,
}

/// Measured (docs/performance.md): beside an application that writes as much as this lets it, another one loses less than
/// a tenth of its reads and writes; with twice as much it lost a fifth of its reads.
const fn default_written() -> u64 {
    4 << 20
}

impl Default for Budgets {
    /// What one event may take is what [`Limits::default`] says; the rates are ten full events a second, and traffic
    /// that a busy application seldom reaches.
    fn default() -> Budgets {
        let limits = Limits::default();
        Budgets {
            memory_bytes: limits.memory_bytes,
            storage_bytes: limits.storage_bytes,
            fuel_per_event: limits.fuel,
            fuel_per_second: 10 * limits.fuel,
            messages_per_second: 5_000,
            bytes_per_second: 64 << 20,
            written_bytes_per_second: default_written(),
            timers: 256,
            queue: 4096,
        }
    }
}

impl Budgets {
    /// The lower of the two, number by number.
    #[must_use]
    pub fn min(&self, other: &Budgets) -> Budgets {
        Budgets {
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
            storage_bytes: self.storage_bytes.min(other.storage_bytes),
            fuel_per_event: self.fuel_per_event.min(other.fuel_per_event),
            fuel_per_second: self.fuel_per_second.min(other.fuel_per_second),
            messages_per_second: self.messages_per_second.min(other.messages_per_second),
            bytes_per_second: self.bytes_per_second.min(other.bytes_per_second),
            written_bytes_per_second: self.written_bytes_per_second.min(other.written_bytes_per_second),
            timers: self.timers.min(other.timers),
            queue: self.queue.min(other.queue),
        }
    }

    /// Every number with its name, in the order of the fields.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("memory_bytes", self.memory_bytes),
            ("storage_bytes", self.storage_bytes),
            ("fuel_per_event", self.fuel_per_event),
            ("fuel_per_second", self.fuel_per_second),
            ("messages_per_second", self.messages_per_second),
            ("bytes_per_second", self.bytes_per_second),
            ("written_bytes_per_second", self.written_bytes_per_second),
            ("timers", self.timers.into()),
            ("queue", self.queue.into()),
        ]
    }
}

/// What a provider says of one version of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub format: u8,
    /// The application's name.
    pub name: AppName,
    /// The provider's Ed25519 public key, which signs this.
    #[serde(with = "serde_bytes")]
    pub provider: [u8; 32],
    /// Version of the code; at most 64 bytes as text.
    pub version: semver::Version,
    /// Rises with each release: see [`is_before`](Manifest::is_before).
    pub sequence: u64,
    /// The code.
    pub component: ComponentRef,
    /// The WIT world it was built for, e.g. `prost:peerlet@0.1.0`; at most 64 bytes.
    pub world: String,
    /// The capabilities it asks for, and why: one line of at most 256 bytes each.
    #[serde(deserialize_with = "without_duplicates")]
    pub capabilities: BTreeMap<Capability, String>,
    /// The budgets it asks for.
    pub budgets: Budgets,
    /// Copies of each keyed record, the owner's included: 1 to 16.
    pub replicas: u8,
    /// When a keyed write counts as done.
    pub acknowledgement: Acknowledgement,
    /// Not to be installed after this, in seconds since 1970; none for ever.
    pub expires: Option<u64>,
}

impl Manifest {
    /// The application.
    pub fn app(&self) -> AppId {
        AppId { provider: self.provider, name: self.name.clone() }
    }

    /// Whether it is too late to install it, `now` being in seconds since 1970.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|last| now > last)
    }

    /// Whether the other release of the same application comes after this one: by sequence, and where that is the same by
    /// version. What comes after replaces what came before, and not the other way round.
    pub fn is_before(&self, other: &Manifest) -> bool {
        (self.sequence, &self.version) < (other.sequence, &other.version)
    }

    /// Whether this and the other give one version of one application to different code. Whoever signed both tells
    /// different nodes different things (equivocation): neither takes the place of the other.
    pub fn contradicts(&self, other: &Manifest) -> bool {
        self.app() == other.app() && self.version == other.version && self.component.digest != other.component.digest
    }

    /// Deterministic CBOR: the fields in their order, the capabilities in theirs, every length definite.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_cbor::to_vec(self).expect("numbers, texts and maps of them are always encoded")
    }

    /// Reads what a provider signed; its fields' ranges are not yet checked.
    pub(crate) fn decode(payload: &[u8]) -> Result<Manifest, ManifestError> {
        serde_cbor::from_slice(payload).map_err(|error| ManifestError::Malformed(printable(&error.to_string())))
    }

    /// The range of every field whose type does not already say it.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let in_range = |field, good, problem: &str| {
            if good { Ok(()) } else { Err(ManifestError::Field { field, problem: problem.to_owned() }) }
        };
        in_range("format", self.format == FORMAT, "is not 1")?;
        in_range("name", !self.name.is_reserved(), "begins with '.', as only the node's own do")?;
        in_range("version", self.version.to_string().len() <= MAX_VERSION, "is longer than 64 bytes")?;
        let size = self.component.size;
        in_range("component", (1..=Package::MAX_COMPONENT).contains(&size), "is empty or larger than 24 MiB")?;
        in_range("world", is_world(&self.world), "is not 1 to 64 characters of a-z, 0-9, ':', '/', '@', '.' and '-'")?;
        for reason in self.capabilities.values() {
            in_range("capabilities", reason.len() <= MAX_REASON, "have a reason longer than 256 bytes")?;
            in_range("capabilities", !reason.chars().any(is_unprintable), "have a reason that is not one plain line")?;
        }
        for (name, budget) in self.budgets.named() {
            in_range("budgets", budget > 0, &format!("have 0 for {name}"))?;
        }
        in_range("replicas", (1..=MAX_COPIES).contains(&usize::from(self.replicas)), "are not 1 to 16")
    }
}

/// A map whose keys must differ: where one stands twice, readers would disagree about what was signed.
fn without_duplicates<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<Capability, String>, D::Error> {
    struct Capabilities;

    impl<'de> Visitor<'de> for Capabilities {
        type Value = BTreeMap<Capability, String>;

        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("a map of capabilities and reasons")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((capability, reason)) = input.next_entry()? {
                match map.entry(capability) {
                    Entry::Vacant(place) => place.insert(reason),
                    Entry::Occupied(_) => return Err(A::Error::custom("a capability is asked for twice")),
                };
            }
            Ok(map)
        }
    }

    input.deserialize_map(Capabilities)
}

fn is_world(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":/@.-".contains(&byte);
    (1..=MAX_WORLD).contains(&text.len()) && text.bytes().all(legal)
}

/// Characters that would let a provider's text rule a terminal: controls, and what changes the direction or the
/// joining of text (Unicode 15.1, general category Cf, the general punctuation block; and line separators).
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A decoder's words, which may repeat what the input says: short, and on one line.
fn printable(text: &str) -> String {
    const MAX: usize = 160;
    text.chars().map(|character| if is_unprintable(character) { '?' } else { character }).take(MAX).collect()
}

/// Why an envelope is not a manifest to believe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Longer than [`SignedManifest::MAX`].
    #[error("the manifest is {0} bytes long, more than the {max} allowed", max = SignedManifest::MAX)]
    TooLarge(usize),
    /// Not a COSE_Sign1 envelope with a manifest in it.
    #[error("the manifest is malformed: {0}")]
    Malformed(String),
    /// The signature is not the provider's over these bytes.
    #[error("the manifest's signature is wrong")]
    BadSignature,
    /// The key is not an Ed25519 key, or not the provider's.
    #[error("the key is not the provider's Ed25519 key")]
    BadKey,
    /// A field is out of its range.
    #[error("the manifest's {field} {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}
