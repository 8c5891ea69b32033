"""Where a safe update cannot be: one sentence, and nothing is changed. And where it can."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import commit, git
from safe_update import TOOL, refused, update

# Environments.


@pytest.mark.parametrize("version", ["9.17.2", "uv is missing"])
def test_it_makes_its_own_environment(version, project, release, tmp_path):
    """With the oldest Copier, and by pip where there is no uv; then it needs no network."""
    release({"template/new.txt": "new\n"})
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    if version == "9.17.2":
        (tmp_path / "constraint").write_text("copier==9.17.2\n")
        env["UV_CONSTRAINT"] = env["PIP_CONSTRAINT"] = str(tmp_path / "constraint")
    else:
        env["PATH"] = "/usr/bin:/bin"
        assert not shutil.which("uv", path=env["PATH"])
    # The interpreter behind the tests' environment: that has uv as a package.
    python = getattr(sys, "_base_executable", sys.executable)
    line = [python, str(TOOL)]
    start = shutil.copytree(project, tmp_path / "start", symlinks=True)
    for folder, more in ((start, {}), (project, {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1"})):
        done = subprocess.run(
            line, cwd=folder, env=os.environ | env | more, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert ("installing copier" in done.stderr) == (folder == start)
        assert (folder / "new.txt").read_text() == "new\n"
    [home] = (tmp_path / "cache/gpu-ml-template").glob("copier-*")
    [found] = home.glob("lib/*/site-packages/copier-*.dist-info")
    assert ("9.17.2" in found.name) == (version == "9.17.2")
    assert bool([*home.glob("lib/*/site-packages/pip")]) == (version != "9.17.2")


def offline(tmp_path: Path) -> str:
    """A git configuration in which no template answers."""
    config = tmp_path / "offline.gitconfig"
    config.write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n"
        f'[url "{(tmp_path / "nowhere").as_uri()}/"]\n\tinsteadOf = https://github.com/\n'
    )
    return str(config)


def test_it_works_without_a_network_once_the_template_was_fetched(project, release, tmp_path):
    release({"template/new.txt": "new\n"})
    assert update(project, "--check").returncode == 2
    done = update(project, GIT_CONFIG_GLOBAL=offline(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "does not answer" in done.stderr and "using the copy" in done.stderr
    assert (project / "new.txt").exists()


def own_cache(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A cache with nothing but the tool's environment, and the variable that names it."""
    home = tmp_path / "cache/gpu-ml-template"
    home.mkdir(parents=True)
    for path in Path(os.environ["XDG_CACHE_HOME"], "gpu-ml-template").glob("copier-*"):
        (home / path.name).symlink_to(path)
    return home, {"XDG_CACHE_HOME": str(tmp_path / "cache")}


def lose_an_object(mirror: Path) -> None:
    tree = git(mirror, "rev-parse", "HEAD^{tree}").strip()
    [pack] = mirror.glob("objects/pack/*.pack")
    data = pack.read_bytes()
    for path in mirror.glob("objects/pack/*"):
        path.unlink()
    subprocess.run(["git", "unpack-objects", "-q"], cwd=mirror, input=data, check=True)
    (mirror / "objects" / tree[:2] / tree[2:]).unlink()


def cut_a_pack_off(mirror: Path) -> None:
    for pack in mirror.glob("objects/pack/*.pack"):
        pack.chmod(0o644)
        os.truncate(pack, 100)


def leave_a_lock(mirror: Path) -> None:
    """What a fetch leaves that is killed while it writes a ref."""
    (mirror / "refs/tags/v1.1.0.lock").touch()


@pytest.fixture(params=[lose_an_object, cut_a_pack_off, leave_a_lock])
def damaged(request, project, release, tmp_path) -> tuple[Path, dict[str, str]]:
    """A copy of the template that was damaged before a release, and the variable of its cache."""
    home, env = own_cache(tmp_path)
    assert update(project, "--check", **env).returncode == 0
    [mirror] = home.glob("template-*.git")
    request.param(mirror)
    release({"template/new.txt": "new\n"})
    return mirror, env


def test_a_damaged_copy_of_the_template_heals(project, damaged):
    mirror, env = damaged
    done = update(project, **env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"update: the copy in {mirror} is damaged: cloning it again\n"
    assert (project / "new.txt").exists()
    git(mirror, "fsck", "--strict")
    names = {path.name for path in mirror.parent.iterdir() if path.name[:7] != "copier-"}
    assert names == {mirror.name, f".{mirror.name}.lock"}
    assert update(project, "--check", **env).stderr == ""


def test_a_damaged_copy_without_a_network(project, damaged, tmp_path):
    mirror, env = damaged
    last = refused(project, **env, GIT_CONFIG_GLOBAL=offline(tmp_path))
    assert last.startswith("Check the network, your access")
    assert last.endswith(f"The update then replaces {mirror}, which is damaged.")
    assert update(project, **env).returncode == 0


def test_what_is_fetched_comes_as_a_whole(project, release, tmp_path):
    """As a pack: an update that is killed leaves no half of it."""
    home, env = own_cache(tmp_path)
    assert update(project, "--check", **env).returncode == 0
    release({"template/new.txt": "new\n"})
    assert update(project, "--check", **env).returncode == 2
    [mirror] = home.glob("template-*.git")
    assert len([*mirror.glob("objects/pack/*.pack")]) == 2
    assert [*mirror.glob("objects/[0-9a-f][0-9a-f]")] == []


def test_a_damaged_cache_of_copier(project, release):
    """Copier that is killed while it makes a worktree leaves one without a commit."""
    [cached] = Path(os.environ["COPIER_CACHE_DIR"]).glob("*.git")
    worktree = cached / "worktrees/killed"
    worktree.mkdir(parents=True)
    (worktree / "HEAD").write_text("0" * 40 + "\n")
    (worktree / "commondir").write_text("../..\n")
    (worktree / "gitdir").write_text(f"{cached}/nowhere/.git\n")
    release({"template/new.txt": "new\n"})
    with pytest.raises(subprocess.CalledProcessError):
        git(cached, "remote", "update")
    assert update(project, "--check").returncode == 2
    done = update(project)
    assert done.returncode == 0, done.stderr
    assert (project / "new.txt").exists()


# Bad input.


def test_a_template_that_cannot_be_reached(project, tmp_path):
    env = own_cache(tmp_path)[1] | {"GIT_CONFIG_GLOBAL": offline(tmp_path)}
    last = refused(project, **env)
    assert last == "Check the network, your access, and _src_path in the answers file."


def test_no_git(project, tmp_path):
    assert refused(project, PATH=str(tmp_path)) == "update: git is missing: install it."


def test_no_repository(project):
    shutil.rmtree(project / ".git")
    assert "this folder is in no git repository" in refused(project)


def test_no_commit(project):
    shutil.rmtree(project / ".git")
    git(project, "init", "--quiet")
    assert "commit first: `git add -A && git commit" in refused(project)


@pytest.mark.parametrize("name", ["new file", "noxfile.py"])
def test_a_dirty_tree(project, name):
    (project / name).write_text("mine\n")
    said = refused(project)
    assert (
        said
        == "Commit them (`git add -A && git commit`) or `git stash -u`, then nox -s update again."
    )


def test_a_detached_head(project):
    git(project, "checkout", "--quiet", "--detach")
    assert "HEAD is detached" in refused(project) and "git switch -c" in refused(project)


def test_a_merge_in_progress(project):
    git(project, "switch", "--quiet", "--create", "other")
    git(project, "commit", "--quiet", "--allow-empty", "--message=Other")
    git(project, "switch", "--quiet", "main")
    git(project, "merge", "--quiet", "--no-commit", "--no-ff", "other")
    assert "a merge is in progress: finish it with `git merge --continue`" in refused(project)


def test_no_answers_file(project):
    (project / ".copier-answers.yml").unlink()
    commit(project)
    assert "there is no .copier-answers.yml here" in refused(project)
    assert "there is no .copier-answers.yml here" in refused(project / "src")


BROKEN = {
    "a: [": "is not valid YAML",
    "project_name: x\n": "has no _commit, which tells what to update from",
    "[]\n": "has no _commit",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_answers_file(project, text):
    (project / ".copier-answers.yml").write_text(text)
    commit(project)
    assert BROKEN[text] in refused(project)
    assert "`git log -p -- .copier-answers.yml`" in refused(project)


EDITED = {
    "framework: tensorflow": ("framework: mxnet", "says framework: mxnet, which v1.0.0 does not"),
    "_commit: v1.0.0": ("_commit: v0.0.7", "was made from v0.0.7, and the template has no version"),
}


@pytest.mark.parametrize("old", EDITED)
def test_an_edited_answers_file(project, old):
    new, said = EDITED[old]
    text = (project / ".copier-answers.yml").read_text()
    (project / ".copier-answers.yml").write_text(text.replace(old, new))
    commit(project)
    assert said in refused(project)


def test_an_unknown_version_and_an_older_one(own_template, project, release):
    said = "update: the template has no version v9; it has v1.0.0."
    assert refused(project, "--to", "v9") == said
    release({"template/new.txt": "new\n"})
    assert update(project, "--to", "1.1.0").returncode == 0  # v1.1.0
    commit(project)
    assert "v1.0.0 is older than v1.1.0" in refused(project, "--to", "v1.0.0")
    (own_template / "template/newer.txt").touch()
    commit(own_template)  # and no release
    assert update(project, "--to", "main").returncode == 0
    commit(project)
    done = update(project)
    assert done.returncode == 0
    assert done.stdout.startswith("The template has nothing newer than v1.1.0-1-g")


def test_a_read_only_file(project, release):
    release({"template/tools/lock.py": "new = 1\n"})
    (project / "tools/lock.py").chmod(0o444)
    assert refused(project) == "update: tools/lock.py is read-only: `chmod u+w tools/lock.py`."


def test_an_unknown_option_and_a_pair_without_a_value(project):
    assert "unrecognized arguments: --nonsense" in refused(project, "--nonsense")
    assert "--data takes KEY=VALUE, not ci" in refused(project, "--data", "ci")


def test_a_template_that_wants_to_run_code(own_template, project, release):
    text = (own_template / "copier.yml").read_text()
    release({"copier.yml": "_tasks: [touch hacked]\n" + text})
    assert "runs code of its own before you have seen it" in refused(project)
