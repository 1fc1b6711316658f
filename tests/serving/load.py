"""Put many clients to the service for a while, and say how long they waited and what it kept of memory.

    python tests/serving/load.py                                50 clients for two minutes, then 100 jobs
    python tests/serving/load.py --clients 20 --seconds 20

The service runs in a process of its own, with a released model. Every client, each with an address of its
own, sends a photo, waits for the fill and sends it again. A client that is answered 429 waits as long as it
is told. Memory is compared over a number of jobs one after another. The exit code is 1 where a fill failed,
an answer was wrong, or memory grew by more than 200 MB. Linux only: elsewhere memory is not known.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import skimage.data
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from inpaint.serving import command
from inpaint.terminal import ArgumentParser
parser = ArgumentParser()
command.add_serve_command(parser.add_subparsers(required=True))
sys.exit(command.run(parser.parse_args()))
"""
MOST_GROWTH = 200e6
ROUTE = "/api/v1/inpaint"


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pictures(side: int) -> dict[str, tuple[str, bytes]]:
    photo = skimage.data.astronaut()[:side, :side]
    hole = np.zeros(photo.shape[:2], np.uint8)
    hole[side // 3 : side // 2, side // 3 : side // 2] = 255
    return {"image": ("photo.png", png(photo)), "mask": ("mask.png", png(hole))}


class Load:
    """What the clients see.

    Attributes:
        seconds: of fills, of fills with the times that they were refused before, and of `/health` meanwhile.
        statuses: how often each was answered.
        wrong: answers that make no sense.
    """

    def __init__(self, address: str, files: dict[str, tuple[str, bytes]]) -> None:
        self.address, self.files = address, files
        self.seconds: dict[str, list[float]] = {"fill": [], "with refusals": [], "health": []}
        self.statuses: Counter[int] = Counter()
        self.size = Image.open(io.BytesIO(files["image"][1])).size
        self.wrong = 0

    async def client(self, number: int, http: httpx.AsyncClient, end: float) -> None:
        headers = {"X-Forwarded-For": f"198.51.{number // 250}.{number % 250 + 1}"}
        began = time.monotonic()
        while time.monotonic() < end:
            sent = time.monotonic()
            answer = await http.post(ROUTE, files=self.files, data={"seed": str(number)}, headers=headers)
            self.statuses[answer.status_code] += 1
            if answer.status_code == 429:
                await asyncio.sleep(min(float(answer.headers["Retry-After"]), max(0, end - time.monotonic())))
                continue
            if answer.status_code == 200:
                self.seconds["fill"].append(time.monotonic() - sent)
                self.seconds["with refusals"].append(time.monotonic() - began)
                self.wrong += Image.open(io.BytesIO(answer.content)).size != self.size
            began = time.monotonic()

    async def watch(self, http: httpx.AsyncClient, end: float) -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            answer = await http.get("/health")
            self.seconds["health"].append(time.monotonic() - began)
            self.wrong += answer.status_code != 200
            await asyncio.sleep(0.5)

    async def run(self, clients: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=None)
        http = httpx.AsyncClient(base_url=self.address, timeout=600, limits=limits, verify=False)
        async with http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.watch(http, end))
            for number in range(clients):
                tasks.create_task(self.client(number, http, end))


def resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0


def worker_memory(http: httpx.Client) -> float:
    return float(re.search(r"^inpaint_worker_memory_bytes (.+)$", http.get("/metrics").text, re.MULTILINE)[1])  # type: ignore[index]


def percentiles(seconds: list[float]) -> str:
    values = np.percentile(seconds, [50, 90, 95, 99, 100]) if seconds else [float("nan")] * 5
    return " | ".join(f"{value:.2f}" for value in values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--jobs", type=int, default=100, help="fills over which memory is compared")
    parser.add_argument("--side", type=int, default=256, help="of the photo, in pixels")
    arguments = parser.parse_args()
    command = [sys.executable, "-c", PROGRAM, "serve", "--no-page", "--port", "0", "--waiting", "32"]
    command += ["--trusted-proxies", "127.0.0.1"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [*command, "--folder", folder],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            address = re.search(r"http://\S+", process.stderr.readline())[0]  # type: ignore[index]
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return measure(process.pid, address, arguments)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def measure(pid: int, address: str, arguments: argparse.Namespace) -> int:
    load = Load(address, pictures(arguments.side))
    with httpx.Client(base_url=address, timeout=600, verify=False) as http:
        while http.get("/health").status_code != 200:
            time.sleep(0.5)
        http.post(ROUTE, files=load.files)
        began = time.monotonic()
        asyncio.run(load.run(arguments.clients, arguments.seconds))
        took = time.monotonic() - began  # what was sent last has been waited for, too
        print(f"{arguments.clients} clients for {arguments.seconds:g} s, photos of {arguments.side}²")
        print("| seconds | 50 % | 90 % | 95 % | 99 % | most |\n|---|---:|---:|---:|---:|---:|")
        for name, values in load.seconds.items():
            print(f"| {name} ({len(values)}) | {percentiles(values)} |")
        print(f"fills a second: {len(load.seconds['fill']) / took:.2f}")
        print(f"answers by status: {dict(load.statuses)}, wrong: {load.wrong}")
        before = resident(pid), worker_memory(http)
        failed = sum(http.post(ROUTE, files=load.files).status_code != 200 for _ in range(arguments.jobs))
        after = resident(pid), worker_memory(http)
        for name, old, new in zip(("server", "filling process"), before, after, strict=True):
            print(f"memory of the {name}: {old / 1e6:.0f} MB, after {arguments.jobs} jobs {new / 1e6:.0f} MB")
    grown = max(new - old for old, new in zip(before, after, strict=True))
    bad = sum(count for status, count in load.statuses.items() if status not in (200, 429))
    return int(bool(bad or failed or load.wrong or grown > MOST_GROWTH))


if __name__ == "__main__":
    sys.exit(main())
