//! What each node needs before it starts: a directory with key, certificate and policy.

use core::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use prost_certs::{CA_CERTIFICATE, CertificateAuthority, NODE_CERTIFICATE, NODE_KEY, UnixTime, Validity};
use prost_contract::Capability;
use prost_package::{Budgets, ProviderKey, Resources};
use ring::rand::{SecureRandom, SystemRandom};

use super::RING;
use super::error::DemoError;
use crate::standard::Standard;

/// Name of a node's policy file in its directory.
pub(super) const POLICY: &str = "policy.toml";
/// How long the demo's certificates are valid, in days.
const DAYS: u32 = 30;

/// Makes a ring's authority, and for each node a directory with what it needs. The authority's key is kept nowhere.
pub(super) fn nodes(root: &Path, count: usize, policy: &str) -> Result<Vec<PathBuf>, DemoError> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let validity = Validity::days(UnixTime::since_unix_epoch(since), DAYS);
    let authority = CertificateAuthority::generate(RING, validity)?;
    (0..count).map(|i| node(root, &name(i), &authority, validity, policy)).collect()
}

/// What a node is called in certificates, logs and directories.
pub(super) fn name(i: usize) -> String {
    format!("node-{i}")
}

/// A policy that lets this provider's application run, and nothing else.
pub(super) fn policy(provider: &ProviderKey, application: &Standard) -> String {
    let capabilities: Vec<Capability> = application.capabilities.iter().map(|(name, _)| *name).collect();
    policy_for(provider, application.name, &capabilities, &application.budgets())
}

/// The same for any application, with these capabilities and within these budgets.
pub(super) fn policy_for(
    provider: &ProviderKey,
    application: &str,
    capabilities: &[Capability],
    budgets: &Budgets,
) -> String {
    let capabilities: Vec<String> = capabilities.iter().map(|name| format!("\"{name}\"")).collect();
    let mut text = "default = \"deny\"\n\n[node]\n".to_owned();
    for (name, number) in Resources::default_totals().max(&Resources::of(budgets)).named() {
        writeln!(text, "{name} = {number}").expect("text can be written to");
    }
    write!(
        text,
        "\n[[rule]]\neffect = \"allow\"\nprovider = \"{}\"\napplication = \"{}\"\n\
         capabilities = [{}]\n\n[rule.budgets]\n",
        hex::encode(provider.public()),
        application,
        capabilities.join(", "),
    )
    .expect("text can be written to");
    for (name, number) in budgets.named() {
        writeln!(text, "{name} = {number}").expect("text can be written to");
    }
    text
}

/// The key of a provider that nobody has met.
pub(super) fn provider() -> Result<ProviderKey, DemoError> {
    let mut seed = [0; 32];
    let no_randomness = |_| DemoError::System { what: "get random numbers", error: io::Error::other("no randomness") };
    SystemRandom::new().fill(&mut seed).map_err(no_randomness)?;
    Ok(ProviderKey::from_seed(&seed))
}

fn node(
    root: &Path,
    name: &str,
    authority: &CertificateAuthority,
    validity: Validity,
    policy: &str,
) -> Result<PathBuf, DemoError> {
    let dir = root.join(name);
    let cannot = |error| DemoError::System { what: "prepare a node's directory", error };
    DirBuilder::new().mode(0o700).create(&dir).map_err(cannot)?;
    let identity = authority.issue(name, validity)?;
    identity.save(&dir.join(NODE_CERTIFICATE), &dir.join(NODE_KEY))?;
    fs::write(dir.join(CA_CERTIFICATE), authority.certificate_pem()).map_err(cannot)?;
    fs::write(dir.join(POLICY), policy).map_err(cannot)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use prost_certs::{Admission, Identity};
    use prost_package::{Decision, Policy};

    use super::*;
    use crate::standard::DHT;

    #[test]
    fn the_policy_lets_the_application_have_all_that_it_asks_for_and_runs_no_other() {
        let (ours, other) = (ProviderKey::from_seed(&[1; 32]), ProviderKey::from_seed(&[2; 32]));
        let policy = Policy::parse(&policy(&ours, &DHT)).expect("it is a policy");

        let package = DHT.package(&ours);
        let manifest = package.manifest.manifest();
        let Decision::Allow { grant, .. } = policy.decide(manifest) else { panic!("it must be allowed") };
        assert!(manifest.capabilities.keys().all(|asked| grant.capabilities.contains(asked)));
        assert_eq!(grant.budgets, manifest.budgets);
        let stranger = DHT.package(&other);
        assert!(matches!(policy.decide(stranger.manifest.manifest()), Decision::Deny { .. }));
    }

    #[test]
    fn each_node_gets_an_identity_of_one_ring() {
        let root = tempfile::tempdir().expect("a directory");

        let dirs = nodes(root.path(), 3, "default = \"deny\"").expect("they are made");

        let admission = Admission::load_closed(&dirs[0].join(CA_CERTIFICATE)).expect("an authority");
        let id = |dir: &PathBuf| {
            let identity = Identity::load(&dir.join(NODE_CERTIFICATE), &dir.join(NODE_KEY)).expect("an identity");
            identity.node_id(&admission).expect("a place on the ring")
        };
        let mut ids: Vec<_> = dirs.iter().map(id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3);
    }
}
