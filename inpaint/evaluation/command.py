"""What the evaluation command does: check the words of its command line, evaluate, write the report."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from inpaint.backbones import find_backbone
from inpaint.datasets import open_photos
from inpaint.devices import choose_device
from inpaint.evaluation.cases import EvaluationSet, parse_masks
from inpaint.evaluation.export import Manifest, export_cases
from inpaint.evaluation.fills import FillFolder, check_fills
from inpaint.evaluation.methods import parse_methods
from inpaint.evaluation.protocol import evaluate
from inpaint.evaluation.report import markdown, write_report
from inpaint.evaluation.results import results_document
from inpaint.evaluation.schema import Results
from inpaint.evaluation.scoring import MethodError
from inpaint.evaluation.sheet import SheetRow
from inpaint.files import prepare_folder
from inpaint.metrics import FeatureDistance, LpipsAlex, LpipsUnavailableError
from inpaint.plugins import load_plugins
from inpaint.terminal import printable
from inpaint.urls import is_url, source_label


@dataclass(frozen=True)
class Settings:
    """The command line of `inpaint.evaluation.arguments`.

    Attributes:
        images: folder, tar or URL of photos.
        masks: mask recipe, or folder of masks.
        methods: words for `parse_method`, separated by commas.
        output: folder for the report.
        seed: masks are drawn from it and the photo's name.
        size: side of the centre crop in pixels.
        limit: most photos that are taken; None for all.
        device: where models run.
        sheet_rows: photos on the picture sheet.
        lpips: True requires LPIPS, False leaves it out, None takes it where its weights are.
        features: network and weights of the feature distance, such as "squeezenet:FILE".
        export: folder for crops and masks, or None.
        fill_suffix: ends the stems of ready results.
        manifest: of the export that ready results were made from; None looks beside them.
        plugin: plug-ins that models need, see `inpaint.plugins.load_plugins`.
        prog: what the command is called in messages.
    """

    images: str
    masks: str
    methods: str
    output: Path
    seed: int = 0
    size: int = 256
    limit: int | None = None
    device: str = "auto"
    sheet_rows: int = 8
    lpips: bool | None = None
    features: str | None = None
    export: Path | None = None
    fill_suffix: str = ""
    manifest: Path | None = None
    plugin: Sequence[str] = ()
    prog: str = "evaluate.py"


def run(settings: Settings) -> int:
    """Evaluate and write the report; problems are told on stderr.

    Returns:
        The exit code: 0, 1 if a photo or mask was left out, 2 if there is no report, 130 after Ctrl-C.
    """
    try:
        cases = _evaluate(settings)
    except (ValueError, OSError, MethodError, LpipsUnavailableError) as error:
        _say(settings, str(error))
        return 2
    except KeyboardInterrupt:
        _say(settings, "interrupted before the report was written")
        return 130
    for name, reason in cases.skipped.items():
        _say(settings, f"left out {name}: {reason}")
    for name, reason in cases.broken_masks.items():
        _say(settings, f"passed over the mask {name}: {reason}")
    for note in cases.mask_notes:
        _say(settings, f"note: {note}")
    return 1 if cases.skipped or cases.broken_masks else 0


def _evaluate(settings: Settings) -> EvaluationSet:
    """Evaluate and write the report; return the cases, which know what was left out."""
    # First what a typing error can spoil: to open photos and to load models takes long.
    with _naming("--plugin"):
        load_plugins(settings.plugin)
    with _naming("--masks"):
        masks = parse_masks(settings.masks)
    with _naming("--methods"):
        words = parse_methods(word.strip() for word in settings.methods.split(","))
    if settings.features:
        with _naming("--features"):
            find_backbone(settings.features)
    device = str(choose_device(settings.device))
    manifest = Manifest.read(settings.manifest) if settings.manifest else None

    photos = open_photos(settings.images)
    cases = EvaluationSet(photos, masks, settings.seed, settings.size, settings.limit)
    methods = {word.name: word.load(device, settings.fill_suffix) for word in words}
    features = FeatureDistance.load(settings.features, device) if settings.features else None
    lpips, lpips_unavailable = _load_lpips(settings.lpips, device)
    progress = sys.stderr.isatty()
    folders = {name: method for name, method in methods.items() if isinstance(method, FillFolder)}
    check_fills(folders, cases, manifest, progress=progress)
    _prepare(settings.output)
    if settings.export:
        export_cases(cases, settings.export)
    evaluation = evaluate(
        methods,
        cases,
        lpips=lpips,
        feature_distance=features,
        sheet_rows=settings.sheet_rows,
        progress=progress,
    )
    results = results_document(
        evaluation,
        cases,
        images=_name_of(settings.images),
        device=device,
        features={"backbone": features.name, "sha256": features.sha256} if features else None,
        lpips_unavailable=lpips_unavailable,
    )
    _report(settings.output, results, evaluation.rows)
    return cases


@contextlib.contextmanager
def _naming(flag: str) -> Iterator[None]:
    """Put the flag before the message of what is wrong with its value."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(f"{flag}: {error}") from error


def _prepare(output: Path) -> None:
    try:
        prepare_folder(output)
    except OSError as error:
        raise ValueError(
            f"--output {output}: no report can be written there ({error.strerror or error}); "
            "name another folder"
        ) from error


def _report(output: Path, results: Results, rows: list[SheetRow]) -> None:
    """Print the table, then write the report: the numbers are not lost if the disk is full."""
    with contextlib.suppress(BrokenPipeError):
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(markdown(results).encode(encoding, "backslashreplace").decode(encoding))
    try:
        write_report(output, results, rows)
    except OSError as error:
        raise ValueError(
            f"--output {output}: the report cannot be written ({error.strerror or error}); "
            "its table is what was printed"
        ) from error


def _name_of(images: str) -> str:
    """Return what the photos are called in the report; of a URL nothing that may be secret."""
    return PurePosixPath(source_label(images)).name if is_url(images) else Path(images).resolve().name


def _load_lpips(wanted: bool | None, device: str) -> tuple[LpipsAlex | None, str | None]:
    """Return LPIPS, or None and the reason; raise only where LPIPS was asked for by name."""
    if wanted is False:
        return None, "switched off"
    try:
        return LpipsAlex.load(device), None
    except LpipsUnavailableError as error:
        if wanted:
            raise
        return None, str(error)


def _say(settings: Settings, text: str) -> None:
    sys.stderr.write(f"{settings.prog}: {printable(text)}\n")
