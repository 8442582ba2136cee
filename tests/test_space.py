"""The files a Space reads agree with the package, and the app is the same file everywhere."""

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

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


def load_app(monkeypatch: pytest.MonkeyPatch, spaces: Any) -> Any:
    """app.py, loaded afresh with this in place of the package `spaces`; None: it is not installed."""
    pytest.importorskip("gradio", reason="the app is an extra")
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    spec = importlib.util.spec_from_file_location("app_on_a_space", ROOT / "app.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fake_spaces(zero_gpu: bool, asked: list[Any]) -> Any:
    """Stands for `spaces`: notes the duration that each decorated function asks for."""

    def GPU(duration: Any) -> Any:
        asked.append(duration)
        return lambda function: lambda *given: function(*given)

    return SimpleNamespace(GPU=GPU, config=SimpleNamespace(Config=SimpleNamespace(zero_gpu=zero_gpu)))


def test_on_zerogpu_the_time_asked_for_grows_with_the_audio(monkeypatch):
    asked: list[Any] = []
    app = load_app(monkeypatch, fake_spaces(True, asked))
    assert app.render_on_gpu is not None and len(asked) == 1
    short, long = (asked[0]("ada", torch.zeros(25 * s, 8), [0] * 25 * s) for s in (4, 60))
    assert 10 < short < 20 and short + 15 < long <= 60


def test_on_a_cpu_space_and_on_a_laptop_frames_are_rendered_in_place(monkeypatch):
    assert load_app(monkeypatch, fake_spaces(False, [])).render_on_gpu is None
    assert load_app(monkeypatch, None).render_on_gpu is None
