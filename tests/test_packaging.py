"""What `pip install .` brings, as setuptools reads pyproject.toml; fetches nothing."""

import json
import subprocess
import sys

import pytest
from conftest import PROJECT_DIR

from seqmnist.data import mnist
from seqmnist.errors import UserError

READ = """
import json
from setuptools.config.pyprojecttoml import read_configuration
found = read_configuration("pyproject.toml")
print(json.dumps([found["project"], found["tool"]["setuptools"]]))
"""


@pytest.fixture(scope="module")
def configuration():
    """The tables `project` and `tool.setuptools`, as setuptools fills them in."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ],
        cwd=str(PROJECT_DIR),
        capture_output=True,
        text=True,
    )
    if "ModuleNotFoundError" in process.stderr:
        pytest.skip("there is no setuptools that reads pyproject.toml")
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_the_package_and_its_subpackages_are_installed_and_nothing_else(configuration):
    """A folder of modules without __init__.py would be left behind."""
    modules = (PROJECT_DIR / "seqmnist").rglob("*.py")
    folders = {path.parent.relative_to(PROJECT_DIR) for path in modules}
    found = configuration[1]
    assert sorted(found["packages"]) == sorted(".".join(f.parts) for f in folders)
    assert not found.get("py-modules")


def test_the_requirements_are_those_of_the_file(configuration):
    project = configuration[0]
    lines = (PROJECT_DIR / "requirements.txt").read_text().splitlines()
    assert project["dependencies"] == [s for s in lines if not s.startswith("#")]
    assert project["requires-python"] == ">=3.7"
    assert project["name"] == "seqmnist"
    assert not {"scripts", "gui-scripts", "entry-points"} & set(project)


def test_what_a_build_leaves_is_not_committed():
    ignored = (PROJECT_DIR / ".gitignore").read_text().splitlines()
    assert {"/build/", "/dist/", "*.egg-info/"} <= set(ignored)


def test_without_the_clones_data_it_is_said_what_to_give(monkeypatch, tmp_path):
    monkeypatch.setattr(mnist, "DATA_DIR", tmp_path / "site-packages" / "data")
    with pytest.raises(UserError) as info:
        mnist.load_splits(mnist.DATA_DIR)
    message = str(info.value)
    assert "\n" not in message and "site-packages" not in message
    assert "load_splits" in message and "--data-dir" in message
    assert message.count("the four IDX files") == 1
