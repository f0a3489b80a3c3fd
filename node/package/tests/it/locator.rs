//! Spellings of locators.

use proptest::prelude::*;
use prost_package::{Authority, Digest, Locator, LocatorError, Url};

#[test]
fn what_is_taken_is_written_as_it_was_read() {
    let digest = Digest::of(b"code");
    let cases = [(String::new(), Locator::None), (format!("blake3:{}", digest.to_hex()), Locator::Digest(digest))];
    for (text, locator) in cases {
        assert_eq!(Locator::parse(&text), Ok(locator.clone()));
        assert_eq!(locator.to_string(), text);
    }
}

#[test]
fn plain_https_addresses_are_taken() {
    let longest = format!("https://h.example/{}", "a".repeat(2048 - 18));
    let urls = [
        "https://code.example/dht.pkg",
        "https://code.example/",
        "https://code.example:8443/a/b?version=1&x=%20",
        "https://xn--bcher-kva.example/@scope/p",
        "https://192.0.2.7/p",
        "https://[2001:db8::1]/p",
        "https://[2001:db8::1]:8443/p",
        &longest,
    ];
    for url in urls {
        let locator = Locator::parse(url);
        let read = Url::parse(url).unwrap();
        assert_eq!((read.as_str(), &locator), (url, &Ok(Locator::Url(read.clone()))));
        assert_eq!(locator.unwrap().to_string(), url);
    }
}

#[test]
fn an_address_is_taken_apart_into_who_is_asked_and_what_for() {
    let cases = [
        ("https://code.example/dht.pkg", "code.example", 443, "/dht.pkg"),
        ("https://code.example/", "code.example", 443, "/"),
        ("https://code.example:443/a", "code.example", 443, "/a"),
        ("https://code.example:8443/a/b?x=/&y=https://h/", "code.example:8443", 8443, "/a/b?x=/&y=https://h/"),
        ("https://192.0.2.7/p", "192.0.2.7", 443, "/p"),
        ("https://[2001:DB8:0::1]:8443/p", "[2001:db8::1]:8443", 8443, "/p"),
    ];
    for (text, authority, port, target) in cases {
        let url = Url::parse(text).unwrap();
        assert_eq!((url.authority().to_string().as_str(), url.authority().port), (authority, port), "{text}");
        assert_eq!((url.target(), url.to_string().as_str()), (target, text));
        assert_eq!(Authority::parse(authority).as_ref(), Some(url.authority()));
    }
}

#[test]
fn other_schemes_are_refused() {
    for text in [
        "http://h.example/p",
        "file:///etc/passwd",
        "gopher://h/",
        "data:,x",
        "HTTPS://h.example/p",
        " ",
        "h.example/p",
    ] {
        assert_eq!(Locator::parse(text), Err(LocatorError::Scheme), "{text}");
    }
}

#[test]
fn digests_are_64_hexadecimal_digits() {
    let digits = Digest::of(b"code").to_hex();
    for rest in ["", &digits[1..], &format!("{digits}0"), &format!("g{}", &digits[1..]), &format!("+{}", &digits[1..])]
    {
        assert_eq!(Locator::parse(&format!("blake3:{rest}")), Err(LocatorError::Malformed), "{rest}");
    }
    assert_eq!(
        Locator::parse(&format!("blake3:{}", digits.to_uppercase())),
        Locator::parse(&format!("blake3:{digits}"))
    );
}

#[test]
fn addresses_that_readers_read_differently_are_refused() {
    let too_long = format!("https://h.example/{}", "a".repeat(2048 - 17));
    let long_label = format!("https://{}.example/p", "a".repeat(64));
    let long_host = format!("https://{}example/p", "a.".repeat(124));
    let cases = [
        // No host, no path, or not an authority.
        "https:",
        "https:h.example/p",
        "https:///p",
        "https://h.example",
        "https://h.example?x",
        "https://h.example:8443",
        // User information and fragments.
        "https://user@h.example/p",
        "https://user:secret@h.example/p",
        "https://trusted.example@h.example/p",
        "https://h.example/p#part",
        // Hosts.
        "https://H.example/p",
        "https://h..example/p",
        "https://h.example./p",
        "https://-h.example/p",
        "https://h-.example/p",
        "https://h_x.example/p",
        "https://h%2eexample/p",
        "https://bücher.example/p",
        &long_label,
        &long_host,
        // An address of the link-local network, hidden.
        "https://2852039166/p",
        "https://0251.0376.0251.0376/p",
        "https://0xa9fea9fe/p",
        "https://0xa9.0xfe.0xa9.0xfe/p",
        "https://169.16689662/p",
        "https://169.254.169.254./p",
        "https://0x/p",
        "https://[fe80::1%25eth0]/p",
        "https://[::1/p",
        "https://[169.254.169.254]/p",
        "https://[::1]x/p",
        // Ports.
        "https://h.example:/p",
        "https://h.example:0/p",
        "https://h.example:0443/p",
        "https://h.example:65536/p",
        "https://h.example:+443/p",
        "https://h.example:443:443/p",
        "https://[::1]:/p",
        // Characters.
        "https://h.example/a b",
        "https://h.example/a\nb",
        "https://h.example/a\0",
        "https://h.example\\@other.example/p",
        "https://h.example/\\p",
        "https://h.example/ü",
        "https://h.example/<p>",
        &too_long,
    ];
    for text in cases {
        assert_eq!(Locator::parse(text), Err(LocatorError::Malformed), "{text}");
    }
}

proptest! {
    /// Near to addresses that are taken: whatever is taken is all there, and names who is asked unmistakably.
    #[test]
    fn what_is_taken_says_the_same_to_every_reader(text in "https://[a-z0-9.:@\\[\\]x%-]{0,24}/?[ -~]{0,16}") {
        let Ok(Locator::Url(url)) = Locator::parse(&text) else { return Ok(()) };
        prop_assert_eq!(url.as_str(), &text);
        prop_assert!(url.target().starts_with('/') && text.ends_with(url.target()));
        let spelled = &text["https://".len()..text.len() - url.target().len()];
        prop_assert!(!spelled.contains(['/', '?', '@', '%']));
        let again = url.authority().to_string();
        prop_assert_eq!(Authority::parse(&again), Some(url.authority().clone()));
        prop_assert_eq!(Authority::parse(spelled), Some(url.authority().clone()));
    }

    #[test]
    fn no_text_at_all_brings_a_reader_down(text in any::<String>()) {
        let _ = (Locator::parse(&text), Authority::parse(&text), Url::parse(&format!("https://{text}/")));
    }
}
