"""The corpus: texts, phones, mouths, alignment, augmentations, shards, the recipe."""

from itertools import islice, pairwise

import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.face_sync.mouth_measures import GAP
from synctalk.training.corpus import augment
from synctalk.training.corpus.alignment import align, insert_pauses
from synctalk.training.corpus.mouth_motion import mouth_motion
from synctalk.training.corpus.mouth_shapes import fit_shapes, opening, shapes
from synctalk.training.corpus.phones import Phone, phones_from_tokens, shift_phones
from synctalk.training.corpus.recipe import UNSEEN_VOICES, delivery, synthesise
from synctalk.training.corpus.shards import Utterance, read_corpus, read_shard, write_shard
from synctalk.training.corpus.texts import sentences, utterances


def test_texts_are_the_same_for_a_seed_and_full_of_labials() -> None:
    assert list(islice(sentences(4), 30)) == list(islice(sentences(4), 30))
    assert list(islice(sentences(4), 30)) != list(islice(sentences(5), 30))
    text = " ".join(islice(utterances(0), 200)).lower()
    letters = [c for c in text if c.isalpha()]
    assert sum(c in "pbm" for c in letters) / len(letters) > 0.08  # ordinary prose has 0.06
    assert max(len(t) for t in islice(utterances(0), 200)) <= 151  # and the space between


def test_tokens_become_phones_that_join() -> None:
    tokens = "mˈAbi, bˈɑb."
    durations = np.array([8, 4, 1, 6, 4, 5, 10, 1, 4, 1, 6, 4, 8, 6])
    assert len(durations) == len(tokens) + 2
    phones = phones_from_tokens(tokens, durations)
    assert [p.name for p in phones] == ["sil", "M", "EY", "B", "IY", "sil", "B", "AA", "B", "sil"]
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in pairwise(phones))
    assert phones[-1].end_s == pytest.approx(durations.sum() * 0.025)
    assert next(p for p in phones if p.name == "EY").stress == 2
    with pytest.raises(ValueError, match="durations"):
        phones_from_tokens(tokens, durations[:-1])


def test_shifting_keeps_the_ends() -> None:
    phones = [Phone("sil", 0.0, 0.5, 0.5), Phone("AA", 0.5, 0.8, 0.8), Phone("sil", 0.8, 1.0, 1.0)]
    moved = shift_phones(phones, -0.06)
    assert (moved[0].start_s, moved[-1].end_s) == (0.0, 1.0)
    assert moved[1].start_s == pytest.approx(0.44)


def _word(*names: str, each: float = 0.12, lead: float = 0.4) -> list[Phone]:
    phones, at = [Phone("sil", 0.0, lead, lead)], lead
    for name in names:
        phones.append(Phone(name, at, at + each, at + 0.7 * each, 1, 0))
        at += each
    return [*phones, Phone("sil", at, at + lead, at + lead)]


@pytest.mark.parametrize("labial", ["P", "B", "M"])
def test_the_mouth_closes_on_every_labial_and_in_pauses(labial: str) -> None:
    phones = _word("AA", labial, "AE", each=0.1)
    gap = opening(shapes(mouth_motion(phones, 30)))
    during = gap[int(0.5 * 25) : int(0.6 * 25) + 1]
    assert during.min() < 0.03
    assert gap.max() > 0.6
    assert gap[:5].max() < 0.05 and gap[-4:].max() < 0.05


def test_rounded_and_spread_vowels_differ_in_width() -> None:
    width = {v: shapes(mouth_motion(_word(v, each=0.3), 28))[13, 4] for v in ("UW", "IY")}
    assert width["IY"] > width["UW"] + 0.08


def test_louder_vowels_open_wider() -> None:
    phones = _word("AA", "T", "AA", each=0.15)
    level = np.full(140, -30.0)
    level[70:] = -45.0
    jaw = mouth_motion(phones, 30, level)[:, 0]
    assert jaw[11:13].max() > 1.05 * jaw[18:21].max()


def test_the_map_to_measures_can_be_fitted_again() -> None:
    motion = np.concatenate([mouth_motion(_word(v, "M", v), 30) for v in ("AA", "IY", "UW", "AO", "F", "S")])
    wanted = shapes(motion)
    again = fit_shapes(motion, wanted)
    from synctalk.training.corpus.mouth_shapes import terms

    assert np.abs(terms(motion) @ again - wanted)[:, GAP].max() < 0.03


def _spoken(phones: list[Phone]) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(int(phones[-1].end_s * 16000)) / 16000
    sound = 1e-4 * rng.standard_normal(len(t))
    for p in phones:
        inside = (t >= p.start_s) & (t < p.end_s)
        if p.name == "AA":
            sound[inside] += 0.2 * np.sign(np.sin(2 * np.pi * 130 * t[inside]))
        elif p.name == "S":
            sound[inside] += 0.1 * np.diff(rng.standard_normal(inside.sum() + 1))
    return sound


def test_alignment_takes_out_a_voice_s_lag() -> None:
    rng = np.random.default_rng(0)
    true, late, sounds = [], [], []
    for _ in range(5):
        at, phones = 0.4, [Phone("sil", 0.0, 0.4, 0.4)]
        for index in range(9):
            length = float(rng.uniform(0.1, 0.22))
            phones.append(Phone(("S", "AA")[index % 2], at, at + length, at + length, 1, index // 2))
            at += length
        phones.append(Phone("sil", at, at + 0.4, at + 0.4))
        true.append(phones)
        late.append(shift_phones(phones, 0.06))
        sounds.append(_spoken(phones))
    aligned, lags = align(sounds, late, ["v"] * 5)
    assert lags["v"] == pytest.approx(-0.06, abs=0.015)
    errors = [
        abs(a.start_s - b.start_s)
        for x, y in zip(aligned, true, strict=True)
        for a, b in zip(x, y, strict=False)
        if a.name == b.name
    ]
    assert np.median(errors) < 0.012


def test_a_pause_that_the_durations_missed_is_put_in() -> None:
    true = [
        Phone("sil", 0.0, 0.3, 0.3), Phone("AA", 0.3, 0.6, 0.6, 1, 0), Phone("sil", 0.6, 1.0, 1.0),
        Phone("AA", 1.0, 1.3, 1.3, 1, 1), Phone("sil", 1.3, 1.6, 1.6),
    ]  # fmt: skip
    told = [
        Phone("sil", 0.0, 0.3, 0.3), Phone("AA", 0.3, 0.8, 0.8, 1, 0), Phone("AA", 0.8, 1.3, 1.3, 1, 1),
        Phone("sil", 1.3, 1.6, 1.6),
    ]  # fmt: skip
    found = insert_pauses(told, _spoken(true))
    assert [p.name for p in found] == ["sil", "AA", "sil", "AA", "sil"]
    assert found[2].start_s == pytest.approx(0.6, abs=0.05) and found[2].end_s == pytest.approx(1.0, abs=0.05)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    t = np.arange(16000) / 16000
    swell = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)
    return (0.3 * swell * np.sign(np.sin(2 * np.pi * 140 * t))).astype(np.float32)


def _envelope(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.convolve(x.astype(np.float64) ** 2, np.ones(400) / 400, "same"))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: augment.compress(s, "mp3", 48000),
        lambda s: augment.compress(s, "opus", 24000),
        lambda s: augment.shift_pitch(s, 2.0),
        lambda s: augment.telephone(s),
        lambda s: augment.add_noise(s, 20, np.random.default_rng(0)),
        lambda s: augment.reverberate(s, 0.2, 10, np.random.default_rng(0)),
    ],
    ids=["mp3", "opus", "pitch", "telephone", "noise", "room"],
)
def test_augmentations_keep_the_time(sound: np.ndarray, change) -> None:
    changed = change(sound)
    assert changed.shape == sound.shape and changed.dtype == np.float32
    a, b = _envelope(sound), _envelope(changed)
    lags = range(-640, 641, 80)
    likeness = [np.corrcoef(a[1000:-1000], np.roll(b, -k)[1000:-1000])[0, 1] for k in lags]
    assert abs(list(lags)[int(np.argmax(likeness))]) <= 160


def test_noise_has_the_level_asked_for(sound: np.ndarray) -> None:
    noisy = augment.add_noise(sound, 10, np.random.default_rng(0))
    ratio = augment.speech_power(sound) / np.mean((noisy - sound) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.5)


def test_speed_changes_the_length(sound: np.ndarray) -> None:
    assert len(augment.change_speed(sound, 1.1)) == pytest.approx(len(sound) / 1.1, abs=2)


def _utterance(seconds: float, text: str) -> Utterance:
    return Utterance(
        np.arange(int(16000 * seconds), dtype=np.int16),
        "ab",
        np.array([1, 2, 3, 4], np.int16),
        "af_x:1.0",
        1.0,
        text,
    )


def test_shards_keep_everything(tmp_path) -> None:
    write_shard(tmp_path / "train_0000.npz", [_utterance(0.1, "one"), _utterance(0.2, "two")])
    first, second = read_corpus(tmp_path, "train")
    assert (first.text, second.text) == ("one", "two") and len(second.samples) == 3200
    np.testing.assert_array_equal(second.durations, [1, 2, 3, 4])
    (tmp_path / "train_0001.npz").write_bytes(b"broken")
    with pytest.raises(TrainingError, match="not a corpus shard"):
        read_shard(tmp_path / "train_0001.npz")


class _Speaker:
    """Says every text as one second of nothing."""

    def __init__(self) -> None:
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.voices = [f"af_{c}" for c in letters] + ["jf_x", *UNSEEN_VOICES]
        self.said = 0

    def symbols_of(self, text: str, british: bool) -> str:
        return "mˈA"

    def style(self, voice: str) -> np.ndarray:
        return np.zeros((10, 1, 256), np.float32)

    def raw(self, symbols: str, style: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
        self.said += 1
        return np.zeros(24000, np.float32), np.array([10, 10, 5, 10, 5])


def test_the_recipe_resumes_and_never_uses_unseen_voices(tmp_path) -> None:
    speaker = _Speaker()
    list(synthesise(tmp_path, speaker, hours=30 / 3600))
    said = speaker.said
    assert said == 48  # two shards
    list(synthesise(tmp_path, speaker, hours=30 / 3600))
    assert speaker.said == said
    voices = {part.split(":")[0] for u in read_corpus(tmp_path, "train") for part in u.voice.split("+")}
    assert not voices & set(UNSEEN_VOICES) and len(voices) >= 20
    list(synthesise(tmp_path, speaker, hours=10 / 3600, unseen=True))
    assert {u.main_voice for u in read_corpus(tmp_path, "unseen")} == set(UNSEEN_VOICES)


def test_too_few_voices_are_refused(tmp_path) -> None:
    speaker = _Speaker()
    speaker.voices = speaker.voices[:5]
    with pytest.raises(TrainingError, match="20"):
        list(synthesise(tmp_path, speaker, hours=0.01))


def test_deliveries_are_pure_or_blended_and_repeatable() -> None:
    english, other = [f"af_{k}" for k in range(22)], ["jf_a", "zm_b"]
    kinds = [delivery(k, english, other) for k in range(400)]
    assert kinds == [delivery(k, english, other) for k in range(400)]
    blended = np.mean([len(k.shares) == 2 for k in kinds])
    assert 0.45 < blended < 0.65
    assert all(sum(share for _, share in k.shares) == pytest.approx(1) for k in kinds)
    assert all(0.85 <= k.speed <= 1.2 for k in kinds)
