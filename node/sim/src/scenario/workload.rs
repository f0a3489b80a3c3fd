//! What is asked of an application while a scenario is played.

use std::fmt;
use std::str::FromStr;

use prost_contract::Limits;
use prost_kbr::Dispatch;
use prost_package::{Package, Policy, Resources};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::options::{Options, within};
use super::template::{Template, TemplateError};
use crate::apps::Runtime;

/// An application for a run.
pub struct Peerlet {
    /// Its package, which is installed at some nodes and goes from there where its messages go.
    pub package: Package,
    /// Who compiles and runs it.
    pub runtime: Box<dyn Runtime>,
    /// What is asked of it.
    pub workload: Workload,
}

impl fmt::Debug for Peerlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peerlet").field("workload", &self.workload).finish_non_exhaustive()
    }
}

impl Peerlet {
    /// The policy of all nodes: everything of the provider may run, with what this package asks for.
    pub(super) fn policy(&self) -> Result<Policy, Error> {
        let manifest = self.package.manifest.manifest();
        let provider: String = manifest.provider.iter().map(|byte| format!("{byte:02x}")).collect();
        let budgets = manifest.budgets.named().map(|(name, number)| format!("{name} = {number}\n")).concat();
        let totals = Resources::default_totals().max(&Resources::of(&manifest.budgets));
        let totals = totals.named().map(|(name, number)| format!("{name} = {number}\n")).concat();
        let text = format!(
            "[node]\n{totals}\n[[rule]]\neffect = \"allow\"\nprovider = \"{provider}\"\napplication = \"*\"\n[rule.budgets]\n{budgets}"
        );
        Policy::parse(&text).map_err(|error| Error::Option { name: "peerlet", reason: error.to_string() })
    }
}

/// What is asked of an application, spread evenly over the phases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Messages to random keys, at most [`Options::MAX_LOOKUPS`].
    pub messages: u64,
    /// Their type.
    pub dispatch: Dispatch,
    /// Their data.
    pub payload: Payload,
    /// Calls of local programs, at most [`Options::MAX_LOOKUPS`].
    pub calls: u64,
    /// What is asked, in turn.
    pub asks: Vec<Ask>,
    /// Nodes where the package is installed before the first phase begins, at least one.
    pub installs: u32,
    /// The nodes at which messages are sent and calls are made.
    pub origins: Origins,
}

impl Default for Workload {
    fn default() -> Workload {
        Workload {
            messages: 1000,
            dispatch: Dispatch::EndNode,
            payload: Payload::default(),
            calls: 0,
            asks: Vec::new(),
            installs: 1,
            origins: Origins::default(),
        }
    }
}

/// The data of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// What the text makes of the message's number and its key.
    Text(Template),
    /// So many random bytes.
    Bytes(u32),
}

impl Default for Payload {
    /// A hundred bytes.
    fn default() -> Payload {
        Payload::Bytes(100)
    }
}

/// One call: a method, and what it is asked with. As text `METHOD` or `METHOD:TEXT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The method.
    pub method: String,
    /// The body. Its key is the same for all calls of the same number.
    pub body: Template,
}

impl FromStr for Ask {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Ask, TemplateError> {
        let (method, body) = text.split_once(':').unwrap_or((text, ""));
        Ok(Ask { method: method.to_owned(), body: body.parse()? })
    }
}

/// The nodes at which programs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origins {
    /// Those that run the application: at first the ones where it was installed, later all that its messages reached.
    #[default]
    Running,
    /// Any member. One that does not run the application has no code to give to those that a message reaches.
    Any,
}

impl Workload {
    /// Whether all values are in range.
    pub(super) fn check(&self, nodes: u32) -> Result<(), Error> {
        within("messages", self.messages, 0, Options::MAX_LOOKUPS)?;
        within("calls", self.calls, 0, Options::MAX_LOOKUPS)?;
        within("installs", self.installs, 1, nodes)?;
        let most = Limits::default().payload_bytes;
        match &self.payload {
            Payload::Bytes(bytes) => within("payload_bytes", *bytes, 0, most)?,
            Payload::Text(text) => within("payload", text.as_str().len(), 0, most as usize)?,
        }
        if self.calls > 0 && self.asks.is_empty() {
            return Err(Error::Option { name: "calls", reason: "nobody says what is asked; name a call".to_owned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_survives_json() {
        let asks = vec!["put:hello {i}".parse().unwrap(), "get".parse().unwrap()];
        let workload = Workload { calls: 5, asks, payload: Payload::Text("x".parse().unwrap()), ..Workload::default() };
        let json = serde_json::to_string(&workload).unwrap();
        assert_eq!(serde_json::from_str::<Workload>(&json).unwrap(), workload);
        assert_eq!(workload.check(10).map_err(|error| error.to_string()), Ok(()));
    }

    #[test]
    fn a_call_is_a_method_and_perhaps_a_text() {
        let ask: Ask = "put:a:b".parse().unwrap();
        assert_eq!((ask.method.as_str(), ask.body.as_str()), ("put", "a:b"));
        let ask: Ask = "status".parse().unwrap();
        assert_eq!((ask.method.as_str(), ask.body.as_str()), ("status", ""));
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (field, workload) in [
            ("installs", Workload { installs: 11, ..Workload::default() }),
            ("installs", Workload { installs: 0, ..Workload::default() }),
            ("payload_bytes", Workload { payload: Payload::Bytes(1 << 20), ..Workload::default() }),
            ("calls", Workload { calls: 1, ..Workload::default() }),
        ] {
            let Err(Error::Option { name, .. }) = workload.check(10) else { panic!("{field} passed") };
            assert_eq!(name, field);
        }
    }
}
