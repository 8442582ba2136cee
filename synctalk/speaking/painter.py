"""From what drives the face to finished frames: one avatar's renderer and source footage."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synctalk.avatar import Avatar
from synctalk.speaking.background import in_background
from synctalk.speaking.chunks import Chunk
from synctalk.speaking.clock import Clock
from synctalk.speaking.motion import Source
from synctalk.video import VideoReader

Image = NDArray[np.uint8]
Elsewhere = Callable[[str, Tensor, list[int]], Iterable[Image]]


@dataclass(frozen=True)
class Shot:
    """One frame to make.

    Args:
        chunk: where it belongs, and `place` within the chunk.
        source_index: the source frame under it, whose pose it takes.
        condition: what drives the face, float32 [C].
        source: that frame, uint8 RGB [H,W,3]; None until fetched.
        mattes: its mattes, uint8 [3,h,w] (face, head, person); None until fetched.
    """

    chunk: Chunk
    place: int
    source_index: int
    condition: Tensor
    source: Image | None = None
    mattes: Image | None = None

    def person(self) -> Image:
        """Soft matte of the person, uint8 [h,w]."""
        assert self.mattes is not None
        return self.mattes[2]


class Painter:
    """Renders an avatar's face into its source frames.

    Args:
        avatar: who.
        clock: measures 'conditions', 'source', 'render' and 'blend'.
    """

    def __init__(self, avatar: Avatar, clock: Clock | None = None) -> None:
        from synctalk.portrait.portrait_sync import PortraitSync

        self.avatar = avatar
        self.clock = clock or Clock()
        self.elsewhere: Elsewhere | None = None
        """Renders all frames of a video in one call on another device; see `render_all`."""
        self._renderer = avatar.renderer()
        self._sync = PortraitSync(avatar.size, avatar.crop, avatar.torso)
        self._viewmats = avatar.viewmats
        # Readers of its own: several videos of one avatar may be made at once.
        self._source = VideoReader(avatar.folder / "source.mp4")
        self._mattes = VideoReader(avatar.folder / "mattes.mp4", "gray")

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of the frames it makes, px."""
        return self._source.width, self._source.height

    @property
    def centre_x(self) -> float:
        """Where the crop with the head lies, px from the left."""
        x, _, width, _ = self.avatar.crop
        return x + width / 2

    def source_motion(self) -> Source:
        """The avatar's own movement."""
        torso = self.avatar.torso_px
        return Source(
            self._viewmats.numpy(),
            None if torso is None else torso.numpy(),
            np.array(self.avatar.stretches, np.int64),
            self.avatar.fps,
        )

    def conditions(
        self, lips: Tensor, coefficients: NDArray[np.float32], silence: NDArray[np.bool_]
    ) -> Tensor:
        """What drives each frame, float32 [T,C], from lips [T,512], coefficients [T,52], silence [T]."""
        with self.clock.measure("conditions"), torch.inference_mode():
            expressions = torch.from_numpy(coefficients)
            made: Tensor = self._renderer.conditions(lips, expressions, torch.from_numpy(silence))
            return made

    def fetch(self, shots: Iterable[Shot]) -> Iterator[Shot]:
        """The same shots with their source frames and mattes."""
        width, height = self.avatar.size
        for shot in shots:
            with self.clock.measure("source"):
                source = self._source.frame(shot.source_index)
                mattes = self._mattes.frame(shot.source_index)
            yield replace(shot, source=source, mattes=mattes.reshape(height, 3, width).transpose(1, 0, 2))

    def paint(self, shot: Shot) -> Image:
        """The finished frame, uint8 RGB [H,W,3]."""
        with self.clock.measure("render"), torch.inference_mode():
            viewmat = self._viewmats[shot.source_index]
            image, alpha = self._renderer.render(shot.condition[None], 0, viewmat)
        return self.blend(shot, image, alpha)

    def blend(self, shot: Shot, image: Tensor, alpha: Tensor) -> Image:
        """A render, float32 [h,w,3] and [h,w], in its source frame: uint8 RGB [H,W,3]."""
        assert shot.source is not None and shot.mattes is not None
        with self.clock.measure("blend"):
            return self._sync(shot.source, image, alpha, shot.mattes)

    def pictures(self, planned: Iterable[Shot]) -> Iterator[tuple[Shot, Image]]:
        """Each shot with its finished frame; sources are read ahead in a thread of their own."""
        if self.elsewhere is None:
            with contextlib.closing(in_background(self.fetch(planned), depth=12)) as shots:
                for shot in shots:
                    yield shot, self.paint(shot)
            return
        kept = list(planned)
        conditions = torch.stack([shot.condition for shot in kept])
        renders = self.elsewhere(str(self.avatar.folder), conditions, [shot.source_index for shot in kept])
        for shot, rgba in zip(self.fetch(kept), renders, strict=True):
            picture = torch.from_numpy(rgba.astype(np.float32) / 255)
            yield shot, self.blend(shot, picture[..., :3], picture[..., 3])
