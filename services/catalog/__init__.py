"""The tasks we serve, as data: names, fields and parameters with their ranges, without loading any framework.

The file's reader checks literals against it at load, the router coerces rendered values with it at run, and a task
trusts what passed it.
"""

from services.catalog.fields import MAX_COUNT, MAX_SEED, Field, Kind
from services.catalog.tasks import GENERATION, TASKS, Network, Part, TaskType
from services.catalog.values import ROLES

__all__ = [
    "GENERATION",
    "MAX_COUNT",
    "MAX_SEED",
    "ROLES",
    "TASKS",
    "Field",
    "Kind",
    "Network",
    "Part",
    "TaskType",
]
