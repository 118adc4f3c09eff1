"""Identifiers: sortable by time, unguessable, never reused."""

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, as in ULID
#: Ten bits as two characters: half as many look-ups as one by one.
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))

#: Bytes of randomness in an ID, and for how many IDs they are asked of the system at a time: to ask lets
#: other threads run, which a request should do while it waits and not for its name.
_BYTES, _DRAWN = 10, 256
_drawn: list[bytes] = []
# A child process draws its own: two with the same would give the same IDs.
os.register_at_fork(after_in_child=_drawn.clear)


def new_id(prefix: str) -> str:
    """A new ID such as `job_01K...`: prefix, 48 bits of milliseconds, 80 random bits (the ULID layout).

    Safe to call in any thread, and in children of this process.
    """
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(_random_bytes(), "big")
    return f"{prefix}_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def _random_bytes() -> bytes:
    try:
        return _drawn.pop()
    except IndexError:
        drawn = os.urandom(_BYTES * _DRAWN)
        _drawn.extend(drawn[start : start + _BYTES] for start in range(_BYTES, len(drawn), _BYTES))
        return drawn[:_BYTES]
