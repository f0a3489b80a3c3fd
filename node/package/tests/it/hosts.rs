//! Hosts that code may be fetched from.

use prost_package::{Policy, Url};

fn policy(hosts: &str) -> Policy {
    Policy::parse(&format!("[locator]\nallow_hosts = {hosts}\n")).expect("a good policy")
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a good URL")
}

#[test]
fn without_a_list_no_host_is_asked() {
    let empty = ["", "default = \"allow\"", "[locator]", "[locator]\nallow_hosts = []"];
    for text in empty {
        let policy = Policy::parse(text).expect("a good policy");
        assert_eq!(policy.hosts().count(), 0);
        assert!(!policy.lists(&url("https://code.example/p")), "{text}");
    }
    assert!(!Policy::default_only(true).lists(&url("https://code.example/p")));
}

#[test]
fn a_listed_host_is_asked_at_its_port_and_no_other_is() {
    let policy = policy("[\"code.example\", \"mirror.example:8443\", \"93.184.215.14\", \"[2606:4700::1]:8443\"]");
    let asked = [
        "https://code.example/p",
        "https://code.example:443/p?q",
        "https://mirror.example:8443/",
        "https://93.184.215.14/p",
        "https://[2606:4700:0:0::1]:8443/p",
    ];
    let not_asked = [
        "https://code.example:8443/p",
        "https://mirror.example/p",
        "https://www.code.example/p",
        "https://code.example.evil.example/p",
        "https://evilcode.example/p",
        "https://example/p",
        "https://93.184.215.15/p",
        "https://[2606:4700::1]/p",
        "https://[::ffff:93.184.215.14]/p",
    ];
    assert!(asked.iter().all(|text| policy.lists(&url(text))));
    for text in not_asked {
        assert!(!policy.lists(&url(text)), "{text}");
    }
    let shown: Vec<String> = policy.hosts().map(ToString::to_string).collect();
    assert_eq!(shown, ["code.example", "mirror.example:8443", "93.184.215.14", "[2606:4700::1]:8443"]);
}

#[test]
fn what_is_no_host_is_an_error_with_its_line() {
    let refused = |text: &str, expected: &str| {
        let error = Policy::parse(text).expect_err("a policy that must be refused was taken").to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}\nis not: {expected}");
    };
    for host in [
        "",
        "*",
        "*.example",
        "https://code.example",
        "code.example/",
        "user@code.example",
        "Code.example",
        "code.example.",
        "code.example:0",
        "code.example:0443",
        "code.example:70000",
        "2852039166",
        "0xa9fea9fe",
        "[::1",
        "a b",
    ] {
        let text = format!("[locator]\nallow_hosts = [\n'{host}',\n]");
        refused(&text, &format!("line 3, locator.allow_hosts: \"{host}\" is no host; write a name"));
    }
    refused("[locator]\nallow_hosts = \"h\"", "line 2, locator.allow_hosts: must be a list of hosts");
    refused("[locator]\nallow_hosts = [1]", "line 2, locator.allow_hosts: must be a list of hosts");
    refused("[locator]\nallow_hosts = ['h', 'h:443']", "line 2, locator.allow_hosts: names \"h:443\" twice");
    refused("[locator]\nallow = []", "line 2, locator.allow: no such key");
    refused("locator = 1", "line 1, locator: must be a table");
    let many: Vec<String> = (0..=Policy::MAX_HOSTS).map(|number| format!("'h{number}'")).collect();
    refused(&format!("[locator]\nallow_hosts = [{}]", many.join(",")), "line 2, locator.allow_hosts: more than 64");
    assert_eq!(policy(&format!("[{}]", many[1..].join(","))).hosts().count(), Policy::MAX_HOSTS);
}
