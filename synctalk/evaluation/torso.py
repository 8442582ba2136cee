"""What the torso restorer is worth: holes in held-out frames, jaws that do not fit, time per frame."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.errors import TrainingError
from synctalk.evaluation.evaluate import frame_range
from synctalk.evaluation.image import frame_change
from synctalk.evaluation.lips import mouth_opening
from synctalk.evaluation.natural import PATCH, brisque, niqe
from synctalk.evaluation.reconstruction import Drive, bounding
from synctalk.portrait.portrait_sync import PortraitSync
from synctalk.torso.restorer import TorsoRestorer
from synctalk.training.dataset import Dataset
from synctalk.training.preprocess import prepare_truth
from synctalk.training.torso import TorsoFootage, hole_psnr

OPEN, SHUT = 0.35, 0.2  # of the clip's 95th percentile of the lip gap
WITH, WITHOUT = "with", "without"
HEAD_MARGIN_PX = 16
LOOKS = 16  # frames of each kind whose picture is judged
Image = NDArray[np.uint8]


def evaluate_torso(
    avatar: str | Path | Avatar,
    truth: Path | str,
    *,
    frames: str = "0:",
    work: Path | str,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Figures of an avatar's restorer on a true video of the same person.

    - `holes`: PSNR (dB) inside holes cut around cheeks and chin, 10-30 px wide at random, where no source
      is shown: `restored`, filled smoothly from around (`smooth`), and left dark (`dark`).
    - `source_open` and `source_shut`: the generated mouth stays shut where the source's is open, and wide
      open where the source's is shut. `niqe` and `brisque` of the head (lower is better) and `flicker`
      (mean change from frame to frame in the seam, grey levels), each with and without the restorer.
    - `time_ms`: Portrait-Sync with and without the restorer, when the generated mouth follows another
      moment's sound, and the share of frames that were restored.

    Args:
        avatar: name, folder, hub id or an open avatar; it must have a restorer.
        truth: video framed like the avatar's footage, with sound.
        frames: 'A:B' at 25 fps.
        work: folder for the measurements of the truth; continued if it holds some.
        report: takes one line per step.

    Raises:
        AvatarError, TrainingError, VideoError, AudioError: see `evaluate`; TrainingError also for an
            avatar without a restorer or a video in which the mouth is never open or never shut.
    """
    chosen = avatar if isinstance(avatar, Avatar) else Avatar.from_pretrained(avatar)
    if chosen.torso is None:
        raise TrainingError(f"{chosen.name} has no torso restorer. Make one with: synctalk train-torso.")
    data = prepare_truth(Path(truth), work, chosen, frame_range(frames, Path(truth)), report)
    return torso_figures(chosen.renderer(), chosen.torso, data, np.arange(len(data)))


def torso_figures(
    renderer: Any, restorer: TorsoRestorer, data: Dataset, rows: NDArray[np.integer]
) -> dict[str, Any]:
    """The figures of `evaluate_torso` on frames `rows` of a dataset, in their order in time."""
    gaps = mouth_opening(data.landmarks478[rows])
    largest = float(np.percentile(gaps, 95))
    is_open, is_shut = gaps > OPEN * largest, gaps < SHUT * largest
    if not is_open.any() or not is_shut.any():
        raise TrainingError("The mouth must be both open and shut in the video. Take a longer stretch.")
    drive = Drive.of(data)
    conditions = renderer.conditions(drive.lips, drive.expressions, drive.silence)[torch.as_tensor(rows)]
    shut = conditions[int(gaps.argmin())].expand_as(conditions)
    wide = conditions[int(gaps.argmax())].expand_as(conditions)
    # Half the clip away: another moment's sound, as when a new text is spoken.
    moved = conditions.roll(len(rows) // 2, 0)
    scene = _Scene(renderer, restorer, data, rows)
    return {
        "frames": len(rows),
        "holes": hole_figures(restorer, data, rows),
        "source_open": scene.judge(shut, is_open),
        "source_shut": scene.judge(wide, is_shut),
        "time_ms": scene.judge(moved, np.zeros(len(rows), bool)),
    }


def hole_figures(
    restorer: TorsoRestorer, data: TorsoFootage | Dataset, rows: NDArray[np.integer]
) -> dict[str, float]:
    """PSNR in dB in holes cut in the frames `rows`: restored, filled smoothly, left dark."""
    footage = cast(TorsoFootage, data)
    smooth = TorsoRestorer(restorer.widths).eval()  # untrained, it adds nothing to the smooth fill
    judged = {"restored": restorer, "smooth": smooth, "dark": None}
    return {name: round(hole_psnr(one, footage, np.asarray(rows)), 2) for name, one in judged.items()}


@dataclass
class _Scene:
    """Frames of a source with mouths that are not theirs."""

    renderer: Any
    restorer: TorsoRestorer
    data: Dataset
    rows: NDArray[np.integer]
    sync: dict[str, PortraitSync] = field(init=False)

    def __post_init__(self) -> None:
        size = (self.data.size, self.data.size)
        self.sync = {WITH: PortraitSync(size, None, self.restorer), WITHOUT: PortraitSync(size)}

    def judge(self, conditions: torch.Tensor, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        """Renders `conditions` [n,C] into the source frames; looks at those `chosen` [n].

        Without chosen frames only the times of all are taken.
        """
        places = np.flatnonzero(chosen) if chosen.any() else np.arange(len(self.rows))
        looks = set(places[np.linspace(0, len(places) - 1, LOOKS).astype(int)]) if chosen.any() else set()
        values: dict[str, dict[str, list[float]]] = {}
        before: tuple[int, dict[str, Image], NDArray[np.bool_]] | None = None
        restored = 0
        for place in map(int, places):
            shown, spent, band = self._frame(conditions, place)
            restored += bool(band.any())
            for name in (WITH, WITHOUT):
                own = values.setdefault(name, {})
                own.setdefault("ms", []).append(spent[name])
                if place in looks:
                    head = self._head(shown[name], place)
                    own.setdefault("niqe", []).append(niqe(head))
                    own.setdefault("brisque", []).append(brisque(head))
                if chosen.any() and before is not None and before[0] == place - 1:
                    both = band | before[2]
                    own.setdefault("flicker", []).append(frame_change(before[1][name], shown[name], both))
            before = (place, shown, band)
        figures: dict[str, Any] = {
            name: {key: round(float(np.nanmean(found)), 3) for key, found in own.items() if key != "ms"}
            | {"ms": round(float(np.median(own["ms"])), 2)}
            for name, own in values.items()
        }
        return figures | {"frames": len(places), "restored": round(restored / len(places), 3)}

    def _frame(
        self, conditions: torch.Tensor, place: int
    ) -> tuple[dict[str, Image], dict[str, float], NDArray[np.bool_]]:
        """The frame with and without the restorer, the ms of either, and the pixels it changed."""
        row = int(self.rows[place])
        image, alpha = self.renderer.render(conditions, place, self.data.viewmats[row])
        frame, mattes = np.asarray(self.data.frames[row]), np.asarray(self.data.mattes[row])
        shown: dict[str, Image] = {}
        spent: dict[str, float] = {}
        for name in (WITHOUT, WITH):
            start = time.perf_counter()
            shown[name] = np.asarray(self.sync[name](frame, image, alpha, mattes))
            spent[name] = 1e3 * (time.perf_counter() - start)
        return shown, spent, np.asarray((shown[WITH] != shown[WITHOUT]).any(2), bool)

    def _head(self, image: Image, place: int) -> Image:
        """The part of a picture that holds the head, large enough for NIQE."""
        rows, columns = bounding(self.data.mattes[int(self.rows[place]), 1] >= 128)
        cut = []
        for part, limit in ((rows, image.shape[0]), (columns, image.shape[1])):
            length = max(part.stop - part.start + 2 * HEAD_MARGIN_PX, 2 * PATCH)
            low = max(0, min((part.start + part.stop - length) // 2, limit - length))
            cut.append(slice(low, min(low + length, limit)))
        return np.ascontiguousarray(image[cut[0], cut[1]])


def table(figures: dict[str, Any]) -> str:
    """The figures as lines of text."""
    holes, times = figures["holes"], figures["time_ms"]
    lines = [
        f"Torso restorer, {figures['frames']} frames",
        f"  PSNR in holes, dB: {holes['restored']:.2f} restored, {holes['smooth']:.2f} filled smoothly, "
        f"{holes['dark']:.2f} left dark",
        f"  {'':34}{WITH:>9}{WITHOUT:>9}",
    ]
    for key, title in (
        ("source_open", "source open, generated shut"),
        ("source_shut", "source shut, generated open"),
    ):
        lines.append(f"  {title} ({figures[key]['frames']} frames)")
        lines += [
            f"    {name:32}{figures[key][WITH].get(measure, np.nan):9.3f}"
            f"{figures[key][WITHOUT].get(measure, np.nan):9.3f}"
            for measure, name in (
                ("niqe", "NIQE of the head"),
                ("brisque", "BRISQUE of the head"),
                ("flicker", "flicker in the seam, grey levels"),
            )
        ]
    lines.append(f"  {'Portrait-Sync, ms per frame':34}{times[WITH]['ms']:9.2f}{times[WITHOUT]['ms']:9.2f}")
    lines.append(f"  restored frames: {100 * times['restored']:.0f} %")
    return "\n".join(lines)
