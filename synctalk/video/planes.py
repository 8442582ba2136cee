"""A picture the way video codecs hold it: brightness in full, colour at half the resolution."""

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BT709 = 1
LIMITED = 1
# Red, green and blue of (y - 16) / 219, (u - 128) / 224 and (v - 128) / 224, by BT.709.
_TO_RGB = np.array([[1, 1, 1], [0, -0.187324, 1.8556], [1.5748, -0.468124, 0]], np.float32)

_OFFSET = np.array([16, 128, 128], np.float32)
_SCALE = np.array([1 / 219, 1 / 224, 1 / 224], np.float32)


@dataclass(frozen=True)
class Planes:
    """4:2:0 planes, BT.709, limited range, in one piece of memory.

    Args:
        data: uint8 [H*W*3/2], the planes y [H,W], u and v [H/2,W/2] one after the other.
        height, width: even, px.
    """

    data: NDArray[np.uint8]
    height: int
    width: int

    @classmethod
    def empty(cls, height: int, width: int) -> "Planes":
        """Planes with nothing in particular in them."""
        return cls(np.empty(height * width * 3 // 2, np.uint8), height, width)

    @classmethod
    def from_planes(cls, y: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8]) -> "Planes":
        """A copy of y [H,W], u and v [H/2,W/2]."""
        made = cls.empty(*y.shape)
        made.y[:], made.u[:], made.v[:] = y, u, v
        return made

    @classmethod
    def from_frame(cls, frame: av.VideoFrame) -> "Planes":
        """A decoded frame; other formats, ranges and colour spaces are converted."""
        fits = (
            frame.format.name == "yuv420p" and frame.color_range in (0, LIMITED) and frame.colorspace == BT709
        )
        if not fits:
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        made = cls.empty(frame.height, frame.width)
        for plane, values in zip(frame.planes, (made.y, made.u, made.v), strict=True):
            values[:] = _rows(plane)[:, : plane.width]
        return made

    @property
    def y(self) -> NDArray[np.uint8]:
        """Brightness [H,W], 16 to 235."""
        return self.data[: self.height * self.width].reshape(self.height, self.width)

    @property
    def u(self) -> NDArray[np.uint8]:
        """Blue against brightness [H/2,W/2], 16 to 240."""
        return self._half(0)

    @property
    def v(self) -> NDArray[np.uint8]:
        """Red against brightness [H/2,W/2], 16 to 240."""
        return self._half(1)

    def _half(self, which: int) -> NDArray[np.uint8]:
        size = self.height * self.width // 4
        begin = 4 * size + which * size
        return self.data[begin : begin + size].reshape(self.height // 2, self.width // 2)

    def copy(self) -> "Planes":
        """The same picture in memory of its own."""
        return Planes(self.data.copy(), self.height, self.width)

    def to_frame(self) -> av.VideoFrame:
        """A frame for an encoder, of the same memory."""
        rows = self.data.reshape(self.height * 3 // 2, self.width)
        frame = av.VideoFrame.from_numpy_buffer(rows, format="yuv420p")
        frame.colorspace, frame.color_range = BT709, LIMITED
        return frame

    def rgb(self) -> NDArray[np.uint8]:
        """uint8 RGB [H,W,3], as a decoder gives it."""
        return np.asarray(self.to_frame().to_ndarray(format="rgb24"))

    def rgb_of(self, box: tuple[int, int, int, int]) -> NDArray[np.float32]:
        """A part of the picture, x0, y0, x1, y1: float32 RGB [h,w,3] in [0,1]."""
        x0, y0, x1, y1 = box
        yuv = np.empty((y1 - y0, x1 - x0, 3), np.float32)
        yuv[..., 0] = self.y[y0:y1, x0:x1]
        for channel, plane in ((1, self.u), (2, self.v)):
            half = plane[y0 // 2 : (y1 + 1) // 2, x0 // 2 : (x1 + 1) // 2]
            twice = half.repeat(2, axis=0).repeat(2, axis=1)
            yuv[..., channel] = twice[y0 % 2 : y0 % 2 + y1 - y0, x0 % 2 : x0 % 2 + x1 - x0]
        yuv -= _OFFSET
        yuv *= _SCALE
        return np.clip(yuv @ _TO_RGB, 0, 1)


def _rows(plane: Any) -> NDArray[np.uint8]:
    """A codec's plane [H, stride], to read or to write."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
