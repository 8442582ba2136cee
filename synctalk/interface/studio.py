"""Avatars kept ready for the app, and the things it asks of them."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.editing import Look
from synctalk.errors import AvatarError, SyncTalkError
from synctalk.logs import get_logger
from synctalk.speak import preview, shared_encoder
from synctalk.speaking.expression import Expression
from synctalk.speaking.painter import Elsewhere, Painter
from synctalk.speech.text_to_speech import DEFAULT_VOICE, synthesize

log = get_logger(__name__)
SAMPLE = "Hello. This is how I sound."
CHEQUER = 16  # px


@dataclass(frozen=True)
class Card:
    """One avatar of the gallery."""

    name: str
    picture: Path | None
    voice: str
    synthetic: bool
    attribution: str


@dataclass
class _Slot:
    """A painter with the lock that gives it to one job at a time."""

    painter: Painter
    lock: threading.Lock = field(default_factory=threading.Lock)


class Studio:
    """Loads each avatar once, for all sessions.

    Args:
        avatars: names or folders to offer; None offers the bundled ones.
        elsewhere: renders whole videos on another device; see `synctalk.speaking.device`.
    """

    def __init__(self, avatars: list[str] | None = None, elsewhere: Elsewhere | None = None) -> None:
        self._elsewhere = elsewhere
        self._known = {Path(a).name: a for a in (avatars if avatars is not None else Avatar.available())}
        self._slots: dict[tuple[str, str], _Slot] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Names of the avatars on offer."""
        return list(self._known)

    @property
    def places(self) -> dict[str, str]:
        """Name of each avatar on offer, and where it is: a folder or a bundled name."""
        return dict(self._known)

    def cards(self) -> list[Card]:
        """What the gallery shows; an avatar that does not load is left out with a warning."""
        cards = []
        for name, place in self._known.items():
            try:
                avatar = Avatar.from_pretrained(place, verify=False)
            except AvatarError as problem:
                log.warning("Avatar %s is left out: %s", name, problem)
                continue
            voice = avatar.voice or DEFAULT_VOICE
            cards.append(Card(name, avatar.thumbnail, voice, avatar.synthetic, avatar.licence["text"]))
        return cards

    def painter(self, name: str, purpose: str) -> _Slot:
        """The painter of an avatar for 'stills' or 'video', loaded on first use.

        Raises:
            AvatarError: the app does not offer this avatar.
        """
        if name not in self._known:
            offered = ", ".join(self._known) or "none"
            raise AvatarError(f"There is no avatar '{name}' here. Choose one of: {offered}.")
        with self._lock:
            if (name, purpose) not in self._slots:
                painter = Painter(Avatar.from_pretrained(self._known[name]))
                painter.elsewhere = self._elsewhere
                self._slots[name, purpose] = _Slot(painter)
            return self._slots[name, purpose]

    def still(self, name: str, expression: Expression, look: Look | None = None) -> NDArray[np.uint8]:
        """A still of the avatar with an expression, uint8 RGB [H,W,3]; what is clear shows as a chequerboard.

        Raises:
            AvatarError: the app does not offer this avatar.
        """
        slot = self.painter(name, "stills")
        with slot.lock:
            picture = preview(slot.painter, expression, look=look)
        return over_chequers(picture) if picture.shape[2] == 4 else picture

    def warm(self) -> None:
        """Load everything the first visitor would wait for; what fails is only logged."""
        try:
            synthesize(SAMPLE, engine="kokoro")
        except SyncTalkError as problem:
            log.warning("The offline voice is not ready: %s", problem)
        for name in self.names:
            try:
                self.still(name, Expression())
                self.painter(name, "video")
                shared_encoder()
            except SyncTalkError as problem:
                log.warning("Avatar %s is not ready: %s", name, problem)


def over_chequers(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA [H,W,4] over the pattern that stands for 'nothing here', uint8 RGB [H,W,3]."""
    height, width = picture.shape[:2]
    rows, columns = np.arange(height) // CHEQUER, np.arange(width) // CHEQUER
    pattern = np.where((rows[:, None] + columns) % 2, 236, 206).astype(np.uint16)[..., None]
    weight = picture[..., 3:].astype(np.uint16)
    return ((picture[..., :3] * weight + pattern * (255 - weight) + 127) // 255).astype(np.uint8)
