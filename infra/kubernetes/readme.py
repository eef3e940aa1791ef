"""The README of an export: how it is deployed, and what it leaves to whoever deploys it."""

import math
import textwrap
from collections.abc import Collection
from typing import Final

from infra.kubernetes.deployments import progress_deadline_s
from infra.kubernetes.routes import GATEWAY_CLASS, tls_secret
from infra.kubernetes.services import registry_secret
from infra.kubernetes.workload import Export
from infra.policy.rules import Finding

_COMPONENTS: Final = {
    "gateway": "a Gateway and an HTTPRoute, with TLS; the cluster has the Gateway API 1.2 or newer",
    "gpu": "GPUs for the tasks that ask for them, which may run on their nodes",
    "grafana": "a dashboard; Grafana has its sidecar for dashboards",
    "hpa": "more pods under load; the cluster has the metrics server",
    "image-volume": (
        "weights as a volume, which nodes keep when packages change; the images came by `push --image-volumes`, the "
        "cluster has Kubernetes 1.35 or newer (1.33 with the feature gate `ImageVolume`) and containerd 2.1 or CRI-O"
    ),
    "ingress": "the same door as an Ingress; take it instead of `gateway`",
    "keda": "tasks that sleep while nobody asks, and the number of those with GPUs; the cluster has KEDA 2.20 or newer",
    "prometheus": "lets Prometheus in",
    "servicemonitor": "metrics and alerts for Prometheus; the cluster has its operator; `prometheus` is in it",
}


def readme(export: Export, components: Collection[str], exceptions: Collection[Finding]) -> str:
    """exceptions: what `overlays/prod` knowingly breaks of the rules for all exports."""
    parts = [_HEAD.format(name=export.name, namespace=export.namespace)]
    if export.secret_keys:
        parts.append(
            _SECRETS.format(
                secret=export.secret,
                namespace=export.namespace,
                keys="\n".join(f"- `{key}`" for key in export.secret_keys),
            )
        )
    parts.append(_CREDENTIALS.format(secret=registry_secret(export), namespace=export.namespace))
    minutes = math.ceil(max(map(progress_deadline_s, export.workloads)) / 60)
    router = export.router
    parts.append(_DEPLOY.format(namespace=export.namespace, router=router.name, port=router.port, minutes=minutes))
    if "gateway" in components:
        parts.append(_DOOR.format(tls=tls_secret(export), gateway_class=GATEWAY_CLASS, name=export.name))
    told = [*_ON_CLUSTERS]
    told += [_ON_SCALING] if {"hpa", "keda"} & {*components} else []
    told += [_ON_GPUS] if "gpu" in components else []
    said = [each.format(name=export.name, namespace=export.namespace) for each in told]
    parts.append(_CLUSTER + "\n".join(map(_item, said)) + "\n")
    rows = "\n".join(f"| `{name}` | {_COMPONENTS[name]} |" for name in sorted(components))
    parts.append(_PARTS.format(rows=rows))
    if exceptions:
        said = [f"{each.kind} `{each.name}`, rule `{each.rule}`: {each.reason}." for each in exceptions]
        parts.append(_EXCEPTIONS + "\n".join(map(_item, said)) + "\n")
    if export.notes:
        parts.append("## Notes\n\n" + "\n".join(map(_item, export.notes)) + "\n")
    return "\n".join(parts)


def _item(note: str) -> str:
    return textwrap.fill(note, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


_HEAD: Final = """\
# {name} on Kubernetes

Written by `model-compose export kubernetes`, for Kubernetes 1.30 and newer. The next export replaces these files and
leaves others alone: put changes of your own into a folder beside them, such as `overlays/mine`, whose
`kustomization.yaml` says `resources: [../prod]`.

Everything is in the namespace `{namespace}`, which is for this application alone: nobody else may speak to its pods.

## Deploy
"""

_SECRETS: Final = """\
Secrets are not in these files. Write them into a file `secrets.env`, a line `NAME=VALUE` each, and give it to the
cluster first:

{keys}

```sh
kubectl apply -f base/namespace.yaml
kubectl create secret generic {secret} --namespace {namespace} --from-env-file secrets.env
```
"""

_CREDENTIALS: Final = """\
A registry that asks for credentials gets them before the first pod is made:

```sh
kubectl apply -f base/namespace.yaml
kubectl create secret docker-registry {secret} --namespace {namespace} --docker-server HOST \\
  --docker-username NAME --docker-password PASSWORD
```

Then three commands start everything, wait until it is ready, and bring the router to this machine:
"""

_DEPLOY: Final = """\
```sh
kubectl apply -k overlays/prod
kubectl rollout status deployment --namespace {namespace} --timeout {minutes}m
kubectl port-forward --namespace {namespace} service/{router} {port}
```

`overlays/prod` takes the images by their digests, from where they were pushed. `overlays/local` is for a cluster on one
machine, such as kind or minikube, which was given the images themselves: one pod each, named as `build` has named them.
Pods that ask for a GPU wait there until a node has one.
"""

_DOOR: Final = """\
## From outside

The certificate is in the Secret `{tls}`, which you make, or a tool such as cert-manager. The class of the Gateway
is called `{gateway_class}`; in an overlay of your own say what your cluster calls it:

```yaml
patches:
  - target: {{kind: Gateway, name: {name}}}
    patch: '[{{"op": "replace", "path": "/spec/gatewayClassName", "value": "YOURS"}}]'
```

Router and page answer to the names that `controller.allowed_hosts` has in the file.
"""

_CLUSTER: Final = """\
## On your cluster

Clusters differ. What is said here goes into an overlay of your own.

"""
_ON_CLUSTERS: Final = (
    "**DNS**: the policy `dns` knows kube-dns, NodeLocal DNSCache, OpenShift's DNS and link-local addresses, which "
    "some clouds use. Where pods are ready and find no name, the cache of a node has the address of the Service "
    "`kube-dns` itself: add `{{ipBlock: {{cidr: ADDRESS/32}}}}` to the policy.",
    "**Without the Gateway API 1.2 or without KEDA**: an overlay of your own begins with `resources: [../../base]` and "
    "names the components that the cluster can have, such as `../../components/ingress` for `gateway`. The class of "
    "an Ingress is its `/spec/ingressClassName`.",
    "**Load balancers** of clouds must ask `/readyz` of router and page. GKE: a HealthCheckPolicy for each Service, "
    "and a GCPBackendPolicy with `timeoutSec`, else an answer ends after 30 s. AWS: the annotation "
    "`alb.ingress.kubernetes.io/healthcheck-path: /readyz`. One that still sends requests to a pod 10 s after it was "
    "told to go needs a longer `preStop` of router and page, and as much more grace.",
    "**cert-manager**: let it solve by DNS-01, as nobody reaches the pods of HTTP-01 in this namespace.",
    "**OpenShift**: `oc adm policy add-scc-to-user nonroot-v2 -z {name} -n {namespace}` lets pods run as the user of "
    "the images.",
    "**Prometheus and KEDA** are let in from the namespaces `monitoring` and `keda`; where yours are elsewhere, "
    "change that in the policies `...-from-prometheus` and `router-from-keda`. The operator of kube-prometheus-stack "
    "reads only objects with its label `release`.",
    "**Another namespace**: export again with `--namespace`, because addresses contain it.",
    "**Changes**: another Secret restarts no pod (`kubectl rollout restart` does). ConfigMaps of former exports stay "
    "for `kubectl rollout undo`, until you or a tool that prunes removes them.",
    "**Removing**: `kubectl delete -k` deletes the namespace, and so the Secrets and the volume with the runs.",
)
_ON_SCALING: Final = (
    "**First scaling**: a Deployment that `hpa` or `keda` takes over has one pod until it is scaled, unless `kubectl "
    "apply edit-last-applied deployment/NAME` removes its `replicas` before."
)
_ON_GPUS: Final = (
    "**GPU types** are labels of nodes: where yours have another key, such as `cloud.google.com/gke-accelerator`, "
    "export with `--gpu-label KEY`. Taints of other names need a toleration, on AKS often `sku=gpu`."
)

_PARTS: Final = """\
## Components

| component | brings |
| --- | --- |
{rows}

One that `overlays/prod` does not name is added in an overlay of your own: `components: [../../components/NAME]`. A
Prometheus without operator gets `components/prometheus`, with its `scrape.yaml` and `alerts.yaml` among its own
`scrape_config_files` and `rule_files`. Where Grafana has no sidecar that looks for dashboards, import
`components/grafana/dashboard.json`.
"""

_EXCEPTIONS: Final = """\
## Exceptions

These objects of `overlays/prod` break a rule, and say why in an annotation:

"""
