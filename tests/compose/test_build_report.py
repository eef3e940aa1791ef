import io

import pytest

from builders.images.layout import Image, ImageConfig, Layer, MediaType, Platform
from builders.spec import BuildSpec, Built, BuiltLayer
from compose.commands.build_report import BuildReport, bar
from compose.output import Console

pytestmark = pytest.mark.unit


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def layer(number: int, size: int, purpose: str) -> Layer:
    digest = f"sha256:{number:064x}"
    return Layer(digest, digest, size, MediaType.LAYER, purpose)


LAYERS = (
    BuiltLayer(layer(1, 50_000_000, "base"), True, "nothing in it has changed"),
    BuiltLayer(layer(2, 900, "settings"), False, "settings changed"),
)


def built() -> Built:
    spec = BuildSpec(name="router", repository="shop/router", kind="router", settings="{}")
    image = Image.of(ImageConfig(platform=Platform()), [each.layer for each in LAYERS])
    return Built(spec, "shop/router:latest", image, LAYERS)


def test_elsewhere_a_build_is_told_in_plain_lines_and_a_table() -> None:
    out, err = io.StringIO(), io.StringIO()
    report = BuildReport(Console(out, err), ["task-chat", "router"])
    report.step("", "resolving packages")
    for progress in (0.1, 0.2):
        report.step("task-chat", "downloading acme/tiny", progress)
    for each in LAYERS:
        report.layer("router", each)
    report.built(built())
    report.finish([built()])
    assert err.getvalue() == (
        "resolving packages\n"
        "task-chat: downloading acme/tiny\n"
        "router     reused     50.0 MB  base  (nothing in it has changed)\n"
        "router     new      900 bytes  settings  (settings changed)\n"
    )
    digest = built().image.digest
    assert out.getvalue() == (
        f"IMAGE               SIZE     NEW  REUSED  DIGEST\nshop/router:latest  50.0 MB  1    1       {digest}\n"
    )


def test_a_brief_one_is_silent_about_what_is_there_and_tells_what_lasts() -> None:
    err = io.StringIO()
    report = BuildReport(Console(io.StringIO(), err), ["task-chat", "router"], brief=True)
    for what, steps in {
        "reading acme/tiny": (0.0, 1.0),
        "making the layer of packages": (None, 0.0, 0.4, 0.5, 1.0),
        "giving it to Docker": (0.0, 0.7, 1.0),
    }.items():
        for progress in steps:
            report.step("router", what, progress)
    for each in LAYERS:
        report.layer("router", each)
    assert err.getvalue() == (
        "router: making the layer of packages\n"
        "router: giving it to Docker\n"
        "router     new      900 bytes  settings  (settings changed)\n"
    )


def test_on_a_terminal_the_last_line_shows_a_bar() -> None:
    err = Terminal()
    report = BuildReport(Console(io.StringIO(), err, environ={"TERM": "xterm"}), ["task-chat"])
    report.step("task-chat", "downloading acme/tiny", 0.43)
    assert err.getvalue() == "\r\x1b[K[#########...........] 43 %  task-chat: downloading acme/tiny"


@pytest.mark.parametrize(
    ("progress", "shown"),
    [(0, "[....................] 0 %"), (1, "[####################] 100 %"), (0.5, "[##########..........] 50 %")],
)
def test_a_bar(progress: float, shown: str) -> None:
    assert bar(progress) == shown
