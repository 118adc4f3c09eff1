import json
import time
from codecs import BOM_UTF8
from typing import Any

import pytest

from shared.errors import InvalidRequest, MalformedRequest
from shared.requests.bodies import parse
from shared.requests.models import JobRequest
from shared.settings import Settings
from shared.spec import Spec

A, B = "https://example.org/a.jpg", "https://example.org/b.jpg"


def faults(body: Any) -> dict[str | None, str]:
    parsed = parse(JobRequest, json.dumps(body).encode())
    assert parsed.model is None
    return {fault.pointer: fault.detail for fault in parsed.faults}


def fingerprint(body: Any) -> str:
    model = parse(JobRequest, json.dumps(body).encode()).model
    assert model is not None
    return model.fingerprint


def test_the_smallest_body_is_two_pictures() -> None:
    model = parse(JobRequest, json.dumps({"content": A, "styles": [B]}).encode()).model
    assert model is not None
    assert (model.content, [style.image for style in model.weighted_styles]) == (A, [B])


def test_every_fault_is_found_and_pointed_at() -> None:
    found = faults(
        {
            "content": 3,
            "styles": [
                "ftp://example.org/x",
                {"image": B, "weight": 0, "wight": 1},
                7,
                {"image": B, "mask": "x.png", "region": 1},
            ],
            "init": "ftp://example.org/x",
            "spec": {"size": 8, "sizee": 512, "init": "void", "content_layers": {"conv4_2": -1}},
            "metadata": {"k" * 65: "v", "a": 1},
            "priority": 10,
            "deadline_seconds": 0,
            "style": B,
        }
    )
    assert set(found) == {
        "/content",
        "/styles/0",
        "/styles/1/weight",
        "/styles/1/wight",
        "/styles/2",
        "/styles/3/mask",
        "/styles/3/region",
        "/init",
        "/spec/size",
        "/spec/sizee",
        "/spec/init",
        "/spec/content_layers/conv4_2",
        "/metadata/" + "k" * 65,
        "/metadata/a",
        "/priority",
        "/deadline_seconds",
        "/style",
    }
    assert found["/spec/sizee"] == "There is no field sizee; did you mean size?"
    assert "styles" in found["/style"]
    assert found["/styles/0"] == found["/styles/3/mask"] == found["/init"]
    assert "http" in found["/init"]
    assert "greater than or equal to 16" in found["/spec/size"]


def test_whether_a_place_is_sound_is_told_quickly_however_many_faults_there_are() -> None:
    wild = {f"unknown{index}": 1 for index in range(20_000)}
    parsed = parse(JobRequest, json.dumps({"content": A, "styles": [B], "spec": wild, "init": 1}).encode())
    started = time.thread_time()
    assert not any(parsed.sound(f"/spec/{name}") for name in wild)
    assert time.thread_time() - started < 20, "not each of them with each of the others"
    assert parsed.sound("/spec/size")
    assert not parsed.sound("/spec")
    assert not parsed.sound("/init/deeper")
    assert parsed.sound("/ini")
    parsed.faults.append(InvalidRequest("too late", pointer="/spec/size"))
    assert not parsed.sound("/spec/size")


def test_missing_fields_are_said_to_be_needed() -> None:
    assert faults({}) == {"/content": "This field is needed.", "/styles": "This field is needed."}


def test_a_body_that_is_no_object_is_said_to_need_braces() -> None:
    assert faults([A, B]) == {"": "This is an object, in braces."}


def test_an_unknown_backbone_is_answered_with_those_there_are() -> None:
    assert (
        "compact" in faults({"content": A, "styles": [B], "spec": {"backbone": "VGG-19"}})["/spec/backbone"]
    )


def test_a_pointer_escapes_tilde_and_slash() -> None:
    assert "/metadata/a~1b~0c" in faults({"content": A, "styles": [B], "metadata": {"a/b~c": 1}})


@pytest.mark.parametrize(
    "image",
    [
        "https://example.org/a.jpg",
        "http://127.0.0.1:9000/a%20b.png?x=1&y=2",
        "https://[2001:db8::1]/a.jpg",
        "upload:up_01",
        "data:image/png;base64,AAAA",
    ],
)
def test_the_forms_of_an_image_are_accepted(image: str) -> None:
    style = {"image": image, "mask": image, "region": image}
    assert parse(
        JobRequest, json.dumps({"content": image, "styles": [image, style], "init": image}).encode()
    ).model


@pytest.mark.parametrize(
    "image",
    [
        "",
        "a.jpg",
        "file:///etc/passwd",
        "http://",
        "https:///a",
        "http://a b/",
        "http://[::1/a",
        "http://h:0/a",
        f"http://example.org/{'x' * 5000}",
    ],
)
def test_what_is_no_image_is_refused(image: str) -> None:
    assert set(faults({"content": image, "styles": [image]})) == {"/content", "/styles/0"}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"content": "a",\n "styles": [}', "line 2, column 13"),
        (b'{"content": "\xff"}', "byte 13"),
        (b'{"spec": {"size": 1, "size": 2}}', "/spec/size"),
        (b'{"styles": [{"a": 1}, {"a/b": 1, "a/b": 1}]}', "/styles/1/a~1b"),
        (b'{"spec": {"tv_weight": NaN}}', "NaN"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "too long"),
        (b"[" * 100_000, "deep"),
        (b'{"content": "\\ud800"}', "half"),
        (b'{"\\udc00": 1, "\\udc00": 2}', "half"),
        (b"", "line 1, column 1"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(body: bytes, where: str) -> None:
    with pytest.raises(MalformedRequest, match=where):
        parse(JobRequest, body)


def test_a_byte_order_mark_in_front_is_ignored() -> None:
    body = json.dumps({"content": A, "styles": [B]}).encode()
    marked = parse(JobRequest, BOM_UTF8 + body)
    assert marked.model == parse(JobRequest, body).model
    assert marked.model is not None


def test_the_same_request_written_differently_has_the_same_fingerprint() -> None:
    plain = fingerprint({"content": A, "styles": [B]})
    assert plain == fingerprint(
        {"styles": [{"image": B, "weight": 1}], "content": A, "priority": 0, "fresh": False, "spec": {}}
    )
    assert plain == fingerprint({"content": A, "styles": [{"image": B}], "spec": {"preset": "painting"}})
    nothing = {"image": B, "mask": None, "region": None}
    assert plain == fingerprint({"content": A, "styles": [nothing], "init": None, "metadata": {}})
    unsaid = {"spec": {"size": None}, "deadline_seconds": None}
    assert plain == fingerprint({"content": A, "styles": [B], **unsaid})


@pytest.mark.parametrize(
    "change",
    [
        {"content": B},
        {"styles": [{"image": B, "weight": 2}]},
        {"styles": [B, B]},
        {"styles": [{"image": B, "mask": A}]},
        {"init": B},
        {"spec": {"seed": 1}},
        {"metadata": {"a": "b"}},
        {"priority": 1},
        {"deadline_seconds": 60},
        {"deadline_seconds": Settings().deadline_seconds},
        {"retention_seconds": Settings().retention_seconds},
        {"spec": {"tv_weight": Spec().tv_weight}},
    ],
)
def test_another_request_has_another_fingerprint(change: dict[str, Any]) -> None:
    body = {"content": A, "styles": [B]}
    assert fingerprint(body) != fingerprint(body | change)


def test_a_mask_is_not_taken_for_a_region() -> None:
    bodies = ({"content": A, "styles": [{"image": B, part: A}]} for part in ("mask", "region"))
    assert len(set(map(fingerprint, bodies))) == 2


def test_of_names_that_are_given_twice_some_are_told_and_the_others_counted() -> None:
    names = [f'"name{index}": 1' for index in range(30_000)]
    with pytest.raises(MalformedRequest, match=r"gives /name0, .* and 29990 more twice or more"):
        parse(JobRequest, f"{{{', '.join(names + names)}}}".encode())
