"""The generated project: set-up, lint, tests, training and notebook, as its README says.

JAX's is one of the first release, a year of work later, updated: what holds for a new project has
to hold for it.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import commit, git, isolate
from projects import nox, own_home
from releases import read_releases
from safe_update import live, unmerged, update
from test_first_day import edit, edits

pytestmark = pytest.mark.projects

FRAMEWORKS = ["tensorflow", "jax", "torch"]
THOROUGH = [pytest.param(name, marks=pytest.mark.thorough) for name in FRAMEWORKS]
# test_first_day.py sees the same of tensorflow's project.
OTHERS = [THOROUGH[0], *FRAMEWORKS[1:]]
# What depends on the framework. tests/container/test_ci.py runs the rest of tensorflow's.
CORE = ["data", "train", "resume", "export"]
LONG = ["resume", "distributed", "benchmark", "gpu_check"]


def updated(folder: Path, framework: str, copy, tagged: Path) -> None:
    """Make a project of the oldest release, work in it, and update it safely."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder.with_name("settings"), tagged)
        done = copy(folder, f"--vcs-ref={next(iter(read_releases()))}", framework=framework)
        assert done.returncode == 0, done.stderr
        commit(folder)
        live(folder, executed=False)
        commit(folder)
        done = update(folder)
        # The update leaves the locks to a lock.py that it has just changed.
        assert done.returncode == 2 and "nox -s lock" in done.stdout, done.stdout + done.stderr
        conflicts = unmerged(folder)  # both append to it
        assert {Path(name).name for name in conflicts} <= {"train.py"}, done.stdout
        for name in conflicts:
            git(folder, "checkout", "--theirs", "--", name)
        commit(folder)


@pytest.fixture(scope="module")
def projects(copy, tagged, tmp_path_factory):
    """Projects in git repositories, in homes that nothing has been installed in; each made once."""
    made = {}

    def project(framework: str) -> Path:
        if framework not in made:
            folder = made[framework] = tmp_path_factory.mktemp(framework) / "project"
            if framework == "jax":
                updated(folder, framework, copy, tagged)
            else:
                done = copy(folder, framework=framework)
                assert done.returncode == 0, done.stderr
                commit(folder)
            (folder.parent / "home").mkdir()
            if framework == "jax":
                nox(folder, "-s", "lock")
                commit(folder)
            nox(folder, "-s", "setup", "--", "cpu")
        return made[framework]

    return project


@pytest.fixture(scope="module", params=FRAMEWORKS)
def project(request, projects) -> Path:
    return projects(request.param)


def writes_a_report(notebook: Path) -> bool:
    """Whether this is the notebook of a release after the first one, whose notebook wrote none."""
    return "reports/gpu_check.json" in notebook.read_text()


def test_its_own_lint_and_hooks_pass(project):
    assert "no private keys" in nox(project, "-s", "lint")


def find_type_errors(environment: Path, folder: Path, *paths: Path) -> str:
    """Return the type errors of a project, checked as its lint does with packages of another's."""
    python = environment / ".venv/bin/python"
    line = [python, "-m", "pyrefly", "check", f"--python-interpreter-path={python}", *paths]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, " INFO 0 errors" in done.stderr) in ((0, True), (1, False)), done
    return done.stdout if done.returncode else ""


@pytest.mark.parametrize("version", ["v0.6.0", "v0.8.0"])
def test_an_update_brings_no_type_errors_but_those_of_the_engine(
    projects, copy, tagged, tmp_path, version
):
    folder = tmp_path / "myproj"
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path / "settings", tagged)
        assert copy(folder, f"--vcs-ref={version}").returncode == 0
        commit(folder)
        done = update(folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert find_type_errors(projects("tensorflow"), folder) == ""
    for name in ("train.py", "report/page.py"):
        path = folder / "src/myproj/engine" / name
        path.write_text(path.read_text() + '\n\nWRONG: int = "text"\n')
    found = find_type_errors(projects("tensorflow"), folder)
    assert "src/myproj/engine/train.py:" in found and "src/myproj/engine/report/page.py:" in found


@pytest.mark.parametrize("project", ["tensorflow"], indirect=True)
def test_the_files_that_are_yours_start_without_type_errors(project):
    [package] = (project / "src").iterdir()
    paths = [package / f"{name}.py" for name in ("recipes", "data", "model", "task")]
    assert find_type_errors(project, project, *paths) == ""


def test_its_hooks_stop_a_commit(project):
    (project / "bad.py").write_text("x = 1   \n")
    git(project, "add", "bad.py")
    line = ["git", "commit", "--message=Bad"]
    done = subprocess.run(line, cwd=project, env=own_home(project), capture_output=True, text=True)
    git(project, "rm", "--quiet", "--force", "bad.py")
    assert done.returncode == 1
    assert "files were modified by this hook" in done.stderr + done.stdout


def test_training_works_as_its_own_tests_say(project):
    names = LONG if project.parent.name.startswith("tensorflow") else CORE
    printed = nox(project, "-s", "tests", "--", *(f"tests/engine/test_{name}.py" for name in names))
    assert not re.search(r"\d (failed|skipped|xfailed)", printed)


@pytest.mark.parametrize("project", THOROUGH, indirect=True)
def test_its_own_tests_pass(project, record_property):
    printed = nox(project, "-s", "tests")
    record_property("its tests", re.search(r"=+ (.* passed.*) =+\n", printed)[1])
    assert not re.search(r"\d (failed|skipped|xfailed)", printed)


@pytest.mark.parametrize("project", OTHERS, indirect=True)
def test_it_trains_on_real_data(project):
    printed = nox(project, "-s", "train")
    assert "on the CPU (it sees no GPU)" in printed
    [run_dir] = (project / "runs").glob("*-digits")
    assert json.loads((run_dir / "metrics.json").read_text())["val_accuracy"] >= 0.97
    assert (run_dir / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("project", OTHERS, indirect=True)
def test_its_notebook_runs(project):
    nox(project, "-s", "notebook")
    assert (project / "runs/notebooks/gpu_check.html").stat().st_size > 100_000
    if writes_a_report(project / "notebooks/gpu_check.ipynb"):
        report = json.loads((project / "reports/gpu_check.json").read_text())
        assert (report["verdict"], report["expected"]) == ("cpu", "any")
        assert (project / "reports/gpu_check.html").stat().st_size > 100_000


@pytest.mark.parametrize("project", ["torch"], indirect=True)
def test_its_notebook_explores_the_best_run(project):
    nox(project, "-s", "train", "--", "digits", "--epochs", "2")
    convert = ("nbconvert", "--to=notebook", "--execute", "--output-dir=runs/notebooks")
    line = [project / ".venv/bin/python", "-m", *convert, "notebooks/explore.ipynb"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(line, cwd=project, env=own_home(project), **pipes)
    assert done.returncode == 0, done.stdout
    printed = (project / "runs/notebooks/explore.ipynb").read_text()
    assert "train: 1,257 examples of (8, 8, 1)" in printed and "balanced_accuracy: 0." in printed
    assert printed.count('"image/png"') >= 6


def test_a_gpu_that_is_expected_is_missed_in_the_last_line(project):
    printed = nox(project, "-s", "gpu", code=1, SMOKE="1")
    report = json.loads((project / "reports/gpu_check.json").read_text())
    assert (report["verdict"], report["expected"]) == ("cpu", "gpu")
    assert report["sentence"].startswith("A GPU was expected. ")
    assert report["sentence"] in printed.splitlines()[-1]
    old = not writes_a_report(project / "notebooks/gpu_check.ipynb")
    assert report["made_by"] == ("command line" if old else "notebook")
    assert ("The notebook wrote no reports/gpu_check.json" in printed) == old
    assert "is fresh: verdict cpu" in nox(project, "-s", "gpu", "--", "--verify-report")


@pytest.mark.parametrize("project", ["tensorflow"], indirect=True)
def test_its_benchmark_measures_all_settings(project):
    printed = nox(project, "-s", "bench", "--", "--quick")
    report = json.loads((project / "reports/benchmark.json").read_text())
    assert report["sentence"] in printed and "MFU shows 0: no peak is known for a CPU." in printed
    settings = {row["setting"]: row.get("left_out", "") for row in report["settings"]}
    assert len(settings) == 6 and not any("failed" in reason for reason in settings.values())
    assert all(
        0 < row["examples_per_s"] < 1e6 for row in report["settings"] if "left_out" not in row
    )
    assert (project / "reports/benchmark.html").stat().st_size > 10_000


@pytest.mark.parametrize(("first", "then"), [("tensorflow", "jax"), ("jax", "tensorflow")])
def test_a_run_goes_on_in_another_framework(projects, tmp_path, first, then):
    def train() -> str:
        line = ["train", "--", "digits", "--epochs", "2", "--run-dir", str(tmp_path / "run")]
        return nox(projects(first if not (tmp_path / "run").exists() else then), "-s", *line)

    train()
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "previous.npz").replace(checkpoints / "last.npz")  # as after its first epoch
    printed = train()
    assert f"was written by {first}: the continuation is not bit-exact" in printed
    assert "epoch 2/2" in printed
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["val_accuracy"] > 0.8


def test_nothing_that_it_made_is_up_for_a_commit(project):
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True
    )
    assert status.stdout == ""


# What CHANGELOG.md asks of a project that has its own data set, network and recipe in config.py.
STEPS = {
    'Literal["digits", "image_folder"]': 'Literal["digits", "image_folder", "shapes"]',
    'Literal["cnn", "resnet50"]': 'Literal["cnn", "patches", "resnet50"]',
    "\n\nRECIPES = {recipe.__name__: recipe for recipe in (digits, image_folder)}": """

def shapes() -> Config:
    \"\"\"Circles, squares and triangles, 28 x 28 pixels.\"\"\"
    return Config(recipe="shapes", data="shapes", model="patches", learning_rate=1e-2)


RECIPES = {recipe.__name__: recipe for recipe in (digits, image_folder, shapes)}""",
}


def test_an_older_project_with_its_own_data_works_after_these_steps(
    projects, copy, tagged, tmp_path
):
    folder, version = tmp_path / "myproj", "v0.6.0"
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path / "settings", tagged)
        assert copy(folder, f"--vcs-ref={version}").returncode == 0
        commit(folder)
        for kind, text, name in edits(git(tagged, "show", f"{version}:docs/your-data.md")):
            edit(folder, kind, text, name)
        commit(folder)
        done = update(folder)
        config = "src/myproj/engine/config.py"
        assert (done.returncode, unmerged(folder)) == (2, [config]), done.stdout
        assert "def shapes()" in (folder / config).read_text()
        recipes = folder / "src/myproj/recipes.py"
        for old, new in STEPS.items():
            assert recipes.read_text().count(old) == 1
            recipes.write_text(recipes.read_text().replace(old, new))
        git(folder, "checkout", "--theirs", "--", config)
        commit(folder)
    python = projects("tensorflow") / ".venv/bin/python"
    env = own_home(projects("tensorflow")) | {"PYTHONPATH": str(folder / "src")}
    for line in (["make_shapes.py"], ["-m", "pytest", "--quiet", "tests/test_shapes.py"]):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run([python, *line], cwd=folder, env=env, **pipes)
        assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
