"""Objects that nothing names any more, though chores should have swept them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from shared.audit.findings import Code, Finding
from shared.audit.reader import BATCH, LOOK_SECONDS, Reader
from shared.objects import ObjectStat

#: Chores sweep what no record names once it is an hour old, every hour: then it is gone after two.
LEFTOVER_SECONDS = 3 * 3600.0
#: Objects without a job that are looked at twice, at most, in one audit.
MAX_SUSPECTS = 10_000


def leftovers(
    reader: Reader,
    prefixes: Sequence[str],
    unnamed: Callable[[list[ObjectStat]], list[ObjectStat]],
    detail: str,
    seen: Callable[[ObjectStat], None] = lambda _: None,
) -> Iterator[Finding]:
    """Old objects that are unnamed twice.

    Args:
        reader: of both stores.
        prefixes: where to look.
        unnamed: those of some objects that no record names.
        detail: what to say of one.
        seen: told of every object that there is.
    """
    suspects: list[ObjectStat] = []
    horizon = reader.now() / 1000 - LEFTOVER_SECONDS
    for prefix in prefixes:
        listed = reader.objects.list(prefix)
        while few := list(islice(listed, BATCH)):
            for stat in few:
                seen(stat)
            old = [stat for stat in few if stat.modified < horizon]
            suspects += unnamed(old)[: MAX_SUSPECTS - len(suspects)]
    if suspects:
        # Who purges a job or an archive, or ends one, forgets it first and deletes its objects then.
        reader.pause(LOOK_SECONDS)
    for start in range(0, len(suspects), BATCH):
        for stat in unnamed(suspects[start : start + BATCH]):
            if reader.objects.stat(stat.key) is not None:
                yield Finding(Code.OBJECT_WITHOUT_JOB, stat.key, detail)
