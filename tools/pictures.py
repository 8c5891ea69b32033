"""Make docs/images from the pages of a project that has been trained: `pictures.py PROJECT`.

Screenshots of the newest training's report and of the GPU check's page, in a headless Chromium.
"""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # tests want BROWSERS, where there is no playwright
    from playwright.sync_api import Page

IMAGES = Path(__file__).parents[1] / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LARGEST = 200_000


def shoot(page: "Page", source: Path, first: str, last: str, name: str) -> None:
    """Take a picture of a page, from the top of one element to the end of another one."""
    page.goto(source.as_uri())
    begin, end = (page.locator(words).first.bounding_box() for words in (first, last))
    top, bottom = begin["y"] - 12, end["y"] + end["height"] + 12
    clip = {"x": 0, "y": top, "width": page.viewport_size["width"], "height": bottom - top}
    page.screenshot(path=IMAGES / name, clip=clip, full_page=True)
    if (size := (IMAGES / name).stat().st_size) > LARGEST:
        sys.exit(f"{name} has {size} bytes: show less of the page")
    print(f"docs/images/{name}: {size} bytes, from {source}")


def main() -> None:
    from playwright.sync_api import sync_playwright

    project = Path(sys.argv[1]).absolute()
    reports = sorted(project.glob("runs/*-digits/report.html"))
    check = project / "reports/gpu_check.html"
    if not reports or not check.exists():
        sys.exit(f"{project} has no report of a training and of a GPU check: `nox -s demo` first")
    if not (browser := next(filter(None, map(shutil.which, BROWSERS)), None)):
        sys.exit("A browser is needed: install chromium")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser)
        page = chromium.new_page(viewport={"width": 960, "height": 800})
        shoot(page, reports[-1], "h1", 'img[alt="Training curves"]', "report.png")
        numbers = "h2:text('Are the numbers right?')"
        shoot(page, check, numbers, 'img[alt="Speed over size"]', "gpu-check.png")
        chromium.close()


if __name__ == "__main__":
    main()
