"""What a head track is worth: the paper's ablation against known truth, error plots, a sheet of overlays."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.errors import TrainingError
from synctalk.head_sync.face_model import REGIONS, FaceModel
from synctalk.head_sync.mesh_render import shade
from synctalk.head_sync.motion_tracker import track_motion
from synctalk.head_sync.pose_error import PoseError, pose_error
from synctalk.head_sync.track import Followed, Track, TrackSettings, track_head
from synctalk.video import probe, read_frames

Report = Callable[[str, int, int], None]

_NOSE_BRIDGE = 27  # of the 68 landmarks


@dataclass(frozen=True)
class Truth:
    """Known poses: viewmats float64 [T, 4, 4], K [3, 3] px, nose bridge [3] in head space (10 cm)."""

    viewmats: NDArray[np.float64]
    K: NDArray[np.float64]
    nose_bridge: NDArray[np.float64]

    @classmethod
    def load(cls, path: Path | str, start: int = 0, stop: int | None = None) -> "Truth":
        """Read `K`, `head_pose` and `neutral68_head` of an NPZ.

        Raises:
            TrainingError: the file is missing or lacks one of them.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                return cls(
                    data["head_pose"][start:stop].astype(np.float64),
                    data["K"].astype(np.float64),
                    data["neutral68_head"][_NOSE_BRIDGE].astype(np.float64),
                )
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{path} holds no true poses ({error}). Give an NPZ with K, head_pose and neutral68_head."
            ) from error

    def error_of(self, track: Track, use: NDArray[np.bool_] | None = None) -> PoseError:
        """Errors of a track of the same frames, or of those frames in `use` [T].

        Raises:
            TrainingError: the numbers of frames differ.
        """
        if len(track) != len(self.viewmats):
            raise TrainingError(f"The track has {len(track)} frames, the truth {len(self.viewmats)}.")
        return pose_error(track.viewmats, track.K, self.viewmats, self.K, self.nose_bridge, use)


def ablation(
    path: Path | str,
    landmarks: NDArray[np.floating],  # [T, 478 or 68, 2 or 3] px
    start: int = 0,
    stop: int | None = None,
    progress: Report | None = None,
    settings: TrackSettings | None = None,
) -> dict[str, Track]:
    """The paper's comparison: landmarks only, no semantic weighting, no bundle adjustment, everything.

    Semantic Weighting has two halves: the regions' trust, and the slips measured against adjusted points.
    Rows without Semantic Weighting or bundle adjustment are without slips, as the paper is; further rows have
    one half alone, or slips without adjusting. What rows share (the morphable model's fit, followed points)
    is done once.
    """

    def source(first: int) -> Iterator[NDArray[np.uint8]]:
        return read_frames(path, start=start + first, stop=stop)

    info = probe(path)
    full = settings or TrackSettings()
    model = FaceModel.load()
    motion = track_motion(np.asarray(landmarks, np.float64), (info.width, info.height), model, full.motion)
    followed: dict[bool, Followed] = {}

    def run(settings: TrackSettings) -> Track:
        regions = settings.points.semantic_weighting

        def keep(pixels: NDArray[np.float64], rows: NDArray[np.float32]) -> None:
            followed[regions] = pixels, rows

        return track_head(
            source,
            landmarks,
            settings=settings,
            model=model,
            report=progress,
            motion=motion,
            followed=followed.get(regions),
            keep=keep,
        )

    alike = replace(full, points=replace(full.points, semantic_weighting=False))
    return {
        "landmarks only": run(replace(full, stable_points=False)),
        "no semantic weighting": run(replace(alike, slips=None)),
        "slips alone": run(alike),
        "regions alone": run(replace(full, slips=None)),
        "no bundle adjustment": run(replace(full, bundle_adjustment=False, slips=None)),
        "no adjustment, slips": run(replace(full, bundle_adjustment=False)),
        "everything": run(full),
    }


def table(errors: dict[str, PoseError]) -> str:
    """Rows of figures as a Markdown table."""
    rows = {name: error.summary() for name, error in errors.items()}
    columns = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[column]:.3f}" for column in columns) + " |")
    return "\n".join(lines)


def error_plot(path: Path | str, errors: dict[str, PoseError], width: int = 1400) -> None:
    """Errors over time as PNG: one panel for rotation, sideways and depth, one line per row."""
    panels = [
        ("rotation, degrees", "rotation_deg"),
        ("sideways, mm", "sideways_mm"),
        ("depth, mm", "depth_mm"),
    ]
    colours = [
        (150, 150, 150), (60, 140, 230), (190, 150, 40), (150, 80, 190), (80, 180, 80), (70, 200, 200),
        (200, 60, 60),
    ]  # fmt: skip
    height = 220
    sheet = np.full((height * len(panels), width, 3), 255, np.uint8)
    for row, (title, name) in enumerate(panels):
        values = {label: getattr(error, name) for label, error in errors.items()}
        top = max(float(np.percentile(v, 99.5)) for v in values.values()) or 1.0
        base = height * (row + 1) - 15
        for (label, curve), colour in zip(values.items(), colours, strict=False):
            x = np.linspace(60, width - 10, len(curve))
            y = base - np.minimum(curve / top, 1.0) * (height - 45)
            cv2.polylines(
                sheet, [np.stack([x, y], 1).round().astype(np.int32)], False, colour, 1, cv2.LINE_AA
            )
            place = (80 + 185 * list(values).index(label), height * row + 34)
            cv2.putText(sheet, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
        cv2.putText(
            sheet, f"{title} (top {top:.2f})", (60, height * row + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5,
            (0, 0, 0), 1, cv2.LINE_AA,
        )  # fmt: skip
        cv2.line(sheet, (60, base), (width - 10, base), (0, 0, 0), 1)
    cv2.imwrite(str(path), sheet[..., ::-1])


def overlay_sheet(
    path: Path | str, video: Path | str, track: Track, start: int = 0, count: int = 12, columns: int = 4
) -> None:
    """Frames with the fitted mesh laid over the face and the followed points, as one PNG."""
    model = FaceModel.load()
    hidden = np.isin(model.region, [REGIONS.index(name) for name in ("neck", "mouth")])
    triangles = model.triangles[~hidden[model.triangles].any(1)]
    wanted = set(np.linspace(0, len(track) - 1, count).round().astype(int).tolist())
    tiles = []
    for i, frame in enumerate(read_frames(video, start=start, stop=start + len(track))):
        if i not in wanted:
            continue
        shape = model.vertices(track.identity, track.expressions[i].astype(np.float64))
        camera = shape @ track.viewmats[i, :3, :3].T + track.viewmats[i, :3, 3]
        height, width = frame.shape[:2]
        picture = shade(camera, triangles, track.K, width, height, background=frame, opacity=0.45)
        if track.keypoints is not None:
            seen = track.keypoints.points @ track.viewmats[i, :3, :3].T + track.viewmats[i, :3, 3]
            pixels = seen[:, :2] / seen[:, 2:] * track.K[[0, 1], [0, 1]] + track.K[:2, 2]
            for x, y in pixels.round().astype(int):
                cv2.circle(picture, (int(x), int(y)), 1, (80, 255, 80), -1)
        cv2.putText(picture, str(start + i), (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
        tiles.append(picture)
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    sheet = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    cv2.imwrite(str(path), cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)[..., ::-1])
