"""The real child process: its limits, and what the parent makes of its ends."""

import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import indent

import pytest
from PIL import Image

from shared.errors import InternalFault, PictureTooLarge, PictureUnreadable
from shared.pictures import PictureLimits, clean, decoders, sandbox
from shared.pictures.decoders import Decoders
from shared.settings import Settings
from tests.unit.pictures.files import corners, decoded, encoded, gradient, png_bomb

ROOT = Path(__file__).parents[3]
LIMITS = PictureLimits.of(Settings())
Program = Callable[[str], None]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoders]:
    """Decoders of a process that nobody else has."""
    with closing(Decoders()) as house:
        monkeypatch.setattr(decoders, "HOUSE", house)
        yield house


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Decoders) -> Program:  # noqa: ARG001
    """Run this instead of the decoder: what a decoder that was taken over might do."""

    def use(text: str) -> None:
        path = tmp_path / "child.py"
        path.write_text("import os, sys\ndef main(pixels, seconds, memory):\n" + indent(text, "    "))
        monkeypatch.setattr(decoders, "_CHILD", path)

    return use


def limited(text: str) -> str:
    """What runs under the decoder's own limits, after its imports."""
    ours = f"sys.path.append({str(ROOT)!r})\nfrom shared.pictures import child\n"
    return f"{ours}child._limit(seconds, memory)\n{text}"


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


def test_decoding_that_takes_too_long_is_a_typed_fault(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PictureLimits, "wall_seconds", 200.0)  # for a second of a busy machine's processor
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


def test_a_decoder_that_hangs_is_ended(
    own: Decoders, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PictureLimits, "wall_seconds", 0.5)
    monkeypatch.setattr(sandbox, "_LAST_SECONDS", 60.0)
    program("import threading; threading.Event().wait()")
    with pytest.raises(InternalFault, match="did not end in time"):
        clean(b"x", LIMITS)
    assert _servers(own), "it was not ended, but given up"


def test_a_decoder_that_never_reads_does_not_block(program: Program) -> None:
    program("return 9")
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
    program(f"import sys; sys.stdout.buffer.write({answer!r}); sys.stdout.flush(); return 3")
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
            "sys.stdout.flush(); return 3"
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


def test_decoders_come_from_one_process_that_is_begun_again_when_it_has_ended(own: Decoders) -> None:
    file = encoded(gradient(), "JPEG")
    first = clean(file, LIMITS)
    (server,) = _servers(own)
    assert clean(file, LIMITS) == first
    assert _servers(own) == [server]
    os.kill(server, signal.SIGKILL)
    own._process.wait()  # type: ignore[union-attr]
    assert clean(file, LIMITS) == first
    assert server not in _servers(own)


def test_a_decoder_whose_parent_went_meanwhile_may_be_tried_again(own: Decoders, program: Program) -> None:
    program("import signal; os.kill(os.getppid(), signal.SIGKILL)")
    with pytest.raises(InternalFault) as caught:
        clean(b"x", LIMITS)
    assert caught.value.retryable
    assert own._process.wait() == -signal.SIGKILL  # type: ignore[union-attr]


def test_a_decoder_that_cannot_be_loaded_is_not_the_pictures_fault(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: Decoders,  # noqa: ARG001
) -> None:
    monkeypatch.setattr(decoders, "_CHILD", tmp_path / "nowhere.py")
    with pytest.raises(InternalFault, match="could not be started"):
        clean(b"x", LIMITS)


SLEEPS = "import threading; print(os.getpid(), flush=True); threading.Event().wait()"


@contextmanager
def sleeping(own: Decoders) -> Iterator[tuple[int, socket.socket]]:
    """A decoder that does nothing: a handle of its process, and what it is ended by."""
    with ExitStack() as stack:
        (source, feed), (answer, sink) = os.pipe(), os.pipe()
        watch, watched = map(stack.enter_context, socket.socketpair())
        own.fork((1, 60, 2**32), source, sink, watched.fileno())
        for descriptor in (source, sink, feed):
            os.close(descriptor)
        watched.close()
        with os.fdopen(answer) as told:
            handle = os.pidfd_open(int(told.readline()))
        stack.callback(os.close, handle)
        yield handle, watch


def gone(handle: int) -> bool:
    return bool(select.select([handle], [], [], 20)[0])


def test_decoders_end_with_whom_they_belong_to(own: Decoders, program: Program) -> None:
    program(SLEEPS)
    with sleeping(own) as (handle, watch):
        server = own._process
        own._control.close()  # type: ignore[union-attr] # as the kernel does for a process that was killed,
        watch.close()  # and this
        assert gone(handle)
        assert server.wait(20) == 0  # type: ignore[union-attr]


def test_a_decoder_is_ended_when_nobody_waits_for_it(own: Decoders, program: Program) -> None:
    program(SLEEPS)
    with sleeping(own) as (handle, watch):
        watch.close()
        assert gone(handle)
        assert _servers(own)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_no_decoder_outlives_the_process_that_it_was_forked_from(own: Decoders, program: Program) -> None:
    program(SLEEPS)
    with sleeping(own) as (handle, _):
        own.end()
        assert gone(handle)


def test_a_parent_that_is_stuck_is_replaced(own: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = encoded(corners(), "PNG")
    cleaned = clean(picture, LIMITS)
    (server,) = _servers(own)
    os.kill(server, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(PictureLimits, "wall_seconds", 0.2)
        patch.setattr(sandbox, "_LAST_SECONDS", 0.2)
        with pytest.raises(InternalFault, match="did not end in time"):
            clean(picture, LIMITS)
    assert not _servers(own)
    assert clean(picture, LIMITS) == cleaned


@pytest.mark.parametrize("death", [signal.SIGSEGV, signal.SIGABRT])
def test_after_a_crash_nothing_of_the_memory_that_crashed_is_used_again(
    own: Decoders, program: Program, death: signal.Signals
) -> None:
    program(f"os.kill(os.getpid(), {int(death)})")
    for _ in range(2):
        with pytest.raises(PictureUnreadable, match="crashed"):
            clean(b"x", LIMITS)
        assert not _servers(own)


def test_a_decoder_can_signal_no_other_one_as_one_of_its_group(own: Decoders, program: Program) -> None:
    program(f"if sys.stdin.buffer.read() == b'kill': os.kill(0, {int(signal.SIGKILL)})\n" + SLEEPS)
    with sleeping(own) as (handle, _):
        with pytest.raises(InternalFault, match="SIGKILL"):
            clean(b"kill", LIMITS)
        assert not select.select([handle], [], [], 0)[0]
        assert _servers(own)


def test_without_descriptors_it_is_not_the_pictures_fault() -> None:
    program = """
import os, resource
from shared.errors import InternalFault
from shared.pictures import decoders
from tests.unit.pictures.test_sandbox import LIMITS, clean, encoded, gradient
file = encoded(gradient(), "JPEG")
first = clean(file, LIMITS)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
held = []
while True:
    try: held.append(os.dup(0))
    except OSError: break
for _ in range(12):
    try:
        assert clean(file, LIMITS) == first
        break
    except InternalFault: os.close(held.pop())
else: raise SystemExit("never cleaned")
decoders.HOUSE.close()
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_fork_has_decoders_of_its_own() -> None:
    program = """
import os
from shared.pictures import clean
from tests.unit.pictures.test_sandbox import LIMITS, decoders, encoded, gradient
file = encoded(gradient(), "JPEG")
first = clean(file, LIMITS)
server = decoders.HOUSE._process.pid
if (pid := os.fork()) == 0:
    assert decoders.HOUSE._process is None
    assert clean(file, LIMITS) == first
    assert decoders.HOUSE._process.pid != server
    decoders.HOUSE.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert clean(file, LIMITS) == first
assert decoders.HOUSE._process.pid == server
decoders.HOUSE.close()
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def _servers(house: Decoders) -> list[int]:
    process = house._process
    return [process.pid] if process and process.poll() is None else []
