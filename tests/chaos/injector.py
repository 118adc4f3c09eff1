"""Causes the scheduled faults, and undoes them."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from tests.chaos.keeper import Keeper
from tests.chaos.schedule import EVERYTHING, WORKERS, Fault, Kind
from tests.chaos.watch import Watch
from tests.support.proxy import FaultProxy, Rule, black_hole, cut, delayed, pass_on
from tests.support.rig import Rig

#: Seconds by which each chunk is late while a server is slow, at least and at most.
SLOW_SECONDS = {"s3": (0.1, 0.5), "redis": (0.02, 0.1)}
Undo = Callable[[], object]


class Injector:
    """The rig's enemy.

    Args:
        rig: whose servers and proxies are misused.
        keeper: whose processes are.
        watch: told beforehand of what takes jobs from a worker.
    """

    def __init__(self, rig: Rig, keeper: Keeper, watch: Watch) -> None:
        self._rig, self._keeper, self._watch = rig, keeper, watch
        self._proxies = {"s3": rig.s3_proxy, "redis": rig.redis_proxy}

    def run(self, faults: Sequence[Fault], seconds: float) -> None:
        """Cause each fault at its time and undo it at its end, then put everything right."""
        begun = time.monotonic()
        waiting: list[tuple[float, int, Undo]] = [
            (fault.at, number, partial(self._begin, fault)) for number, fault in enumerate(faults)
        ]
        still = threading.Event()
        while waiting:
            waiting.sort(key=lambda entry: entry[:2])
            at, number, action = waiting.pop(0)
            still.wait(max(0.0, begun + at - time.monotonic()))
            undo = action()
            if callable(undo):
                waiting.append((at + faults[number].seconds, number, undo))
        still.wait(max(0.0, begun + seconds - time.monotonic()))
        self._heal()

    def _begin(self, fault: Fault) -> Undo | None:
        if fault.kind in (Kind.KILL, Kind.TERMINATE) or fault.beyond_lease:
            self._watch.interrupt(fault)
        match fault.kind, fault.target:
            case Kind.KILL, "redis":
                self._rig.valkey.kill()
                return self._revive
            case Kind.KILL, target if target == EVERYTHING:
                for name in WORKERS:
                    self._keeper.kill(name)
                self._rig.valkey.kill()
                return self._revive
            case Kind.KILL, name:
                self._keeper.kill(name)
            case Kind.TERMINATE, name:
                self._keeper.terminate(name)
            case Kind.FREEZE, "redis":
                self._rig.valkey.freeze()
                return self._rig.valkey.thaw
            case Kind.FREEZE, name:
                pids = self._keeper.freeze(name)
                return lambda: self._keeper.thaw(pids)
            case _:
                return self._misrule(fault)
        return None

    def _misrule(self, fault: Fault) -> Undo:
        """Let the proxy before a server misbehave."""
        proxy = self._proxies[fault.target]
        rule = _rule(fault)
        proxy.rule = rule
        if fault.kind is Kind.RESET:
            proxy.cut_all()
        return lambda: _rule_again(proxy, rule)

    def _revive(self) -> None:
        if self._rig.valkey.process.poll() is not None:
            self._rig.valkey.restart()

    def _heal(self) -> None:
        for proxy in self._proxies.values():
            proxy.rule = pass_on
        self._rig.valkey.thaw()
        self._revive()


def _rule(fault: Fault) -> Rule:
    match fault.kind:
        case Kind.RESET:
            return cut
        case Kind.BLACK_HOLE:
            return black_hole
        case _:
            least, most = SLOW_SECONDS[fault.target]
            return delayed(least, most - least, seed=round(fault.at * 100))


def _rule_again(proxy: FaultProxy, rule: Rule) -> None:
    """Heal, unless another fault has the proxy by now."""
    if proxy.rule is rule:
        proxy.rule = pass_on
