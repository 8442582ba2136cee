import dataclasses

import pytest
import torch
from portrait_parts import SETTINGS, Facial, Temporal, camera, small_portrait

from synctalk.errors import AvatarError
from synctalk.portrait.model import PortraitModel, load_portrait, no_shifts
from synctalk.portrait.settings import PREDICTED, PortraitSettings
from synctalk.portrait.silence import silence_weights
from synctalk.portrait.triplane import TriPlane
from synctalk.tensor_file import read_tensors, write_tensors


def moved_by(portrait: PortraitModel, columns: slice) -> torch.Tensor:
    """How far each Gaussian moves when the given conditions go from 0 to 3, [N]."""
    viewmat, _ = camera()
    still = torch.zeros(portrait.condition_samples.shape[1])
    pushed = still.clone()
    pushed[columns] = 3
    with torch.no_grad():
        return (portrait(viewmat, pushed).means - portrait(viewmat, still).means).norm(dim=1)


def test_triplane_reads_three_planes_of_each_level_and_is_linear_inside_a_cell():
    planes = TriPlane((4, 8), 5, extent=1.0)
    a, b = torch.tensor([[0.1, 0.1, 0.1]]), torch.tensor([[0.12, 0.1, 0.1]])
    middle = planes((a + b) / 2)
    assert middle.shape == (1, 30)
    torch.testing.assert_close(middle, (planes(a) + planes(b)) / 2)


def test_triplane_reads_its_border_outside_the_cube():
    planes = TriPlane((4,), 3, extent=1.0)
    torch.testing.assert_close(planes(torch.tensor([[5.0, 5, 5]])), planes(torch.tensor([[1.0, 1, 1]])))


def test_moving_lips_moves_no_gaussian_above_the_nose_and_does_move_those_below(portrait):
    distance = moved_by(portrait, slice(0, portrait.settings.lower_dim))
    above = portrait.canonical.means[:, 1] >= 0
    assert distance[above].max() == 0
    assert distance[~above].max() > 0.01  # 1 mm


def test_moving_brows_moves_no_gaussian_below_the_nose_and_does_move_those_above(portrait):
    distance = moved_by(portrait, slice(portrait.settings.lower_dim, None))
    below = portrait.canonical.means[:, 1] <= 0
    assert distance[below].max() == 0
    assert distance[~below].max() > 0.01


def test_gaussians_that_do_not_deform_stay_where_they_rest(portrait):
    viewmat, _ = camera()
    at_rest, gaussians = portrait(viewmat).means, portrait(viewmat, portrait.condition_samples[0]).means
    rigid = ~portrait.deforms
    assert torch.equal(gaussians[rigid], at_rest[rigid])
    assert (gaussians[~rigid] != at_rest[~rigid]).any(1).all()


def test_means_move_with_the_view_and_rest_where_the_head_was_seen_most(portrait):
    middle = torch.eye(4)
    middle[:3, 3] = -6 * portrait.view_mean
    turned = middle.clone()
    turned[0, 3] -= 0.6
    with torch.no_grad():
        portrait.view_mean /= portrait.view_mean.norm()
        torch.testing.assert_close(portrait(middle).means, portrait.canonical.means)
        moved = portrait(turned).means - portrait.canonical.means
        expected = torch.einsum("nvc,v->nc", portrait.canonical.shifts, portrait.view(turned))
        portrait.canonical.shifts.zero_()
        torch.testing.assert_close(portrait(turned).means, portrait.canonical.means)
    torch.testing.assert_close(moved, expected)
    assert moved.norm(dim=1).max() > 0.01


def test_a_portrait_from_before_means_moved_with_the_view_is_read(portrait, tmp_path):
    path = tmp_path / "portrait.safetensors"
    portrait.save(path)
    tensors, settings = read_tensors(path)
    added = no_shifts(len(portrait.canonical.means))
    assert set(added) < set(tensors)
    old = {name: value for name, value in tensors.items() if name not in added}
    write_tensors(path, old, settings | {"format": 1})
    again = load_portrait(path, Temporal, Facial)
    torch.testing.assert_close(again(camera()[0]).means, portrait.canonical.means.detach())


def test_some_rows_are_the_same_as_those_rows_of_all(portrait):
    viewmat, _ = camera()
    rows = torch.tensor([3, 50, 120])
    condition = portrait.condition_samples[0]
    some, every = portrait(viewmat, condition, rows), portrait(viewmat, condition)
    torch.testing.assert_close(some.means, every.means[rows])
    torch.testing.assert_close(some.colors, every.colors[rows])


@pytest.mark.parametrize("predicted", PREDICTED)
def test_each_choice_of_table_iv_has_one_head_per_predicted_attribute(predicted):
    model = small_portrait(20, dataclasses.replace(SETTINGS, predicted=predicted))
    heads = {"sh_opacity": 2, "all": 5, "none": 0, "random": 0}
    assert len(model.canonical.heads) == heads[predicted]
    assert torch.isfinite(model(camera()[0]).colors).all()


def test_the_closed_mouth_code_replaces_lips_deep_inside_a_silence(portrait):
    with torch.no_grad():
        portrait.closed_mouth.fill_(7)
    lips, expressions = torch.randn(20, 512), torch.zeros(20, 52)
    silence = torch.zeros(20, dtype=torch.bool)
    silence[8:] = True
    conditions = portrait.conditions(lips, expressions, silence)
    spoken = portrait.conditions(lips, expressions)
    torch.testing.assert_close(conditions[:9], spoken[:9])
    assert (conditions[11:, :32] == 7).all()


def test_silence_weight_rises_over_three_frames_and_the_clip_ends_in_silence():
    silence = torch.tensor([1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1], dtype=torch.bool)
    expected = torch.tensor([1, 0, 0, 0, 1, 2, 3, 2, 1, 0, 0, 0]) / 3
    expected[0] = 1 / 3
    torch.testing.assert_close(silence_weights(silence), expected)


def test_a_saved_portrait_comes_back_and_draws_the_same(portrait, tmp_path):
    path = tmp_path / "portrait.safetensors"
    portrait.save(path)
    again = load_portrait(path, Temporal, Facial)
    condition = portrait.condition_samples[1].half().float()
    before, after = portrait(camera()[0], condition), again(camera()[0], condition)
    torch.testing.assert_close(after.means, before.means, atol=2e-3, rtol=0)
    torch.testing.assert_close(after.colors, before.colors, atol=1e-2, rtol=0)


def test_loading_names_what_is_wrong_with_a_file(portrait, tmp_path):
    path = tmp_path / "portrait.safetensors"
    portrait.save(path)
    tensors, settings = read_tensors(path)
    for changed_tensors, changed_settings, words in (
        ({k: v for k, v in tensors.items() if k != "closed_mouth"}, settings, "closed_mouth"),
        (tensors | {"extra": torch.zeros(1)}, settings, "extra"),
        (tensors | {"closed_mouth": torch.zeros(31)}, settings, "closed_mouth"),
        (tensors | {"closed_mouth": torch.full((32,), float("nan"))}, settings, "closed_mouth"),
        (tensors, settings | {"format": 99}, "99"),
        (tensors, settings | {"colour": 1}, "colour"),
    ):
        write_tensors(path, changed_tensors, changed_settings)
        with pytest.raises(AvatarError, match=words):
            load_portrait(path, Temporal, Facial)


def test_settings_refuse_an_unknown_table_iv_choice():
    with pytest.raises(ValueError, match="predicted"):
        PortraitSettings(upper=(0,), lower=(1,), predicted="some")
