"""Pages in a headless Chromium, on a phone and on a desk: the docs, and what a project writes."""

import shutil
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from pictures import BROWSERS  # noqa: E402

pytestmark = pytest.mark.container

DOCS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
DOCS += sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))
# As GitHub shows a page: wide tables and blocks scroll by themselves, long words are broken.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><base href="{base}">
<meta name="viewport" content="width=device-width"><title>{name}</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: auto; padding: 1rem;
       overflow-wrap: break-word }}
img {{ max-width: 100% }} pre, table {{ display: block; overflow-x: auto }}
</style>{body}</html>"""


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    if not (browser := next(filter(None, map(shutil.which, BROWSERS)), None)):
        pytest.fail("A browser is needed: install chromium.", pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser)
        yield chromium
        chromium.close()


@pytest.fixture(params=[390, 1280], ids=["phone", "desk"])
def complaints(chromium, request):
    """Open a page, and return what is wrong with it."""
    page = chromium.new_page(viewport={"width": request.param, "height": 900})
    said = []
    page.on("console", lambda message: said.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("requestfailed", lambda request: said.append(f"missing: {request.url}"))

    def look(address: str) -> list[str]:
        said.clear()
        page.goto(address)
        broken = "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
        said.extend(f"broken: {source[:100]}" for source in page.evaluate(broken))
        if (width := page.evaluate("document.documentElement.scrollWidth")) > request.param:
            said.append(f"{width} pixels wide")
        return list(said)

    yield look
    page.close()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The docs as HTML, by name."""
    from markdown_it import MarkdownIt

    markdown, folder = MarkdownIt("commonmark").enable("table"), tmp_path_factory.mktemp("pages")
    for name in DOCS:
        source = ROOT / name
        words = {"name": name, "base": f"{source.parent.as_uri()}/"}
        html = PAGE.format(body=markdown.render(source.read_text()), **words)
        (folder / f"{name.replace('/', '-')}.html").write_text(html)
    return folder


def test_the_docs_can_be_read(rendered, complaints):
    pages = sorted(rendered.glob("*.html"))
    assert len(pages) == len(DOCS)
    found = {page.name: some for page in pages if (some := complaints(page.as_uri()))}
    assert not found


@pytest.mark.parametrize(
    "body",
    [
        '<img src="no.png">',
        '<p style="width: 2000px">wide</p>',
        "<script>console.error('no')</script>",
        "<script>fly()</script>",
    ],
)
def test_what_cannot_be_read_is_found(body, complaints, tmp_path):
    (tmp_path / "page.html").write_text(PAGE.format(body=body, name="x", base=""))
    assert complaints((tmp_path / "page.html").as_uri())


@pytest.fixture(scope="module")
def written(started):
    """The pages that a training and a check of the GPU have written."""
    workspace = started("1000")
    workspace.exec("nox", "-s", "train", "--", "--epochs", "2", "--run-dir", "runs/page")
    workspace.exec("python", "-m", "demo", "gpu-check", "--quick")
    return [workspace.folder / page for page in ("runs/page/report.html", "reports/gpu_check.html")]


def test_what_a_project_writes_can_be_read(written, complaints):
    found = {page.name: some for page in written if (some := complaints(page.as_uri()))}
    assert not found
