"""The other side: `bentoml build` and `bentoml containerize` of the same model and packages, as BentoML's users do it.

Its image installs with pip and uv while it is built. So that nobody waits for an index, the wheels are served on
loopback, which `--opt network=host` lets it reach; compilers come from Debian each time, which is told apart.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import docker

from benchmarks.images.place import Place, link_model, run, works

OFFICIAL = "python:3.11-slim"
STAND_IN = "model-compose-benchmark-base:debian"
"""What takes its place where no registry can be reached: Debian's own packages, by debootstrap."""
_PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
_PORT = 38977
"""Always the same: uv keeps wheels by their address, and an image's layers by its requirements."""
_WHEELS = f"http://127.0.0.1:{_PORT}/"
_BENTOML = Path(sys.executable).with_name("bentoml")
_COPY = "COPY --chown=bentoml:bentoml . ./"

_SERVICE = f'''\
"""A model behind one call."""

from pathlib import Path

import bentoml

MODEL = Path(__file__).parent / "model"
IMAGE = (
    bentoml.images.Image(base_image="{{base}}", lock_python_packages=False)
    .run("pip install --no-index --find-links {_WHEELS} uv")
    .requirements_file("requirements.txt")
)


@bentoml.service(image=IMAGE)
class {{name}}:
    def __init__(self) -> None:
        import transformers

        self._tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
        self._network = transformers.AutoModelForCausalLM.from_pretrained(MODEL)

    @bentoml.api
    def predict(self, prompt: str) -> str:
        inputs = self._tokenizer(prompt, return_tensors="pt")
        return self._tokenizer.decode(self._network.generate(**inputs, max_new_tokens=16)[0])
'''


def make_base() -> None:
    """Have a base for stock images in the engine: the usual one, else one that debootstrap makes."""
    if _known(OFFICIAL) or _known(STAND_IN) or works("docker", "pull", "--quiet", OFFICIAL):
        return
    program = (
        'set -e; root=$(mktemp --directory); trap "rm --recursive $root" EXIT; chmod 755 $root; '
        f"debootstrap --variant=minbase --include={_PACKAGES} bookworm $root >&2; "
        "rm $root/usr/lib/python3*/EXTERNALLY-MANAGED $root/var/cache/apt/archives/*.deb; "  # as in the official one
        f"tar --create --directory $root . | docker import - {STAND_IN}"
    )
    run("sh", "-c", program, cwd=Path("/"))


def base() -> str:
    return OFFICIAL if _known(OFFICIAL) else STAND_IN


def _known(image: str) -> bool:
    return works("docker", "image", "inspect", image)


@dataclass(frozen=True)
class Containerized:
    """What became of `bentoml build` and `containerize`.

    debian_s: of the seconds, those in which Debian's packages were fetched and installed.
    """

    seconds: float
    debian_s: float
    tag: str
    digest: str


@dataclass
class Stock:
    """A folder of Bentos over models."""

    place: Place
    wheels: Path
    _tags: list[str] = field(default_factory=list)

    @cached_property
    def client(self) -> docker.APIClient:
        return docker.from_env(version="auto").api

    def write(self, folder: Path, name: str, model: Path) -> None:
        """A service called `name`."""
        folder.mkdir()
        (folder / "service.py").write_text(_SERVICE.format(name=name, base=base()), encoding="utf-8")
        found = (self.wheels / "task.txt").read_text(encoding="utf-8")
        (folder / "requirements.txt").write_text(f"--no-index\n--find-links {_WHEELS}\n{found}", encoding="utf-8")
        link_model(model, folder / "model")

    def containerize(self, folder: Path, name: str, *, cold: bool = False) -> Containerized:
        """cold: no layer of an earlier image is taken, though uv's cache is."""
        home = self.place.scratch / "bentoml"
        home.mkdir(exist_ok=True)
        environment = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONDONTWRITEBYTECODE": "1"}
        built = run(_BENTOML, "build", f"service.py:{name}", "--output", "tag", cwd=folder, environment=environment)
        bento = built.out.split("__tag__:")[1].split()[0]
        tag = f"model-compose-benchmark-{bento}"
        options = ("--opt", "network=host", "--opt", "progress=plain", *(("--opt", "no-cache") if cold else ()))
        command = (_BENTOML, "containerize", bento, "--image-tag", tag, *options)
        made = run(*command, cwd=folder, environment=environment)
        self._tags.append(tag)
        identity = str(self.client.inspect_image(tag)["Id"])
        return Containerized(built.seconds + made.seconds, _debian_s(made.out + made.err), tag, identity)

    def size(self, tag: str) -> int:
        """Of an image, in bytes, unpacked."""
        return int(self.client.inspect_image(tag)["Size"])

    def last_layers(self, tag: str) -> int:
        """The bytes of those that a new Bento changes: the one that all of it is copied into, and what follows."""
        found: int = 0
        for layer in self.client.history(tag):
            found += layer["Size"]
            if "COPY . ./" in layer["CreatedBy"]:
                return found
        raise SystemExit(f"{tag} has no layer of a Bento")

    def push(self, tag: str, registry: str) -> None:
        """Under the same name and tag."""
        there = f"{registry}/{tag}"
        run("docker", "tag", tag, there, cwd=self.place.scratch)
        self._tags.append(there)
        run("docker", "push", "--quiet", there, cwd=self.place.scratch)

    def remove(self) -> None:
        """What this run has left in the engine: images, and copies of Bentos in its build cache."""
        for tag in reversed(self._tags):
            works("docker", "image", "rm", "--force", tag)
        for record in self.client.df()["BuildCache"]:
            if _COPY in record["Description"] and not record["InUse"]:
                works("docker", "builder", "prune", "--force", "--filter", f"id={record['ID']}")


def _debian_s(log: str) -> float:
    """Of the plain progress of BuildKit: `#9 [base-container 5/14] RUN apt-get ...`, later `#9 DONE 40.2s`."""
    steps = set(re.findall(r"^#(\d+) \[.*\] RUN +apt-get ", log, re.MULTILINE))
    done = re.findall(r"^#(\d+) DONE ([\d.]+)s", log, re.MULTILINE)
    return sum(float(seconds) for step, seconds in done if step in steps)


@contextmanager
def stock(place: Place) -> Iterator[Stock]:
    """With the wheels at hand, as long as it is needed."""
    assert place.wheels is not None
    with ExitStack() as stack:
        command = (sys.executable, "-m", "http.server", str(_PORT), "--bind", "127.0.0.1", "--directory", place.wheels)
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.enter_context(server)
        stack.callback(server.terminate)
        made = Stock(place, place.wheels)
        stack.callback(made.remove)
        yield made
