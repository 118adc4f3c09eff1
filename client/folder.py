"""The pictures of a folder, and what their paintings are called."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from client.formats import SUFFIXES

#: What is taken for a picture where nobody says which files are.
PATTERNS = ("*.jpg", "*.jpeg", "*.png", "*.webp", "*.gif", "*.bmp", "*.tif", "*.tiff")


@dataclass(frozen=True)
class Walk:
    """Which files of a folder are meant.

    Attributes:
        folder: where to look.
        include: patterns of names (or, with a `/`, of paths below the folder), in either case of letters.
        exclude: patterns of what is left out.
        recursive: look into folders, too. Those that are hidden or links are left out.
        out: a folder that is left out, as the paintings go there.
    """

    folder: Path
    include: Collection[str] = PATTERNS
    exclude: Collection[str] = ()
    recursive: bool = True
    out: Path | None = None

    def names(self) -> list[str]:
        """Paths below the folder, with `/`, in order. Hidden files are left out.

        Raises:
            OSError: a folder cannot be read.
        """
        return sorted(self._below(self.folder, PurePosixPath()))

    def _below(self, folder: Path, name: PurePosixPath) -> Iterator[str]:
        for entry in folder.iterdir():
            if entry.name.startswith("."):
                continue
            path = name / entry.name
            if entry.is_dir():
                apart = entry.is_symlink() or (self.out is not None and entry.resolve() == self.out.resolve())
                if self.recursive and not apart:
                    yield from self._below(entry, path)
            elif self._meant(path) and entry.is_file():
                yield str(path)

    def _meant(self, path: PurePosixPath) -> bool:
        return _matches(path, self.include) and not _matches(path, self.exclude)


def _matches(path: PurePosixPath, patterns: Collection[str]) -> bool:
    return any(
        fnmatch((str(path) if "/" in pattern else path.name).lower(), pattern.lower()) for pattern in patterns
    )


def folded(name: str) -> str:
    """What a name has in common with those that some file systems take for the same (Unicode, D145)."""
    return normalize("NFC", normalize("NFD", name).casefold())


def stem_of(name: str, taken: Collection[str]) -> str:
    """What a picture's painting is called, without its ending.

    Where that is taken it is all of the picture's name, and where that is, too, a number behind it.

    Args:
        name: the picture's path below its folder.
        taken: stems of other pictures, folded.
    """
    stem = str(PurePosixPath(name).with_suffix(""))
    if folded(stem) not in taken:
        return stem
    if folded(name) not in taken:
        return name
    return next(other for number in count(2) if folded(other := f"{name}~{number}") not in taken)


def painting_of(name: str, stem: str, file_format: str) -> str:
    """The painting's path below its folder: the picture's own where its ending fits."""
    endings = SUFFIXES.get(file_format, (f".{file_format}",))
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in endings and stem != name:
        return stem + suffix
    return stem + endings[0]
