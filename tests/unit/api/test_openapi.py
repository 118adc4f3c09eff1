import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from api.openapi import document, every_fault
from shared import errors
from shared.spec import Spec

KEPT = Path("docs/openapi.json")
REMEDY = "run `python -m api.openapi > docs/openapi.json`"


def test_the_document_is_valid_openapi() -> None:
    validate(document())


def test_the_documents_operations_are_the_applications_routes(http: FlaskClient) -> None:
    app: Flask = http.application
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?\w+>", "{id}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in UNDOCUMENTED
    }
    described = {(method, path) for path, item in document()["paths"].items() for method in item}
    assert described == routes


#: The page for people and what it loads are no part of the API.
UNDOCUMENTED = {"/", "/static/<name>"}


def test_the_kept_document_is_the_codes() -> None:
    assert json.loads(KEPT.read_text()) == document(), REMEDY


def test_the_service_hands_out_its_document(http: FlaskClient) -> None:
    assert http.get("/openapi.json").json == document()


def test_every_field_says_what_it_is_for() -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document()["components"]["schemas"].items()
        for field, value in schema.get("properties", {}).items()
        if "description" not in value
    ]
    assert silent == []


def test_the_spec_in_the_document_is_the_spec() -> None:
    schemas = document()["components"]["schemas"]
    assert set(schemas["Spec"]["properties"]) == set(Spec.model_fields)
    assert set(schemas["SpecRequest"]["properties"]) == {*Spec.model_fields, "preset"}


def test_every_reference_leads_somewhere() -> None:
    schemas = document()["components"]["schemas"]
    assert {ref.rpartition("/")[2] for ref in _references(document())} <= set(schemas)


def test_the_page_shows_every_path_schema_and_error(http: FlaskClient) -> None:
    page = http.get("/docs").text
    for path in document()["paths"]:
        assert path in page
    for name in document()["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
    for fault in every_fault():
        assert f'id="{fault.code}"' in page


def test_the_page_shows_names_as_code_and_the_rest_as_text(http: FlaskClient) -> None:
    page = http.get("/docs").text
    assert "poll the address in <code>Location</code>" in page
    assert "`" not in page
    assert "&lt;id&gt;" in page  # `upload:<id>` is no tag


def test_the_page_loads_nothing(http: FlaskClient) -> None:
    answer = http.get("/docs")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"""(src|href)=["'](https?:)?//|<script|@import|url\(""", answer.text)


def test_every_fault_is_in_the_list_of_faults() -> None:
    classes = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.Fault) and kind is not errors.Fault
    }
    assert set(every_fault()) == classes


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _references(child)
