import numpy as np
import pytest

from synctalk.errors import SyncTalkError
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, CORE_SEVEN, SMILE
from synctalk.speaking.expression import (
    EMOTIONS,
    PRESETS,
    Expression,
    ExpressionControl,
    expression_from,
)

BLINK = BLENDSHAPE_NAMES.index("eyeBlinkLeft")
INNER = BLENDSHAPE_NAMES.index("browInnerUp")
REST = np.full(52, 0.1, np.float32)
TOP = np.full(52, 0.6, np.float32)


def curves(frames: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.05, 0.6, (frames, 52)).astype(np.float32)


def apply(expression: Expression, given: np.ndarray, seed: int = 0) -> np.ndarray:
    return ExpressionControl(expression, given, REST, TOP, seed=seed).apply(given)


def test_the_defaults_leave_the_natural_movement_as_it_is():
    given = curves()
    assert np.allclose(apply(Expression(), given), given)


def test_a_slider_at_one_holds_the_98th_percentile_and_half_way_lies_between():
    given = curves()
    assert np.allclose(apply(Expression(brow_inner_up=1), given)[:, INNER], TOP[INNER])
    half = apply(Expression(brow_inner_up=0.5), given)[:, INNER]
    assert (half >= given[:, INNER]).all() and (half <= TOP[INNER]).all()


def test_a_slider_moves_its_own_coefficient_only():
    given = curves()
    moved = np.abs(apply(Expression(brow_inner_up=1), given) - given).max(axis=0) > 0
    assert np.flatnonzero(moved).tolist() == [INNER]
    moved = np.abs(apply(Expression(smile=1), given) - given).max(axis=0) > 0
    assert set(np.flatnonzero(moved)) == set(SMILE)


def test_nothing_leaves_the_avatars_own_range():
    given = curves()
    wild = Expression(brow_down_left=1, smile=1, emotion="surprised", strength=1, intensity=2)
    out = apply(wild, given)
    assert out.min() >= 0 and (out <= np.maximum(TOP, given) + 1e-6).all()


def test_intensity_zero_holds_the_rest_position_and_spares_what_is_not_driven():
    given = curves()
    out = apply(Expression(intensity=0), given)
    driven = list(CORE_SEVEN + SMILE)
    others = [i for i in range(52) if i not in driven]
    assert np.allclose(out[:, driven], 0.1) and np.array_equal(out[:, others], given[:, others])


@pytest.mark.parametrize("rate", [6, 20, 40])
def test_the_blink_rate_asked_for_is_kept_on_average(rate):
    minutes = 10
    out = apply(Expression(blinks_per_minute=rate), np.repeat(REST[None], minutes * 60 * 25, axis=0))
    shut = out[:, BLINK] > 0.4
    assert abs((shut[1:] & ~shut[:-1]).sum() / minutes - rate) <= 0.25 * rate


def test_a_chosen_blink_rate_replaces_the_sources_blinks():
    given = curves()
    given[50:55, BLINK] = 0.9
    out = apply(Expression(blinks_per_minute=0), given)
    assert out[:, BLINK].max() <= REST[BLINK] + 1e-6


def test_chunks_give_what_the_whole_gives():
    given = curves(300)
    expression = Expression(blinks_per_minute=40, emotion="happy", brow_inner_up=0.3)
    control = ExpressionControl(expression, given, REST, TOP, seed=5)
    parts = [control.apply(given[a:b]) for a, b in ((0, 17), (17, 100), (100, 300))]
    assert np.array_equal(np.concatenate(parts), apply(expression, given, seed=5))


@pytest.mark.parametrize("emotion", [e for e in EMOTIONS if EMOTIONS[e]])
def test_every_emotion_moves_the_face_and_more_with_more_strength(emotion):
    given = np.repeat(REST[None], 10, axis=0)
    weak = np.abs(apply(Expression(emotion=emotion, strength=0.3), given) - given).sum()
    strong = np.abs(apply(Expression(emotion=emotion, strength=1), given) - given).sum()
    assert 0 < weak < strong


@pytest.mark.parametrize(
    "wrong",
    [
        {"smile": 1.2},
        {"smile": float("nan")},
        {"emotion": "bored"},
        {"intensity": -1},
        {"blinks_per_minute": 500},
        {"head_motion": "wild"},
        {"source": "dreams"},
    ],
)
def test_values_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(SyncTalkError, match=next(iter(wrong))):
        Expression(**wrong)


def test_plain_values_become_an_expression_and_unknown_names_are_told():
    assert expression_from({"smile": "0.5", "emotion": " Happy "}) == Expression(smile=0.5, emotion="happy")
    with pytest.raises(SyncTalkError, match="'grin'"):
        expression_from({"grin": 1})
    with pytest.raises(SyncTalkError, match="smile must be a number"):
        expression_from({"smile": "much"})


def test_where_a_generator_shows_the_emotion_no_rule_is_laid_over_it():
    given = np.repeat(REST[None], 10, axis=0)

    def generated(expression: Expression) -> np.ndarray:
        return ExpressionControl(expression, given, REST, TOP, generated=True).apply(given)

    assert np.array_equal(generated(Expression(emotion="happy", blinks_per_minute=40)), given)
    assert not np.array_equal(generated(Expression(emotion="sad")), given)
    assert not np.array_equal(generated(Expression(emotion="happy", brow_inner_up=1)), given)


def test_presets_are_valid_and_natural_is_the_default():
    assert PRESETS["Natural"] == Expression()
    assert len(set(PRESETS.values())) == len(PRESETS) >= 4
