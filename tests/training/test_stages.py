import dataclasses
import re
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from synctalk.errors import TrainingError
from synctalk.face_sync.attention import FacialAwareAttention, TemporalAudioAttention
from synctalk.face_sync.blendshapes import BLINK
from synctalk.portrait.canonical import CanonicalGaussians
from synctalk.portrait.settings import PREDICTED, PortraitSettings
from synctalk.training.fitting import Fit, most_varied
from synctalk.training.fitting_crops import Crops, attention_windows
from synctalk.training.fitting_density import double, keep_and_split
from synctalk.training.fitting_guard import LossWatch
from synctalk.training.perceptual import PerceptualLoss
from synctalk.training.stages import PortraitTraining, earlier_state, train_portrait

SIZE, FRAMES = 64, 40
FOCAL, DEPTH = 120.0, 6.0
SHORT = PortraitTraining(
    canonical_steps=20,
    deform_steps=40,
    max_gaussians=1200,
    densify_every=10,
    validate_every=30,
    validation_frames=2,
)


MOVES_WITH_VIEW = re.compile(r"canonical\.shifts|view_").match


@dataclass
class Puppet:
    """A flat face whose mouth opens with the first audio feature: the smallest `PortraitDataset`."""

    frames: np.ndarray
    mattes: np.ndarray
    viewmats: np.ndarray
    K: np.ndarray
    lips: np.ndarray
    expressions: np.ndarray
    landmarks68: np.ndarray
    silence: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    weights: np.ndarray
    stretches: np.ndarray
    neutral68: np.ndarray
    init_points: np.ndarray


@pytest.fixture(scope="module")
def puppet() -> Puppet:
    y, x = np.mgrid[:SIZE, :SIZE]
    head = ((x - 32) / 20) ** 2 + ((y - 32) / 26) ** 2 < 1
    opening = 1.5 + 3.5 * np.sin(np.arange(FRAMES) * 0.9) ** 2
    frames = np.full((FRAMES, SIZE, SIZE, 3), 90, np.uint8)
    for frame, gap in zip(frames, opening, strict=True):
        frame[head] = [200, 150, 130]
        frame[(np.abs(x - 32) < 8) & (np.abs(y - 44) < gap)] = [60, 20, 20]
    points = np.zeros((68, 2), np.float32)
    points[:17] = np.stack([np.linspace(13, 51, 17), 40 + 15 * np.sin(np.linspace(0, np.pi, 17))], 1)
    points[17:27] = np.stack([np.linspace(20, 44, 10), np.full(10, 22)], 1)
    points[27:36] = [32, 36]
    points[36:48] = np.stack([np.linspace(20, 44, 12), np.full(12, 27)], 1)
    points[36], points[45] = [20, 27], [44, 27]
    turn = np.linspace(0, 2 * np.pi, 20)
    points[48:] = np.stack([32 + 8 * np.cos(turn), 44 - 3 * np.sin(turn)], 1)
    flat = (points - SIZE / 2) / FOCAL * DEPTH
    neutral = np.stack([flat[:, 0], -flat[:, 1], np.zeros(68)], 1).astype(np.float32)
    viewmat = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    viewmat[2, 3] = DEPTH
    lips = np.zeros((FRAMES, 512), np.float32)
    lips[:, :8] = (opening[:, None] - 3) / 2
    mattes = np.stack([head, head, np.ones_like(head)]).astype(np.uint8) * 255
    return Puppet(
        frames=frames,
        mattes=np.repeat(mattes[None], FRAMES, 0),
        viewmats=np.repeat(viewmat[None], FRAMES, 0),
        K=np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]], np.float32),
        lips=lips,
        expressions=np.zeros((FRAMES, 52), np.float32),
        landmarks68=np.repeat(points[None], FRAMES, 0),
        silence=np.zeros(FRAMES, bool),
        train=np.arange(4, 32),
        validation=np.arange(32, 40),
        weights=np.ones(FRAMES, np.float32),
        stretches=np.array([[0, FRAMES]]),
        neutral68=neutral,
        init_points=neutral,
    )


def test_training_learns_the_head_and_the_mouth_that_opens(puppet, tmp_path):
    longer = dataclasses.replace(SHORT, canonical_steps=40, deform_steps=110, lr_networks=3e-3)
    seen: list[dict] = []
    model = train_portrait(puppet, longer, tmp_path, report=seen.append)
    looks = [values for values in seen if "psnr_head" in values]
    # The best look: with 28 frames to learn from, later ones are already learnt by heart.
    best = max(looks, key=lambda look: look["psnr_mouth"])
    assert best["psnr_mouth"] > looks[0]["psnr_mouth"] + 2.5
    assert best["psnr_head"] > 23
    assert len(model.canonical) <= longer.max_gaussians
    assert model.condition_samples.std(0)[:32].max() > 0


def test_eyelids_that_seldom_close_learn_to(puppet, tmp_path):
    y, x = np.mgrid[:SIZE, :SIZE]
    eyes = (np.abs(np.abs(x - 32) - 8) < 4) & (np.abs(y - 27) < 3)
    shut = np.arange(FRAMES) % 9 == 5
    frames, expressions = puppet.frames.copy(), puppet.expressions.copy()
    frames[:, eyes] = np.where(shut, 200, 20)[:, None, None]
    expressions[:, list(BLINK)] = np.where(shut, 0.9, 0.1)[:, None]
    blinking = dataclasses.replace(puppet, frames=frames, expressions=expressions)
    seen: list[dict] = []
    longer = dataclasses.replace(
        SHORT, canonical_steps=40, deform_steps=160, lr_networks=2e-3, mix_eyes=0.5, mix_mouth=0.1
    )
    train_portrait(blinking, longer, tmp_path, report=seen.append)
    looks = [values["psnr_lids"] for values in seen if "psnr_lids" in values]
    assert looks[-1] > looks[0] + 3


def test_a_rare_blink_is_measured_by_its_reach(puppet):
    from synctalk.training.stages import portrait_settings

    expressions = puppet.expressions.copy()
    expressions[10, list(BLINK)] = 0.8
    rare = dataclasses.replace(puppet, expressions=expressions)
    fit = Fit(rare, SHORT, portrait_settings(SHORT), TemporalAudioAttention, FacialAwareAttention)
    drivers = fit.model.expression_drivers(torch.from_numpy(expressions[10:11]))
    standard_deviations = 0.8 * (1 - 1 / 28) / expressions[puppet.train, BLINK[0]].std()
    assert float(drivers.amax()) < 0.9 * standard_deviations


def test_a_stopped_run_goes_on_exactly_where_it_stopped(puppet, tmp_path):
    whole = train_portrait(puppet, SHORT, tmp_path / "whole")

    def stop(values: dict) -> None:
        if values["step"] >= 30:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_portrait(puppet, SHORT, tmp_path / "parts", report=stop)
    resumed = train_portrait(puppet, SHORT, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_loss_that_is_not_a_number_brings_back_the_last_good_state(puppet, tmp_path, monkeypatch):
    original, calls = Fit._loss, []

    def sometimes_nan(self, *arguments):
        loss, values = original(self, *arguments)
        calls.append(1)
        return (loss * float("nan"), values) if len(calls) == 33 else (loss, values)

    monkeypatch.setattr(Fit, "_loss", sometimes_nan)
    model = train_portrait(puppet, SHORT, tmp_path)
    assert len(calls) > SHORT.steps
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_training_gives_up_with_a_reason_when_it_diverges_again_and_again(puppet, tmp_path, monkeypatch):
    original = Fit._loss
    monkeypatch.setattr(Fit, "_loss", lambda self, *a: (original(self, *a)[0] * float("nan"), {}))
    with pytest.raises(TrainingError, match="diverged"):
        train_portrait(puppet, SHORT, tmp_path)


def test_the_perceptual_weight_is_reported_and_higher_in_the_second_stage(puppet):
    from synctalk.training.stages import portrait_settings

    fit = Fit(puppet, SHORT, portrait_settings(SHORT), TemporalAudioAttention, FacialAwareAttention)
    weights: dict[int, float] = {}
    while fit.step < SHORT.steps:
        values = fit.advance()
        assert values is not None
        if "perceptual_weight" in values:
            weights[values["stage"]] = values["perceptual_weight"]
    assert weights[2] > weights[1] > 0


def test_the_lip_code_is_kept_small(puppet):
    from synctalk.training.stages import portrait_settings

    sizes = {}
    for weight in (0.0, 0.1):
        training = dataclasses.replace(SHORT, canonical_steps=0, deform_steps=60, code_weight=weight)
        fit = Fit(puppet, training, portrait_settings(training), TemporalAudioAttention, FacialAwareAttention)
        values = [fit.advance() for _ in range(training.steps)]
        sizes[weight] = np.mean([value["code"] for value in values[-20:]])
    assert sizes[0.1] < 0.7 * sizes[0.0]


def test_a_video_without_a_head_is_refused(puppet, tmp_path):
    headless = dataclasses.replace(puppet, mattes=np.zeros_like(puppet.mattes))
    with pytest.raises(TrainingError, match="no head"):
        train_portrait(headless, SHORT, tmp_path)


def test_a_damaged_checkpoint_is_named(puppet, tmp_path):
    (tmp_path / "portrait_checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"portrait_checkpoint\.pt"):
        train_portrait(puppet, SHORT, tmp_path)


def test_attention_windows_end_with_their_stretch():
    windows = attention_windows(12, np.array([[0, 5], [5, 12]]))
    assert windows[4].tolist() == [0, 1, 2, 3, 4, -1, -1, -1]
    assert windows[5].tolist() == [-1, -1, -1, -1, 5, 6, 7, 8]


def test_crops_of_one_kind_have_one_size_and_stay_inside_the_frame(puppet):
    crops = Crops(puppet)
    for kind in ("mouth", "eyes", "patch"):
        for draws in (torch.zeros(2), torch.tensor([0.99, 0.99])):
            sample = crops.sample(3, kind, draws)
            assert sample.target.shape[:2] == sample.matte.shape == (sample.box.height, sample.box.width)
            assert sample.box.x0 >= 0 and sample.box.y1 <= SIZE
            assert sample.camera[0, 2] == puppet.K[0, 2] - sample.box.x0


def test_a_share_of_the_patches_lies_on_the_outline_of_the_head(puppet):
    crops = Crops(puppet, outline_share=0.5)
    crops.patch_size = (2, 2)
    inside = puppet.mattes[3, 1] > 127
    for chance in np.linspace(0, 0.99, 12):
        box = crops.box(3, "patch", torch.tensor([0.4, chance]))
        around = inside[box.y0 - 1 : box.y1 + 1, box.x0 - 1 : box.x1 + 1]
        assert around.any() and not around.all()


def test_pauses_are_drawn_for_the_mouth_as_often_as_asked(puppet):
    from synctalk.training.stages import portrait_settings

    paused = dataclasses.replace(puppet, silence=np.arange(FRAMES) > 24)
    training = dataclasses.replace(SHORT, silent_share=0.4)
    fit = Fit(paused, training, portrait_settings(training), TemporalAudioAttention, FacialAwareAttention)
    chance = fit.frame_chance["mouth"]
    assert float(chance.sum()) == pytest.approx(1)
    assert float(chance[fit.silent[fit.train] >= 1].sum()) == pytest.approx(0.4)


def test_training_goes_on_from_an_earlier_one_and_counts_its_steps(puppet, tmp_path):
    train_portrait(puppet, SHORT, tmp_path / "earlier")
    seen: list[dict] = []
    longer = dataclasses.replace(SHORT, deform_steps=50, validate_every=5)
    train_portrait(puppet, longer, tmp_path / "later", report=seen.append, start_from=tmp_path / "earlier")
    assert min(values["step"] for values in seen) > SHORT.steps
    with pytest.raises(TrainingError, match="start from"):
        train_portrait(puppet, SHORT, tmp_path / "other", start_from=tmp_path / "nothing")


def test_a_checkpoint_from_before_gaussians_moved_with_the_view_goes_on(puppet, tmp_path):
    earlier = train_portrait(puppet, SHORT, tmp_path)
    state = earlier_state(tmp_path)
    state["model"] = {key: value for key, value in state["model"].items() if not MOVES_WITH_VIEW(key)}
    groups = state["optimizer"]["param_groups"]
    last = groups.pop()["params"][0]
    state["optimizer"]["state"].pop(last)
    longer = dataclasses.replace(SHORT, deform_steps=50)
    fit = Fit(puppet, longer, earlier.settings, TemporalAudioAttention, FacialAwareAttention)
    fit.load_state(state)
    assert not fit.model.canonical.shifts.any()
    assert fit.advance() is not None
    assert fit.model.canonical.shifts.shape == (len(fit.model.canonical), 3, 3)


def test_a_checkpoint_of_another_kind_of_portrait_is_named(puppet, tmp_path):
    earlier = train_portrait(puppet, SHORT, tmp_path)
    state = earlier_state(tmp_path)
    state["optimizer"]["param_groups"].pop()
    fit = Fit(puppet, SHORT, earlier.settings, TemporalAudioAttention, FacialAwareAttention)
    with pytest.raises(TrainingError, match="other settings"):
        fit.load_state(state)


def test_a_training_that_goes_on_may_have_more_gaussians_and_learns_faster_again(puppet, tmp_path):
    earlier = train_portrait(puppet, SHORT, tmp_path / "earlier")
    longer = dataclasses.replace(SHORT, deform_steps=80, max_gaussians=1500)
    fit = Fit(puppet, longer, earlier.settings, TemporalAudioAttention, FacialAwareAttention)
    fit.load_state(earlier_state(tmp_path / "earlier"))
    fit.advance()
    begun = fit.optimizer.param_groups[-1]["lr"]
    assert begun == pytest.approx(longer.lr_again * longer.lr_shifts)
    while fit.step < longer.steps:
        assert fit.advance() is not None
    assert len(earlier.canonical) < len(fit.model.canonical) <= 1500
    ended = fit.optimizer.param_groups[-1]["lr"]
    assert longer.lr_end < ended / longer.lr_shifts < 1.3 * longer.lr_end


@pytest.mark.parametrize("predicted", PREDICTED)
def test_each_initialisation_of_table_iv_trains_and_so_do_the_seven_alone(puppet, tmp_path, predicted):
    training = dataclasses.replace(
        SHORT, canonical_steps=12, deform_steps=8, predicted=predicted, core_only=predicted == "none"
    )
    model = train_portrait(puppet, training, tmp_path)
    assert model.settings.predicted == predicted
    assert len(model.settings.upper) == (7 if predicted == "none" else 15)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def canonical(count: int) -> tuple[CanonicalGaussians, torch.optim.Optimizer]:
    gaussians = CanonicalGaussians(count, PortraitSettings(upper=(0,), lower=(1,), predicted="none"))
    with torch.no_grad():
        gaussians.means.normal_()
    optimizer = torch.optim.Adam([{"params": [value]} for value in gaussians.parameters()], lr=0.01)
    gaussians.means.sum().backward()
    optimizer.step()
    return gaussians, optimizer


def test_doubling_keeps_the_centre_of_each_split_gaussian_and_the_optimizer_in_step():
    gaussians, optimizer = canonical(6)
    centre = gaussians.means[2].detach().clone()
    keep, chosen = torch.tensor([0, 2, 3]), torch.tensor([2])
    double(gaussians, optimizer, keep, chosen, torch.Generator().manual_seed(0))
    assert len(gaussians) == 4
    torch.testing.assert_close((gaussians.means[1] + gaussians.means[3]) / 2, centre)
    state = optimizer.state[gaussians.means]
    assert state["exp_avg"].shape == (4, 3) and (state["exp_avg"][3] == 0).all()
    gaussians.means.sum().backward()
    optimizer.step()


def test_pruning_and_splitting_never_pass_the_bound():
    opacity = torch.tensor([0.9, 0.001, 0.9, 0.9, 0.9, 0.9])
    pull = torch.tensor([1.0, 9.0, 5.0, 0.0, 2.0, 3.0])
    keep, chosen = keep_and_split(opacity, torch.full((6, 3), 0.1), pull, 6, 0.02, 0.25)
    assert keep.tolist() == [0, 2, 3, 4, 5]
    assert chosen.tolist() == [2]


def test_loss_watch_waits_until_a_loss_has_settled():
    watch = LossWatch(3.0)
    assert all(watch.healthy("head", loss) for loss in [9.0, *[1.0] * 200])
    assert not all(watch.healthy("head", 50.0) for _ in range(20))
    assert not watch.healthy("mouth", float("nan"))


def test_perceptual_distance_is_zero_for_itself_and_grows_with_blur():
    network = PerceptualLoss()
    picture = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0))
    features = network.features(picture)
    soft = torch.nn.functional.avg_pool2d(picture.permute(2, 0, 1), 3, 1, 1).permute(1, 2, 0)
    mixed = (picture + soft) / 2
    assert network(picture, features) < 1e-6 < network(mixed, features) < network(soft, features)


def test_most_varied_takes_the_extremes():
    conditions = torch.tensor([[0.0], [0.1], [0.2], [5.0], [-5.0]])
    assert set(most_varied(conditions, 2)[:, 0].tolist()) == {5.0, -5.0}
