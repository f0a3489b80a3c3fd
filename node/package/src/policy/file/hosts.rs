//! Reads `[locator]`: the hosts that code may be fetched from.

use std::collections::BTreeSet;

use toml::de::DeValue;

use super::{Outcome, Table, quoted, text_of};
use crate::policy::Policy;
use crate::url::Authority;

const KEY: &str = "allow_hosts";

pub(super) fn read(file: &Table<'_>) -> Outcome<BTreeSet<Authority>> {
    let mut hosts = BTreeSet::new();
    let Some(table) = file.table("locator")? else { return Ok(hosts) };
    table.only(&[KEY])?;
    let Some(value) = table.value(KEY) else { return Ok(hosts) };
    let DeValue::Array(items) = value.get_ref() else {
        return Err(table.error_at(value.span(), KEY, "must be a list of hosts in quotes".to_owned()));
    };
    if items.len() > Policy::MAX_HOSTS {
        return Err(table.error_at(value.span(), KEY, format!("more than {} hosts", Policy::MAX_HOSTS)));
    }
    for item in items.iter() {
        let fail = |problem: String| table.error_at(item.span(), KEY, problem);
        let text = text_of(item.get_ref()).ok_or_else(|| fail("must be a list of hosts in quotes".to_owned()))?;
        let host = Authority::parse(text).ok_or_else(|| {
            let right = "write a name in lower case or an address, and perhaps a port, like \"code.example:8443\"";
            fail(format!("{} is no host; {right}; there are no wildcards", quoted(text)))
        })?;
        if !hosts.insert(host) {
            return Err(fail(format!("names {} twice", quoted(text))));
        }
    }
    Ok(hosts)
}
