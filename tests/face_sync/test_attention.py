import pytest
import torch

from synctalk.face_sync.attention import FacialAwareAttention, TemporalAudioAttention


@pytest.fixture
def temporal() -> TemporalAudioAttention:
    torch.manual_seed(0)
    return TemporalAudioAttention()


def test_each_frame_gets_one_lip_code(temporal: TemporalAudioAttention) -> None:
    assert temporal(torch.randn(11, 512)).shape == (11, 32)
    assert temporal(torch.randn(1, 512)).shape == (1, 32)


def test_a_frame_hears_four_frames_back_and_three_ahead_and_nothing_else(
    temporal: TemporalAudioAttention,
) -> None:
    features = torch.randn(20, 512, requires_grad=True)
    temporal(features)[10].sum().backward()
    assert features.grad is not None
    heard = features.grad.abs().sum(1) > 0
    assert heard.nonzero().flatten().tolist() == list(range(6, 14))


def test_chunks_with_context_equal_the_whole(temporal: TemporalAudioAttention) -> None:
    features = torch.randn(30, 512)
    whole = temporal(features)
    chunk = temporal(features[6:23], padded=False)
    torch.testing.assert_close(chunk, whole[10:20])


def test_separate_windows_equal_the_whole_up_to_the_padded_ends(temporal: TemporalAudioAttention) -> None:
    features = torch.randn(12, 512)
    around = torch.nn.functional.pad(features, (0, 0, 4, 3))
    windows = torch.stack([around[i : i + 8] for i in range(12)])
    torch.testing.assert_close(temporal.windows(windows), temporal(features))


@pytest.mark.parametrize("shape", [(8,), (8, 511), (1, 8, 512)])
def test_wrong_audio_features_are_refused(temporal: TemporalAudioAttention, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[T, 512\]"):
        temporal(torch.zeros(shape))


def test_a_chunk_shorter_than_a_window_is_refused(temporal: TemporalAudioAttention) -> None:
    with pytest.raises(ValueError, match="8 rows"):
        temporal(torch.zeros(7, 512), padded=False)


@pytest.fixture
def facial() -> FacialAwareAttention:
    torch.manual_seed(0)
    return FacialAwareAttention(24, lip_dim=34, expression_dim=15, nose_height=-0.2)


HEIGHTS = torch.linspace(-1, 1, 201)


def test_lips_and_expressions_never_reach_the_same_gaussian(facial: FacialAwareAttention) -> None:
    lips, expression = facial(torch.randn(201, 24) * 10, HEIGHTS)
    above = HEIGHTS >= -0.2
    assert (lips[above] == 0).all()
    assert (expression[~above] == 0).all()
    assert ((lips != 0).any(1) & (expression != 0).any(1)).sum() == 0


def test_neither_half_is_dead_even_before_the_triplane_says_anything(facial: FacialAwareAttention) -> None:
    lips, expression = facial(torch.zeros(201, 24), HEIGHTS)
    assert (lips[HEIGHTS < -0.3] == 1).all()
    assert (expression[HEIGHTS > -0.1] == 1).all()


def test_both_networks_learn_from_their_own_half(facial: FacialAwareAttention) -> None:
    lips, expression = facial(torch.randn(201, 24), HEIGHTS)
    (lips.sum() + expression.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in facial.parameters())


def test_masks_rise_to_one_within_a_centimetre_inside_their_half(facial: FacialAwareAttention) -> None:
    lips, expression = facial.masks(torch.tensor([-0.35, -0.3, -0.25, -0.2, -0.15, -0.1]))
    torch.testing.assert_close(lips, torch.tensor([1, 1, 0.5, 0, 0, 0]))
    torch.testing.assert_close(expression, torch.tensor([0, 0, 0, 0, 0.5, 1]))


def test_no_layer_of_the_facial_attention_has_a_bias(facial: FacialAwareAttention) -> None:
    assert not [name for name, _ in facial.named_parameters() if name.endswith("bias")]


def test_the_nose_height_travels_with_the_weights(facial: FacialAwareAttention) -> None:
    other = FacialAwareAttention(24, lip_dim=34, expression_dim=15)
    other.load_state_dict(facial.state_dict())
    assert other.nose_height.item() == pytest.approx(-0.2)


def test_wrong_shapes_are_refused_by_name(facial: FacialAwareAttention) -> None:
    with pytest.raises(ValueError, match=r"\[N, 24\]"):
        facial(torch.zeros(5, 23), torch.zeros(5))
    with pytest.raises(ValueError, match=r"heights \[N\]"):
        facial(torch.zeros(5, 24), torch.zeros(4))
