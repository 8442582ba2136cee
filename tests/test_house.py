"""The house keeps its rules: formatted, typed, imports run downwards, errors are plain."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from synctalk.cli import main
from synctalk.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "synctalk"
ROOMS = {"face_sync", "head_sync", "portrait", "expression", "torso"}
# What each floor may stand on. A module named here may import from its own floor and the ones listed.
BASEMENT = {"errors", "assets", "logs", "tensor_file", "half_precision"}
ALLOWED = {
    **{room: BASEMENT | {"speech", "video"} for room in ROOMS},
    "speech": BASEMENT | {"video"},
    "video": BASEMENT,
    **dict.fromkeys(BASEMENT, BASEMENT),
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_code_is_formatted():
    result = run(sys.executable, "-m", "ruff", "format", "--check", ".")
    assert result.returncode == 0, result.stdout


def test_the_code_is_free_of_lint():
    result = run(sys.executable, "-m", "ruff", "check", ".")
    assert result.returncode == 0, result.stdout


def test_the_types_hold():
    result = run(sys.executable, "-m", "mypy")
    assert result.returncode == 0, result.stdout


def imported_floors(path: Path) -> set[str]:
    """The parts of the package (first name after `synctalk.`) that a file imports anywhere."""
    floors = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        floors |= {name.split(".")[1] for name in names if name.startswith("synctalk.")}
    return floors


@pytest.mark.parametrize("floor", sorted(ALLOWED))
def test_imports_run_downwards(floor):
    files = sorted((PACKAGE / floor).rglob("*.py")) or [PACKAGE / f"{floor}.py"]
    for path in files:
        if path.exists():
            strangers = imported_floors(path) - ALLOWED[floor] - {floor}
            assert not strangers, f"{path.relative_to(ROOT)} imports {sorted(strangers)}"


def test_every_command_is_there_and_explains_itself(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert len(capsys.readouterr().out) > 80, name


def test_no_command_prints_help_and_a_wrong_one_exits_with_two(capsys):
    assert main([]) == 0
    assert "COMMAND" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["dance"])
    assert stop.value.code == 2


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("synctalk ")


def test_the_command_line_starts_without_loading_torch():
    code = "import sys, synctalk.cli; synctalk.cli.build_parser(None); sys.exit('torch' in sys.modules)"
    assert run(sys.executable, "-c", code).returncode == 0


def test_third_party_files_are_listed_with_their_licences():
    listing = (ROOT / "assets" / "README.md").read_text()
    for path in sorted((ROOT / "assets" / "models").iterdir()):
        assert path.name in listing, f"{path.name} is not listed in assets/README.md"
