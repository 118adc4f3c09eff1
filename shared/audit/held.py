"""Which objects a listing has shown: small, bounded, and never wrong about what it says it has."""

from hashlib import blake2b

#: Objects remembered at most. One beyond is asked for by name: slower, and as right.
MOST = 400_000


class Held:
    """A set of object keys with their sizes, eight bytes of hash each."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def add(self, key: str, size: int) -> None:
        """An object was listed."""
        if len(self._hashes) < MOST:
            self._hashes.update((_hash(key), _hash(f"{key} {size}")))

    def has(self, key: str, size: int | None = None) -> bool:
        """Whether it was listed, with this size where one is given; False also where it is forgotten."""
        return _hash(key if size is None else f"{key} {size}") in self._hashes


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
