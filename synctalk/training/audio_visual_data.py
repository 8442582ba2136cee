"""Windows of sound with the mouth that made them: what the encoder and the expert are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synctalk.logs import progress
from synctalk.speech.mel import BANDS, SILENCE, WINDOW_ROWS, mel_spectrogram
from synctalk.training.corpus.alignment import align
from synctalk.training.corpus.augment import random_variant
from synctalk.training.corpus.mouth_motion import mouth_motion
from synctalk.training.corpus.mouth_shapes import opening, shapes
from synctalk.training.corpus.phones import PHONE_NAMES, Phone, phones_from_tokens
from synctalk.training.corpus.phones import SILENCE as SIL
from synctalk.training.corpus.shards import Utterance
from synctalk.training.mel_augment import row_level_db

RATE = 16000
MARGIN = 40  # rows of silence between clips, so that no window reaches into another clip
_PHONE_INDEX = {name: k for k, name in enumerate(PHONE_NAMES)}


@dataclass
class Clips:
    """Sound and mouth of many clips, laid end to end.

    mel: float16 [R, 80]; first_row: int [F] row at which each frame's window of 16 begins; motion: [F, 9];
    measures: [F, 11]; opening: [F]; phone: int [F]; quiet: bool [F], more than 120 ms from any speech;
    clip: int [F]; names of the voices per clip; phones: per clip, for the reports.
    """

    mel: np.ndarray
    first_row: np.ndarray
    motion: np.ndarray
    measures: np.ndarray
    opening: np.ndarray
    phone: np.ndarray
    quiet: np.ndarray
    clip: np.ndarray
    voices: list[str]
    phones: list[list[Phone]]

    def __len__(self) -> int:
        return len(self.first_row)

    def windows(self, frames: np.ndarray) -> np.ndarray:
        """Mel windows of frames: float32 [B, 16, 80] (time first)."""
        rows = self.first_row[frames][:, None] + np.arange(WINDOW_ROWS)
        return self.mel[rows].astype(np.float32)

    def mouths(self, frames: np.ndarray, reach: int = 2) -> np.ndarray:
        """Mouth measures of frames i - reach ... i + reach, held at the ends of a clip: [B, 2 reach + 1,
        11]."""
        around = frames[:, None] + np.arange(-reach, reach + 1)
        around = np.clip(around, 0, len(self) - 1)
        inside = self.clip[around] == self.clip[frames][:, None]
        return self.measures[np.where(inside, around, frames[:, None])]

    def speech_level_db(self) -> np.ndarray:
        """How loud the speech of each frame's clip is: float32 [F], the mean power of its loud frames.

        On the scale of `mel_augment.row_level_db`; frames within 20 dB of the clip's loudest are loud.
        """
        middle = np.clip(self.first_row + WINDOW_ROWS // 2, 0, len(self.mel) - 1)
        level = row_level_db(self.mel[middle].astype(np.float32))
        loud = np.zeros(len(self), np.float32)
        for start, stop in zip(*self.bounds(), strict=True):
            own = level[start:stop]
            power = 10 ** (own[own >= own.max() - 20] / 10)
            loud[start:stop] = 10 * np.log10(power.mean())
        return loud

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """First frame and past-the-last frame of each clip."""
        starts = np.flatnonzero(np.diff(self.clip, prepend=-1))
        return starts, np.append(starts[1:], len(self))


def loudness_db(samples: np.ndarray) -> np.ndarray:
    """Level of 50 ms blocks at 100 Hz: float64 [n / 160]."""
    power = np.concatenate([[0.0], np.cumsum(np.pad(samples, (320, 640)).astype(np.float64) ** 2)])
    begin = np.arange(len(samples) // 160) * 160
    return 10 * np.log10((power[begin + 800] - power[begin]) / 800 + 1e-10)


def _frame_labels(phones: Sequence[Phone], frames: int) -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(frames) / 25
    label = np.zeros(frames, np.int64)
    quiet = np.ones(frames, bool)
    for phone in phones:
        if phone.name == SIL:
            continue
        label[(t >= phone.start_s) & (t < phone.end_s)] = _PHONE_INDEX[phone.name]
        quiet[(t > phone.start_s - 0.12) & (t < phone.end_s + 0.12)] = False
    return label, quiet


def _faster(phones: Sequence[Phone], factor: float) -> list[Phone]:
    return [
        Phone(p.name, p.start_s / factor, p.end_s / factor, p.release_s / factor, p.stress, p.word)
        for p in phones
    ]


def make_clips(
    sounds: Sequence[np.ndarray], phones: Sequence[Sequence[Phone]], voices: Sequence[str]
) -> Clips:
    """Clips from sounds (float [n], 16 kHz) whose phones are known."""
    mels, rows, motions, labels, quiets, clips = (
        [np.full((MARGIN, BANDS), SILENCE, np.float16)],
        [],
        [],
        [],
        [],
        [],
    )
    offset = MARGIN
    for index, (sound, own) in enumerate(zip(sounds, phones, strict=True)):
        frames = -(-len(sound) // 640)
        mel = mel_spectrogram(sound)
        mels += [mel.astype(np.float16), np.full((MARGIN, BANDS), SILENCE, np.float16)]
        rows.append(offset + np.round(3.2 * np.arange(frames)).astype(np.int64) - WINDOW_ROWS // 2)
        offset += len(mel) + MARGIN
        motions.append(mouth_motion(own, frames, loudness_db(sound)))
        label, quiet = _frame_labels(own, frames)
        labels.append(label)
        quiets.append(quiet)
        clips.append(np.full(frames, index))
    motion = np.concatenate(motions)
    measures = shapes(motion)
    label, quiet, clip = np.concatenate(labels), np.concatenate(quiets), np.concatenate(clips)
    return Clips(
        np.concatenate(mels), np.concatenate(rows), motion, measures, opening(measures), label, quiet, clip,
        list(voices), [list(p) for p in phones],
    )  # fmt: skip


def prepare(utterances: Sequence[Utterance], variants: int = 0, seed: int = 0) -> Clips:
    """Align the phones of utterances and make clips of them, with `variants` augmented copies of each."""
    sounds = [u.samples.astype(np.float32) / 32768 for u in utterances]
    voices = [u.main_voice for u in utterances]
    phones, _ = align(sounds, [phones_from_tokens(u.tokens, u.durations) for u in utterances], voices)
    heard, spoken, names = list(sounds), [list(p) for p in phones], list(voices)
    rng = np.random.default_rng(seed)
    for _ in range(variants):
        for sound, own, voice in progress(
            list(zip(sounds, phones, voices, strict=True)), label="augmenting", unit="utterance"
        ):
            copy, speed = random_variant(sound, rng)
            heard.append(copy)
            spoken.append(_faster(own, speed))
            names.append(voice)
    return make_clips(heard, spoken, names)
