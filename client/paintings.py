"""The folder that paintings go to: which of its files a run has made, and may put others in place of.

What a run has not made stays as it is. A painting is noted by its SHA-256 before it is in its place, beside
the one that it takes the place of: wherever a run is killed, the next one knows its own.
"""

from collections.abc import Callable
from pathlib import Path

from client.files import sha256_of
from client.ledger import Ledger

#: What a ledger calls a painting; its subject is the painting's path.
PAINTING = "painting"


class Paintings:
    """The folder, and what a ledger says of its files.

    Args:
        out: the folder.
        ledger: where it is noted what was made.
    """

    def __init__(self, out: Path, ledger: Ledger) -> None:
        self._out, self._ledger = out, ledger

    def look(self, painting: str, sha256: str | None = None) -> str | None:
        """SHA-256 of what is in a painting's place; None where nothing is.

        Args:
            painting: its path below the folder.
            sha256: of the painting that is to be there, where that is known.

        Raises:
            FileExistsError: it is something that no run has made.
        """
        target = self._out / painting
        for folder in target.relative_to(self._out).parents:
            at = self._out / folder
            if at.exists() and not at.is_dir():
                raise FileExistsError(
                    f"{at} is in the way: it is no folder. Move it, or choose another with -o"
                )
        found = _found(target)
        if found not in (None, sha256, *self._ledger.get(PAINTING, painting).values()):
            raise FileExistsError(
                f"{target} is in the way: it is no painting of this command's, or was changed since, and "
                "stays as it is. Move it elsewhere, or choose another folder with -o"
            )
        return found

    def store(self, painting: str, sha256: str, download: Callable[[Path], object]) -> None:
        """Have a painting in its place, unless it is there.

        Args:
            painting: its path below the folder.
            sha256: of its bytes.
            download: writes it to a file, whole or not at all.

        Raises:
            FileExistsError: as for `look`.
        """
        found = self.look(painting, sha256)
        target = self._out / painting
        target.parent.mkdir(parents=True, exist_ok=True)
        self._ledger.note(PAINTING, painting, before=found, coming=sha256)
        if found != sha256:
            self._ledger.sync()
            download(target)


def _found(target: Path) -> str | None:
    """SHA-256 of a file; None where there is nothing, empty for what is no file or cannot be read."""
    if not (target.exists() or target.is_symlink()):
        return None
    try:
        return sha256_of(target) if target.is_file() else ""
    except OSError:
        return ""
