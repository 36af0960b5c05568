"""The page of all copy: whole without a network, safe to open, and read in a real browser where there is one."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from console import catalogue_page
from messages.side_by_side import book
from tests.messages.copies import only, shipped

SMS = "first_notice/sms.en.txt"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 120_000  # milliseconds: a browser starts slowly where everything runs at once
LAPTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


class Tags(HTMLParser):
    """Holds that tags close in the order in which they were opened, and keeps what the page would load or run."""

    VOID = frozenset({"br", "meta", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "link", "iframe", "object", "form"):
            self.loads.append(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "srcset", "action") or name.startswith("on")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the shipped words, one of them edited and threatening, beside what was live."""
    few = ("_shared", "upcoming", "first_notice", "options")
    live = {path: words for path, words in shipped().items() if path.split("/")[0] in few}
    threat = live[SMS].replace("has not come in", "has not come in; we will sue")
    drawn = catalogue_page.draw(book({**live, SMS: threat}, live=live), live_name="what is live")
    path = tmp_path_factory.mktemp("page") / "words.html"
    path.write_text(drawn, encoding="utf-8")
    return path


def test_the_page_is_whole_loads_nothing_and_runs_nothing(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")

    read = Tags(text)

    assert (read.open, read.loads) == ([], [])
    assert len(read.ids) == len(set(read.ids))
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import", text)


def test_copy_cannot_bring_markup_into_the_page() -> None:
    nasty = "<b onclick=x>Hi</b> {{ name }} <script>x</script>"

    drawn = catalogue_page.draw(book(only("talk", **{"talk/call.en.md": f"# {nasty}", "talk/sms.en.txt": nasty})))

    assert Tags(drawn).loads == []
    assert "&lt;script&gt;" in drawn


def test_the_page_of_a_folder_that_cannot_be_read_says_why() -> None:
    drawn = catalogue_page.draw(book({"first_notice/sms.en.txt": "Hi"}))

    assert "Not fit for a release" in drawn
    assert "_shared/locales.toml" in drawn


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser | None]:
    """Debian's Chromium, driven; None where no browser is installed (`make browser` installs one where it can)."""
    if BROWSER is None:
        yield None
        return
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], timeout=PATIENCE)
        yield running
        running.close()


def opened(browser: Browser | None, page_file: Path, size: dict[str, int], *, scheme: str = "light") -> Page:
    if browser is None:
        pytest.skip("no Chromium is installed: that the page is read well in a browser was not tested (`make browser`)")
    page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE)
    page.goto(page_file.as_uri())
    return page


def test_a_browser_shows_all_languages_side_by_side_on_a_laptop(browser: Browser | None, page_file: Path) -> None:
    page = opened(browser, page_file, LAPTOP)

    cells = page.locator("#first_notice-sms .row.ordinary .cell")
    boxes = [cells.nth(n).bounding_box() for n in range(3)]
    assert cells.count() == 3
    assert len({box["y"] for box in boxes}) == 1
    assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]
    assert page.evaluate("document.documentElement.scrollWidth") <= LAPTOP["width"]
    page.close()


def test_a_browser_shows_what_is_wrong_and_what_changed_beside_the_text(
    browser: Browser | None, page_file: Path
) -> None:
    page = opened(browser, page_file, LAPTOP)

    cell = page.locator("#first_notice-sms .row.ordinary .cell").first
    assert "Not fit for a release" in page.locator("nav .state").inner_text()
    assert "threat of law" in cell.locator(".findings").inner_text()
    assert cell.locator(".since ins").inner_text() == "; we will sue"
    assert page.locator("#upcoming .since").count() == 0
    page.close()


def test_a_browser_lets_one_language_and_whole_branches_be_chosen(browser: Browser | None, page_file: Path) -> None:
    page = opened(browser, page_file, LAPTOP)

    row = page.locator("#options-email .row").nth(1)
    assert not row.locator(".as-before").first.is_visible()
    page.get_by_text("whole", exact=True).click()
    assert row.locator(".as-before").first.is_visible()
    page.get_by_text("none", exact=True).click()
    assert not row.is_visible()
    page.get_by_text("繁體中文", exact=True).click()
    shown = page.locator("#options-email .row.ordinary .cell:visible")
    assert (shown.count(), shown.first.get_attribute("lang")) == (1, "zh-Hant")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_on_a_phone_without_sideways_scrolling_of_the_page(
    browser: Browser | None, page_file: Path, scheme: str
) -> None:
    page = opened(browser, page_file, PHONE, scheme=scheme)

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    first = page.locator("#first_notice-sms .row.ordinary .cell").first.bounding_box()
    assert first is not None
    assert first["width"] > 0.8 * PHONE["width"]
    ink, ground = (page.evaluate(f"getComputedStyle(document.body).{of}") for of in ("color", "backgroundColor"))
    assert contrast(ink, ground) > 7, "WCAG 2.2, 1.4.6"
    page.close()


def contrast(one: str, other: str) -> float:
    """Of two colours as browsers give them: WCAG 2.2, relative luminance."""
    lights = sorted(
        (_luminance([int(part) for part in re.findall(r"\d+", at)[:3]]) for at in (one, other)), reverse=True
    )
    return (lights[0] + 0.05) / (lights[1] + 0.05)


def _luminance(rgb: list[int]) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
