//! Policy files that are refused, and where they are said to be wrong.

use prost_package::{Decision, Policy};

use crate::support::{key, manifest_of};

const RULE: &str = "[[rule]]\neffect = \"allow\"\nprovider = \"*\"\napplication = \"dht\"\n";

#[track_caller]
fn assert_refused(text: &str, expected: &str) {
    let error = Policy::parse(text).expect_err("a policy that must be refused was taken").to_string();
    assert!(error.contains(expected), "{error}\nlacks: {expected}\nin:\n{text}");
    assert!(!error.contains('\n'), "{error:?}");
}

#[test]
fn unknown_keys_are_errors_with_line_and_nearest_name() {
    assert_refused("default = \"deny\"\nwassi = \"none\"", "line 2, wassi: no such key; did you mean \"wasi\"?");
    assert_refused("[[rules]]\neffect = \"deny\"", "line 1, rules: no such key; did you mean \"rule\"?");
    assert_refused("zebra = 1", "line 1, zebra: no such key; known here: default, wasi, locator, node, defaults, rule");
    assert_refused("[default]\nx = 1", "line 1, default: must be \"deny\" or \"allow\"");
    assert_refused(
        "[defaults]\ncapability = []",
        "line 2, defaults.capability: no such key; did you mean \"capabilities\"?",
    );
    assert_refused(
        "[defaults.budgets]\nmemory_byte = 1",
        "line 2, defaults.budgets.memory_byte: no such key; did you mean \"memory_bytes\"?",
    );
    assert_refused(&format!("{RULE}{RULE}app = 1"), "line 9, rule 2.app: no such key");
    assert_refused(
        &format!("{RULE}[rule.budgets]\nfuel = 1"),
        "line 6, rule 1.budgets.fuel: no such key; known here: memory_bytes, storage_bytes",
    );
    assert_refused("\"a\\nb\\u001b[2J\" = 1", "line 1, a\\nb\\u{1b}[2J: no such key");
}

#[test]
fn values_of_the_wrong_kind_are_errors() {
    assert_refused("default = true", "line 1, default: must be \"deny\" or \"allow\"");
    assert_refused("default = \"Deny\"", "line 1, default: must be");
    assert_refused("wasi = \"full\"", "line 1, wasi: must be \"inert\" or \"none\"");
    assert_refused("defaults = 1", "line 1, defaults: must be a table, written as [defaults]");
    assert_refused(
        "[defaults]\nbudgets = 1",
        "line 2, defaults.budgets: must be a table, written as [defaults.budgets]",
    );
    assert_refused("rule = 1", "line 1, rule: must be written as [[rule]]");
    assert_refused("[rule]\neffect = \"deny\"", "line 1, rule: must be written as [[rule]]");
    assert_refused("rule = [1]", "line 1, rule: must be a table, written as [[rule]]");
    assert_refused("[defaults]\ncapabilities = \"route\"", "line 2, defaults.capabilities: must be a list of names");
    assert_refused("[defaults]\ncapabilities = [1]", "line 2, defaults.capabilities: must be a list of names");
}

#[test]
fn capabilities_are_those_of_the_contract() {
    assert_refused(
        "[defaults]\ncapabilities = [\n\"route\",\n\"storrage\",\n]",
        "line 4, defaults.capabilities: no capability is called \"storrage\"; did you mean \"storage\"?",
    );
    assert_refused(
        "[defaults]\ncapabilities = [\"sockets\"]",
        "no capability is called \"sockets\"; known here: route, storage, timer, client, identity, log",
    );
    assert_refused("[defaults]\ncapabilities = [\"log\", \"log\"]", "names \"log\" twice");
}

#[test]
fn a_rule_says_what_and_whom() {
    let rule = |lines: &str| format!("[[rule]]\n{lines}");
    assert_refused(&rule(""), "line 1, rule 1: has no effect; it must be \"allow\" or \"deny\"");
    assert_refused(&rule("effect = \"deny\""), "line 1, rule 1: has no provider; it must be 64 hexadecimal digits");
    assert_refused(&rule("effect = \"deny\"\nprovider = \"*\""), "line 1, rule 1: has no application");
    assert_refused(&rule("effect = \"refuse\""), "line 2, rule 1.effect: must be \"allow\" or \"deny\"");
    for provider in ["", "**", "ab", "a*", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65)] {
        let text = rule(&format!("effect = \"deny\"\nprovider = \"{provider}\"\napplication = \"*\""));
        assert_refused(&text, "line 3, rule 1.provider: must be 64 hexadecimal digits, or \"*\" for all");
    }
    let (long, longer) = ("a".repeat(65), "a".repeat(10 << 10));
    let names =
        ["", "**", "*dht", "d*t", "d**", "Dht", "a b", "../x", "dh\\u0000t", "d\\u202eht", "ｄht", &long, &longer];
    for application in names {
        let text = rule(&format!("effect = \"deny\"\nprovider = \"*\"\napplication = \"{application}\""));
        assert_refused(&text, "line 4, rule 1.application: must be a name of a-z");
    }
}

#[test]
fn a_provider_may_be_written_in_capitals() {
    let provider = hex::encode_upper(key(1).public());
    let text = format!("[[rule]]\neffect = \"allow\"\nprovider = \"{provider}\"\napplication = \"*\"");
    let decision = Policy::parse(&text).unwrap().decide(&manifest_of(&key(1)));
    assert!(matches!(decision, Decision::Allow { .. }));
}

#[test]
fn contradictions_are_errors() {
    let deny = RULE.replace("allow", "deny");
    assert_refused(
        &format!("{deny}capabilities = [\"log\"]"),
        "line 5, rule 1.capabilities: a deny rule grants nothing; leave this out",
    );
    assert_refused(&format!("{deny}[rule.budgets]\ntimers = 1"), "rule 1.budgets: a deny rule grants nothing");
    assert_refused("default = \"deny\"\ndefault = \"allow\"", "line 2");
    assert_refused(
        "[defaults.budgets]\nfuel_per_event = 101\nfuel_per_second = 10",
        "line 1, defaults.budgets: fuel_per_event is 101, but 10 seconds of fuel_per_second give 100",
    );
    // The rule alone is fine; with the defaults that it inherits it is not.
    assert_refused(
        &format!(
            "[defaults.budgets]\nfuel_per_event = 100\nfuel_per_second = 10\n{RULE}[rule.budgets]\nfuel_per_second = 9"
        ),
        "rule 1.budgets: fuel_per_event is 100, but 10 seconds of fuel_per_second give 90",
    );
}

#[test]
fn an_allow_rule_that_can_never_decide_is_an_error() {
    let rule = |effect: &str, provider: &str, application: &str| {
        let provider = if provider == "P1" { hex::encode(key(1).public()) } else { provider.to_owned() };
        format!("[[rule]]\neffect = \"{effect}\"\nprovider = \"{provider}\"\napplication = \"{application}\"\n")
    };
    let hidden = [
        (("*", "*"), ("P1", "dht")),
        (("*", "*"), ("*", "*")),
        (("P1", "*"), ("P1", "d*")),
        (("P1", "d*"), ("P1", "dht*")),
        (("*", "d*"), ("P1", "dht")),
        (("P1", "dht"), ("P1", "dht")),
    ];
    for (first, second) in hidden {
        let text = rule("allow", first.0, first.1) + &rule("allow", second.0, second.1);
        assert_refused(&text, "line 5, rule 2: can never decide: rule 1 in line 1 comes first");
        // What stops something is taken wherever it is put.
        let stopped = rule("deny", first.0, first.1) + &rule("allow", second.0, second.1);
        assert!(Policy::parse(&stopped).is_ok(), "{stopped}");
        let stopped = rule("allow", first.0, first.1) + &rule("deny", second.0, second.1);
        assert!(Policy::parse(&stopped).is_ok(), "{stopped}");
    }
    for (first, second) in [(("P1", "*"), ("*", "dht")), (("P1", "dht"), ("P1", "d*")), (("*", "dht"), ("P1", "*"))] {
        let text = rule("allow", first.0, first.1) + &rule("allow", second.0, second.1);
        assert!(Policy::parse(&text).is_ok(), "{text}");
    }
}

#[test]
fn budgets_are_numbers_of_at_least_one() {
    let budget = |line: &str| format!("[defaults.budgets]\n{line}");
    let refused = [
        ("timers = 0", "defaults.budgets.timers: must be at least 1"),
        ("memory_bytes = \"0MiB\"", "memory_bytes: must be at least 1"),
        ("timers = -1", "timers: must be 1 to 9223372036854775807, not -1"),
        ("queue = 99999999999999999999", "line 2"),
        ("timers = 4294967296", "timers: 4294967296 is too large"),
        ("timers = 1.5", "timers: must be a whole number"),
        ("timers = \"1KiB\"", "timers: must be a whole number"),
        ("fuel_per_event = \"1KiB\"", "fuel_per_event: must be a whole number"),
        ("memory_bytes = true", "memory_bytes: must be a whole number of bytes, or text like \"64MiB\""),
        ("memory_bytes = \"1GB\"", "\"1GB\" is not a number of bytes; write it like \"64MiB\" (B, KiB, MiB, GiB, TiB)"),
        ("memory_bytes = \"64\"", "is not a number of bytes"),
        ("memory_bytes = \"MiB\"", "is not a number of bytes"),
        ("memory_bytes = \"-1MiB\"", "is not a number of bytes"),
        ("memory_bytes = \"+1MiB\"", "is not a number of bytes"),
        ("memory_bytes = \"1.5MiB\"", "is not a number of bytes"),
        ("memory_bytes = \"1mib\"", "is not a number of bytes"),
        ("memory_bytes = \"99999999TiB\"", "\"99999999TiB\" is too large"),
        ("memory_bytes = \"99999999999999999999B\"", "is too large"),
    ];
    for (line, expected) in refused {
        assert_refused(&budget(line), expected);
    }
}

#[test]
fn what_a_node_has_is_checked() {
    let node = |line: &str| format!("[node]\n{line}");
    assert_refused(&node("memory = 1"), "line 2, node.memory: no such key; known here: memory_bytes, storage_bytes");
    assert_refused(&node("memory_byte = 1"), "did you mean \"memory_bytes\"?");
    assert_refused(&node("storage_bytes = \"1GB\""), "line 2, node.storage_bytes: \"1GB\" is not a number of bytes");
    assert_refused(&node("fuel_per_second = \"1GiB\""), "line 2, node.fuel_per_second: must be a whole number");
    assert_refused(&node("memory_bytes = 0"), "node.memory_bytes: must be at least 1");
    assert_refused(&node("applications = 257"), "line 2, node.applications: must be 1 to 256");
    assert!(Policy::parse(&node("applications = 256")).is_ok());
    assert_refused("node = 1", "line 1, node: must be a table, written as [node]");
}

#[test]
fn a_budget_beyond_what_the_node_has_is_an_error() {
    let node = "[node]\nmemory_bytes = \"48MiB\"\nstorage_bytes = 1000\nfuel_per_second = 100\n";
    let refused = |budget: &str, problem: &str| {
        assert_refused(&format!("{node}[defaults.budgets]\n{budget}"), &format!("line 6, defaults.budgets.{problem}"));
        assert_refused(&format!("{node}{RULE}[rule.budgets]\n{budget}"), &format!("line 10, rule 1.budgets.{problem}"));
    };
    refused(
        "memory_bytes = \"49MiB\"",
        "memory_bytes: is 51380224, but all applications together get 50331648: raise node.memory_bytes, or lower this",
    );
    refused("storage_bytes = 1001", "storage_bytes: is 1001, but all applications together get 1000");
    refused("fuel_per_second = 101", "fuel_per_second: is 101, but all applications together get 100");
    // What a node has where the file says nothing holds as well.
    assert_refused(&format!("{RULE}[rule.budgets]\nmemory_bytes = \"5GiB\""), "raise node.memory_bytes");
    // What the node has is enough for one application at least.
    for budget in ["memory_bytes = \"48MiB\"", "storage_bytes = 1000", "fuel_per_second = 100"] {
        assert!(Policy::parse(&format!("{node}{RULE}[rule.budgets]\n{budget}")).is_ok(), "{budget}");
    }
}

#[test]
fn sizes_have_binary_units() {
    for (text, bytes) in [
        ("4096", 4096),
        ("0x1000", 4096),
        ("1_000", 1000),
        ("\"4096B\"", 4096),
        ("\"3KiB\"", 3 << 10),
        ("\"64MiB\"", 64 << 20),
        ("\"64 MiB\"", 64 << 20),
        ("\"2GiB\"", 2 << 30),
        ("\"1TiB\"", 1 << 40),
    ] {
        let node = "[node]\nstorage_bytes = \"1TiB\"";
        let policy = format!("default = \"allow\"\n{node}\n[defaults.budgets]\nstorage_bytes = {text}");
        let app = manifest_of(&key(1)).app();
        match Policy::parse(&policy).unwrap().decide_app(&app) {
            Decision::Allow { grant, .. } => assert_eq!(grant.budgets.storage_bytes, bytes, "{text}"),
            Decision::Deny { rule } => panic!("denied by {rule}"),
        }
    }
}

#[test]
fn what_is_not_toml_is_an_error_with_its_line() {
    assert_refused("default = \"deny\"\n\n[[rule]", "line 3: not TOML: ");
    assert_refused("default = \"deny", "line 1: not TOML: ");
    assert_refused("a = 1\n\u{0}", "line 2: not TOML: ");
    let deep = format!("a = {}", "[".repeat(100_000));
    assert_refused(&deep, "line 1: not TOML: ");
}

#[test]
fn files_and_rules_are_bounded() {
    assert_refused(&"#".repeat(Policy::MAX + 1), "the whole file: 1048577 bytes are more than the 1048576 allowed");
    assert!(Policy::parse(&"#".repeat(Policy::MAX)).is_ok());

    let rules = |count: usize| {
        let one = |number: usize| RULE.replace("dht", &format!("a{number}"));
        (0..count).map(one).collect::<String>()
    };
    assert!(Policy::parse(&rules(Policy::MAX_RULES)).is_ok());
    assert_refused(&rules(Policy::MAX_RULES + 1), "line 4097, rule 1025: more than 1024 rules");
}

#[test]
fn the_operators_page_shows_policies_that_work() {
    let page = include_str!("../../../../docs/policy.md");
    let examples: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        if let Err(error) = Policy::parse(example) {
            panic!("{error}\n{example}");
        }
    }
}

#[test]
fn conditions_of_rules_are_checked() {
    let deny = RULE.replace("allow", "deny");
    let range = "must be a range of versions, like \">=1.2, <2\"";
    for versions in ["\"\"", "\"one\"", "\">=1.2 <2 x\"", "3", "[]"] {
        assert_refused(&format!("{RULE}versions = {versions}"), range);
    }
    assert_refused(&format!("{RULE}asks_for = [\"log\"]"), "rule 1.asks_for: an allow rule grants `capabilities`");
    assert_refused(&format!("{deny}asks_for = []"), "line 5, rule 1.asks_for: names nothing");
    assert_refused(&format!("{deny}asks_for = [\"sockets\"]"), "no capability is called \"sockets\"");
    assert_refused(&format!("{deny}asks_for = \"log\""), "rule 1.asks_for: must be a list of names in quotes");
    // A rule about some versions leaves the others to the next; one without a range leaves nothing.
    let ranged = format!("{RULE}versions = \"<2\"\n");
    assert!(Policy::parse(&format!("{ranged}{RULE}")).is_ok());
    assert!(Policy::parse(&format!("{ranged}{}", ranged.replace("<2", "<3"))).is_ok());
    assert_refused(&format!("{ranged}{ranged}"), "can never decide: rule 1");
    assert_refused(&format!("{RULE}\n{ranged}"), "can never decide: rule 1");
}
