"""The real child process: its limits, and what the parent makes of its ends."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import shared.pictures.sandbox
from shared.errors import InternalFault, PictureTooLarge, PictureUnreadable
from shared.pictures import PictureLimits, clean
from shared.settings import Settings
from tests.unit.pictures.files import corners, decoded, encoded, gradient, png_bomb

LIMITS = PictureLimits.of(Settings())
Program = Callable[[str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Run this instead of the decoder: what a decoder that was taken over might do."""

    def use(text: str) -> None:
        path = tmp_path / "child.py"
        path.write_text(text)
        monkeypatch.setattr(shared.pictures.sandbox, "_CHILD", path)

    return use


def limited(text: str) -> str:
    """A program that runs under the decoder's own limits, after its imports."""
    folder = Path(shared.pictures.sandbox.__file__).parents[2]
    child = folder / "shared/pictures/child.py"
    return (
        f"import sys; sys.path[:0] = [{str(folder)!r}, sys.argv[1]]\n"
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('child', {str(child)!r})\n"
        "child = importlib.util.module_from_spec(spec); spec.loader.exec_module(child)\n"
        "import os, socket\n"
        "child._limit(int(sys.argv[3]), int(sys.argv[4]))\n" + text
    )


def test_a_file_becomes_a_clean_copy() -> None:
    picture = clean(encoded(corners(), "PNG"), LIMITS)
    assert (picture.width, picture.height) == (6, 4)
    assert picture.sha256 == hashlib.sha256(picture.png).hexdigest()
    assert decoded(picture.png).tobytes() == corners().tobytes()


def test_every_format_is_read_within_the_limits() -> None:
    """Whatever a plugin imports late would fail once no file may be opened."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in (
        encoded(gradient(), "JPEG", exif=exif),
        encoded(gradient(), "MPO", save_all=True, append_images=[gradient()]),
        encoded(gradient(), "WEBP", exif=exif),
        encoded(gradient(), "GIF"),
    ):
        assert clean(file, LIMITS).width in (48, 32)


def test_a_large_picture_passes_through_the_pipes() -> None:
    noise = Image.effect_noise((1200, 1000), 120)
    picture = clean(encoded(noise, "PNG", compress_level=1), LIMITS)
    assert (picture.width, picture.height) == (1200, 1000)
    assert len(picture.png) > 2**20


def test_what_is_wrong_is_said_with_a_remedy() -> None:
    limits = replace(LIMITS, pixels=50_000_000)
    with pytest.raises(PictureTooLarge, match=r"80 000 000 pixels .* at most 50 000 000 .*scale it down"):
        clean(png_bomb(10_000, 8_000), limits)
    with pytest.raises(PictureUnreadable, match="JPEG, PNG, WebP, GIF"):
        clean(b"text that calls itself .jpg", LIMITS)
    with pytest.raises(PictureUnreadable, match="empty"):
        clean(b"", LIMITS)
    with pytest.raises(PictureTooLarge, match="more than 1 KiB"):
        clean(bytes(1025), replace(LIMITS, bytes=1024))


def test_decoding_that_needs_too_much_memory_is_a_typed_fault() -> None:
    with pytest.raises(PictureTooLarge, match="memory"):
        clean(png_bomb(7000, 7000), replace(LIMITS, memory=200 * 2**20))


def test_decoding_that_takes_too_long_is_a_typed_fault(program: Program) -> None:
    program(limited("while True: pass"))
    with pytest.raises(PictureTooLarge, match="1 s of CPU"):
        clean(b"x", replace(LIMITS, seconds=1))


@pytest.mark.parametrize("death", [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS])
def test_a_picture_that_kills_the_decoder_is_unreadable(program: Program, death: signal.Signals) -> None:
    program(f"import os; os.kill(os.getpid(), {int(death)})")
    with pytest.raises(PictureUnreadable, match="crashed"):
        clean(b"x", LIMITS)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_decoder_that_somebody_ended_may_be_tried_again(program: Program, end: signal.Signals) -> None:
    program(f"import os; os.kill(os.getpid(), {int(end)})")
    with pytest.raises(InternalFault) as caught:
        clean(b"x", LIMITS)
    assert caught.value.retryable


def test_a_decoder_that_hangs_is_ended(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PictureLimits, "wall_seconds", 0.5)
    program("import threading; threading.Event().wait()")
    started = time.monotonic()
    with pytest.raises(InternalFault, match="did not end in time"):
        clean(b"x", LIMITS)
    assert time.monotonic() - started < 5


def test_a_decoder_that_never_reads_does_not_block(program: Program) -> None:
    program("import sys; sys.exit(9)")
    with pytest.raises(PictureUnreadable, match="crashed"):
        clean(bytes(8 * 2**20), LIMITS)


@pytest.mark.parametrize(
    "answer", ["b''", "b'no picture'", "b'\\x89PNG\\r\\n\\x1a\\n' + b'\\xff' * 40", "b'x' * 10_000_000"]
)
def test_a_decoder_is_not_believed(program: Program, answer: str) -> None:
    program(f"import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write({answer})")
    with pytest.raises(PictureUnreadable):
        clean(b"x", replace(LIMITS, pixels=1000))


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[]", b'{"fault": "other", "detail": ""}', b"\xff", b'{"fault": []}']
)
def test_a_fault_that_makes_no_sense_is_a_crash(program: Program, answer: bytes) -> None:
    program(f"import sys; sys.stdout.buffer.write({answer!r}); sys.stdout.flush(); sys.exit(3)")
    with pytest.raises(PictureUnreadable):
        clean(b"x", LIMITS)


def test_a_decoder_that_was_taken_over_finds_and_can_do_little(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMPASTO_TEST_SECRET", "hunter2")
    target = tmp_path / "written"
    program(
        limited(
            "import json, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "def tried(call):\n"
            "    try: call()\n"
            "    except OSError: return 'refused'\n"
            "    return 'done'\n"
            "def write():\n"
            f"    with open({str(target)!r}, 'wb', buffering=0) as file: file.write(b'x')\n"
            "found = {'environment': sorted(os.environ), 'folder': os.getcwd(), 'write': tried(write),\n"
            "  'descriptors': [n for n in range(3, 64) if tried(lambda: os.fstat(n)) == 'done']}\n"
            "sys.stdout.write(json.dumps({'fault': 'unreadable', 'detail': json.dumps(found)}))\n"
            "sys.stdout.flush(); sys.exit(3)"
        )
    )
    with pytest.raises(PictureUnreadable) as caught:
        clean(b"x", LIMITS)
    found = json.loads(caught.value.detail)
    assert "IMPASTO_TEST_SECRET" not in found["environment"]
    assert (found["folder"], found["write"], found["descriptors"]) == ("/", "refused", [])


def test_many_threads_may_clean_at_once() -> None:
    file = encoded(gradient(), "JPEG")
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(clean(file, LIMITS).sha256)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_the_parent_never_imports_pillow() -> None:
    program = "import sys, shared.pictures; sys.exit(any(name.startswith('PIL') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ)).returncode == 0
