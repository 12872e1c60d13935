"""Where a process spends its time, by room and by function, with py-spy if it is installed."""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOMS: Final = (
    "analytics", "wire", "ingest", "streams", "actions", "store", "sdk_stub", "holdfast",
)  # fmt: skip
_LOOPS: Final = {"main", "serve"}  # they do nothing but run a loop that is not ours
_RATE_HZ: Final = 200
_LONGEST_S: Final = "3600"


@dataclass(slots=True)
class Sampler:
    """Samples running threads of some processes until `stop`."""

    pids: dict[str, int]
    folder: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> bool:
        """False if there is no sampler on this machine."""
        spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
        if spy is None:
            return False
        for name, pid in self.pids.items():
            command = [spy, "record", "--pid", str(pid), "--format", "raw", "--rate"]
            command += [str(_RATE_HZ), "--output", str(self.folder / name)]
            command += ["--duration", _LONGEST_S, "--nonblocking"]
            self._running[name] = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        return True

    def stop(self) -> dict[str, Counter[tuple[str, ...]]]:
        """Process -> stack (outermost first) -> samples."""
        found = {}
        for name, popen in self._running.items():
            popen.send_signal(signal.SIGINT)
            popen.wait(30)
            path = self.folder / name
            found[name] = read_stacks(path.read_text()) if path.exists() else Counter()
        return found


def read_stacks(text: str) -> Counter[tuple[str, ...]]:
    """Folded stacks: ``frame;frame;frame count`` a line."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        stacks[tuple(frames.split(";"))] += int(count)
    return stacks


def room_of(stack: tuple[str, ...]) -> str:
    """The room that asked for it: the innermost frame of ours."""
    for frame in reversed(stack):
        _, _, place = frame.partition(" (")
        for room in ROOMS:
            if place.startswith(f"{room}/") or f"/{room}/" in place:
                return room
    return "other"


def our_function(stack: tuple[str, ...]) -> str:
    """The innermost function of ours with its file; of an event loop, what the loop was at."""
    for frame in reversed(stack):
        name, _, place = frame.partition(" (")
        for room in ROOMS:
            if place.startswith(f"{room}/") or f"/{room}/" in place:
                ours = f"{place.partition(':')[0].rpartition('/')[2].rstrip(')')}: {name}"
                return f"{ours} > {stack[-1]}" if name in _LOOPS else ours
    return f"other: {stack[0].partition(' (')[0]}"


def describe(stacks: Counter[tuple[str, ...]], *, top: int = 12) -> list[str]:
    """Lines for people: shares by room, then the functions with the most time under them."""
    total = sum(stacks.values())
    if not total:
        return ["  no samples"]
    rooms: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for stack, count in stacks.items():
        rooms[room_of(stack)] += count
        functions[our_function(stack)] += count
    lines = ["  " + ", ".join(f"{room} {n / total:.0%}" for room, n in rooms.most_common())]
    lines += [f"  {n / total:6.1%}  {name}" for name, n in functions.most_common(top)]
    return lines


def hottest(stacks: Counter[tuple[str, ...]]) -> str:
    """The function of ours with the most time in it and in what it calls outside of ours."""
    functions: Counter[str] = Counter()
    for stack, count in stacks.items():
        functions[our_function(stack)] += count
    return functions.most_common(1)[0][0] if functions else ""
