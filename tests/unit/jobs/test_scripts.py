"""Every script is documented, and keeps to what the store promises."""

import re
from pathlib import Path

import pytest

from shared.jobs import scripts
from shared.jobs.keys import Key

FOLDER = Path(scripts.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.lua") if path.stem not in scripts.PARTS)
#: What may be refused when Redis is full: all that brings something new in.
GROWING = {
    "submit",
    "hold",
    "upload",
    "try_receiver",
    "webhook_secrets",
    "batch_create",
    "batch_load",
    "batch_hold",
}


def text(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_on_top_what_it_takes_touches_and_returns(name: str) -> None:
    top = text(name).split("\n\n")[0]
    assert top.startswith("#!lua")
    for part in ("-- Arguments: ", "-- Keys: ", "-- Returns "):
        assert part in top


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_that_a_script_reads_is_documented(name: str) -> None:
    top, body = text(name).split("\n\n", 1)
    arguments = top.split("-- Arguments: ")[1]
    for argument in set(re.findall(r"\barg\.(\w+)", body)):
        assert re.search(rf"\b{argument}\b", arguments), argument


@pytest.mark.parametrize("name", NAMES)
def test_only_what_brings_something_new_is_refused_by_a_full_server(name: str) -> None:
    shebang = text(name).split("\n", 1)[0]
    assert (shebang == "#!lua") == (name in GROWING)
    assert shebang in ("#!lua", "#!lua flags=allow-oom", "#!lua flags=no-writes")


@pytest.mark.parametrize("name", [*NAMES, *scripts.PARTS])
def test_no_script_looks_through_all_keys_or_loops_without_end(name: str) -> None:
    code = re.sub(r"--[^\n]*", "", text(name))
    assert not re.search(r"'(KEYS|SCAN|HSCAN|ZSCAN|SSCAN)'|\bwhile\b|\brepeat\b|\bgoto\b", code)
    for reading in re.findall(r"'(?:ZRANGEBYSCORE|ZREVRANGEBYSCORE)'[^\n]*", text(name)):
        assert "'LIMIT'" in reading
    for reading in re.findall(r"'ZRANGE'[^\n]*", text(name)):
        assert re.search(r", 0, (MAX_|arg\.max_|most - 1)|, from, from \+ MAX_|, rank, rank\)", reading)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_names_keys_by_the_one_definition_only(name: str) -> None:
    assert "im:" not in text(name)
    for used in re.findall(r"\bK\.(\w+)", text(name)):
        assert used.upper() in Key.__members__


def test_every_key_carries_the_prefix() -> None:
    assert all(key.value.startswith("im:") for key in Key)


def test_the_time_is_asked_in_one_place_only() -> None:
    assert [name for name in [*NAMES, *scripts.PARTS] if "'TIME'" in text(name)] == ["reading"]
