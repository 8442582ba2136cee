"""Errors a person can act on: each message says what was wrong, where, and what to do."""


class SyncTalkError(Exception):
    """Base of every error this library raises on purpose."""


class AudioError(SyncTalkError):
    """Sound that cannot be used: corrupt, silent, too long, no audio stream."""


class VideoError(SyncTalkError):
    """A video that cannot be read or written."""


class SpeechError(SyncTalkError):
    """Text that cannot be spoken, or a voice that cannot be had."""


class AvatarError(SyncTalkError):
    """An avatar folder that is missing, damaged or of an unknown version."""


class TrainingError(SyncTalkError):
    """Training that cannot start or go on."""
