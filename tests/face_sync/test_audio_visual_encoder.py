"""The audio-visual encoder: shapes, chunks, streams, files."""

import numpy as np
import pytest
import torch

from synctalk.errors import AudioError, AvatarError
from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder, convert_checkpoint


@pytest.fixture(scope="module")
def encoder() -> AudioVisualEncoder:
    torch.manual_seed(0)
    return AudioVisualEncoder().eval()


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(16000 * 2 + 77)).astype(np.float32)


def test_it_has_the_public_layer_shapes(encoder: AudioVisualEncoder) -> None:
    assert sum(p.numel() for p in encoder.parameters()) == 2_812_672
    assert encoder.state_dict()["audio_encoder.3.conv_block.0.weight"].shape == (64, 32, 3, 3)
    assert encoder(torch.zeros(2, 1, 80, 16)).shape == (2, 512)


def test_a_second_of_sound_gives_25_features(encoder: AudioVisualEncoder) -> None:
    assert encoder.encode(np.zeros(16000, np.float32)).shape == (25, 512)
    assert encoder.encode(np.zeros(16001, np.float32)).shape == (26, 512)


def test_chunks_do_not_show(encoder: AudioVisualEncoder, sound: np.ndarray) -> None:
    whole = encoder.encode(sound, chunk=1000)
    for chunk in (1, 7, 25):
        torch.testing.assert_close(encoder.encode(sound, chunk=chunk), whole, rtol=1e-4, atol=1e-5)


def test_a_stream_of_blocks_gives_the_same_features(encoder: AudioVisualEncoder, sound: np.ndarray) -> None:
    whole = encoder.encode(sound)
    for size in (501, 640, 5000, 40000):
        blocks = [sound[k : k + size] for k in range(0, len(sound), size)]
        torch.testing.assert_close(
            torch.cat(list(encoder.encode_stream(blocks))), whole, rtol=1e-4, atol=1e-5
        )


def test_the_folded_network_computes_what_the_layers_compute(encoder: AudioVisualEncoder) -> None:
    windows = torch.randn(3, 80, 16)
    with torch.no_grad():
        plain = encoder(windows)
    torch.testing.assert_close(encoder.encode_windows(windows), plain, rtol=1e-3, atol=1e-5)


def test_weights_survive_a_file_of_half_precision(encoder: AudioVisualEncoder, tmp_path) -> None:
    encoder.save_pretrained(tmp_path / "e.safetensors")
    again = AudioVisualEncoder.from_pretrained(tmp_path / "e.safetensors")
    windows = torch.randn(2, 80, 16)
    torch.testing.assert_close(
        again.encode_windows(windows), encoder.encode_windows(windows), rtol=2e-2, atol=2e-3
    )


@pytest.mark.parametrize("prefix", ["", "audio_encoder."])
def test_a_public_style_checkpoint_can_be_converted(
    encoder: AudioVisualEncoder, tmp_path, prefix: str
) -> None:
    state = {prefix + k.removeprefix("audio_encoder."): v for k, v in encoder.state_dict().items()}
    torch.save(state, tmp_path / "audio_visual_encoder.pth")
    convert_checkpoint(tmp_path / "audio_visual_encoder.pth", tmp_path / "e.safetensors")
    again = AudioVisualEncoder.from_pretrained(tmp_path / "e.safetensors")
    windows = torch.randn(2, 80, 16)
    torch.testing.assert_close(
        again.encode_windows(windows), encoder.encode_windows(windows), rtol=2e-2, atol=2e-3
    )


class _Harmful:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_checkpoint_with_code_inside_is_refused(tmp_path, capsys) -> None:
    torch.save({"0.conv_block.0.weight": _Harmful()}, tmp_path / "bad.pth")
    with pytest.raises(AvatarError, match="safely"):
        convert_checkpoint(tmp_path / "bad.pth", tmp_path / "e.safetensors")
    assert "executed" not in capsys.readouterr().out


def test_a_checkpoint_of_another_network_is_refused_by_name(encoder: AudioVisualEncoder, tmp_path) -> None:
    state = dict(encoder.state_dict())
    del state["audio_encoder.5.conv_block.0.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(AvatarError, match=r"audio_encoder\.5\.conv_block\.0\.weight is missing"):
        convert_checkpoint(tmp_path / "part.pth", tmp_path / "e.safetensors")


@pytest.mark.parametrize("bad", [np.zeros((2, 100)), np.zeros(0), np.array([0.0, np.nan])])
def test_sound_that_is_no_sound_is_refused(encoder: AudioVisualEncoder, bad: np.ndarray) -> None:
    with pytest.raises(AudioError):
        encoder.encode(bad)


def test_training_again_drops_the_folded_copy(encoder: AudioVisualEncoder) -> None:
    windows = torch.randn(2, 80, 16)
    before = encoder.encode_windows(windows)
    encoder.train()
    with torch.no_grad():
        encoder.audio_encoder[-1].conv_block[1].weight.mul_(2.0)
        encoder.audio_encoder[-1].conv_block[1].bias.mul_(2.0)
    encoder.eval()
    torch.testing.assert_close(encoder.encode_windows(windows), 2 * before, rtol=1e-3, atol=1e-5)


def test_the_embedded_encoder_shuts_up_in_silence() -> None:
    embedded = AudioVisualEncoder.from_pretrained()
    features = embedded.encode(np.zeros(16000, np.float32))
    assert torch.allclose(features, features[:1].expand_as(features), atol=1e-4)
    assert (features >= 0).all()


def test_half_precision_changes_features_by_less_than_a_fiftieth_of_their_size():
    sound = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    exact = AudioVisualEncoder.from_pretrained().encode(sound)
    quick = AudioVisualEncoder.from_pretrained().in_half_precision().encode(sound)
    assert quick.dtype == torch.float32
    assert (quick - exact).norm() < 0.02 * exact.norm()
