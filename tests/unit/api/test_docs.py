"""docs/api.md says what the code says."""

import json
import re
from pathlib import Path

import pytest

from api.jobs.views import JobView
from api.openapi import EVERY_OPERATION, document, every_fault
from api.operations import Operation
from api.views import Problem, UploadView
from shared.errors import Fault
from shared.requests.models import JobRequest

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
ROWS = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line[:1] == "|"]


@pytest.mark.parametrize("fault", every_fault(), ids=lambda fault: fault.code)
def test_every_error_code_has_a_row(fault: type[Fault]) -> None:
    rows = [row for row in ROWS if row[0] == fault.code]
    assert len(rows) == 1
    if rows[0][1].isdigit():
        assert int(rows[0][1]) == fault.status
    else:
        assert rows[0][2] == ("yes" if fault.retryable else "no")


def test_no_row_names_a_code_that_is_gone() -> None:
    listed = {row[0] for row in ROWS if re.fullmatch(r"\d{3}|yes|no", row[-1]) or row[1].isdigit()}
    assert listed == {fault.code for fault in every_fault()}


@pytest.mark.parametrize("operation", EVERY_OPERATION, ids=lambda operation: operation.name)
def test_every_operation_has_a_row_and_an_example(operation: Operation) -> None:
    assert f"| `{operation.method.upper()} {operation.path}` |" in PAGE
    path = re.escape(operation.path).replace(r"\{id\}", r"[\w.-]+")
    assert re.search(rf'curl .*\$IMPASTO{path}["? \n]', PAGE)


def test_every_address_on_the_page_is_in_the_document() -> None:
    known = [re.sub(r"\{\w+\}", r"[\\w.{}-]+", path) for path in document()["paths"]]
    for path in re.findall(
        r"(?:\$IMPASTO|http://127\.0\.0\.1:8000|GET |POST |PUT |DELETE )(/[^\s\"`?#,]+)", PAGE
    ):
        assert any(re.fullmatch(pattern, path) for pattern in known), path


def test_the_examples_have_every_field() -> None:
    job, upload, problem = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    assert set(job) == set(JobView.model_fields)
    assert set(upload) == set(UploadView.model_fields)
    assert set(problem) == set(Problem.model_fields)
    JobView.model_validate(job | {"spec": {key: value for key, value in job["spec"].items() if key != "..."}})


def test_every_field_of_a_request_has_a_row() -> None:
    assert set(JobRequest.model_fields) <= {row[0] for row in ROWS}


def test_the_first_example_is_a_valid_request() -> None:
    found = re.search(r"/v1/jobs -H 'Content-Type: application/json' -d '(\{.*?\}\})'", PAGE, re.DOTALL)
    assert found
    assert JobRequest.model_validate_json(found[1])
