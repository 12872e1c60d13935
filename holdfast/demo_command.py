"""``holdfast demo``: run it, and show what a person would want to see."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from holdfast.demo import Demo, DemoPlan, DemoResult
from holdfast.example_repo import diff_of, message_of
from holdfast.folder import Folder
from holdfast.folder_lock import check_free
from holdfast.output import give, tell
from wire.errors import PermanentError


def run_demo(
    seed: int, fault: str, directory: Path, *, fast: bool, as_json: bool, replace_demo: bool = False
) -> int:
    """Run the demo in a folder; 0 if it went as expected. An earlier demo is replaced if asked.

    Raises PermanentError ``folder_in_use``: a node runs there, or it holds something.
    """
    check_free(Folder(directory))
    is_demo = (directory / "gitops.git").exists() and (directory / "slack.jsonl").exists()
    if is_demo and replace_demo:
        shutil.rmtree(directory)
    elif is_demo:
        raise PermanentError(
            "folder_in_use",
            f"{directory} holds an earlier demo",
            field="--dir",
            accepted="a new folder, or --replace to delete what is there",
        )
    plan = DemoPlan(seed=seed, fault=fault)
    if fast:
        plan = replace(plan, phones=4_000, quiet_seconds=12.0)
    demo = Demo(plan, directory.resolve(), tell)
    result = demo.run()
    give(_as_json(result), as_json=as_json, text=_text(result, directory))
    return 0 if result.is_as_expected else 1


def _as_json(result: DemoResult) -> dict[str, object]:
    return {**asdict(result), "as_expected": result.is_as_expected}


def _text(result: DemoResult, directory: Path) -> str:
    lines = [
        "",
        f"{result.events_stored:,} events counted once, in windows of {result.window_ms} ms; "
        f"mass balance difference {result.balance_difference}; {result.seconds_total} s in all.",
    ]
    for r in result.rollbacks:
        lines += [
            "",
            f"Rolled back {r.release}: {r.metric}, after {r.units:,} units in "
            f"{r.windows_to_breach} windows, {r.seconds_fault_to_push} s after the fault began.",
            "",
            message_of(Path(result.gitops_dir), r.commit).rstrip(),
            "",
            diff_of(Path(result.gitops_dir), r.commit).rstrip(),
        ]
    if not result.rollbacks:
        lines += ["", "No release was rolled back."]
    if result.recovered:
        lines += ["", f"The fleet has recovered: {result.recovery}."]
    lines += ["", "Look further:", f"  git -C {directory}/gitops.git log main"]
    if result.rollbacks:
        lines.append(f"  holdfast explain {result.rollbacks[0].verdict} --dir {directory}")
    lines += [
        f"  holdfast sql --dir {directory} 'SELECT * FROM hf.release_health'",
        f"  cat {directory}/slack.jsonl",
    ]
    return "\n".join(lines)
