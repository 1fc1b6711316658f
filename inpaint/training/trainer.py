"""The training loop.

A run is a pure function of its settings: batches are pure functions of (seed, step), the learning rate of
the step, and everything else is in the checkpoint. So an interrupted and resumed run ends with the same bits
as an uninterrupted one, where the kernels are deterministic (CPU).
"""

from __future__ import annotations

import dataclasses
import enum
import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inpaint.backbones import build_backbone
from inpaint.datasets import Batch, PhotoSet, open_photos
from inpaint.datasets.storage import source_label
from inpaint.losses import InpaintingLoss, composite
from inpaint.networks import CONFIGS, Network, build_network
from inpaint.networks.probes import kernel_parameters
from inpaint.terminal import printable
from inpaint.training.adversary import Adversary, Phase
from inpaint.training.batch_norm import EncoderBatchNorm, synchronized
from inpaint.training.checks import (
    agreed_digest,
    check_adversary,
    check_compiler,
    check_octaves,
    check_sizes,
)
from inpaint.training.data_loader import Batches, Feed
from inpaint.training.optimization import MovingAverage, build_optimizer, learning_rate
from inpaint.training.processes.signals import signals_noted
from inpaint.training.processes.world import World, join_world, without_sum
from inpaint.training.results import Results
from inpaint.training.run_log import RunLog
from inpaint.training.saving.checkpoint import (
    Checkpoint,
    CheckpointError,
    Optimizers,
    list_checkpoints,
    read_newest_checkpoint,
    save_checkpoint,
    save_sharded_checkpoint,
)
from inpaint.training.saving.folder import OutputError, locked, prepare_output, remove_leftovers
from inpaint.training.saving.shards import check_sharding
from inpaint.training.settings import TrainSettings, essential_differences, settings_from_json
from inpaint.training.validation import build_validator
from inpaint.weights import WeightsError, load_weights

logger = logging.getLogger("inpaint.training")

# What each process may want after a step, exchanged so that all know.
WISHES = ("out_of_time", "signalled", "checkpoint")


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is NaN or infinite; the message names the step, the terms and the remedy."""


class Stop(enum.Enum):
    """Why a run ended. In every case its state is in a checkpoint."""

    FINISHED = "the schedule is done"
    OUT_OF_TIME = "the time limit is reached"
    INTERRUPTED = "interrupted from the keyboard"
    TERMINATED = "asked to end"


# The ends of a run that come with a validation.
VALIDATED = (Stop.FINISHED, Stop.OUT_OF_TIME)


def train(settings: TrainSettings) -> Stop:
    """Do the run that `settings` describe, from the start or, with `resume`, from the last checkpoint.

    Leaves in the output folder `checkpoints/`, `last.safetensors` and, with validation, `best.safetensors`
    (averaged weights, float16, config inside), `curves/` and `samples/`. Raises ValueError and
    FileNotFoundError for settings that cannot work, CheckpointError for a resume that does not fit,
    OutputError where the output cannot be written, LostProcessError where another process ended, and
    NonFiniteLossError.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with join_world(settings.device) as world:
        if not world.is_main:
            logger.setLevel(logging.WARNING)
        torch.manual_seed(settings.seed)
        photos = world.in_turn(lambda: open_photos(list(settings.data)))
        if photos.broken and world.is_main:
            _warn_of("files cannot be opened and are left out", photos.broken)
        network = build_training_network(settings, world.is_main)
        return Trainer(settings, network, photos, world).run()


def build_training_network(settings: TrainSettings, is_main: bool = True) -> Network:
    """The network of the settings, with fresh weights or those of `init`; ValueError if they do not fit.

    The main process warns of weights that fit, but are of a network with other settings.
    """
    if settings.network not in CONFIGS:
        raise ValueError(f"unknown network {settings.network!r}: choose one of {', '.join(CONFIGS)}")
    config = {**CONFIGS[settings.network], **settings.network_config}
    if settings.upsampler is not None:
        config["upsampler"] = settings.upsampler
    try:
        network = build_network(config)
    except (TypeError, IndexError, RuntimeError) as error:
        raise ValueError(f"--network-config: {config} cannot be built ({error})") from error
    if settings.init is not None:
        differences = _begin_from(network, settings)
        if differences and is_main:
            listed = "".join(f"\n  {line}" for line in differences)
            logger.warning("the weights %s fit, but are of another network:%s", settings.init, listed)
    return network


def _begin_from(network: Network, settings: TrainSettings) -> list[str]:
    """Give the network the weights of `init`; the settings in which theirs differs, a readable line each."""
    try:
        started, _ = load_weights(settings.init or "")
    except WeightsError as error:
        advice = "; a run that is resumed needs no --init" if settings.resume else ""
        raise ValueError(f"--init: {error}{advice}") from error
    ours, theirs = network.config, started.config
    try:
        network.load_state_dict(started.state_dict())
    except RuntimeError as error:
        raise ValueError(f"the weights {settings.init} do not fit the network {ours}: {error}") from None
    # Tensors of the same shapes may be of a network that computes something else with them.
    differing = [name for name in ours if ours[name] != theirs.get(name)]
    return [f"{name}: {theirs.get(name)} there, {ours[name]} now" for name in differing]


class Trainer:
    """One run: network, optimiser, average and loss, and the loop over the schedule.

    `photos` is what the network trains on. Resumes in the constructor if the settings say so. Raises as
    `train` does.
    """

    def __init__(self, settings: TrainSettings, network: Network, photos: PhotoSet, world: World) -> None:
        self.settings = settings
        self.world = world
        self.step = 0  # steps done
        self._output = Path(settings.output)
        self._checkpoints = self._output / "checkpoints"
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
        self.results = Results(self._output, self.average.network)
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
            judge = (self.adversary.optimizer, self.adversary.network)
            self._optimizers = {**self._optimizers, "discriminator_optimizer": judge}
        backbone = build_backbone(settings.backbone) if settings.loss.needs_backbone else None
        self._loss = InpaintingLoss(settings.loss, backbone, self._autocast).to(world.device)
        self._feed = Feed(settings, photos, world)
        self._photos_digest = agreed_digest(photos.names, world)
        self._start()
        self._encoder_norm = EncoderBatchNorm(self.network)
        if settings.finetune_steps and not self._encoder_norm:
            logger.info("no batch normalisation in an encoder: fine-tuning changes the learning rate alone")
        self._wrapped = world.wrap(self.network)
        self._model = torch.compile(self._wrapped) if settings.compile else self._wrapped

    def run(self) -> Stop:
        """Train until the schedule is done, the time is over or a signal asks to end; then checkpoint."""
        schedule = self.settings.schedule
        if self.step >= schedule.steps:
            with self._writing():
                self.world.from_main(self._complete_results)
            logger.info("nothing left to do: step %d of %d is done", self.step, schedule.steps)
            return Stop.FINISHED
        if self.settings.val_data:
            self.world.from_main(self._prepare_validation)
        with ExitStack() as stack:
            self.world.from_main(lambda: self._claim_output(stack))
            with self._writing():
                log = RunLog(self._output, schedule, self.step, enabled=self.world.is_main)
            stack.enter_context(closing(log))
            received = stack.enter_context(signals_noted())
            batches = stack.enter_context(closing(self._feed.steps(self.step)))
            stop = self._loop(batches, log, received)
        if stop in VALIDATED:
            self.results.warn_of_nothing_learnt()
        if broken := self._feed.broken:
            _warn_of("broken files were left out", broken)
        logger.info("stopped after step %d of %d: %s", self.step, schedule.steps, stop.value)
        return stop

    def _loop(self, batches: Batches, log: RunLog, received: list[int]) -> Stop:
        started = self._saved_at = since = time.monotonic()
        stop: Stop | None = None
        for step, stage, batch in batches:
            values = self._train_step(step, batch, lambda: self._wishes(received, started))
            self._check_finite(step, values)
            self.step = step + 1
            now = time.monotonic()
            self._trained_seconds, since = self._trained_seconds + now - since, now
            log.advance(step, stage)
            wishes = {name: values.pop(name) > 0 for name in WISHES}  # of any process, known to all
            stop = self._agreed_stop(wishes, received)
            with self._writing():
                if self.world.is_main and self.step % self.settings.log_every == 0:
                    log.scalars(self.step, values)
                self._show(log, stop)
                if stop or wishes["checkpoint"]:
                    self.save()
            since = time.monotonic()  # what is not training does not count
            if stop:
                break
        assert stop is not None
        return stop

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what the file system refuses into a sentence."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write to {self._output} ({error}); {self._last_checkpoint()}. Make room or permit "
                "writing, then go on with --resume"
            ) from error

    def _prepare_validation(self) -> None:
        self.results.validator = build_validator(
            self.settings, self._feed.photos, self.world.device, self._autocast
        )

    def _show(self, log: RunLog, stop: Stop | None) -> None:
        """Sample pictures and validation, if they are due."""
        every = self.settings.sample_every
        if every and self.step % every == 0:
            self.world.from_main(lambda: self.results.sample(self.step, log))
        if self.step % self.settings.val_every == 0 or stop in VALIDATED:
            self.world.from_main(lambda: self.results.validate(self.step, self._trained_seconds, log))

    def _train_step(self, step: int, batch: Batch, wishes: Callable[[], list[float]]) -> dict[str, float]:
        """One update; the numbers it came to and the wishes of the processes, as means over them."""
        phase = self.settings.adversary.phase(step)
        rate = learning_rate(step, self.settings)
        if step >= self.settings.schedule.steps - self.settings.finetune_steps:
            self._encoder_norm.freeze()
        parts = self._feed.parts(batch)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(phase is not Phase.DISCRIMINATOR):
            fills, numbers = self._fill(parts, charged=phase is Phase.BOTH)
        if phase is not Phase.DISCRIMINATOR:
            numbers |= self._update_network(step, rate)
        if self.adversary is not None and phase is not Phase.NETWORK:
            for (image, mask), filled in zip(parts, fills, strict=True):
                loss, terms = self.adversary.blame(image, filled, mask, step)
                (loss / len(parts)).backward()
                self._add(numbers, terms)
            numbers["gradient/discriminator"] = self.adversary.update(rate / self.settings.lr)
        # The one transfer from the device in a step, after all its work has been queued.
        packed = torch.stack([*numbers.values()])
        packed = torch.cat([packed, packed.new_tensor(wishes())])
        values = dict(zip([*numbers, *WISHES], self.world.mean(packed).tolist(), strict=True))
        return {**values, "learning_rate": rate}

    def _fill(self, parts: Sequence[Batch], charged: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The composites of this process's samples, part by part, for the adversary; the loss and its terms.

        Adds the loss's gradients, unless gradients are off. `charged`: with the adversarial term in the loss.
        """
        fills: list[Tensor] = []
        numbers: dict[str, Tensor] = {}
        for number, (image, mask) in enumerate(parts, 1):
            with nullcontext() if number == len(parts) else without_sum(self._wrapped):
                with self._autocast():
                    # The network ignores the hole by construction; without the truth there, it has no choice.
                    prediction, *coarser = self._predict(self.network.blank(image, mask), mask)
                loss, terms = self._loss(prediction, image, mask, coarser)
                if self.adversary is not None:
                    filled = composite(prediction.float(), image, mask)
                    fills.append(filled.detach())
                    if charged:
                        terms["adversarial"] = term = self.adversary.charge(filled, mask)
                        loss = loss + self.settings.adversary.weight * term
                if torch.is_grad_enabled():
                    (loss / len(parts)).backward()
            self._add(numbers, {"total": loss, **terms})
        return fills, numbers

    def _predict(self, image: Tensor, mask: Tensor) -> list[Tensor]:
        """The prediction and, where they are charged for, those of the coarser octaves."""
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

        To be called in all processes; raises in all CheckpointError or, from the file system, OSError.
        """
        state: dict[str, Any] = {
            "settings": _without_secrets(self.settings).to_json(),
            "config": self.network.config,
            "photos": self._photos_digest,
            "best": self.results.best,
            "trained_seconds": self._trained_seconds,
        }
        what = (self._checkpoints, self.step, self._modules, self._optimizers, state, self.settings.keep)
        if self.settings.checkpoint_format == "sharded":
            save_sharded_checkpoint(self.world, *what)
        else:
            self.world.from_main(lambda: save_checkpoint(*what))
        self.world.from_main(lambda: self.results.save_last(self.step, self._trained_seconds))
        self._saved_at = time.monotonic()

    def _start(self) -> None:
        """Begin afresh in an unused folder, or go on from the newest whole checkpoint."""
        # Read once and passed on: only the main process need see the folder.
        checkpoint = self.world.from_main(self._open_output)
        if checkpoint is not None:
            self._go_on_from(checkpoint)

    def _open_output(self) -> Checkpoint | None:
        prepare_output(self._output)
        if list_checkpoints(self._checkpoints) and not self.settings.resume:
            raise CheckpointError(
                f"{self._checkpoints} holds checkpoints of an earlier run: go on with --resume, or "
                "give another --output"
            )
        with locked(self._output):
            for folder in (self._output, self._checkpoints):
                remove_leftovers(folder)
            checkpoint = read_newest_checkpoint(self._checkpoints) if self.settings.resume else None
            self._known_checkpoints = list_checkpoints(self._checkpoints)
        if checkpoint is None and self.settings.resume:
            logger.info("no checkpoint in %s: starting from the beginning", self._checkpoints)
        return checkpoint

    def _claim_output(self, stack: ExitStack) -> None:
        """Keep other runs out from now on; OutputError if one has been there since the start."""
        stack.enter_context(locked(self._output))
        if list_checkpoints(self._checkpoints) != self._known_checkpoints:
            raise OutputError(
                f"--output {self._output}: another run has written there meanwhile; go on from what it left "
                "with --resume, or name another folder"
            )

    def _complete_results(self) -> None:
        with locked(self._output):
            self.results.save_last_if_missing(self.step, self._trained_seconds)

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
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
        comparable = _without_secrets(self.settings).same_validation(earlier)
        self.results.best = state["best"] if comparable else None
        self._trained_seconds = state["trained_seconds"]
        logger.info("resumed from %s after step %d", checkpoint.path, self.step)

    def _wishes(self, received: list[int], started: float) -> list[float]:
        """What this process wants after the step it is in, as 0 or 1, in the order of WISHES."""
        limit = self.settings.max_minutes * 60
        every, minutes = self.settings.checkpoint_every, self.settings.checkpoint_minutes
        now = time.monotonic()
        due = every > 0 and (self.step + 1) % every == 0
        due_by_time = minutes > 0 and now - self._saved_at >= minutes * 60
        return [float(0 < limit <= now - started), float(bool(received)), float(due or due_by_time)]

    def _agreed_stop(self, wishes: dict[str, bool], received: list[int]) -> Stop | None:
        """The reason to stop now, if any: in all processes or in none, since the wishes were exchanged."""
        if self.step >= self.settings.schedule.steps:
            return Stop.FINISHED
        if wishes["signalled"]:
            return Stop.INTERRUPTED if signal.SIGINT in received else Stop.TERMINATED
        return Stop.OUT_OF_TIME if wishes["out_of_time"] else None

    def _check_finite(self, step: int, values: dict[str, float]) -> None:
        if all(math.isfinite(value) for value in values.values()):
            return
        listed = ", ".join(
            f"{name} = {value:g}" for name, value in values.items() if name.startswith(("loss", "grad"))
        )
        raise NonFiniteLossError(
            f"the loss or its gradient is not finite at step {step}: {listed}. Nothing was written; "
            f"{self._last_checkpoint()}. Going on from it would come to the same: start a run in another "
            "--output with a lower --lr, a longer --warmup or --precision fp32, and to keep what is learnt, "
            f"with --init {self._output / 'last.safetensors'}"
        )

    def _last_checkpoint(self) -> str:
        existing = list_checkpoints(self._checkpoints)
        return f"the last checkpoint is {existing[-1][1]}" if existing else "there is no checkpoint yet"


def _without_secrets(settings: TrainSettings) -> TrainSettings:
    """The settings as checkpoints show them: URLs may be signed."""
    data, val_data = (tuple(map(source_label, sources)) for sources in (settings.data, settings.val_data))
    return dataclasses.replace(settings, data=data, val_data=val_data)


def _warn_of(what: str, broken: Mapping[str, str]) -> None:
    listed = "".join(f"\n  {printable(f'{name}: {reason}')}" for name, reason in broken.items())
    logger.warning("%d %s:%s", len(broken), what, listed)
