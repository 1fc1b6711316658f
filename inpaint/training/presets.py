"""Whole training runs by name: what `train.py --preset NAME` sets, each in a few lines.

A flag on the command line overrides the preset, and the preset a setting's default. Lengths are
for one GPU or several, `pconv-carafe`'s for a night on a laptop, too; on a CPU give the others
`--schedule 128x16:6000,256x8:3000` or so, and the papers' second stages or phases to match:
`--finetune-steps 2000`, `--adversary-start 3000 --adversary-alone 300`.
"""

from __future__ import annotations

from typing import Any

# Per-pixel terms alone: no ImageNet network is needed.
_PIXELS = {"perceptual": 0.0, "style": 0.0, "tv": 0.0}
_HOLES = "free-form:0.1-0.5*6+thin:0.05-0.2*2+box:0.05-0.3*1"
# As people paint them: wide strokes, boxes, whole objects, and a few scratches.
_WIDE_HOLES = "free-form:0.1-0.5*3+object:0.05-0.4*2+box:0.05-0.4*2+thin:0.05-0.2*1"

PRESETS: dict[str, dict[str, Any]] = {
    # The released model: the highest PSNR. Small pictures are enough, because all octaves share their
    # weights; some of twice the size come at the end.
    "pconv-carafe": {
        "network": "pyramid-unet",
        "schedule": "64x32:30000,128x8:4000",
        "masks": _WIDE_HOLES,
        "optimizer": "muon",
        "lr": 2e-3,
        "warmup": 200,
        "loss": {**_PIXELS, "valid": 0.0, "hole": 2.0, "log_mse": 0.4, "coarser": 0.5},
    },
    # Finishes a network of the preset above, given as --init, against a patch discriminator: sharper wide
    # holes for some of the PSNR. The feature term keeps fills like photos: without it, and with a
    # weight of 0.02, they showed a woven pattern. Needs SqueezeNet's weights (--backbone).
    "pconv-carafe-sharp": {
        "network": "pyramid-unet",
        "schedule": "128x8:3500",
        "masks": _WIDE_HOLES,
        "lr": 1e-4,
        "warmup": 50,
        "ema_decay": 0.995,
        "loss": {**_PIXELS, "valid": 0.1, "hole": 2.0, "perceptual": 0.1},
        "backbone": "squeezenet",
        "adversary": {"discriminator": "patch", "weight": 0.015, "lr": 2e-4, "start": 150, "alone": 150},
    },
    # Liu et al., ECCV 2018: the paper's layers with CARAFE, its weights of the terms, and its two stages:
    # batch normalisation in the encoder is frozen in the second. Needs VGG16 (--backbone). Lengths as in
    # mmagic. Not in the paper: the warm-up, the clipped gradient, and the weights' average that is kept.
    "pconv-paper": {
        "network": "partial-conv-unet-paper",
        "schedule": "256x16:1300000",
        "masks": "free-form:0.01-0.6",
        "lr": 2e-4,
        "lr_floor": 1.0,
        "finetune_steps": 500_000,
        "finetune_lr": 5e-5,
        "weight_decay": 0.0,
        "betas": (0.9, 0.999),
    },
    # Global&Local in one phase: hinge loss, spectral normalisation, R1, both discriminators from the start.
    # A trial of a hundredth of this length painted stripes into wide holes, fewer of them with
    # --loss-perceptual 0.1; how it ends is not known (benchmarks/results/global_local_adversarial_...).
    "gl-carafe": {
        "network": "global-local",
        "schedule": "128x32:50000,256x16:100000",
        "masks": _HOLES,
        "lr": 2e-4,
        "loss": {**_PIXELS, "valid": 1.0, "hole": 6.0},
        "adversary": {"discriminator": "global-local", "weight": 0.02},
    },
    # Iizuka et al., SIGGRAPH 2017: the completion network alone, the discriminators alone, then both, and one
    # rectangle for a hole. Its deconvolutions; --upsampler carafe takes their place. Not in the paper,
    # besides what pconv-paper names: Adam for AdaDelta, spectral for batch normalisation in the
    # discriminators, and the generator's loss -log D for its log(1 - D), whose gradient vanishes where
    # the discriminator is sure.
    "gl-paper": {
        "network": "global-local-paper",
        "schedule": "256x96:500000",
        "masks": "box:0.14-0.25",
        "lr": 2e-4,
        "lr_floor": 1.0,
        "loss": {**_PIXELS, "valid": 0.0, "hole": 0.0, "hole_mse": 1.0},
        "adversary": {
            "discriminator": "global-local",
            "kernel_size": 5,
            "objective": "bce",
            "weight": 4e-4,
            "r1": 0.0,
            "start": 100_000,
            "alone": 10_000,
        },
    },
}
