"""Times the command line and the way from `up` to ready, beside the incumbent where its environment is given.

    python -m benchmarks.startup [--rounds 5] [--incumbent VENV]

benchmarks/incumbent.py says what VENV is. Rounds are interleaved; the table shows medians in seconds and, for both
tools, the ratio.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import incumbent
from tests.net import free_port

MODEL = Path(__file__).parent.parent / "examples" / "quickstart" / "model"
OURS = Path(sys.executable).with_name("model-compose")

FILE = """\
controller:
  {adapter}
workflow:
  title: Chat
  input: ${{input}}
  output:
    generated: ${{output}}
component:
  type: model
  task: chat-completion
  model: {model}
  action:
    messages:
      - role: user
        content: ${{input.user_prompt}}
"""
OUR_ADAPTER = "adapter: {{type: http-server, port: {port}}}"
INCUMBENT_ADAPTER = "adapters: [{{type: http-server, port: {port}, base_path: /api}}]"


@dataclass(frozen=True)
class Tool:
    """One command with a project folder of its own."""

    name: str
    command: Path
    adapter: str
    folder: Path

    def write_file(self, port: int) -> None:
        text = FILE.format(adapter=self.adapter.format(port=port), model=MODEL)
        (self.folder / "model-compose.yml").write_text(text, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.command.parent}{os.pathsep}{os.environ['PATH']}"}


def time_command(tool: Tool, *arguments: str) -> float:
    """Seconds that one command takes; raises CalledProcessError when it fails."""
    started = time.perf_counter()
    subprocess.run([tool.command, *arguments], cwd=tool.folder, env=tool.environment(), check=True, capture_output=True)
    return time.perf_counter() - started


def answers(port: int) -> bool:
    """Whether a short run on this port succeeds."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/workflows/runs",
        data=b'{"input": {"user_prompt": "Hello!"}}',
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def time_up(tool: Tool) -> float:
    """Seconds from `up` to the first answered run."""
    port = free_port()
    tool.write_file(port)
    with (tool.folder / "up.log").open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            [tool.command, "up"],
            cwd=tool.folder,
            env=tool.environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while not answers(port):
                if process.poll() is not None or time.perf_counter() - started > 120:
                    raise SystemExit(f"{tool.name}: up failed, see {tool.folder / 'up.log'}")
                time.sleep(0.02)
            return time.perf_counter() - started
        finally:
            incumbent.stop(process)


def compare(folder: Path, environment: Path | None, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds by step and tool; environment: the incumbent's, or None to leave it out."""
    tools = [Tool("ours", OURS, OUR_ADAPTER, folder / "ours")]
    if environment:
        tools.append(Tool("incumbent", incumbent.command(environment), INCUMBENT_ADAPTER, folder / "incumbent"))
    for tool in tools:
        tool.folder.mkdir()
        tool.write_file(free_port())
    steps: dict[str, Callable[[Tool], float]] = {
        "--help": lambda tool: time_command(tool, "--help"),
        "validate": lambda tool: time_command(tool, "validate"),
        "up to first answer": time_up,
    }
    found = {}
    for step, measure in steps.items():
        times: dict[str, list[float]] = {tool.name: [] for tool in tools}
        for _ in range(rounds):
            for tool in tools:
                times[tool.name].append(measure(tool))
        found[step] = {name: statistics.median(values) for name, values in times.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the command line and the start.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--incumbent", type=Path, help="its virtual environment")
    options, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    with tempfile.TemporaryDirectory() as temporary:
        found = compare(Path(temporary), options.incumbent, options.rounds)
    print(f"{'seconds, median':<22}" + "".join(f"{name:>12}" for name in found["--help"]) + f"{'ratio':>8}")
    for step, medians in found.items():
        ratio = f"{medians['incumbent'] / medians['ours']:7.1f}x" if len(medians) > 1 else ""
        print(f"{step:<22}" + "".join(f"{median:12.3f}" for median in medians.values()) + f"{ratio:>8}")


if __name__ == "__main__":
    main()
