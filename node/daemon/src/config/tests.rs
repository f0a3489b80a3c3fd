//! What a configuration takes, and what it says of the rest.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use prost_certs::{CertificateAuthority, Identity, UnixTime, Validity};

use super::{Config, ConfigError, Flags, HostPort, LogFormat, Sources};

/// A configuration directory with what is said in each place.
struct Case {
    dir: tempfile::TempDir,
    flags: Flags,
    env: BTreeMap<&'static str, OsString>,
}

impl Case {
    fn new() -> Case {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Case { dir, flags: Flags::new(), env: BTreeMap::new() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(self, text: &str) -> Case {
        fs::write(self.path().join("prost.toml"), text).expect("a new file");
        self
    }

    fn flag(mut self, key: &'static str, value: &str) -> Case {
        self.flags.insert(key, value.into());
        self
    }

    fn var(mut self, name: &'static str, value: &str) -> Case {
        self.env.insert(name, value.into());
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let env = |name: &str| self.env.get(name).cloned();
        let sources = Sources::new(&self.flags, &env);
        let file = self.path().join("prost.toml");
        let sources = if file.exists() { sources.with_file(&file)? } else { sources };
        Config::load(&sources)
    }

    /// The error as it is printed, with the directory left out.
    fn error(&self) -> String {
        let error = self.load().expect_err("a wrong configuration").to_string();
        assert!(!error.contains('\n'), "{error}");
        error.replace(&format!("{}/", self.path().display()), "")
    }
}

fn now() -> Validity {
    Validity::days(UnixTime::now(), 10)
}

#[test]
fn nothing_said_gives_the_defaults() {
    let config = Case::new().load().expect("defaults are valid");
    assert_eq!(config.listen.to_string(), "0.0.0.0:4433");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!((config.successors, config.ring.as_str()), (16, "prost"));
    assert!(config.identity.is_open() && config.bootstrap.is_empty() && config.policy_file.is_none());
    assert_eq!(config.kbr().successors, 16);
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let case = Case::new().file("listen = \"127.0.0.1:1\"\n");
    assert_eq!(case.load().expect("valid").listen.port(), 1);
    let case = case.var("PROST_LISTEN", "127.0.0.1:2");
    assert_eq!(case.load().expect("valid").listen.port(), 2);
    let case = case.flag("listen", "127.0.0.1:3");
    assert_eq!(case.load().expect("valid").listen.port(), 3);
    let empty = Case::new().file("listen = \"127.0.0.1:1\"\n").var("PROST_LISTEN", "");
    assert_eq!(empty.load().expect("an empty variable says nothing").listen.port(), 1);
}

#[test]
fn a_whole_file_is_read() {
    let case = Case::new().file(concat!(
        "data_dir = 'data'\nlisten = '[::]:0'\nadvertise = '192.0.2.1:0'\nring = 'main'\nsuccessors = 4\n",
        "bootstrap = ['192.0.2.7:4433', 'seed.example.org:4433', '[2001:db8::1]:4433']\n",
        "admin_listen = '0.0.0.0:0'\nadmin_allow_remote = true\nadmin_token_file = 'token'\n",
        "log = 'prost_node=debug,info'\nlog_format = 'json'\npolicy = 'policy.toml'\n",
    ));
    fs::write(case.path().join("policy.toml"), "default = 'allow'\n").expect("a new file");
    assert_eq!(case.error(), "prost.toml:9: admin_token_file: there is no file token");
    fs::write(case.path().join("token"), "secret").expect("a new file");
    let config = case.load().expect("valid");
    assert_eq!(config.data_dir, case.path().join("data"), "relative to the file");
    assert_eq!(config.identity.key, case.path().join("data/node.key"));
    assert_eq!(config.bootstrap.len(), 3);
    assert_eq!(config.kbr().successors, 4);
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!((config.admin_token_named, config.admin_token_file), (true, case.path().join("token")));
    assert_eq!(config.policy, prost_package::Policy::parse("default = 'allow'").expect("valid"));
}

#[test]
fn variables_and_flags_are_text_of_every_type() {
    let case = Case::new().flag("successors", "8").var("PROST_BOOTSTRAP", "a.example:1, 192.0.2.1:2,");
    let config =
        case.var("PROST_ADMIN_ALLOW_REMOTE", "1").var("PROST_ADMIN_LISTEN", "0.0.0.0:1").load().expect("valid");
    let bootstrap: Vec<String> = config.bootstrap.iter().map(HostPort::to_string).collect();
    assert_eq!((config.successors, bootstrap), (8, vec!["a.example:1".to_owned(), "192.0.2.1:2".to_owned()]));
}

#[test]
fn errors_name_place_setting_cause_and_remedy() {
    let cases = [
        ("\nlisen = 'x'", "prost.toml:2: lisen: there is no such setting; did you mean listen?"),
        (
            "listen = 'x'",
            "prost.toml:1: listen: 'x' is not an address and a port; write e.g. 0.0.0.0:4433 or [::]:4433",
        ),
        ("listen = 1", "prost.toml:1: listen: must be text in quotes, and is a number"),
        (
            "advertise = '0.0.0.0:1'",
            "prost.toml:1: advertise: nobody can reach 0.0.0.0:1; give an address of this machine",
        ),
        ("successors = 1", "prost.toml:1: successors: must be a whole number from 2 to 64"),
        ("successors = -1", "prost.toml:1: successors: must be a whole number from 2 to 64"),
        ("successors = 99999999999999999999", "prost.toml:1: successors: must be a whole number from 2 to 64"),
        ("successors = '4'", "prost.toml:1: successors: must be a whole number from 2 to 64"),
        ("admin_allow_remote = 'yes'", "prost.toml:1: admin_allow_remote: must be true or false"),
        (
            "admin_listen = '0.0.0.0:1'",
            "prost.toml:1: admin_listen: 0.0.0.0:1 can be reached from other machines; use 127.0.0.1, or set \
             admin_allow_remote = true",
        ),
        ("bootstrap = ['x']", "prost.toml:1: bootstrap: 'x' is not a host and a port; write e.g. 192.0.2.1:4433"),
        ("bootstrap = [1]", "prost.toml:1: bootstrap: must be text in quotes, and is a list of other things than text"),
        ("log_format = 'xml'", "prost.toml:1: log_format: must be \"text\" or \"json\""),
        ("ring = ''", "prost.toml:1: ring: a ring's name has 1 to 64 bytes and no control characters"),
        ("ca = 'none.pem'", "prost.toml:1: ca: there is no file none.pem"),
        (
            "locator_ca = 'none.pem'",
            "prost.toml:1: locator_ca: cannot read none.pem: No such file or directory (os error 2)",
        ),
        (
            "locator_test_address = '192.0.2.1:443'",
            "prost.toml:1: locator_test_address: 192.0.2.1:443 is not on loopback; this setting is for tests alone",
        ),
        ("data_dir = ''", "prost.toml:1: data_dir: must be a path, and is empty"),
    ];
    for (text, expected) in cases {
        assert_eq!(Case::new().file(text).error(), expected);
        assert_eq!(Case::new().file(text).load().map_err(|error| error.code), Err(78), "{text}");
    }
}

#[test]
fn what_toml_refuses_is_refused_with_its_line() {
    for text in ["\nlisten = ", "ring = 'a'\nring = 'b'", "[[["] {
        let error = Case::new().file(text).error();
        assert!(error.starts_with("prost.toml:"), "{error}");
    }
    let unknown = Case::new().file("zzzzzzzzzz = 1").error();
    assert!(unknown.contains("there are admin_allow_remote, "), "{unknown}");
}

#[test]
fn flags_and_variables_are_named_in_errors() {
    assert!(Case::new().flag("admin_listen", "9090").error().starts_with("--admin-listen: '9090' is not"));
    assert!(Case::new().var("PROST_LISTEN", "x").error().starts_with("PROST_LISTEN: 'x' is not"));
}

#[test]
fn a_policy_that_cannot_be_used_stops_the_start() {
    let case = Case::new().file("policy = 'policy.toml'");
    assert!(case.error().starts_with("prost.toml:1: policy: cannot read policy.toml: "), "{}", case.error());
    fs::write(case.path().join("policy.toml"), "defualt = 'allow'").expect("a new file");
    assert!(case.error().starts_with("prost.toml:1: policy: policy.toml: "), "{}", case.error());
}

#[test]
fn hosts_of_code_are_certified_by_the_authorities_of_the_web_or_by_those_in_a_file() {
    let web = Case::new().load().expect("valid").downloads();
    assert!(web.roots.len() > 50 && web.test_address.is_none(), "{}", web.roots.len());
    let case = Case::new().file("locator_ca = 'ca.pem'\nlocator_test_address = '127.0.0.1:443'");
    let authority = CertificateAuthority::generate("main", now()).expect("a new authority");
    for (text, problem) in [("", "holds no certificate"), ("-----BEGIN CERTIFICATE-----", "ca.pem: ")] {
        fs::write(case.path().join("ca.pem"), text).expect("a new file");
        assert!(case.error().contains(problem), "{}", case.error());
    }
    fs::write(case.path().join("ca.pem"), authority.certificate_pem()).expect("a new file");
    let own = case.load().expect("valid").downloads();
    assert_eq!((own.roots.len(), own.test_address), (1, Some("127.0.0.1:443".parse().expect("an address"))));
}

#[test]
fn an_open_ring_makes_the_key_it_lacks_and_keeps_it() {
    let case = Case::new().file("data_dir = '.'");
    let config = case.load().expect("valid");
    assert!(!config.identity.key.exists(), "loading a configuration changes nothing");
    let (identity, _) = config.identity.load("node", UnixTime::now()).expect("a new key");
    let mode = fs::metadata(&config.identity.key).expect("the key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let (again, _) = case.load().expect("valid").identity.load("node", UnixTime::now()).expect("the same key");
    assert_eq!(again.public_key(), identity.public_key());
}

#[test]
fn half_an_identity_is_an_error() {
    let case = Case::new().file("data_dir = '.'");
    fs::write(case.path().join("node.key"), "x").expect("a new file");
    let expected = "cert: there is no file ./node.pem; make key and certificate with `prost cert node`";
    assert_eq!(case.error().replace("././", "./"), expected);
}

#[test]
fn a_certificate_of_an_authority_closes_the_ring() {
    let case = Case::new().file("data_dir = '.'");
    let authority = CertificateAuthority::generate("main", now()).expect("a new authority");
    fs::write(case.path().join("ca.pem"), authority.certificate_pem()).expect("a new file");
    assert!(case.error().contains("key: there is no file"), "a closed ring makes no keys: {}", case.error());
    let (cert, key) = (case.path().join("node.pem"), case.path().join("node.key"));
    authority.issue("node", now()).expect("an identity").save(&cert, &key).expect("new files");
    let config = case.load().expect("valid");
    assert!(!config.identity.is_open());
    config.identity.load("node", UnixTime::now()).expect("a member of the ring");

    fs::remove_file(&cert).and_then(|()| fs::remove_file(&key)).expect("two files");
    Identity::generate_open("node", now()).expect("an identity").save(&cert, &key).expect("new files");
    let error = case.load().and_then(|config| config.identity.load("node", UnixTime::now()).map(|_| ()));
    let error = error.expect_err("a stranger's certificate").to_string();
    assert!(error.contains("node.pem: other nodes would refuse this certificate"), "{error}");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let case = Case::new().file("data_dir = '.'");
    case.load().and_then(|config| config.identity.load("node", UnixTime::now())).expect("a new key");
    fs::set_permissions(case.path().join("node.key"), fs::Permissions::from_mode(0o644)).expect("its owner's right");
    assert!(case.error().contains("run `chmod 600 "), "{}", case.error());
    assert_eq!(case.load().map_err(|error| error.code), Err(77));
}

#[test]
fn hosts_and_ports() {
    for good in ["a:1", "a-b.c_d:65535", "127.0.0.1:4433", "[::1]:1"] {
        assert!(HostPort::parse(good).is_some(), "{good}");
    }
    let long = format!("{}:1", "a".repeat(300));
    for bad in ["", "a", ":1", "a:0", "a:65536", "a b:1", "[::1]", "::1:1", "http://a:1", "a:1/", &long] {
        assert!(HostPort::parse(bad).is_none(), "{bad}");
    }
}
