"""Page tokens."""

import pytest

from shared.errors import InvalidRequest
from shared.jobs.pages import page_start, page_token_of


@pytest.mark.parametrize("order", [1, 7, 10**12])
def test_a_token_leads_to_what_comes_after_its_job(order: int) -> None:
    assert page_start(page_token_of(order)) == f"({order}"


def test_the_first_page_needs_no_token() -> None:
    assert page_start(None) == "+inf"


@pytest.mark.parametrize("token", ["", "x", "MTo", "Mjox", "é", "MTotMQ", "MTrCsg", "M" * 5000])
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        page_start(token)
