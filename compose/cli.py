"""The command line: each command reads its options, calls one function and prints.

Only click is imported here; everything else waits until a command needs it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from compose.options import Common, Count, Seconds, common_options
from compose.program import NAME, Program

if TYPE_CHECKING:
    from infra.control import Verb


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from builders.code import tool_version

        click.echo(f"{NAME} {tool_version()}")
        context.exit()


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_RUNTIME = click.option(
    "--runtime", type=click.Choice(["process", "docker"]), help="Where to run, whatever the file says."
)
_EPILOG = "`init` writes a first file, `up` starts what it describes."


@click.group(cls=Program, context_settings=_SETTINGS, epilog=_EPILOG)
@common_options()
@click.option(
    "--version", is_flag=True, callback=_show_version, expose_value=False, is_eager=True, help="Show the version."
)
def cli() -> None:
    """One YAML file in, running model services out."""


@cli.command()
@click.argument("name", required=False)
@click.pass_obj
def init(common: Common, name: str | None) -> None:
    """Write a starter file here, or in the new folder NAME."""
    from compose.commands.init import write_starter

    common.console.result(write_starter(Path.cwd() / name if name else Path.cwd()))


@cli.command()
@click.option("-d", "--detach", is_flag=True, help="Return once everything is ready, and leave it running.")
@_RUNTIME
@click.option("--wait-timeout", type=Seconds(), metavar="SECONDS", help="Give up when it is not ready by then.")
@common_options()
@click.pass_obj
def up(common: Common, detach: bool, runtime: str | None, wait_timeout: float | None) -> int:
    """Start what the file describes, and show where it is.

    Ctrl-C stops it once accepted requests are answered; a second one hurries, a third one kills.
    """
    common.console.status("reading the file")
    from compose.commands.detach import background_half, start_in_background
    from compose.commands.up import Wishes
    from compose.commands.up import up as start

    leave_terminal = background_half()
    if detach and leave_terminal is None:
        return start_in_background(sys.argv[1:])
    return start(common.selection, Wishes(runtime, wait_timeout, leave_terminal), common.console)


@cli.command()
@common_options()
@click.pass_obj
def down(common: Common) -> None:
    """Stop it, and return once it is stopped."""
    from compose.commands.stop import down as stop

    stop(common.selection, common.console)


def _steering(verb: "Verb", help_text: str) -> None:
    """One of the three commands that change the services of a run."""

    @cli.command(verb, help=help_text)
    @click.argument("service", required=False)
    @click.option("--wait-timeout", type=Seconds(), metavar="SECONDS", help="Give up when it is not done by then.")
    @common_options()
    @click.pass_obj
    def command(common: Common, service: str | None, wait_timeout: float | None) -> int:
        from compose.commands.control import control

        return control(common.selection, verb, service, wait_timeout, common.console)


_steering("stop", "Stop all services or one SERVICE, and stay up.")
_steering("start", "Start again what `stop` has stopped, or what has failed.")
_steering("restart", "Stop and start all services or one SERVICE.")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options()
@click.pass_obj
def ps(common: Common, as_json: bool) -> None:
    """List the services: state, memory, address, last error."""
    from compose.commands.listing import list_services

    list_services(common.selection, common.console, as_json=as_json)


@cli.command()
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time, in UTC.")
@click.option("--tail", type=Count(), metavar="N", help="Only the last N lines of each service.")
@common_options(file_names=("--file",))
@click.pass_obj
def logs(common: Common, service: str | None, follow: bool, timestamps: bool, tail: int | None) -> None:
    """Show what the services have printed, or one SERVICE."""
    from compose.commands.listing import show_logs

    show_logs(common.selection, service, common.console, count=tail, keep_on=follow, times=timestamps)


@cli.command()
@click.argument("workflow", required=False)
@click.option(
    "-i", "--input", "inputs", multiple=True, metavar="JSON|@FILE|NAME=TEXT", help="Inputs; may stand several times."
)
@click.option("--no-stream", is_flag=True, help="Print the output once it is complete.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the output there instead.")
@common_options()
@click.pass_obj
def run(common: Common, workflow: str | None, inputs: Sequence[str], no_stream: bool, output: Path | None) -> None:
    """Run a WORKFLOW once, and print its output.

    Asks the server that `up` has started here; without one, starts what the workflow needs and stops it afterwards.
    """
    common.console.status("reading the file")
    from compose.commands.inputs import parse_inputs
    from compose.commands.runs import Question
    from compose.commands.runs import run as ask

    question = Question(workflow, parse_inputs(inputs), stream=not no_stream, target=output)
    ask(common.selection, question, common.console)


@cli.command()
@click.argument("components", metavar="[COMPONENT]...", nargs=-1)
@click.option("--tag", default="latest", metavar="TAG", help="Of all images; `latest` unless given.")
@click.option("--locked", is_flag=True, help="Refuse whatever differs from model-compose.lock.")
@click.option(
    "--base", metavar="REF", help="Base image: a reference, docker-daemon:NAME, oci:DIR, archive:FILE or tar:FILE."
)
@click.option("--wheels", type=click.Path(path_type=Path), metavar="DIR", help="Take packages from this folder.")
@click.option("--index-url", metavar="URL", help="Take packages from this index.")
@click.option("--platform", metavar="PLATFORM", help="linux/amd64 or linux/arm64; this machine's unless given.")
@click.option("--output", metavar="WHERE", help="Write them to oci:DIR or archive:FILE, or give them to docker.")
@click.option("--no-verify", is_flag=True, help="Do not start the images to prove that they work.")
@common_options()
@click.pass_obj
def build(common: Common, /, no_verify: bool, **options: Any) -> None:
    """Make an image of each COMPONENT, router and page, or of all."""
    common.console.status("reading the file")
    from compose.commands.build import Wishes
    from compose.commands.build import build as make

    make(common.selection, Wishes(verify=not no_verify, **options), common.console)


@cli.command()
@click.argument("registry")
@click.argument("components", metavar="[COMPONENT]...", nargs=-1)
@click.option("--tag", default="latest", metavar="TAG", help="Of the images; `latest` unless given.")
@click.option(
    "--compression",
    type=click.Choice(["none", "gzip", "zstd"]),
    default="none",
    help="Of all layers but weights; it changes the digest.",
)
@click.option("--image-volumes", is_flag=True, help="Also the parts that Kubernetes mounts together.")
@common_options()
@click.pass_obj
def push(common: Common, /, registry: str, compression: str, **options: Any) -> None:
    """Bring the images that `build` has made to REGISTRY."""
    common.console.status("reading the file")
    from builders.images.compressing import Compression
    from compose.commands.push import push as ship

    ship(common.selection, registry, common.console, compression=Compression(compression), **options)


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Also what projects need; their next build makes it again.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.pass_obj
def prune(common: Common, everything: bool, dry_run: bool) -> None:
    """Remove images, layers and weights that no project needs any more."""
    from compose.commands.prune import prune as clean

    clean(common.console, everything=everything, dry=dry_run)


@cli.group()
def export() -> None:
    """Write files for other tools, such as `docker compose`."""


@export.command("compose")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there, not here.")
@click.option("--tag", default="latest", metavar="TAG", help="Of the images; `latest` unless given.")
@common_options()
@click.pass_obj
def export_compose(common: Common, output: Path | None, tag: str) -> None:
    """Write what `up --runtime docker` runs as a compose.yaml."""
    from compose.commands.export_compose import export_compose as export_file

    export_file(common.selection, output, tag, common.console)


@export.command("kubernetes")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", required=True, help="Write it there.")
@click.option("--registry", metavar="REGISTRY", help="Where `push` has brought the images.")
@click.option("--namespace", metavar="NAME", help="One of its own; the folder's name unless given.")
@click.option("--target", type=click.Choice(["cpu", "nvidia", "amd"]), help="What the cluster computes on.")
@click.option("--gpu-label", metavar="KEY", help="Under which label nodes say which GPU they have.")
@click.option("--replicas", type=click.IntRange(1), metavar="N", help="How many of each, where the file does not say.")
@click.option("--tag", default="latest", metavar="TAG", help="Of the images; `latest` unless given.")
@click.option("--without-page", is_flag=True, help="Leave out the page.")
@common_options()
@click.pass_obj
def export_kubernetes(common: Common, /, without_page: bool, **options: Any) -> None:
    """Write a Kustomize tree for a cluster that has the images."""
    common.console.status("reading the file")
    from compose.commands.export_kubernetes import Wishes
    from compose.commands.export_kubernetes import export_kubernetes as write_tree

    write_tree(common.selection, Wishes(page=not without_page, **options), common.console)


@cli.command()
@common_options()
@click.pass_obj
def validate(common: Common) -> None:
    """Check the file, and show everything that is wrong with it."""
    from compose.output import count

    spec = common.selection.load(common.console).spec
    parts = f"{count(len(spec.components), 'component')}, {count(len(spec.workflows), 'workflow')}"
    common.console.result(f"the file is valid: {parts}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_RUNTIME
@common_options()
@click.pass_obj
def plan(common: Common, as_json: bool, runtime: str | None) -> int:
    """Say what `up` would do: its downloads, disk and memory."""
    common.console.status("reading the file")
    from compose.commands.preview import preview

    return preview(common.selection, runtime, common.console, as_json=as_json)


@cli.command()
@common_options()
@click.pass_obj
def config(common: Common) -> None:
    """Print the file as it is understood, without its secrets."""
    from compose.commands.config import resolved_yaml

    common.console.text(resolved_yaml(common.selection.load(common.console)))


@cli.command()
@click.argument("workflow", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options()
@click.pass_obj
def explain(common: Common, workflow: str | None, as_json: bool) -> None:
    """Show a WORKFLOW in order: what jobs read, what can be null."""
    from compose.explain import explain as show

    show(common.selection, workflow, common.console, as_json=as_json)


@cli.command()
@click.pass_obj
def schema(common: Common) -> None:
    """Print the JSON schema of the file, for editors."""
    from compose.schema import shipped_schema

    common.console.text(shipped_schema())


def main() -> NoReturn:
    """The process's own command line."""
    cli.main()
