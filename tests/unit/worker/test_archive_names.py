"""What pictures are called in an archive."""

from unicodedata import normalize

import pytest

from worker.chores.archive_names import FileNames


@pytest.mark.parametrize(
    ("custom_id", "expected"),
    [
        ("IMG_0042", "IMG_0042"),
        ("a.b-c_d", "a.b-c_d"),
        (None, "item~000007"),
        ("a/b", "a-b~c14cddc033f64b9d"),
    ],
)
def test_a_file_is_called_as_its_item_where_that_can_be(custom_id: str | None, expected: str) -> None:
    assert FileNames().stem(custom_id, 7) == expected


@pytest.mark.parametrize(
    "custom_id", ["../../etc/passwd", ".hidden", "-rf", "con", "COM1.x", "a b", "é", "x" * 101, "a.", "/"]
)
def test_names_that_a_file_system_could_take_amiss_are_changed(custom_id: str) -> None:
    stem = FileNames().stem(custom_id, 0)
    assert stem != custom_id
    assert stem[0] not in ".-~"
    assert set(stem) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")
    assert len(stem) < 100


COMPOSED, DECOMPOSED = normalize("NFC", "\u00e4"), normalize("NFD", "\u00e4")


@pytest.mark.parametrize(
    "ids",
    [
        ("a", "A"),
        ("IMG_1", "img_1", "Img_1", "IMG_2"),
        (COMPOSED, DECOMPOSED, COMPOSED.upper()),
        ("A b", "a b", "a-b", "A-b"),
        ("con", "CON", "Con.x"),
    ],
)
def test_no_two_names_are_one_where_case_and_normal_form_are_no_difference(ids: tuple[str, ...]) -> None:
    names = FileNames()
    stems = [names.stem(custom_id, index) for index, custom_id in enumerate(ids)]
    assert len({normalize("NFC", stem).casefold() for stem in stems}) == len(ids), stems


def test_the_first_of_two_keeps_its_name_and_the_second_is_told_from_it() -> None:
    names = FileNames()
    assert names.stem("photo", 0) == "photo"
    assert names.stem("Photo", 1) == "Photo~d84eebada93efee1"
    assert names.stem("other", 2) == "other"
