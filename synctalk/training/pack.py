"""A trained dataset -> an avatar folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.avatar_files import seal
from synctalk.consent import Consent
from synctalk.face_sync.blendshapes import blendshape_indices
from synctalk.tensor_file import write_tensors
from synctalk.training.dataset import Dataset
from synctalk.training.head_gauge import to_tensors
from synctalk.video import VideoWriter, read_frames

KEY_EVERY = 25
SOURCE_CRF = 20
MATTE_CRF = 24
LARGEST_AVATAR = 24_800_000
"""Bytes of a whole avatar, beyond which source.mp4 is encoded again, coarser."""
REPORT_BYTES = 500_000
"""What the report and the card take beside the files written here."""
LEAST_SOURCE = 4_000_000
"""Bytes that source.mp4 may always have."""
THUMBNAIL = 256


def write_files(dataset: Dataset, parts: Path, out: Path) -> None:
    """Writes all files of the avatar but avatar.json and the card.

    Args:
        dataset: what it was trained on; the frames before the held-out ones become the source.
        parts: holds portrait.safetensors, and torso.safetensors and expression.safetensors if trained.
        out: the folder; files of an older avatar in it are replaced.
    """
    out.mkdir(parents=True, exist_ok=True)
    for part in ("portrait.safetensors", "torso.safetensors", "expression.safetensors"):
        (out / part).unlink(missing_ok=True)
        if (parts / part).is_file():
            (out / part).write_bytes((parts / part).read_bytes())
    (out / "source.mp4").unlink(missing_ok=True)
    write_motion(dataset, out / "motion.safetensors")
    write_mattes(dataset, out / "mattes.mp4")
    write_thumbnail(dataset, out / "thumbnail.jpg")
    taken = REPORT_BYTES + sum(path.stat().st_size for path in out.iterdir() if path.is_file())
    write_source(dataset, out / "source.mp4", max(LARGEST_AVATAR - taken, LEAST_SOURCE))


def seal_avatar(
    dataset: Dataset,
    out: Path,
    name: str,
    consent: Consent,
    licence: Mapping[str, str],
    training: Mapping[str, Any],
    voice: str | None = None,
    grain: float = 0.0,
) -> Avatar:
    """Writes avatar.json with the checksums of the files, and the card; returns the avatar, checked."""
    K = dataset.K
    camera = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    seal(
        out,
        {
            "name": name,
            "fps": 25,
            "frames": dataset.kept,
            "size": [dataset.size, dataset.size],
            "camera": {key: round(float(value), 4) for key, value in camera.items()},
            "licence": dict(licence),
            "consent": consent.as_dict(),
            "training": dict(training),
            **({} if voice is None else {"voice": voice}),
            "grain": round(grain, 2),
        },
    )
    return Avatar(out)


def write_motion(dataset: Dataset, path: Path) -> None:
    """Poses, coefficients, crop boxes, stretches and torso shifts of the source frames."""
    kept = dataset.kept
    stretches = [(start, min(stop, kept)) for start, stop in dataset.stretches if start < kept]
    motion = {
        "viewmats": dataset.viewmats[:kept],
        "blendshapes": dataset.expressions[:kept],
        "torso_px": dataset.torso_px[:kept],
        "crop_boxes": np.tile(np.array(dataset.crop, np.int32), (kept, 1)),
        "stretches": np.array(stretches, np.int32),
    }
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in motion.items()}
    gauge = {f"gauge.{key}": value for key, value in to_tensors(dataset.track).items()}
    write_tensors(path, tensors | gauge)


def write_source(dataset: Dataset, path: Path, largest: int, crf: int = SOURCE_CRF) -> None:
    """The source frames as they were filmed (not only the crop), with a key frame every second.

    Beyond `largest` bytes it is encoded again, coarser.
    """
    video = dataset.about["video"]
    writer: VideoWriter | None = None
    left = dataset.kept
    for start, stop in dataset.video_stretches:
        stop = min(stop, start + left)
        if stop <= start:
            break
        left -= stop - start
        for frame in read_frames(video, 25.0, start, stop):
            height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
            if writer is None:
                writer = VideoWriter(path, width, height, crf=crf, preset="medium", keyframe_every=KEY_EVERY)
            writer.write(np.ascontiguousarray(frame[:height, :width]))
    if writer is not None:
        writer.close()
    if path.stat().st_size > largest and crf < 32:
        # Six steps of crf halve the size.
        more = max(1, round(6 * float(np.log2(path.stat().st_size / largest)) + 0.5))
        write_source(dataset, path, largest, crf + more)


def write_mattes(dataset: Dataset, path: Path) -> None:
    """Face, head and person mattes side by side, grey."""
    size = dataset.size
    neutral = np.full((size // 2, 3 * size // 2), 128, np.uint8)
    with VideoWriter(
        path, 3 * size, size, crf=MATTE_CRF, preset="medium", keyframe_every=KEY_EVERY
    ) as writer:
        for index in range(dataset.kept):
            wide = dataset.mattes[index].transpose(1, 0, 2).reshape(size, 3 * size)
            # Planes are limited range: 16 is black, 235 white.
            writer.write_yuv(np.rint(16 + wide * (219 / 255)).astype(np.uint8), neutral, neutral)


def write_thumbnail(dataset: Dataset, path: Path) -> None:
    """A quiet frame with open eyes, for galleries."""
    frame = dataset.frames[quiet_frame(dataset)]
    small = cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def quiet_frame(dataset: Dataset) -> int:
    """The kept frame with the smallest blink, jaw opening and turn of the head."""
    kept = dataset.kept
    shapes: NDArray[np.float32] = dataset.expressions[:kept]
    restless = shapes[:, blendshape_indices("eyeBlinkLeft", "eyeBlinkRight", "jawOpen")].sum(axis=1)
    forward = dataset.viewmats[:kept, 2, 2]
    return int((restless + 3 * np.abs(forward - np.median(forward))).argmin())
