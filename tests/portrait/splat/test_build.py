import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scenes import random_case

from synctalk.portrait.splat import build, interface, native, rasterize

SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
EXERCISE = Path(__file__).with_name("exercise_native.py")


def test_without_a_compiler_torch_draws_and_one_warning_says_so(monkeypatch, caplog):
    monkeypatch.setattr(native, "why_not", lambda: "No C++ compiler was found.")
    interface._usable.cache_clear()
    case = random_case(count=5, width=8, height=8)
    with caplog.at_level("WARNING"):
        first, _ = rasterize(*case)
        rasterize(*case)
    interface._usable.cache_clear()
    assert torch.equal(first, rasterize(*case, backend="torch")[0])
    assert sum("No C++ compiler" in record.message for record in caplog.records) == 1


def test_a_missing_compiler_is_said_in_one_sentence(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(build.CannotBuild, match=r"g\+\+"):
        build.built_path()


def test_other_flags_and_sources_have_other_files():
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    assert build.built_path() == build.built_path()
    assert build.built_path() != build.built_path(("-O0",))


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.timeout(600)
def test_the_kernels_are_clean_under_the_address_and_undefined_behaviour_sanitizers(monkeypatch):
    monkeypatch.setenv("CXX", "g++")
    found = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    libasan = found.stdout.strip()
    if not os.path.isabs(libasan):
        pytest.skip("g++ has no AddressSanitizer here")
    target = build.built_path(SANITIZE)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        build._build(target, SANITIZE)
    environment = {
        **os.environ,
        "LD_PRELOAD": libasan,
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter never frees all
        "PYTHONMALLOC": "malloc",
    }
    done = subprocess.run(
        [sys.executable, str(EXERCISE), str(target)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "clean"
