"""The pages: every command is executed by a test or says why not, and every link leads somewhere.

A page is a Markdown file of this repository, or one that a project gets, here for several
answers. Whether pages look right is seen in a browser: tests/container/test_pages.py.
"""

import re
import struct
import sys
import unicodedata
from pathlib import Path

import pytest
from conftest import ROOT, git_files
from copier import run_copy

sys.path.insert(0, str(ROOT / "tools"))
from pages import BLOCK, blocks  # noqa: E402

SITE = "https://github.com/org/gpu-ml-template/"
TOOL = "https://raw.githubusercontent.com/org/gpu-ml-template/main/template/tools/update.py"
ANSWERS = (
    {"framework": "tensorflow", "ci": "github"},
    {"framework": "jax", "ci": "gitlab", "license": "none"},
    {"framework": "torch", "ci": "none"},
)
OWN = ["README.md", "CONTRIBUTING.md", *(f"{path}" for path in ROOT.glob("docs/**/*.md"))]
OWN = {str(Path(name).relative_to(ROOT)) if name[0] == "/" else name: name for name in OWN}

# Pages of which a test types each block that has no reason not to.
WHOLE = {
    "docs/adopting.md": "test_adopt.py::test_adopting_keeps_every_byte",
    "docs/first-day.md": "test_first_day.py::test_it_ends_with_a_model_a_report_and_a_notebook",
    "docs/gpu-check.md": "test_first_day.py::test_every_days_commands",
    "docs/maintaining.md": "test_maintaining.py::test_a_release_is_tagged_recorded_and_pushed",
    "docs/tracking.md": (
        "test_tracking.py::test_mlflow_gets_each_finished_run_once_and_shows_it_here_only"
    ),
    "docs/training.md": "test_first_day.py::test_every_days_commands",
    "docs/updating.md": "test_plain_update.py::test_the_guides_commands",
    "docs/your-data.md": "test_first_day.py::test_your_own_data_and_model",
}

# The test of each other command, by how it begins; the longest beginning counts.
TESTS = {
    "copier": "test_first_day.py::test_it_ends_with_a_model_a_report_and_a_notebook",
    "copier copy": "test_first_day.py::test_it_ends_with_a_model_a_report_and_a_notebook",
    "copier copy --data-file": "test_adopt.py::test_a_kept_file_can_take_the_templates_text",
    "copier copy --overwrite": "test_adopt.py::test_a_script_stops_at_the_first_file_of_theirs",
    "copier copy --skip": "test_adopt.py::test_adopting_keeps_every_byte",
    "copier recopy": "test_questions.py::test_update_and_recopy_keep_the_answers",
    "copier update": "test_maintaining.py::test_a_project_moves_to_the_fork",
    "docker build": "container/test_runtime.py::image",
    "docker builder prune": "container/engine.py::prune",
    "docker exec": "container/test_gitlab.py::runner",
    "docker info": "container/engine.py::find",
    "docker run": "container/test_runtime.py::test_it_trains",
    "docker system df": "container/engine.py::records",
    "git commit": "test_plain_update.py::test_the_guides_commands",
    "mkdir": "test_first_day.py::test_every_days_commands",
    "nox": "test_first_day.py::test_there_is_a_demo_and_ci_runs_the_others",
    "nox -s audit": "test_ci.py::test_the_sessions_make_their_environment_by_themselves",
    "nox -s bench": "test_generated.py::test_its_benchmark_measures_all_settings",
    "nox -s ci": "test_ci.py::test_ci_is_one_command_anywhere",
    "nox -s container": "test_container_tool.py::run",
    "nox -s demo": "test_first_day.py::day",
    "nox -s doctor": "test_first_day.py::test_it_ends_with_a_model_a_report_and_a_notebook",
    "nox -s doctor -- --report": "test_doctor.py::test_a_report_tells_nothing_of_who_and_where",
    "nox -s gpu": "test_generated.py::test_a_gpu_that_is_expected_is_missed_in_the_last_line",
    "nox -s hooks": "container/test_lifecycle.py::test_without_git_it_starts",
    "nox -s lab": "container/test_browser.py::lab",
    "nox -s lint": "test_generated.py::test_its_own_lint_and_hooks_pass",
    "nox -s lock": "test_generated.py::projects",
    "nox -s lock -- --upgrade": "test_first_day.py::test_every_days_commands",
    "nox -s notebook": "test_generated.py::test_its_notebook_runs",
    "nox -s projects": "test_first_day.py::test_there_is_a_demo_and_ci_runs_the_others",
    "nox -s release": "test_maintaining.py::test_a_release_is_tagged_recorded_and_pushed",
    "nox -s sbom": "test_ci.py::test_the_sessions_make_their_environment_by_themselves",
    "nox -s setup": "test_generated.py::projects",
    "nox -s setup -- scale": "test_scale.py::project",
    "nox -s tensorboard": "template/tests/engine/test_servers.py::serve",
    "nox -s tests": "test_generated.py::test_its_own_tests_pass",
    "nox -s tests -- -k guards": "test_guards.py::",
    "nox -s tests -- -k questions": "test_questions.py::",
    "nox -s train": "test_first_day.py::test_every_days_commands",
    "nox -s update": "test_plain_update.py::test_the_guides_commands",
    "python -m PACKAGE.engine.image_folder": (
        "template/tests/engine/test_image_folder.py::test_the_program_lists_what_it_finds"
    ),
    "python -m PACKAGE benchmark": "template/tests/engine/test_benchmark.py::",
    "python -m PACKAGE evaluate": "test_first_day.py::test_every_days_commands",
    "python -m PACKAGE export": "test_first_day.py::test_every_days_commands",
    "python -m PACKAGE gpu-check": "template/tests/engine/test_gpu_check.py::",
    "python -m PACKAGE launch": "test_scale.py::launch",
    "python -m PACKAGE predict": (
        "template/tests/engine/test_predict.py::test_the_command_prints_a_line_per_file"
    ),
    "python -m PACKAGE runs": "template/tests/engine/test_compare.py::test_a_real_run",
    "python -m PACKAGE train": "test_scale.py::start",
    "python tools/update.py": "safe_update.py::update",
    "python make_shapes.py": "test_first_day.py::test_your_own_data_and_model",
    "python3 -m venv": "test_first_day.py::day",
    "python3 .devcontainer/doctor.py": "test_doctor.py::call",
    "source .venv/bin/activate": "test_first_day.py::test_every_days_commands",
    f"uv run {TOOL}": "test_plain_update.py::test_the_guides_commands",
    "uv tool install": "test_first_day.py::test_it_ends_with_a_model_a_report_and_a_notebook",
}
# Named in a text, and not for a test to run.
NOT_RUN = {
    "docker context use": "a remedy for a host that is not at hand",
    "docker login": "needs a registry",
    "docker pull": "needs a registry",
    "docker volume ls": "a remedy for a volume; tests remove theirs",
    "docker volume rm": "a remedy for a volume; tests remove theirs",
    "grep": "a remedy for a host that is not at hand",
    "docker run --gpus all": "needs a GPU",
    "kubectl": "needs a cluster",
    "nox -s bench -- images": "measures, on demand, in this repository",
    "nox -s bench -- ladder": "measures, on demand, in this repository",
    "nox -s bench -- lines": "measures, on demand, in this repository",
    "nox -s container -- bash": "somebody types into it",
    "nox -s images": "a test itself, on demand",
    "nox -s pictures": "makes what is seen in README.md, on demand",
    "nox -s scale": "a test itself, on demand",
    "nox -s thorough": "a test itself, on demand",
    "nox -s setup -- gpu": "gigabytes; the build of the image for the GPU installs the same lock",
    "nox -s update_fuzz": "a test itself, on demand",
    "pip install": "another's command, named for what it does to the container",
    "pipx install": "another way to the same two programs",
    "pipx run": "another way to the same program",
    "sbatch": "needs Slurm",
    "sudo": "changes a host: what says so is tested, and no such host is at hand",
    "uv pip compile": "inside of `nox -s lock`",
    "uv pip install": "another's command, named for what it does to the container",
    "uv pip sync": "inside of `nox -s setup`",
    "uv tool update-shell": "changes the settings of the shell of whoever runs it",
    "uvx": "another way to the same program",
    "wsl": "needs Windows",
    "nox -l": "only lists; that each session exists is tested",
}
SHELLS = {"sh", "shell", "bash", "powershell"}
SHOWN = {"console", "diff", "json", "python", "text", "toml", "yaml"}  # nothing to type
PROGRAMS = r"(?:copier|docker|kubectl|nox|pip|pipx|python3?|sbatch|source|sudo|uv|uvx|wsl) \S"


@pytest.fixture(scope="module")
def pages(template, tmp_path_factory) -> dict[str, str]:
    """The text of each page, by name; those of a project begin with its framework."""
    found = {name: (ROOT / name).read_text() for name in OWN}
    for answers in ANSWERS:
        folder = tmp_path_factory.mktemp("pages") / "myproj"
        run_copy(str(template), folder, data=answers, defaults=True, quiet=True)
        for path in folder.rglob("*.md"):
            if path.name != "CHANGELOG.md":
                name = f"{answers['framework']}: {path.relative_to(folder)}"
                text = re.sub("myproj|{{ package }}", "PACKAGE", path.read_text())
                found[name] = re.sub(r"{{ path .*?}}", "RUN_DIR", text)  # of the model card
    return found


# Commands


def plain(command: str) -> str:
    """A command without its comment, and as it is called in this table."""
    return re.sub(r"\s+# .*|^[.]venv/bin/", "", command).replace("myproj", "PACKAGE").strip()


def source(test: str) -> str:
    """The file of a test, `test_x.py::name`; LookupError if it has no such test or fixture."""
    file, _, name = test.partition("::")
    path = ROOT / file if file.startswith("template/") else ROOT / "tests" / file
    jinja = path.with_name(f"{path.name}.jinja")
    text = (jinja if jinja.exists() else path).read_text()
    if name and not re.search(rf"^ *def {name}\b", text, re.M):
        raise LookupError(f"{file} has no {name}")
    return text


def beginning(command: str, table: dict[str, str]) -> str | None:
    """The longest beginning of a command that is in a table; `nox` is all of its command."""
    fits = [x for x in table if command == x or (command.startswith(f"{x} ") and x != "nox")]
    return max(fits, key=len, default=None)


def typed(page: str) -> list[str]:
    """The commands of a page's blocks that have no reason not to be run, and those in its text."""
    found = [c for b in blocks(page) if b.kind in SHELLS and not b.why for c in b.commands]
    text = BLOCK.sub("", page)
    return found + [c for c in re.findall(r"`([^`\n]+)`", text) if re.match(PROGRAMS, c)]


def unknown(name: str, page: str) -> list[str]:
    """The commands of a page that no test runs, and that do not say why."""
    kinds = {"shell"} if name == "README.md" else SHELLS if name in WHOLE else ()
    done = [c for b in blocks(page) if b.kind in kinds for c in b.commands]
    parts = (part for c in typed(page) if c not in done for part in re.split(" && | [|] ", c))
    found = (part for part in map(plain, parts) if not part.startswith("cd "))
    return [part for part in found if beginning(part, TESTS | NOT_RUN) is None]


def test_every_command_is_executed_or_says_why_not(pages):
    found = {name: some for name, page in pages.items() if (some := unknown(name, page))}
    assert not found, "Name the test that runs it, or say `<!-- not run here: why -->` above it"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```sh\nnox -s train\nnox -s fly\n```\n", ["nox -s fly"]),
        ("<!-- not run here: no wings -->\n```sh\nnox -s fly\n```\n", []),
        ("Now `nox -s fly` and `nox -s train`.\n", ["nox -s fly"]),
        ("* Now:\n\n  ```sh\n  uvx fly --high\n  ./wings\n  ```\n", ["./wings"]),
    ],
)
def test_a_command_without_a_test_is_found(page, said):
    assert unknown("docs/new.md", page) == said


@pytest.mark.parametrize(("command", "test"), [*TESTS.items(), *WHOLE.items()])
def test_the_tests_of_commands_exist_and_name_them(command, test):
    seen = source(test)
    if command in WHOLE:
        assert Path(command).name in seen or f'"{Path(command).stem}"' in seen
        return
    seen += "".join((ROOT / page).read_text() for page in WHOLE if Path(page).name in seen)
    words = set(command.split()) - {"nox", "-s", "--", "python", "python3", "-m", "PACKAGE"}
    assert all(word.removeprefix("PACKAGE.").strip("-") in seen for word in words)


def test_each_session_that_is_named_exists(pages, template):
    def sessions(file: str) -> set[str]:
        text = (template / file).read_text()
        return set(re.findall(r"^@(?:task|nox\.session.*)\ndef (\w+)", text, re.M))

    ours, theirs = sessions("noxfile.py"), sessions("template/noxfile.py.jinja")
    for name, page in pages.items():
        named = set(re.findall(r"nox -s (\w+)", page))
        assert named <= theirs | (ours if name in OWN else set()), name
    for session in theirs:
        for answers in ANSWERS:
            readme = pages[f"{answers['framework']}: README.md"]
            assert f"`nox -s {session}" in readme, f"README.md of a project lacks {session}"
    for session in ours - {"publish"}:
        text = pages["CONTRIBUTING.md"] + pages["README.md"]
        assert re.search(rf"nox -s {session}\b", text), session


def test_every_block_says_what_it_is(pages):
    for name, page in pages.items():
        kinds = {block.kind for block in blocks(page)}
        assert kinds <= SHELLS | SHOWN, f"{name}: {kinds - SHELLS - SHOWN}"
        assert len(re.findall(r"^ *```", page, re.M)) == 2 * len(blocks(page)), name
        marks = len(re.findall("^<!-- not run here", page, re.M))
        assert marks == sum(block.why is not None for block in blocks(page)), f"{name}: a mark"


def test_the_first_screen_of_the_readme_fits(pages):
    lines = pages["README.md"].splitlines()
    assert next(n for n, line in enumerate(lines) if line.startswith("## ")) <= 60
    assert "docs/images/report.png" in "\n".join(lines[:60])


def test_a_projects_readme_is_short(pages):
    for answers in ANSWERS:
        assert len(pages[f"{answers['framework']}: README.md"].splitlines()) <= 155


# Pictures and links


def test_pictures_are_small_and_shown(pages):
    for path in (ROOT / "docs/images").iterdir():
        data = path.read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        assert data[1:4] == b"PNG" and len(data) < 200_000 and 600 <= width <= 1280 >= height, path
        assert any(f"images/{path.name})" in page for page in pages.values()), path


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    kept = (c for c in text if c in " -_" or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def anchors(page: str) -> set[str]:
    return {slug(h) for h in re.findall(r"^#+ (.*)$", BLOCK.sub("", page), re.M)}


def dead(text: str, home: Path) -> list[str]:
    """What the links of a page in a folder lead to, where that is not there."""
    prose = BLOCK.sub("", text)
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    links += re.findall(re.escape(SITE) + r"blob/main/[\w./#-]+\w", text)
    found = []
    for link in links:
        local = link.removeprefix(SITE + "blob/main/")
        if re.match(r"\w+:", local):
            continue
        file, _, anchor = local.partition("#")
        path = (ROOT if local != link else home) / file
        page = (
            text if not file else path.read_text() if path.suffix == ".md" and path.exists() else ""
        )
        if (file and not path.exists()) or (anchor and anchor not in anchors(page)):
            found.append(link)
    return found


def test_no_link_of_a_page_is_dead(pages, copy, tmp_path):
    assert copy(tmp_path / "project").returncode == 0
    assert copy(tmp_path / "gitlab", ci="gitlab").returncode == 0
    found = {}
    for name, page in pages.items():
        if "/report/templates/" in name:  # its pictures are in a run's directory
            continue
        project = tmp_path / ("gitlab" if name.startswith("jax") else "project")
        home = ROOT / name if name in OWN else project / name.partition(": ")[2]
        found |= {name: some} if (some := dead(page, home.parent)) else {}
    assert not found


def test_no_link_of_the_code_is_dead():
    found = {}
    for path in map(ROOT.joinpath, git_files("template")):
        if path.suffix not in (".png", ".txt"):
            links = re.findall(re.escape(SITE) + r"blob/main/[\w./#-]+\w", path.read_text())
            some = [link for link in links if dead(f"[x]({link})", ROOT)]
            found |= {str(path): some} if some else {}
    assert not found


@pytest.mark.parametrize(
    "link", ["no.md", "docs/scaling.md#no", "#no", f"{SITE}blob/main/docs/no.md"]
)
def test_a_dead_link_is_found(link):
    assert dead(f"See [this]({link}).\n", ROOT)


def test_what_files_say_of_the_projects_readme_is_there(pages):
    """Such as: see "Resuming" in README.md."""
    for path in map(ROOT.joinpath, git_files("template")):
        if path.suffix != ".txt":
            text = path.read_text()
            for pattern in (r'"([A-Z][\w ]+)" in README\.md', r'README(?:\.md)?, "([A-Z][\w ]+)"'):
                for heading in re.findall(pattern, text):
                    named = "gitlab" in str(path) and "jax" or "tensorflow"
                    assert slug(heading) in anchors(pages[f"{named}: README.md"]), path
