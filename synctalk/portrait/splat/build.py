"""Builds the native module on first use where the package runs from a plain checkout.

An installed package brings `_native` with it. A checkout (a Space, a clone) has only the sources: they are
compiled once with the system's C++ compiler into `~/.cache/synctalk`, under a name made from the sources, the
compiler and the Python version, so that a change of any of them builds anew.
"""

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

from synctalk.logs import get_logger

SOURCES = Path(__file__).parent / "native"
KERNEL_FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
COMMON_FLAGS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-w", "-pthread")
log = get_logger(__name__)


class CannotBuild(Exception):
    """The native module cannot be built here; the message is one sentence that says why."""


def load_or_build(extra_flags: Sequence[str] = ()) -> ModuleType:
    """The native module, compiled now if it was not before. `extra_flags` go to compiler and linker.

    Raises CannotBuild.
    """
    target = built_path(extra_flags)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target.parent / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that start together build once
            if not target.exists():
                log.info("Building the CPU renderer (once, about 20 seconds) ...")
                _build(target, extra_flags)
    return load(target)


def load(path: Path) -> ModuleType:
    """The native module in the file `path`; raises CannotBuild where it does not load."""
    spec = importlib.util.spec_from_file_location("synctalk.portrait.splat._native", path)
    if spec is None or spec.loader is None:
        raise CannotBuild(f"{path} is no Python module.")
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise CannotBuild(f"the built CPU renderer {path} does not load ({error}).") from error
    return module


def built_path(extra_flags: Sequence[str] = ()) -> Path:
    """Where the module built from these sources by this compiler for this Python lies. Raises CannotBuild."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        if source.is_file():
            digest.update(source.name.encode() + source.read_bytes())
    version = subprocess.run([_compiler(), "--version"], capture_output=True, check=False).stdout
    digest.update(version + repr((sys.implementation.cache_tag, platform.machine(), *extra_flags)).encode())
    digest.update(repr((KERNEL_FLAGS, COMMON_FLAGS, _nanobind_version())).encode())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synctalk"
    return root / f"native-{digest.hexdigest()[:16]}" / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"


def instruction_sets() -> list[str]:
    """Names of the builds of the kernels that this machine's compiler makes."""
    return ["generic", "v3", "v4"] if platform.machine() in ("x86_64", "AMD64") else ["generic"]


def _compiler() -> str:
    named = os.environ.get("CXX", "").split()
    for name in [*named[:1], "g++", "clang++", "c++"]:
        if found := shutil.which(name):
            return found
    raise CannotBuild("No C++ compiler was found (install g++ for a fast CPU renderer).")


def _nanobind_version() -> str:
    try:
        import nanobind
    except ImportError as error:
        raise CannotBuild("The package nanobind is missing (pip install nanobind).") from error
    return nanobind.__version__


def _build(target: Path, extra_flags: Sequence[str]) -> None:
    import nanobind

    root = Path(nanobind.__file__).parent
    python = sysconfig.get_paths()["include"]
    if not (Path(python) / "Python.h").exists():
        raise CannotBuild(f"Python's headers are missing in {python} (on Debian or Ubuntu: python3-dev).")
    includes = [f"-I{root / 'include'}", f"-I{root / 'ext' / 'robin_map' / 'include'}", f"-I{python}"]
    plain = [*COMMON_FLAGS, "-O2", *includes, *extra_flags]
    jobs = [
        (root / "src" / "nb_combined.cpp", [*plain, "-Os", "-fno-strict-aliasing"]),
        *((SOURCES / name, plain) for name in ("module.cpp", "scene.cpp", "deformer.cpp", "pool.cpp")),
    ]
    for isa in instruction_sets():
        march = [] if isa == "generic" else [f"-march=x86-64-{isa}"]
        flags = [*COMMON_FLAGS, *KERNEL_FLAGS, *march, f"-DSPLAT_ISA={isa}", *extra_flags]
        jobs.insert(0, (SOURCES / "kernels.cpp", flags))
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        objects = [str(Path(folder) / f"{index}.o") for index in range(len(jobs))]
        with ThreadPoolExecutor(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        ) as pool:
            list(pool.map(_compile, jobs, objects))
        finished = Path(folder) / target.name
        _run([_compiler(), "-shared", "-pthread", *extra_flags, *objects, "-o", str(finished)])
        os.replace(finished, target)


def _compile(job: tuple[Path, list[str]], output: str) -> None:
    source, flags = job
    _run([_compiler(), *flags, "-c", str(source), "-o", output])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise CannotBuild(f"Building the CPU renderer failed: {lines[0] if lines else command[0]}")
