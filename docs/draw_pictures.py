"""Draws the pictures of the editors' guide anew, in a real browser: `python docs/draw_pictures.py`.

They are drawn from the words that are shipped, with a slip or two planted, so they show what an editor would see.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from rich.cells import cell_len

HOUSE = Path(__file__).resolve().parent.parent
IMAGES = HOUSE / "docs" / "images"
DULY = Path(sys.executable).parent / "duly"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

#: What an editor might write in a hurry: file, what stands there, what they write.
SLIPS = (
    ("first_notice/sms.en.txt", "has not come in", "has not come in. Pay immediately"),
    ("first_notice/sms.zh-Hans.txt", "还没有到账", "还没有到账，请立即付款"),
    ("first_notice/email.en.txt", "something may have slipped by", "your payment is overdue"),
)
#: A good change, to be seen beside what is live.
BETTER = (("first_notice/sms.en.txt", "has not come in", "has not reached us yet"),)

_TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #161b19; }}
pre {{ display: inline-block; margin: 0; padding: 22px 26px; color: #dfe6e1; white-space: pre;
  font: 15px/1.5 "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace; }}
s {{ display: inline-block; width: 2ch; text-decoration: none; }}
b {{ color: #7fc4ad; font-weight: 400; }}
i {{ color: #f0907a; font-style: normal; }}
u {{ color: #e0b65f; text-decoration: none; }}
</style><pre>{}</pre>"""


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit("docs/draw_pictures.py: there is no Chromium here: `make browser` installs one where it can")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        _draw_all(browser, Path(scratch))
        browser.close()


def _draw_all(browser: Browser, scratch: Path) -> None:
    shipped, slipped, better = HOUSE / "templates", _edited(scratch / "slipped", SLIPS), _edited(scratch / "b", BETTER)
    for at in ("en", "zh-Hans"):
        preview = ("templates", "preview", "first_notice", "--channel", "sms", "--locale", at)
        _terminal(browser, f"preview.{at}", [preview])
    _terminal(browser, "check", [("templates", "check", "--folder", str(slipped))])
    _page(browser, scratch, "words", shipped, "first_notice-sms")
    _page(browser, scratch, "words-dark", shipped, "options-email", scheme="dark")
    _page(browser, scratch, "words-phone", shipped, "first_notice", size=(390, 844))
    _page(browser, scratch, "words-changed", better, "first_notice-sms", live=shipped)
    _page(browser, scratch, "words-refused", slipped, "first_notice-sms")


def _edited(folder: Path, edits: tuple[tuple[str, str, str], ...]) -> Path:
    shutil.copytree(HOUSE / "templates", folder)
    for file, old, new in edits:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text, f"{file}: the words have changed: plant the slip elsewhere"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def _terminal(browser: Browser, name: str, commands: list[tuple[str, ...]]) -> None:
    """A picture of a terminal in which these commands were typed."""
    shown = []
    for words in commands:
        typed = re.sub(r" --folder \S+", "", " ".join(words))
        shown.append(f"$ <b>duly {html.escape(typed)}</b>\n{_coloured(_output(words))}")
    page = browser.new_page(viewport={"width": 1100, "height": 200}, device_scale_factor=2)
    page.set_content(_TERMINAL.format("\n".join(shown)))
    page.locator("pre").screenshot(path=IMAGES / f"{name}.png")
    page.close()


def _output(words: tuple[str, ...]) -> str:
    there = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run([DULY, *words], capture_output=True, text=True, env=there, check=False)
    lines = [_folded(line.rstrip(), 104) for line in (done.stdout + done.stderr).split("\n")]
    return "\n".join(lines).strip()


def _folded(line: str, columns: int) -> str:
    if len(line) <= columns:
        return line
    cut = line.rfind(" ", 0, columns)
    return line[:cut] + "\n  " + _folded(line[cut + 1 :], columns - 2)


def _coloured(text: str) -> str:
    marked = re.sub(r": (error) (\w+)", r": <i>\1 \2</i>", html.escape(text, quote=False))
    marked = re.sub(r": (warning) (\w+)", r": <u>\1 \2</u>", marked)
    return re.sub(r"[^\x00-\xff]", lambda wide: f"<s>{wide[0]}</s>" if cell_len(wide[0]) == 2 else wide[0], marked)


def _page(
    browser: Browser,
    scratch: Path,
    name: str,
    folder: Path,
    anchor: str,
    *,
    size: tuple[int, int] = (1360, 850),
    scheme: str = "light",
    live: Path | None = None,
) -> None:
    """A picture of the page of all copy, from this place on."""
    written = scratch / f"{name}.html"
    beside = str(live) if live else "none"
    words = ("templates", "preview", "--html", str(written), "--folder", str(folder), "--live", beside)
    subprocess.run([DULY, *words], check=True, capture_output=True)
    if live:
        written.write_text(written.read_text("utf-8").replace(str(live), "what is live"), encoding="utf-8")
    scale = 2 if size[0] < 1000 else 1
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, device_scale_factor=scale,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )  # fmt: skip
    page.goto(f"{written.as_uri()}#{anchor}")
    page.screenshot(path=IMAGES / f"{name}.png")
    page.close()


if __name__ == "__main__":
    main()
