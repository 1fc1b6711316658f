#!/usr/bin/env python
"""Train Global&Local and Partial Conv with each upsampler, equally long on equal pictures and holes; compare.

    python benchmarks/ablation.py run --data photos/train-*.tar --val-data photos/val.tar --minutes 75
    python benchmarks/ablation.py run --data ... --val-data ... --only 'partial-conv.bilinear.*'
    python benchmarks/ablation.py run --data ... --val-data ... --plugin my_module:register --only '*.mine.*'
    python benchmarks/ablation.py table --output benchmarks/results/ablation.md

`run` trains through train.py, one network after the other, the comparisons that matter first. It goes on from
what is there: a run that was stopped resumes from its checkpoint in --work, a finished one has its scores in
--scores and is not repeated. Several may share the work: each run is done by one of them. `table` prints what
the scores say so far, and times the training steps of all networks in turns. Upsamplers of plug-ins
(docs/plugins.md) take part where the plug-in is named.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from measurement import interleaved_medians, markdown_table, processor, publish, report
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from training_step import random_batch, training_step

from inpaint.datasets import open_photos
from inpaint.evaluation import METHODS, EvaluationSet, evaluate
from inpaint.files import write_atomically
from inpaint.inference import Inpainter
from inpaint.layers import UPSAMPLERS
from inpaint.networks import CONFIGS, build_network
from inpaint.plugins import add_plugin_flag, load_parts, load_plugins
from inpaint.weights import load_weights, read_metadata

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Budget:
    """How large the networks are and how long they train: the same for every upsampler."""

    schedule: str
    # The name in the table -> a preset of inpaint.networks, and what is changed in it.
    networks: dict[str, tuple[str, dict[str, Any]]]
    settings: tuple[str, ...]  # flags of train.py
    size: int  # of the pictures that are scored
    seeds: tuple[int, ...] = (0, 1, 2)


# Pixel terms alone: what the scores measure. Adversarial terms make pictures sharper and scores noisier.
_PIXEL_TERMS = ("--loss-perceptual", "0", "--loss-style", "0", "--loss-tv", "0")
_MASKS = "free-form:0.1-0.5"
_BASELINES = ("telea", "ns", "biharmonic", "harmonic")  # those that every machine has
BUDGETS = {
    # About 17 minutes a run on one core.
    "cpu": Budget(
        schedule="128x8:3000",
        networks={
            "Global&Local": ("global-local-paper", {"width": 32, "compressed_channels": 32}),
            "Partial Conv": (
                "partial-conv-unet-paper",
                {"widths": [32, 64, 128, 256, 256], "head_width": 32, "compressed_share": 0.5},
            ),
        },
        settings=("--lr", "5e-4", "--warmup", "200", "--masks", _MASKS, *_PIXEL_TERMS),
        size=128,
    ),
    # The published sizes, for a GPU.
    "gpu": Budget(
        schedule="256x32:100000",
        networks={
            "Global&Local": ("global-local-paper", {}),
            "Partial Conv": ("partial-conv-unet-paper", {}),
        },
        settings=("--lr", "5e-4", "--warmup", "2000", "--masks", _MASKS, *_PIXEL_TERMS),
        size=256,
    ),
}

# Deconvolution is Global&Local's own upsampler, nearest is Partial Conv's.
FIRST = ("carafe", "deconv", "nearest")
BASELINE = {"Global&Local": "deconv", "Partial Conv": "nearest"}

# Wang et al., CARAFE, ICCV 2019, table 6, on Places: L1 in % and PSNR in dB.
PAPER = {
    ("Global&Local", "deconv"): (6.78, 19.58),
    ("Global&Local", "carafe"): (6.00, 20.71),
    ("Partial Conv", "nearest"): (5.96, 20.78),
    ("Partial Conv", "carafe"): (5.72, 20.98),
}


@dataclass(frozen=True)
class Run:
    """One network to train."""

    network: str
    upsampler: str
    seed: int

    @property
    def name(self) -> str:
        """What its folder and its scores are called."""
        return f"{self.network.lower().replace('&', '-').replace(' ', '-')}.{self.upsampler}.{self.seed}"


def runs_of(budget: Budget) -> list[Run]:
    """All runs, in the order of what they tell."""
    others = [name for name in UPSAMPLERS if name not in FIRST]
    first, *more = budget.seeds
    return [
        *(Run(n, u, s) for s in budget.seeds for n in budget.networks for u in FIRST),
        *(Run(n, u, first) for n in budget.networks for u in others),
        *(Run(n, u, s) for s in more for n in budget.networks for u in others),
    ]


def config_of(budget: Budget, network: str, upsampler: str) -> dict[str, Any]:
    """Return what `build_network` takes."""
    preset, changes = budget.networks[network]
    return {**CONFIGS[preset], **changes, "upsampler": upsampler}


# ------------------------------------------------------------------------------------------------------------
# Training
# ------------------------------------------------------------------------------------------------------------


def run_all(arguments: argparse.Namespace) -> int:
    """Train and score what is left, until all is done or the time is over."""
    budget = BUDGETS[arguments.budget]
    finished_runs(budget, arguments.scores)  # of another budget, they would pass for done
    started, failed = time.monotonic(), 0
    runs = [run for run in runs_of(budget) if any(fnmatch(run.name, only) for only in arguments.only)]
    if not runs:
        raise ValueError(f"--only: there is no run {' '.join(arguments.only)}")
    for run in runs:
        scores = arguments.scores / f"{run.name}.json"
        with claimed(arguments.work / run.name) as is_ours:
            if not is_ours or scores.exists():
                continue
            left = arguments.minutes - (time.monotonic() - started) / 60
            if left < 1:
                print("the time is over; the same command goes on")
                return 0
            print(f"{run.name}: training", flush=True)
            try:
                finished = train(run, budget, arguments, left)
            except subprocess.CalledProcessError as error:
                log = arguments.work / run.name / "log.txt"
                print(
                    f"{run.name}: train.py ended with {error.returncode}, {log} says why; going on",
                    flush=True,
                )
                failed += 1
                continue
            if not finished:
                print(f"{run.name}: stopped before its end; the same command goes on")
                return 0
            record = score(run, budget, arguments)
            arguments.scores.mkdir(parents=True, exist_ok=True)
            write_atomically(scores, (json.dumps(record, indent=1) + "\n").encode())
            print(f"{run.name}: {record['scores']['psnr']:.3f} dB", flush=True)
    return min(failed, 1)


def finished_runs(budget: Budget, folder: Path) -> list[dict[str, Any]]:
    """Return the records in `folder`; raise ValueError where one is not of this budget."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for record in records:
        network, upsampler = record["network"], record["upsampler"]
        load_parts({"upsampler": upsampler}, record.get("plugins", ""))
        config = json.loads(json.dumps(build_network(config_of(budget, network, upsampler)).config))
        made = (record["schedule"], record["settings"], record["config"])
        if made != (budget.schedule, " ".join(budget.settings), config):
            raise ValueError(
                f"{folder}: the scores of {network} with {upsampler} are of another budget; "
                "give another --scores"
            )
    return records


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether this process alone works in the folder; the claim ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "claim").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def train(run: Run, budget: Budget, arguments: argparse.Namespace, minutes: float) -> bool:
    """Train to the end or until the time is over; whether the end was reached."""
    output = arguments.work / run.name
    preset, changes = budget.networks[run.network]
    command = [sys.executable, str(ROOT / "train.py"), "--resume", "--output", str(output)]
    command += ["--data", *arguments.data, "--schedule", budget.schedule, "--seed", str(run.seed)]
    command += [f"--plugin={word}" for word in arguments.plugin]
    command += ["--network", preset, "--upsampler", run.upsampler, "--network-config", json.dumps(changes)]
    limit = minutes if math.isfinite(minutes) else 0
    command += ["--max-minutes", f"{limit:.1f}", "--sample-every", "0", "--keep", "1", *budget.settings]
    command += ["--checkpoint-minutes", "5", "--cache-gib", str(arguments.cache_gib)]
    command += ["--threads", str(arguments.threads), "--workers", "1"] if arguments.threads else []
    environment = dict(os.environ)
    if arguments.threads:
        environment["OMP_NUM_THREADS"] = str(arguments.threads)
    if arguments.plugin:  # their modules may lie in the working folder
        found = filter(None, (str(Path.cwd()), environment.get("PYTHONPATH")))
        environment["PYTHONPATH"] = os.pathsep.join(found)
    with (output / "log.txt").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # it has been interrupted as well, and writes its checkpoint
            raise
    if code:
        raise subprocess.CalledProcessError(code, command)
    steps = sum(int(stage.rpartition(":")[2]) for stage in budget.schedule.split(","))
    return int(read_metadata(output / "last.safetensors")["step"]) == steps


def score(run: Run, budget: Budget, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the record of a finished run: its scores by the evaluation protocol, and what they rest on."""
    weights = arguments.work / run.name / "last.safetensors"
    network, facts = load_weights(weights)
    config = build_network(config_of(budget, run.network, run.upsampler)).config
    if network.config != config:
        raise ValueError(f"{weights}: is not the network that was to be trained: {network.config}")
    cases = EvaluationSet(open_photos(list(arguments.val_data)), _MASKS, seed=0, size=budget.size)
    baselines = {name: METHODS[name] for name in _BASELINES}
    result = evaluate({"network": Inpainter(network), **baselines}, cases)
    summary = result.summary()
    return {
        "network": run.network,
        "upsampler": run.upsampler,
        "seed": run.seed,
        "config": json.loads(json.dumps(config)),
        **({"plugins": facts["plugins"]} if "plugins" in facts else {}),
        "schedule": budget.schedule,
        "settings": " ".join(budget.settings),
        "scores": summary["network"],
        "psnr_by_image": [round(scores["network"]["psnr"] or 0, 3) for *_, scores in result.records],
        "baselines": {name: {m: summary[name][m] for m in ("psnr", "ssim", "l1")} for name in baselines},
        "holes_sha256": result.sha256,
        "hours": float(facts["hours"]),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
    }


# ------------------------------------------------------------------------------------------------------------
# The table
# ------------------------------------------------------------------------------------------------------------


def print_table(arguments: argparse.Namespace) -> int:
    """Print what the finished runs say."""
    budget = BUDGETS[arguments.budget]
    records = finished_runs(budget, arguments.scores)
    if not records:
        print(f"{arguments.scores}: no finished run yet", file=sys.stderr)
        return 1
    if len({record["holes_sha256"] for record in records}) > 1:
        raise ValueError(f"{arguments.scores}: the runs were scored on different photos or holes")
    sections = []
    for network in budget.networks:
        groups = {
            name: [r for r in records if (r["network"], r["upsampler"]) == (network, name)]
            for name in UPSAMPLERS
        }
        groups = {name: group for name, group in groups.items() if group}
        if groups:
            sections += [f"## {network}", network_table(budget, network, groups, arguments)]
            sections += [verdict(network, groups)]
    facts = {
        "training": f"{budget.schedule} (size × batch : steps), {records[0]['settings']}",
        "scores": f"{records[0]['scores']['count']} photos, {_MASKS}, {budget.size} px; mean ± standard "
        "deviation over the seeds",
    }
    publish(
        report("Upsamplers in inpainting", facts, [*sections, *baseline_table(records)]), arguments.output
    )
    return 0


def network_table(
    budget: Budget, network: str, groups: Mapping[str, list[dict[str, Any]]], arguments: argparse.Namespace
) -> str:
    """Return a row for each upsampler: scores, weights, work, time, and the paper's figures."""
    configs = {name: config_of(budget, network, name) for name in groups}
    milliseconds = step_times(configs, budget, arguments.seconds)
    columns = ["upsampler", "seeds", "PSNR ↑ dB", "SSIM ↑", "L1 ↓ %", "PSNR hole ↑ dB"]
    columns += ["parameters, k", "GFLOPs", "step, ms", "paper: L1 %", "paper: PSNR"]
    rows = []
    for name, group in groups.items():
        l1, psnr = PAPER.get((network, name), (None, None))
        parameters, flops = cost(configs[name], budget.size)
        rows.append(
            [
                name,
                str(len(group)),
                *(over_seeds(group, m, d) for m, d in _SHOWN.items()),
                f"{parameters / 1e3:.0f}",
                f"{flops / 1e9:.2f}",
                f"{milliseconds[name]:.0f}",
                "" if l1 is None else f"{l1:.2f}",
                "" if psnr is None else f"{psnr:.2f}",
            ]
        )
    return markdown_table(columns, rows)


_SHOWN = {"psnr": 2, "ssim": 4, "l1": 3, "psnr_hole": 2}


def over_seeds(group: Sequence[Mapping[str, Any]], metric: str, digits: int) -> str:
    """Mean, and the standard deviation where there is more than one."""
    values = [record["scores"][metric] for record in group]
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def verdict(network: str, groups: Mapping[str, list[dict[str, Any]]]) -> str:
    """CARAFE against every other: the difference of the means over the seeds, and how sure it is."""
    if "carafe" not in groups:
        return ""
    psnr = {name: [record["scores"]["psnr"] for record in group] for name, group in groups.items()}
    spread, freedom = spread_of_seeds(list(psnr.values()))
    ours = {record["seed"]: record for record in groups["carafe"]}
    lines = []
    for name, group in groups.items():
        pairs = [(ours[r["seed"]], r) for r in group if r["seed"] in ours]
        if name == "carafe" or not pairs:
            continue
        line = f"- CARAFE − {name}: {statistics.fmean(psnr['carafe']) - statistics.fmean(psnr[name]):+.3f} dB"
        if freedom:
            line += f" ± {interval(spread, freedom, len(psnr['carafe']), len(group)):.3f}"
        better = [
            x > y for a, b in pairs for x, y in zip(a["psnr_by_image"], b["psnr_by_image"], strict=True)
        ]
        line += f", better on {statistics.fmean(better):.0%} of the photos"
        lines.append(line + (" (the network's own upsampler)" if name == BASELINE[network] else ""))
    if freedom:
        lines += [
            "",
            f"± is the 95 % interval of Student's t; seeds spread by {spread:.3f} dB, pooled over the "
            f"upsamplers ({freedom} degrees of freedom).",
        ]
    return "\n".join(lines)


def spread_of_seeds(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the standard deviation within groups, pooled, and its degrees of freedom; 0 without any."""
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum((value - statistics.fmean(group)) ** 2 for group in groups for value in group)
    return (math.sqrt(squares / freedom) if freedom else 0.0), freedom


def interval(spread: float, freedom: int, first: int, second: int) -> float:
    """Half the 95 % confidence interval of a difference between means of `first` and of `second` seeds."""
    from scipy.stats import t  # a part of what scikit-image needs

    return float(t.ppf(0.975, freedom)) * spread * math.sqrt(1 / first + 1 / second)


def cost(config: Mapping[str, Any], size: int) -> tuple[int, int]:
    """Return the number of weights, and operations for one picture, a product and a sum counted as two."""
    network = build_network(config).eval()
    image, mask = random_batch(size, 1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image, mask)
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops()


def step_times(configs: Mapping[str, Mapping[str, Any]], budget: Budget, seconds: float) -> dict[str, float]:
    """Milliseconds of a training step with each upsampler, measured in turns."""
    size, batch = (int(n) for n in budget.schedule.partition(":")[0].split("x"))
    image, mask = random_batch(size, batch)
    steps = {
        name: training_step(build_network(config).train(), image, mask, autocast=True)
        for name, config in tqdm(configs.items(), desc="building", disable=None)
    }
    medians = interleaved_medians(steps, rounds=3, seconds=seconds)
    return {name: 1e3 * median for name, median in medians.items()}


def baseline_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the classical methods on the same pictures."""
    rows = [
        [name, *(f"{scores[m]:.{_SHOWN[m]}f}" for m in ("psnr", "ssim", "l1"))]
        for name, scores in records[0]["baselines"].items()
    ]
    return ["## Without learning", markdown_table(["method", "PSNR ↑ dB", "SSIM ↑", "L1 ↓ %"], rows)]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the settings, with the folders that follow from others; end the program on a wrong one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--budget", choices=BUDGETS, default="cpu", help="(default: %(default)s)")
    parser.add_argument(
        "--scores",
        type=Path,
        help="folder of the finished runs' scores (default: benchmarks/results/ablation/BUDGET)",
    )
    add_plugin_flag(parser)
    run = parser.add_argument_group("run")
    run.add_argument("--data", nargs="+", help="photos to train on, as in train.py")
    run.add_argument("--val-data", nargs="+", help="photos to score on")
    run.add_argument("--work", type=Path, help="folder of the runs (default: runs/ablation/BUDGET)")
    run.add_argument(
        "--only",
        nargs="+",
        default=["*"],
        metavar="PATTERN",
        help="runs to do, by name: NETWORK.UPSAMPLER.SEED (default: all)",
    )
    run.add_argument("--minutes", type=float, default=math.inf, help="stop, to go on later, after these")
    run.add_argument("--threads", type=int, default=0, help="CPU threads of a run (default: train.py's)")
    run.add_argument("--cache-gib", type=float, default=4.0, help="decoded photos kept by a run")
    table = parser.add_argument_group("table")
    table.add_argument("--seconds", type=float, default=10.0, help="least time for each step's time")
    table.add_argument("--output", type=Path, metavar="FILE.md", help="write the table here too")
    parsed = parser.parse_args(arguments)
    parsed.scores = parsed.scores or ROOT / "benchmarks/results/ablation" / parsed.budget
    parsed.work = parsed.work or ROOT / "runs/ablation" / parsed.budget
    if parsed.command == "run" and not (parsed.data and parsed.val_data):
        parser.error("run needs --data and --val-data")
    return parsed


def main() -> int:
    """Read the command line and do what it says."""
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        load_plugins(arguments.plugin)
        return print_table(arguments) if arguments.command == "table" else run_all(arguments)
    except ValueError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
