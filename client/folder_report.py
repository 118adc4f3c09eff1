"""Tells a person how a run over a folder goes: a bar on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

from tqdm import tqdm

from client.console import say
from client.folder_run import Fate

#: Seconds between two lines where nobody watches.
_LINE_SECONDS = 10.0
#: Pictures without a painting that are named, each with its reason.
_NAMED = 50


class Progress:
    """Counts what has ended and says what is expected. Any thread may tell it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bar: tqdm[None] | None = None
        self._total = self._before = 0
        self._ended: Counter[str] = Counter()
        self._began = self._said = time.monotonic()
        self._expected: float | None = None

    def begins(self, total: int, painted: int) -> None:
        """See `Report`."""
        self._total, self._before, self._began = total, painted, time.monotonic()
        before = f", {painted} of them done before" if painted else ""
        say(f"{total} pictures{before}")
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=painted, unit="picture", dynamic_ncols=True)

    def ended(self, name: str, status: str) -> None:
        """See `Report`."""
        with self._lock:
            self._ended[status] += 1
            if status != "succeeded" and self._bar is None:
                say(f"{shown(name)}: {status}")
            self._show()

    def waits(self, eta_seconds: float | None) -> None:
        """See `Report`."""
        with self._lock:
            self._expected = eta_seconds
            self._show()

    def close(self) -> None:
        """No more will be told."""
        if self._bar is not None:
            self._bar.close()

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until all have ended: by the pace so far, or what the service says before there is one."""
        ended = self._ended.total()
        if not ended:
            return self._expected
        left = self._total - self._before - ended
        return left * (time.monotonic() - self._began) / ended

    def _show(self) -> None:
        bad = self._ended.total() - self._ended["succeeded"]
        if self._bar is not None:
            if bad:
                self._bar.set_postfix(failed=bad, refresh=False)
            self._bar.n = self._before + self._ended.total()
            self._bar.refresh()
            return
        now = time.monotonic()
        if now - self._said >= _LINE_SECONDS:
            self._said = now
            failed = f", {bad} of them without a painting" if bad else ""
            eta = self.eta_seconds
            left = "" if eta is None else f", {in_words(eta)} left"
            say(f"{self._before + self._ended.total()} of {self._total}{failed}{left}")


def in_words(seconds: float) -> str:
    """A time as a person says it."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {max(1, round(seconds))} s"


def shown(name: str) -> str:
    """A file's name on one line of a terminal, which obeys none of its characters."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in name
    )


def summary(fates: Sequence[Fate]) -> list[str]:
    """What became of the pictures, a line each for those that have no painting."""
    counts = Counter(fate.status for fate in fates)
    lines = [", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no pictures"]
    without = [fate for fate in fates if fate.status != "succeeded"]
    for fate in without[:_NAMED]:
        reason = (
            f": {fate.error.title} ({fate.error.code}) {fate.error.detail}".rstrip() if fate.error else ""
        )
        lines.append(f"  {shown(fate.name)}: {fate.status}{reason}")
    if len(without) > _NAMED:
        lines.append(f"  and {len(without) - _NAMED} more; --json names all of them")
    return lines
