#!/usr/bin/env python
"""Count parameters and FLOPs: of each upsampler, and of detectors before and after `use_carafe`.

    python benchmarks/upsampler_cost.py
    python benchmarks/upsampler_cost.py --channels 64
    python benchmarks/upsampler_cost.py --size 800x1333 --output benchmarks/results/cost.md

Nothing is timed: the upsamplers run on a few pixels, the detectors on the `meta` device, which computes
shapes alone. FLOPs are those of `torch.utils.flop_counter`: two for a multiplication and addition, in
convolutions, matrix products and CARAFE; biases, interpolation and sampling count nothing. The formulas
count the same things from the published definitions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from measurement import markdown_table, publish, report
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

from inpaint.compat import use_carafe
from inpaint.layers import UPSAMPLERS, build_upsampler

SCALE, COMPRESSED, ENCODER, UP = 2, 64, 3, 5  # σ, C_m, k_encoder, k_up: the paper's
ROIS = 100  # detections of a picture whose masks are predicted: torchvision's box_detections_per_img

# FLOPs for a location of the input, and parameters, as the CARAFE paper states them for 256 channels. Its
# deconvolution has a 3×3 kernel, the one here 4×4; both have stride 2.
PAPER = {
    "carafe": ("199k", "74k"),
    "nearest": ("0", "0"),
    "bilinear": ("8k", "0"),
    "nearest_conv": ("4.7M", "590k"),
    "bilinear_conv": ("4.7M", "590k"),
    "deconv": ("1.2M", "590k"),
    "pixel_shuffle": ("4.7M", "2.4M"),
    "gum": ("1.1M", "132k"),
    "spatial_attention": ("28k", "2.3k"),
}


def carafe_cost(channels: int) -> tuple[int, int]:
    """Return FLOPs for a location, and parameters: 1×1 compressor, encoder, k_up²·σ² weights reassemble."""
    logits = UP**2 * SCALE**2
    flops = 2 * (channels * COMPRESSED + ENCODER**2 * COMPRESSED * logits + logits * channels)
    return flops, (channels + 1) * COMPRESSED + (ENCODER**2 * COMPRESSED + 1) * logits


def convolution_cost(outputs: int, kernel: int, places: int) -> Callable[[int], tuple[int, int]]:
    """Return the cost of a convolution to `outputs` times the channels, at `places` for a location."""

    def cost(channels: int) -> tuple[int, int]:
        weights = kernel**2 * channels * outputs * channels
        return 2 * weights * places, weights + outputs * channels

    return cost


def gum_cost(channels: int) -> tuple[int, int]:
    """Return the cost of a 1×1 convolution, three 3×3 ones, and one to two offsets for σ² pixels."""
    weights = channels * COMPRESSED + 9 * COMPRESSED * (3 * COMPRESSED + 2 * SCALE**2)
    return 2 * weights, weights + 4 * COMPRESSED + 2 * SCALE**2


def attention_cost(channels: int) -> tuple[int, int]:
    """Return the cost of a 3×3 convolution to one channel, at the σ² pixels of a location."""
    return 2 * 9 * channels * SCALE**2, 9 * channels + 1


def dysample_cost(channels: int) -> tuple[int, int]:
    """Return the cost of a 1×1 convolution to two offsets for four groups and σ² pixels."""
    outputs = 2 * 4 * SCALE**2
    return 2 * channels * outputs, (channels + 1) * outputs


# A deconvolution multiplies every location with all of its kernel.
FORMULAS: dict[str, Callable[[int], tuple[int, int]]] = {
    **dict.fromkeys(("carafe", "carafe_sigmoid", "carafe_sigmoid_normalized"), carafe_cost),
    **dict.fromkeys(("nearest", "bilinear"), lambda channels: (0, 0)),
    **dict.fromkeys(("nearest_conv", "bilinear_conv"), convolution_cost(1, 3, SCALE**2)),
    "deconv": convolution_cost(1, 2 * SCALE, 1),
    "pixel_shuffle": convolution_cost(SCALE**2, 3, 1),
    "gum": gum_cost,
    "spatial_attention": attention_cost,
    "dysample": dysample_cost,
}


def parameters(module: nn.Module) -> int:
    """Return the number of trained and frozen weights."""
    return sum(weight.numel() for weight in module.parameters())


def counted(work: Callable[[], object]) -> int:
    """Return the FLOPs of a call, by torch's counter."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def upsampler_rows(channels: int) -> list[list[str]]:
    """Return a row for each upsampler: its FLOPs for a location and its parameters, and the paper's."""
    rows = []
    features = torch.zeros(1, channels, 6, 5)
    for name in UPSAMPLERS:
        module = build_upsampler(name, channels, SCALE)
        flops = counted(lambda module=module: module(features)) / 30  # type: ignore[misc]
        weights = parameters(module)
        formula = FORMULAS[name](channels)
        if formula != (flops, weights):
            raise SystemExit(
                f"{name}: counted {flops:.0f} FLOPs and {weights} parameters, by formula {formula}"
            )
        paper = PAPER.get(name, ("", "")) if channels == 256 else ("", "")
        rows.append([name, f"{flops:,.0f}", f"{formula[0]:,}", paper[0], f"{weights:,}", paper[1]])
    return rows


def growth_by_formula(size: tuple[int, int], masks: bool) -> int:
    """Return the FLOPs that CARAFE adds: at each level of the pyramid but the finest, and at mask pixels."""
    padded = [-(-side // 32) * 32 for side in size]
    places = sum((padded[0] // stride) * (padded[1] // stride) for stride in (8, 16, 32))
    cost, _ = carafe_cost(256)
    total = cost * places
    if masks:
        deconvolution, _ = convolution_cost(1, 2, 1)(256)
        total += (cost - deconvolution) * ROIS * 14 * 14
    return total


def detector_rows(size: tuple[int, int]) -> list[list[str]]:
    """Return rows for each detector, before and after: parameters, and FLOPs of its parts for one picture."""
    rows = []
    for name, build, masks in (
        ("Faster R-CNN", fasterrcnn_resnet50_fpn, False),
        ("Mask R-CNN", maskrcnn_resnet50_fpn, True),
    ):
        with torch.device("meta"):
            model = build(weights=None, weights_backbone=None).eval()
        before = parameters(model), forward_flops(model, size, masks)
        use_carafe(model)
        after = parameters(model), forward_flops(model, size, masks)
        growth = after[1] - before[1]
        if growth != growth_by_formula(size, masks):
            raise SystemExit(
                f"{name}: counted {growth} FLOPs more, by formula {growth_by_formula(size, masks)}"
            )
        for label, (weights, flops) in (("torchvision's", before), ("with CARAFE", after)):
            rows.append([name, label, f"{weights / 1e6:.3f} M", f"{flops / 1e9:.2f} G"])
        share = f"{(after[1] / before[1] - 1) * 100:+.2f} %"
        rows.append([name, "growth", f"{after[0] - before[0]:+,}", f"{growth / 1e9:+.3f} G ({share})"])
    return rows


def forward_flops(model: FasterRCNN, size: tuple[int, int], masks: bool) -> int:
    """Return the FLOPs of a picture's way through the networks: backbone to proposals, 1000 boxes, 100 masks.

    Between the networks a detector sorts and suppresses boxes, which `meta` cannot, and which is no FLOP
    here.
    """
    height, width = (-(-side // 32) * 32 for side in size)

    def forward() -> None:
        image = torch.zeros(1, 3, height, width, device="meta")
        levels = list(model.backbone(image).values())
        model.rpn.head(levels)
        heads = model.roi_heads
        heads.box_predictor(heads.box_head(torch.zeros(1000, 256, 7, 7, device="meta")))
        if masks:
            heads.mask_predictor(heads.mask_head(torch.zeros(ROIS, 256, 14, 14, device="meta")))

    return counted(forward)


def pixels(text: str) -> tuple[int, int]:
    """Read `800x1333`: height and width."""
    height, width = (int(part) for part in text.split("x"))
    if min(height, width) < 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH of at least 32, for example 800x1333")
    return height, width


def main() -> None:
    """Read the command line, count, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--channels", type=int, default=256, help="of the features (default: %(default)s)")
    parser.add_argument(
        "--size", type=pixels, default=(800, 1333), help="HEIGHTxWIDTH of the picture (default: 800x1333)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the result here too")
    arguments = parser.parse_args()

    upsamplers = markdown_table(
        ["upsampler", "FLOPs a location", "by formula", "paper", "parameters", "paper"],
        upsampler_rows(arguments.channels),
    )
    detectors = markdown_table(
        ["network", "upsampling", "parameters", "FLOPs"], detector_rows(arguments.size), left=2
    )
    height, width = arguments.size
    page = report(
        "The cost of upsampling",
        {
            "upsamplers": f"{arguments.channels} channels, σ = 2; a location is one pixel of the input",
            "detectors": f"ResNet-50 and feature pyramid, one picture of {height}×{width} px padded to "
            f"multiples of 32, 1000 boxes, {ROIS} masks, 91 classes",
            "counted": "two FLOPs for a multiplication and addition, by torch.utils.flop_counter; biases, "
            "interpolation and sampling are 0 there. The script stops where a formula gives another number",
            "paper": "as the CARAFE paper states it for 256 channels, biases and interpolation counted. Its "
            "deconvolution has a 3×3 kernel, this project's 4×4; it lets GUM predict at the size of the "
            "output, this project at that of the input",
        },
        ["## Upsamplers", upsamplers, "## Detectors", detectors],
    )
    publish(page, arguments.output)


if __name__ == "__main__":
    main()
