import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from shared.backbones import BACKBONES
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from tests.support.api import BODY, CONTENT, STYLE, checked_client, picture_bytes
from tests.support.waiting import wait_for

Submit = Callable[..., dict[str, Any]]


def pointers(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


def test_a_job_is_accepted_with_its_address_and_the_next_poll(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json=BODY | {"metadata": {"order": "A-17"}})
    assert answer.status_code == 202
    job = answer.json()
    assert job["id"].startswith("job_")
    assert (job["status"], job["stage"], job["queue"], job["attempt"]) == (
        "queued",
        "fetching",
        {"position": 1, "eta_seconds": None},
        0,
    )
    assert answer.headers["Location"] == f"{http.base_url}/v1/jobs/{job['id']}".replace("//v1", "/v1")
    assert 1 <= int(answer.headers["Retry-After"]) <= 10
    assert job["metadata"] == {"order": "A-17"}
    assert http.get(answer.headers["Location"]).json() == job


def test_the_answer_shows_the_spec_with_nothing_left_open(submit: Submit) -> None:
    job = submit(spec={"preset": "fast", "seed": 7})
    assert (job["spec"]["size"], job["spec"]["seed"], job["spec"]["backbone"]) == (256, 7, "compact")
    assert job["spec"]["content_layers"] == {"conv4_2": 1.0}


def test_a_submit_rings_the_bell_of_intake(submit: Submit, redis_client: redis.Redis) -> None:
    submit()
    wait_for(lambda: redis_client.llen(Queue.INTAKE) >= 1, "the bell")


def test_places_in_the_queue_count_up(submit: Submit) -> None:
    assert [submit()["queue"]["position"] for _ in range(3)] == [1, 2, 3]


def test_an_own_id_may_be_put_again_but_not_for_another_body(http: httpx.Client) -> None:
    first = http.put("/v1/jobs/order~A-17", json=BODY)
    assert (first.status_code, first.json()["id"]) == (202, "order~A-17")
    assert first.headers["Location"].endswith("/v1/jobs/order~A-17")
    again = http.put("/v1/jobs/order~A-17", json=BODY | {"priority": 0})
    assert (again.status_code, again.json()["created_at"]) == (200, first.json()["created_at"])
    other = http.put("/v1/jobs/order~A-17", json=BODY | {"priority": 1})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


def test_a_put_is_repeatable_after_the_last_painter_left(http: httpx.Client, painter: Workers) -> None:
    http.put("/v1/jobs/mine", json=BODY)
    painter.withdraw("painter")
    http.get("/v1/backbones")  # looks afresh
    assert http.put("/v1/jobs/mine", json=BODY).status_code == 200


def test_twenty_requests_with_one_key_make_one_job(http: httpx.Client, store: JobStore) -> None:
    def post(_: int) -> httpx.Response:
        with checked_client(str(http.base_url)) as client:
            return client.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "once"})

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1
    assert len(store.list("local").jobs) == 1


def test_twenty_puts_of_one_id_make_one_job(http: httpx.Client, store: JobStore) -> None:
    def put(_: int) -> int:
        with checked_client(str(http.base_url)) as client:
            return client.put("/v1/jobs/mine", json=BODY).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(put, range(20)))
    assert statuses == [200] * 19 + [202]
    assert len(store.list("local").jobs) == 1


def test_a_key_gives_its_job_after_the_last_painter_left(http: httpx.Client, painter: Workers) -> None:
    headers = {"Idempotency-Key": "once"}
    first = http.post("/v1/jobs", json=BODY, headers=headers)
    painter.withdraw("painter")
    http.get("/v1/backbones")  # looks afresh
    again = http.post("/v1/jobs", json=BODY, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_key_is_bound_to_its_body(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    http.post("/v1/jobs", json=BODY, headers=headers)
    answer = http.post("/v1/jobs", json=BODY | {"priority": 1}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


def test_every_fault_of_a_request_is_found_at_once(http: httpx.Client, store: JobStore) -> None:
    text = base64.b64encode(b"not a picture").decode()
    found = pointers(
        http.post(
            "/v1/jobs",
            json={
                "content": "upload:up_nowhere",
                "styles": ["gopher://x", {"image": f"data:image/png;base64,{text}", "weight": -1}],
                "spec": {
                    "backbone": "compact",
                    "size": 1,
                    "content_layers": {"conv9_9": 1},
                    "style_layers": {"conv8_8": 1},
                    "a/b": 1,
                },
                "metadata": {"a": 1},
                "surprise": True,
            },
        )
    )
    assert set(found) == {
        "/content",
        "/styles/0",
        "/styles/1/image",
        "/styles/1/weight",
        "/spec/size",
        "/spec/content_layers",
        "/spec/style_layers",
        "/spec/a~1b",
        "/metadata/a",
        "/surprise",
    }
    assert "conv4_2" in found["/spec/content_layers"]
    assert "POST /v1/uploads" in found["/content"]
    assert store.list("local").jobs == []


def test_too_many_styles_are_refused_with_the_limit(http: httpx.Client) -> None:
    found = pointers(http.post("/v1/jobs", json={"content": CONTENT, "styles": [STYLE] * 9}))
    assert found == {"/styles": "A job may name 8 styles here."}


def test_a_known_backbone_that_nobody_offers_says_what_to_run(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json=BODY | {"spec": {"backbone": "vgg16"}})
    assert answer.json()["code"] == "backbone_unavailable"
    assert "impasto weights fetch vgg16" in pointers(answer)["/spec/backbone"]
    assert "compact" in pointers(answer)["/spec/backbone"]


def test_an_unknown_backbone_is_answered_with_the_names(http: httpx.Client) -> None:
    found = pointers(http.post("/v1/jobs", json=BODY | {"spec": {"backbone": "regnet_y_400mf"}}))
    assert "auto, compact, vgg19, vgg16" in found["/spec/backbone"]
    assert "worker has its weights" in found["/spec/backbone"]


def offer(painter: Workers, http: httpx.Client, *backbones: str) -> None:
    painter.advertise(WorkerInfo("other", Queue.PAINT, backbones, "cpu"), 60)
    http.get("/v1/backbones")  # looks afresh


def test_a_network_outside_the_catalogue_is_taken_with_its_layers(
    http: httpx.Client, painter: Workers, submit: Submit, store: JobStore
) -> None:
    offer(painter, http, "regnet_y_400mf")
    layers = {"content_layers": {"trunk_output.block2": 1.0}, "style_layers": {"stem": 0.5}}
    job = submit(spec={"backbone": "regnet_y_400mf", **layers})
    assert {name: job["spec"][name] for name in layers} == layers
    store.cancel("local", job["id"])
    painter.withdraw("other")
    http.get("/v1/backbones")
    retried = http.post(f"/v1/jobs/{job['id']}/retry")
    assert "regnet_y_400mf" in pointers(retried)["/spec/backbone"]


def test_a_network_outside_the_catalogue_needs_both_kinds_of_layers(
    http: httpx.Client, painter: Workers
) -> None:
    offer(painter, http, "regnet_y_400mf")
    found = pointers(http.post("/v1/jobs", json=BODY | {"spec": {"backbone": "regnet_y_400mf", "size": 1}}))
    assert found.keys() == {"/spec/size", "/spec/content_layers", "/spec/style_layers"}
    assert '{"layer3": 1}' in found["/spec/content_layers"]


def test_a_catalogued_torchvision_network_has_default_layers(
    http: httpx.Client, painter: Workers, submit: Submit
) -> None:
    offer(painter, http, "resnet50")
    spec = submit(spec={"backbone": "resnet50"})["spec"]
    assert spec["content_layers"] == BACKBONES["resnet50"].content_layers
    assert spec["style_layers"] == BACKBONES["resnet50"].style_layers


def test_without_a_painter_nothing_is_accepted(http: httpx.Client, painter: Workers) -> None:
    painter.withdraw("painter")
    http.get("/v1/backbones")  # looks afresh
    answer = http.post("/v1/jobs", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (422, "backbone_unavailable")
    assert "start one" in answer.json()["detail"]


def test_a_painter_that_has_just_started_is_seen(
    http: httpx.Client, painter: Workers, submit: Submit
) -> None:
    info = painter.live()[0]
    painter.withdraw("painter")
    http.get("/v1/backbones")
    painter.advertise(info, 60)
    assert submit()["spec"]["backbone"] == "compact"


@pytest.mark.parametrize("scheme", ["data", "upload"])
def test_a_job_on_pictures_that_are_here_skips_intake(
    http: httpx.Client, submit: Submit, redis_client: redis.Redis, scheme: str
) -> None:
    if scheme == "data":
        image = f"data:image/png;base64,{base64.b64encode(picture_bytes()).decode()}"
    else:
        image = http.post("/v1/uploads", files={"file": picture_bytes()}).json()["image"]
    job = submit(content=image, styles=[{"image": image, "weight": 0.5}])
    assert job["stage"] == "waiting"
    assert job["content"]["image"] == ("data:" if scheme == "data" else image)
    assert (job["content"]["width"], job["content"]["height"]) == (40, 30)
    assert (job["styles"][0]["weight"], job["styles"][0]["sha256"]) == (0.5, job["content"]["sha256"])
    wait_for(lambda: redis_client.llen(Queue.PAINT) >= 1, "the bell")


def test_a_job_on_one_url_and_one_upload_goes_through_intake(http: httpx.Client, submit: Submit) -> None:
    image = http.post("/v1/uploads", files={"file": picture_bytes()}).json()["image"]
    assert submit(styles=[image])["stage"] == "fetching"


def test_a_data_uri_over_its_limit_is_refused(http: httpx.Client) -> None:
    image = f"data:image/png;base64,{base64.b64encode(b'x' * 300_000).decode()}"
    assert set(pointers(http.post("/v1/jobs", json=BODY | {"content": image}))) == {"/content"}


def test_a_large_body_is_refused_without_a_broken_connection(http: httpx.Client) -> None:
    for _ in range(3):
        answer = http.post(
            "/v1/jobs",
            content=b'{"content": "' + b"x" * 20_000_000,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 413


def test_a_chunked_body_without_a_length_is_limited_too(http: httpx.Client) -> None:
    chunks = (b" " * 65_536 for _ in range(40))
    answer = http.post("/v1/jobs", content=chunks, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_masks_regions_and_the_start_are_kept_and_shown(http: httpx.Client, submit: Submit) -> None:
    upload = http.post("/v1/uploads", files={"file": picture_bytes()}).json()
    data = f"data:image/png;base64,{base64.b64encode(picture_bytes(8, 6)).decode()}"
    style = {"image": STYLE, "mask": upload["image"], "region": data}
    job = submit(styles=[style, STYLE], init=CONTENT, spec={"init": "picture"})
    first, second = job["styles"]
    assert job["stage"] == "fetching"
    assert (first["mask"]["image"], first["mask"]["sha256"]) == (upload["image"], upload["sha256"])
    assert (first["region"]["image"], first["region"]["width"], first["region"]["height"]) == ("data:", 8, 6)
    assert (second["mask"], second["region"]) == (None, None)
    assert (job["init"]["image"], job["init"]["width"], job["spec"]["init"]) == (CONTENT, None, "picture")


def test_a_mask_to_fetch_is_enough_to_go_through_intake(http: httpx.Client, submit: Submit) -> None:
    image = http.post("/v1/uploads", files={"file": picture_bytes()}).json()["image"]
    style = {"image": image, "mask": image, "region": image}
    stored = {"content": image, "init": image, "spec": {"init": "picture"}}
    assert submit(**stored, styles=[style])["stage"] == "waiting"
    for part in ("mask", "region"):
        assert submit(**stored, styles=[style | {part: STYLE}])["stage"] == "fetching"
    assert submit(**stored | {"init": STYLE}, styles=[style])["stage"] == "fetching"


def test_every_fault_of_masks_and_the_start_is_pointed_at(http: httpx.Client, store: JobStore) -> None:
    text = f"data:image/png;base64,{base64.b64encode(b'not a picture').decode()}"
    styles = [
        {"image": STYLE, "mask": "upload:up_nowhere", "region": text},
        {"image": text, "mask": "gopher://x"},
        {"image": STYLE, "region": text},
    ]
    found = pointers(http.post("/v1/jobs", json={"content": CONTENT, "styles": styles, "init": STYLE}))
    assert set(found) == {
        "/styles/0/mask",
        "/styles/0/region",
        "/styles/1/image",
        "/styles/1/mask",
        "/styles/2/region",
        "/init",
    }
    assert "POST /v1/uploads" in found["/styles/0/mask"]
    assert store.list("local").jobs == []


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"init": STYLE}, "set it to picture, or leave this out"),
        ({"init": STYLE, "spec": {"init": "noise"}}, "`spec.init` is noise"),
        ({"init": STYLE, "spec": {"backbone": "nonesuch"}}, "set it to picture, or leave this out"),
        ({"spec": {"init": "picture"}}, "Name the picture to start from here"),
        ({"init": None, "spec": {"init": "picture", "preset": "fast"}}, "set `spec.init` to content"),
        ({"spec": {"init": "picture", "backbone": "nonesuch"}}, "Name the picture to start from here"),
    ],
    ids=str,
)
def test_a_start_without_its_picture_and_a_picture_without_its_start_are_refused_with_the_remedy(
    http: httpx.Client, change: dict[str, Any], remedy: str
) -> None:
    found = pointers(http.post("/v1/jobs", json=BODY | change))
    assert remedy in found["/init"]
    assert set(found) - {"/init"} <= {"/spec/backbone"}


def test_the_start_is_checked_along_with_everything_else(http: httpx.Client) -> None:
    body = BODY | {"init": "upload:up_nowhere", "spec": {"init": "picture", "size": 1}}
    assert set(pointers(http.post("/v1/jobs", json=body))) == {"/init", "/spec/size"}
    assert "/init" not in pointers(http.post("/v1/jobs", json=BODY | {"init": STYLE, "spec": {"init": "x"}}))


def test_masks_do_not_count_as_styles_but_a_request_holds_no_more_data_than_one_call_may_upload(
    http: httpx.Client, submit: Submit
) -> None:
    style = {"image": STYLE, "mask": CONTENT, "region": CONTENT}
    assert len(submit(styles=[style] * 8)["styles"]) == 8

    data = [f"data:image/png;base64,{base64.b64encode(picture_bytes(2, 2 + n)).decode()}" for n in range(10)]
    styles = [{"image": data[2 * n], "mask": data[2 * n + 1]} for n in range(5)]
    found = pointers(http.post("/v1/jobs", json={"content": CONTENT, "styles": styles}))
    assert set(found) == {"/styles/4/mask"}
    assert "9 pictures as data URIs" in found["/styles/4/mask"]
    # What is named twice is decoded once, and counts once.
    twice = [{"image": one, "mask": one} for one in data[:8]]
    assert submit(content=data[0], styles=twice)["stage"] == "waiting"


def test_a_retry_keeps_masks_and_the_start(http: httpx.Client, submit: Submit) -> None:
    style = {"image": STYLE, "mask": CONTENT, "region": STYLE}
    job = submit(styles=[style], init=CONTENT, spec={"init": "picture"})
    http.post(f"/v1/jobs/{job['id']}/cancel")
    again = http.post(f"/v1/jobs/{job['id']}/retry").json()
    assert again["retry_of"] == job["id"]
    assert (again["styles"], again["init"]) == (job["styles"], job["init"])


def test_a_put_that_differs_in_a_mask_is_another_request(http: httpx.Client) -> None:
    masked = BODY | {"styles": [{"image": STYLE, "mask": CONTENT}]}
    assert http.put("/v1/jobs/mine", json=masked).status_code == 202
    assert http.put("/v1/jobs/mine", json=masked).status_code == 200
    assert http.put("/v1/jobs/mine", json=BODY).status_code == 409
