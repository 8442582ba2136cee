"""One optimisation step of the portrait and the state that steps carry along."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synctalk.errors import TrainingError
from synctalk.face_sync.blendshapes import BLINK, EYES_SHUT
from synctalk.half_precision import has_bfloat16
from synctalk.logs import get_logger
from synctalk.portrait.canonical import PER_GAUSSIAN
from synctalk.portrait.model import LIPS_INPUT, Gaussians, PortraitModel, no_shifts
from synctalk.portrait.settings import PortraitSettings
from synctalk.portrait.silence import silence_weights
from synctalk.portrait.splat import dssim, rasterize
from synctalk.training.fitting_crops import (
    EYES,
    HEAD,
    MOUTH,
    PATCH,
    Crops,
    PortraitDataset,
    Sample,
    attention_windows,
    project,
)
from synctalk.training.fitting_density import Density, double, keep_and_split
from synctalk.training.fitting_guard import LossWatch
from synctalk.training.fitting_start import start_canonical, starting_points
from synctalk.training.fitting_voices import other_voice, shut_while_speaking
from synctalk.training.losses import psnr, weighted_l1
from synctalk.training.perceptual import PerceptualLoss
from synctalk.training.perceptual_cache import TargetFeatures

if TYPE_CHECKING:
    from synctalk.training.stages import PortraitTraining

log = get_logger(__name__)
_KINDS = (MOUTH, EYES, HEAD, PATCH)
_MARGIN_PX = 6  # how far outside a crop a Gaussian may rest, beside the way it is known to travel
_ROWS_GRAIN = 512
_MAX_RESTORES = 5
_NOSE_TIP = 30
_RANGE, _SPREADS = (0.005, 0.995), 4  # of a driver: what nearly all frames keep to is four spreads or less
_LEAST_VIEW_SPREAD = 0.02  # one degree: a head that never turns teaches nothing about turning


class Fit:
    """A portrait being trained: model, optimizer, random state, and what the guards remember."""

    def __init__(
        self,
        data: PortraitDataset,
        training: "PortraitTraining",
        settings: PortraitSettings,
        make_temporal: Callable[[], nn.Module],
        make_facial: Callable[..., nn.Module],
    ):
        self.data, self.training = data, training
        self.crops = Crops(data, training.outline_share)
        self.step, self.restores, self.rate = 0, 0, 1.0
        self.begun = 0  # the step at which this training took over from an earlier one
        self.count = int(training.start_fraction * training.max_gaussians)  # Gaussians at that step
        self.generator = torch.Generator().manual_seed(training.seed)
        start = starting_points(data, int(training.start_fraction * training.max_gaussians), self.generator)
        count = len(start.points)
        torch.manual_seed(training.seed)
        facial = make_facial(
            triplane_dim=settings.triplane_dim,
            lip_dim=settings.lower_dim,
            expression_dim=settings.upper_dim,
            hidden_dim=settings.attention_hidden,
            nose_height=float(np.asarray(data.neutral68)[_NOSE_TIP, 1]),
        )
        self.model = PortraitModel(count, settings, make_temporal(), facial)
        start_canonical(self.model.canonical, start, training.predicted == "random", self.generator)
        self.model.deforms.copy_(start.deforms)
        self._measure_drivers()
        self.optimizer = self._optimizer()
        self.density = Density.empty(count)
        self.travel = torch.zeros(count)  # the farthest each has been seen from where it rests
        self.model.half_networks = has_bfloat16()
        self.watch = LossWatch(training.worst_factor)
        self.perceptual = PerceptualLoss()
        self.targets = TargetFeatures(self.perceptual)
        self.windows = attention_windows(len(data.frames), data.stretches)
        self.silent = silence_weights(torch.as_tensor(np.asarray(data.silence, dtype=bool)))
        self.train = np.asarray(data.train, dtype=np.int64)
        self.frame_chance = frame_chances(data, self.model, training.silent_share, training.shut_weight)
        mix = [training.mix_mouth, training.mix_eyes, training.mix_head]
        self.kind_chance = torch.tensor([*mix, 1 - sum(mix)])

    def advance(self) -> dict[str, Any] | None:
        """One step; None when the optimisation went wrong and the last good state must come back."""
        started = time.perf_counter()
        deforming = self.step >= self.training.canonical_steps
        if self.step == self.training.canonical_steps:
            self.watch.forget()
        self._set_rates()
        sample = self._draw()
        background = torch.rand(3, generator=self.generator)
        condition = self._condition(sample.frame, as_heard=False) if deforming else None
        rows = self._rows(sample)
        screen = torch.zeros(len(rows), 2, requires_grad=True)
        gaussians = self.model(sample.viewmat, condition, rows)
        image, alpha = self._draw_gaussians(gaussians, sample, background, screen)
        code = None if condition is None else condition[: self.model.settings.lip_features]
        loss, values = self._loss(sample, image, alpha, background, gaussians, code)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if not self.watch.healthy(sample.kind, float(loss.detach())) or not self._finite():
            return None
        self.optimizer.step()
        self.step += 1
        if gaussians.offsets is not None:
            way = gaussians.offsets.detach().norm(dim=1)
            self.travel[rows] = torch.maximum(0.999 * self.travel[rows], way)
        if screen.grad is not None:
            self.density.add(rows, screen.grad, sample.box.width * sample.box.height)
        self._densify()
        return values | {
            "step": self.step,
            "steps": self.training.steps,
            "stage": 2 if deforming else 1,
            "kind": sample.kind,
            "gaussians": len(self.model.canonical),
            "step_ms": 1000 * (time.perf_counter() - started),
        }

    def validate(self, count: int) -> dict[str, float]:
        """Means over held-out frames, without Portrait-Sync, in dB: `psnr_head` and `psnr_mouth` over `count`
        frames, `psnr_lids` of the eyes over as many at most in which they are shut, if there are any."""
        frames = np.asarray(self.data.validation)
        if not len(frames):
            return {}
        spread = frames[np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int)]
        shown = [self._compare(int(frame)) for frame in spread]
        values = {key: float(np.mean([look[key] for look in shown])) for key in ("psnr_head", "psnr_mouth")}
        lids = np.asarray(self.data.expressions[frames], dtype=np.float32)[:, list(BLINK)].mean(1)
        shut = frames[np.argsort(-lids, kind="stable")[:count]][: int((lids > EYES_SHUT).sum())]
        if len(shut):
            values["psnr_lids"] = float(np.mean([self._compare(int(frame))["psnr_eyes"] for frame in shut]))
        return values

    def _compare(self, frame: int) -> dict[str, float]:
        """`psnr_head`, `psnr_mouth` and `psnr_eyes` of a held-out frame inside its head matte, dB."""
        sample = self.crops.sample(frame, HEAD, torch.zeros(2))
        image, inside = self.picture(frame), (sample.matte > 0.5).float()
        target = sample.target * sample.matte[..., None]
        parts = {
            "psnr_head": inside,
            "psnr_mouth": sample.mouth * inside,
            "psnr_eyes": sample.box.mask(self.crops.eyes_box(frame)) * inside,
        }
        return {key: psnr(image, target, part) for key, part in parts.items()}

    @torch.no_grad()
    def picture(self, frame: int) -> Tensor:
        """The head crop [h,w,3] of a frame by the training path, black around the head."""
        sample = self.crops.sample(frame, HEAD, torch.zeros(2))
        deforming = self.step > self.training.canonical_steps
        gaussians = self.model(sample.viewmat, self._condition(frame) if deforming else None)
        image, _ = self._draw_gaussians(gaussians, sample, torch.zeros(3), None)
        return image.clamp(0, 1)

    @torch.no_grad()
    def finish(self) -> PortraitModel:
        """The trained model, with conditions of varied training frames stored for the inference path."""
        frames = self.train[np.linspace(0, len(self.train) - 1, min(2000, len(self.train))).astype(int)]
        conditions = torch.stack([self._condition(int(frame)) for frame in frames])
        self.model.condition_samples.copy_(most_varied(conditions, len(self.model.condition_samples)))
        return self.model.eval()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "pull": self.density.pull,
            "seen": self.density.seen,
            "travel": self.travel,
            "smooth": self.watch.smooth,
            "step": self.step,
            "begun": self.begun,
            "count": self.count,
            "rate": self.rate,
            "restores": self.restores,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`; raises TrainingError when it belongs to another kind of portrait."""
        state = with_shifts(state)
        count = len(state["model"]["canonical.means"])
        for name in PER_GAUSSIAN:
            old = getattr(self.model.canonical, name)
            setattr(self.model.canonical, name, nn.Parameter(old.new_zeros(count, *old.shape[1:])))
        self.model.deforms = state["model"]["deforms"].clone()
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer = self._optimizer()
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(f"the checkpoint is of a portrait with other settings ({error})") from error
        self._measure_lips()  # the encoder may be a newer one than the checkpoint's
        self._measure_views()
        self.generator.set_state(state["generator"])
        self.density = Density(state["pull"].clone(), state["seen"].clone())
        self.travel = state["travel"].clone()
        self.watch.smooth = {kind: list(values) for kind, values in state["smooth"].items()}
        self.step, self.rate, self.restores = state["step"], state["rate"], state["restores"]
        self.begun, self.count = state.get("begun", 0), state.get("count", self.count)

    def restore(self, good: dict[str, Any]) -> None:
        """Back to a good state with half the learning rate and other random choices."""
        restores, rate = self.restores + 1, self.rate / 2
        if restores > _MAX_RESTORES:
            raise TrainingError(
                f"the portrait diverged {restores} times, last at step {self.step}; "
                "check poses and mattes in the report, or lower the learning rates"
            )
        log.warning("The portrait diverged at step %d; going back to step %d", self.step, good["step"])
        self.load_state(good)
        self.watch.forget()
        self.restores, self.rate = restores, rate
        self.generator.manual_seed(self.training.seed + 1000 * restores)

    def _draw(self) -> Sample:
        kind = _KINDS[int(torch.multinomial(self.kind_chance, 1, generator=self.generator))]
        frame = self.train[int(torch.multinomial(self.frame_chance[kind], 1, generator=self.generator))]
        return self.crops.sample(int(frame), kind, torch.rand(2, generator=self.generator))

    def _condition(self, frame: int, as_heard: bool = True) -> Tensor:
        """Conditions [L+U] of one frame, with the attention window cut at the ends of its stretch.

        With `as_heard` false the sound is changed as if another voice had spoken it.
        """
        window = self.windows[frame]
        lips = torch.zeros(1, len(window), LIPS_INPUT)
        lips[0, torch.from_numpy(window >= 0)] = self._features(window[window >= 0])
        if not as_heard:
            training = self.training
            others = self.train[torch.randint(len(self.train), (16,), generator=self.generator).numpy()]
            lips = other_voice(
                lips, self._features(others), training.lips_noise, training.voice_offset,
                training.lips_dropout, self.generator,
            )  # fmt: skip
        spoken = self.model.temporal.windows(lips)
        spoken = self.model.closed(spoken, self.silent[frame : frame + 1])
        expression = torch.from_numpy(np.array(self.data.expressions[frame : frame + 1], dtype=np.float32))
        return torch.cat([spoken, self.model.expression_drivers(expression)], dim=1)[0]

    def _features(self, frames: NDArray[np.int64]) -> Tensor:
        """Standardised encoder features [n,512] of `frames` [n]."""
        return self.model.standard_lips(torch.from_numpy(np.array(self.data.lips[frames], dtype=np.float32)))

    @torch.no_grad()
    def _rows(self, sample: Sample) -> Tensor:
        """Gaussians [n] that can show in the crop."""
        means = self.model.canonical.means
        if sample.kind == HEAD:
            return torch.arange(len(means))
        pixels, depth = project(means, sample.viewmat, sample.camera)
        extent = 3 * self.model.canonical.scales.amax(1).exp() + self.travel
        reach = extent * sample.camera[0, 0] / depth + _MARGIN_PX
        x, y = pixels.unbind(1)
        inside = (
            (x > -reach) & (x < sample.box.width + reach) & (y > -reach) & (y < sample.box.height + reach)
        )
        rows = torch.nonzero(inside).squeeze(1)
        # Some more that will not show: products of few different shapes are far faster (fused_offsets).
        others = torch.nonzero(~inside).squeeze(1)[: -len(rows) % _ROWS_GRAIN]
        return torch.cat([rows, others])

    def _draw_gaussians(
        self, gaussians: Gaussians, sample: Sample, background: Tensor, screen: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return rasterize(
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            gaussians.colors,
            sample.viewmat,
            sample.camera,
            sample.box.width,
            sample.box.height,
            background,
            screen=screen,
        )

    def _loss(
        self,
        sample: Sample,
        image: Tensor,
        alpha: Tensor,
        background: Tensor,
        gaussians: Gaussians,
        code: Tensor | None,
    ) -> tuple[Tensor, dict[str, float]]:
        """Eq. 22 (stage 1) or, with the lip `code` that drives the Gaussians, Eq. 24 (stage 2)."""
        training = self.training
        target = torch.lerp(background.expand_as(sample.target), sample.target, sample.matte[..., None])
        weight = 1 + (training.lip_weight - 1) * sample.mouth if sample.kind != MOUTH else None
        l1 = weighted_l1(image, target, weight)
        structure = 2 * dssim(image, target)  # 1 - SSIM
        loss = (1 - training.dssim_weight) * l1 + training.dssim_weight * structure
        outline = (alpha - sample.matte).abs().mean()
        loss = loss + training.alpha_weight * outline
        if sample.kind != MOUTH:
            squared = (image - target).square().mean() + (alpha - sample.matte).square().mean()
            loss = loss + training.squared_weight * squared
        values = {
            "l1": float(l1.detach()),
            "dssim": float(structure.detach()),
            "alpha": float(outline.detach()),
        }
        if sample.kind in (MOUTH, EYES) and self.step % training.perceptual_every == 0:
            emphasis = training.perceptual_canonical if code is None else training.perceptual_deform
            features = self.targets.get(sample, target)
            distance = self.perceptual(image, features)
            loss = loss + emphasis * distance
            values |= {"perceptual": float(distance.detach()), "perceptual_weight": emphasis}
        if gaussians.offsets is not None:
            loss = loss + training.offset_weight * gaussians.offsets.abs().mean()
        if code is not None:
            loss = loss + training.code_weight * code.square().mean()
            values["code"] = float(code.detach().square().mean().sqrt())
        return loss, values | {"loss": float(loss.detach())}

    def _densify(self) -> None:
        """Every so often: prune, then split towards the bound on a straight line over the steps."""
        training = self.training
        part = self._part() / training.densify_until
        if self.step % training.densify_every or part > 1:
            return
        canonical = self.model.canonical
        target = self.count + (training.max_gaussians - self.count) * part
        with torch.no_grad():
            at_rest = canonical(self.model.triplane(canonical.means))
            keep, chosen = keep_and_split(
                at_rest.opacities.sigmoid(), at_rest.scales.exp(), self.density.mean(), int(target),
                training.minimum_opacity, training.largest_scale,
            )  # fmt: skip
        double(canonical, self.optimizer, keep, chosen, self.generator)
        self.density = Density.empty(len(canonical))
        self.travel = torch.cat([self.travel[keep], self.travel[chosen]])
        self.model.deforms = torch.cat([self.model.deforms[keep], self.model.deforms[chosen]])

    def _measure_drivers(self) -> None:
        """Mean and spread of the drivers over the training frames."""
        self._measure_lips()
        self._measure_views()
        chosen = list(self.model.settings.lower + self.model.settings.upper)
        values = np.asarray(self.data.expressions)[np.asarray(self.data.train)][:, chosen]
        self.model.expression_mean.copy_(torch.as_tensor(values.mean(0)))
        # A blink is seldom and large: its standard deviation tells little of how far it goes.
        low, high = np.quantile(values, _RANGE, axis=0)
        spread = np.maximum(values.std(0), (high - low) / _SPREADS)
        self.model.expression_std.copy_(torch.as_tensor(np.maximum(spread, 0.03)))

    def _measure_lips(self) -> None:
        """Mean and spread of the encoder's features over the training frames."""
        lips = np.asarray(self.data.lips, dtype=np.float32)[np.asarray(self.data.train)]
        self.model.lips_mean.copy_(torch.as_tensor(lips.mean(0)))
        self.model.lips_std.copy_(torch.as_tensor(np.maximum(lips.std(0), 1e-3 + 0.1 * lips.std())))

    def _measure_views(self) -> None:
        """Mean and spread of the directions from which the training frames see the head."""
        poses = torch.as_tensor(np.asarray(self.data.viewmats, dtype=np.float32)[np.asarray(self.data.train)])
        cameras = -torch.einsum("tij,ti->tj", poses[:, :3, :3], poses[:, :3, 3])
        directions = nn.functional.normalize(cameras, dim=1)
        self.model.view_mean.copy_(directions.mean(0))
        spread = (directions - directions.mean(0)).square().sum(1).mean().sqrt()
        self.model.view_spread.copy_(spread.clamp_min(_LEAST_VIEW_SPREAD))

    def _optimizer(self) -> torch.optim.Optimizer:
        t, canonical, model = self.training, self.model.canonical, self.model
        modules = (canonical.heads, model.deformation, model.temporal, model.facial)
        networks = [parameter for module in modules for parameter in module.parameters()]
        networks.append(model.closed_mouth)
        groups = [
            ([canonical.means], t.lr_means),
            ([canonical.quats], t.lr_quats),
            ([canonical.scales], t.lr_scales),
            ([canonical.opacities], t.lr_opacities),
            ([canonical.sh], t.lr_sh),
            ([*model.triplane.parameters()], t.lr_planes),
            (networks, t.lr_networks),
            ([canonical.shifts], t.lr_shifts),
        ]
        self.base_rates = [rate for _, rate in groups]
        return torch.optim.Adam(
            [{"params": parameters, "lr": rate} for parameters, rate in groups], eps=1e-15, fused=True
        )

    def _set_rates(self) -> None:
        """Learning rates decay exponentially over both stages; positions to a hundredth."""
        start = self.training.lr_again if self.begun else 1.0
        for index, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_rates, strict=True)):
            end = 0.01 if index == 0 else self.training.lr_end
            group["lr"] = base * self.rate * start * (end / start) ** self._part()

    def _part(self) -> float:
        """How much of this training is done, of the steps since it took over from an earlier one."""
        return (self.step - self.begun) / max(self.training.steps - self.begun, 1)

    def _finite(self) -> bool:
        checked = [self.model.canonical.means, *self.model.deformation.parameters()]
        return all(p.grad is None or bool(torch.isfinite(p.grad.sum())) for p in checked)


def with_shifts(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint from before Gaussians moved with the view, as one in which they do not move yet."""
    model, optimizer = state["model"], state["optimizer"]
    if "canonical.shifts" in model:
        return state
    groups = optimizer["param_groups"]
    own = {**groups[0], "params": [1 + max(index for group in groups for index in group["params"])]}
    return {
        **state,
        "model": {**model, **no_shifts(len(model["canonical.means"]))},
        "optimizer": {**optimizer, "param_groups": [*groups, own]},
    }


def most_varied(conditions: Tensor, count: int) -> Tensor:
    """`count` rows of `conditions` [T,C] that lie far from one another (farthest-point choice), [count,C]."""
    chosen = [int((conditions - conditions.mean(0)).norm(dim=1).argmax())]
    distance = (conditions - conditions[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (conditions - conditions[chosen[-1]]).norm(dim=1))
    return conditions[chosen]


def frame_chances(
    data: PortraitDataset, model: PortraitModel, silent_share: float = 0.0, shut_weight: float = 1.0
) -> dict[str, Tensor]:
    """How often each training frame is drawn for each kind of crop, [n] summing to one.

    Blinks are a few percent of a video: eye crops are drawn by the square of how far the most unusual
    driver is from its median, up to eight times as often. Mouths are weighted gently: sound leaves the
    opening partly open to chance, and drawing wide mouths more often would teach to exaggerate. Lips that
    meet in the midst of speech count `shut_weight` times, and at least `silent_share` of the mouth crops are
    pauses, if there are any.
    """
    train = np.asarray(data.train, dtype=np.int64)
    weights = torch.as_tensor(np.asarray(data.weights, dtype=np.float64)[train])
    expressions = torch.as_tensor(np.asarray(data.expressions, dtype=np.float32)[train])
    upper = model.expression_drivers(expressions)[:, len(model.settings.lower) :]
    points = torch.as_tensor(np.asarray(data.landmarks68, dtype=np.float32)[train])
    mouth = (points[:, 48:68] - points[:, 48:68].mean(1, keepdim=True)).flatten(1)
    unusual = (upper - upper.median(0).values).abs().amax(1)
    distance = (mouth - mouth.median(0).values).norm(dim=1)
    chances = dict.fromkeys(_KINDS, weights)
    chances[EYES] = weights * (0.5 + relative(unusual).square().clamp(0, 8))
    chances[MOUTH] = weights * (0.5 + relative(distance).clamp(0, 3.5) / 2)
    shut = shut_while_speaking(points, torch.as_tensor(np.asarray(data.silence, dtype=bool)[train]))
    chances[MOUTH] = torch.where(shut, shut_weight, 1.0) * chances[MOUTH]
    chances = {kind: chance / chance.sum() for kind, chance in chances.items()}
    pause = silence_weights(torch.as_tensor(np.asarray(data.silence, dtype=bool)))[train] >= 1
    share = float(chances[MOUTH][pause].sum())
    if 0 < share < silent_share:
        factor = torch.where(pause, silent_share / share, (1 - silent_share) / (1 - share))
        chances[MOUTH] = chances[MOUTH] * factor
    return chances


def relative(values: Tensor) -> Tensor:
    """Values [n] over their mean, float64."""
    return values.double() / values.double().mean().clamp_min(1e-6)
