//! Packages, really signed, and policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{CONTRACT, Capability};
use prost_kbr::AppId;
use prost_package::{
    Acknowledgement, Budgets, ComponentRef, Digest, Manifest, Package, Policy, ProviderKey, SignedManifest,
};

use crate::guest::Component;

/// A package in the making.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    provider: u8,
    pub(crate) manifest: Manifest,
    component: Bytes,
}

/// An application of provider 1 whose handlers do nothing by themselves.
pub(crate) fn draft(name: &str) -> Draft {
    let provider = ProviderKey::from_seed(&[1; 32]);
    let manifest = Manifest {
        format: 1,
        name: name.parse().unwrap(),
        provider: provider.public(),
        version: semver::Version::new(1, 0, 0),
        sequence: 1,
        component: ComponentRef { digest: Digest::of(b""), size: 0 },
        world: CONTRACT.to_owned(),
        capabilities: BTreeMap::from([(Capability::Route, "to send".to_owned())]),
        budgets: Budgets::default(),
        replicas: 1,
        acknowledgement: Acknowledgement::One,
        expires: None,
    };
    Draft { provider: 1, manifest, component: Bytes::new() }.component(&[], 0)
}

impl Draft {
    pub(crate) fn provider(mut self, number: u8) -> Draft {
        self.provider = number;
        self.manifest.provider = ProviderKey::from_seed(&[number; 32]).public();
        self
    }

    pub(crate) fn release(mut self, major: u64) -> Draft {
        self.manifest.version = semver::Version::new(major, 0, 0);
        self.manifest.sequence = major;
        self
    }

    /// What its handlers do, and how large it is at least.
    pub(crate) fn component(self, handlers: &[(&str, &str)], size: usize) -> Draft {
        self.bytes(Component::write(handlers, size))
    }

    pub(crate) fn bytes(mut self, component: Bytes) -> Draft {
        self.manifest.component = ComponentRef { digest: Digest::of(&component), size: component.len() as u64 };
        self.component = component;
        self
    }

    pub(crate) fn budgets(mut self, change: impl FnOnce(&mut Budgets)) -> Draft {
        change(&mut self.manifest.budgets);
        self
    }

    /// It asks for records, too.
    pub(crate) fn storing(mut self) -> Draft {
        self.manifest.capabilities.insert(Capability::Storage, "to keep".to_owned());
        self
    }

    pub(crate) fn app(&self) -> AppId {
        self.manifest.app()
    }

    pub(crate) fn sign(self) -> Package {
        let key = ProviderKey::from_seed(&[self.provider; 32]);
        Package::new(SignedManifest::sign(self.manifest, &key).unwrap(), self.component).unwrap()
    }
}

/// An application whose handlers do nothing by themselves.
pub(crate) fn plain(name: &str) -> Package {
    draft(name).sign()
}

pub(crate) fn app_of(package: &Package) -> AppId {
    package.manifest.manifest().app()
}

/// Everything, but not applications of this name.
pub(crate) fn all_but(name: &str) -> Arc<Policy> {
    policy(&format!("default = \"allow\"\n[[rule]]\neffect = \"deny\"\nprovider = \"*\"\napplication = \"{name}\"\n"))
}

pub(crate) fn policy(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(text).unwrap())
}
