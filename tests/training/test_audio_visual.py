"""Training of the expert and the encoder on a corpus of seconds; the probe and the report's figures."""

import copy

import numpy as np
import pytest
import torch

from synctalk.errors import TrainingError
from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder
from synctalk.face_sync.sync_expert import SyncExpert
from synctalk.training.audio_visual import (
    EncoderTrainer,
    EncoderTraining,
    ExpertTraining,
    sampling_weights,
    scale_features,
    train_expert,
)
from synctalk.training.audio_visual_data import Clips, make_clips
from synctalk.training.audio_visual_report import (
    NOISE_LEVELS_DB,
    fit_probe,
    measure,
    mel_features,
    noise_only,
    probe_of,
)
from synctalk.training.audio_visual_run import train_encoder, train_in_processes
from synctalk.training.corpus.phones import Phone


def _sound_of(phones: list[Phone], rng: np.random.Generator) -> np.ndarray:
    """Buzzes for open vowels, near silence for closures and pauses: a voice that a probe can read."""
    t = np.arange(int(phones[-1].end_s * 16000)) / 16000
    sound = 0.001 * rng.standard_normal(len(t))
    for phone in phones:
        inside = (t >= phone.start_s) & (t < phone.end_s)
        if phone.name == "AA":
            sound[inside] += 0.2 * np.sign(np.sin(2 * np.pi * 120 * t[inside]))
        elif phone.name == "IY":
            sound[inside] += 0.1 * np.sin(2 * np.pi * 2400 * t[inside]) + 0.05 * np.sin(
                2 * np.pi * 250 * t[inside]
            )
    return sound.astype(np.float32)


@pytest.fixture(scope="module")
def clips() -> Clips:
    rng = np.random.default_rng(0)
    sounds, spoken = [], []
    for _ in range(6):
        phones, at = [Phone("sil", 0.0, 0.4, 0.4)], 0.4
        for index in range(16):
            name = ("M", "AA", "P", "IY")[index % 4]
            length = float(rng.uniform(0.08, 0.25))
            phones.append(
                Phone(name, at, at + length, at + 0.8 * length, 2 if name in ("AA", "IY") else 0, index)
            )
            at += length
        phones.append(Phone("sil", at, at + 0.5, at + 0.5))
        sounds.append(_sound_of(phones, rng))
        spoken.append(phones)
    return make_clips(sounds, spoken, ["a", "b"] * 3)


def test_clips_hold_a_window_and_a_mouth_for_every_frame(clips: Clips) -> None:
    frames = np.arange(len(clips))
    assert clips.windows(frames).shape == (len(clips), 16, 80)
    assert clips.mouths(frames).shape == (len(clips), 5, 11)
    starts, stops = clips.bounds()
    assert len(starts) == 6 and stops[-1] == len(clips)
    # the mouth before a clip's first frame is that frame's, not the clip before's
    np.testing.assert_array_equal(clips.mouths(starts[1:2])[0, 0], clips.measures[starts[1]])


def test_windows_are_those_the_encoder_sees(clips: Clips) -> None:
    from synctalk.speech.mel import mel_spectrogram, mel_windows

    sound = (0.1 * np.random.default_rng(1).standard_normal(16000)).astype(np.float32)
    one = make_clips([sound], [[Phone("sil", 0.0, 1.0, 1.0)]], ["a"])
    np.testing.assert_allclose(
        one.windows(np.arange(25)).transpose(0, 2, 1), mel_windows(mel_spectrogram(sound), 25), atol=2e-3
    )


def test_closed_lips_are_drawn_more_often_than_deep_silence(clips: Clips) -> None:
    weights = sampling_weights(clips)
    assert np.isclose(weights.sum(), 1)
    assert weights[clips.motion[:, 6] > 0.9].min() > 3 * weights[clips.quiet].max()


def test_the_expert_learns(clips: Clips) -> None:
    losses: list[float] = []
    for steps in (1, 60):
        settings = ExpertTraining(minutes=5.0, steps=steps, batch=32)
        expert = train_expert(clips, settings, lambda values: losses.append(values["loss"]))
        assert not expert.training
    assert losses[-1] < 0.9 * losses[0]


def test_the_encoder_s_loss_falls_and_frozen_blocks_stay(clips: Clips) -> None:
    torch.manual_seed(0)
    expert = train_expert(clips, ExpertTraining(steps=1, batch=16))
    trainer = EncoderTrainer(clips, expert, EncoderTraining(batch=12, bfloat16=False))
    losses = [trainer.step(1e-3)["total"] for _ in range(18)]
    # Single batches of twelve windows can be outliers: medians say where the loss goes.
    assert np.median(losses[-7:]) < 0.8 * np.median(losses[:3])
    trainer.freeze_lower_blocks()
    lowest = trainer.encoder.audio_encoder[0].conv_block[0].weight.detach().clone()
    top = trainer.encoder.audio_encoder[-1].conv_block[0].weight.detach().clone()
    trainer.step(1e-3)
    assert torch.equal(lowest, trainer.encoder.audio_encoder[0].conv_block[0].weight)
    assert not torch.equal(top, trainer.encoder.audio_encoder[-1].conv_block[0].weight)


def test_a_run_ends_in_time_with_features_of_unit_spread(clips: Clips, tmp_path) -> None:
    expert = train_expert(clips, ExpertTraining(steps=1, batch=16))
    encoder = train_encoder(clips, expert, EncoderTraining(minutes=0.02, batch=8), tmp_path)
    features = encoder.encode_windows(clips.windows(np.arange(len(clips))).transpose(0, 2, 1))
    spread = features.std(0)
    alive = spread > 1e-3
    assert alive.float().mean() > 0.5
    assert ((spread[alive] > 0.7) & (spread[alive] < 1.4)).float().mean() > 0.95


def _trainer(clips: Clips, start: AudioVisualEncoder | None = None, **settings) -> EncoderTrainer:
    torch.manual_seed(0)
    return EncoderTrainer(clips, SyncExpert(), EncoderTraining(batch=8, settling=2, **settings), start)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_stopped_training_goes_on_exactly(clips: Clips, tmp_path, goes_on: bool) -> None:
    torch.manual_seed(1)
    start = AudioVisualEncoder().eval() if goes_on else None
    whole = _trainer(clips, copy.deepcopy(start))
    for step in range(6):
        if step == 3:
            whole.freeze_lower_blocks()
            whole.save(tmp_path / "state.pt", 0.5)
        whole.step(1e-3)
    torch.rand(7)  # what others draw in between changes nothing
    again = _trainer(clips, copy.deepcopy(start))
    assert again.load(tmp_path / "state.pt") == 0.5
    assert again.steps == 3
    losses = [again.step(1e-3)["total"] for _ in range(3)]
    assert np.isfinite(losses).all()
    for (name, one), other in zip(
        whole.encoder.state_dict().items(), again.encoder.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    for one, other in zip(whole.heads.parameters(), again.heads.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_state_of_another_training_is_refused(clips: Clips, tmp_path) -> None:
    _trainer(clips).save(tmp_path / "state.pt")
    with pytest.raises(TrainingError, match="other settings"):
        _trainer(clips, seed=3).load(tmp_path / "state.pt")
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="cannot be read"):
        _trainer(clips).load(tmp_path / "state.pt")


def test_a_run_picks_up_the_state_in_its_folder_and_clears_it(clips: Clips, tmp_path) -> None:
    settings, expert = EncoderTraining(batch=8, steps=4), SyncExpert()
    before = EncoderTrainer(clips, expert, settings)
    for _ in range(3):
        before.step(1e-3)
    before.save(tmp_path / "encoder_training_0.pt", 0.75)
    seen: list[float] = []
    train_encoder(clips, expert, settings, tmp_path, lambda values: seen.append(values["step"]))
    assert not list(tmp_path.iterdir())
    with pytest.raises(TrainingError, match="cannot be read"):
        (tmp_path / "encoder_training_0.pt").write_bytes(b"")
        train_encoder(clips, expert, settings, tmp_path)


def test_going_on_from_weights_lets_the_readouts_settle_and_then_stays_near(clips: Clips) -> None:
    torch.manual_seed(1)
    start = AudioVisualEncoder().eval()
    trainer = _trainer(clips, copy.deepcopy(start))
    heads = copy.deepcopy(trainer.heads)
    for _ in range(2):
        assert "loyalty" not in trainer.step(1e-3)
    for (name, one), other in zip(start.named_parameters(), trainer.encoder.parameters(), strict=True):
        assert torch.equal(one, other), name
    assert not torch.equal(heads.opening.weight, trainer.heads.opening.weight)
    assert trainer.step(1e-3)["loyalty"] >= 0
    first = start.audio_encoder[0].conv_block[0].weight
    assert not torch.equal(first, trainer.encoder.audio_encoder[0].conv_block[0].weight)


def test_two_processes_train_one_encoder(clips: Clips, tmp_path) -> None:
    encoder = train_in_processes(2, clips, SyncExpert(), EncoderTraining(batch=4, steps=20), tmp_path)
    assert encoder.encode_windows(torch.zeros(2, 80, 16)).shape == (2, 512)
    assert not list(tmp_path.iterdir())


def test_too_little_speech_is_refused(clips: Clips) -> None:
    short = make_clips([np.zeros(16000, np.float32)], [[Phone("sil", 0.0, 1.0, 1.0)]], ["a"])
    with pytest.raises(TrainingError, match="too few"):
        train_expert(short, ExpertTraining(steps=1))


def test_scaling_changes_nothing_but_the_scale(clips: Clips) -> None:
    torch.manual_seed(0)
    encoder = AudioVisualEncoder().eval()
    windows = torch.from_numpy(clips.windows(np.arange(40)).transpose(0, 2, 1).copy())
    before = encoder.encode_windows(windows)
    encoder.train(False)
    after = scale_features(encoder, clips).encode_windows(windows)
    alive = (before.std(0) > 1e-2) & (after.std(0) > 1e-2)
    ratio = after[:, alive].mean(0) / before[:, alive].mean(0)
    torch.testing.assert_close(after[:, alive], before[:, alive] * ratio, rtol=1e-2, atol=1e-3)


def test_a_probe_reads_what_is_linear_and_may_say_more_than_shut() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((600, 6))
    hidden = features @ np.array([0.4, -0.3, 0.2, 0, 0, 0])
    opening = np.maximum(hidden, 0)
    probe = fit_probe(features, opening, np.tile(opening[:, None], (1, 11)))
    read = probe(features)
    assert read.shape == (600, 12)
    assert np.corrcoef(np.maximum(read[:, 0], 0), opening)[0, 1] > 0.97


def test_figures_of_a_readable_voice_are_high_and_of_noise_are_low(clips: Clips) -> None:
    good = measure(clips, mel_features, probe_of(clips, mel_features))
    assert good.opening_correlation > 0.8
    assert good.second_within_1 > 0.9 and good.sync_of_2 > 0.9 and good.sync_of_31 > 0.5
    rng = np.random.default_rng(0)

    def noise(windows: np.ndarray) -> np.ndarray:
        return rng.standard_normal((len(windows), 8))

    bad = measure(clips, noise, probe_of(clips, noise))
    assert bad.opening_correlation < 0.3 and bad.sync_of_31 < 0.2


def test_a_reader_of_loudness_is_shut_in_faint_noise_and_open_in_loud_noise(clips: Clips) -> None:
    def loudness(windows: np.ndarray) -> np.ndarray:
        return windows.mean((1, 2))[:, None] + 4

    shares = noise_only(loudness, probe_of(clips, loudness), wide=1.0, seconds=1.0)
    assert len(shares) == 4 * len(NOISE_LEVELS_DB)
    assert all(0 <= share <= 1 for share in shares.values())
    assert shares["white -60 dB"] > shares["white -20 dB"] == 0
