import pytest
import torch

from synctalk.training.fitting_voices import other_voice, shut_while_speaking


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_nothing_changes_when_nothing_is_asked_for():
    lips = torch.randn(3, 8, 512, generator=random())
    assert torch.equal(other_voice(lips, lips[0], 0, 0, 0, random()), lips)


def test_the_offset_is_shared_by_a_window_and_lies_where_features_differ():
    others = torch.zeros(16, 512)
    others[:, :2] = torch.randn(16, 2, generator=random())
    made = other_voice(torch.zeros(400, 8, 512), others, 0, 0.5, 0, random())
    assert (made == made[:, :1]).all() and not made[..., 2:].any()
    expected = 0.5 * others[:, :2].square().mean(0).sqrt()
    torch.testing.assert_close(made[:, 0, :2].std(0), expected, rtol=0.15, atol=0)


def test_dropped_features_are_missing_in_the_whole_window_and_the_rest_make_up_for_them():
    made = other_voice(torch.ones(50, 8, 512), torch.zeros(4, 512), 0, 0, 0.3, random())
    assert (made == made[:, :1]).all()
    assert float((made == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(made.mean()) == pytest.approx(1, abs=0.03)


def test_lips_that_meet_count_only_while_somebody_speaks():
    points = torch.zeros(40, 68, 2)
    points[:, 65:68, 1] = 10.0
    points[[3, 30], 65:68, 1] = 1.0
    silence = torch.arange(40) > 20
    assert shut_while_speaking(points, silence).nonzero().flatten().tolist() == [3]
