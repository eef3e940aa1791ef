"""Downloads survive what lines, hubs and disks do to them, and nothing wrong is ever left in the cache."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from builders.download import Wanted, bar_class, choose, download, missing_bytes
from builders.hub import Hub, Listing
from builders.hub_cache import HubCache, inspect_folder
from builders.hub_errors import disk_explained
from builders.progress import Progress
from infra.errors import ExitCode, UserError
from tests.builders.conftest import MakeFolder
from tests.builders.test_weights import ROOT
from tests.hub import FakeHub, Fault, Request

pytestmark = pytest.mark.server

NAME = "a/b"
WEIGHTS = "model.safetensors"
SIZE = 5_000_000


class Client:
    """One user's cache and one fake hub."""

    def __init__(self, served: FakeHub, cache: Path) -> None:
        self.served = served
        self.hub = Hub(served.url, None, HubCache(cache))
        self.listing: Listing = self.hub.listing(NAME, "main")
        self.wanted: Wanted = choose(self.hub, NAME, self.listing)
        self.progress = Progress(io.StringIO())

    @property
    def snapshot(self) -> Path:
        return self.hub.cache.snapshot(NAME, self.listing.commit)

    @property
    def blobs(self) -> Path:
        return self.hub.cache.storage(NAME) / "blobs"

    def download(self) -> None:
        download(self.hub, NAME, self.listing.commit, self.wanted, self.progress)

    def missing_bytes(self) -> int:
        return missing_bytes(self.hub, NAME, self.listing.commit, self.wanted)

    def requests_for(self, path: str) -> list[Request]:
        return [request for request in self.served.requests if request.method == "GET" and request.path.endswith(path)]


@pytest.mark.parametrize("fault", [Fault("cut", times=1, path=WEIGHTS), Fault("reset", times=1, path=WEIGHTS)])
def test_a_cut_download_goes_on_where_it_broke_off(make_folder: MakeFolder, tmp_path: Path, fault: Fault) -> None:
    folder = make_folder(size=SIZE)
    with FakeHub({NAME: folder}, {NAME: fault}) as served:
        client = Client(served, tmp_path)
        client.download()
        first, second = client.requests_for(WEIGHTS)
    assert first.range is None
    assert second.range is not None
    assert 2_000_000 < int(second.range.removeprefix("bytes=").removesuffix("-")) <= SIZE * 6 // 10
    assert (client.snapshot / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert client.progress.snapshot()["progress"] == 1.0


def test_the_next_run_goes_on_where_the_last_one_gave_up(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(size=SIZE)
    with FakeHub({NAME: folder}, {NAME: Fault("reset", path=WEIGHTS, times=3)}) as served:
        client = Client(served, tmp_path)
        with pytest.raises(
            UserError, match=r"^a/b could not be fetched: the connection to .* broke or stalled$"
        ) as caught:
            client.download()
        assert caught.value.exit_code == ExitCode.ENVIRONMENT
        assert not inspect_folder(client.snapshot).is_complete
        kept = client.blobs / f"{client.wanted.shards[0].etag}.incomplete"
        assert kept.stat().st_size > SIZE // 2
        before = len(client.requests_for(WEIGHTS))
        Client(served, tmp_path).download()
        assert [request.range is not None for request in client.requests_for(WEIGHTS)[before:]] == [True]
    assert (client.snapshot / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert not kept.exists()


def test_a_damaged_part_of_an_earlier_run_is_noticed(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(size=SIZE)
    with FakeHub({NAME: folder}) as served:
        client = Client(served, tmp_path)
        for damage in (b"garbage" * 1000, bytes(SIZE + 1000), bytes((folder / WEIGHTS).stat().st_size)):
            client.blobs.mkdir(parents=True, exist_ok=True)
            (client.blobs / f"{client.wanted.shards[0].etag}.incomplete").write_bytes(damage)
            client.download()
            assert (client.snapshot / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
            (client.snapshot / WEIGHTS).resolve().unlink()


@pytest.mark.parametrize("path", [WEIGHTS, "tokenizer.json"])
def test_wrong_content_is_fetched_again(make_folder: MakeFolder, tmp_path: Path, path: str) -> None:
    folder = make_folder(size=SIZE)
    with FakeHub({NAME: folder}, {NAME: Fault("wrong-hash", times=1, path=path)}) as served:
        client = Client(served, tmp_path)
        client.download()
    assert (client.snapshot / path).read_bytes() == (folder / path).read_bytes()


@pytest.mark.parametrize("path", [WEIGHTS, "tokenizer.json"])
def test_content_that_stays_wrong_is_thrown_away_and_said(make_folder: MakeFolder, tmp_path: Path, path: str) -> None:
    with FakeHub({NAME: make_folder()}, {NAME: Fault("wrong-hash", path=path)}) as served:
        client = Client(served, tmp_path)
        with pytest.raises(UserError) as caught:
            client.download()
    assert caught.value.message == (
        f"{path} of a/b came with wrong content twice (its checksum differs); it was thrown away"
    )
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert not (client.snapshot / path).exists()
    assert not list(client.blobs.glob(f"{client.listing.files[path].etag}*"))
    assert not inspect_folder(client.snapshot).is_complete


def test_a_file_that_was_damaged_in_the_cache_is_fetched_anew(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    with FakeHub({NAME: folder}) as served:
        client = Client(served, tmp_path)
        client.download()
        assert client.missing_bytes() == 0
        (client.snapshot / WEIGHTS).write_bytes(b"x")
        client.download()
    assert (client.snapshot / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()


def test_content_that_another_commit_brought_is_not_fetched_twice(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    with FakeHub({NAME: folder}) as served:
        Client(served, tmp_path).download()
    (folder / "generation_config.json").write_text('{"top_k": 1}')
    (folder / "added_tokens.json").write_text("{}")
    with FakeHub({NAME: folder}) as served:
        client = Client(served, tmp_path)
        client.download()
        assert served.files_sent() == ["generation_config.json"]
    assert inspect_folder(client.snapshot).is_complete


def test_a_download_by_xet_is_counted_by_what_reaches_the_disk() -> None:
    from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

    progress = Progress(io.StringIO())
    progress.begin("downloading", 1000)
    with XetDownloadProgressReporter(
        reconstruction_desc="x", total=1000, log_level=0, tqdm_class=bar_class(progress)
    ) as reporter:
        for done, moved in ((0, 300), (400, 500), (1000, 700)):
            reporter.update_progress(
                SimpleNamespace(
                    total_bytes=1000,
                    total_bytes_completed=done,
                    total_bytes_completion_rate=1.0,
                    total_transfer_bytes_completed=moved,
                    total_transfer_bytes_completion_rate=1.0,
                )
            )
    assert progress.snapshot()["bytes"] == 1000


def test_a_cache_that_cannot_be_written_is_said(make_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / ".locks").write_text("not a folder")
    with FakeHub({NAME: make_folder()}) as served:
        process = fetching(served, tmp_path)
        output, _ = process.communicate()
    assert json.loads(output.splitlines()[-1])["error"] == {
        "message": f"{tmp_path}/hub cannot be written: not a directory",
        "hint": "change its permissions, or set HF_HOME and XDG_CACHE_HOME to folders of yours",
    }
    assert process.returncode == 4


def test_a_disk_that_fills_meanwhile_is_said() -> None:
    with pytest.raises(UserError, match=r"^not enough space in /cache$") as caught, disk_explained(Path("/cache")):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def fetching(served: FakeHub, home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "builders.weights", "fetch", "--repository", NAME],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HF_HOME": str(home), "HF_ENDPOINT": served.url, "XDG_CACHE_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_fetch_one_model_once(make_folder: MakeFolder, tmp_path: Path) -> None:
    fault = Fault("slow", path=WEIGHTS, bytes_per_s=200_000)
    with FakeHub({NAME: make_folder()}, {NAME: fault}) as served:
        processes = [fetching(served, tmp_path) for _ in range(2)]
        answers = [process.communicate() for process in processes]
        assert [(process.returncode, answer[1]) for process, answer in zip(processes, answers, strict=True)] == [
            (0, ""),
            (0, ""),
        ]
        sent = [request.path for request in served.requests if request.method == "GET" and "/resolve/" in request.path]
    assert len(sent) == len(set(sent)) == 3


def test_a_slow_download_says_how_far_it_is_and_a_killed_one_is_resumed(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder(size=SIZE)
    with FakeHub({NAME: folder}, {NAME: Fault("slow", path=WEIGHTS, bytes_per_s=2_000_000, times=1)}) as served:
        process = fetching(served, tmp_path)
        assert process.stdout is not None
        for line in map(json.loads, process.stdout):
            if line.get("seconds_left"):
                break
        process.kill()
        process.communicate()
        assert line["stage"] == "downloading"
        assert line["total_bytes"] > SIZE
        assert 0 < line["bytes"] < SIZE
        assert 0 < line["progress"] < 1
        process = fetching(served, tmp_path)
        assert process.communicate()[1] == ""
        assert process.returncode == 0
        ranges = [request.range for request in served.requests if request.path.endswith(WEIGHTS)]
    assert any(ranges)


def test_a_failure_is_the_last_line_and_the_exit_status(make_folder: MakeFolder, tmp_path: Path) -> None:
    with FakeHub({NAME: make_folder()}, {NAME: Fault("gated")}) as served:
        process = fetching(served, tmp_path)
        output, _ = process.communicate()
        last = json.loads(output.splitlines()[-1])
        assert last == {
            "error": {
                "message": "a/b is gated: only those who accepted its owner's terms may have it",
                "hint": f"accept them at {served.url}/a/b, then run `hf auth login` or set HF_TOKEN",
            }
        }
    assert process.returncode == 4
