"""The comparison with other tools: its tables and its picture, and that a small run of our side answers rightly."""

import asyncio
import contextlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.document import BEGIN, END, rewrite
from benchmarks.peers import environments, table
from benchmarks.peers.contestants import CONTESTANTS, serving
from benchmarks.peers.figures import Figures, Row
from benchmarks.peers.load import Cell, Load, RefusedError, Reply, measure, run
from benchmarks.peers.measuring import GREEDY, SAMPLED, STREAMED
from benchmarks.peers.plot import plot
from benchmarks.peers.prompts import KINDS, Kind, prompt
from benchmarks.peers.targets import Reuse, Service

REPOSITORY = Path(__file__).parents[2]
NAMES = ["ours, fp32", "incumbent", "LitServe"]


def load(clients: int, took_s: float) -> Load:
    """One answer a client, after this time; the first text after a quarter of it."""
    return Load(took_s, [Reply(number, took_s, took_s / 4, "") for number in range(clients)])


@pytest.fixture
def figures() -> Figures:
    found = Figures(tokens=64, equal={"ours, fp32": (16, 16)})
    for clients in (1, 32):
        for took_s in (0.5, 0.25, 1):
            found.add(Row("ours, fp32", GREEDY, clients), load(clients, took_s))
        found.add(Row("ours, fp32", STREAMED, clients), load(clients, 0.5))
        found.add(Row("incumbent", GREEDY, clients), load(clients, 0.6 * clients))
    found.add(Row("LitServe", GREEDY, 1), load(1, 1))
    return found


@pytest.mark.unit
def test_rates_are_medians_of_rounds_with_the_ratio_to_the_incumbent(figures: Figures) -> None:
    assert table.rates(figures, GREEDY, NAMES) == (
        "| clients | 1 | 32 |\n"
        "| --- | ---: | ---: |\n"
        "| ours, fp32 | 128 (1.2 x) | 4 096 (38.4 x) |\n"
        "| incumbent | 107 | 107 |\n"
        "| LitServe | 64 (0.6 x) | - |\n"
    )
    assert table.rates(figures, SAMPLED, ["incumbent"]).splitlines()[2:] == ["| incumbent |"]


@pytest.mark.unit
def test_latencies_tell_who_streams_and_who_answers_as_generate(figures: Figures) -> None:
    assert table.latencies(figures, NAMES).splitlines()[2:] == [
        "| ours, fp32 | 1 | 500 ms | 500 ms | 125 ms | 16 of 16 |",
        "| ours, fp32 | 32 | 500 ms | 500 ms | 125 ms |  |",
        "| incumbent | 1 | 600 ms | 600 ms | 600 ms | - |",
        "| incumbent | 32 | 19.20 s | 19.20 s | 19.20 s |  |",
        "| LitServe | 1 | 1.00 s | 1.00 s | 1.00 s | - |",
        "| LitServe | 32 | - | - | - |  |",
    ]


@pytest.mark.unit
def test_targets_name_the_aim_and_what_was_measured(figures: Figures) -> None:
    runs: dict[tuple[str, int], tuple[float, ...]] = {
        ("router", 1): (1500, 0.5, 0.7),
        ("router", 32): (3200, 9, 20),
        ("incumbent", 1): (900, 1.04, 2),
        ("incumbent", 32): (1000, 30, 244),
    }
    start_s: dict[str, dict[str, float]] = {
        "--help": {"ours": 0.05, "incumbent": 0.15},
        "up to first answer": {"ours": 3, "incumbent": 9},
    }
    shown = table.targets(figures, Service(runs, start_s, 440_000_000), {"ours, fp32": Reuse(0.8, 0.1)})
    assert shown.splitlines()[2:] == [
        "| tokens/s, 32 clients, ours, fp32 | 15 x | 38.4 x (4 096 tokens/s) |",
        "| tokens/s, 1 client, ours, fp32 | 1.1 x | 1.2 x (128 tokens/s) |",
        "| 95 % of answers, 32 clients, ours, fp32 | 15 x sooner | 38.4 x (500 ms against 19.20 s) |",
        "| first text, 32 clients, ours, fp32, against the answer | 150 x sooner | 153.6 x (125 ms against 19.20 s) |",
        "| first text of a prompt whose beginning is known, ours, fp32 |  | 8.0 x sooner (100 ms after 800 ms) |",
        "| a run without a model: median of 1 client, rate and 95 % of 32 | 0.6 ms, 3 000 runs/s, 25 ms "
        "| 0.50 ms, 3 200 runs/s, 20 ms (incumbent: 1.04 ms, 1 000 runs/s, 244 ms) |",
        "| `--help` | 0.06 s | 0.05 s (incumbent: 0.15 s, 3.0 x) |",
        "| `up` to first answer | 3.3 s | 3.00 s (incumbent: 9.00 s, 3.0 x) |",
        "| memory of a task beside its weights | 450 MB | 440 MB |",
    ]


@pytest.mark.unit
def test_the_picture_has_a_line_and_a_label_for_each_contestant(figures: Figures) -> None:
    picture = ElementTree.fromstring(plot(figures, GREEDY, NAMES))
    tag = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f"{tag}polyline")) == len(NAMES)
    labels = [element.text for element in picture.findall(f"{tag}text")]
    assert labels[-3:] == ["ours, fp32: 4096", "incumbent: 107", "LitServe: 64 (1 client)"]


@pytest.mark.unit
def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n\n{BEGIN}{END}\nafter\n")
    for measured in ("old\n", "new\n"):
        rewrite(document, measured)
    assert document.read_text() == f"before\n\n{BEGIN}\nnew\n\n{END}\nafter\n"


@pytest.mark.unit
def test_the_document_has_the_marks() -> None:
    text = (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)


@pytest.mark.unit
@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_equal_in_every_run_and_unlike_each_other(kind: Kind) -> None:
    texts = [prompt(kind, number) for number in range(100)]
    assert texts == [prompt(kind, number) for number in range(100)]
    assert len(set(texts)) == 100


@pytest.mark.unit
def test_an_environment_counts_when_it_was_made_from_todays_requirements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "made")
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    (tmp_path / "peer.txt").write_text("peer==2\n")
    found = [environments.find("peer")]
    (tmp_path / "made" / "peer").mkdir(parents=True)
    for version in (1, 2):
        (tmp_path / "made" / "peer" / "installed.txt").write_text(f"peer=={version}\n")
        found.append(environments.find("peer"))
    assert found == [None, None, tmp_path / "made" / "peer"]


@pytest.mark.unit
def test_every_peer_pins_what_it_installs_and_the_torch_that_we_have() -> None:
    for name in environments.NAMES:
        lines = (environments.REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        assert all("==" in line for line in lines)
        assert [line for line in lines if line.startswith("torch==")] in (["torch==2.13.0"], [])


@pytest.mark.unit
def test_who_has_no_environment_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    peers = tuple(one for one in CONTESTANTS if one.name == "LitServe, batches of 32")
    with serving(tmp_path / "model", tmp_path, peers) as answering:
        assert answering == []
    assert capsys.readouterr().out == (
        "skipped: LitServe, batches of 32; `python -m benchmarks.peers.environments litserve` installs it\n"
    )


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Two texts as events where a stream is asked for, 50 ms apart, else one answer."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.partition("Content-Length: ")[2].split("\r\n")[0])
            await reader.readexactly(length)
            if "text/event-stream" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n")
                await asyncio.sleep(0.05)
                writer.write(b"9\r\ndata: b\n\n\r\n0\r\n\r\n")
            else:
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"output": "ab"}')
    writer.close()


@pytest.mark.server
@pytest.mark.parametrize("stream", [False, True])
async def test_each_client_asks_again_until_the_time_is_over(stream: bool) -> None:
    async with await asyncio.start_server(_serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        cell = Cell("compose", port, "fp32", "short", clients=3, tokens=2, seconds=0.2, first=7, stream=stream)
        found = await run(cell)
        once = await run(replace(cell, seconds=0))
    assert {reply.number for reply in found.replies} == set(range(7, 7 + len(found.replies)))
    assert len(found.replies) > 3
    assert found.took_s > 0.2
    assert len(once.replies) == 3
    for reply in once.replies:
        assert reply.text == ("" if stream else "ab")
        assert reply.took_s - reply.first_s >= (0.04 if stream else 0)


@pytest.mark.server
async def test_a_refusal_is_no_figure() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nfull")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        cell = Cell("predict", server.sockets[0].getsockname()[1], "", "short", 1, tokens=2, seconds=0, first=0)
        with pytest.raises(RefusedError, match="429 full"):
            await asyncio.to_thread(measure, cell)


@pytest.mark.server
@pytest.mark.timeout(300)
def test_a_small_run_answers_as_generate_and_prints_every_table() -> None:
    command = [sys.executable, "-m", "benchmarks.peers", "--smoke", "--only", "ours"]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "ours, fp32: 4 of 4 answers are those of generate()" in shown.stdout
    headings = re.findall(r"^### (.+?)(?::| \(|$)", shown.stdout, re.MULTILINE)
    assert headings == [
        "What was aimed at",
        "New tokens a second",
        "Sampled",
        "Prompts of 64 to 512 words",
        "Latency",
    ]
    for name in ("ours, fp32", "ours, bf16", "ours, int8"):
        assert len(re.findall(rf"^\| {name} \| [\d ]+ \|", shown.stdout, re.MULTILINE)) == 5, shown.stdout
