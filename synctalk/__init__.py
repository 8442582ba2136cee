"""SyncTalk++: a synchronised talking head from text or audio.

    from synctalk import speak, Expression
    speak("Hello there.", output="hello.mp4", avatar="ben", expression=Expression(smile=0.5))

The public names are loaded when first used, so that `import synctalk` costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# torch's idle workers would spin on the cores the rasterizer needs; read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from synctalk.avatar import Avatar
    from synctalk.editing import Look
    from synctalk.errors import (
        AudioError,
        AvatarError,
        SpeechError,
        SyncTalkError,
        TrainingError,
        VideoError,
    )
    from synctalk.provenance import Credentials, verify
    from synctalk.speak import Moment, Progress, Stopped, Video, preview, speak, stream
    from synctalk.speaking.expression import Expression
    from synctalk.speech.text_to_speech import voices

_PLACES = {
    "Avatar": "avatar",
    "Look": "editing",
    "AudioError": "errors",
    "AvatarError": "errors",
    "SpeechError": "errors",
    "SyncTalkError": "errors",
    "TrainingError": "errors",
    "VideoError": "errors",
    "Credentials": "provenance",
    "verify": "provenance",
    "Moment": "speak",
    "Progress": "speak",
    "Stopped": "speak",
    "Video": "speak",
    "preview": "speak",
    "stream": "speak",
    "Expression": "speaking.expression",
    "voices": "speech.text_to_speech",
}

__all__ = [
    "AudioError",
    "Avatar",
    "AvatarError",
    "Credentials",
    "Expression",
    "Look",
    "Moment",
    "Progress",
    "SpeechError",
    "Stopped",
    "SyncTalkError",
    "TrainingError",
    "Video",
    "VideoError",
    "preview",
    "speak",
    "stream",
    "verify",
    "voices",
]


def __getattr__(name: str) -> Any:
    if name == "speak":  # the module, which can be called like its function
        return importlib.import_module("synctalk.speak")
    if name not in _PLACES:
        raise AttributeError(f"module 'synctalk' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"synctalk.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
