"""What an avatar has beside its portrait: the torso restorer and the expression codebook's decoder.

A step of the portrait keeps one processor busy and hardly gains from a second (46 ms on one, 45 on two
[measured]), so these two are trained meanwhile, in a process of their own.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch

from synctalk.assets import assets_folder
from synctalk.logs import get_logger
from synctalk.portrait.splat import native
from synctalk.training.codebook import CodebookTraining, train_codebook
from synctalk.training.dataset import Dataset
from synctalk.training.torso import TorsoFootage, TorsoTraining, train_torso

log = get_logger(__name__)
Report = Callable[[str], None]


@contextlib.contextmanager
def other_parts_meanwhile(work: Path, torso: TorsoTraining, codebook: CodebookTraining) -> Iterator[None]:
    """Trains the other parts of the dataset in the folder `work` in another process while the body runs.

    The body gets what one processor fewer leaves of torch's threads. Where there is only one, nothing
    happens here; what is missing afterwards is for `train_other_parts` to make up.
    """
    processors = native.default_threads()
    if processors < 2 or all(path.is_file() for path in _paths(work)):
        with _threads(max(1, processors - 1)):
            yield
        return
    wanted = json.dumps([asdict(torso), asdict(codebook)])
    helper = subprocess.Popen(
        [sys.executable, "-m", "synctalk.training.other_parts", str(work), wanted],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with _threads(processors - 1):
            yield
        helper.wait()
    finally:
        helper.kill()  # nothing to a process that has ended; after Ctrl-C the parts are for the next run
        helper.wait()


def train_other_parts(
    dataset: Dataset,
    work: Path,
    torso: TorsoTraining,
    codebook: CodebookTraining,
    report: Report,
) -> None:
    """Writes torso.safetensors and expression.safetensors into `work`, unless they are there."""
    torso_path, codebook_path = _paths(work)
    if not torso_path.is_file():
        partial = work / "torso.part.safetensors"
        footage = cast(TorsoFootage, dataset)
        train_torso(footage, partial, start=shared_model("torso.safetensors"), settings=torso)
        partial.replace(torso_path)
        report("torso restorer trained")
    if not codebook_path.is_file():
        partial = work / "expression.part.safetensors"
        own = dataset.expressions[: dataset.kept]
        start = shared_model("expression_codebook.safetensors")
        train_codebook([own], partial, start=start, settings=codebook)
        partial.replace(codebook_path)
        report("expression codebook trained")


def _paths(work: Path) -> tuple[Path, Path]:
    return work / "torso.safetensors", work / "expression.safetensors"


def shared_model(name: str) -> Path | None:
    """A model that ships with the library, to start from; None where there is none."""
    path = assets_folder() / "models" / name
    return path if path.is_file() else None


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """At most `count` threads for torch's operations."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main(arguments: list[str]) -> None:
    """The other process: the work folder, and the settings of both parts as JSON."""
    work, wanted = arguments
    torso, codebook = json.loads(wanted)
    torch.set_num_threads(1)
    train_other_parts(
        Dataset(Path(work) / "dataset"),
        Path(work),
        TorsoTraining(**torso),
        CodebookTraining(**codebook),
        log.info,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
