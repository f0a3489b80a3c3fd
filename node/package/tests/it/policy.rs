//! What a policy decides.

use std::collections::BTreeSet;

use prost_contract::{Capability, Limits};
use prost_kbr::AppId;
use prost_package::{Budgets, Decision, Grant, Manifest, Policy, Resources};

use crate::support::{key, manifest_of};

/// Text in which `P1` and `P2` stand for the keys of providers 1 and 2.
fn policy(text: &str) -> Policy {
    try_policy(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn try_policy(text: &str) -> Result<Policy, prost_package::PolicyError> {
    Policy::parse(&text.replace("P1", &hex::encode(key(1).public())).replace("P2", &hex::encode(key(2).public())))
}

/// The application `dht` of provider 1.
fn app() -> AppId {
    manifest_of(&key(1)).app()
}

fn granted(decision: Decision) -> Grant {
    match decision {
        Decision::Allow { grant, .. } => grant,
        Decision::Deny { rule } => panic!("denied by {rule}"),
    }
}

/// The rule that decided, up to its colon, and what it said.
fn verdict(policy: &Policy, app: &AppId) -> (bool, String) {
    let (allowed, rule) = match policy.decide_app(app) {
        Decision::Allow { rule, .. } => (true, rule),
        Decision::Deny { rule } => (false, rule),
    };
    (allowed, rule.split(':').next().unwrap().to_owned())
}

fn rules(rules: &[(&str, &str, &str)]) -> String {
    rules.iter().fold(String::new(), |text, (effect, provider, application)| {
        format!("{text}[[rule]]\neffect = \"{effect}\"\nprovider = \"{provider}\"\napplication = \"{application}\"\n")
    })
}

#[test]
fn precedence_as_documented() {
    const ALLOW: &str = "allow";
    const DENY: &str = "deny";
    type Rules = &'static [(&'static str, &'static str, &'static str)];
    // Rules in order; the default; allowed?; the rule that decided.
    #[rustfmt::skip]
    let table: &[(Rules, &str, bool, &str)] = &[
        (&[],                                                   DENY,  false, "default"),
        (&[],                                                   ALLOW, true,  "default"),
        (&[(ALLOW, "P2", "dht")],                               DENY,  false, "default"),
        (&[(DENY, "P2", "dht")],                                ALLOW, true,  "default"),
        (&[(ALLOW, "P1", "dht2")],                              DENY,  false, "default"),
        (&[(ALLOW, "P1", "dht-*")],                             DENY,  false, "default"),
        (&[(ALLOW, "P1", "dht")],                               DENY,  true,  "rule 1"),
        (&[(ALLOW, "P1", "dht*")],                              DENY,  true,  "rule 1"),
        (&[(ALLOW, "P1", "d*")],                                DENY,  true,  "rule 1"),
        (&[(ALLOW, "P1", "*")],                                 DENY,  true,  "rule 1"),
        (&[(ALLOW, "*", "dht")],                                DENY,  true,  "rule 1"),
        (&[(ALLOW, "*", "*")],                                  DENY,  true,  "rule 1"),
        (&[(DENY, "P1", "dht")],                                ALLOW, false, "rule 1"),
        (&[(DENY, "*", "*")],                                   ALLOW, false, "rule 1"),
        // The provider is allowed, the application denied; and the other way round.
        (&[(ALLOW, "P1", "*"), (DENY, "*", "dht")],             DENY,  false, "rule 2"),
        (&[(DENY, "P1", "*"), (ALLOW, "*", "dht")],             DENY,  false, "rule 1"),
        (&[(ALLOW, "*", "dht"), (DENY, "P1", "*")],             ALLOW, false, "rule 2"),
        // A deny rule wins over a narrower allow rule, and over the same one.
        (&[(ALLOW, "P1", "dht"), (DENY, "*", "*")],             ALLOW, false, "rule 2"),
        (&[(ALLOW, "P1", "dht"), (DENY, "P1", "dht")],          ALLOW, false, "rule 2"),
        (&[(DENY, "P1", "dht"), (ALLOW, "P1", "dht")],          ALLOW, false, "rule 1"),
        // Of several that match, the first is named.
        (&[(DENY, "P1", "dht"), (DENY, "*", "*")],              ALLOW, false, "rule 1"),
        (&[(ALLOW, "P1", "dht"), (ALLOW, "*", "*")],            DENY,  true,  "rule 1"),
        (&[(ALLOW, "P2", "*"), (ALLOW, "*", "dht")],            DENY,  true,  "rule 2"),
    ];
    for (listed, default, allowed, decided) in table {
        let text = format!("default = \"{default}\"\n{}", rules(listed));
        assert_eq!(verdict(&policy(&text), &app()), (*allowed, (*decided).to_owned()), "{text}");
    }
}

#[test]
fn every_combination_of_three_rules_keeps_the_precedence() {
    // Effect, provider, application, and whether the rule is about the application that is asked for.
    let mut each = Vec::new();
    for effect in ["allow", "deny"] {
        for (provider, is_its) in [("P1", true), ("P2", false), ("*", true)] {
            for (application, is_it) in [("dht", true), ("other", false), ("d*", true), ("*", true)] {
                each.push(((effect, provider, application), is_its && is_it));
            }
        }
    }
    let mut checked = 0;
    for first in &each {
        for second in &each {
            for third in each.iter().step_by(5) {
                for default in [true, false] {
                    let listed = [*first, *second, *third];
                    let text = rules(&listed.map(|(rule, _)| rule));
                    let text = format!("default = \"{}\"\n{text}", if default { "allow" } else { "deny" });
                    // Some allow rules can never decide, which is an error with a test of its own.
                    let Ok(policy) = try_policy(&text) else { continue };
                    let matches = |effect| listed.iter().position(|(rule, its)| *its && rule.0 == effect);
                    let expected = match (matches("deny"), matches("allow")) {
                        (Some(index), _) => (false, format!("rule {}", index + 1)),
                        (None, Some(index)) => (true, format!("rule {}", index + 1)),
                        (None, None) => (default, "default".to_owned()),
                    };
                    assert_eq!(verdict(&policy, &app()), expected, "{text}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 3000, "only {checked} of the combinations were policies");
}

#[test]
fn names_are_compared_byte_by_byte() {
    let policy = policy(&rules(&[("allow", "*", "dht"), ("allow", "*", "dht.v*")]));
    for (name, allowed) in
        [("dht", true), ("dht2", false), ("dh", false), ("dht.", false), ("dht.v", true), ("dht.v2", true)]
    {
        let app = AppId { name: name.parse().unwrap(), ..app() };
        assert_eq!(verdict(&policy, &app).0, allowed, "{name}");
    }
}

#[test]
fn the_decision_says_the_rule() {
    let provider = hex::encode(key(1).public());
    let policy = policy(&rules(&[("deny", "*", "miner*"), ("allow", "P1", "dht")]));
    let said = |name: &str| match policy.decide_app(&AppId { name: name.parse().unwrap(), ..app() }) {
        Decision::Allow { rule, .. } | Decision::Deny { rule } => rule,
    };
    assert_eq!(said("dht"), format!("rule 2: allow provider {provider}, application dht"));
    assert_eq!(said("miner-3"), "rule 1: deny provider *, application miner*");
    assert_eq!(said("chat"), "default: deny");
    assert!(matches!(
        Policy::default_only(true).decide_app(&app()),
        Decision::Allow { rule, .. } if rule == "default: allow"
    ));
}

#[test]
fn a_grant_is_at_most_what_was_asked_for_and_what_was_granted() {
    let policy = policy(
        r#"
        [[rule]]
        effect = "allow"
        provider = "P1"
        application = "dht"
        capabilities = ["storage", "timer", "client"]
        [rule.budgets]
        memory_bytes = "32MiB"
        timers = 1000
        "#,
    );
    let mut manifest = manifest_of(&key(1));
    manifest.budgets.timers = 10;
    manifest.budgets.queue = 5;
    assert_eq!(manifest.capabilities.keys().copied().collect::<Vec<_>>(), [Capability::Route, Capability::Storage]);

    let most = granted(policy.decide_app(&app()));
    assert_eq!(most.capabilities, BTreeSet::from([Capability::Storage, Capability::Timer, Capability::Client]));
    assert_eq!(most.budgets, Budgets { memory_bytes: 32 << 20, timers: 1000, ..Budgets::default() });

    let grant = granted(policy.decide(&manifest));
    assert_eq!(grant.capabilities, BTreeSet::from([Capability::Storage]));
    assert_eq!(grant.budgets, Budgets { memory_bytes: 32 << 20, timers: 10, queue: 5, ..Budgets::default() });
}

#[test]
fn an_application_that_asks_for_everything_gets_what_is_granted() {
    let mut manifest = manifest_of(&key(1));
    manifest.budgets = Budgets {
        memory_bytes: u64::MAX,
        storage_bytes: u64::MAX,
        fuel_per_event: u64::MAX,
        fuel_per_second: u64::MAX,
        messages_per_second: u64::MAX,
        bytes_per_second: u64::MAX,
        written_bytes_per_second: u64::MAX,
        timers: u32::MAX,
        queue: u32::MAX,
    };
    let grant = granted(Policy::default_only(true).decide(&manifest));
    assert_eq!(grant.budgets, Budgets::default());
}

#[test]
fn a_denial_is_the_same_before_and_after_the_manifest() {
    let policy = policy(&rules(&[("deny", "P1", "dht")]));
    assert_eq!(policy.decide(&manifest_of(&key(1))), policy.decide_app(&app()));
    assert!(matches!(policy.decide_app(&app()), Decision::Deny { .. }));
}

#[test]
fn what_a_rule_leaves_out_is_taken_from_the_defaults() {
    let policy = policy(
        r#"
        default = "allow"
        [defaults]
        capabilities = ["route", "log"]
        [defaults.budgets]
        memory_bytes = "16MiB"
        queue = 7
        [[rule]]
        effect = "allow"
        provider = "P1"
        application = "dht"
        [rule.budgets]
        queue = 9
        [[rule]]
        effect = "allow"
        provider = "P1"
        application = "none"
        capabilities = []
        "#,
    );
    let granted_to = |name: &str| granted(policy.decide_app(&AppId { name: name.parse().unwrap(), ..app() }));
    let defaults = BTreeSet::from([Capability::Route, Capability::Log]);
    let budgets = Budgets { memory_bytes: 16 << 20, queue: 7, ..Budgets::default() };

    assert_eq!(granted_to("other"), Grant { capabilities: defaults.clone(), budgets: budgets.clone(), wasi: true });
    assert_eq!(granted_to("dht").capabilities, defaults);
    assert_eq!(granted_to("dht").budgets, Budgets { queue: 9, ..budgets.clone() });
    assert_eq!(granted_to("none"), Grant { capabilities: BTreeSet::new(), budgets, wasi: true });
}

#[test]
fn nobody_is_granted_more_than_the_node_has() {
    assert_eq!(policy("").totals(), Resources::default_totals());
    let small = policy(
        r#"
        default = "allow"
        [node]
        memory_bytes = "1MiB"
        storage_bytes = "2MiB"
        fuel_per_second = 1_000
        applications = 3
        [[rule]]
        effect = "allow"
        provider = "P1"
        application = "dht"
        [rule.budgets]
        memory_bytes = "512KiB"
        "#,
    );
    let totals = Resources { memory_bytes: 1 << 20, storage_bytes: 2 << 20, fuel_per_second: 1_000, applications: 3 };
    assert_eq!(small.totals(), totals);
    let budgets = Budgets {
        memory_bytes: 1 << 20,
        storage_bytes: 2 << 20,
        fuel_per_second: 1_000,
        fuel_per_event: 10_000,
        ..Budgets::default()
    };
    let granted_to = |name: &str| granted(small.decide_app(&AppId { name: name.parse().unwrap(), ..app() })).budgets;
    assert_eq!(granted_to("other"), budgets);
    assert_eq!(granted_to("dht"), Budgets { memory_bytes: 512 << 10, ..budgets });
}

#[test]
fn wasi_is_for_all_or_for_none() {
    for (setting, allowed) in [("", true), ("wasi = \"inert\"", true), ("wasi = \"none\"", false)] {
        let policy = policy(&format!("{setting}\n{}", rules(&[("allow", "*", "*")])));
        assert_eq!(granted(policy.decide_app(&app())).wasi, allowed, "{setting}");
    }
}

#[test]
fn the_shortest_policies() {
    assert_eq!(policy(""), Policy::default_only(false));
    assert_eq!(policy("default = \"deny\""), Policy::default_only(false));
    assert_eq!(policy("default = \"allow\""), Policy::default_only(true));
    assert_ne!(Policy::default_only(false), Policy::default_only(true));

    let grant = granted(Policy::default_only(true).decide_app(&app()));
    assert_eq!(grant.capabilities, BTreeSet::from(Capability::ALL));
    assert_eq!(grant.limits(), Limits::default());
}

#[test]
fn a_grant_becomes_the_limits_of_the_sandbox() {
    let policy = policy(
        r#"
        default = "allow"
        [defaults.budgets]
        memory_bytes = "8MiB"
        storage_bytes = "1MiB"
        fuel_per_event = 1_000
        "#,
    );
    let expected = Limits { memory_bytes: 8 << 20, storage_bytes: 1 << 20, fuel: 1_000, ..Limits::default() };
    assert_eq!(granted(policy.decide_app(&app())).limits(), expected);
}

/// What the policy says of this version of `dht` by provider 1, asking for these: whether it allows, and the deciding rule.
fn verdict_on(policy: &Policy, version: &str, asks: &[Capability]) -> (bool, String) {
    let mut manifest = manifest_of(&key(1));
    manifest.version = version.parse().unwrap();
    manifest.capabilities = asks.iter().map(|capability| (*capability, "for a reason".to_owned())).collect();
    match policy.decide(&manifest) {
        Decision::Allow { rule, .. } => (true, rule.split(':').next().unwrap().to_owned()),
        Decision::Deny { rule } => (false, rule.split(':').next().unwrap().to_owned()),
    }
}

#[test]
fn a_rule_with_versions_is_about_those_alone() {
    let allow = |range: &str| rules(&[("allow", "P1", "dht")]) + &format!("versions = \"{range}\"\n");
    let deny =
        |range: &str| rules(&[("allow", "*", "*"), ("deny", "P1", "dht")]) + &format!("versions = \"{range}\"\n");
    // The range; a version; whether a rule that allows it lets this in; whether one that denies it does.
    for (range, version, allowed, left) in [
        (">=1.2, <2", "1.2.0", true, false),
        (">=1.2, <2", "1.99.7", true, false),
        (">=1.2, <2", "1.1.9", false, true),
        (">=1.2, <2", "2.0.0", false, true),
        ("1.2", "1.3.0", true, false),
        ("=1.2.3", "1.2.4", false, true),
        ("*", "0.0.1", true, false),
        // A version before a release is let in by name alone, and denied with its release.
        (">=1.2, <2", "1.5.0-rc.1", false, false),
        (">=1.5.0-rc.1", "1.5.0-rc.2", true, false),
        ("<1.5", "1.5.0-rc.1", false, true),
    ] {
        assert_eq!(verdict_on(&policy(&allow(range)), version, &[]).0, allowed, "allow {range}: {version}");
        assert_eq!(verdict_on(&policy(&deny(range)), version, &[]).0, left, "deny {range}: {version}");
    }
}

#[test]
fn a_deny_rule_may_be_about_what_is_asked_for() {
    let text = rules(&[("allow", "*", "*"), ("deny", "*", "*")]) + "asks_for = [\"identity\", \"client\"]\n";
    let policy = policy(&text);
    let said = |asks: &[Capability]| verdict_on(&policy, "1.0.0", asks);
    assert_eq!(said(&[Capability::Route, Capability::Storage]), (true, "rule 1".to_owned()));
    assert_eq!(said(&[Capability::Route, Capability::Client]), (false, "rule 2".to_owned()));
    assert_eq!(said(&[]), (true, "rule 1".to_owned()));
    let Decision::Deny { rule } = policy.decide(&Manifest {
        capabilities: [(Capability::Identity, "to sign".to_owned())].into(),
        ..manifest_of(&key(1))
    }) else {
        panic!("it is denied")
    };
    assert_eq!(rule, "rule 2: deny provider *, application *, asking for client or identity");
}

#[test]
fn before_the_manifest_is_known_nothing_is_denied_that_may_be_allowed() {
    let conditional = [
        rules(&[("allow", "*", "*"), ("deny", "*", "*")]) + "versions = \"<2\"\n",
        rules(&[("allow", "*", "*"), ("deny", "*", "*")]) + "asks_for = [\"log\"]\n",
        rules(&[("allow", "*", "dht")]) + "versions = \">=9\"\n",
    ];
    for text in conditional {
        assert!(verdict(&policy(&text), &app()).0, "{text}");
    }
    let sure = rules(&[("allow", "*", "*"), ("deny", "*", "dht")]);
    assert_eq!(verdict(&policy(&sure), &app()), (false, "rule 2".to_owned()));
}

#[test]
fn a_rule_for_one_version_pins_it() {
    let pins = |text: &str, version: &str| {
        let mut manifest = manifest_of(&key(1));
        manifest.version = version.parse().unwrap();
        policy(text).pins(&manifest)
    };
    let only = |range: &str| rules(&[("allow", "P1", "dht")]) + &format!("versions = \"{range}\"\n");
    assert!(pins(&only("=1.2.0"), "1.2.0"));
    assert!(pins(&only("=1.2.0-rc.1"), "1.2.0-rc.1"));
    assert!(!pins(&only("=1.2.0"), "1.2.1"), "another is not even allowed");
    for range in ["1.2.0", "=1.2", "=1", "*", ">=1.2.0, <=1.2.0", "=1.2.0, <2"] {
        assert!(!pins(&only(range), "1.2.0"), "{range} is more than one version, or may be");
    }
    // The rule that decides has to pin it: the first that allows it, and none where one denies it.
    let wide = rules(&[("allow", "*", "*")]);
    assert!(pins(&format!("{}{wide}", only("=1.2.0")), "1.2.0"));
    assert!(!pins(&format!("{}{wide}", only("=1.2.0")), "1.3.0"));
    assert!(!pins(&format!("{}{}", rules(&[("allow", "P1", "dht-*")]), wide), "1.2.0"));
    assert!(!pins(&format!("{}{}", only("=1.2.0"), rules(&[("deny", "*", "*")])), "1.2.0"));
    assert!(!Policy::default_only(true).pins(&manifest_of(&key(1))));
}
