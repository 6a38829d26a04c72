"""Make the pictures of the README from a run: python docs/screenshots.py runs/demo

It needs Chromium and the extras web and dev. The page is the real one, with the run's own models;
its conversations are kept in a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 800}
COLOURS = 160  # a picture of a page needs few
PORT = 8599
QUESTIONS = ("What is 17 + 25?", "My name is Ada. What is my name?")


def save(page: Page, name: str) -> None:
    """One picture, in few colours."""
    page.wait_for_timeout(2500)  # charts draw themselves after the page is there
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    IMAGES.mkdir(exist_ok=True)
    picture.quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)


def take(page: Page, address: str) -> None:
    """The pictures, in order."""
    page.set_default_timeout(120_000)
    page.goto(address)
    for number, question in enumerate(QUESTIONS):
        box = page.get_by_placeholder("Message")
        box.fill(question)
        box.press("Enter")
        page.locator("[class*='st-key-facts-']").nth(number).wait_for()
    page.locator("[data-testid='stFeedback']").nth(len(QUESTIONS) - 1).wait_for()
    save(page, "chat")
    page.goto(f"{address}/training")
    page.get_by_text("What the doctor says").wait_for()
    save(page, "training")
    page.goto(f"{address}/inside")
    page.get_by_text("What each layer would say").wait_for()
    save(page, "inside")


def main() -> None:
    """Start the page, look at it, stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    chromium = shutil.which("chromium") or sys.exit("no chromium is installed")
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        flags = ["--no-browser", "--home", home, "--port", str(PORT)]
        command = [sys.executable, "-m", "parrotlet", "web", str(run), *flags]
        web = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert web.stdout is not None
            while not (line := web.stdout.readline()).startswith("chat at"):
                assert line, "the page did not start"
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
            )
            take(browser.new_page(viewport=SIZE), f"http://127.0.0.1:{PORT}")
            browser.close()
        finally:
            web.terminate()
            web.wait()


if __name__ == "__main__":
    main()
