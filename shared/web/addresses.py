"""Which addresses are public: those that workers connect to without being told so.

Python's `ipaddress` knows too little for this (`is_global` is True for NAT64, 6to4, site-local and multicast
addresses), so the lists stand here. Sources: the IANA special-purpose address registries (RFC 6890) for IPv4
and IPv6, and the RFCs named below.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_CLOSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carriers' shared space, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local, RFC 3927; clouds' metadata services
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.31.196.0/24",  # AS112, RFC 7535
        "192.52.193.0/24",  # AMT, RFC 7450
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "192.175.48.0/24",  # AS112, RFC 7534
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved and broadcast, RFC 1112
    )
)
#: Only this block holds unicast addresses in use (RFC 4291, 2.4); everything outside is closed.
_GLOBAL_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, RFC 2928: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056: an IPv4 address in disguise
        "2620:4f:8000::/48",  # AS112, RFC 7534
        "3fff::/20",  # documentation, RFC 9637
    )
)
#: Where an IPv6 address carries an IPv4 address, and how far that is from the right end in bits.
_EMBEDDING = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped, RFC 4291 2.5.5.2
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated, RFC 2765
    (IPv6Network("::/96"), 0),  # IPv4-compatible, RFC 4291 2.5.5.1
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("64:ff9b:1::/48"), 0),  # NAT64 of a site's own, RFC 8215
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)


def allowed(address: Address, trusted: Iterable[Network]) -> bool:
    """True when a worker may connect to this address: it is public, or within a trusted network."""
    return is_trusted(address, trusted) or is_public(address)


def is_trusted(address: Address, trusted: Iterable[Network]) -> bool:
    """True when the operator has named a network that holds the address, in its own form or unwrapped."""
    forms = {address, _mapped(address)}
    return any(form in network for network in trusted for form in forms if form.version == network.version)


def is_public(address: Address) -> bool:
    """True for an address that anybody on the Internet can reach, and that leads to no other.

    An IPv6 address that embeds an IPv4 address is never public by itself: whether a gateway would carry it
    further, and to where, depends on the network we stand in. The exception is the IPv4-mapped form, which
    the operating system turns into the IPv4 address.
    """
    address = _mapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    if getattr(address, "scope_id", None) is not None or embedded(address) is not None:
        return False
    return address in _GLOBAL_V6 and not any(address in network for network in _CLOSED_V6)


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address carries, where it is of such a form."""
    for network, shift in _EMBEDDING:
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFF_FFFF)
    return address.teredo[1] if address.teredo else None


def parse(text: str) -> Address | None:
    """The address that a host name is, in its one canonical form; None for anything else."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _mapped(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
