"""The shapes of objects that clusters learn from add-ons, as far as an export has them; no more than that is allowed.

From the references of the Gateway API v1, KEDA 2.20 and Prometheus Operator 0.80.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = dict[str, str]


class Metadata(Strict):
    name: Name
    namespace: Name
    labels: Text
    annotations: Text = {}


class Certificate(Strict):
    kind: Literal["Secret"]
    name: Name


class Tls(Strict):
    mode: Literal["Terminate"]
    certificate_refs: Annotated[list[Certificate], Field(min_length=1)]


class Namespaces(Strict):
    from_: Annotated[Literal["Same", "All"], Field(alias="from")]


class Routes(Strict):
    namespaces: Namespaces


class Listener(Strict):
    name: Name
    port: Port
    protocol: Literal["HTTPS"]
    hostname: Name | None = None
    tls: Tls
    allowed_routes: Routes


class GatewaySpec(Strict):
    gateway_class_name: Name
    listeners: Annotated[list[Listener], Field(min_length=1, max_length=64)]


class Parent(Strict):
    name: Name
    section_name: Name


class Path(Strict):
    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: Annotated[str, Field(pattern="^/", max_length=1024)]


class Match(Strict):
    path: Path


class Backend(Strict):
    name: Name
    port: Port


class Timeouts(Strict):
    request: Annotated[str, Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")]


class Rule(Strict):
    matches: Annotated[list[Match], Field(max_length=64)]
    backend_refs: Annotated[list[Backend], Field(max_length=16)]
    timeouts: Timeouts


class HTTPRouteSpec(Strict):
    parent_refs: Annotated[list[Parent], Field(max_length=32)]
    hostnames: Annotated[list[Name], Field(min_length=1, max_length=16)] | None = None
    rules: Annotated[list[Rule], Field(min_length=1, max_length=16)]


class Target(Strict):
    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    name: Name


class Reference(Strict):
    name: Name


class Trigger(Strict):
    type: Literal["metrics-api", "cpu"]
    metric_type: Literal["Utilization", "AverageValue", "Value"] | None = None
    metadata: Text
    authentication_ref: Reference | None = None


class Policy(Strict):
    type: Literal["Pods", "Percent"]
    value: Annotated[int, Field(ge=1)]
    period_seconds: Annotated[int, Field(ge=1, le=1800)]


class Steps(Strict):
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)]
    policies: Annotated[list[Policy], Field(min_length=1)]


class Behavior(Strict):
    scale_up: Steps
    scale_down: Steps


class AutoscalerConfig(Strict):
    behavior: Behavior


class Advanced(Strict):
    horizontal_pod_autoscaler_config: AutoscalerConfig


class ScaledObjectSpec(Strict):
    scale_target_ref: Target
    min_replica_count: Annotated[int, Field(ge=0)]
    max_replica_count: Annotated[int, Field(ge=1)]
    polling_interval: Annotated[int, Field(ge=1)]
    cooldown_period: Annotated[int, Field(ge=0)]
    advanced: Advanced
    triggers: Annotated[list[Trigger], Field(min_length=1)]


class SecretTarget(Strict):
    parameter: str
    name: Name
    key: str


class TriggerAuthenticationSpec(Strict):
    secret_target_ref: Annotated[list[SecretTarget], Field(min_length=1)]


class Key(Strict):
    name: Name
    key: str


class Authorization(Strict):
    type: Literal["Bearer"]
    credentials: Key


class Endpoint(Strict):
    port: str
    path: Annotated[str, Field(pattern="^/")]
    interval: Annotated[str, Field(pattern=r"^[0-9]+(ms|s|m)$")]
    authorization: Authorization | None = None


class Selector(Strict):
    match_labels: Text


class ServiceMonitorSpec(Strict):
    selector: Selector
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]


class AlertingRule(Strict):
    alert: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    expr: Annotated[str, Field(min_length=1)]
    for_: Annotated[str, Field(alias="for", pattern=r"^([0-9]+(ms|[smhdwy]))+$")]
    labels: dict[Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")], str]
    annotations: dict[Literal["summary", "description"], Annotated[str, Field(min_length=1)]]


class RuleGroup(Strict):
    name: Annotated[str, Field(min_length=1)]
    rules: Annotated[list[AlertingRule], Field(min_length=1)]


class PrometheusRuleSpec(Strict):
    groups: Annotated[list[RuleGroup], Field(min_length=1)]


class Gateway(Strict):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["Gateway"]
    metadata: Metadata
    spec: GatewaySpec


class HTTPRoute(Strict):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: HTTPRouteSpec


class PrometheusRule(Strict):
    api_version: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: PrometheusRuleSpec


class ScaledObject(Strict):
    api_version: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: Metadata
    spec: ScaledObjectSpec


class TriggerAuthentication(Strict):
    api_version: Literal["keda.sh/v1alpha1"]
    kind: Literal["TriggerAuthentication"]
    metadata: Metadata
    spec: TriggerAuthenticationSpec


class ServiceMonitor(Strict):
    api_version: Literal["monitoring.coreos.com/v1"]
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: ServiceMonitorSpec


SHAPES: dict[str, type[Strict]] = {
    shape.__name__: shape
    for shape in (Gateway, HTTPRoute, PrometheusRule, ScaledObject, ServiceMonitor, TriggerAuthentication)
}
