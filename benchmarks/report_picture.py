"""The picture of the report in the README: the page about 10 % of the digits, in Chromium.

    pip install 'elfs[test]'
    python benchmarks/report_picture.py docs/report.png                  # runs the chain first, about a minute
    python benchmarks/report_picture.py all.png --page elfs-report.html  # of a page that is there

Of a page that is there it makes ``all-1400-light.png`` and so on, 1400 and 390 pixels wide, light and dark, and
``...-view.png`` with an image open. What a page says on the console, and any address that it fetches, ends it with 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

WIDTH, HEIGHT, COLORS = 1000, 1370, 128
LOOKS = [(width, scheme) for width in (1400, 390) for scheme in ("light", "dark")]


def chain(folder: Path) -> Path:
    """Select 10 % of the digits, as the README does, and return the page about it."""
    options = {"cwd": folder, "check": True, "env": os.environ | {"ELFS_DEVICES": "cpu"}}
    for line in (["run", "digits", "--budget", "0.1", "--key", "aum"], ["report"]):
        subprocess.run([sys.executable, "-m", "elfs", *line], **options)  # type: ignore[call-overload]
    return folder / "elfs-report.html"


def look(browser: Any, page: Path, width: int, height: int, scheme: str, out: Path, view: Path | None) -> list[str]:
    """Photograph a page, and return what it complained of and fetched."""
    said: list[str] = []
    opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else said.append(sent.url))
    opened.goto(page.absolute().as_uri())
    opened.wait_for_selector("#grid .tile")
    opened.screenshot(path=out)
    if view is not None:
        opened.click("#grid .tile >> nth=0")
        opened.screenshot(path=view)
    opened.close()
    return said


def main() -> None:
    """Write the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if given.page is None:
            shot = Path(place) / "shot.png"
            said = look(browser, chain(Path(place)), WIDTH, HEIGHT, "light", shot, None)
            Image.open(shot).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(given.output, optimize=True)
        else:
            said = []
            for width, scheme in LOOKS:
                out, view = (
                    given.output.with_stem(f"{given.output.stem}-{width}-{scheme}{end}") for end in ("", "-view")
                )
                said += look(browser, given.page, width, 1700, scheme, out, view)
        browser.close()
    sys.exit("\n".join(said) or None)


if __name__ == "__main__":
    main()
