"""When to ask again, and after how long. Knows neither sockets nor sleeping: any transport can use it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Answers that say "later": too many requests, and a service (or its proxy) that is away for the moment.
LATER = frozenset({429, 502, 503, 504})
#: Answered to a repeat while the first request with its Idempotency-Key is still being worked on.
IN_FLIGHT = 409


@dataclass(frozen=True)
class Retries:
    """How persistent the client is. Repeating is safe: what is not idempotent carries an Idempotency-Key.

    Attributes:
        attempts: requests made in all before giving up.
        first_seconds: longest delay before the second attempt; doubled for each further one.
        longest_seconds: bound of that doubling.
        patience_seconds: a Retry-After beyond this ends the attempts.
        absence_seconds: how long a wait for a job goes on, attempt after attempt, while the service is away.
    """

    attempts: int = 5
    first_seconds: float = 0.5
    longest_seconds: float = 8.0
    patience_seconds: float = 60.0
    absence_seconds: float = 60.0

    def delay(self, failures: int, retry_after: float | None = None) -> float | None:
        """Seconds to wait after so many failures in a row; None to give up.

        The service's own Retry-After is followed; otherwise the delay grows exponentially, with jitter over
        its upper half.
        """
        if failures >= self.attempts:
            return None
        if retry_after is not None:
            return retry_after if retry_after <= self.patience_seconds else None
        longest = min(self.longest_seconds, self.first_seconds * 2 ** (failures - 1))
        return random.uniform(longest / 2, longest)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds asked for by a Retry-After header (RFC 9110, 10.2.3: a number or a date); None without one."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def worth_repeating(status: int, headers: Mapping[str, str]) -> bool:
    """True when the same request may be answered differently later."""
    return status in LATER or (status == IN_FLIGHT and "retry-after" in headers)
