"""`use_carafe`: CARAFE in place of the upsampling of networks that were made elsewhere."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork

from inpaint.compat.pyramid import SCALE, channels_of, give_upsamplers, make_upsamplers
from inpaint.layers import CarafeUpsample
from inpaint.ops.memory_format import is_channels_last

_BY_RULE = "torchvision's FeaturePyramidNetwork and the deconvolution of its MaskRCNNPredictor"
_BY_NAME = "nn.Upsample, nn.ConvTranspose2d with a stride, and torchvision's FeaturePyramidNetwork"


@dataclass(frozen=True)
class Replaced:
    """What `use_carafe` has put in the place of what.

    Attributes:
        name: of the module in the model, such as `roi_heads.mask_predictor.conv5_mask`.
        before: what was there.
        after: what is there now.
    """

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class _Change:
    """A new part, ready to be put in: nothing in the model changes before all parts are made."""

    replaced: Replaced
    part: nn.Module
    put_in: Callable[[Any], None]


def use_carafe(
    model: nn.Module, modules: str | Iterable[str] | Mapping[str, int] | None = None, **settings: Any
) -> list[Replaced]:
    """Replace a network's upsampling by CARAFE, in place.

    Without `modules`, two rules say what is replaced, as in the CARAFE paper's detection networks:

    - nearest interpolation in torchvision's `FeaturePyramidNetwork`, which becomes a `CarafeFeaturePyramid`;
    - the 2×2 deconvolution `conv5_mask` of torchvision's `MaskRCNNPredictor`.

    With `modules`, exactly what is named is replaced: each name is that of an `nn.Upsample`, of an
    `nn.ConvTranspose2d` with a stride, of a `FeaturePyramidNetwork`, or of a module that holds such, which
    are then all replaced. Interpolation that a `forward` calls as a function is no module, and stays.

    CARAFE keeps the number of channels. Where a deconvolution changed it, a 1×1 convolution follows CARAFE.

    The new parts have fresh weights, and the device, type and memory format of what is around them; all other
    weights stay the tensors they were. So load pretrained weights before, and make the optimizer, and
    `DistributedDataParallel`, after.

    Args:
        model: the network, such as `torchvision.models.detection.maskrcnn_resnet50_fpn()`.
        modules: names, as in `model.named_modules()`; or a dict from names to numbers of channels, which
            `nn.Upsample` does not know.
        **settings: of `inpaint.layers.CarafeUpsample`: `compressed_channels`, `encoder_kernel`, `up_kernel`,
            `groups`, `normalizer`.

    Returns:
        What was replaced, in the order of the model's modules.

    Raises:
        ValueError: there is nothing to replace, or something that is named cannot be replaced. The model is
            then as it was.

    >>> decoder = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 2, stride=2))
    >>> [replaced] = use_carafe(decoder, modules=["1"], compressed_channels=16)
    >>> print(replaced)
    1: deconvolution 2×2, stride 2, 8 to 4 channels -> CARAFE ×2 of 8 channels, 1×1 convolution to 4
    >>> decoder(torch.zeros(1, 3, 7, 6)).shape
    torch.Size([1, 4, 10, 8])
    """
    _refuse_distributed(model)
    found = dict(_found_by_rule(model) if modules is None else _found_by_name(model, modules))
    if not found:
        raise ValueError(f"use_carafe: nothing to replace: looked for {_BY_RULE}{_already(model)}")
    made: dict[int, nn.Module] = {}  # a module that is in two places is replaced by one that is, too
    changes = []
    for name, (module, channels) in found.items():
        change = _change(model, name, module, channels, settings)
        part = made.setdefault(id(module), change.part)
        changes.append(_Change(change.replaced, part, change.put_in))
    for change in changes:
        change.put_in(change.part)
    return [change.replaced for change in changes]


# ------------------------------------------------------------------------------------------------------------
# What to replace
# ------------------------------------------------------------------------------------------------------------

_Found = Iterator[tuple[str, tuple[nn.Module, int | None]]]  # name, module, channels if the caller said so


def _found_by_rule(model: nn.Module) -> _Found:
    for name, module in model.named_modules(remove_duplicate=False):
        if _is_plain_pyramid(module):
            yield name, (module, None)
        elif isinstance(module, MaskRCNNPredictor) and isinstance(module.conv5_mask, nn.ConvTranspose2d):
            yield f"{name}.conv5_mask".lstrip("."), (module.conv5_mask, None)


def _found_by_name(model: nn.Module, modules: str | Iterable[str] | Mapping[str, int]) -> _Found:
    names = [modules] if isinstance(modules, str) else list(modules)
    if not names:
        raise ValueError("use_carafe: modules names nothing")
    for name in names:
        named = _module(model, name)
        inside = [
            (path, module)
            for path, module in named.named_modules(prefix=name, remove_duplicate=False)
            if _is_replaceable(module)
        ]
        if not inside:
            raise ValueError(
                f"use_carafe: nothing to replace in {name!r}, a {type(named).__name__}: "
                f"looked for {_BY_NAME}{_already(named)}"
            )
        for path, module in inside:
            yield path, (module, modules[name] if isinstance(modules, Mapping) else None)


def _module(model: nn.Module, name: str) -> nn.Module:
    known = dict(model.named_modules(remove_duplicate=False))
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"use_carafe: the model has no module {name!r}{meant}")
    return known[name]


def _is_plain_pyramid(module: nn.Module) -> bool:
    """Return whether a module is torchvision's pyramid itself: a subclass may have a forward of its own."""
    if type(module) is not FeaturePyramidNetwork:
        return False
    inner_blocks: Any = module.inner_blocks
    return len(inner_blocks) > 1


def _is_replaceable(module: nn.Module) -> bool:
    if isinstance(module, nn.ConvTranspose2d):
        return max(module.stride) > 1
    return isinstance(module, nn.Upsample) or _is_plain_pyramid(module)


def _already(module: nn.Module) -> str:
    count = sum(isinstance(part, CarafeUpsample) for part in module.modules())
    return f"; there is CARAFE already, in {count} place{'s' * (count > 1)}" if count else ""


def _refuse_distributed(model: nn.Module) -> None:
    for module in model.modules():
        if any(
            c.__module__.startswith(("torch.distributed", "torch.nn.parallel")) for c in type(module).__mro__
        ):
            raise ValueError(
                f"use_carafe: the model is wrapped in {type(module).__name__} already, which would not know "
                "the new weights; call use_carafe before wrapping"
            )


# ------------------------------------------------------------------------------------------------------------
# What takes its place
# ------------------------------------------------------------------------------------------------------------


def _change(
    model: nn.Module, name: str, module: nn.Module, channels: int | None, settings: dict[str, Any]
) -> _Change:
    """Make what takes a module's place, in the style of what is around it."""
    part: nn.Module
    if isinstance(module, FeaturePyramidNetwork):
        part = make_upsamplers(module, **settings)
        channels = channels_of(module)
        before = f"nearest interpolation between {len(part) + 1} levels of {channels} channels"
        after = f"CARAFE ×{SCALE} of {channels} channels, {len(part)} times"
    elif isinstance(module, nn.ConvTranspose2d):
        part = _in_place_of_deconvolution(name, module, settings)
        kernel = "×".join(map(str, module.kernel_size))
        before = f"deconvolution {kernel}, stride {module.stride[0]}, {_channels_of_deconvolution(module)}"
        after = f"CARAFE ×{module.stride[0]} of {module.in_channels} channels"
        if module.in_channels != module.out_channels:
            after += f", 1×1 convolution to {module.out_channels}"
    else:
        assert isinstance(module, nn.Upsample)
        scale = _scale_of(name, module)
        if channels is None:
            raise ValueError(
                f"use_carafe: {name!r} is an nn.Upsample, which does not know the number of its channels; "
                f"name it with them: modules={{{name!r}: channels}}"
            )
        part = CarafeUpsample(channels, scale, **settings)
        before = f"{module.mode} interpolation ×{scale}"
        after = f"CARAFE ×{scale} of {channels} channels"
    _take_style(part, model, name)
    part.train(module.training)
    return _Change(Replaced(name, before, after), part, _putting_in(model, name, module))


def _putting_in(model: nn.Module, name: str, module: nn.Module) -> Callable[[Any], None]:
    """Return what puts a new part in: upsamplers into a pyramid, or a part into the place of a module."""
    if isinstance(module, FeaturePyramidNetwork):
        return lambda part: give_upsamplers(module, part)
    if module is model:
        raise ValueError(
            f"use_carafe: the model itself is what is to be replaced, a {type(module).__name__}; "
            "pass the module that holds it"
        )
    parent, _, own = name.rpartition(".")
    return lambda part: setattr(model.get_submodule(parent), own, part)


def _in_place_of_deconvolution(name: str, module: nn.ConvTranspose2d, settings: dict[str, Any]) -> nn.Module:
    """Return CARAFE with the stride of a deconvolution, and the 1×1 convolution that may have to follow."""
    scale = module.stride[0]
    growth = []  # it makes stride·size + this many rows, and columns
    for axis in range(2):
        extent = module.dilation[axis] * (module.kernel_size[axis] - 1) + 1
        cut = 2 * int(module.padding[axis]) - module.output_padding[axis]
        growth.append(extent - cut - module.stride[axis])
    if module.stride[0] != module.stride[1] or any(growth):
        raise ValueError(
            f"use_carafe: {name!r}, {module}, does not give {scale} times as many rows and columns as it "
            "takes, which CARAFE does"
        )
    carafe = CarafeUpsample(module.in_channels, scale, **settings)
    if module.in_channels == module.out_channels:
        return carafe
    conv = nn.Conv2d(module.in_channels, module.out_channels, 1, bias=module.bias is not None)
    nn.init.xavier_uniform_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(OrderedDict(carafe=carafe, conv=conv))


def _channels_of_deconvolution(module: nn.ConvTranspose2d) -> str:
    if module.in_channels == module.out_channels:
        return f"{module.in_channels} channels"
    return f"{module.in_channels} to {module.out_channels} channels"


def _scale_of(name: str, module: nn.Upsample) -> int:
    """Return the factor of an `nn.Upsample`, which keeps a number, one for each direction, or None."""
    given: Any = module.scale_factor
    factors = set(given) if isinstance(given, tuple) else {given}
    factor = factors.pop()
    if factors or not factor or factor != int(factor):
        raise ValueError(
            f"use_carafe: {name!r}, {module}, has no whole scale factor, the same for rows and columns, "
            "which CARAFE has"
        )
    return int(factor)


def _take_style(part: nn.Module, model: nn.Module, name: str) -> None:
    """Give a new part the device, type and memory format of the weights nearest to its place.

    Those are the weights of what is replaced, or of the smallest module around it that has some.
    """
    while True:
        weights = [weight for weight in model.get_submodule(name).parameters() if weight.is_floating_point()]
        if weights or not name:
            break
        name = name.rpartition(".")[0]
    if not weights:
        return
    channels_last = any(weight.dim() == 4 and is_channels_last(weight) for weight in weights)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    part.to(weights[0].device, weights[0].dtype)
    part.to(memory_format=layout)
