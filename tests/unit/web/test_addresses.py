from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from shared.web.addresses import allowed, embedded, is_public, is_trusted, parse

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "192.0.1.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82b::200e",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
]
CLOSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::a00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "4000::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", CLOSED)
def test_any_other_address_is_not(text: str) -> None:
    assert not is_public(ip_address(text))
    assert not allowed(ip_address(text), ())


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::10.0.0.1", "10.0.0.1"),
        ("64:ff9b::10.0.0.1", "10.0.0.1"),
        ("2002:a00:1::", "10.0.0.1"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
    ],
)
def test_an_embedded_address_is_unwrapped(text: str, inner: str) -> None:
    assert embedded(IPv6Address(text)) == IPv4Address(inner)


def test_an_address_that_embeds_none_has_none() -> None:
    assert embedded(IPv6Address("2606:4700::1")) is None


def test_a_trusted_network_passes_whatever_it_is() -> None:
    trusted = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
    for text in ("127.0.0.1", "::ffff:127.0.0.1", "fd12::1"):
        assert is_trusted(ip_address(text), trusted)
        assert allowed(ip_address(text), trusted)
    for text in ("10.0.0.1", "::1", "64:ff9b::127.0.0.1", "2002:7f00:1::"):
        assert not allowed(ip_address(text), trusted)


@pytest.mark.parametrize(
    "text", ["2130706433", "0x7f000001", "017700000001", "127.1", "0", "127.0.0.01", "①.1.1.1", ""]
)
def test_only_the_canonical_spelling_is_an_address(text: str) -> None:
    assert parse(text) is None
