import json

import pytest

from synctalk.cli import main
from synctalk.evaluation.bench import splat
from synctalk.portrait.splat import native

pytestmark = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not())


def test_the_bench_writes_its_figures_and_prints_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(splat, "MAIN_CASE", (500, 64))
    monkeypatch.setattr(splat, "TORCH_CASE", (100, 32))
    target = tmp_path / "figures.json"
    assert main(["bench", "splat", "--seconds", "0.5", "--json", str(target)]) == 0
    figures = json.loads(target.read_text())
    assert figures["native_forward_ms"] > 0
    assert figures["native_forward_backward_ms"] > 0
    assert figures["scalar_port_forward_ms"] > 0
    assert figures["ratio_forward"] == pytest.approx(
        figures["scalar_port_forward_ms"] / figures["native_forward_ms"]
    )
    assert "scalar port" in capsys.readouterr().out


def test_an_installed_package_without_tests_says_that_the_peer_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(splat, "PEER", tmp_path / "scalar_port.cpp")
    monkeypatch.setattr(splat, "MAIN_CASE", (200, 32))
    monkeypatch.setattr(splat, "TORCH_CASE", (50, 16))
    figures = splat.run(seconds=0.2)
    assert figures["scalar_port_forward_ms"] is None
    assert figures["ratio_forward"] is None
    assert "not measured" in splat.table(figures)
