"""From what drives the face to finished frames: one avatar's renderer and source footage."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synctalk.avatar import Avatar
from synctalk.portrait.splat import native
from synctalk.speaking.background import in_background, in_parallel
from synctalk.speaking.chunks import Chunk
from synctalk.speaking.clock import Clock
from synctalk.speaking.motion import Source
from synctalk.video import Planes, VideoReader

Image = NDArray[np.uint8]
MOST_BRUSHES = 4
Elsewhere = Callable[[str, Tensor, list[int]], Iterable[Image]]


@dataclass(frozen=True)
class Shot:
    """One frame to make.

    Args:
        chunk: where it belongs, and `place` within the chunk.
        source_index: the source frame under it, whose pose it takes.
        condition: what drives the face, float32 [C].
        source: that frame; None until fetched.
        mattes: its mattes, uint8 [3,h,w] (face, head, person); None until fetched.
    """

    chunk: Chunk
    place: int
    source_index: int
    condition: Tensor
    source: Planes | None = None
    mattes: Image | None = None

    def person(self) -> Image:
        """Soft matte of the person, uint8 [h,w]."""
        assert self.mattes is not None
        return self.mattes[2]


class _Brush:
    """What one thread draws with: a renderer and a blender, each with its own buffers."""

    def __init__(self, renderer: Any, sync: Any, viewmats: Tensor, clock: Callable[[], Clock]) -> None:
        self._renderer, self._sync = renderer, sync
        self._viewmats, self._clock = viewmats, clock

    def paint(self, shot: Shot) -> Planes:
        """The finished frame."""
        with self._clock().measure("render"), torch.inference_mode():
            viewmat = self._viewmats[shot.source_index]
            image, alpha = self._renderer.render(shot.condition[None], 0, viewmat)
        return self.blend(shot, image, alpha)

    def blend(self, shot: Shot, image: Tensor, alpha: Tensor) -> Planes:
        """A render, float32 [h,w,3] and [h,w], in its source frame."""
        assert shot.source is not None and shot.mattes is not None
        with self._clock().measure("blend"):
            made: Planes = self._sync.on_planes(
                shot.source, image, alpha, shot.mattes, shot.chunk.start + shot.place
            )
            return made


class Painter:
    """Renders an avatar's face into its source frames, several at a time.

    Args:
        avatar: who.
        clock: measures 'conditions', 'source', 'render' and 'blend'.
        threads: frames made at the same time; None takes one per processor, at most four.
    """

    def __init__(self, avatar: Avatar, clock: Clock | None = None, threads: int | None = None) -> None:
        from synctalk.portrait.portrait_sync import PortraitSync

        self.avatar = avatar
        self.clock = clock or Clock()
        self.elsewhere: Elsewhere | None = None
        """Renders all frames of a video in one call on another device; see `render_all`."""
        processors = native.default_threads()
        count = threads or min(processors, MOST_BRUSHES)
        self._renderer = avatar.renderer()
        self._viewmats = avatar.viewmats
        # Frames side by side keep processors busier than several threads on one frame.
        self._brushes = [
            _Brush(
                self._renderer.twin(max(1, processors // count)),
                PortraitSync(avatar.size, avatar.crop, avatar.torso, avatar.grain),
                self._viewmats,
                lambda: self.clock,
            )
            for _ in range(count)
        ]
        # Readers of its own: several videos of one avatar may be made at once.
        self._source = VideoReader(avatar.folder / "source.mp4", "yuv420p")
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
                source = self._source.planes(shot.source_index)
                mattes = self._mattes.frame(shot.source_index)
            yield replace(shot, source=source, mattes=mattes.reshape(height, 3, width).transpose(1, 0, 2))

    def paint(self, shot: Shot) -> Planes:
        """The finished frame."""
        return self._brushes[0].paint(shot)

    def pictures(self, planned: Iterable[Shot]) -> Iterator[tuple[Shot, Planes]]:
        """Each shot with its finished frame; sources are read ahead in a thread of their own."""
        if self.elsewhere is None:
            with contextlib.closing(in_background(self.fetch(planned), depth=12)) as shots:
                yield from in_parallel(shots, [brush.paint for brush in self._brushes])
            return
        kept = list(planned)
        conditions = torch.stack([shot.condition for shot in kept])
        renders = self.elsewhere(str(self.avatar.folder), conditions, [shot.source_index for shot in kept])
        for shot, rgba in zip(self.fetch(kept), renders, strict=True):
            picture = torch.from_numpy(rgba.astype(np.float32) / 255)
            image, alpha = picture[..., :3].contiguous(), picture[..., 3].contiguous()
            yield shot, self._brushes[0].blend(shot, image, alpha)
