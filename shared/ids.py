"""Identifiers: sortable by time, unguessable, never reused."""

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, as in ULID


def new_id(prefix: str) -> str:
    """A new ID such as `job_01K...`: prefix, 48 bits of milliseconds, 80 random bits (the ULID layout)."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
