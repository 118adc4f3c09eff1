"""When to ask again, and after how long. Knows neither sockets nor sleeping: any transport can use it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Answers that say "later": too many requests, and a service (or its proxy) that is away for the moment.
LATER = frozenset({429, 502, 503, 504})
#: Those of them that say that nothing has been done.
NOT_DONE = frozenset({429, 503})
#: Answered to a repeat while the first request with its Idempotency-Key is still being worked on.
IN_FLIGHT = 409


@dataclass(frozen=True)
class Retries:
    """How persistent the client is.

    What is not idempotent carries an Idempotency-Key, so repeating is safe; a request for which it would not
    be is repeated only where the service has certainly not acted on it.

    Attributes:
        attempts: requests made in all before giving up.
        first_seconds: longest delay before the second attempt; doubled for each further one.
        longest_seconds: bound of that doubling.
        patience_seconds: a Retry-After beyond this ends the attempts; one that tells when to look again at
            what is being made is cut to this.
        total_seconds: no attempt begins later than this after the first.
        absence_seconds: how long a wait for a job goes on, attempt after attempt, while the service is away.
    """

    attempts: int = 5
    first_seconds: float = 0.5
    longest_seconds: float = 8.0
    patience_seconds: float = 60.0
    total_seconds: float = 180.0
    absence_seconds: float = 60.0

    def delay(self, failures: int, retry_after: float | None = None, spent: float = 0.0) -> float | None:
        """Seconds to wait after so many failures in a row; None to give up.

        The service's own Retry-After is followed; otherwise the delay grows exponentially, with jitter over
        its upper half.

        Args:
            failures: attempts so far.
            retry_after: seconds that the service asks for.
            spent: seconds since the first attempt began.
        """
        if failures >= self.attempts:
            return None
        if retry_after is None:
            longest = min(self.longest_seconds, self.first_seconds * 2 ** (failures - 1))
            delay = random.uniform(longest / 2, longest)
        elif retry_after <= self.patience_seconds:
            delay = retry_after
        else:
            return None
        return delay if spent + delay <= self.total_seconds else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds asked for by a Retry-After header (RFC 9110, 10.2.3: a number or a date); None without one."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def repeatable(method: str, headers: Mapping[str, str]) -> bool:
    """Whether sending a request twice is as good as once: by its method (RFC 9110, 9.2.2) or its key."""
    return method not in ("POST", "PATCH") or "Idempotency-Key" in headers


def worth_repeating(status: int, headers: Mapping[str, str], *, again: bool = True) -> bool:
    """True when the same request may be answered differently later.

    Args:
        status: the answer's.
        headers: the answer's.
        again: whether the request may be sent twice. One that may not is repeated only after an answer that
            says that nothing was done; a gateway's 502 or 504 does not.
    """
    if status in NOT_DONE:
        return True
    return again and (status in LATER or (status == IN_FLIGHT and "retry-after" in headers))
