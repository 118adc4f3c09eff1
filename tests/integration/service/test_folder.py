"""`impasto batch` against the whole service: a folder goes in, its paintings come out, once."""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from client import Impasto
from client.folder_run import LEDGER
from deploy.local import House
from tests.integration.service.support import SECONDS, facts, picture
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
#: Paints at once.
QUICK = ("--size=32", "--steps=3", "--pyramid=1")
SEEDS = itertools.count(100)

Command = Callable[..., Sequence[str | Path]]


def slow() -> Sequence[str]:
    """Takes a while, so that a run can be stopped in the middle: nobody has asked for it before."""
    return ("--size=96", "--steps=60", "--pyramid=1", f"--seed={next(SEEDS)}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures, one of them in a folder below, and what is not meant to be painted."""
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(picture(hue=number * 40))
    (folder / "below" / "4.png").write_bytes(picture(hue=170))
    (folder / "below" / "notes.txt").write_text("no picture, and not meant to be one")
    (folder / "style.gif").write_bytes(b"")
    (tmp_path / "style.png").write_bytes(picture(64, 64, 99))
    return folder


@pytest.fixture
def command(folder: Path, request: pytest.FixtureRequest) -> Command:
    way = getattr(request, "param", "auto")

    def arguments(*more: str) -> Sequence[str | Path]:
        fixed = (
            "--style",
            folder.parent / "style.png",
            "-o",
            folder.parent / "out",
            f"--via={way}",
        )
        return ("batch", folder, *fixed, "--exclude=*.gif", *more)

    return arguments


@pytest.fixture
def start(house: House, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            env={**os.environ, "IMPASTO_URL": house.url, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


Start = Callable[..., "subprocess.Popen[str]"]
#: Where tests run in the background, SIGINT is ignored, and by whatever they start.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from client.cli import main
main()
"""


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, said = process.communicate(timeout=SECONDS)
    return process.returncode, out, said


def done(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What a run has printed, and said beside it, once every picture has its painting."""
    code, out, said = ended(process)
    assert code == 0, said
    return out, said


def paintings(folder: Path) -> dict[str, str]:
    """SHA-256 of every painting by its path."""
    out = folder.parent / "out"
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


NAMES = ["0.png", "1.png", "2.png", "3.png", "below/4.png"]


def jobs_of(impasto: Impasto) -> set[str]:
    return {job.id for job in impasto.jobs(page_size=1000)}


@pytest.mark.parametrize("command", ["jobs", "batches"], indirect=True)
def test_a_folder_is_painted_under_its_names_and_not_again(
    start: Start, command: Command, folder: Path, impasto: Impasto
) -> None:
    before = jobs_of(impasto)
    out, _ = done(start(*command(*QUICK, "--json")))
    assert list(paintings(folder)) == NAMES
    assert facts((folder.parent / "out" / "below" / "4.png").read_bytes()) == ("PNG", (32, 21))
    assert {
        json.loads(line)["name"]: json.loads(line)["status"] for line in out.splitlines()
    } == dict.fromkeys(NAMES, "succeeded")
    made = jobs_of(impasto)
    assert len(made - before) == 5
    # Again: one painting is gone, one picture is new.
    first = paintings(folder)
    (folder.parent / "out" / "1.png").unlink()
    (folder / "5.png").write_bytes(picture(hue=210))
    done(start(*command(*QUICK)))
    assert paintings(folder).items() >= first.items()
    assert len(paintings(folder)) == 6
    assert len(jobs_of(impasto) - made) == 1


@pytest.mark.parametrize("command", ["jobs", "batches"], indirect=True)
def test_a_run_that_was_killed_goes_on_without_painting_twice(
    start: Start, command: Command, folder: Path, impasto: Impasto, house: House
) -> None:
    before, spec = jobs_of(impasto), slow()
    process = start(*command(*spec, "--part=2"))
    out = folder.parent / "out"
    wait_for(lambda: list(out.rglob("*.png")), "the first painting", SECONDS)
    process.kill()
    process.communicate()
    kept = paintings(folder)
    assert kept
    again = start(*command(*spec, "--part=2"))
    # The service is started anew meanwhile, too.
    assert again.stderr
    assert "5 pictures" in again.stderr.readline()
    os.kill(house.pids["api"], signal.SIGKILL)
    done(again)
    assert list(paintings(folder)) == NAMES
    assert paintings(folder).items() >= kept.items()
    assert len(jobs_of(impasto) - before) == 5


@pytest.mark.parametrize("command", ["jobs", "batches"], indirect=True)
@pytest.mark.parametrize("lost", ["succeeded", "painting"])
def test_a_painting_that_a_killed_run_had_no_time_to_note_is_known_by_the_next(
    start: Start, command: Command, folder: Path, impasto: Impasto, lost: str
) -> None:
    spec = (*QUICK, f"--seed={next(SEEDS)}")
    done(start(*command(*spec)))
    first, made = paintings(folder), jobs_of(impasto)
    ledger = folder.parent / "out" / LEDGER
    # What was noted of it is lost after the painting was in its place, or all that names the painting is.
    kept = [line for line in ledger.read_text().splitlines() if '"succeeded"' not in line]
    if lost == "painting":
        kept = [line for line in kept if '"painting"' not in line]
    ledger.write_text("".join(line + "\n" for line in kept))
    _, said = done(start(*command(*spec)))
    assert "5 succeeded" in said
    assert paintings(folder) == first
    assert jobs_of(impasto) == made


def test_a_file_of_somebody_elses_is_not_painted_over_and_named(
    start: Start, command: Command, folder: Path, impasto: Impasto
) -> None:
    before = jobs_of(impasto)
    mine = folder.parent / "out" / "2.png"
    mine.parent.mkdir()
    mine.write_bytes(b"somebody's own")
    for _ in range(2):
        code, _, said = ended(start(*command(*QUICK)))
        assert code == 1
        assert "2.png: refused: There is no room for its painting (in_the_way)" in said
        assert mine.read_bytes() == b"somebody's own"
        assert list(paintings(folder)) == NAMES
        assert len(jobs_of(impasto) - before) == 4
    mine.rename(folder.parent / "mine.png")
    done(start(*command(*QUICK)))
    assert list(paintings(folder)) == NAMES


def test_ctrl_c_leaves_the_jobs_going_and_says_how_to_go_on(
    start: Start, command: Command, folder: Path, impasto: Impasto, house: House
) -> None:
    before, spec, painter = jobs_of(impasto), slow(), house.pids["paint"]
    os.kill(painter, signal.SIGSTOP)  # so that the jobs are going for as long as they have to be
    try:
        process = start(*command(*spec))
        wait_for(lambda: len(jobs_of(impasto) - before) == 5, "the jobs", SECONDS)
        process.send_signal(signal.SIGINT)
        code, _, said = ended(process)
    finally:
        os.kill(painter, signal.SIGCONT)
    assert code == 130
    assert "The same command" in said or "the same command" in said
    assert "Traceback" not in said
    for job in jobs_of(impasto) - before:
        assert impasto.wait(job, SECONDS).succeeded
    done(start(*command(*spec)))
    assert list(paintings(folder)) == NAMES
    assert len(jobs_of(impasto) - before) == 5


@pytest.mark.parametrize("command", ["jobs", "batches"], indirect=True)
def test_ctrl_c_can_cancel_the_jobs(start: Start, command: Command, impasto: Impasto) -> None:
    before = jobs_of(impasto)
    process = start(*command("--size=128", "--steps=5000", "--pyramid=1", "--cancel-on-interrupt"))
    wait_for(lambda: len(jobs_of(impasto) - before) == 5, "the jobs", SECONDS)
    process.send_signal(signal.SIGINT)
    code, _, said = ended(process)
    assert (code, "canceled" in said) == (130, True), said
    for job in jobs_of(impasto) - before:
        wait_for(lambda job=job: impasto.get(job).status == "canceled", f"{job} to be canceled", SECONDS)  # type: ignore[misc]


def test_what_fails_is_named_with_its_reason_and_the_rest_is_painted(
    start: Start, command: Command, folder: Path
) -> None:
    (folder / "2.png").write_bytes(b"this is no picture")
    code, _, said = ended(start(*command(*QUICK)))
    assert code == 1
    assert list(paintings(folder)) == [name for name in NAMES if name != "2.png"]
    assert "2.png: refused" in said
    assert "picture_unreadable" in said
    # Mended, it is painted by the next run, and the others are left alone.
    (folder / "2.png").write_bytes(picture(hue=5))
    done(start(*command(*QUICK)))
    assert list(paintings(folder)) == NAMES


def test_a_painting_in_the_way_of_another_holds_up_no_third(
    start: Start, command: Command, folder: Path
) -> None:
    (folder / "both.jpg").write_bytes(picture(hue=215))
    (folder / "both.png").mkdir()  # where the painting of the other would be
    (folder / "both.png" / "one.png").write_bytes(picture(hue=220))
    code, _, said = ended(start(*command(*QUICK)))
    assert code == 1
    assert len(found := {*paintings(folder)} - {*NAMES}) == 1, found
    assert {*paintings(folder)} > {*NAMES}
    assert "The painting was not collected" in said
    assert "Traceback" not in said


def test_a_wrong_spec_ends_with_2_and_hands_nothing_in(
    start: Start, command: Command, impasto: Impasto
) -> None:
    before = jobs_of(impasto)
    code, _, said = ended(start(*command("--content-layers=conv9_9=1")))
    assert code == 2
    assert "content_layers" in said
    assert jobs_of(impasto) == before


def test_a_run_that_asks_for_something_else_is_refused_until_it_says_restart(
    start: Start, command: Command, folder: Path
) -> None:
    done(start(*command(*QUICK)))
    first = paintings(folder)
    code, _, said = ended(start(*command(*QUICK, "--seed=8", "--init=noise")))
    assert (code, "--restart" in said) == (2, True)
    assert paintings(folder) == first
    done(start(*command(*QUICK, "--seed=8", "--init=noise", "--restart")))
    assert paintings(folder) != first


def test_two_runs_into_one_folder_do_not_get_in_each_others_way(
    start: Start, command: Command, folder: Path, house: House
) -> None:
    spec, painter = slow(), house.pids["paint"]
    os.kill(painter, signal.SIGSTOP)  # so that the first run is at work for as long as it has to be
    try:
        first = start(*command(*spec))
        wait_for((folder.parent / "out" / LEDGER).exists, "the first run to begin", SECONDS)
        code, _, said = ended(start(*command(*spec)))
    finally:
        os.kill(painter, signal.SIGCONT)
    assert (code, "another run" in said) == (1, True), said
    done(first)
