"""Fits and judges the read-out of coefficients from the mesh, on footage whose truth is known.

    python -m synctalk.training.readout --evaluate FOOTAGE
    python -m synctalk.training.readout --fit FOOTAGE -o blendshape_readout.safetensors

FOOTAGE holds `<person>_<part>.mp4` and, for each, `<person>_<part>_truth.npz` with `bs52` [T, 52] in the
order of `BLENDSHAPE_NAMES` and `lm68_px` [T, 68, 2]. Each person is judged by a read-out that was fitted on
the others; the file that ships is fitted on all.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from synctalk.errors import TrainingError
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, CORE_SEVEN, EYE_LOOK, SMILE, blendshape_indices
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.face_sync.readout import ReadOut, align, features
from synctalk.logs import get_logger, progress, set_up_logging
from synctalk.video import probe, read_frames

_log = get_logger(__name__)

_CORNERS = {"right eye, outer": 36, "right eye, inner": 39, "left eye, inner": 42, "left eye, outer": 45,
            "mouth, right": 48, "mouth, left": 54}  # fmt: skip
_LISTED = (*CORE_SEVEN, *blendshape_indices("jawOpen", "mouthFunnel", "mouthPucker"), *SMILE, *EYE_LOOK)
_MIN_SPREAD = 0.01  # a coefficient that moves less than this in the truth cannot be judged


@dataclass(frozen=True)
class FitSettings:
    """How a read-out is fitted.

    Attributes:
        hidden: width of the hidden layer.
        dropout: share of hidden units dropped.
        noise: standard deviation of the noise added to standardised features: meshes of real faces are less
            clean than those of the footage.
        every: take each n-th frame; neighbours say nearly the same.
        epochs: passes over the data.
        batch: frames per step.
        rate: highest learning rate of the one-cycle schedule.
        decay: weight decay.
        seed: of initialisation, order and noise.
    """

    hidden: int = 96
    dropout: float = 0.3
    noise: float = 0.4
    every: int = 3
    epochs: int = 60
    batch: int = 256
    rate: float = 4e-3
    decay: float = 0.03
    seed: int = 0


@dataclass(frozen=True)
class Take:
    """One captured video with its truth.

    Attributes:
        person: who is seen.
        landmarks478: float32 [T, 478, 3] px, gaps bridged.
        landmarks68: float32 [T, 68, 2] px.
        blendshapes: float32 [T, 52], the network's own.
        truth: float32 [T, 52].
        truth68: float32 [T, 68, 2] px.
    """

    person: str
    landmarks478: NDArray[np.float32]
    landmarks68: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    truth: NDArray[np.float32]
    truth68: NDArray[np.float32]


def load_takes(footage: Path, cache: Path | None = None, suffix: str = "train") -> list[Take]:
    """Capture each `*_<suffix>.mp4` with a truth file beside it; captures are kept in `cache` if given.

    Raises:
        TrainingError: there is no such video, or a truth file does not fit it.
    """
    takes = []
    for video in sorted(footage.glob(f"*_{suffix}.mp4")):
        truth_path = video.with_name(video.stem + "_truth.npz")
        if not truth_path.exists():
            continue
        kept = cache / f"{video.stem}.npz" if cache is not None else None
        if kept is not None and kept.exists():
            with np.load(kept) as file:
                captured = {name: file[name] for name in ("landmarks478", "landmarks68", "blendshapes")}
        else:
            frames = progress(read_frames(video), total=probe(video).frames, label=video.stem)
            track = FaceCapturer(smooth=0, readout=False).capture(frames).filled()
            captured = {
                "landmarks478": track.landmarks478,
                "landmarks68": track.landmarks68,
                "blendshapes": track.blendshapes,
            }
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                np.savez(kept, **captured, confidence=track.confidence)
        with np.load(truth_path) as file:
            if tuple(file["bs52_names"]) != BLENDSHAPE_NAMES:
                raise TrainingError(f"{truth_path}: bs52_names are not the 52 names in the library's order.")
            truth, truth68 = file["bs52"].astype(np.float32), file["lm68_px"].astype(np.float32)
        count = min(len(truth), len(captured["blendshapes"]))
        if count < len(truth) - 2:
            raise TrainingError(f"{truth_path} has {len(truth)} frames, {video.name} has {count}.")
        captured = {name: value[:count] for name, value in captured.items()}
        takes.append(Take(video.stem.split("_")[0], truth=truth[:count], truth68=truth68[:count], **captured))
    if not takes:
        raise TrainingError(f"{footage} holds no *_{suffix}.mp4 with a *_truth.npz beside it.")
    return takes


def mean_shape(takes: list[Take]) -> NDArray[np.float64]:
    """The mean mesh [478, 3] over takes, pose and size removed, eye corners one unit apart."""
    sample = np.concatenate([take.landmarks478[::50] for take in takes])
    template = sample[0].astype(np.float64)
    for _ in range(4):
        template = align(sample, template)[0].mean(0, dtype=np.float64)
        template = (template - template.mean(0)) / np.linalg.norm(template[33] - template[263])
    return template


def mirror_points(template: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each mesh point the one on the other side of the face, [478]."""
    middle = template[[10, 152, 1, 168, 6, 4, 0, 17], 0].mean()
    flipped = template * [-1, 1, 1] + [2 * middle, 0, 0]
    distance = ((flipped[:, None] - template[None]) ** 2).sum(-1)
    return linear_sum_assignment(distance)[1]


def mirror_names() -> list[int]:
    """For each coefficient the one of the other side, [52]."""

    def other(name: str) -> str:
        return name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")

    return [BLENDSHAPE_NAMES.index(other(name)) for name in BLENDSHAPE_NAMES]


def fit(takes: list[Take], settings: FitSettings | None = None) -> ReadOut:
    """Fit a read-out on takes and their mirror images; every coefficient is marked as used."""
    settings = settings or FitSettings()
    torch.manual_seed(settings.seed)
    template = mean_shape(takes)
    other_point, other_name = mirror_points(template), mirror_names()
    seen, wanted = [], []
    for take in takes:
        aligned, pose = align(take.landmarks478, template)
        mirrored = aligned[:, other_point] * np.array([-1, 1, 1], np.float32)
        seen.append(features(aligned, pose, take.blendshapes)[:: settings.every])
        flipped = features(
            mirrored, pose * np.array([-1, 1, -1], np.float32), take.blendshapes[:, other_name]
        )
        seen.append(flipped[:: settings.every])
        wanted += [take.truth[:: settings.every], take.truth[:: settings.every, other_name]]
    moved, truth = torch.from_numpy(np.concatenate(seen)), torch.from_numpy(np.concatenate(wanted))
    module = ReadOut(settings.hidden, settings.dropout)
    module.template.copy_(torch.from_numpy(template))
    module.used.fill_(1)
    module.centre.copy_(moved.mean(0))
    # A floor, or what hardly moved in the footage would be blown up on another face.
    spread = moved.std(0)
    module.spread.copy_(spread + 0.1 * spread.median())
    module.level.copy_(truth.mean(0))
    module.reach.copy_(truth.std(0).clamp(min=_MIN_SPREAD))
    moved, truth = module.standardise(moved), (truth - module.level) / module.reach
    steps = settings.epochs * (len(moved) // settings.batch)
    optimiser = torch.optim.AdamW(module.parameters(), settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=max(steps, 2))
    module.train()
    for _ in range(settings.epochs):
        order = torch.randperm(len(moved))
        for rows in order[: len(order) // settings.batch * settings.batch].split(settings.batch):
            noisy = moved[rows] + settings.noise * torch.randn_like(moved[rows])
            loss = (module(noisy) - truth[rows]).square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    return module.eval()


def correlations(measured: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlation of each column, [52]; NaN where the truth hardly moves, 0 where `measured` does not."""
    a, b = (x.astype(np.float64) - x.mean(0, dtype=np.float64) for x in (measured, truth))
    size = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    value = np.divide((a * b).sum(0), size, out=np.zeros_like(size), where=size > 1e-9)
    return np.where(truth.std(0) >= _MIN_SPREAD, value, np.nan)


def cross_check(
    takes: list[Take], settings: FitSettings | None = None
) -> dict[str, list[NDArray[np.float64]]]:
    """Correlations with the truth for each person: the network's own and a read-out fitted on the others.

    Returns:
        person -> [own [52], read-out [52]].

    Raises:
        TrainingError: only one person is there.
    """
    people = sorted({take.person for take in takes})
    if len(people) < 2:
        raise TrainingError("Judging a read-out needs footage of two persons or more.")
    result = {}
    for person in people:
        module = fit([take for take in takes if take.person != person], settings)
        judged = [take for take in takes if take.person == person]
        truth = np.concatenate([take.truth for take in judged])
        own = np.concatenate([take.blendshapes for take in judged])
        read = np.concatenate([module.apply_to(take.landmarks478, take.blendshapes) for take in judged])
        result[person] = [correlations(own, truth), correlations(read, truth)]
        _log.info("%s judged", person)
    return result


def better_than_own(checked: dict[str, list[NDArray[np.float64]]]) -> NDArray[np.bool_]:
    """Coefficients, bool [52], which the read-out measures better than the network, in the mean."""
    own, read = (np.mean([values[i] for values in checked.values()], 0) for i in (0, 1))
    return np.isfinite(read) & (read > own) & (read > 0.3)


def corner_scatter(take: Take) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Constant offset and RMS scatter of eye and mouth corners, [6] each, in % of the median eye distance."""
    points = list(_CORNERS.values())
    error = (take.landmarks68[:, points] - take.truth68[:, points]).astype(np.float64)
    eyes = np.median(np.linalg.norm(take.truth68[:, 36] - take.truth68[:, 45], axis=-1))
    offset = error.mean(0)
    scatter = np.sqrt(((error - offset) ** 2).sum(-1).mean(0))
    return np.linalg.norm(offset, axis=-1) / eyes * 100, scatter / eyes * 100


def report(takes: list[Take], checked: dict[str, list[NDArray[np.float64]]]) -> str:
    """The two tables as text: corners and coefficients."""
    people = list(checked)
    lines = ["Corners against the truth, % of the eye distance (constant offset / scatter after it)"]
    lines.append(" " * 20 + "".join(f"{take.person:>16}" for take in takes))
    corners = [corner_scatter(take) for take in takes]
    for i, name in enumerate(_CORNERS):
        lines.append(f"{name:<20}" + "".join(f"{o[i]:>9.2f} / {s[i]:.2f}" for o, s in corners))
    lines += ["", "Correlation with the truth (network's own / read-out fitted on the other people)"]
    lines.append(" " * 20 + "".join(f"{person:>16}" for person in people))
    rest = [i for i in range(len(BLENDSHAPE_NAMES)) if i not in _LISTED]
    for i in (*_LISTED, *rest):
        pairs = [(checked[person][0][i], checked[person][1][i]) for person in people]
        if np.isfinite(pairs).all():
            row = "".join(f"{own:>8.3f} / {read:.3f}" for own, read in pairs)
            lines.append(f"{BLENDSHAPE_NAMES[i]:<20}{row}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The command line of this module; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m synctalk.training.readout", description=__doc__)
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument("--evaluate", type=Path, metavar="FOOTAGE", help="print the tables")
    job.add_argument("--fit", type=Path, metavar="FOOTAGE", help="print the tables and write a read-out")
    parser.add_argument("-o", "--output", type=Path, default=Path("blendshape_readout.safetensors"))
    parser.add_argument("--cache", type=Path, help="folder where captures are kept between runs")
    args = parser.parse_args(argv)
    set_up_logging()
    takes = load_takes(args.fit or args.evaluate, args.cache)
    checked = cross_check(takes)
    print(report(takes, checked))
    if args.fit:
        module = fit(takes)
        used = better_than_own(checked)
        module.used.copy_(torch.from_numpy(used))
        module.save(args.output)
        print(f"\nFitted on all; {int(used.sum())} of 52 coefficients come from the read-out. {args.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
