"""Eq. 1 and Eq. 2, the mouth measures and the pictures of lips."""

import numpy as np
import pytest
import torch

from synctalk.errors import AvatarError, VideoError
from synctalk.face_sync.mouth_measures import GAP, lip_images, mouth_measures, normalised
from synctalk.face_sync.sync_expert import SyncExpert, sync_loss, sync_probability


def test_eq_1_is_the_cosine_similarity() -> None:
    face, audio = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]])
    torch.testing.assert_close(sync_probability(face, audio), torch.tensor([24 / 25, 0.0]))


def test_eq_2_is_binary_cross_entropy() -> None:
    loss = sync_loss(torch.tensor([0.8, 0.3]), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(loss, torch.tensor(-(np.log(0.8) + np.log(0.7)) / 2, dtype=torch.float32))


def test_eq_2_stays_finite_when_surely_wrong() -> None:
    assert torch.isfinite(sync_loss(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])))


def test_embeddings_are_not_negative_and_scores_lie_between_0_and_1() -> None:
    expert = SyncExpert().eval()
    windows, mouths = torch.randn(4, 80, 16), torch.randn(4, 5, 11)
    assert (expert.embed_audio(windows) >= 0).all() and (expert.embed_mouth(mouths) >= 0).all()
    score = expert(windows, mouths)
    assert score.shape == (4,) and ((score >= 0) & (score <= 1)).all()


def test_weights_of_something_else_are_refused(tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(AvatarError, match="do not fit"):
        SyncExpert.from_pretrained(tmp_path / "x.safetensors")


def test_measures_do_not_depend_on_the_size_of_the_face() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (3, 68, 2))
    np.testing.assert_allclose(mouth_measures(points), mouth_measures(points * 3), rtol=1e-5)
    eye = np.median(np.linalg.norm(points[:, 36] - points[:, 45], axis=1))
    gap = np.linalg.norm(points[:, 62] - points[:, 66], axis=1)
    np.testing.assert_allclose(mouth_measures(points)[:, GAP], gap / eye, rtol=1e-5)


def test_wrong_landmarks_are_refused() -> None:
    with pytest.raises(VideoError, match="68"):
        mouth_measures(np.zeros((3, 5, 2)))
    with pytest.raises(VideoError, match="eyes"):
        mouth_measures(np.zeros((3, 68, 2)))


def test_normalised_measures_have_unit_spread() -> None:
    values = np.random.default_rng(0).normal(3, 2, (200, 11))
    np.testing.assert_allclose(normalised(values).std(0), 1, rtol=1e-4)


def test_an_open_mouth_is_darker_inside() -> None:
    shut = torch.tensor([[0.01, 0.01, 0.01, 0.23, 0.6, 0.53, 0.11, 0.12, 0.13, 0.36, 0.74]])
    wide = shut.clone()
    wide[:, GAP], wide[:, 9], wide[:, 3] = 0.2, 0.56, 0.43
    shut_picture, wide_picture = lip_images(shut), lip_images(wide)
    assert shut_picture.shape == (1, 1, 24, 32)
    assert wide_picture.min() < 0.2 < shut_picture.min()
