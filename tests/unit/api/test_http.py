"""What holds for every answer: problems, request IDs, tokens."""

import io
import json
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

TOKENS = {"alice": "alice-secret", "bob": "bob-secret-ä"}


def test_an_unknown_route_is_a_problem(http: FlaskClient) -> None:
    answer = http.get("/v2/jobs")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answer.json is not None
    assert answer.json["code"] == "not_found"
    assert answer.json["status"] == 404
    assert answer.json["type"].endswith("/docs#not_found")
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


def test_a_wrong_method_keeps_the_allow_header(http: FlaskClient) -> None:
    answer = http.patch("/v1/jobs/a")
    assert (answer.status_code, answer.json and answer.json["code"]) == (405, "method_not_allowed")
    assert {"GET", "PUT", "DELETE"} <= set(answer.headers["Allow"].replace(",", " ").split())


@pytest.mark.parametrize(
    "path", ["//v1/jobs", "/v1/jobs/", "/v1/jobs/a/b/c", "/v1/jobs/a%2Fb/nothing", "/static/x"]
)
def test_odd_paths_are_problems_not_redirects(http: FlaskClient, path: str) -> None:
    answer = http.get(f"http://localhost{path}")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_a_body_that_is_not_json_by_its_type_is_refused(http: FlaskClient) -> None:
    answer = http.post("/v1/jobs", data="{}", content_type="text/plain")
    assert (answer.status_code, answer.json and answer.json["code"]) == (415, "unsupported_media_type")


def test_a_body_over_a_mebibyte_is_too_large(http: FlaskClient) -> None:
    body = json.dumps({"content": "x" * 2**20})
    answer = http.post("/v1/jobs", data=body, content_type="application/json")
    assert (answer.status_code, answer.json and answer.json["code"]) == (413, "too_large")
    assert answer.json
    assert "1048576" in answer.json["detail"]


def test_faults_of_a_body_are_listed_with_pointers(http: FlaskClient) -> None:
    answer = http.post("/v1/jobs", json={"content": 1})
    assert answer.status_code == 422
    assert answer.json
    assert [error["pointer"] for error in answer.json["errors"]] == ["/content", "/styles"]


def test_faults_of_header_path_and_body_come_together(http: FlaskClient) -> None:
    answer = http.post("/v1/jobs", json={"content": 1}, headers={"Idempotency-Key": "a b"})
    assert answer.json
    assert {"/headers/Idempotency-Key", "/content"} <= {error["pointer"] for error in answer.json["errors"]}
    answer = http.put("/v1/jobs/a$b", json={"content": 1})
    assert answer.json
    assert {"/path/id", "/content"} <= {error["pointer"] for error in answer.json["errors"]}


@pytest.mark.parametrize("job_id", ["..", ".", "a b", "ä", "x" * 129])
def test_an_id_that_would_need_escaping_is_refused(http: FlaskClient, job_id: str) -> None:
    answer = http.put(f"/v1/jobs/{job_id}", json={})
    assert answer.json
    assert "/path/id" in {error["pointer"] for error in answer.json["errors"]}


def test_faults_of_a_query_come_together(http: FlaskClient) -> None:
    answer = http.get("/v1/jobs?status=done&limit=0&bach=1")
    assert answer.json
    pointers = {error["pointer"] for error in answer.json["errors"]}
    assert pointers == {"/query/status", "/query/limit", "/query/bach"}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/v1/webhooks/deliveries"])
def test_a_parameter_that_is_given_twice_is_named(http: FlaskClient, path: str) -> None:
    answer = http.get(f"{path}?limit=1&limit=2&page_token=a")
    assert answer.json
    [error] = answer.json["errors"]
    assert error["pointer"] == "/query/limit"
    assert "given 2 times" in error["detail"]


def test_an_error_of_ours_tells_the_caller_nothing_but_its_name(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    app.add_url_rule("/broken", view_func=lambda: 1 // 0)
    answer = app.test_client().get("/broken")
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert answer.json
    assert answer.json["code"] == "internal"
    assert "ZeroDivision" not in answer.text
    assert answer.json["request_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_store_that_is_away_is_a_503_with_retry_after(http: FlaskClient) -> None:
    answer = http.get("/v1/jobs/a")
    assert (answer.status_code, answer.json and answer.json["code"]) == (503, "store_unavailable")
    assert answer.headers["Retry-After"] == "2"


def test_a_callers_request_id_is_kept(http: FlaskClient) -> None:
    assert http.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>"])
def test_a_request_id_that_could_do_harm_is_replaced(http: FlaskClient, given: str) -> None:
    answer = http.get("/healthz", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"].startswith("req_")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer alice-secre",
        "Bearer alice-secrets",
        "Basic alice-secret",
        "alice-secret",
        "Bearer ä",
    ],
)
def test_without_a_known_token_nothing_is_served(
    make_app: Callable[..., Flask], authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = make_app(api_tokens=TOKENS).test_client().get("/v1/presets", headers=headers)
    assert (answer.status_code, answer.json and answer.json["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("authorization", ["Bearer alice-secret", "bearer  alice-secret "])
def test_a_known_token_is_let_in(make_app: Callable[..., Flask], authorization: str) -> None:
    client = make_app(api_tokens=TOKENS).test_client()
    assert client.get("/v1/presets", headers={"Authorization": authorization}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/docs"])
def test_health_and_documentation_need_no_token(make_app: Callable[..., Flask], path: str) -> None:
    assert make_app(api_tokens=TOKENS).test_client().get(path).status_code == 200


def test_links_use_the_public_address_where_one_is_set(make_app: Callable[..., Flask]) -> None:
    client = make_app(public_url="https://paint.example.org/api/").test_client()
    answer = client.get("/nowhere")
    assert answer.json
    assert answer.json["type"] == "https://paint.example.org/api/docs#not_found"


def test_forwarded_headers_change_nothing(http: FlaskClient) -> None:
    answer = http.get("/nowhere", headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"})
    assert answer.json
    assert answer.json["type"].startswith("http://localhost/")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.9.9.9:80", "[::1]:8000"])
def test_without_tokens_loopback_names_are_answered_to(http: FlaskClient, host: str) -> None:
    assert http.get("/v1/presets", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1/presets", "/healthz", "/nowhere"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "[2001:db8::1]:80",
    ],
)
def test_without_tokens_no_other_name_is_answered_to(http: FlaskClient, path: str, host: str) -> None:
    answer = http.get(path, headers={"Host": host})
    assert (answer.status_code, answer.json and answer.json["code"]) == (400, "untrusted_host")
    assert answer.json
    assert "IMPASTO_PUBLIC_URL" in answer.json["detail"]


def test_the_public_addresss_host_is_answered_to(make_app: Callable[..., Flask]) -> None:
    client = make_app(public_url="https://Paint.example.org/api/").test_client()
    for host, status in (("paint.example.org", 200), ("paint.example.org:8443", 200), ("evil.example", 400)):
        assert client.get("/v1/presets", headers={"Host": host}).status_code == status


def test_with_tokens_every_name_is_answered_to(make_app: Callable[..., Flask]) -> None:
    client = make_app(api_tokens=TOKENS).test_client()
    assert client.get("/healthz", headers={"Host": "paint.example.org"}).status_code == 200


@pytest.mark.parametrize("tokens", [{}, TOKENS])
@pytest.mark.parametrize(
    "host", ["", "a b", "localhost:", "localhost:0", "localhost:99999", "u@localhost", "localhost/x", "[::1"]
)
def test_a_bad_host_is_a_problem(make_app: Callable[..., Flask], tokens: dict[str, str], host: str) -> None:
    answer = make_app(api_tokens=tokens).test_client().get("/healthz", headers={"Host": host})
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert answer.json
    assert answer.json["code"] == "malformed_request"


def test_more_files_than_a_job_needs_are_refused_before_any_is_decoded(
    make_app: Callable[..., Flask],
) -> None:
    files = [(io.BytesIO(b"no picture"), f"{index}.png") for index in range(4)]
    client = make_app(max_styles=2).test_client()
    answer = client.post("/v1/uploads", data={"file": files}, content_type="multipart/form-data")
    assert (answer.status_code, answer.json and answer.json["code"]) == (422, "invalid_request")
    assert answer.json
    assert answer.json["errors"] == [{"pointer": "/file", "detail": "A request may have 3 files here."}]
