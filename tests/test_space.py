"""The files a Space reads agree with the package."""

import re
import sys
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).parents[1]


def requirement_names(lines: list[str]) -> set[str]:
    return {re.split(r"[<>=!\[ ]", line)[0].lower() for line in lines if line.strip() and line[0] != "#"}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_a_space_installs_what_the_package_and_the_app_need(project):
    needed = project["dependencies"] + project["optional-dependencies"]["app"]
    needed += project["optional-dependencies"]["voice"]
    listed = (ROOT / "requirements.txt").read_text().splitlines()
    assert requirement_names(needed) <= requirement_names(listed)


def test_system_packages_are_plain_names():
    for line in (ROOT / "packages.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9.+-]+", line), line


def test_the_readme_says_which_sdk_and_file_a_space_runs():
    front = (ROOT / "README.md").read_text().split("---")[1]
    fields = dict(line.split(": ", 1) for line in front.strip().splitlines())
    assert fields["sdk"] == "gradio" and (ROOT / fields["app_file"]).is_file()
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["sdk_version"])
