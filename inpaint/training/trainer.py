"""The training loop.

A run is a pure function of its settings: batches are pure functions of (seed, step), the learning rate of
the step, and everything else is in the checkpoint. So an interrupted and resumed run ends with the same bits
as an uninterrupted one, where the kernels are deterministic (CPU).
"""

from __future__ import annotations

import enum
import hashlib
import json
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from inpaint.datasets import Batch, PhotoCache, PhotoSet, TrainingBatches, open_photos
from inpaint.losses import InpaintingLoss, build_backbone
from inpaint.training.checkpoint import CheckpointError, list_checkpoints, read_checkpoint, save_checkpoint
from inpaint.training.distributed import World, join_world
from inpaint.training.logging import RunLog
from inpaint.training.optimization import MovingAverage, build_optimizer, learning_rate
from inpaint.training.settings import Stage, TrainSettings, essential_differences, settings_from_json
from inpaint.training.validation import Validator
from inpaint.weights import load_weights, save_weights

logger = logging.getLogger("inpaint.training")

Batches = Generator[tuple[int, Stage, Batch], None, None]


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is NaN or infinite; the message names the step, the terms and the remedy."""


class Stop(enum.Enum):
    """Why a run ended. In every case its state is in a checkpoint."""

    FINISHED = "the schedule is done"
    OUT_OF_TIME = "the time limit is reached"
    INTERRUPTED = "interrupted from the keyboard"
    TERMINATED = "asked to end"


def train(settings: TrainSettings) -> Stop:
    """Do the run that `settings` describe, from the start or, with `resume`, from the last checkpoint.

    Leaves in the output folder `checkpoints/`, `last.safetensors` and, with validation, `best.safetensors`
    (averaged weights, float16, config inside), `curves/` and `samples/`. Raises ValueError and
    FileNotFoundError for settings that cannot work, CheckpointError for a resume that does not fit, and
    NonFiniteLossError.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with join_world(settings.device) as world:
        if not world.is_main:
            logger.setLevel(logging.WARNING)
        torch.manual_seed(settings.seed)
        photos = open_photos(list(settings.data))
        network = build_training_network(settings)
        return Trainer(settings, network, photos, world).run()


def build_training_network(settings: TrainSettings) -> nn.Module:
    """The network of the settings, with fresh weights or those of `init`; ValueError if they do not fit."""
    from inpaint.networks import PRESETS, build_network

    if settings.network not in PRESETS:
        raise ValueError(f"unknown network {settings.network!r}: choose one of {', '.join(sorted(PRESETS))}")
    config = {**PRESETS[settings.network], **settings.network_config}
    if settings.upsampler is not None:
        config["upsampler"] = settings.upsampler
    network = build_network(config)
    if settings.init is not None:
        started, _ = load_weights(settings.init)
        try:
            network.load_state_dict(started.state_dict())
        except RuntimeError as error:
            raise ValueError(
                f"the weights {settings.init} do not fit the network {config}: {error}"
            ) from None
    return network


class Trainer:
    """One run: network, optimiser, average and loss, and the loop over the schedule.

    `network` is any module with `config`, `stride` and `forward(image, mask)` as in `inpaint.networks`;
    `photos` is what it trains on. Resumes in the constructor if the settings say so. Raises as `train` does.
    """

    def __init__(self, settings: TrainSettings, network: nn.Module, photos: PhotoSet, world: World) -> None:
        self.settings = settings
        self.world = world
        self.step = 0  # steps done
        self.best: dict[str, float] | None = None  # best validation so far: psnr, step
        self._output = Path(settings.output)
        self._checkpoints = self._output / "checkpoints"
        self._trained_seconds = 0.0
        self._check_sizes(network)

        self.network = network.to(world.device)
        if settings.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)
        self.network.train()
        self._parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(self.network, settings)
        self.average = MovingAverage(self.network, settings.ema_decay)
        # What a checkpoint holds, by the names it is stored under.
        self._modules = {"network": self.network, "average": self.average.network}
        self._optimizers = {"optimizer": (self.optimizer, self.network)}
        self._autocast: Callable[[], torch.autocast] = partial(
            torch.autocast, world.device.type, torch.bfloat16, enabled=settings.precision == "bf16"
        )
        backbone = build_backbone(settings.backbone) if settings.loss.needs_backbone else None
        self._loss = InpaintingLoss(settings.loss, backbone, self._autocast).to(world.device)
        cache = PhotoCache(photos, int(settings.cache_gib * 2**30))
        self._batches = [self._batches_of(stage, cache) for stage in settings.schedule.stages]
        self._photos_digest = hashlib.sha256("\n".join(photos.names).encode()).hexdigest()
        self._start()
        model = world.wrap(self.network)
        self._model = torch.compile(model) if settings.compile else model
        self._validator: Validator | None = None

    def run(self) -> Stop:
        """Train until the schedule is done, the time is over or a signal asks to end; then checkpoint."""
        schedule = self.settings.schedule
        if self.step >= schedule.steps:
            logger.info("nothing left to do: step %d of %d is done", self.step, schedule.steps)
            return Stop.FINISHED
        if self.world.is_main and self.settings.val_data:
            self._validator = self._build_validator()
        log = RunLog(self._output, schedule, self.step, enabled=self.world.is_main)
        with closing(log), _signals_noted() as received, closing(self._batches_from(self.step)) as batches:
            stop = self._loop(batches, log, received)
        broken = {name: reason for batches in self._batches for name, reason in batches.broken.items()}
        if broken:
            listed = "".join(f"\n  {name}: {reason}" for name, reason in broken.items())
            logger.warning("%d broken files were left out:%s", len(broken), listed)
        logger.info("stopped after step %d of %d: %s", self.step, schedule.steps, stop.value)
        return stop

    def _loop(self, batches: Batches, log: RunLog, received: list[int]) -> Stop:
        settings, started = self.settings, time.monotonic()
        saved_at = since = started
        stop: Stop | None = None
        for step, stage, batch in batches:
            values = self._train_step(step, batch, lambda: self._wishes_to_stop(received, started))
            self._check_finite(step, values)
            self.step = step + 1
            now = time.monotonic()
            self._trained_seconds, since = self._trained_seconds + now - since, now
            log.advance(step, stage)
            stop = self._agreed_stop(values, received)
            if self.world.is_main:
                if self.step % settings.log_every == 0:
                    log.scalars(self.step, values)
                if settings.sample_every and self.step % settings.sample_every == 0:
                    self._sample(log)
                if self.step % settings.val_every == 0 or stop in (Stop.FINISHED, Stop.OUT_OF_TIME):
                    self._validate(log)
                if stop or self._checkpoint_due(saved_at):
                    self.save()
                    saved_at = time.monotonic()
            since = time.monotonic()  # what is not training does not count
            if stop:
                break
        assert stop is not None
        return stop

    def _train_step(self, step: int, batch: Batch, wishes: Callable[[], list[float]]) -> dict[str, float]:
        """One update; the numbers it came to and the wishes to stop, as means over the processes."""
        rate = learning_rate(step, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        image, mask = self._to_device(batch.image), self._to_device(batch.mask)
        with self._autocast():
            # The network ignores the hole by construction; without the truth there, it has no choice.
            prediction = self._model(image * (1 - mask), mask)
        loss, terms = self._loss(prediction, image, mask)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self.settings.grad_clip or math.inf)
        self.optimizer.step()
        self.average.update(step)
        numbers = {"loss/total": loss.detach(), "gradient/norm": norm}
        numbers |= {f"loss/{name}": term for name, term in terms.items()}
        # The one transfer from the device in a step, after all its work has been queued.
        packed = torch.cat([torch.stack([*numbers.values()]), loss.new_tensor(wishes())])
        names = [*numbers, "out_of_time", "signalled"]
        values = dict(zip(names, self.world.mean(packed).tolist(), strict=True))
        return {**values, "learning_rate": rate}

    def save(self) -> Path:
        """Write a checkpoint of the present state, and the averaged weights as `last.safetensors`."""
        state: dict[str, Any] = {
            "settings": self.settings.to_json(),
            "config": dict(self.network.config),  # type: ignore[arg-type]
            "photos": self._photos_digest,
            "best": self.best,
            "trained_seconds": self._trained_seconds,
        }
        path = save_checkpoint(
            self._checkpoints, self.step, self._modules, self._optimizers, state, self.settings.keep
        )
        self._export("last.safetensors")
        return path

    def _start(self) -> None:
        """Begin afresh in an unused folder, or go on from the newest checkpoint."""
        existing = list_checkpoints(self._checkpoints)
        if not self.settings.resume:
            if existing:
                raise CheckpointError(
                    f"{self._checkpoints} holds checkpoints of an earlier run: go on with --resume, or "
                    "give another --output"
                )
            return
        if not existing:
            logger.info("no checkpoint in %s: starting from the beginning", self._checkpoints)
            return
        checkpoint = read_checkpoint(existing[-1][1])
        state = checkpoint.state
        earlier = settings_from_json(state["settings"])
        differences = essential_differences(self.settings, earlier)
        config = json.loads(json.dumps(self.network.config))  # as the checkpoint knows it: lists for tuples
        if state["config"] != config:
            differences.append(f"network: {state['config']} there, {config} now")
        if state["photos"] != self._photos_digest:
            differences.append("--data: other photos than those (their names or order differ)")
        if differences:
            raise CheckpointError(
                f"cannot resume from {checkpoint.path} with other settings; restore these, or start a new "
                "run in another --output (with --init to keep the weights):\n  " + "\n  ".join(differences)
            )
        checkpoint.restore(self._modules, self._optimizers)
        self.step = state["step"]
        # A score on other photos or holes is no mark to beat.
        self.best = state["best"] if self.settings.same_validation(earlier) else None
        self._trained_seconds = state["trained_seconds"]
        logger.info("resumed from %s after step %d", checkpoint.path, self.step)

    def _check_sizes(self, network: nn.Module) -> None:
        stride, stages = int(network.stride), self.settings.schedule.stages  # type: ignore[arg-type]
        sizes = {"--schedule": [stage.size for stage in stages]}
        if self.settings.val_data:
            sizes["--val-size"] = [self.settings.val_size]
        for flag, values in sizes.items():
            unfit = [value for value in values if value % stride]
            if unfit:
                raise ValueError(
                    f"{flag}: sizes must be multiples of the network's stride {stride}, got {unfit}"
                )
        odd = [stage for stage in stages if stage.batch % self.world.size]
        if odd:
            raise ValueError(
                f"--schedule: batches must be multiples of the {self.world.size} processes, got {odd[0]}"
            )

    def _batches_of(self, stage: Stage, photos: PhotoCache) -> TrainingBatches:
        return TrainingBatches(
            photos.photos,
            self.settings.masks,
            stage.size,
            stage.batch,
            self.settings.seed,
            rank=self.world.rank,
            world_size=self.world.size,
            crop_scale=self.settings.crop_scale,
            cache=photos,
        )

    def _batches_from(self, step: int) -> Batches:
        """(step, stage, batch) from `step` to the end of the schedule, decoded ahead of time."""
        end = 0
        for stage, batches in zip(self.settings.schedule.stages, self._batches, strict=True):
            start, end = max(end, step), end + stage.steps
            if start >= end:
                continue
            workers = self.settings.workers
            stream = batches.stream(start, end, threads=workers, ahead=2 * workers + 2)
            for number, batch in enumerate(stream, start):
                yield number, stage, batch

    def _to_device(self, tensor: Tensor) -> Tensor:
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        if self.world.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.world.device, non_blocking=True, memory_format=layout)

    def _wishes_to_stop(self, received: list[int], started: float) -> list[float]:
        limit = self.settings.max_minutes * 60
        return [float(0 < limit <= time.monotonic() - started), float(bool(received))]

    def _agreed_stop(self, values: dict[str, float], received: list[int]) -> Stop | None:
        """The reason to stop now, if any: the same in all processes, since the wishes were exchanged."""
        out_of_time, signalled = values.pop("out_of_time"), values.pop("signalled")
        if self.step >= self.settings.schedule.steps:
            return Stop.FINISHED
        if signalled:
            return Stop.INTERRUPTED if signal.SIGINT in received else Stop.TERMINATED
        return Stop.OUT_OF_TIME if out_of_time else None

    def _check_finite(self, step: int, values: dict[str, float]) -> None:
        if all(math.isfinite(value) for value in values.values()):
            return
        existing = list_checkpoints(self._checkpoints)
        last = f"the last checkpoint is {existing[-1][1]}" if existing else "there is no checkpoint yet"
        listed = ", ".join(
            f"{name} = {value:g}" for name, value in values.items() if name.startswith(("loss", "grad"))
        )
        raise NonFiniteLossError(
            f"the loss or its gradient is not finite at step {step}: {listed}. Nothing was written; {last}. "
            "Try a lower --lr, a longer --warmup or --precision fp32"
        )

    def _checkpoint_due(self, saved_at: float) -> bool:
        every, minutes = self.settings.checkpoint_every, self.settings.checkpoint_minutes
        by_time = minutes > 0 and time.monotonic() - saved_at >= minutes * 60
        return by_time or (every > 0 and self.step % every == 0)

    def _build_validator(self) -> Validator:
        from inpaint.evaluation.protocol import iter_cases

        settings = self.settings
        photos = open_photos(list(settings.val_data))
        limit = settings.val_count or None
        cases = list(iter_cases(photos, settings.val_masks, settings.val_seed, settings.val_size, limit))
        if not cases:
            raise ValueError(f"--val-data {' '.join(settings.val_data)}: no photo could be read")
        validator = Validator(cases, self.world.device, self._autocast)
        logger.info("validation on %d photos; Telea: %s", len(cases), _decibels(validator.telea()))
        return validator

    def _validate(self, log: RunLog) -> None:
        if self._validator is None:
            return
        scores = self._validator.score(self.average.network)
        log.validation(self.step, scores)
        improved = self.best is None or scores["psnr"] > self.best["psnr"]
        if improved:
            self.best = {"psnr": scores["psnr"], "step": self.step}
            self._export("best.safetensors", scores)
        logger.info("step %d: %s%s", self.step, _decibels(scores), " (best so far)" if improved else "")
        log.restart_clock()

    def _sample(self, log: RunLog) -> None:
        if self._validator is not None:
            log.samples(self.step, self._validator.sheet(self.average.network))
            log.restart_clock()

    def _export(self, name: str, scores: dict[str, float] | None = None) -> None:
        facts = {"step": str(self.step), "hours": f"{self._trained_seconds / 3600:.2f}"}
        facts |= {f"validation_{key}": f"{value:.3f}" for key, value in (scores or {}).items()}
        save_weights(self.average.network, self._output / name, metadata=facts)


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM in a list instead of dying from them; a second one takes its usual effect."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python delivers signals to the main thread alone
        return

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])
        logger.warning("%s: finishing this step, then writing a checkpoint", signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _decibels(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f} dB" for name, value in scores.items())
