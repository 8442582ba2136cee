"""How fast the CPU rasterizer is: a made-up opaque head over picture sizes, counts and threads.

Beside it, in the same run and interleaved: a straight scalar port of the per-pixel GPU algorithm
(tests/portrait/splat/scalar_port.cpp, same compiler, -O3) and, on a smaller scene, plain torch. Every figure
is the best of many rounds, as other work on the machine only ever adds time.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synctalk.errors import SyncTalkError
from synctalk.evaluation.bench.scenes import Scene, head_scene
from synctalk.portrait.splat import native
from synctalk.portrait.splat.reference import rasterize_reference

PEER = Path(__file__).parents[3] / "tests" / "portrait" / "splat" / "scalar_port.cpp"
MAIN_CASE = (20_000, 512)
CASES = [(count, size) for size in (256, 512, 1024) for count in (10_000, 20_000, 50_000)]
TORCH_CASE = (1_000, 96)


def run(seconds: float = 60.0) -> dict[str, Any]:
    """Milliseconds of native forward and forward + backward, of the scalar port and of plain torch.

    `native_forward_ms`, `native_forward_backward_ms`, `scalar_port_forward_ms` and `ratio_forward` are for
    20 k Gaussians at 512 px on two threads (the port: its own best of one and two; null without tests/ or a
    compiler). `cases` holds every combination. `seconds` is roughly the time to take; with less than 30 only
    the 20 k case is measured.
    """
    if native.why_not():
        raise SyncTalkError(f"There is no CPU rasterizer to measure: {native.why_not()}")
    result: dict[str, Any] = {"instruction_set": native.module().instruction_sets()[0]}
    result.update(_main_case(seconds / 2, _build_peer()))
    cases = CASES if seconds >= 30 else [MAIN_CASE]
    result["cases"] = [_native_case(*case, seconds=seconds / 2 / len(cases)) for case in cases]
    result["torch"] = _torch_case()
    return result


def table(result: dict[str, Any]) -> str:
    """The figures of `run` as lines to print."""
    lines = [
        f"Native rasterizer, {result['instruction_set']} instructions; milliseconds, best of many rounds.",
        f"{'Gaussians':>10} {'px':>5} {'forward':>9} {'2 threads':>10} {'+backward':>10} {'2 threads':>10}",
    ]
    for case in result["cases"]:
        lines.append(
            f"{case['gaussians']:>10} {case['size_px']:>5} {case['forward_ms'][0]:>9.2f} "
            f"{case['forward_ms'][1]:>10.2f} {case['forward_backward_ms'][0]:>10.2f} "
            f"{case['forward_backward_ms'][1]:>10.2f}"
        )
    count, size = MAIN_CASE
    lines.append("")
    lines.append(f"{count} Gaussians at {size} px, 2 threads, interleaved:")
    lines.append(
        f"  native {result['native_forward_ms']:.2f} ms forward, "
        f"{result['native_forward_backward_ms']:.2f} ms forward + backward, "
        f"{result['native_memory_mb']:.1f} MB of its own"
    )
    phases = ", ".join(f"{name} {ms:.2f}" for name, ms in result["phases_ms"].items())
    lines.append(f"  of that: {phases}")
    if result["scalar_port_forward_ms"] is None:
        lines.append(f"  scalar port: not measured, {result['scalar_port_missing']}")
    else:
        lines.append(
            f"  scalar port {result['scalar_port_forward_ms']:.1f} ms: "
            f"{result['ratio_forward']:.1f} times as long"
        )
    lines.append(
        f"  only what moved redrawn (5 % of the Gaussians, still camera): {result['rerender_ms']:.2f} ms, "
        f"{result['rerender_tiles']} of {result['tiles']} tiles"
    )
    t = result["torch"]
    lines.append(
        f"Plain torch, a smaller scene ({t['gaussians']} Gaussians at {t['size_px']} px): "
        f"{t['forward_ms']:.0f} ms; native on the same scene {t['native_forward_ms']:.2f} ms."
    )
    return "\n".join(lines)


def best_ms(tasks: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The shortest time of each task within about `seconds`, three rounds at least.

    The tasks take turns, so that a busy moment hits all alike.
    """
    best = dict.fromkeys(tasks, float("inf"))
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        rounds += 1
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


class _Native:
    """The kernels on one scene, with all memory at hand."""

    def __init__(self, scene: Scene, threads: int):
        self.inputs = [native.array(tensor) for tensor in scene[:7]]
        self.scene = native.module().Scene(threads)
        count, height, width = len(scene.means), scene.height, scene.width
        self.image, self.alpha = (
            np.zeros((height, width, 3), np.float32),
            np.zeros((height, width), np.float32),
        )
        self.grad_image, self.grad_alpha = np.ones_like(self.image), np.ones_like(self.alpha)
        self.grads = [np.zeros_like(values) for values in self.inputs[:5]]
        self.grads += [np.zeros((count, 2), np.float32), np.zeros(12, np.float32)]

    def forward(self) -> None:
        self.scene.render(*self.inputs, None, self.image, self.alpha, False)

    def forward_backward(self) -> None:
        self.forward()
        self.scene.backward(
            *self.inputs, None, self.image, self.alpha, self.grad_image, self.grad_alpha, *self.grads
        )


def _native_case(count: int, size: int, seconds: float) -> dict[str, Any]:
    scene = head_scene(count, size)
    runs = {threads: _Native(scene, threads) for threads in (1, 2)}
    tasks: dict[str, Callable[[], object]] = {}
    for threads, bench in runs.items():
        tasks[f"f{threads}"], tasks[f"b{threads}"] = bench.forward, bench.forward_backward
    best = best_ms(tasks, seconds)
    return {
        "gaussians": count,
        "size_px": size,
        "forward_ms": [best["f1"], best["f2"]],
        "forward_backward_ms": [best["b1"], best["b2"]],
    }


def _main_case(seconds: float, peer_library: Path | str) -> dict[str, Any]:
    scene = head_scene(*MAIN_CASE)
    bench, moving = _Native(scene, 2), _Native(scene, 2)
    phases: dict[str, float] = {}

    def forward() -> None:
        bench.forward()
        for name, ms in zip(("project", "sort", "tiles", "blend"), bench.scene.times_ms, strict=False):
            phases[name] = min(phases.get(name, float("inf")), ms)

    mouth = scene.means[:, 1].argsort()[: len(scene.means) // 20].numpy()
    tiles = []

    def rerender() -> None:
        moving.inputs[0][mouth, 1] += np.float32(0.001)
        tiles.append(moving.scene.render(*moving.inputs, None, moving.image, moving.alpha, True))

    moving.inputs[0] = moving.inputs[0].copy()
    moving.forward()
    tasks: dict[str, Callable[[], object]] = {
        "forward": forward,
        "forward_backward": bench.forward_backward,
        "rerender": rerender,
    }
    if isinstance(peer_library, Path):
        tasks.update({f"peer{threads}": _peer(peer_library, bench, threads) for threads in (1, 2)})
    best = best_ms(tasks, seconds)
    peer = min((ms for name, ms in best.items() if name.startswith("peer")), default=None)
    return {
        "native_forward_ms": best["forward"],
        "native_forward_backward_ms": best["forward_backward"],
        "scalar_port_forward_ms": peer,
        "ratio_forward": None if peer is None else peer / best["forward"],
        "scalar_port_missing": "" if isinstance(peer_library, Path) else peer_library,
        "native_memory_mb": bench.scene.bytes / 1e6,
        "phases_ms": phases,
        "rerender_ms": best["rerender"],
        "rerender_tiles": int(tiles[-1]),
        "tiles": -(-scene.width // 32) * -(-scene.height // 32),
    }


def _torch_case() -> dict[str, Any]:
    count, size = TORCH_CASE
    scene = head_scene(count, size)
    bench = _Native(scene, 2)
    with torch.no_grad():
        best = best_ms({"torch": lambda: rasterize_reference(*scene), "native": bench.forward}, 0)
    return {
        "gaussians": count,
        "size_px": size,
        "forward_ms": best["torch"],
        "native_forward_ms": best["native"],
    }


def _build_peer() -> Path | str:
    """The compiled scalar port, or why there is none."""
    if not PEER.exists():
        return f"{PEER.name} is part of the tests, which are not installed here"
    compiler = next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)
    if compiler is None:
        return "there is no C++ compiler"
    target = Path(tempfile.mkdtemp(prefix="synctalk-bench-")) / "scalar_port.so"
    command = [
        compiler,
        "-O3",
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-pthread",
        str(PEER),
        "-o",
        os.fspath(target),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return target if done.returncode == 0 else f"it does not compile ({done.stderr.splitlines()[:1]})"


def _peer(library: Path, bench: _Native, threads: int) -> Callable[[], None]:
    render = ctypes.CDLL(str(library)).scalar_port_render
    image, alpha = np.zeros_like(bench.image), np.zeros_like(bench.alpha)
    count, (height, width) = len(bench.inputs[0]), alpha.shape
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (*bench.inputs, image, alpha)]

    def task() -> None:
        render(*pointers[:7], count, width, height, threads, *pointers[7:])

    return task
