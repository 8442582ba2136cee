import numpy as np
import pytest
import torch

from synctalk.expression.voice import voice_features
from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder
from synctalk.portrait.silence import silence_weights
from synctalk.speaking.chunks import CLOSING, FIRST_CHUNK, Heard, Listener, chunks, listen
from synctalk.speaking.sound import SAMPLES_PER_FRAME, Recording
from synctalk.speech.mel import mel_spectrogram


def hum(seconds: float, rate: int = 16000) -> np.ndarray:
    generator = np.random.default_rng(0)
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 180 * time) + 0.05 * generator.normal(size=len(time))).astype(np.float32)


def whole(seconds: float) -> np.ndarray:
    """The same sound filled with silence to whole frames, as the road fills it."""
    voice = hum(seconds)
    return np.pad(voice, (0, -len(voice) % SAMPLES_PER_FRAME))


def nothing(voice: np.ndarray, first: int, count: int) -> Heard:
    assert first >= 0
    assert (first + count) * SAMPLES_PER_FRAME <= len(voice)
    return Heard(torch.zeros(count, 512), np.zeros(count, bool), np.zeros((count, 0), np.float32))


@pytest.fixture(scope="module")
def hear() -> Listener:
    torch.manual_seed(0)
    encoder = AudioVisualEncoder().eval()

    def everything(voice: np.ndarray, first: int, count: int) -> Heard:
        lips = encoder.encode_mel(mel_spectrogram(voice), count, first)
        return Heard(lips, np.zeros(count, bool), voice_features(voice)[first : first + count])

    return everything


def all_heard(hear: Listener, seconds: float) -> Heard:
    voice = whole(seconds)
    return hear(voice, 0, len(voice) // SAMPLES_PER_FRAME)


@pytest.mark.parametrize("seconds", [0.1, 2.0, 5.34])
def test_chunks_give_what_the_whole_recording_gives(hear, seconds):
    features = listen(Recording((hum(seconds), 16000)), hear)
    made = [(chunk, slice(chunk.before, chunk.before + chunk.frames)) for chunk in chunks(features)]
    expected = all_heard(hear, seconds)
    lips = torch.cat([chunk.lips[inside] for chunk, inside in made])
    assert torch.allclose(lips, expected.lips, atol=1e-4)
    manner = np.concatenate([chunk.manner[inside] for chunk, inside in made])
    assert np.allclose(manner, expected.manner, atol=1e-3)


def test_context_of_a_chunk_is_its_neighbours(hear):
    features = listen(Recording((hum(5), 16000)), hear)
    expected = all_heard(hear, 5)
    for chunk in chunks(features):
        first = chunk.start - chunk.before
        assert torch.allclose(chunk.lips, expected.lips[first : first + len(chunk.lips)], atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_the_soundtrack_keeps_every_sample_at_its_own_rate(rate):
    track = np.stack([hum(3.33, rate), 0.5 * hum(3.33, rate)], axis=1)
    made = list(chunks(listen(Recording((track, rate)), nothing)))
    assert np.array_equal(np.concatenate([chunk.track for chunk in made]), track)
    assert {chunk.rate for chunk in made} == {rate}
    frames = sum(chunk.frames for chunk in made)
    assert abs(frames / 25 - 3.33) <= 0.04


def test_the_first_chunk_is_short_and_the_last_one_is_marked():
    made = list(chunks(listen(Recording((hum(6), 16000)), nothing)))
    assert made[0].frames == FIRST_CHUNK and not made[0].last
    assert [chunk.last for chunk in made] == [False] * (len(made) - 1) + [True]


def test_the_mouth_is_shut_at_the_end_even_if_the_voice_is_cut_off():
    features = listen(Recording((hum(4), 16000)), nothing)
    last = list(chunks(features))[-1]
    assert not last.silence[:-CLOSING].any() and last.silence[-CLOSING:].all()
    assert silence_weights(torch.from_numpy(last.silence))[-1] == 1
