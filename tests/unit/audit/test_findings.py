"""docs/operations.md says what the audit can find."""

import re
from pathlib import Path

from shared.audit import Code
from shared.audit.findings import REMEDIES, Finding

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()


def test_every_code_has_its_row_in_the_doctors_table_and_no_row_is_of_another() -> None:
    section = PAGE.partition("\n## The doctor\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(Code)


def test_every_code_has_its_remedy_and_only_notes_are_no_faults() -> None:
    assert set(REMEDIES) == set(Code)
    notes = {code for code in Code if not Finding(code, "", "").fault}
    assert notes == {Code.RECORD_LATER}
