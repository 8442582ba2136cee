"""An avatar against the truth: poses and upper face from the true video, lips from its sound."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.evaluation.eyes import eye_figures, eye_opening
from synctalk.evaluation.image import frame_change, ms_ssim, psnr
from synctalk.evaluation.lips import (
    correlation,
    lag_frames,
    landmark_distance,
    mouth_opening,
    static_distance,
)
from synctalk.evaluation.natural import PATCH, brisque, niqe
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.portrait.portrait_sync import PortraitSync, lay_over
from synctalk.training.dataset import Dataset

GREY = 128.0
MOUTH = slice(48, 68)
EYES = slice(36, 48)
BROWS_AND_EYES = [*range(17, 27), *range(36, 48)]
NOSE_TIP = 33
LOOK_EVERY = 10  # frames between looks at quality without a reference
MARGIN = 0.25  # of the width of mouth or eyes, on each side


@dataclass(frozen=True)
class Rendered:
    """One frame of an evaluation, all uint8 RGB [H,W,3] at the avatar's size."""

    index: int
    truth: NDArray[np.uint8]
    image: NDArray[np.uint8]  # what a viewer gets
    head: NDArray[np.uint8]  # the rendered head alone over grey
    true_head: NDArray[np.uint8]  # the truth's head alone over grey


@dataclass(frozen=True)
class Drive:
    """What moves the avatar, per frame of the truth."""

    lips: torch.Tensor  # [T,512]
    expressions: torch.Tensor  # [T,52]
    silence: torch.Tensor  # [T] bool
    viewmats: torch.Tensor  # [T,4,4]

    @classmethod
    def of(cls, truth: Dataset) -> "Drive":
        """All from the truth."""
        return cls(
            lips=torch.as_tensor(truth.lips),
            expressions=torch.as_tensor(truth.expressions),
            silence=torch.as_tensor(truth.silence),
            viewmats=torch.as_tensor(truth.viewmats),
        )


def render_frames(
    renderer: Any,
    restorer: Any | None,
    truth: Dataset,
    rows: NDArray[np.integer],
    drive: Drive,
    portrait_sync: bool = True,
    clock: list[float] | None = None,
    grain: float = 0.0,
) -> Iterator[Rendered]:
    """Renders the chosen frames of the truth.

    Args:
        renderer: a `portrait.renderer.PortraitRenderer`.
        restorer: the torso restorer, or None.
        truth: measured video; its frames serve as source frames too.
        rows: frame indices.
        drive: lips, expressions and poses, [T] of the whole truth.
        portrait_sync: False lays the head over the frame instead.
        clock: receives the seconds of deforming, splatting and blending of each frame.
        grain: of the footage; see `PortraitSync`.
    """
    conditions = renderer.conditions(drive.lips, drive.expressions, drive.silence)
    sync = PortraitSync((truth.size, truth.size), None, restorer, grain)
    for row in map(int, rows):
        frame, mattes = truth.frames[row], truth.mattes[row]
        start = time.perf_counter()
        image, alpha = renderer.render(conditions, row, drive.viewmats[row])
        if portrait_sync:
            shown = sync(frame, image, alpha, mattes, row)
        else:
            shown = lay_over(frame, image, alpha)
        if clock is not None:
            clock.append(time.perf_counter() - start)
        rgb, opaque = image.numpy(), alpha.numpy()[..., None]
        matte = mattes[1][..., None] / np.float32(255)
        yield Rendered(
            index=row,
            truth=frame,
            image=np.asarray(shown),
            head=_bytes(255 * rgb + GREY * (1 - opaque)),
            true_head=_bytes(frame * matte + GREY * (1 - matte)),
        )


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def box_around(points: NDArray[np.floating], size: int) -> tuple[slice, slice]:
    """Rows and columns of the box around `points` [n,2] px, a quarter of their width wider on each side."""
    margin = MARGIN * float(np.ptp(points[:, 0]))
    x0, y0 = np.floor(points.min(axis=0) - margin).astype(int).clip(0, size - 1)
    x1, y1 = np.ceil(points.max(axis=0) + margin).astype(int).clip(1, size)
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def static_skin(face: NDArray[np.uint8], landmarks68: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Skin that no expression moves much: the face matte above the nose tip, without eyes and brows."""
    size = face.shape[0]
    inner = cv2.erode(face, np.ones((size // 64 * 2 + 1,) * 2, np.uint8)) >= 200
    inner[max(0, int(landmarks68[NOSE_TIP, 1])) :] = False
    points = landmarks68[BROWS_AND_EYES]
    margin = 0.04 * size
    x0, y0 = np.maximum(points.min(axis=0) - margin, 0).astype(int)
    x1, y1 = np.maximum(points.max(axis=0) + margin / 2, 0).astype(int)
    inner[y0:y1, x0:x1] = False
    return np.asarray(inner, bool)


def bounding(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of a mask's bounding box; everything if it is empty."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(ys[0]), int(ys[-1]) + 1), slice(int(xs[0]), int(xs[-1]) + 1)


@dataclass
class Evaluation:
    """Figures of a clip, and the curves behind them."""

    figures: dict[str, float]
    psnr_per_frame: NDArray[np.float64]  # [n] dB, whole frame
    opening: NDArray[np.float64]  # [n] rendered inner lip gap over the eye distance
    true_opening: NDArray[np.float64]  # [n]


def measure(
    renderer: Any,
    restorer: Any | None,
    truth: Dataset,
    rows: NDArray[np.integer],
    drive: Drive | None = None,
    portrait_sync: bool = True,
    on_frame: Callable[[Rendered], None] | None = None,
    grain: float = 0.0,
) -> Evaluation:
    """All figures of `synctalk evaluate` over the chosen frames.

    Args:
        renderer, restorer, truth, rows, drive, portrait_sync: see `render_frames`; `rows` follow each
            other in time.
        on_frame: sees every frame as it is made.
        grain: of the footage.

    Returns:
        `psnr`, `psnr_face`, `psnr_mouth`, `psnr_eyes`, `ms_ssim` of what a viewer gets (mean over frames,
        dB); `psnr_head` (inside the truth's head matte) and `ms_ssim_head` (in its bounding box) of the head
        alone over grey; `lmd_px`, `lmd_static_px`, `mouth_correlation`, `mouth_lag_frames`, those of
        `eyes.eye_figures`, `flicker_ratio`, `fps` (deform, splat and blend) and `frames`; `niqe` and
        `brisque` of every tenth frame.
    """
    drive = drive or Drive.of(truth)
    clock: list[float] = []
    sums: dict[str, list[float]] = {}
    flicker: list[tuple[float, float]] = []
    before: tuple[Rendered, NDArray[np.bool_]] | None = None

    def watched() -> Iterator[NDArray[np.uint8]]:
        nonlocal before
        for shot in render_frames(renderer, restorer, truth, rows, drive, portrait_sync, clock, grain):
            face, head, _ = truth.mattes[shot.index]
            points = truth.landmarks68[shot.index]
            for key, value in _figures(shot, face, head, points).items():
                sums.setdefault(key, []).append(value)
            skin = static_skin(face, points)
            if before is not None and shot.index == before[0].index + 1:
                both = skin & before[1]
                flicker.append(
                    (
                        frame_change(before[0].image, shot.image, both),
                        frame_change(before[0].truth, shot.truth, both),
                    )
                )
            before = (shot, skin)
            if len(clock) % LOOK_EVERY == 1 and truth.size >= 2 * PATCH:
                sums.setdefault("niqe", []).append(niqe(shot.image))
                sums.setdefault("brisque", []).append(brisque(shot.image))
            if on_frame is not None:
                on_frame(shot)
            yield shot.image

    track = FaceCapturer(smooth=0).capture(watched()).filled()
    true_points = truth.landmarks478[rows]
    opening, true_opening = mouth_opening(track.landmarks478), mouth_opening(true_points)
    figures = {key: float(np.nanmean(values)) for key, values in sums.items()}
    figures |= {
        "lmd_px": landmark_distance(track.landmarks478, true_points),
        "lmd_static_px": static_distance(true_points),
        "mouth_correlation": correlation(opening, true_opening),
        "mouth_lag_frames": lag_frames(opening, true_opening),
        **eye_figures(eye_opening(track.landmarks478), eye_opening(true_points), np.array(sums["psnr_eyes"])),
        "flicker_ratio": _ratio(flicker),
        "fps": 1 / float(np.median(clock)),
        "frames": len(rows),
    }
    return Evaluation(figures, np.array(sums["psnr"]), opening, true_opening)


def _figures(
    shot: Rendered, face: NDArray[np.uint8], head: NDArray[np.uint8], points: NDArray[np.floating]
) -> dict[str, float]:
    """Picture figures of one frame."""
    mouth, eyes = box_around(points[MOUTH], len(face)), box_around(points[EYES], len(face))
    box = bounding(head >= 128)
    return {
        "psnr": psnr(shot.image, shot.truth),
        "psnr_head": psnr(shot.head, shot.true_head, head >= 128),
        "psnr_face": psnr(shot.image, shot.truth, face >= 128),
        "psnr_mouth": psnr(shot.image[mouth], shot.truth[mouth]),
        "psnr_eyes": psnr(shot.image[eyes], shot.truth[eyes]),
        "ms_ssim": ms_ssim(shot.image, shot.truth),
        "ms_ssim_head": ms_ssim(shot.head[box], shot.true_head[box]),
    }


def _ratio(pairs: list[tuple[float, float]]) -> float:
    """Mean rendered over mean true change; NaN without two neighbouring frames."""
    if not pairs:
        return float("nan")
    rendered, true = np.nanmean(np.array(pairs), axis=0)
    return float(rendered / true) if true > 0 else float("nan")
