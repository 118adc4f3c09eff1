"""The page in a real Chromium against the whole house."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

from deploy.local import House
from tests.integration.service.support import picture
from tests.support.house import running_house
from tests.support.web import Web

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAINT_MS = 90_000
TOKEN = "secret-token-123456"
expect.set_options(timeout=PAINT_MS)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: install the package `chromium`"
    ),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of this file's own."""
    with running_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def page(house: House) -> Iterator[Page]:
    """The page, open."""
    with _open(house) as page:
        yield page


@contextmanager
def _open(house: House) -> Iterator[Page]:
    """The page in a browser of its own; an error in its script fails the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(house.url)
        yield page
        browser.close()
    assert errors == []


def _choose(page: Page, folder: Path) -> None:
    (folder / "content.png").write_bytes(picture())
    (folder / "style.png").write_bytes(picture(hue=90))
    page.set_input_files("#content", folder / "content.png")
    page.set_input_files("#style", folder / "style.png")


def _paint(page: Page, folder: Path) -> None:
    """Order a small picture."""
    _choose(page, folder)
    page.select_option("[name=preset]", "fast")
    page.fill("[name=size]", "64")
    page.get_by_text("More controls").click()
    page.fill("[name=steps]", "12")
    page.click("#paint")


def _width_shown(page: Page) -> int:
    """Pixels of the painting, once it is there."""
    expect(page.locator("#state")).to_contain_text("Painted")
    expect(page.locator("#download")).to_be_visible()
    width: int = page.eval_on_selector("#picture", "image => image.decode().then(() => image.naturalWidth)")
    return width


def test_a_picture_is_painted_from_the_page(page: Page, tmp_path: Path):
    page.evaluate("delete Crypto.prototype.randomUUID")  # as on plain http beyond localhost
    _paint(page, tmp_path)

    assert _width_shown(page) == 64
    expect(page.locator("#jobs img")).not_to_have_count(0)


def test_a_picture_that_was_painted_before_is_shown_at_once(page: Page, tmp_path: Path):
    for _ in range(2):
        page.reload()
        _paint(page, tmp_path)
        assert _width_shown(page) == 64
    expect(page.locator("#state")).to_have_text("Painted before")
    expect(page.locator("#faults")).to_be_hidden()


def test_polls_that_fail_are_shown_and_tried_again(page: Page, tmp_path: Path):
    polls, seen = [], False

    def away_at_first(route: Route) -> None:
        polls.append(route.request.url)
        if len(polls) == 1:
            route.abort()
        elif not seen:
            route.fulfill(status=503, json={"title": "Away", "status": 503, "detail": "The store is away."})
        else:
            route.continue_()

    page.route("**/v1/jobs/job_*", away_at_first)
    _paint(page, tmp_path)

    expect(page.locator("#faults")).to_contain_text("The store is away.")
    seen = True
    assert _width_shown(page) == 64
    expect(page.locator("#faults")).to_be_hidden()


def test_a_fault_is_shown_beside_the_field_it_is_about(page: Page, tmp_path: Path):
    _choose(page, tmp_path)
    page.fill("[name=size]", "5")

    page.click("#paint")

    expect(page.locator("#faults")).to_contain_text("/spec/size")


def test_a_picture_to_start_from_is_asked_for_where_it_is_chosen(page: Page, tmp_path: Path):
    _choose(page, tmp_path)
    page.fill("[name=size]", "64")
    page.get_by_text("More controls").click()
    page.fill("[name=steps]", "12")
    expect(page.locator("#start-row")).to_be_hidden()
    page.select_option("[name=init]", "picture")
    page.click("#paint")
    expect(page.locator("#faults")).to_contain_text("Choose the picture to start from")

    page.set_input_files("#start", tmp_path / "style.png")
    page.click("#paint")

    assert _width_shown(page) == 64


def test_what_has_no_default_is_shown_empty_whatever_the_preset(page: Page):
    page.get_by_text("More controls").click()
    for preset in ("photo", "painting"):
        page.select_option("[name=preset]", preset)
        expect(page.locator("[name=alpha_beta]")).to_have_attribute("placeholder", "")
        expect(page.locator("[name=color] option").first).to_have_text("default (style)")


@pytest.mark.parametrize(
    ("preset", "shown"),
    [("painting", "15 at 512 px"), ("fast", "7.5 at 256 px"), ("faithful-2016", "from alpha beta")],
)
def test_the_style_weight_is_shown_with_what_it_depends_on(page: Page, preset: str, shown: str):
    page.select_option("[name=preset]", preset)

    expect(page.locator("[name=style_weight]")).to_have_attribute("placeholder", shown)


def test_a_running_job_can_be_cancelled_from_the_page(page: Page, tmp_path: Path):
    _choose(page, tmp_path)
    page.fill("[name=size]", "256")
    page.get_by_text("More controls").click()
    page.fill("[name=steps]", "5000")
    page.click("#paint")
    expect(page.locator("#state")).to_contain_text("step")

    page.click("#cancel")

    expect(page.locator("#state")).to_contain_text("canceled")


def test_behind_tokens_the_page_works_once_the_token_is_typed(tmp_path: Path):
    with running_house(tmp_path, IMPASTO_API_TOKENS=f'{{"me": "{TOKEN}"}}') as house, _open(house) as page:
        expect(page.locator("#faults")).to_be_visible()
        page.fill("#token", TOKEN)
        page.press("#token", "Tab")
        expect(page.locator("#faults")).to_be_hidden()
        _paint(page, tmp_path)

        assert _width_shown(page) == 64
        expect(page.locator("#jobs img")).to_have_count(1)

        with Web() as storage:  # as with S3: another origin, which lets no script fetch
            url = storage.file("/painting.png", picture())
            page.route("**/output", lambda route: route.fulfill(json={"url": url}))
            page.evaluate("document.getElementById('token').dispatchEvent(new Event('change'))")
            expect(page.locator("#jobs img")).to_have_attribute("src", url)
            expect(page.locator("#jobs a")).to_have_attribute("href", url)
            shown = "image => image.decode().then(() => image.naturalWidth > 0)"
            assert page.eval_on_selector("#jobs img", shown)
        assert "Authorization" not in storage.seen[0].headers
