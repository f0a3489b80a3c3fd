//! What travels between nodes when an application is installed, and the policy that decides whether it may be.
//!
//! A [`Package`] is a signed manifest and a component. The manifest is self-certifying: it names its provider's key
//! and is signed with it, so it can come from anyone. The [`Policy`] is the operator's word on who may run what.
//!
//! Everything here is a function of its arguments: no clock, no disk, no network.

pub mod address;
pub mod chunks;
pub mod digest;
pub mod envelope;
pub mod key;
pub mod locator;
pub mod manifest;
pub mod package;
pub mod piece;
pub mod policy;
pub mod resources;
pub mod url;

pub use chunks::Chunks;
pub use digest::{BadDigest, Digest};
pub use envelope::SignedManifest;
pub use key::ProviderKey;
pub use locator::{Locator, LocatorError};
pub use manifest::{Acknowledgement, Budgets, ComponentRef, Manifest, ManifestError};
pub use package::{Package, PackageError};
pub use piece::Piece;
pub use policy::{Decision, Grant, Policy, PolicyError};
pub use resources::{Resource, Resources};
pub use url::{Authority, Host, Url};
