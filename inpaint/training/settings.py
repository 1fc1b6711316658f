"""The settings of a training run: one dataclass, from which the command line is made.

A field's default and help text stand together; the flag, its type and its parser follow from the annotation
(`inpaint.training.flags`). Settings turn into JSON and back, so that a checkpoint can say what made it.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inpaint.backbones import check_backbone_name
from inpaint.devices import check_device_name
from inpaint.images import MAX_SQUARE
from inpaint.layers import UPSAMPLERS, check_upsampler_settings
from inpaint.losses import LossWeights
from inpaint.networks import CONFIGS
from inpaint.plugins import FLAG_HELP, load_installed, load_parts
from inpaint.training.adversary import AdversarySettings
from inpaint.training.schedule import Schedule

MAX_THREADS = 1024  # far beyond all use: a slip of the keyboard is named

# Names that networks had before; checkpoints of that time have them.
_RENAMED = {"pconv-unet": "partial-conv-unet", "pconv-unet-paper": "partial-conv-unet-paper"}


# The flags for settings of the upsampler, by what a network's configuration calls them.
_UPSAMPLER_SETTINGS = {"up_kernel": "up_kernel", "encoder_kernel": "encoder_kernel", "groups": "up_groups"}

# Small pictures first, several times as many a minute, then the size that is validated.
_DEFAULT_SCHEDULE = Schedule.parse("128x16:6000,256x8:3000")


def _about(text: str, *, free: bool = False) -> dict[str, Any]:
    """Return a field's metadata: its help text, and whether it may differ when a run is resumed."""
    return {"help": text, "free": free}


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a training run. Fields marked `free` do not change the weights it ends with.

    Raises:
        ValueError: a value out of range, or a word that is not known; the message names the setting.
    """

    # What to learn from, and where the results go. When a run is resumed the photos are compared by their
    # names, so that a data set may move to another folder.
    data: tuple[str, ...] = field(
        metadata=_about("photos: a folder, a tar, several tars, or a folder of tars", free=True)
    )
    output: str = field(
        metadata=_about("folder for checkpoints, weights, curves and sample pictures", free=True)
    )

    # Only named here: what imports them is `train`, and never the reading of a checkpoint.
    plugin: tuple[str, ...] = field(
        default=(), metadata={**_about(FLAG_HELP, free=True), "each": "MODULE:OBJECT"}
    )

    # The network.
    network: str = field(default="partial-conv-unet", metadata=_about(f"the network: {', '.join(CONFIGS)}"))
    upsampler: str | None = field(
        default=None,
        metadata=_about(f"the decoder's upsampler, instead of the network's own: {', '.join(UPSAMPLERS)}"),
    )
    up_kernel: int | None = field(
        default=None, metadata=_about("side of the reassembly kernels: of carafe*, 5 where it is not given")
    )
    encoder_kernel: int | None = field(
        default=None,
        metadata=_about(
            "side of the convolutions that predict kernels, offsets or weights: of carafe*, gum and "
            "spatial_attention, 3 where it is not given"
        ),
    )
    up_groups: int | None = field(
        default=None,
        metadata=_about(
            "groups of channels with kernels or offsets of their own: of carafe*, 1 where it is not given, "
            "and dysample, 4"
        ),
    )
    network_config: dict[str, Any] = field(
        default_factory=dict, metadata=_about("JSON that overrides the network's configuration")
    )
    # Fine-tuning keeps weights, and starts optimiser, averaging and schedule anew.
    init: str | None = field(default=None, metadata=_about("weights (.safetensors) to start from", free=True))

    # Holes of 10 to 60 %, mostly strokes: what the evaluation bins ask for. Thin ones have a share of their
    # own, because a network that never saw a scratch is no better at them than diffusion is.
    masks: str = field(
        default="free-form:0.1-0.6*3+box:0.05-0.4*1+thin:0.05-0.2*1", metadata=_about("recipe of the holes")
    )
    # 0 shows the photo's whole shorter side, 1 cuts the square at the photo's own resolution. Beyond 1 it
    # stays there: a fifth of the crops then keep the photo's finest detail.
    crop_scale: tuple[float, float] = field(
        default=(0.0, 1.25), metadata=_about("how far the random crops zoom in: lowest and highest")
    )
    seed: int = field(
        default=0, metadata=_about("fixes initial weights, photos, crops and masks of every step")
    )

    schedule: Schedule = field(
        default=_DEFAULT_SCHEDULE,
        metadata=_about("stages SIZExBATCH:STEPS, comma-separated; BATCH over all processes"),
    )
    # How a batch is shared out, like the number of processes, changes rounding and batch statistics alone.
    accumulate: int = field(
        default=1,
        metadata=_about(
            "parts that each process works through one after another in a step, to save memory", free=True
        ),
    )

    # Where a network begins from a smooth fill, Muon needs a fraction of the pictures. The papers have Adam.
    optimizer: str = field(
        default="adamw", metadata=_about("adamw, or muon = orthogonalised updates for convolution kernels")
    )
    # The rate. 2e-4 is the published rate for these networks at batches of about this size.
    lr: float = field(default=2e-4, metadata=_about("peak learning rate"))
    # Adam's second moments are noise at first; a step at full rate on them can ruin a fresh network.
    warmup: int = field(
        default=500, metadata=_about("steps over which the learning rate rises linearly from 0")
    )
    # The last part of a decay is where averaged weights gain most; it need not reach 0.
    lr_floor: float = field(
        default=0.02, metadata=_about("learning rate at the end, as a fraction of the peak")
    )
    decay_from: float = field(
        default=0.0, metadata=_about("fraction of the run after which the cosine decay begins")
    )
    weight_decay: float = field(
        default=1e-4, metadata=_about("AdamW's decay of weight matrices; biases and norms have none")
    )
    betas: tuple[float, float] = field(
        default=(0.9, 0.99), metadata=_about("AdamW's decay rates of the two moments")
    )
    grad_clip: float = field(default=1.0, metadata=_about("largest norm of the gradient; 0 = no clipping"))
    # The average over about 1/(1 − decay) steps; warmed up as min(decay, (1+t)/(10+t)), so that a short run's
    # average is not dominated by its random start.
    ema_decay: float = field(
        default=0.999,
        metadata=_about("decay of the weights' moving average, which is what is exported; 0 = none"),
    )

    # The second stage of the Partial Conv paper: holes disturb the encoder's batch statistics, so that at the
    # end they are fixed, at a small rate. Networks without batch normalisation get the rate alone.
    finetune_steps: int = field(
        default=0,
        metadata=_about("last steps of the schedule, with the encoder's batch normalisation frozen"),
    )
    finetune_lr: float = field(default=5e-5, metadata=_about("constant learning rate of these last steps"))
    batch_norm: str = field(
        default="own",
        metadata=_about(
            "statistics of batch normalisation: own = each process's part, sync = the batch's (GPUs)"
        ),
    )

    # The objective.
    loss: LossWeights = field(
        default_factory=LossWeights, metadata=_about("loss weights (0 = the term is not computed)")
    )
    adversary: AdversarySettings = field(
        default_factory=AdversarySettings, metadata=_about("adversarial training")
    )
    backbone: str = field(
        default="vgg16",
        metadata=_about("features for the perceptual terms: vgg16, vgg16:FILE or squeezenet:FILE"),
    )

    # The arithmetic. bf16 has float32's range: no loss scaling, and half the memory traffic.
    precision: str = field(default="bf16", metadata=_about("bf16 (autocast) or fp32"))
    # Fuses the passes between the convolutions: a quarter faster on a CPU for a minute's compilation a stage.
    # Sums are then rounded in another order, so it is part of what a resumed run must repeat.
    compile: bool = field(default=False, metadata=_about("compile the network with torch.compile"))
    device: str = field(
        default="auto", metadata=_about("cpu, cuda, cuda:1, or auto = cuda where there is one", free=True)
    )
    threads: int = field(
        default=0, metadata=_about("CPU threads of the network; 0 = torch's choice", free=True)
    )
    workers: int = field(
        default=2, metadata=_about("threads that read and decode photos ahead of the network", free=True)
    )
    cache_gib: float = field(
        default=4.0, metadata=_about("decoded photos to keep in memory, GiB in each process", free=True)
    )

    # Validation by the evaluation protocol, on photos that are not trained on.
    val_data: tuple[str, ...] = field(
        default=(), metadata=_about("validation photos, given as in --data; none = no validation", free=True)
    )
    val_masks: str = field(
        default="free-form:0.1-0.5", metadata=_about("recipe of the validation holes", free=True)
    )
    val_seed: int = field(default=0, metadata=_about("seed of the validation holes", free=True))
    val_size: int = field(
        default=256, metadata=_about("side of the centre crop that is validated", free=True)
    )
    val_count: int = field(
        default=64, metadata=_about("validate on this many photos, spread over the set; 0 = all", free=True)
    )
    val_every: int = field(default=1000, metadata=_about("steps between validations", free=True))
    # Each costs three more fills, in which one part of the network is switched off to measure what it adds.
    probe_count: int = field(
        default=64,
        metadata=_about("probe the network on this many of the validation photos; 0 = none", free=True),
    )

    # Keeping and watching.
    resume: bool = field(
        default=False,
        metadata=_about("go on from the last checkpoint in the output folder, if there is one", free=True),
    )
    checkpoint_every: int = field(
        default=1000, metadata=_about("steps between checkpoints; 0 = none by steps", free=True)
    )
    checkpoint_minutes: float = field(
        default=10.0, metadata=_about("minutes between checkpoints; 0 = none by time", free=True)
    )
    checkpoint_format: str = field(
        default="single",
        metadata=_about(
            "single = one file, sharded = a folder to which each process writes a share", free=True
        ),
    )
    keep: int = field(default=2, metadata=_about("checkpoints to keep", free=True))
    log_every: int = field(default=20, metadata=_about("steps between points of the curves", free=True))
    sample_every: int = field(
        default=1000, metadata=_about("steps between pictures of validation photos; 0 = none", free=True)
    )
    max_minutes: float = field(
        default=0.0,
        metadata=_about("stop with a checkpoint after this many minutes; 0 = no limit", free=True),
    )

    def __post_init__(self) -> None:
        # fmt: off
        minima: dict[int, tuple[str, ...]] = {
            0: ("warmup", "weight_decay", "grad_clip", "threads", "cache_gib", "val_count", "probe_count",
                "sample_every", "checkpoint_every", "checkpoint_minutes", "max_minutes", "finetune_steps"),
            1: ("accumulate", "workers", "val_size", "val_every", "keep", "log_every"),
        }
        # fmt: on
        for minimum, names in minima.items():
            for name in names:
                value = getattr(self, name)
                if not (math.isfinite(value) and value >= minimum):
                    raise ValueError(f"{flag_name(name)} must be at least {minimum}, got {value}")
        maxima = {"threads": MAX_THREADS, "workers": MAX_THREADS, "val_size": MAX_SQUARE}
        for name, maximum in maxima.items():
            if getattr(self, name) > maximum:
                raise ValueError(f"{flag_name(name)} must be at most {maximum}, got {getattr(self, name)}")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"--seed must fit 64 bits, got {self.seed}")
        for name in ("lr", "finetune_lr"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{flag_name(name)} must be positive, got {getattr(self, name)}")
        if self.finetune_steps > self.schedule.steps:
            raise ValueError(
                f"--finetune-steps must be at most the schedule's {self.schedule.steps} steps, "
                f"got {self.finetune_steps}"
            )
        if self.adversary.discriminator != "none" and self.adversary.start >= self.schedule.steps:
            raise ValueError(
                f"--adversary-start {self.adversary.start}: the schedule ends after {self.schedule.steps} "
                "steps, before the loss has the adversarial term; give an earlier one, or "
                "--adversary-discriminator none"
            )
        for name in ("lr_floor", "decay_from", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{flag_name(name)} must lie between 0 and 1, got {getattr(self, name)}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"--betas must be two numbers from 0 to below 1, got {self.betas}")
        if not all(map(math.isfinite, self.crop_scale)) or self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(f"--crop-scale must be two numbers, the lower first, got {self.crop_scale}")
        load_installed("network", self.network)
        if self.upsampler is not None:
            load_installed("upsampler", self.upsampler)
        choices = {
            "network": tuple(CONFIGS),
            "upsampler": (None, *UPSAMPLERS),
            "optimizer": ("adamw", "muon"),
            "precision": ("bf16", "fp32"),
            "batch_norm": ("own", "sync"),
            "checkpoint_format": ("single", "sharded"),
        }
        for name, words in choices.items():
            if getattr(self, name) not in words:
                wanted = ", ".join(filter(None, words))
                raise ValueError(f"{flag_name(name)} must be one of {wanted}, got {getattr(self, name)!r}")
        config = self.built_config()
        load_parts(config)
        for setting, name in _UPSAMPLER_SETTINGS.items():
            if getattr(self, name) is not None:
                try:
                    check_upsampler_settings(config.get("upsampler", "carafe"), [setting])
                except ValueError as error:
                    raise ValueError(f"{flag_name(name)}: {error}") from None
        check_backbone_name(self.backbone)
        check_device_name(self.device)
        if not self.data:
            raise ValueError("--data names no photos")

    def built_config(self) -> dict[str, Any]:
        """Return what `inpaint.networks.build_network` takes: the network's configuration, as overridden."""
        flags = {"upsampler": self.upsampler}
        flags |= {setting: getattr(self, name) for setting, name in _UPSAMPLER_SETTINGS.items()}
        given = {setting: value for setting, value in flags.items() if value is not None}
        return {**CONFIGS[self.network], **self.network_config, **given}

    def same_validation(self, other: TrainSettings) -> bool:
        """Return whether both validate on the same photos and holes, so that their scores compare."""
        names = ("val_data", "val_masks", "val_seed", "val_size", "val_count")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-able values; `settings_from_json` turns them back."""
        return {name: _to_json(getattr(self, name)) for name in self.__dataclass_fields__}


def settings_from_json(values: Mapping[str, Any]) -> TrainSettings:
    """Return the settings that `TrainSettings.to_json` wrote.

    Raises:
        ValueError: there are names of another version among them.
    """
    hints = typing.get_type_hints(TrainSettings)
    unknown = sorted(set(values) - set(hints))
    for name in {"loss", "adversary"} & set(values):
        unknown += sorted(
            f"{name}.{part}" for part in set(values[name]) - set(typing.get_type_hints(hints[name]))
        )
    if unknown:
        raise ValueError(f"unknown settings {', '.join(unknown)}: they were written by another version")
    for name in values.get("loss", {}).get("custom", {}):
        load_installed("loss", name)
    settings = {name: _from_json(hints[name], value) for name, value in values.items()}
    if "network" in settings:
        settings["network"] = _RENAMED.get(settings["network"], settings["network"])
    return TrainSettings(**settings)


def essential_differences(ours: TrainSettings, theirs: TrainSettings) -> list[str]:
    """List the settings that differ and would change the course of the run, one readable line each."""
    lines = []
    for spec in dataclasses.fields(TrainSettings):
        a, b = getattr(ours, spec.name), getattr(theirs, spec.name)
        if a != b and not spec.metadata["free"]:
            lines.append(f"{flag_name(spec.name)}: {_to_json(b)} there, {_to_json(a)} now")
    return lines


def flag_name(name: str) -> str:
    """Return what a setting is called on the command line."""
    return "--" + name.replace("_", "-")


def _to_json(value: Any) -> Any:
    if isinstance(value, Schedule | Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _from_json(hint: Any, value: Any) -> Any:
    if hint is Schedule:
        return Schedule.parse(value)
    if hint in (LossWeights, AdversarySettings):
        return hint(**value)
    return tuple(value) if isinstance(value, list) else value
