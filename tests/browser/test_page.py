"""The page in a real Chromium against the whole house."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from deploy.local import House
from tests.integration.service.support import picture
from tests.support.house import running_house

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
    """The page, open; an error in its script or console fails the test."""
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


def test_a_picture_is_painted_from_the_page(page: Page, tmp_path: Path):
    _choose(page, tmp_path)
    page.select_option("[name=preset]", "fast")
    page.fill("[name=size]", "64")
    page.get_by_text("More controls").click()
    page.fill("[name=steps]", "12")

    page.click("#paint")

    expect(page.locator("#state")).to_contain_text("Painted in", timeout=PAINT_MS)
    expect(page.locator("#download")).to_be_visible()
    natural = page.eval_on_selector("#picture", "image => image.decode().then(() => image.naturalWidth)")
    assert natural == 64
    expect(page.locator("#jobs img")).not_to_have_count(0)


def test_a_fault_is_shown_beside_the_field_it_is_about(page: Page, tmp_path: Path):
    _choose(page, tmp_path)
    page.fill("[name=size]", "5")

    page.click("#paint")

    expect(page.locator("#faults")).to_contain_text("/spec/size")


def test_a_running_job_can_be_cancelled_from_the_page(page: Page, tmp_path: Path):
    _choose(page, tmp_path)
    page.fill("[name=size]", "256")
    page.get_by_text("More controls").click()
    page.fill("[name=steps]", "5000")
    page.click("#paint")
    expect(page.locator("#state")).to_contain_text("step", timeout=PAINT_MS)

    page.click("#cancel")

    expect(page.locator("#state")).to_contain_text("canceled", timeout=PAINT_MS)
