"""A trainer without a model, that keeps to the contract of `python -m finetune`; quick, and free of any package.

What it does is told by variables: FAKE_STEP_S, seconds per step; FAKE_CHECKPOINT, steps between checkpoints;
FAKE_MOOD, "" or one of those below. Its "weights" depend on every step, so that a wrong resume shows.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MOOD = os.environ.get("FAKE_MOOD", "")  # fail, print, deaf, liar, crash, mute
STEP_S, EVERY = float(os.environ.get("FAKE_STEP_S", "0.002")), int(os.environ.get("FAKE_CHECKPOINT", "5"))
stopped = False


def stop(*_: object) -> None:
    global stopped
    stopped = True  # further ones change nothing


def write_whole(path: Path, values: object) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(values))
    part.replace(path)


def weights_after(weights: int, step: int) -> int:
    return (weights * 31 + step) % 1_000_003


class Run:
    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps, self.step, self.weights = folder, steps, 0, 1
        self.log = (folder / "log.jsonl").open("a", buffering=1)

    def tell(self, event: str, **values: object) -> None:
        self.log.write(json.dumps({"event": event, "time_s": time.time(), **values}) + "\n")

    def load(self) -> None:
        for place in (self.folder / "checkpoints").glob("checkpoint-*/COMPLETE"):
            step = int(place.parent.name.partition("-")[2])
            if step > self.step:
                self.step, self.weights = step, int((place.parent / "weights").read_text())

    def checkpoint(self) -> None:
        place = self.folder / "checkpoints" / f"checkpoint-{self.step}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "weights").write_text(str(self.weights))
        (place / "COMPLETE").touch()
        self.tell("checkpoint", step=self.step)

    def end(self, outcome: str, cause: str) -> None:
        if MOOD == "mute":  # its disk is full
            raise SystemExit({"done": 0, "failed": 1, "stopped": 3}[outcome])
        self.tell("end", outcome=outcome, cause=cause)
        write_whole(self.folder / "exit.json", {"outcome": outcome, "cause": cause, "step": self.step})
        raise SystemExit({"done": 0, "failed": 1, "stopped": 3}[outcome])


def train(run: Run) -> None:
    run.tell("start", step=run.step, steps=run.steps)
    while run.step < run.steps:
        time.sleep(STEP_S)
        run.step += 1
        run.weights = weights_after(run.weights, run.step)
        run.tell("step", step=run.step, steps=run.steps, loss=1 / run.step)
        if stopped or run.step % EVERY == 0:
            run.checkpoint()
        if stopped and MOOD != "deaf":
            run.end("stopped", f"stopped after step {run.step}")


def write_adapter(folder: Path, run: Run) -> None:
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    part.mkdir()
    for name in ("adapter_config.json", "provenance.json"):
        (part / name).write_text(json.dumps({"weights": run.weights}))
        time.sleep(STEP_S)
    part.rename(folder)
    time.sleep(STEP_S)


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("--config", "--out", "--run"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--resume", action="store_true")
    told = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    log = told.run / "log.jsonl"
    assert told.resume == log.exists(), "a run is resumed if, and only if, it was begun"
    assert not told.out.exists()
    assert not (told.run / "exit.json").exists()
    assert sys.stdin.read() == ""
    guard = (told.run / "guard").open("w")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (told.run / "TWO_AT_ONCE").touch()
        raise
    line = next(line for line in told.config.read_text().splitlines() if line.startswith("max_steps: "))
    run = Run(told.run, int(line.partition(": ")[2]))
    run.load()
    if MOOD == "print":
        sys.stdout.write("10%\r20%\rRuntimeError: the fake broke\n")
        raise SystemExit(7)
    if MOOD == "fail":
        run.end("failed", "Data set a has no images; choose another.")
    if MOOD == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    train(run)
    if MOOD != "liar":
        write_adapter(told.out, run)
    run.end("done", "The adapter is better than its base.")


if __name__ == "__main__":
    main()
