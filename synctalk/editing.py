"""What the user may change about the picture: shape, background, captions, a visible mark.

moviepy reads and lays out what the user gives (a background picture or clip, caption text); the frames
themselves are put together here and go straight to the encoder.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.errors import SyncTalkError, VideoError
from synctalk.speaking.cut_out import cut_out

Image = NDArray[np.uint8]

ASPECTS = {"source": None, "1:1": (1, 1), "9:16": (9, 16), "16:9": (16, 9)}
TRANSPARENT = "transparent"
MARK = "AI generated"
_COLOURS = {"white": "#ffffff", "black": "#000000", "grey": "#808080", "green": "#00b140", "blue": "#1f4e8c"}
_CAPTION_HEIGHT = 0.055  # of the picture's height
_MARK_HEIGHT = 0.03
_SEAM_PX = 40  # over which a picture fades into its blurred sides


@dataclass(frozen=True)
class Look:
    """How the picture is framed and dressed. The defaults change nothing."""

    aspect: str = "source"
    """source, 1:1, 9:16 or 16:9."""
    background: str | Path = "original"
    """original, a colour (#rrggbb or white, black, grey, green, blue), transparent, or a picture or clip."""
    captions: bool = False
    """Write the words into the picture (needs a text, as a recording's words are not known)."""
    mark: bool = False
    """A visible note that the video is AI generated."""

    def __post_init__(self) -> None:
        if self.aspect not in ASPECTS:
            raise SyncTalkError(f"aspect must be one of {', '.join(ASPECTS)}, not {self.aspect!r}.")
        if self._colour is None and self.background not in ("original", TRANSPARENT):
            path = Path(self.background)
            if not path.is_file():
                raise SyncTalkError(
                    f"background must be original, {TRANSPARENT}, a colour such as #1f4e8c, or a picture; "
                    f"there is no file {path}."
                )

    @property
    def transparent(self) -> bool:
        """The background is left out."""
        return self.background == TRANSPARENT

    @property
    def _colour(self) -> tuple[int, int, int] | None:
        text = _COLOURS.get(str(self.background).lower(), str(self.background))
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
            return None
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)

    @property
    def colour(self) -> tuple[int, int, int] | None:
        """The background colour as RGB, or None."""
        return self._colour


class Stage:
    """Dresses one video's frames, in order.

    Args:
        look: what is asked.
        width, height: of the frames that come in, px.
        centre_x: where the head is, px; a narrow picture is cut around it.
        fps: frames per second, for a moving background.
    """

    def __init__(
        self, look: Look, width: int, height: int, centre_x: float | None = None, fps: float = 25
    ) -> None:
        self.look = look
        self._width, self._height = width, height
        self._fps = fps
        self._centre_x = width / 2 if centre_x is None else centre_x
        self._backdrop = self._open_backdrop()
        self._mark = _text_picture(MARK, round(height * _MARK_HEIGHT)) if look.mark else None
        self._captions: dict[str, tuple[Image, NDArray[np.float32]]] = {}

    @property
    def active(self) -> bool:
        """False where frames pass through untouched."""
        return self.look != Look()

    @property
    def needs_person(self) -> bool:
        """The person's matte is needed."""
        return self.look.background != "original"

    def dress(self, picture: Image, person: Image | None, index: int, caption: str = "") -> Image:
        """A finished frame.

        Args:
            picture: uint8 RGB [H,W,3].
            person: soft matte uint8 [H,W]; needed where the background is replaced.
            index: frame number.
            caption: words to show, if the look asks for them.

        Returns:
            uint8 RGB, or RGBA for a transparent background, [H',W',3 or 4].
        """
        if self.needs_person:
            if person is None:
                raise SyncTalkError("This avatar has no matte of the person, so its background must stay.")
            picture = self._replace_background(picture, person, index)
        picture = reframe(picture, ASPECTS[self.look.aspect], self._centre_x)
        if self.look.captions and caption:
            if caption not in self._captions:
                size = round(min(picture.shape[:2]) * _CAPTION_HEIGHT)
                self._captions = {caption: _text_picture(caption, size, picture.shape[1] * 9 // 10)}
            picture = _put(picture, *self._captions[caption], bottom=0.06)
        if self._mark is not None:
            picture = _put(picture, *self._mark, bottom=0.02, right=0.02)
        return picture

    def _open_backdrop(self) -> Any:
        colour = self.look.colour
        if colour is not None:
            return np.full((self._height, self._width, 3), colour, np.uint8)
        if self.look.background in ("original", TRANSPARENT):
            return None
        return _open_background(Path(self.look.background), self._width, self._height)

    def _replace_background(self, picture: Image, person: Image, index: int) -> Image:
        picture, person = cut_out(picture, person)
        if self.look.transparent:
            return np.dstack([picture, person])
        backdrop = self._backdrop
        if not isinstance(backdrop, np.ndarray):
            backdrop = backdrop.get_frame((index / self._fps) % backdrop.duration)
        weight = person / np.float32(255)
        return np.asarray(cv2.blendLinear(picture, backdrop, weight, 1 - weight), np.uint8)


def reframe(picture: Image, aspect: tuple[int, int] | None, centre_x: float | None = None) -> Image:
    """Bring a picture to another shape.

    Narrower: cut around `centre_x` and enlarged to the old width. Wider: the picture stays whole, and a
    blurred, enlarged copy of it fills the sides (transparent pictures get clear sides).

    Returns:
        uint8 [H',W',C] with even sides.
    """
    height, width = picture.shape[:2]
    if aspect is None or width * aspect[1] == height * aspect[0]:
        return picture
    if width * aspect[1] > height * aspect[0]:
        cut = min(width, _even(height * aspect[0] / aspect[1]))
        middle = width / 2 if centre_x is None else centre_x
        left = int(np.clip(round(middle - cut / 2), 0, width - cut))
        target = (width, _even(width * aspect[1] / aspect[0]))
        part = np.ascontiguousarray(picture[:, left : left + cut])
        return np.asarray(cv2.resize(part, target, interpolation=cv2.INTER_CUBIC), np.uint8)
    wide = _even(height * aspect[0] / aspect[1])
    left = (wide - width) // 2
    if picture.shape[2] == 4:
        canvas = np.zeros((height, wide, 4), np.uint8)
    else:
        small = cv2.resize(picture, (24, 24), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 2)
        canvas = np.array(cv2.resize(small, (wide, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        seam = min(_SEAM_PX, width // 4)
        ramp = (np.arange(1, seam + 1, dtype=np.float32) / (seam + 1))[None, :, None]
        picture = picture.copy()
        for edge, weight in ((slice(0, seam), ramp), (slice(width - seam, width), ramp[:, ::-1])):
            behind = canvas[:, left : left + width][:, edge]
            picture[:, edge] = np.rint(picture[:, edge] * weight + behind * (1 - weight))
    canvas[:, left : left + width] = picture
    return canvas


def _open_background(path: Path, width: int, height: int) -> Any:
    """A background picture (array [H,W,3]) or clip (with `get_frame`), filling the frame."""
    from moviepy import ImageClip, VideoFileClip

    moving = path.suffix.lower() in (".mp4", ".mov", ".webm", ".mkv", ".m4v", ".gif")
    try:
        clip: Any = (
            VideoFileClip(str(path), audio=False) if moving else ImageClip(str(path), transparent=False)
        )
        scale = max(width / clip.w, height / clip.h)
        clip = clip.resized((int(np.ceil(clip.w * scale)), int(np.ceil(clip.h * scale))))
        clip = clip.cropped(x_center=clip.w / 2, y_center=clip.h / 2, width=width, height=height)
        first = clip.get_frame(0)
    except (OSError, ValueError, KeyError) as error:
        raise VideoError(
            f"The background {path.name} cannot be read as a picture or clip: {error}"
        ) from error
    return clip if moving else np.ascontiguousarray(first[..., :3], np.uint8)


def _text_picture(text: str, size: int, width: int | None = None) -> tuple[Image, NDArray[np.float32]]:
    """White text with a dark edge: (uint8 [h,w,3], weight float32 [h,w])."""
    from moviepy import TextClip

    edge = max(1, size // 12)
    clip = TextClip(
        text=text,
        font_size=size,
        color="white",
        stroke_color="black",
        stroke_width=edge,
        method="label" if width is None else "caption",
        size=(None, None) if width is None else (width, None),
        text_align="center",
        margin=(edge, edge, edge, size // 3),
    )
    return np.asarray(clip.get_frame(0), np.uint8), np.asarray(clip.mask.get_frame(0), np.float32)


def _put(
    picture: Image, text: Image, weight: NDArray[np.float32], bottom: float, right: float | None = None
) -> Image:
    """A copy with a text picture on it: centred or at the right, `bottom` of the height above the edge."""
    height, width = picture.shape[:2]
    h, w = text.shape[0], min(text.shape[1], width)
    top = max(0, round(height * (1 - bottom)) - h)
    left = (width - w) // 2 if right is None else round(width * (1 - right)) - w
    out = picture.copy()
    part = out[top : top + h, left : left + w]
    mix = weight[: len(part), :w, None]
    part[..., :3] = np.rint(part[..., :3] * (1 - mix) + text[: len(part), :w] * mix)
    if part.shape[2] == 4:
        part[..., 3] = np.maximum(part[..., 3], np.rint(255 * mix[..., 0]))
    return out


def _even(value: float) -> int:
    return 2 * round(value / 2)
