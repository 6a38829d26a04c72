"""Make the pictures of the README from a run: python docs/screenshots.py runs/demo

With --all FOLDER every page is taken in light and dark, at the size of a desk and of a telephone,
to be looked at. It needs Chromium and the extras web and dev. The page is the real one, with the
run's own models; its conversations are kept in a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
SIZES = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
SHOWN = (("chat", "light"), ("training", "light"), ("inside", "dark"), ("report", "light"))
LONG = 1300  # pixels of a page in the README, but for the chat
COLOURS = 160  # a picture of a page needs few
PORT = 8599
QUESTIONS = ("What is 17 + 25?", "My name is Ada. What is my name?")
PAGES = {  # address, and what is there when it is drawn
    "chat": ("", "tokens/s"),
    "training": ("/training", "What the doctor says"),
    "inside": ("/inside", "What each layer would say"),
    "report": ("/report", ""),
}


def save(page: Page, path: Path) -> None:
    """One picture, in few colours."""
    page.wait_for_timeout(3000)  # charts draw themselves after the page is there
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLOURS).save(path, optimize=True)


def talk(page: Page, address: str) -> str:
    """A short conversation; its address."""
    page.goto(address)
    for number, question in enumerate(QUESTIONS):
        box = page.get_by_placeholder("Message")
        box.fill(question)
        box.press("Enter")
        page.locator("[class*='st-key-facts-']").nth(number).wait_for()
    page.locator("[data-testid='stFeedback']").nth(len(QUESTIONS) - 1).wait_for()
    return page.url


@contextmanager
def running(run: Path) -> Iterator[str]:
    """`parrotlet web RUN`; its address."""
    with tempfile.TemporaryDirectory() as home:
        flags = ["--no-browser", "--home", home, "--port", str(PORT)]
        command = [sys.executable, "-m", "parrotlet", "web", str(run), *flags]
        web = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert web.stdout is not None
            while not (line := web.stdout.readline()).startswith("chat at"):
                assert line, "the page did not start"
            yield f"http://127.0.0.1:{PORT}"
        finally:
            web.terminate()
            web.wait()


def take(browser: Any, address: str, folder: Path | None) -> None:
    """The README's pictures, or all of them into a folder."""
    talked = ""
    for theme in ("light", "dark"):
        for size, viewport in SIZES.items():
            page = browser.new_page(viewport=viewport, color_scheme=theme)
            page.set_default_timeout(600_000)
            talked = talked or talk(page, address)
            for name, (path, drawn) in PAGES.items():
                if folder is None and (size != "desk" or (name, theme) not in SHOWN):
                    continue
                if path:  # longer than the chat
                    page.set_viewport_size({**viewport, "height": 2600 if folder else LONG})
                page.goto(f"{address}{path}" if path else talked)
                if drawn:
                    page.get_by_text(drawn).first.wait_for()
                save(page, (folder or IMAGES) / _file(name, theme, size, folder))
            page.close()


def _file(name: str, theme: str, size: str, folder: Path | None) -> str:
    return f"{name}-{theme}-{size}.png" if folder else f"{name}.png"


def main() -> None:
    """Start the page, look at it, stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit("no chromium is installed")
    with running(given.run) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        take(browser, address, given.all)
        browser.close()


if __name__ == "__main__":
    main()
