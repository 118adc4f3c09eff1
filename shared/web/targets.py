"""What a caller's URL names: scheme, host, port and path, or a refusal before anything is asked of a server.

Two parsers that read one text differently are how a guard is passed, so only URLs that leave no room for
that go through, and the request is built from the parts found here, never from the caller's text.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from shared.errors import FetchRefused
from shared.web.addresses import Address, parse

#: One message for every reason: an error must not tell what our network looks like.
REFUSAL = (
    "Only http and https URLs of public servers are fetched: an ASCII host name, port 80 or 443 unless the "
    "operator allows others, no user name. An upload (POST /v1/uploads) needs no URL."
)
#: Characters of a URL, as it is sent.
LONGEST_URL = 4096
_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Printable ASCII but for what parsers disagree about; anything else in a path is percent-encoded first.
_CLEAN = re.compile(r"[!-~]+")
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})?(\.[a-z0-9_]([a-z0-9_-]{0,62})?)*", re.IGNORECASE
)
#: Last labels that make a resolver read the name as a number: 1.2.3.4, 127.1, 0x7f000001, 2130706433.
_NUMERIC = re.compile(r"(\d+|0x[0-9a-f]*)", re.IGNORECASE)
#: Names that are never public (RFC 6761, RFC 6762, RFC 8375, RFC 9476 and the private `.internal`).
_LOCAL_SUFFIXES = (
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "lan",
    "home.arpa",
    "test",
    "invalid",
    "alt",
    "onion",
)
#: Names of clouds' metadata services, refused also where private networks are trusted.
_METADATA = ("metadata.google.internal", "metadata.goog", "metadata", "instance-data")


@dataclass(frozen=True)
class Target:
    """One request's destination.

    Attributes:
        scheme: `http` or `https`. host: name or address, in lower case, without brackets. port: 1 to 65535.
        path: path and query in ASCII, starting with a slash.
        address: the host, when it is an address.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL, to resolve a redirect against."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def local_name(self) -> bool:
        """True for a name that only a private network can know."""
        if self.address is not None:
            return False
        return "." not in self.host or self.host.endswith(tuple(f".{end}" for end in _LOCAL_SUFFIXES))


def target(text: str, base: Target | None = None) -> Target:
    """Read a URL, or a redirect's Location relative to `base`.

    Raises:
        FetchRefused: anything but a plain http(s) URL.
    """
    if "\\" in text or any(ord(character) <= 0x20 or ord(character) == 0x7F for character in text):
        raise refused()
    encoded = quote(text, safe="!\"#$%&'()*+,/:;<=>?@[]^_`{|}~")
    if len(encoded) > LONGEST_URL or not _CLEAN.fullmatch(encoded):
        raise refused()
    try:
        parts = urlsplit(urljoin(base.url, encoded) if base else encoded)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise refused() from None
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc or "%" in parts.netloc:
        raise refused()
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    address = _address(host, bracketed="[" in parts.netloc)
    if port == 0 or host in _METADATA or host.endswith(tuple(f".{name}" for name in _METADATA)):
        raise refused()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path, address)


def refused() -> FetchRefused:
    """The one refusal."""
    return FetchRefused(REFUSAL)


def _address(host: str, *, bracketed: bool) -> Address | None:
    """The host as an address in canonical form; None for a name."""
    if bracketed:
        address = parse(host)
        if address is None or address.version == 4:
            raise refused()
        return address
    if not _HOST.fullmatch(host):
        raise refused()
    if _NUMERIC.fullmatch(host.rpartition(".")[2]):
        address = parse(host)
        if address is None:
            raise refused()
        return address
    return None
