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
from synctalk.portrait.seam import JAW_BEGINS
from synctalk.torso.restorer import TorsoRestorer
from synctalk.training.dataset import Dataset
from synctalk.training.preprocess import prepare_truth
from synctalk.training.torso import TorsoFootage, hole_psnr

FORCED = 0.2  # share of the clip's frames with the widest, and with the narrowest, lips
LEAST_RATIO = 2.0  # of the two kinds' lip gaps: with less, no mismatch can be forced
WITH, WITHOUT, DIFFERENCE = "with", "without", "difference"
HEAD_MARGIN_PX = 16
LOOK_EVERY = 2  # of the forced frames, those whose picture is judged
CHIN = 8  # of 68 landmarks
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


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
    - `source_open`: the fifth of the frames with the widest lips, under the most shut mouth of the clip;
      `source_shut`: the fifth with the narrowest, under the widest mouth, where nothing is made up. `niqe`
      and `brisque` (lower is better) of the head and, as `niqe_chin` and `brisque_chin`, of the 192 px
      square around the chin; `flicker`, the mean change from one frame to the next in the seam (grey
      levels): below the middle of the face, within 15 px (at 512) of either face but not under the
      rendered one. Each with and without the restorer, and as [mean, standard error] of the paired
      difference; runs of successive frames count as one draw.
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
    return torso_figures(chosen.renderer(), chosen.torso, data, np.arange(len(data)), chosen.grain)


def torso_figures(
    renderer: Any, restorer: TorsoRestorer, data: Dataset, rows: NDArray[np.integer], grain: float = 0.0
) -> dict[str, Any]:
    """The figures of `evaluate_torso` on frames `rows` of a dataset, in their order in time.

    The rendered face gets the noise that it gets in a video: `grain`, in grey levels.
    """
    gaps = mouth_opening(data.landmarks478[rows])
    narrow, wide_gap = np.quantile(gaps, (FORCED, 1 - FORCED))
    is_open, is_shut = gaps >= wide_gap, gaps <= narrow
    if wide_gap <= LEAST_RATIO * max(narrow, 0):
        raise TrainingError("The mouth must be both open and shut in the video. Take a longer stretch.")
    drive = Drive.of(data)
    conditions = renderer.conditions(drive.lips, drive.expressions, drive.silence)[torch.as_tensor(rows)]
    shut = conditions[int(gaps.argmin())].expand_as(conditions)
    wide = conditions[int(gaps.argmax())].expand_as(conditions)
    # Half the clip away: another moment's sound, as when a new text is spoken.
    moved = conditions.roll(len(rows) // 2, 0)
    scene = _Scene(renderer, restorer, data, rows, grain)
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
    grain: float
    sync: dict[str, PortraitSync] = field(init=False)

    def __post_init__(self) -> None:
        size = (self.data.size, self.data.size)
        self.sync = {
            name: PortraitSync(size, None, restorer, self.grain)
            for name, restorer in ((WITH, self.restorer), (WITHOUT, None))
        }

    def judge(self, conditions: torch.Tensor, chosen: Mask) -> dict[str, Any]:
        """Renders `conditions` [n,C] into the source frames; looks at those `chosen` [n].

        Without chosen frames only the times of all are taken.
        """
        places = np.flatnonzero(chosen) if chosen.any() else np.arange(len(self.rows))
        times: dict[str, list[float]] = {WITH: [], WITHOUT: []}
        values: dict[str, _Pairs] = {}
        before: _Shown | None = None
        restored, run = 0, 0
        for number, place in enumerate(map(int, places)):
            now = self._frame(conditions, place)
            restored += bool((now.image[WITH] != now.image[WITHOUT]).any())
            for name, spent in now.ms.items():
                times[name].append(spent)
            if not chosen.any():
                continue
            if before is not None and before.place == place - 1:
                both = now.band | before.band
                change = {name: frame_change(before.image[name], now.image[name], both) for name in times}
                values.setdefault("flicker", _Pairs()).add(change, run)
            else:
                run += 1
            if number % LOOK_EVERY == 0:
                self._look(now, values, run)
            before = now
        figures: dict[str, Any] = {
            name: {measure: round(found.mean(name), 3) for measure, found in values.items()}
            | {"ms": round(float(np.median(spent)), 2)}
            for name, spent in times.items()
        }
        figures[DIFFERENCE] = {measure: found.difference() for measure, found in values.items()}
        return figures | {"frames": len(places), "restored": round(restored / len(places), 3)}

    def _look(self, shown: "_Shown", values: dict[str, "_Pairs"], run: int) -> None:
        """Judge a frame's pictures without a reference."""
        for suffix, cut in (("", self._head), ("_chin", self._chin)):
            pictures = {name: cut(image, shown.place) for name, image in shown.image.items()}
            for measure, judged in (("niqe", niqe), ("brisque", brisque)):
                found = {name: judged(picture) for name, picture in pictures.items()}
                values.setdefault(measure + suffix, _Pairs()).add(found, run)

    def _frame(self, conditions: torch.Tensor, place: int) -> "_Shown":
        row = int(self.rows[place])
        image, alpha = self.renderer.render(conditions, place, self.data.viewmats[row])
        frame, mattes = np.asarray(self.data.frames[row]), np.asarray(self.data.mattes[row])
        shown: dict[str, Image] = {}
        spent: dict[str, float] = {}
        for name in (WITHOUT, WITH):
            start = time.perf_counter()
            shown[name] = np.asarray(self.sync[name](frame, image, alpha, mattes, place))
            spent[name] = 1e3 * (time.perf_counter() - start)
        return _Shown(place, shown, spent, seam_band(mattes, alpha.numpy(), self.sync[WITHOUT].region))

    def _chin(self, image: Image, place: int) -> Image:
        """The square around the chin, as small as NIQE allows."""
        cut = []
        x, y = self.data.landmarks68[int(self.rows[place]), CHIN]
        for centre, limit in ((y, image.shape[0]), (x, image.shape[1])):
            low = int(np.clip(centre - PATCH, 0, max(limit - 2 * PATCH, 0)))
            cut.append(slice(low, low + 2 * PATCH))
        return np.ascontiguousarray(image[cut[0], cut[1]])

    def _head(self, image: Image, place: int) -> Image:
        """The part of a picture that holds the head, in whole patches: NIQE drops what is left over, which
        would be the chin."""
        rows, columns = bounding(self.data.mattes[int(self.rows[place]), 1] >= 128)
        cut = []
        for part, limit in ((rows, image.shape[0]), (columns, image.shape[1])):
            patches = -(-(part.stop - part.start + 2 * HEAD_MARGIN_PX) // PATCH)
            length = PATCH * min(max(patches, 2), limit // PATCH)
            low = max(0, min((part.start + part.stop - length) // 2, limit - length))
            cut.append(slice(low, low + length))
        return np.ascontiguousarray(image[cut[0], cut[1]])


@dataclass
class _Shown:
    """One frame with and without the restorer."""

    place: int
    image: dict[str, Image]
    ms: dict[str, float]
    band: Mask


@dataclass
class _Pairs:
    """A measure of the same frames with and without the restorer."""

    found: dict[str, list[float]] = field(default_factory=lambda: {WITH: [], WITHOUT: []})
    runs: list[int] = field(default_factory=list)

    def add(self, values: dict[str, float], run: int) -> None:
        """A frame's two values, and which run of successive frames it is in; NaN is left out."""
        if all(np.isfinite(value) for value in values.values()):
            for name, value in values.items():
                self.found[name].append(value)
            self.runs.append(run)

    def mean(self, name: str) -> float:
        """Of one column."""
        return float(np.mean(self.found[name])) if self.runs else float("nan")

    def difference(self) -> list[float]:
        """Mean of with - without, and its standard error with runs as draws."""
        if not self.runs:
            return [float("nan")] * 2
        apart = np.subtract(self.found[WITH], self.found[WITHOUT])
        mean = float(apart.mean())
        sums = np.bincount(self.runs, apart - mean)
        return [round(mean, 4), round(float(np.sqrt((sums**2).sum())) / len(apart), 4)]


def seam_band(mattes: Image, alpha: NDArray[np.float32], region: Mask) -> Mask:
    """Where a seam can be seen, whatever was done about it.

    Args:
        mattes: uint8 [3,h,w]: face, head, person of the source.
        alpha: float32 [h,w] of the rendered face.
        region: bool [h,w], where Portrait-Sync may change pixels.

    Returns:
        bool [h,w]: the region below the cheeks that is neither hair nor under the rendered face.
    """
    face = mattes[0] >= 128
    band = np.asarray(region & (alpha <= 0.5) & (face | (mattes[1] < 128)), bool)
    rows = np.flatnonzero(face.any(1))
    if len(rows):
        band[: int(rows[0] + JAW_BEGINS * (rows[-1] - rows[0]))] = False
    return band


def table(figures: dict[str, Any]) -> str:
    """The figures as lines of text."""
    holes, times = figures["holes"], figures["time_ms"]
    lines = [
        f"Torso restorer, {figures['frames']} frames",
        f"  PSNR in holes, dB: {holes['restored']:.2f} restored, {holes['smooth']:.2f} filled smoothly, "
        f"{holes['dark']:.2f} left dark",
        f"  {'':34}{WITH:>9}{WITHOUT:>9}{DIFFERENCE:>12}",
    ]
    for key, title in (
        ("source_open", "source open, generated shut"),
        ("source_shut", "source shut, generated open"),
    ):
        lines.append(f"  {title} ({figures[key]['frames']} frames)")
        for measure, name in (
            ("niqe", "NIQE of the head"),
            ("brisque", "BRISQUE of the head"),
            ("niqe_chin", "NIQE around the chin"),
            ("brisque_chin", "BRISQUE around the chin"),
            ("flicker", "flicker in the seam, grey levels"),
        ):
            mean, error = figures[key][DIFFERENCE].get(measure, (np.nan, np.nan))
            columns = "".join(f"{figures[key][one].get(measure, np.nan):9.3f}" for one in (WITH, WITHOUT))
            lines.append(f"    {name:32}{columns}{mean:+9.3f} ({error:.3f})")
    lines.append(f"  {'Portrait-Sync, ms per frame':34}{times[WITH]['ms']:9.2f}{times[WITHOUT]['ms']:9.2f}")
    lines.append(f"  restored frames: {100 * times['restored']:.0f} %")
    return "\n".join(lines)
