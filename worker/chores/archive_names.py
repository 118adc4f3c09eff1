"""What pictures are called in an archive: as their items are, where every file system takes that.

Names are ASCII, so that Unicode's normal forms cannot make two of them one. Upper and lower case could, where
a file system takes no notice of it: an item whose name an earlier one has so is told from it like a name that
has to be changed, by a hash of its custom ID behind a `~`, which no name has that is left as it is.
"""

import hashlib
import re

#: What every file system takes as it is.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(?<![.])", re.ASCII)
_TAKEN = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.ASCII | re.IGNORECASE)


class FileNames:
    """The names of one archive. Asked for each item in order, it gives the same ones each time."""

    def __init__(self) -> None:
        #: Case-folded, by their hashes: a million of them are some dozens of MB.
        self._taken: set[int] = set()

    def stem(self, custom_id: str | None, index: int) -> str:
        """What an item's picture is called, without its ending; no two differ in case only.

        Args:
            custom_id: what the caller calls the item; no two items of a batch share it.
            index: the item's place in the batch.
        """
        if custom_id is None:
            return f"item~{index:06d}"
        if _SAFE.fullmatch(custom_id) and not _TAKEN.fullmatch(custom_id) and self._take(custom_id):
            return custom_id
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", custom_id).strip("-.")[:60] or "item"
        return f"{safe}~{hashlib.sha256(custom_id.encode()).hexdigest()[:16]}"

    def _take(self, name: str) -> bool:
        """Whether no earlier name is this one in another case; takes it then."""
        folded = hashlib.blake2b(name.casefold().encode(), digest_size=8).digest()
        known = len(self._taken)
        self._taken.add(int.from_bytes(folded))
        return len(self._taken) > known
