"""Measures builds: the size of images, the time they take, and what an edit makes, keeps and sends anew."""

import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.images.bench import Bench, Row
from benchmarks.images.ours import (
    OFFLINE,
    SERVICES,
    SOMEBODY,
    Build,
    Project,
    beside_weights,
    copied_checkout,
    of_a_model,
    weights,
)
from benchmarks.images.place import folder_bytes
from benchmarks.images.preparing import BUMPED
from infra.sizes import size


def sizes(bench: Bench) -> Iterator[Row]:
    """Without weights, unpacked and as they are sent."""
    project = bench.small
    task, router, page = map(project.image, SERVICES)
    packed = {kind: _packed(bench, project, kind) for kind in ("gzip", "zstd")}
    theirs = theirs_packed = ""
    if bench.stock:
        found = bench.stock.size(bench.stock_small.tag)
        model = sum(path.stat().st_size for path in bench.small_model.iterdir())
        theirs = _mb(found - model)
        bench.stock.push(bench.stock_small.tag, bench.registry.name)
        theirs_packed = f"{_mb(sum(bench.registry.layers(*bench.stock_small.tag.split(':'))) - model)} / -"
    yield Row("image of a task for processors, without weights", "<= 900 MB", _mb(beside_weights(task)), theirs)
    ours = " / ".join(_mb(packed[kind]["chat-completion"]) for kind in packed)
    yield Row("the same as it is sent, gzip / zstd", "<= 300 MB / <= 230 MB", ours, theirs_packed)
    for name, target, image in (("router", "<= 170 MB", router), ("page", "<= 450 MB", page)):
        ours = " / ".join(_mb(packed[kind][name]) for kind in packed)
        yield Row(f"image of the {name}", target, f"{_mb(image.size)} ({ours})")


def _packed(bench: Bench, project: Project, compression: str) -> dict[str, int]:
    """By service, what a registry holds of each image beside weights."""
    project.command("push", bench.registry.name, "--compression", compression)
    found = {}
    for service in SERVICES:
        sent = bench.registry.layers(project.reference(service))
        layers = zip(project.image(service).layers, sent, strict=True)
        found[service] = sum(bytes_sent for layer, bytes_sent in layers if not of_a_model(layer))
    return found


def cold(bench: Bench) -> Iterator[Row]:
    """With nothing but wheels and uv's cache."""
    assert bench.small
    task, rest = bench.builds["task"], bench.builds["rest"]
    theirs = ""
    if bench.stock:
        made = bench.stock_small
        theirs = f"{made.seconds:.0f} s, of which Debian's compilers {made.debian_s:.0f} s"
    yield Row("a task anew, packages downloaded before", "", f"{task.seconds:.0f} s", theirs)
    yield Row("task, router and page anew, the same", "<= 60 s", f"{task.seconds + rest.seconds:.0f} s")


def hashing(bench: Bench) -> Iterator[Row]:
    """A model that was never built, on packages that were."""
    assert bench.large
    megabytes = bench.place.megabytes
    seconds = bench.builds["large"].seconds
    theirs = f"{bench.stock_large.seconds:.1f} s" if bench.stock else ""
    target = f"<= 10 s + {megabytes / 250:.0f} s (250 MB/s)"
    yield Row(f"a new model of {megabytes} MB, packages built before", target, _at(seconds, megabytes), theirs)


def _at(seconds: float, megabytes: int) -> str:
    return f"{seconds:.1f} s ({megabytes / seconds:.0f} MB/s in all)"


def unchanged(bench: Bench) -> Iterator[Row]:
    """Without any network."""
    project, first = bench.small, {**bench.builds["task"].digests, **bench.builds["rest"].digests}
    again = [project.build(before=OFFLINE) for _ in range(bench.place.rounds)]
    ours = f"{_median(again)}, {_layers(again)}, {_same(again, first)}, no network"
    yield Row("all three again, nothing changed", "<= 1.5 s, no layer, the same digests, no network", ours)
    again = [bench.large.build("chat", before=OFFLINE) for _ in range(bench.place.rounds)]
    ours = f"{_median(again)}, {_layers(again)}, {_same(again, bench.builds['large'].digests)}"
    theirs = ""
    if bench.stock:
        before = bench.stock_large.digest
        made = bench.stock.containerize(bench.stock_folder("chat"), "Chat")
        digest = "the same id" if made.digest == before else "another id"
        theirs = f"{made.seconds:.1f} s, a layer of {size(bench.stock.last_layers(made.tag))}, {digest}"
    yield Row(f"a task with {bench.place.megabytes} MB of weights again", "the same", ours, theirs)


def prompt(bench: Bench) -> Iterator[Row]:
    """Changes the text that the model is always told."""
    project, first = bench.small, {**bench.builds["task"].digests, **bench.builds["rest"].digests}
    file = project.folder / "model-compose.yml"
    before, built, layers = file.read_text(encoding="utf-8"), [], set(project.image("router").layers)
    for number in range(bench.place.rounds):
        file.write_text(before.replace("helpful assistant", f"helpful assistant {number}"), encoding="utf-8")
        built.append(project.build())
    changed = [layer for layer in project.image("router").layers if layer not in layers]
    file.write_text(before, encoding="utf-8")
    project.build()  # what is pushed later must be what the file says
    tasks = "tasks untouched" if _same_of("chat-completion", built, first) else "tasks changed"
    ours = f"{tasks}, all three in {_median(built)}, {len(changed)} layer of {size(sum(each.size for each in changed))}"
    yield Row("after an edit of a prompt", "tasks untouched, router <= 2 s, one layer <= 16 KB", ours)


def code(bench: Bench) -> Iterator[Row]:
    """Changes a line of what runs in the image; for the other side, of the service."""
    checkout = copied_checkout(bench.place.scratch / "edited")
    _append(checkout / "services" / "errors.py")
    ours = _elsewhere(bench, checkout)
    theirs = ""
    if bench.stock:
        registry, held = bench.registry, bench.registry.bytes
        _append(bench.stock_folder("chat") / "service.py")
        made = bench.stock.containerize(bench.stock_folder("chat"), "Chat")
        bench.stock.push(made.tag, registry.name)
        layer = size(bench.stock.last_layers(made.tag))
        theirs = f"{made.seconds:.1f} s, a new layer of {layer} with the weights, {size(registry.bytes - held)} sent"
    yield Row("after an edit of code", "weights the same, not sent again", ours, theirs)


def bump(bench: Bench) -> Iterator[Row]:
    """Takes another version of a package."""
    name, version = BUMPED
    checkout = copied_checkout(bench.place.scratch / "bumped")
    constraints = checkout / "infra" / "requirements" / "constraints.txt"
    lines = constraints.read_text(encoding="utf-8").splitlines()
    changed = [f"{name}=={version}" if line.startswith(f"{name}==") else line for line in lines]
    assert changed != lines
    constraints.write_text("\n".join([*changed, ""]), encoding="utf-8")
    ours = _elsewhere(bench, checkout)
    yield Row("after another version of a package", "weights the same, not sent again", ours)


def _append(file: Path) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write("# another line\n")


def _elsewhere(bench: Bench, checkout: Path) -> str:
    """What becomes of the large project when this code builds and pushes it."""
    registry, held, before = bench.registry, bench.registry.bytes, bench.large.image("chat")
    project = Project(bench.place, bench.large.folder, bench.large.cache, checkout)
    lock = project.folder / "model-compose.lock"
    kept = lock.read_bytes()
    built = project.build("chat")
    image = project.image("chat")
    project.command("push", registry.name, "chat")
    lock.write_bytes(kept)
    bench.large.build("chat")
    known = {layer.digest for layer in before.layers}
    new = [layer for layer in image.layers if layer.digest not in known]
    same = "weights the same" if weights(image) == weights(before) else "weights changed"
    purposes = ", ".join(layer.purpose for layer in new)
    return f"{built.seconds:.1f} s, {same}, new: {purposes}; {size(registry.bytes - held)} sent"


def shared(bench: Bench) -> Iterator[Row]:
    """A second task over the same model."""
    registry, project = bench.registry, bench.large
    held, kept = registry.bytes, folder_bytes(project.cache)
    project.build("story")
    more = folder_bytes(project.cache) - kept
    project.command("push", registry.name, "story")
    ours = f"{size(more)} more on the disk, {size(registry.bytes - held)} sent"
    theirs = ""
    if bench.stock:
        held, made = registry.bytes, bench.stock_second()
        bench.stock.push(made.tag, registry.name)
        theirs = f"{size(bench.stock.last_layers(made.tag))} more on the disk, {size(registry.bytes - held)} sent"
    what = f"a second task over one model of {bench.place.megabytes} MB"
    yield Row(what, "weights once on the disk, sent once", ours, theirs)


def reproducible(bench: Bench) -> Iterator[Row]:
    """Another folder, cache, place of the base, user and umask."""
    place, text = bench.place, bench.small.folder.joinpath("model-compose.yml").read_text(encoding="utf-8")
    first = {**bench.builds["task"].digests, **bench.builds["rest"].digests}
    folder = place.scratch / "elsewhere"
    project = Project.make(place, folder / "measured", text, bench.small_model)
    base = shutil.copyfile(place.base, folder / "another.tar")
    built = project.build(base=base, before=SOMEBODY, umask=0o077)
    theirs = "another id each time" if bench.stock else ""
    yield Row("two folders, users, umasks and times", "the same digests", _same([built], first), theirs)


def _median(builds: list[Build]) -> str:
    return f"{statistics.median(build.seconds for build in builds):.1f} s"


def _layers(builds: list[Build]) -> str:
    return f"{sum(sum(build.new.values()) for build in builds) or 'no'} new layer"


def _same(builds: list[Build], first: dict[str, str]) -> str:
    return "the same digests" if all(build.digests == first for build in builds) else "OTHER DIGESTS"


def _same_of(service: str, builds: list[Build], first: dict[str, str]) -> bool:
    return {build.digests[service] for build in builds} == {first[service]}


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
