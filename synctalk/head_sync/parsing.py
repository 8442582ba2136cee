"""Semantic parsing: soft mattes of background, hair, face, neck and clothes at full resolution.

The network sees 256x256 and is slow, so it looks at a key frame now and then; between key frames its answer
is carried along by optical flow. A guided filter then lifts the mattes to the frame's own edges.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.assets import model_path
from synctalk.errors import VideoError

Picture = NDArray[Any]  # uint8, [H, W] or [H, W, 3]: OpenCV does not say which
Mattes = NDArray[Any]  # float32, [256, 256, 5]

LABELS = ("background", "hair", "face", "neck", "clothes")

_SIDE = 256
# Rows of the network's output in our order; its sixth class, accessories, is worn and so goes with clothes.
_ORDER = (0, 1, 3, 2, 4)
_ACCESSORIES = 5
_SHARPNESS = 2.0  # factor on the logits: measured to give the best borders
# The jaw's closed outline among the mesh points, from the forehead over the subject's left side.
# fmt: off
_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
         152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
# fmt: on


@dataclass(frozen=True)
class ParserSettings:
    """How a video is parsed.

    Attributes:
        every: frames from one key frame to the next; 1 asks the network for each frame.
        steadiness: share of the carried mattes in a key frame's blend, 0..1; 0 takes each answer as it is.
        max_mismatch: mean difference (0..255) between the frame and the carried key frame, in the person's
            region, above which a new key frame is made at once: a cut, or motion too fast for the flow.
        radius: window of the guided filter, pixels of the 256x256 grid.
        smoothness: how much contrast (squared, 0..1) the guided filter takes for noise.
    """

    every: int = 20
    steadiness: float = 0.5
    max_mismatch: float = 9.0
    radius: int = 2
    smoothness: float = 1e-4


class Parser:
    """Parses the frames of one video, in order; make a new one for another video.

    Args:
        threads: CPU threads of the network.
        settings: how a video is parsed.
    """

    def __init__(self, threads: int = 2, settings: ParserSettings | None = None) -> None:
        # Imported here: reading a finished track must not start a runtime.
        from ai_edge_litert.interpreter import Interpreter

        self.settings = settings or ParserSettings()
        self._net = Interpreter(str(model_path("selfie_multiclass_256x256.tflite")), num_threads=threads)
        self._net.allocate_tensors()
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._key: tuple[Picture, Mattes] | None = None  # grey, mattes of the key frame
        self._size = (0, 0)
        self._age = 0

    def mattes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Soft mattes of the next frame.

        Args:
            frame: uint8 RGB [H, W, 3].

        Returns:
            float32 [5, H, W] in 0..1 in the order of `LABELS`, summing to 1 at each pixel.

        Raises:
            VideoError: the array is not uint8 [H, W, 3] with at least one pixel.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape or frame.dtype != np.uint8:
            raise VideoError(
                f"A frame to parse must be uint8 RGB [H, W, 3], not {frame.dtype} {frame.shape}."
            )
        height, width = frame.shape[:2]
        if (height, width) != self._size:
            self._size, self._key = (height, width), None
        small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        coarse = self._coarse(small, grey)
        return self._refine(coarse, grey, cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))

    def _coarse(self, small: Picture, grey: Picture) -> Mattes:
        """Mattes on the 256x256 grid [256, 256, 5]: carried from the key frame, or a new key frame's."""
        carried, mismatch = None, np.inf
        if self._key is not None:
            carried, mismatch = self._carry(grey)
        self._age += 1
        if carried is not None and self._age < self.settings.every and mismatch <= self.settings.max_mismatch:
            return carried
        fresh = keep_one_person(self._ask(small))
        if carried is not None and mismatch <= self.settings.max_mismatch:
            fresh = fresh + self.settings.steadiness * (carried - fresh)
        self._key, self._age = (grey, fresh), 0
        return fresh

    def _ask(self, small: Picture) -> Mattes:
        """The network's probabilities, [256, 256, 5]."""
        self._net.set_tensor(
            self._net.get_input_details()[0]["index"], small[None].astype(np.float32) / 127.5 - 1
        )
        self._net.invoke()
        logits = _SHARPNESS * self._net.get_tensor(self._net.get_output_details()[0]["index"])[0]
        likely = np.exp(logits - logits.max(-1, keepdims=True))
        likely /= likely.sum(-1, keepdims=True)
        mattes = likely[..., _ORDER]
        mattes[..., 4] += likely[..., _ACCESSORIES]
        return mattes

    def _carry(self, grey: Picture) -> tuple[Mattes, float]:
        """The key frame's mattes moved to this frame, and how badly the moved key frame fits it."""
        assert self._key is not None
        key_grey, key_mattes = self._key
        motion = self._flow.calc(
            grey, key_grey, np.zeros((_SIDE, _SIDE, 2), np.float32)
        )  # this frame -> key frame, pixels of the grid
        y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
        across, down = x + motion[..., 0], y + motion[..., 1]
        moved = cv2.remap(
            key_mattes[..., :4], across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        last = cv2.remap(key_mattes[..., 4], across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        moved = np.concatenate([moved, last[..., None]], -1)
        guess = cv2.remap(key_grey, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        person = 1 - moved[..., 0]
        difference = cv2.absdiff(guess, grey).astype(np.float32)
        return moved, float((difference * person).sum() / max(float(person.sum()), 1.0))

    def _refine(self, coarse: Mattes, grey: Picture, full: Picture) -> NDArray[np.float32]:
        """Guided upsampling: in each small window the mattes are a line in grey; apply that line in full."""
        height, width = full.shape
        guide = grey.astype(np.float32) / 255
        window = (2 * self.settings.radius + 1,) * 2

        def mean(values: NDArray[Any]) -> NDArray[Any]:
            return cv2.boxFilter(values, cv2.CV_32F, window)

        # Four of the five, the fifth is what they leave.
        some = np.ascontiguousarray(coarse[..., 1:])
        mean_guide, mean_some = mean(guide), mean(some)
        variance = mean(guide * guide) - mean_guide * mean_guide
        slope = mean(guide[..., None] * some) - mean_guide[..., None] * mean_some
        slope /= (variance + self.settings.smoothness)[..., None]
        level = mean_some - slope * mean_guide[..., None]
        size = (width, height)
        slope_full = cv2.resize(mean(slope), size, interpolation=cv2.INTER_LINEAR)
        level_full = cv2.resize(mean(level), size, interpolation=cv2.INTER_LINEAR)
        out = np.empty((5, height, width), np.float32)
        light = full.astype(np.float32) / 255
        for i in range(4):
            np.multiply(slope_full[..., i], light, out=out[i + 1])
            out[i + 1] += level_full[..., i]
        np.clip(out[1:], 0, 1, out=out[1:])
        total = out[1:].sum(0)
        over = np.maximum(total, 1)
        out[1:] /= over
        out[0] = 1 - total / over
        return out


def keep_one_person(mattes: Mattes) -> Mattes:
    """Turn blobs of person that do not touch the largest one into background: [h, w, 5] -> [h, w, 5]."""
    person = (mattes[..., 0] < 0.5).astype(np.uint8)
    count, blobs, stats, _ = cv2.connectedComponentsWithStats(person, connectivity=8)
    if count <= 2:
        return mattes
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    stray = ((blobs > 0) & (blobs != largest)).astype(np.uint8)
    # A blob's soft rim goes with it.
    rim = cv2.dilate(stray, np.ones((9, 9), np.uint8)) * (blobs != largest)
    cleaned = mattes * (1 - rim[..., None]).astype(np.float32)
    cleaned[..., 0] = 1 - cleaned[..., 1:].sum(-1)
    return cleaned


def face_region(landmarks478: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """The inside of the mesh's outline (forehead to chin, no ears), float32 [H, W] in 0..1.

    Args:
        landmarks478: [478, 2 or 3], pixels of the frame.
        height: of the frame, pixels.
        width: of the frame, pixels.
    """
    region = np.zeros((height, width), np.uint8)
    outline = landmarks478[list(_OVAL), :2]
    if np.isfinite(outline).all():
        # 4 fractional bits; OpenCV's whole numbers are pixel centres.
        corners = np.round((outline - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(region, [corners], 255, lineType=cv2.LINE_AA, shift=4)
    return (region / 255).astype(np.float32)


def intersection_over_union(predicted: NDArray[np.integer], true: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of each label, float64 [5], over label maps of one shape; NaN where neither map has the label."""
    both = np.bincount(predicted[predicted == true].ravel(), minlength=5)[:5]
    either = (
        np.bincount(predicted.ravel(), minlength=5)[:5] + np.bincount(true.ravel(), minlength=5)[:5] - both
    )
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)
