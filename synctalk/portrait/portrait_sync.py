"""Portrait-Sync Generator: the rendered face goes back into the source frame at its own resolution.

Hair, neck, torso and background stay the source's. What may change is the region B: the source's face
matte and the rendered face together, widened by 15 px at 512. Outside B the frame is untouched bit for
bit.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from synctalk.portrait.grain import Grain
from synctalk.portrait.seam import Restorer, cut, heal, seam_hole, widened
from synctalk.portrait.splat import native, rgb_to_yuv420
from synctalk.portrait.splat.helpers import yuv_weights
from synctalk.video import Planes

Frame = NDArray[np.uint8]
Map = NDArray[np.float32]
Box = tuple[int, int, int, int]

_WIDEN_AT_512 = 15  # paper III-F, px
_BLUR_AT_512 = 5  # half width of the soft edge towards hair, px
_SLACK_AT_512 = 3  # a matte's own error, px: less of the source's chin than this does not count as showing
_HALF = 128
_LUMA_RANGE = 219  # steps of brightness in planes


class PortraitSync:
    """Blends rendered faces into source frames.

    Args:
        size: width, height of the rendered picture, px.
        crop: x, y, width, height of that picture inside the source frame; None where they are the same.
        restorer: fills where the rendered jaw does not fit the source's; None leaves the source there.
        grain: noise that the rendered face gets, standard deviation in grey levels of 255.
    """

    def __init__(
        self,
        size: tuple[int, int],
        crop: tuple[int, int, int, int] | None = None,
        restorer: Restorer | None = None,
        grain: float = 0.0,
    ):
        self.size = size
        self.crop = crop or (0, 0, *size)
        self.restorer = restorer
        self._grain = Grain(self.crop[2:], grain)
        self._luma_grain = Grain(self.crop[2:], grain * _LUMA_RANGE / 255)
        self.region: NDArray[np.bool_] = np.zeros((size[1], size[0]), dtype=bool)
        scale = size[0] / 512
        self.widen = max(1, round(_WIDEN_AT_512 * scale))
        self.blur = max(1, round(_BLUR_AT_512 * scale))
        self.slack = max(1, round(_SLACK_AT_512 * scale))
        # The native kernel's: how much of the render is kept, B, the source's face and hair.
        self._maps = tuple(np.zeros((size[1], size[0]), np.uint8) for _ in range(4))
        self._weights = yuv_weights()

    def __call__(self, frame: Frame, image: Tensor, alpha: Tensor, mattes: Frame, moment: int = 0) -> Frame:
        """The source `frame` [H,W,3] with the rendered face in it, as a new array.

        `image` [h,w,3] premultiplied over black and `alpha` [h,w] float32 from the renderer, `mattes`
        [3,h,w] face, head, person of this frame, `moment` its number in what is made (it chooses the
        grain). `region` then holds B, bool [h,w].

        Raises:
            ValueError: a shape does not fit the size and crop given at construction.
        """
        self._check(frame, image, alpha, mattes)
        opacity = alpha.numpy()
        face = above(mattes[0], _HALF - 1)
        hair = above(without_specks(mattes[0], mattes[1]), _HALF - 1) & ~face
        rendered = above(opacity, 0.5) & ~hair
        self.region = np.zeros(face.shape, dtype=bool)
        out = frame.copy()
        box = bounds(face | rendered)
        if box is None:
            return out
        x0, y0, x1, y1 = grown(box, self.widen + 1, self.size)
        here = np.s_[y0:y1, x0:x1]  # everything below happens in this part of the picture
        region = widened((face | rendered)[here], self.widen)
        self.region[here] = region > 0
        # Towards hair the render fades out; everywhere else its own alpha is its edge.
        soft = np.asarray(cv2.blur(widened(hair[here], self.blur), (2 * self.blur + 1,) * 2), np.uint8)
        keep = (~soft & region).astype(np.float32) * np.float32(1 / 255)
        cover = opacity[here] * keep
        color = image.numpy()[here] * keep[..., None]
        x, y, w, h = self.crop
        place, source = out[y : y + h, x : x + w], frame[y : y + h, x : x + w]
        self._blend(place, color, cover, region, (x0, y0, x1, y1))
        self._roughen(self._grain, place, cover, (x0, y0, x1, y1), moment)
        if self.restorer is not None:
            hole = seam_hole(face[here], hair[here], region, cover, self.widen, self.slack)
            if hole is not None:
                allowed = region & ~hair[here]
                self._restore(place, source, color, cover, hole, allowed, (x0, y0, x1, y1))
        return out

    def on_planes(
        self, frame: Planes, image: Tensor, alpha: Tensor, mattes: Frame, moment: int = 0
    ) -> Planes:
        """`__call__` for a source frame that never becomes RGB, in the native kernel; a new picture.

        Outside B the planes are untouched bit for bit; a colour sample (of 2x2 px) counts as inside where
        all its pixels are.

        Raises:
            ValueError: a shape does not fit the size and crop given at construction.
        """
        if native.why_not():
            made = self(frame.rgb(), image, alpha, mattes, moment)
            return Planes.from_planes(*rgb_to_yuv420(made))
        self._check_shapes((frame.height, frame.width), image, alpha, mattes)
        colors, opacity = image.numpy(), alpha.numpy()
        keep, region, face, hair = self._maps
        x0, y0, x1, y1 = native.module().face_maps(
            opacity,
            mattes[0],
            without_specks(mattes[0], mattes[1]),
            self.widen,
            self.blur,
            keep,
            region,
            face,
            hair,
        )
        self.region = region > 0
        out = frame.copy()
        if not x1:
            return out
        here = np.s_[y0:y1, x0:x1]
        self._mix(out, (x0, y0, x1, y1), colors[here], opacity[here], keep[here], region[here])
        if self.restorer is None and not self._luma_grain.strength:
            return out
        shown = keep[here] * np.float32(1 / 255)
        cover = opacity[here] * shown
        x, y, w, h = self.crop
        self._roughen(self._luma_grain, out.y[y : y + h, x : x + w], cover, (x0, y0, x1, y1), moment)
        if self.restorer is not None:
            hole = seam_hole(face[here], hair[here], region[here], cover, self.widen, self.slack)
            if hole is not None:
                place, allowed = (x0, y0, x1, y1), region[here] & ~hair[here]

                def color(box: Box) -> Map:
                    picture = colors[box[1] : box[3], box[0] : box[2]]
                    return np.asarray(picture * cut(shown, place, box)[..., None], np.float32)

                self._restore_planes(out, frame, color, cover, hole, allowed, place)
        return out

    def _mix(self, out: Planes, box: Box, image: Map, alpha: Map, keep: Frame, region: Frame) -> None:
        """Lay `image` over `out` inside `box` of the picture where `keep` says so; maps are of that box."""
        X0, Y0, X1, Y1 = self._in_source(box)
        fit = (X1 - X0, Y1 - Y0)
        if fit != (box[2] - box[0], box[3] - box[1]):
            image, alpha, keep = (resized(part, fit) for part in (image, alpha, keep))
            keep &= resized(region, fit, exact=True)
        x, y = X0 + self.crop[0], Y0 + self.crop[1]
        native.module().mix_planes(out.y, out.u, out.v, x, y, image, alpha, keep, self._weights)

    def _restore_planes(
        self,
        out: Planes,
        source: Planes,
        color: Callable[[Box], Map],
        cover: Map,
        hole: Frame,
        allowed: Frame,
        place: Box,
    ) -> None:
        """`_restore` on planes."""
        assert self.restorer is not None

        def behind(box: Box) -> Map:
            X0, Y0, X1, Y1 = self._in_source(box)
            x, y = self.crop[:2]
            part, fit = source.rgb_of((X0 + x, Y0 + y, X1 + x, Y1 + y)), (box[2] - box[0], box[3] - box[1])
            if fit != (X1 - X0, Y1 - Y0):
                part = np.asarray(cv2.resize(part, fit, interpolation=cv2.INTER_AREA), np.float32)
            return part

        healed = heal(self.restorer, behind, color, cover, hole, allowed, place, self.size, self.widen)
        if healed is not None:
            box, picture, soft = healed
            show = np.asarray(cv2.convertScaleAbs(soft, alpha=255), np.uint8)
            everywhere = np.ones(soft.shape, np.float32)
            picture = np.ascontiguousarray(picture, np.float32)
            self._mix(out, box, picture, everywhere, show, above(soft, 0))

    def _blend(
        self, place: Frame, color: Map, cover: Map, region: Frame, box: tuple[int, int, int, int]
    ) -> None:
        """Render over source inside `box` of the picture, written into `place` [h',w',3]."""
        X0, Y0, X1, Y1 = self._in_source(box)
        part, fit = place[Y0:Y1, X0:X1], (X1 - X0, Y1 - Y0)
        same = fit == (box[2] - box[0], box[3] - box[1])
        if not same:
            color, cover = resized(color, fit), resized(cover, fit)
        mixed = part * (1 - cover)[..., None]
        mixed += color * np.float32(255)
        if same:  # cover is zero outside the region: those pixels come out as they went in
            part[:] = cv2.convertScaleAbs(mixed)
        else:
            inside = resized(region, fit, exact=True) > 0
            np.copyto(part, cv2.convertScaleAbs(mixed), where=inside[..., None])

    def _restore(
        self,
        out: Frame,
        source: Frame,
        color: Map,
        cover: Map,
        hole: Frame,
        allowed: Frame,
        place: Box,
    ) -> None:
        """Let the restorer make up the picture `out` where `hole` is set; maps fill `place` of it."""
        assert self.restorer is not None

        def behind(box: Box) -> Map:
            X0, Y0, X1, Y1 = self._in_source(box)
            part, fit = source[Y0:Y1, X0:X1], (box[2] - box[0], box[3] - box[1])
            if fit != (X1 - X0, Y1 - Y0):
                part = np.asarray(cv2.resize(part, fit, interpolation=cv2.INTER_AREA), np.uint8)
            return part.astype(np.float32) * np.float32(1 / 255)

        def rendered(box: Box) -> Map:
            return np.asarray(cut(color, place, box), np.float32)

        healed = heal(self.restorer, behind, rendered, cover, hole, allowed, place, self.size, self.widen)
        if healed is None:
            return
        box, picture, soft = healed
        X0, Y0, X1, Y1 = self._in_source(box)
        if (box[2] - box[0], box[3] - box[1]) != (X1 - X0, Y1 - Y0):
            inside = resized(above(soft, 0), (X1 - X0, Y1 - Y0), exact=True) > 0
            picture, soft = (resized(part, (X1 - X0, Y1 - Y0)) for part in (picture, soft))
            soft *= inside
        part = out[Y0:Y1, X0:X1]
        mixed = picture * (255 * soft)[..., None] + part * (1 - soft)[..., None]
        np.copyto(part, cv2.convertScaleAbs(mixed), where=(soft > 0)[..., None])

    def _roughen(self, grain: Grain, place: Frame, shown: Map, box: Box, moment: int) -> None:
        """`grain` for `box` of the picture, in `place` [h',w'] or [h',w',3], where the render is `shown`."""
        if not grain.strength:
            return
        X0, Y0, X1, Y1 = self._in_source(box)
        if shown.shape != (Y1 - Y0, X1 - X0):
            shown = resized(shown, (X1 - X0, Y1 - Y0), exact=True)
        grain.add(place[Y0:Y1, X0:X1], (X0, Y0), shown, moment)

    def _in_source(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """A box of the picture in pixels of the crop."""
        sx, sy = self.crop[2] / self.size[0], self.crop[3] / self.size[1]
        return round(box[0] * sx), round(box[1] * sy), round(box[2] * sx), round(box[3] * sy)

    def _check(self, frame: Frame, image: Tensor, alpha: Tensor, mattes: Frame) -> None:
        if frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"frame must have shape (height, width, 3), not {frame.shape}")
        self._check_shapes(frame.shape[:2], image, alpha, mattes)

    def _check_shapes(self, frame: tuple[int, ...], image: Tensor, alpha: Tensor, mattes: Frame) -> None:
        width, height = self.size
        x, y, w, h = self.crop
        if frame[0] < y + h or frame[1] < x + w:
            raise ValueError(f"frame {frame} does not hold the crop {self.crop}")
        for name, shape, wanted in (
            ("image", tuple(image.shape), (height, width, 3)),
            ("alpha", tuple(alpha.shape), (height, width)),
            ("mattes", mattes.shape, (3, height, width)),
        ):
            if shape != wanted:
                raise ValueError(f"{name} must have shape {wanted}, not {shape}")


def lay_over(
    frame: Frame, image: Tensor, alpha: Tensor, crop: tuple[int, int, int, int] | None = None
) -> Frame:
    """The whole rendered head over `frame` [H,W,3], without Portrait-Sync; arguments as `PortraitSync`."""
    color, cover = image.numpy(), alpha.numpy()
    x, y, w, h = crop or (0, 0, color.shape[1], color.shape[0])
    if (w, h) != (color.shape[1], color.shape[0]):
        color, cover = resized(color, (w, h)), resized(cover, (w, h))
    out = frame.copy()
    part = out[y : y + h, x : x + w]
    np.copyto(part, cv2.convertScaleAbs(color * 255 + part * (1 - cover)[..., None]))
    return out


def without_specks(face: Frame, head: Frame) -> Frame:
    """A head matte without the single pixels of hair that two mattes leave at their common edge.

    One such pixel at the chin would let the source through around it, for one frame: a flash.

    Args:
        face, head: mattes, uint8 [h,w], cut at 128.

    Returns:
        uint8 [h,w]; `head` itself where nothing is to be removed.
    """
    hair = np.asarray(cv2.threshold(head, _HALF - 1, 1, cv2.THRESH_BINARY)[1], np.uint8)
    hair &= np.asarray(cv2.threshold(face, _HALF - 1, 1, cv2.THRESH_BINARY_INV)[1], np.uint8)
    around = cv2.boxFilter(hair, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    single = hair & np.asarray(cv2.threshold(around, 2, 1, cv2.THRESH_BINARY_INV)[1], np.uint8)
    return np.asarray(np.where(single, np.uint8(0), head), np.uint8) if single.any() else head


def above(values: NDArray[Any], limit: float) -> Frame:
    """A mask [h,w], 255 where `values` [h,w] exceed `limit` and 0 elsewhere."""
    return (values > limit).view(np.uint8) * np.uint8(255)


def resized(picture: NDArray[Any], size: tuple[int, int], exact: bool = False) -> NDArray[Any]:
    """A picture or map at `size` (width, height); `exact` keeps to the values it has."""
    return np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if exact else cv2.INTER_LINEAR)
    )


def bounds(mask: Frame) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 of what is set in a mask [h,w], or None."""
    x, y, width, height = cv2.boundingRect(mask)
    return (x, y, x + width, y + height) if width else None


def grown(box: tuple[int, int, int, int], pixels: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box with a margin, inside a picture of `size` (width, height)."""
    x0, y0, x1, y1 = box
    return max(x0 - pixels, 0), max(y0 - pixels, 0), min(x1 + pixels, size[0]), min(y1 + pixels, size[1])
