"""`synctalk evaluate`: an avatar and a true video of the same person -> figures."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from synctalk.avatar import Avatar
from synctalk.errors import TrainingError
from synctalk.evaluation.ablation import ablated
from synctalk.evaluation.mouth import mouth_shares
from synctalk.evaluation.phones import read_phones
from synctalk.evaluation.reconstruction import Rendered, measure
from synctalk.speech.audio import load_soundtrack
from synctalk.training.preprocess import prepare_truth
from synctalk.video import VideoWriter, probe, read_frames

Report = Callable[[str], None]


def frame_range(text: str, video: Path | str) -> tuple[int, int | None]:
    """`A:B` -> first and last + 1 frame at 25 fps; either may be empty, negative counts from the end.

    Raises:
        TrainingError: not of that form, or empty.
    """
    parts = text.split(":")
    try:
        values = [int(part) if part.strip() else None for part in parts]
    except ValueError:
        values = []
    if len(values) != 2:
        raise TrainingError(f"--frames {text!r} must look like A:B, for example 0:250 or -250:")
    start, stop = values[0] or 0, values[1]
    if start < 0 or (stop is not None and stop < 0):
        total = sum(1 for _ in read_frames(video))
        start = max(0, total + start) if start < 0 else start
        stop = total + stop if stop is not None and stop < 0 else stop
    if stop is not None and stop <= start:
        raise TrainingError(f"--frames {text!r} holds no frame.")
    return start, stop


def evaluate(
    avatar: str | Path | Avatar,
    truth: Path | str,
    *,
    frames: str = "0:",
    work: Path | str,
    without: Collection[str] = (),
    phones: Path | str | None = None,
    video: Path | str | None = None,
    report: Report = print,
) -> dict[str, Any]:
    """Figures of an avatar on a true video.

    Poses, brows, eyes, gaze and smile come from the truth, the lips from its sound; the truth's frames
    are the source frames. Regions come from our own parsing, so any video of the person will do.

    Args:
        avatar: name, folder, hub id or an open avatar.
        truth: video framed like the avatar's footage, with sound.
        frames: 'A:B' at 25 fps.
        work: folder for the measurements of the truth; continued if it holds some.
        without: parts to leave out (`evaluation.ablation.PARTS`).
        phones: phone times of the video (`evaluation.phones.read_phones`), for the shut and open shares
            of the render and of the truth.
        video: also write truth and render side by side.
        report: takes one line per step.

    Returns:
        the keys of `reconstruction.measure`; with `phones` also those of `mouth.MouthShares`, and the
        truth's with `true_` before them.

    Raises:
        AvatarError, TrainingError, VideoError, AudioError: see there.
    """
    chosen = avatar if isinstance(avatar, Avatar) else Avatar.from_pretrained(avatar)
    truth = Path(truth)
    probe(truth)
    data = prepare_truth(truth, work, chosen, frame_range(frames, truth), report)
    rows = np.arange(len(data))
    writer = _SideBySide(Path(video), truth, data.size, int(data.source_index[0])) if video else None
    result = measure(
        chosen.renderer(),
        chosen.torso,
        data,
        rows,
        ablated(chosen, data, without),
        portrait_sync="portrait" not in without,
        on_frame=writer.add if writer else None,
        grain=chosen.grain,
    )
    if writer is not None:
        writer.close()
    figures: dict[str, Any] = dict(result.figures)
    if phones is not None:
        spoken = read_phones(phones, float(data.source_index[0]) / 25)
        figures |= mouth_shares(result.opening, spoken).as_dict()
        true = mouth_shares(result.true_opening, spoken).as_dict()
        figures |= {f"true_{key}": value for key, value in true.items()}
    if without:
        figures["without"] = sorted(without)
    return figures


class _SideBySide:
    """Truth left, render right, with the truth's sound."""

    def __init__(self, path: Path, truth: Path, size: int, first: int) -> None:
        samples, rate = load_soundtrack(truth)
        self._writer = VideoWriter(path, 2 * size, size, audio=(samples[round(first * rate / 25) :], rate))

    def add(self, shot: Rendered) -> None:
        """One frame."""
        self._writer.write(np.concatenate([shot.truth, shot.image], axis=1))

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
