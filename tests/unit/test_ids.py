"""Identifiers: of one form, in order of time, and never the same twice."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

from shared.ids import new_id

MANY = 5000


def test_an_id_is_a_prefix_and_a_ulid() -> None:
    assert re.fullmatch(r"job_[0-7][0-9A-HJKMNP-TV-Z]{25}", new_id("job"))


def test_later_ids_sort_behind_earlier_ones() -> None:
    times = [new_id("job")[4:14] for _ in range(MANY)]
    assert times == sorted(times)


def test_no_two_threads_make_the_same() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [
            one for some in pool.map(lambda _: [new_id("job") for _ in range(MANY)], range(8)) for one in some
        ]
    assert len({one[14:] for one in made}) == len(made)


def test_a_child_process_makes_others_than_its_parent() -> None:
    new_id("job")  # some randomness is in stock
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(theirs, " ".join(new_id("job")[14:] for _ in range(20)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        told = pipe.read().split()
    assert len(told) == 20
    assert not set(told) & {new_id("job")[14:] for _ in range(300)}
