"""The model of each kind of block, and the keys that a block of it takes."""

from typing import Final

from compose.dialect import OLDER_KEYS
from compose.spec import (
    ActionSpec,
    AdapterSpec,
    AuthSpec,
    BranchSpec,
    CaseSpec,
    ComponentJobSpec,
    ComposeSpec,
    ConditionSpec,
    ControllerSpec,
    DatabaseSpec,
    DelayJobSpec,
    DoSpec,
    FilterJobSpec,
    ForEachJobSpec,
    IfJobSpec,
    LoopJobSpec,
    ModelComponentSpec,
    ModelSpec,
    OnErrorSpec,
    RandomRouterJobSpec,
    ResourcesSpec,
    RetrySpec,
    RoutingSpec,
    RuntimeSpec,
    ScalingSpec,
    Spec,
    SwitchJobSpec,
    WebUiSpec,
    WorkflowActionSpec,
    WorkflowComponentSpec,
    WorkflowSpec,
)

MODELS: Final[dict[str, type[Spec]]] = {
    "file": ComposeSpec,
    "controller": ControllerSpec,
    "adapter": AdapterSpec,
    "webui": WebUiSpec,
    "auth": AuthSpec,
    "runtime": RuntimeSpec,
    "component": ModelComponentSpec,
    "model": ModelSpec,
    "resources": ResourcesSpec,
    "scaling": ScalingSpec,
    "action": ActionSpec,
    "workflow": WorkflowSpec,
    "workflow component": WorkflowComponentSpec,
    "workflow action": WorkflowActionSpec,
    "job": ComponentJobSpec,
    "delay job": DelayJobSpec,
    "if job": IfJobSpec,
    "switch job": SwitchJobSpec,
    "random-router job": RandomRouterJobSpec,
    "filter job": FilterJobSpec,
    "for-each job": ForEachJobSpec,
    "loop job": LoopJobSpec,
    "branch": BranchSpec,
    "case": CaseSpec,
    "routing": RoutingSpec,
    "condition": ConditionSpec,
    "do": DoSpec,
    "retry": RetrySpec,
    "on_error": OnErrorSpec,
    "database": DatabaseSpec,
}


def accepted_keys(kind: str) -> list[str]:
    """The keys of a kind of block, in today's dialect and the older one, today's first."""
    fields = [field.alias or name for name, field in MODELS[kind].model_fields.items()]
    return fields + sorted(OLDER_KEYS.get(kind, frozenset()) - set(fields))
