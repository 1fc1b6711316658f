"""The shape of results.json, version 1.

Version 1 may gain keys. A change of a key's place, unit or meaning gives the next version. Every key is
always there; a value that cannot be had is null (None), never NaN and never a stand-in number.
"""

from __future__ import annotations

from typing import TypedDict

VERSION = 1
"""The version of the shape, which results.json holds under "version"."""


class Scores(TypedDict):
    """Means over images of one method's scores.

    A score that no image has is null, and an image that lacks a score is left out of its mean.

    Attributes:
        psnr: dB, whole image; never null.
        ssim: -1 to 1, whole image; null for crops below 11 pixels.
        l1: mean absolute error in % of 255, whole image; never null.
        psnr_hole: dB, the hole's pixels; null where no image has a hole.
        l1_hole: % of 255, the hole's pixels; null where no image has a hole.
        detail: the fill's mean |Laplacian| over the truth's, 1 is right; null where no hole is large enough,
            or the truth has no detail there.
        patch_distance: grey levels; null where there is no patch in a hole, or none around it.
        feature_distance: no unit, lower is better; null without a network of features, or for crops that are
            too small for it.
        lpips: no unit, lower is better; null without its weights, or for crops below 31 pixels.
        seconds: wall time of one fill; null for fills that were ready.
        count: number of images, those included that lack a score.
    """

    psnr: float | None
    ssim: float | None
    l1: float | None
    psnr_hole: float | None
    l1_hole: float | None
    detail: float | None
    patch_distance: float | None
    feature_distance: float | None
    lpips: float | None
    seconds: float | None
    count: int


class MethodResults(Scores):
    """A method's scores over all images, and by hole ratio.

    Attributes:
        by_hole_ratio: the same scores by bin, "0.01-0.1" to "0.5-0.6"; bins without an image are left out.
    """

    by_hole_ratio: dict[str, Scores]


class Difference(TypedDict):
    """How much two methods differ in one metric, over the images that have both scores.

    Attributes:
        metric: "psnr" or "feature_distance".
        method: the method whose score is taken.
        over: the method whose score is subtracted.
        mean: mean over the images of the score of `method` less that of `over`.
        interval: [low, high], the 95 % interval of the mean; null for fewer than two images.
        count: number of images.
    """

    metric: str
    method: str
    over: str
    mean: float
    interval: list[float] | None
    count: int


class FeatureNetwork(TypedDict):
    """The network of the feature distance.

    Attributes:
        backbone: its name in torchvision, such as "squeezenet1_1".
        sha256: of its file of weights.
    """

    backbone: str
    sha256: str


class Protocol(TypedDict):
    """Everything that says what was measured, on what, and with what.

    Attributes:
        images: name of the folder or tar of photos.
        image_count: number of images that were scored.
        masks: the mask recipe, or the name of the folder of masks.
        seed: what masks are drawn from, beside the photo's name.
        size: side of the crop in pixels.
        limit: most photos that were to be taken; null for all.
        crop: how crops are cut, in words.
        enlarged: names of photos that were smaller than the crop.
        skipped: photos and shards that were left out: name -> reason.
        broken_masks: masks that could not be read: name -> reason.
        sha256: of the images' names and masks; runs with equal ones filled the same holes.
        metrics: what each metric and convention is, in words.
        truth_patch_distance: mean patch distance of the photos themselves, in grey levels; null where no
            image has one.
        features: the network of the feature distance; null without one.
        features_unavailable: why there is no feature distance; null where there is one.
        lpips_unavailable: why there is no LPIPS; null where there is one.
        device: where models ran: "cpu", "cuda:0".
        date: when the scores were ready, UTC, ISO 8601.
        versions: of the libraries: name -> version.
        threads: CPU threads of torch.
    """

    images: str
    image_count: int
    masks: str
    seed: int
    size: int
    limit: int | None
    crop: str
    enlarged: list[str]
    skipped: dict[str, str]
    broken_masks: dict[str, str]
    sha256: str
    metrics: dict[str, str]
    truth_patch_distance: float | None
    features: FeatureNetwork | None
    features_unavailable: str | None
    lpips_unavailable: str | None
    device: str
    date: str
    versions: dict[str, str]
    threads: int


class Results(TypedDict):
    """What results.json holds.

    Attributes:
        version: of this shape, 1.
        protocol: what was measured.
        methods: scores by method, in the order of the command line.
        differences: every two methods in every compared metric.
    """

    version: int
    protocol: Protocol
    methods: dict[str, MethodResults]
    differences: list[Difference]
