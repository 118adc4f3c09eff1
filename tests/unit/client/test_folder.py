"""Which files of a folder are painted, what the paintings are called, and what is remembered of it."""

import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from unicodedata import normalize

import pytest

from client import Impasto
from client.errors import ImpastoError
from client.folder import Walk, folded, painting_of, stem_of
from client.folder_report import in_words, shown, summary
from client.folder_run import Asked, Fate, FolderRun
from client.ledger import Ledger
from client.models import Job, JobError, Output, Style
from client.paintings import Paintings

ROOT = Path(__file__).parents[3]
#: SHA-256 of what `touch` writes.
X = hashlib.sha256(b"x").hexdigest()


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def test_pictures_are_found_in_order_with_those_of_folders_below(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "below/c.webp", "notes.txt", ".hidden.png", ".hidden/d.png")
    assert Walk(tmp_path).names() == ["a.png", "b.JPG", "below/c.webp"]
    assert Walk(tmp_path, recursive=False).names() == ["a.png", "b.JPG"]


def test_patterns_say_which_by_name_or_by_path(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png", "below/a.png", "below/b.tiff")
    assert Walk(tmp_path, include=["a.*"]).names() == ["a.png", "below/a.png"]
    assert Walk(tmp_path, include=["below/*"]).names() == ["below/a.png", "below/b.tiff"]
    assert Walk(tmp_path, exclude=["b.*"]).names() == ["a.png", "below/a.png"]


def test_the_paintings_are_not_painted_again(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "out/a.png", "in/out/b.png")
    assert Walk(tmp_path, out=tmp_path / "out").names() == ["a.png", "in/out/b.png"]


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    assert Walk(tmp_path / "in").names() == ["a.png"]


@pytest.mark.parametrize(
    ("name", "file_format", "painting"),
    [
        ("a.png", "png", "a.png"),
        ("a.PNG", "png", "a.PNG"),
        ("below/a.jpeg", "jpeg", "below/a.jpeg"),
        ("a.jpg", "png", "a.png"),
        ("a.b.tif", "jpeg", "a.b.jpg"),
        ("a.png", "avif", "a.avif"),
    ],
)
def test_a_painting_is_called_like_its_picture(name: str, file_format: str, painting: str) -> None:
    assert painting_of(name, stem_of(name, set()), file_format) == painting


def test_two_pictures_of_one_name_have_two_paintings() -> None:
    taken = {stem_of("a.jpg", set())}
    stem = stem_of("A.png", taken)
    assert painting_of("A.png", stem, "png") == "A.png.png"
    assert stem_of("b.png", taken) == "b"


@pytest.mark.parametrize(
    "names",
    [
        ("a.JPG", "A.jpg", "a.jpg", "A.png"),
        (normalize("NFC", "\u00e4.jpg"), normalize("NFD", "\u00e4.jpg"), normalize("NFD", "\u00c4.jpg")),
        ("Trip/a.jpg", "trip/a.jpg", "TRIP/A.jpg"),
        ("stra\u00dfe.png", "strasse.png", "STRASSE.png"),
        ("a.jpg.gif", "a.gif", "a.jpg", "A.JPG"),
    ],
)
def test_no_two_paintings_are_one_where_case_and_normal_form_are_no_difference(
    names: tuple[str, ...],
) -> None:
    taken: set[str] = set()
    for name in names:
        taken.add(folded(stem_of(name, taken)))
    assert len(taken) == len(names)
    taken, paintings = set(), list[str]()
    for name in names:
        stem = stem_of(name, taken)
        taken.add(folded(stem))
        paintings.append(painting_of(name, stem, "png"))
    assert len({normalize("NFC", one).casefold() for one in paintings}) == len(names), paintings


def test_what_was_noted_is_known_to_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger"
    with Ledger(path) as ledger:
        ledger.note("file", "a", size=3, job="j")
        ledger.note("file", "a", job=None, status="done")
        ledger.note("file", "b", size=1)
        ledger.forget("file", "b")
        ledger.note("part", "a", names=["x\udcff"])
    with Ledger(path) as ledger:
        assert dict(ledger.all("file")) == {"a": {"size": 3, "status": "done"}}
        assert ledger.get("part", "a") == {"names": ["x\udcff"]}
        assert ledger.get("file", "b") == {}
    assert len(path.read_text().splitlines()) == 2


def test_a_line_that_was_cut_off_was_not_noted(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger.note("file", "a", size=3)
        ledger.note("file", "b", size=4)
    whole = path.read_bytes()
    for end in range(whole.index(b"\n") + 1, len(whole) - 1):
        path.write_bytes(whole[:end])
        with Ledger(path) as ledger:
            assert [name for name, _ in ledger.all("file")] == ["a"]
            ledger.note("file", "c", size=5)
        with Ledger(path) as ledger:
            assert [name for name, _ in ledger.all("file")] == ["a", "c"]


def test_a_note_that_found_no_room_leaves_no_half_line_behind(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Ledger(path) as ledger:
        ledger.note("file", "a", size=3)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
            with pytest.raises(OSError, match="is the disk full"):
                ledger.note("file", "b", size=4)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        ledger.note("file", "c", size=5)
    with Ledger(path) as ledger:
        assert [name for name, _ in ledger.all("file")] == ["a", "c"]


class Told:
    """Keeps what a run reports."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.fates: list[tuple[str, str]] = []

    def begins(self, total: int, painted: int) -> None:
        self.begun.append((total, painted))

    def ended(self, name: str, status: str) -> None:
        self.fates.append((name, status))

    def waits(self, eta_seconds: float | None) -> None: ...


def test_a_file_that_cannot_be_read_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.png", "b.png")
    unreadable = folder / "c.png"
    unreadable.symlink_to("/proc/self/mem")  # a regular file whose first byte nobody can read
    asked = Asked([Style("upload:up_1")])
    for _ in range(2):
        told = Told()
        with (
            Impasto("http://127.0.0.1:9") as nobody,
            FolderRun(nobody, Walk(folder), tmp_path / "out", asked, told) as run,
        ):
            assert run.begin() == ["a.png", "b.png"]
            [*_, fate] = run.finish()
            assert (fate.name, fate.status) == ("c.png", "refused")
            assert fate.error
            assert fate.error.code == "unreadable"
        assert (told.begun, told.fates) == ([(3, 0)], [("c.png", "refused")])
    unreadable.unlink()
    unreadable.write_bytes(b"x")
    with (
        Impasto("http://127.0.0.1:9") as nobody,
        FolderRun(nobody, Walk(folder), tmp_path / "out", asked, Told()) as run,
    ):
        assert run.begin() == ["a.png", "b.png", "c.png"]


def test_a_file_that_no_run_has_made_refuses_its_picture_and_the_others_go_on(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.png", "b.png", "below/c.gif")
    out = touch(tmp_path / "out", "a.png", "b.jpg", "below/c.png")
    for _ in range(2):
        with (
            Impasto("http://127.0.0.1:9") as nobody,
            FolderRun(nobody, Walk(folder), out, Asked([Style("upload:up_1")]), Told()) as run,
        ):
            assert run.begin() == ["b.png"]
            first, _, third = run.finish()
        for fate, painting in ((first, "a.png"), (third, "below/c.png")):
            assert fate.error
            assert (fate.status, fate.error.code) == ("refused", "in_the_way")
            assert f"{out / painting} is in the way" in fate.error.detail
            assert "Move it elsewhere" in fate.error.detail
    (out / "a.png").unlink()
    jpeg = Asked([Style("upload:up_1")], spec={"output_format": "jpeg"})
    with (
        Impasto("http://127.0.0.1:9") as nobody,
        FolderRun(nobody, Walk(folder), out, jpeg, Told(), restart=True) as run,
    ):
        assert run.begin() == ["a.png", "below/c.gif"]


def test_a_file_that_came_while_its_picture_was_painted_stays_as_it_is(tmp_path: Path) -> None:
    folder, out = touch(tmp_path / "in", "a.png"), tmp_path / "out"
    output = Output("http://127.0.0.1:9/a", hashlib.sha256(b"painted").hexdigest(), "image/png")
    with (
        Impasto("http://127.0.0.1:9") as nobody,
        FolderRun(nobody, Walk(folder), out, Asked([Style("upload:up_1")]), Told()) as run,
    ):
        assert run.begin() == ["a.png"]
        touch(out, "a.png")
        run.ended("a.png", Job(id="job_1", status="succeeded", output=output))
        [fate] = run.finish()
        assert fate.error
        assert (fate.status, fate.error.code) == ("painted", "not_stored")
        assert "a.png is in the way" in fate.error.detail
    assert (out / "a.png").read_bytes() == b"x"


def test_a_run_that_begins_all_anew_knows_its_paintings(tmp_path: Path) -> None:
    folder, out = touch(tmp_path / "in", "a.png", "b.png"), tmp_path / "out"
    with (
        Impasto("http://127.0.0.1:9") as nobody,
        FolderRun(nobody, Walk(folder), out, Asked([Style("upload:up_1")]), Told()) as run,
    ):
        Paintings(out, run.ledger).store("a.png", X, lambda target: target.write_bytes(b"x"))
    touch(out, "b.png")
    with (
        Impasto("http://127.0.0.1:9") as nobody,
        FolderRun(nobody, Walk(folder), out, Asked([Style("upload:up_2")]), Told(), restart=True) as run,
    ):
        assert run.begin() == ["a.png"]


def test_a_name_obeys_no_terminal_and_keeps_to_its_line() -> None:
    assert shown("e\u0301 é.png") == "e\u0301 é.png"
    assert shown("\x1b[31m\n\udcff") == "\\x1b[31m\\n\\udcff"
    assert len(summary([Fate("a\nb", "failed")])[1].splitlines()) == 1


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    for data in (b"not ours\nat all\n", b"{}\n{}\n", json.dumps([99, "file", "a", {}]).encode() + b"\n"):
        path.write_bytes(data)
        with pytest.raises(ImpastoError):
            Ledger(path)
        assert path.read_bytes() == data


def test_one_kind_alone_can_be_kept_of_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger.note("file", "a", size=1)
        ledger.note("painting", "a.png", coming=X)
    Ledger(path, only="painting").close()
    with Ledger(path) as ledger:
        assert ledger.get("painting", "a.png") == {"coming": X}
        assert list(ledger.all("file")) == []


def test_one_process_has_the_ledger_at_a_time_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    code = (
        f"import sys; from client.ledger import Ledger; from pathlib import Path; Ledger(Path({str(path)!r}))"
    )
    code += ".note('file', 'a', size=1); print('has it', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdin
    assert holder.stdout.readline() == "has it\n"
    with pytest.raises(ImpastoError, match="another run"):
        Ledger(path)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    holder.stdin.close()
    with Ledger(path) as ledger:
        assert ledger.get("file", "a") == {"size": 1}


def test_what_is_asked_for_is_known_by_the_content_of_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"style")
    (tmp_path / "b").write_bytes(b"style")
    (tmp_path / "c").write_bytes(b"other")

    def asked(name: str, **more: object) -> str:
        return Asked([Style(str(tmp_path / name))], **more).fingerprint()  # type: ignore[arg-type]

    assert asked("a") == asked("b", priority=7, metadata={"x": "y"})
    different = {
        asked("a"),
        asked("c"),
        asked("a", spec={"size": 64}),
        asked("a", init=str(tmp_path / "a")),
        Asked([Style(str(tmp_path / "a"), 0.5)]).fingerprint(),
        Asked([Style(str(tmp_path / "a"), mask=str(tmp_path / "c"))]).fingerprint(),
        Asked([Style(str(tmp_path / "a"), region=str(tmp_path / "c"))]).fingerprint(),
    }
    assert len(different) == 7


def test_the_summary_counts_and_names_what_has_no_painting() -> None:
    error = JobError("fetch_failed", "Not fetched", "404")
    fates = [
        Fate("a", "succeeded", "j", "a.png"),
        Fate("b", "failed", "k", error=error),
        Fate("c", "canceled", "l"),
    ]
    assert summary(fates) == [
        "1 canceled, 1 failed, 1 succeeded",
        "  b: failed: Not fetched (fetch_failed) 404",
        "  c: canceled",
    ]
    many = summary([Fate(str(number), "failed") for number in range(80)])
    assert many[-1] == "  and 30 more; --json names all of them"
    assert summary([]) == ["no pictures"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "about 1 s"), (61, "about 61 s"), (600, "about 10 min"), (7300, "about 2 h")]
)
def test_a_time_is_said_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
