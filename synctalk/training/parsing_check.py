"""How well the parser agrees with label maps that are known.

    python -m synctalk.training.parsing_check FOOTAGE [--seconds 20]

FOOTAGE holds `<part>.mp4` and, for each, `<part>_labels.npz` with `labels` uint8 [n, H, W] (index into
`synctalk.head_sync.parsing.LABELS`) for the frames `label_frames` [n]. Prints the intersection over union of
each label and how much CPU time a frame takes.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synctalk.errors import TrainingError
from synctalk.head_sync.parsing import LABELS, Parser, ParserSettings, intersection_over_union
from synctalk.video import read_frames


@dataclass(frozen=True)
class Agreement:
    """One video's result.

    Attributes:
        overlap: IoU of each label, float64 [5], the mean over labelled frames.
        flicker: mean change of the mattes from frame to frame, in thousandths.
        frame_ms: CPU time of one frame, milliseconds, all threads together.
        frames: frames parsed.
    """

    overlap: NDArray[np.float64]
    flicker: float
    frame_ms: float
    frames: int


def agreement(
    video: Path, labels: Path, seconds: float | None = None, settings: ParserSettings | None = None
) -> Agreement:
    """Parse the first `seconds` of a video (all without a limit) and compare with its label maps.

    Raises:
        TrainingError: the label file has other label names, or no label in that time.
        VideoError: the video cannot be read.
    """
    with np.load(labels) as file:
        if tuple(file["label_names"]) != LABELS:
            raise TrainingError(f"{labels}: label_names are {tuple(file['label_names'])}, expected {LABELS}.")
        row = {int(frame): i for i, frame in enumerate(file["label_frames"])}
        truth = file["labels"]
    parser = Parser(threads=1, settings=settings)
    overlaps, changes, spent, count = [], [], 0.0, 0
    before: NDArray[np.float32] | None = None
    stop = None if seconds is None else round(seconds * 25)
    for i, frame in enumerate(read_frames(video, stop=stop)):
        start = time.process_time()
        mattes = parser.mattes(frame)
        spent += time.process_time() - start
        count += 1
        if i in row:
            overlaps.append(intersection_over_union(mattes.argmax(0), truth[row[i]]))
        if before is not None:
            changes.append(float(np.abs(mattes - before).mean()))
        before = mattes
    if not overlaps:
        raise TrainingError(f"{labels} has no label for the frames that were parsed.")
    flicker = 1000 * float(np.mean(changes)) if changes else 0.0
    return Agreement(np.nanmean(overlaps, axis=0), flicker, 1000 * spent / count, count)


def main(argv: list[str] | None = None) -> int:
    """The command line of this module; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m synctalk.training.parsing_check", description=__doc__)
    parser.add_argument("footage", type=Path)
    parser.add_argument("--seconds", type=float, help="of each video (default: all)")
    args = parser.parse_args(argv)
    print(f"{'':<14}" + "".join(f"{name:>12}" for name in LABELS) + f"{'flicker':>12}{'ms/frame':>12}")
    pairs = [
        (labels.with_name(labels.name.replace("_labels.npz", ".mp4")), labels)
        for labels in sorted(args.footage.glob("*_labels.npz"))
    ]
    if not pairs:
        raise SystemExit(f"{args.footage} holds no *_labels.npz.")
    for video, labels in pairs:
        result = agreement(video, labels, args.seconds)
        overlap = "".join(f"{value:>12.3f}" for value in result.overlap)
        print(f"{video.stem:<14}{overlap}{result.flicker:>12.2f}{result.frame_ms:>12.1f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
