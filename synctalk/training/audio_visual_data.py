"""Windows of sound with the mouth that made them: what the encoder and the expert are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synctalk.logs import progress
from synctalk.speech.mel import BANDS, SILENCE, WINDOW_ROWS, mel_bank, mel_spectrogram
from synctalk.training.corpus.alignment import align
from synctalk.training.corpus.augment import random_variant
from synctalk.training.corpus.mouth_motion import mouth_motion
from synctalk.training.corpus.mouth_shapes import opening, shapes
from synctalk.training.corpus.phones import PHONE_NAMES, Phone, phones_from_tokens
from synctalk.training.corpus.phones import SILENCE as SIL
from synctalk.training.corpus.shards import Utterance

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


class MelAugment:
    """Random level, equaliser, vocal tract length and noise, straight on mel windows (a few microseconds
    each).

    A mel value v means 20 log10(magnitude) = (v + 4) * 12.5 - 80 dB, so that gains add and powers can be
    mixed.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self._centres = torch.tensor(_band_centres())  # Hz

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random) * (high - low) + low

    def __call__(self, windows: Tensor) -> Tensor:
        """[B, 16, 80] -> [B, 16, 80], another draw for each window; a sixth are only changed in level."""
        count = len(windows)
        decibels = (windows + 4.0) * 12.5 - 80.0
        plain = self._uniform(0, 1, count, 1, 1) < 0.17
        changed = self._equalise(self._warp(decibels))
        changed = torch.where(plain, decibels, changed)
        changed = changed + self._uniform(-18.0, 12.0, count, 1, 1)
        noisy = self._mix_noise(changed)
        changed = torch.where(plain | (self._uniform(0, 1, count, 1, 1) < 0.3), changed, noisy)
        return ((changed + 80.0) / 12.5 - 4.0).clamp(-4.0, 4.0)

    def _warp(self, decibels: Tensor) -> Tensor:
        """Vocal tracts from 16 % longer to 16 % shorter: the frequency axis is stretched."""
        factor = torch.exp(self._uniform(-0.16, 0.16, len(decibels), 1))
        place = torch.searchsorted(self._centres, self._centres[None] * factor).clamp(1, BANDS - 1)
        low, high = self._centres[place - 1], self._centres[place]
        share = ((self._centres[None] * factor - low) / (high - low)).clamp(0, 1)[:, None]
        index = place[:, None].expand(-1, decibels.shape[1], -1)
        return decibels.gather(2, index - 1) * (1 - share) + decibels.gather(2, index) * share

    def _equalise(self, decibels: Tensor) -> Tensor:
        """A smooth random response: a tilt of up to 9 dB and four cosines of up to 5 dB."""
        x = torch.linspace(-1, 1, BANDS)
        waves = torch.stack([x, *(torch.cos(np.pi * k * (x + 1) / 2) for k in (1, 2, 3, 5))])
        size = torch.tensor([9.0, 4.0, 5.0, 4.0, 3.0])
        return decibels + ((self._uniform(-1, 1, len(decibels), 5) * size) @ waves)[:, None]

    def _mix_noise(self, decibels: Tensor) -> Tensor:
        """Coloured, flickering noise 0-45 dB under the window's level, or under a typical speech level."""
        count, rows, _ = decibels.shape
        own = decibels.amax(dim=1, keepdim=True).mean(2, keepdim=True)
        level = torch.where(
            self._uniform(0, 1, count, 1, 1) < 0.5, own, self._uniform(-45.0, -15.0, count, 1, 1)
        )
        x = torch.linspace(-1, 1, BANDS)
        colour = self._uniform(-14.0, 4.0, count, 1, 1) * x
        flicker = torch.rand(count, rows, BANDS, generator=self._random).clamp_min(1e-3)
        # a band averages several independent lines: less flicker than a single exponential
        flicker = 10 * torch.log10(0.5 - 0.5 * torch.log(flicker))
        noise = level - self._uniform(2.0, 42.0, count, 1, 1) + colour + flicker
        return 10 * torch.log10(10 ** (decibels / 10) + 10 ** (noise / 10))


def _band_centres() -> np.ndarray:
    bank = mel_bank()
    frequency = np.arange(bank.shape[1]) * 20.0
    centres = (bank * frequency).sum(1) / np.maximum(bank.sum(1), 1e-12)
    return np.maximum.accumulate(centres + np.arange(BANDS) * 1e-3).astype(np.float32)
