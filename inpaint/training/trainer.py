"""The training loop.

A run is a pure function of its settings: batches are pure functions of (seed, step), the learning rate of
the step, and everything else is in the checkpoint. So an interrupted and resumed run ends with the same bits
as an uninterrupted one, where the kernels are deterministic (CPU).
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn

from inpaint.backbones import FeatureBackbone
from inpaint.datasets import Batch, PhotoSet, open_photos
from inpaint.losses import InpaintingLoss, composite
from inpaint.networks import Network
from inpaint.networks.probes import kernel_parameters
from inpaint.plugins import describe_plugins, load_plugins
from inpaint.terminal import printable
from inpaint.training.adversary import Adversary, Phase
from inpaint.training.batch_norm import EncoderBatchNorm, synchronized
from inpaint.training.building import build_training_backbone, build_training_network
from inpaint.training.checks import (
    agreed_digest,
    check_adversary,
    check_compiler,
    check_octaves,
    check_sizes,
)
from inpaint.training.data_loader import Batches, DataLoader
from inpaint.training.optimization import MovingAverage, build_optimizer, learning_rate
from inpaint.training.processes.signals import signals_noted
from inpaint.training.processes.world import World, join_world, without_sum
from inpaint.training.results import Results
from inpaint.training.resuming import check_resumable, comparable_best, without_secrets
from inpaint.training.run_log import RunLog
from inpaint.training.saving.checkpoint import Optimizers, save_checkpoint, save_sharded_checkpoint
from inpaint.training.saving.folder import locked
from inpaint.training.saving.output import Output
from inpaint.training.saving.shards import check_sharding
from inpaint.training.settings import TrainSettings
from inpaint.training.stopping import REQUESTS, NonFiniteLossError, Stop
from inpaint.training.validation import build_validator

logger = logging.getLogger("inpaint.training")


def train(settings: TrainSettings) -> Stop:
    """Do the run that `settings` describe, from the start or, with `resume`, from the last checkpoint.

    It leaves in the output folder `checkpoints/`, `last.safetensors` and, with validation, `best.safetensors`
    (averaged weights, float16, config inside), `curves/` and `samples/`.

    Raises:
        ValueError, FileNotFoundError: settings that cannot work.
        CheckpointError: a resume that does not fit.
        OutputError: the output cannot be written.
        LostProcessError: another process ended.
        NonFiniteLossError: the loss or a gradient is NaN or infinite.
    """
    load_plugins(settings.plugin)  # where the settings came from another process
    # The network needs the cores, and photos are already spread over threads by the data loader.
    cv2.setNumThreads(1)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with join_world(settings.device) as world:
        if not world.is_main:
            logger.setLevel(logging.WARNING)
        backbone = build_training_backbone(settings)  # before photos are listed, which may take minutes
        torch.manual_seed(settings.seed)
        photos = world.in_turn(lambda: open_photos(list(settings.data)))
        if photos.broken and world.is_main:
            _warn_of("files cannot be opened and are left out", photos.broken)
        network = build_training_network(settings, world.is_main)
        trainer = Trainer(settings, network, photos, world, backbone)
        trainer.prepare()
        return trainer.run()


class Trainer:
    """One run: network, optimiser, average and loss, and the loop over the schedule.

    The constructor builds and checks, and touches no files. `prepare` makes the output folder ready and goes
    on from its newest checkpoint, if the settings say so. `run` trains.

    Args:
        settings: those of the run.
        network: on any device; it is moved to that of `world`.
        photos: what the network is trained on.
        world: this process and the others.
        backbone: for the perceptual loss terms, where the settings give them a weight.

    Attributes:
        step: number of steps done.
        network: what is trained.
        average: the moving average of its weights.
        adversary: the discriminator in training, if any.
        results: what the run leaves to be used.

    Raises:
        ValueError: settings that do not fit each other, the network, the photos or the processes.
    """

    def __init__(
        self,
        settings: TrainSettings,
        network: Network,
        photos: PhotoSet,
        world: World,
        backbone: FeatureBackbone | None = None,
    ) -> None:
        self.settings = settings
        self.world = world
        self.step = 0
        self._output = Output(Path(settings.output))
        self._trained_seconds = 0.0
        check_compiler(settings, world.device)
        self._octaves = settings.loss.coarser > 0
        check_octaves(settings, network)
        check_sizes(settings, network.stride, world.size)
        if settings.checkpoint_format == "sharded":
            check_sharding()

        self.network = network.to(world.device).to(memory_format=torch.channels_last)
        self.network.train()
        self._parameters = [p for p in self.network.parameters() if p.requires_grad]
        self._kernel_parameters = kernel_parameters(self.network)
        self.optimizer = build_optimizer(self.network, settings)
        self.average = MovingAverage(self.network, settings.ema_decay)
        self.results = Results(self._output.folder, self.average.network)
        if settings.batch_norm == "sync":
            self.network = synchronized(self.network, world.device)
        self._autocast: Callable[[], torch.autocast] = partial(
            torch.autocast, world.device.type, torch.bfloat16, enabled=settings.precision == "bf16"
        )
        # What a checkpoint holds, by the names it is stored under.
        self._modules: dict[str, nn.Module] = {"network": self.network, "average": self.average.network}
        self._optimizers: Optimizers = {"optimizer": (self.optimizer, self.network)}
        self.adversary: Adversary | None = None
        if settings.adversary.discriminator != "none":
            self.adversary = Adversary(settings.adversary, world, self._autocast)
            check_adversary(settings, self.adversary.smallest)
            self._modules["discriminator"] = self.adversary.network
            discriminator = (self.adversary.optimizer, self.adversary.network)
            self._optimizers = {**self._optimizers, "discriminator_optimizer": discriminator}
        self._loss = InpaintingLoss(settings.loss, backbone, self._autocast).to(world.device)
        self._batches = DataLoader(settings, photos, world)
        self._photos_digest = agreed_digest(photos.names, world)
        self._encoder_norm = EncoderBatchNorm(self.network)
        if settings.finetune_steps and not self._encoder_norm:
            logger.info("no batch normalisation in an encoder: fine-tuning changes the learning rate alone")
        self._wrapped = world.wrap(self.network)
        self._model = torch.compile(self._wrapped) if settings.compile else self._wrapped

    def prepare(self) -> None:
        """Begin afresh in an unused output folder, or go on from its newest whole checkpoint.

        Raises:
            CheckpointError: there is an earlier run that is not to be resumed, or its checkpoints do not fit.
            OutputError: nothing can be written there.
        """
        # Read once and passed on: only the main process need see the folder.
        checkpoint = self.world.from_main(lambda: self._output.prepare(self.settings.resume))
        if checkpoint is None:
            return
        check_resumable(checkpoint, self.settings, self.network.config, self._photos_digest)
        checkpoint.restore(self._modules, self._optimizers)
        self.step = checkpoint.state["step"]
        self._trained_seconds = checkpoint.state["trained_seconds"]
        self.results.best = comparable_best(checkpoint, self.settings)
        logger.info("resumed from %s after step %d", checkpoint.path, self.step)

    def run(self) -> Stop:
        """Train until the schedule is done, the time is over or a signal asks to end; then checkpoint.

        To be called after `prepare`.

        Raises:
            NonFiniteLossError: the loss or a gradient is NaN or infinite.
            OutputError: the output cannot be written, or another run writes there.
        """
        schedule = self.settings.schedule
        if self.step >= schedule.steps:
            with self._output.writing():
                self.world.from_main(self._complete_results)
            logger.info("nothing left to do: step %d of %d is done", self.step, schedule.steps)
            return Stop.FINISHED
        if self.settings.val_data:
            self.world.from_main(self._prepare_validation)
        with ExitStack() as stack:
            self.world.from_main(lambda: stack.enter_context(self._output.claimed()))
            with self._output.writing():
                log = RunLog(self._output.folder, schedule, self.step, enabled=self.world.is_main)
            stack.enter_context(closing(log))
            received = stack.enter_context(signals_noted())
            batches = stack.enter_context(closing(self._batches.steps(self.step)))
            stop = self._loop(batches, log, received)
        if stop.is_validated:
            self.results.warn_of_nothing_learnt()
        if broken := self._batches.broken:
            _warn_of("broken files were left out", broken)
        for note in self._batches.mask_notes:
            logger.warning("of the masks that were drawn: %s", printable(note))
        logger.info("stopped after step %d of %d: %s", self.step, schedule.steps, stop.value)
        return stop

    def _loop(self, batches: Batches, log: RunLog, received: list[int]) -> Stop:
        started = self._saved_at = since = time.monotonic()
        stop: Stop | None = None
        for step, stage, batch in batches:
            values = self._train_step(step, batch, lambda: self._requests(received, started))
            self._check_finite(step, values)
            self.step = step + 1
            now = time.monotonic()
            self._trained_seconds, since = self._trained_seconds + now - since, now
            log.advance(step, stage)
            requests = {name: values.pop(name) > 0 for name in REQUESTS}  # of any process, known to all
            stop = self._agreed_stop(requests, received)
            with self._output.writing():
                if self.world.is_main and self.step % self.settings.log_every == 0:
                    log.scalars(self.step, values)
                self._show(log, stop)
                if stop or requests["checkpoint"]:
                    self.save()
            since = time.monotonic()  # what is not training does not count
            if stop:
                break
        assert stop is not None
        return stop

    def _complete_results(self) -> None:
        with locked(self._output.folder):
            self.results.save_last_if_missing(self.step, self._trained_seconds)

    def _prepare_validation(self) -> None:
        self.results.validator = build_validator(
            self.settings, self._batches.photos, self.world.device, self._autocast
        )

    def _show(self, log: RunLog, stop: Stop | None) -> None:
        """Sample pictures and validation, if they are due."""
        every = self.settings.sample_every
        if every and self.step % every == 0:
            self.world.from_main(lambda: self.results.sample(self.step, log))
        if self.step % self.settings.val_every == 0 or (stop and stop.is_validated):
            self.world.from_main(lambda: self.results.validate(self.step, self._trained_seconds, log))

    def _train_step(self, step: int, batch: Batch, requests: Callable[[], list[float]]) -> dict[str, float]:
        """Do one update; return its losses and norms, and the processes' requests, as means over them."""
        phase = self.settings.adversary.phase(step)
        rate = learning_rate(step, self.settings)
        if step >= self.settings.schedule.steps - self.settings.finetune_steps:
            self._encoder_norm.freeze()
        parts = self._batches.parts(batch)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(phase is not Phase.DISCRIMINATOR):
            fills, numbers = self._fill(parts, adversarial=phase is Phase.BOTH)
        if phase is not Phase.DISCRIMINATOR:
            numbers |= self._update_network(step, rate)
        if self.adversary is not None and phase is not Phase.NETWORK:
            for (image, mask), filled in zip(parts, fills, strict=True):
                loss, terms = self.adversary.discriminator_loss(image, filled, mask, step)
                (loss / len(parts)).backward()
                self._add(numbers, terms)
            numbers["gradient/discriminator"] = self.adversary.update(rate / self.settings.lr)
        # The one transfer from the device in a step, after all its work has been queued.
        packed = torch.stack([*numbers.values()])
        packed = torch.cat([packed, packed.new_tensor(requests())])
        values = dict(zip([*numbers, *REQUESTS], self.world.mean(packed).tolist(), strict=True))
        return {**values, "learning_rate": rate}

    def _fill(self, parts: Sequence[Batch], adversarial: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Fill this process's samples, and add the loss's gradients, unless gradients are off.

        Args:
            parts: the samples, in parts that are worked through one after another.
            adversarial: whether the loss has the adversarial term.

        Returns:
            The composites of each part, for the adversary; the loss and its terms.
        """
        fills: list[Tensor] = []
        numbers: dict[str, Tensor] = {}
        for number, (image, mask) in enumerate(parts, 1):
            with nullcontext() if number == len(parts) else without_sum(self._wrapped):
                with self._autocast():
                    # Networks ignore what the hole holds; without the truth there, none can learn to use it.
                    prediction, *coarser = self._predict(self.network.blank(image, mask), mask)
                loss, terms = self._loss(prediction, image, mask, coarser)
                if self.adversary is not None:
                    filled = composite(prediction.float(), image, mask)
                    fills.append(filled.detach())
                    if adversarial:
                        terms["adversarial"] = term = self.adversary.generator_term(filled, mask)
                        loss = loss + self.settings.adversary.weight * term
                if torch.is_grad_enabled():
                    (loss / len(parts)).backward()
            self._add(numbers, {"total": loss, **terms})
        return fills, numbers

    def _predict(self, image: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the prediction and, where the loss has a term for them, those of the coarser octaves."""
        return self._model(image, mask, True) if self._octaves else [self._model(image, mask)]

    def _update_network(self, step: int, rate: float) -> dict[str, Tensor]:
        """Use up the gradients at that learning rate; the norms that they had, as curves name them."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._encoder_norm.drop_gradients()
        norms = {}
        if of_kernels := [p.grad for p in self._kernel_parameters if p.grad is not None]:
            norms["gradient/kernels"] = nn.utils.get_total_norm(of_kernels)  # before all are clipped
        norm = nn.utils.clip_grad_norm_(self._parameters, self.settings.grad_clip or math.inf)
        self.optimizer.step()
        self.average.update(step)
        return {"gradient/norm": norm, **norms}

    def _add(self, numbers: dict[str, Tensor], terms: Mapping[str, Tensor]) -> None:
        """Add a part's terms to the means over the parts, under the names that curves have."""
        for name, value in terms.items():
            key = f"loss/{name}"
            numbers[key] = numbers.get(key, 0) + value.detach() / self.settings.accumulate

    def save(self) -> None:
        """Write a checkpoint of the present state, and the averaged weights as `last.safetensors`.

        To be called in all processes.

        Raises:
            CheckpointError, OSError: it cannot be written; in all processes.
        """
        state: dict[str, Any] = {
            "settings": without_secrets(self.settings).to_json(),
            "config": self.network.config,
            "plugins": describe_plugins(self.network.config, self.settings.loss.custom),
            "photos": self._photos_digest,
            "best": self.results.best,
            "trained_seconds": self._trained_seconds,
        }
        folder, keep = self._output.checkpoints, self.settings.keep
        what = (folder, self.step, self._modules, self._optimizers, state, keep)
        if self.settings.checkpoint_format == "sharded":
            save_sharded_checkpoint(self.world, *what)
        else:
            self.world.from_main(lambda: save_checkpoint(*what))
        self.world.from_main(lambda: self.results.save_last(self.step, self._trained_seconds))
        self._saved_at = time.monotonic()

    def _requests(self, received: list[int], started: float) -> list[float]:
        """Return what this process asks for after the step it is in, as 0 or 1, in the order of REQUESTS."""
        limit = self.settings.max_minutes * 60
        every, minutes = self.settings.checkpoint_every, self.settings.checkpoint_minutes
        now = time.monotonic()
        due = every > 0 and (self.step + 1) % every == 0
        due_by_time = minutes > 0 and now - self._saved_at >= minutes * 60
        return [float(0 < limit <= now - started), float(bool(received)), float(due or due_by_time)]

    def _agreed_stop(self, requests: dict[str, bool], received: list[int]) -> Stop | None:
        """Return why to stop now, if at all: the same in all processes, as the requests were exchanged."""
        if self.step >= self.settings.schedule.steps:
            return Stop.FINISHED
        if requests["signalled"]:
            return Stop.INTERRUPTED if signal.SIGINT in received else Stop.TERMINATED
        return Stop.OUT_OF_TIME if requests["out_of_time"] else None

    def _check_finite(self, step: int, values: dict[str, float]) -> None:
        if all(math.isfinite(value) for value in values.values()):
            return
        listed = ", ".join(
            f"{name} = {value:g}" for name, value in values.items() if name.startswith(("loss", "grad"))
        )
        raise NonFiniteLossError(
            f"the loss or its gradient is not finite at step {step}: {listed}. Nothing was written; "
            f"{self._output.last_checkpoint()}. Going on from it would come to the same: start a run in "
            "another --output with a lower --lr, a longer --warmup or --precision fp32, and to keep what is "
            f"learnt, with --init {self._output.folder / 'last.safetensors'}"
        )


def _warn_of(what: str, broken: Mapping[str, str]) -> None:
    listed = "".join(f"\n  {printable(f'{name}: {reason}')}" for name, reason in broken.items())
    logger.warning("%d %s:%s", len(broken), what, listed)
