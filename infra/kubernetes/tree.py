"""An export as a folder for Kustomize: the path and the text of each file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from infra.kubernetes import kustomization
from infra.kubernetes.applying import COMPONENTS, applied
from infra.kubernetes.deployments import deployment, volume_claims
from infra.kubernetes.kustomization import KUSTOMIZATION, Files
from infra.kubernetes.network import ask_dns, deny_all, traffic
from infra.kubernetes.objects import Manifest
from infra.kubernetes.observing.alerts import prometheus_rule, rule_groups
from infra.kubernetes.observing.dashboard import DASHBOARD, dashboard_config_map, json_text
from infra.kubernetes.observing.panels import dashboard_of
from infra.kubernetes.observing.scraping import admit_prometheus, scrape_configuration, service_monitor, watched
from infra.kubernetes.patches import addressed_patch, gpu_patch, image_volume_patch, local_patch, scaled_patch
from infra.kubernetes.readme import readme
from infra.kubernetes.rendering import rendered
from infra.kubernetes.routes import admit_outside, gateway, http_routes, ingress
from infra.kubernetes.scaling import (
    admit_keda,
    autoscaler,
    disruption_budget,
    scaled_object,
    trigger_authentication,
)
from infra.kubernetes.services import namespace, service, service_account
from infra.kubernetes.settings import config_map
from infra.kubernetes.workload import Export
from infra.kubernetes.yaml_text import yaml_text
from infra.policy.checking import findings
from infra.policy.rules import Finding

LOCAL: Final = "overlays/local"
PROD: Final = "overlays/prod"


def tree(export: Export) -> Mapping[str, str]:
    """Every file by its path, sorted; equal exports give equal bytes."""
    documents = folders(export)
    parts = [folder.removeprefix(COMPONENTS) for folder in documents if folder.startswith(COMPONENTS)]
    files = {"README.md": readme(export, parts, _excused(documents))}
    for folder, found in documents.items():
        files |= {f"{folder}/{path}": _text(path, document) for path, document in found.items()}
    return dict(sorted(files.items()))


def _text(path: str, document: Mapping[str, Any]) -> str:
    return (json_text if path.endswith(".json") else yaml_text)(document)


def folders(export: Export) -> dict[str, Files]:
    """The documents of every folder, by its path."""
    parts = components(export)
    return {
        "base": _base(export),
        **{f"{COMPONENTS}{name}": found for name, found in parts.items()},
        LOCAL: _local(export, parts),
        PROD: _prod(export, parts),
    }


def exceptions(export: Export) -> list[Finding]:
    """What knowingly breaks a rule in `overlays/prod`."""
    return _excused(folders(export))


def _excused(documents: Mapping[str, Files]) -> list[Finding]:
    return [found for found in findings(rendered(documents, PROD)) if found.reason]


def broken(export: Export) -> list[Finding]:
    """What breaks a rule without a reason in anything that can be applied, each sort of it once."""
    sets = applied(folders(export))
    found = [findings(manifests, by_hand=folder == LOCAL) for folder, manifests in sets.items()]
    return list(dict.fromkeys(each for some in found for each in some if each.reason is None))


def components(export: Export) -> dict[str, Files]:
    """Those that this export has any use for, by their names."""
    makers: dict[str, Callable[[Export], Files]] = {
        "gateway": _gateway,
        "gpu": _gpu,
        "grafana": _grafana,
        "hpa": _hpa,
        "image-volume": _image_volume,
        "ingress": _ingress,
        "keda": _keda,
        "prometheus": _prometheus,
        "servicemonitor": _service_monitor,
    }
    made = {name: make(export) for name, make in makers.items()}
    return {name: files for name, files in made.items() if files}


def _base(export: Export) -> Files:
    files: Files = {
        "namespace.yaml": namespace(export),
        "serviceaccount.yaml": service_account(export),
        "networkpolicy.yaml": deny_all(export),
        "networkpolicy-dns.yaml": ask_dns(export),
    }
    for workload in export.workloads:
        objects = [
            config_map(export, workload),
            deployment(export, workload),
            disruption_budget(export, workload),
            service(export, workload),
            traffic(export, workload),
            *volume_claims(export, workload),
        ]
        files |= {f"{workload.name}/{each['kind'].lower()}.yaml": each for each in objects}
    return {KUSTOMIZATION: kustomization.base(files), **files}


def _gpu(export: Export) -> Files:
    patches = {workload.name: gpu_patch(export, workload) for workload in export.workloads if workload.share.gpu}
    return _patched({}, patches)


def _hpa(export: Export) -> Files:
    scaled = [workload for workload in export.workloads if workload.is_scaled_by_processors]
    objects = {f"{workload.name}.yaml": autoscaler(export, workload) for workload in scaled}
    return _component(objects, [scaled_patch(workload) for workload in scaled])


def _image_volume(export: Export) -> Files:
    return _patched({}, {each.name: image_volume_patch(export, each) for each in export.workloads if each.volume})


def _keda(export: Export) -> Files:
    scaled = [workload for workload in export.workloads if workload.is_scaled_by_requests]
    if not scaled:
        return {}
    objects = {f"{workload.name}.yaml": scaled_object(export, workload) for workload in scaled}
    objects["networkpolicy.yaml"] = admit_keda(export)
    if export.token:
        objects["triggerauthentication.yaml"] = trigger_authentication(export)
    found = _patched(objects, {export.router.name: addressed_patch(export, export.router)})
    found[KUSTOMIZATION]["patches"] += [scaled_patch(workload) for workload in scaled]
    return found


def _gateway(export: Export) -> Files:
    routes = http_routes(export)
    files = ["httproute.yaml", *(f"httproute-{number}.yaml" for number in range(2, len(routes) + 1))]
    return _component({"gateway.yaml": gateway(export), **dict(zip(files, routes, strict=True)), **_doors(export)})


def _ingress(export: Export) -> Files:
    return _component({"ingress.yaml": ingress(export), **_doors(export)})


def _doors(export: Export) -> Files:
    return {f"{policy['metadata']['name']}.yaml": policy for policy in admit_outside(export)}


def _grafana(export: Export) -> Files:
    generated = dashboard_config_map(export)
    return {KUSTOMIZATION: kustomization.component(generators=[generated]), DASHBOARD: dashboard_of(export)}


def _prometheus(export: Export) -> Files:
    """Beside what lets it in, two files for its own configuration, which no cluster reads."""
    policies: Files = {f"{each.name}-from-prometheus.yaml": admit_prometheus(export, each) for each in watched(export)}
    objects = _patched(policies, {export.router.name: addressed_patch(export, export.router)})
    return {**objects, "alerts.yaml": rule_groups(export), "scrape.yaml": scrape_configuration(export)}


def _service_monitor(export: Export) -> Files:
    objects: Files = {f"{each.name}.yaml": service_monitor(export, each) for each in watched(export)}
    objects["alerts.yaml"] = prometheus_rule(export)
    found = _component(objects)
    found[KUSTOMIZATION]["components"] = [f"../../{COMPONENTS}prometheus"]
    return found


def _component(objects: Files, patches: Sequence[dict[str, Any]] = ()) -> Files:
    return {KUSTOMIZATION: kustomization.component(list(objects), patches), **objects} if objects or patches else {}


def _patched(objects: Files, patches: Mapping[str, Manifest]) -> Files:
    """With a patch for each of these workloads, in a file of its own."""
    files = {f"{name}-patch.yaml": patch for name, patch in patches.items()}
    found = _component(objects, [{"path": path} for path in sorted(files)])
    return {**found, **files} if found else {}


def _local(export: Export, parts: Mapping[str, Files]) -> Files:
    """One pod each, on a machine that has the images."""
    patches = {f"{workload.name}-patch.yaml": local_patch(export, workload) for workload in export.workloads}
    used = [name for name in ("gpu",) if name in parts]
    return {KUSTOMIZATION: kustomization.overlay(used, sorted(patches), export.workloads), **patches}


def _prod(export: Export, parts: Mapping[str, Files]) -> Files:
    return {KUSTOMIZATION: kustomization.overlay(list(_prod_components(export, parts)))}


def _prod_components(export: Export, parts: Mapping[str, Files]) -> Iterator[str]:
    """What the file asks for; nothing is opened to the outside that does not ask for a token."""
    for name in ("gateway", "gpu", "hpa", "keda"):
        if name in parts and (name != "gateway" or export.exposed):
            yield name
