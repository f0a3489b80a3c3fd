//! The command line: exit codes, and errors of one line.

use std::fs;
use std::path::Path;

use prost_contract::Capability;
use prost_node::standard::DHT;
use prost_tests::{Output, allow, provider, run};

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

#[test]
fn a_wrong_configuration_is_one_line_with_file_key_and_cause() {
    let dir = tempfile::tempdir().expect("room");
    let file = dir.path().join("node.toml");
    let with = |content: &str| -> Output {
        fs::write(&file, content).expect("room");
        run(["node", "--check-config", "--config", text(&file)])
    };
    for (content, line, words) in [
        ("ring = \"r\"\nsucessors = 3\n", 2, &["sucessors", "did you mean successors?"][..]),
        ("successors = 1\n", 1, &["successors"]),
        ("listen = \"here\"\n", 1, &["listen"]),
        ("ring = \n", 1, &[]),
        ("admin_listen = \"0.0.0.0:9090\"\n", 1, &["admin_listen", "admin_allow_remote"]),
        ("policy = \"nowhere.toml\"\n", 1, &["policy", "nowhere.toml"]),
        ("log_format = \"xml\"\n", 1, &["log_format", "json"]),
    ] {
        let said = with(content);
        let error = said.refused(78);
        assert!(error.contains(&format!("{}:{line}", text(&file))), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let data = text(dir.path()).to_owned() + "/data";
    assert_eq!(
        with(&format!("data_dir = \"{data}\"\nlisten = \"127.0.0.1:0\"\n")).ok(),
        "the configuration is valid\n"
    );
}

#[test]
fn a_wrong_policy_is_one_line_with_its_place() {
    let dir = tempfile::tempdir().expect("room");
    let policy = dir.path().join("policy.toml");
    fs::write(&policy, "default = \"deny\"\n[[rule]]\neffect = \"allow\"\nprovder = \"*\"\n").expect("room");
    let said = run(["node", "--check-config", "--data-dir", text(&dir.path().join("d")), "--policy", text(&policy)]);
    let error = said.refused(78);
    assert!(error.contains("line 4") && error.contains("did you mean \"provider\"?"), "{error}");
}

#[test]
fn a_policy_can_be_asked_before_a_node_has_it() {
    let dir = tempfile::tempdir().expect("room");
    let (policy, package) = (dir.path().join("policy.toml"), dir.path().join("dht.prost"));
    fs::write(&package, DHT.package(&provider()).encode()).expect("room");
    let explain = |content: &str, more: &[&str]| {
        fs::write(&policy, content).expect("room");
        let line = [&["policy", "explain", "--policy", text(&policy), "--package", text(&package)][..], more].concat();
        run(line)
    };
    let all: Vec<Capability> = DHT.capabilities.iter().map(|(capability, _)| *capability).collect();
    let whole = allow(&provider(), &all);

    let said = explain(&whole, &["--json"]).json();
    assert_eq!((said["allowed"].as_bool(), said["refused"].as_str()), (Some(true), None), "{said}");
    assert_eq!(said["capabilities"].as_array().map(Vec::len), Some(all.len()), "{said}");
    assert_eq!(said["budgets"]["timers"].as_u64(), Some(DHT.budgets().timers.into()), "{said}");
    let whole_text = explain(&whole, &[]);
    assert!(whole_text.ok().contains("allowed by    rule 1: allow provider "), "{whole_text:?}");
    assert!(whole_text.ok().contains("admission     an empty node has room for "), "{whole_text:?}");
    assert_eq!(said["admission"]["limited_by"].as_str(), Some("fuel_per_second"), "{said}");

    let denied = format!("{whole}\n[[rule]]\neffect = \"deny\"\nprovider = \"*\"\napplication = \"d*\"\n");
    assert!(explain(&denied, &[]).refused(1).contains("denied by rule 2: deny provider *, application d*"));
    let lacking = explain(&allow(&provider(), &all[1..]), &[]);
    assert!(lacking.refused(1).contains(&format!("asks for '{}', which is not granted", all[0])), "{lacking:?}");

    let key = hex::encode(provider().public());
    let early = run(["policy", "explain", "--policy", text(&policy), "--provider", &key, "--app", "dht"]);
    assert!(early.ok().contains("capabilities  "), "{early:?}");

    assert!(run(["policy", "check", text(&policy)]).ok().contains("good; rules: 1; what none matches is denied"));
    let node = run(["policy", "check", text(&policy), "--json"]).json();
    assert_eq!(node["node"]["applications"].as_u64(), Some(64), "{node}");
    fs::write(&policy, "[node]\nmemory_bytes = \"1MiB\"\n[defaults.budgets]\nmemory_bytes = \"2MiB\"\n").expect("room");
    let beyond = run(["policy", "check", text(&policy)]);
    assert!(beyond.refused(65).contains("line 4, defaults.budgets.memory_bytes: is 2097152, but"), "{beyond:?}");
    fs::write(&policy, "[[rule]]\neffect = \"allow\"\nprovder = \"*\"\n").expect("room");
    let wrong = run(["policy", "check", text(&policy)]);
    assert!(wrong.refused(65).contains("line 3, rule 1.provder: no such key"), "{wrong:?}");
}

#[test]
fn a_wrong_command_line_is_refused_with_a_hint() {
    for line in [&["nothing"][..], &["node", "--lisen", "x"], &["dht", "put"], &["ring", "lookup"], &[]] {
        let said = run(line);
        assert_eq!(said.code, Some(64), "{line:?}: {said:?}");
        assert!(!said.stderr.is_empty());
        assert_eq!(said.stdout, "");
    }
    assert!(run(["node", "--lisen", "x"]).stderr.contains("--listen"));
    for line in [&["--help"][..], &["--version"], &["dht", "--help"]] {
        assert!(!run(line).ok().is_empty());
    }
}

#[test]
fn a_node_that_is_not_there_is_one_line() {
    let nowhere = ["--admin", "http://127.0.0.1:1"];
    for line in [
        &["status"][..],
        &["health"],
        &["ring", "show"],
        &["ring", "check"],
        &["ring", "lookup", "x"],
        &["dht", "get", "x"],
        &["peerlet", "list"],
        &["send", "--app", &format!("dht@{}", "0".repeat(64)), "--name", "x", "y"],
        &["peerlet", "top"],
    ] {
        let said = run(line.iter().chain(&nowhere));
        assert!(said.refused(69).contains("127.0.0.1:1"), "{line:?}: {said:?}");
    }
}

#[test]
fn a_component_becomes_a_package_that_says_what_it_is() {
    let dir = tempfile::tempdir().expect("room");
    let (component, key, package) =
        (dir.path().join("app.wasm"), dir.path().join("my.key"), dir.path().join("app.prost"));
    let bytes = crate::component::Peerlet::new().storage().log().build();
    fs::write(&component, bytes).expect("room");

    let provider = run(["peerlet", "key", "--out", text(&key)]).ok().trim().to_owned();
    assert_eq!(provider.len(), 64);
    assert_ne!(provider, hex(&prost_tests::provider().public()));
    assert!(run(["peerlet", "key", "--out", text(&key)]).refused(73).contains("my.key"), "a key is never overwritten");
    let line = ["peerlet", "sign", text(&component), "--name", "app", "--app-version", "1.2.3", "--key", text(&key)];
    let signed = run(line.iter().copied().chain(["--out", text(&package)]));
    assert!(signed.ok().contains(&format!("app@{provider}")), "{signed:?}");

    let says = run(["peerlet", "inspect", "--json", text(&package)]).json();
    assert_eq!(says["name"], "app");
    assert_eq!(says["version"], "1.2.3");
    assert_eq!(says["provider"], provider.as_str());
    assert_eq!(says["imports"]["capabilities"], serde_json::json!(["storage", "log"]));
    assert_eq!(says["imports"]["refused"], serde_json::Value::Null);
    assert!(run(["peerlet", "inspect", text(&package)]).ok().contains("app 1.2.3"));

    assert!(run(["peerlet", "inspect", text(&component)]).refused(65).contains("app.wasm"));
    assert!(run(["peerlet", "inspect", "/no/such/file"]).refused(66).contains("/no/such/file"));
    assert!(run(["peerlet", "build", "/no/such/crate"]).refused(66).contains("/no/such/crate"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("room");
    let (component, key) = (dir.path().join("app.wasm"), dir.path().join("my.key"));
    fs::write(&component, crate::component::Peerlet::new().build()).expect("room");
    run(["peerlet", "key", "--out", text(&key)]).ok();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let said = run(["peerlet", "sign", text(&component), "--name", "app", "--key", text(&key)]);
    assert!(said.refused(77).contains("chmod 600"), "{said:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
