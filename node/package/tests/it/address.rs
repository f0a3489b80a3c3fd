//! Addresses that no message may have a node connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use prost_package::Url;
use prost_package::address::is_global;
use prost_package::url::Host;

/// First and last address of every network that is denied, and the addresses next to it where those are not denied.
const DENIED: [(&str, &str, &[&str]); 34] = [
    ("0.0.0.0", "0.255.255.255", &["1.0.0.0"]),
    ("10.0.0.0", "10.255.255.255", &["9.255.255.255", "11.0.0.0"]),
    ("100.64.0.0", "100.127.255.255", &["100.63.255.255", "100.128.0.0"]),
    ("127.0.0.0", "127.255.255.255", &["126.255.255.255", "128.0.0.0"]),
    ("169.254.0.0", "169.254.255.255", &["169.253.255.255", "169.255.0.0"]),
    ("172.16.0.0", "172.31.255.255", &["172.15.255.255", "172.32.0.0"]),
    ("192.0.0.0", "192.0.0.255", &["191.255.255.255", "192.0.1.0"]),
    ("192.0.2.0", "192.0.2.255", &["192.0.1.255", "192.0.3.0"]),
    ("192.88.99.0", "192.88.99.255", &["192.88.98.255", "192.88.100.0"]),
    ("192.168.0.0", "192.168.255.255", &["192.167.255.255", "192.169.0.0"]),
    ("198.18.0.0", "198.19.255.255", &["198.17.255.255", "198.20.0.0"]),
    ("198.51.100.0", "198.51.100.255", &["198.51.99.255", "198.51.101.0"]),
    ("203.0.113.0", "203.0.113.255", &["203.0.112.255", "203.0.114.0"]),
    ("224.0.0.0", "239.255.255.255", &["223.255.255.255"]),
    ("240.0.0.0", "255.255.255.255", &[]),
    ("::", "::", &[]),
    ("::1", "::1", &[]),
    ("::0.0.0.2", "::255.255.255.255", &[]),
    ("::ffff:0.0.0.0", "::ffff:255.255.255.255", &[]),
    ("64:ff9b::", "64:ff9b::255.255.255.255", &[]),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", &[]),
    ("100::", "100::ffff:ffff:ffff:ffff", &[]),
    ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", &[]),
    ("200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["2000::"]),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", &["2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"]),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", &["2001:db7:ffff::", "2001:db9::"]),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"]),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", &["3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"]),
    ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn every_denied_network_ends_where_it_should() {
    for (first, last, beside) in DENIED {
        assert!(!is_global(address(first)), "{first}");
        assert!(!is_global(address(last)), "{last}");
        for text in beside {
            assert!(is_global(address(text)), "{text}");
        }
    }
}

#[test]
fn addresses_of_the_internet_are_global() {
    for text in ["1.1.1.1", "8.8.8.8", "93.184.215.14", "192.0.1.1", "2606:4700:4700::1111", "2001:4860:4860::8888"] {
        assert!(is_global(address(text)), "{text}");
    }
}

#[test]
fn an_address_that_holds_another_is_denied_whichever_that_is() {
    for inner in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.8.8"] {
        let inner: Ipv4Addr = inner.parse().unwrap();
        let [a, b, c, d] = inner.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let holders = [
            inner.to_ipv6_mapped(),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
        ];
        for holder in holders {
            assert!(!is_global(holder.into()), "{holder}");
        }
    }
}

#[test]
fn no_spelling_of_an_address_of_this_network_is_both_a_url_and_global() {
    let spellings = [
        "169.254.169.254",
        "2852039166",
        "0251.0376.0251.0376",
        "0xa9fea9fe",
        "0xA9.0xFE.0xA9.0xFE",
        "0xa9.0xfe.0xa9.0xfe",
        "169.16689662",
        "169.254.43518",
        "169.254.169.254.",
        "0x7f.1",
        "127.1",
        "0",
        "017700000001",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[::1]",
        "[::]",
        "\u{ff11}69.254.169.254",
        "169\u{3002}254.169.254",
    ];
    for host in spellings {
        for port in ["", ":443", ":80"] {
            let Some(url) = Url::parse(&format!("https://{host}{port}/p")) else { continue };
            let Host::Address(address) = url.authority().host else { panic!("{host} is taken for a name") };
            assert!(!is_global(address), "{host}");
        }
    }
}

proptest! {
    /// Against a reader of prefixes that goes bit by bit.
    #[test]
    fn networks_of_v4_are_told_as_the_ranges_say(bits: u32) {
        let text = |ip: &str| ip.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
        let denied = DENIED.iter().any(|(first, last, _)| {
            text(first).zip(text(last)).is_some_and(|(first, last)| (first..=last).contains(&bits))
        });
        prop_assert_eq!(is_global(Ipv4Addr::from_bits(bits).into()), !denied);
    }

    #[test]
    fn networks_of_v6_are_told_as_the_ranges_say(bits: u128, within in 0u128..4) {
        // Random bits are rarely in the networks that matter: these begin with 2001, 2002, 3fff or anything.
        let heads = [0x2001u128, 0x2002, 0x3fff];
        let bits = heads.get(within as usize).map_or(bits, |head| head << 112 | bits >> 16);
        let text = |ip: &str| ip.parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits);
        let denied = DENIED.iter().any(|(first, last, _)| {
            text(first).zip(text(last)).is_some_and(|(first, last)| (first..=last).contains(&bits))
        });
        let outside = bits >> 125 != 1;
        prop_assert_eq!(is_global(Ipv6Addr::from_bits(bits).into()), !denied && !outside);
    }
}
