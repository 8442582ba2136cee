"""`synctalk train-torso WORK`: the torso restorer alone, of one avatar or the shared one."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import cast

from synctalk.errors import TrainingError
from synctalk.logs import get_logger

log = get_logger(__name__)

FILE = "torso.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `synctalk train-torso`."""
    parser.add_argument(
        "work",
        nargs="+",
        type=Path,
        metavar="WORK",
        help="work folder of `synctalk train`; several make one shared restorer, which needs --out",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the weights (default: WORK/{FILE})")
    parser.add_argument("--avatar", type=Path, metavar="DIR", help="also put them into this avatar folder")
    parser.add_argument("--minutes", type=float, help="how long (default: 1.5, shared 15)")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--new", action="store_true", help="start new, not from the shared restorer")
    begin.add_argument(
        "--start", type=Path, metavar="FILE", help="go on from these weights, in smaller steps"
    )


def run(args: argparse.Namespace) -> int:
    """Train, measure on held-out frames, and put the weights where they belong."""
    from synctalk.evaluation.torso import hole_figures
    from synctalk.training.dataset import Dataset
    from synctalk.training.other_parts import shared_model
    from synctalk.training.torso import TorsoFootage, TorsoTraining, train_torso

    shared = len(args.work) > 1
    if shared and (args.out is None or args.avatar is not None):
        raise TrainingError("A restorer of several people needs --out FILE and fits no single --avatar.")
    datasets = [Dataset(folder / "dataset") for folder in args.work]
    settings = TorsoTraining.shared() if shared else TorsoTraining(minutes=1.5)
    if args.minutes is not None:
        settings = replace(settings, minutes=args.minutes)
    if args.start is not None:
        settings = replace(settings, learning_rate=settings.learning_rate / 2)
    out = args.out or args.work[0] / FILE
    partial = out.with_name(out.name + ".part")
    restorer = train_torso(
        [cast(TorsoFootage, dataset) for dataset in datasets],
        partial,
        start=args.start or (None if shared or args.new else shared_model(FILE)),
        settings=settings,
        report=lambda values: log.info(
            "step %d: %s", values["step"], ", ".join(f"{k} {v:.3f}" for k, v in values.items() if k != "step")
        ),
    )
    partial.replace(out)
    for folder, dataset in zip(args.work, datasets, strict=True):
        holes = hole_figures(restorer, dataset, dataset.validation)
        print(f"{folder}: PSNR in holes {holes['restored']:.2f} dB, filled smoothly {holes['smooth']:.2f} dB")
    if args.avatar is not None:
        put_into(args.avatar, out)
    print(f"The restorer is in {args.avatar or out}.")
    return 0


def put_into(folder: Path, weights: Path) -> None:
    """Replaces an avatar's restorer; checksums and card follow.

    Raises:
        AvatarError: the folder is no avatar.
    """
    from synctalk.avatar_files import read_description, seal

    description = read_description(folder)
    (folder / FILE).write_bytes(weights.read_bytes())
    seal(folder, {key: value for key, value in description.items() if key not in ("format", "sha256")})
