"""The controller block: the router, its page, and where its runs are kept."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from compose.spec.base import Spec
from compose.written import (
    BasePath,
    Bytes,
    Count,
    Environment,
    Flag,
    Plain,
    Port,
    Seconds,
    Text,
    Texts,
    plain,
)


class AdapterSpec(Spec):
    """The HTTP interface."""

    type: Annotated[Literal["http-server"], Plain] = "http-server"
    host: Text = "127.0.0.1"
    port: Port = 8080
    base_path: BasePath = "/api"
    origins: Texts = ()


class WebUiSpec(Spec):
    """The page."""

    driver: Annotated[Literal["gradio"], Plain] = "gradio"
    host: Text = "127.0.0.1"
    port: Port = 8081


class AuthSpec(Spec):
    """Who may use an interface that other machines can reach."""

    token: Text | None = None
    insecure: Flag = False


Runtime = Literal["process", "docker"]


class RuntimeSpec(Spec):
    """Where a component runs; durations in seconds. type: None leaves the choice to others (`compose.runtime`)."""

    type: Annotated[Runtime, Plain] | None = None
    start_timeout: Seconds | None = None
    stop_timeout: Seconds | None = None
    environment: Environment = Field(default_factory=dict)


POSTGRES_SCHEMES: Final = ("postgres://", "postgresql://")


class DatabaseSpec(Spec):
    """Where asynchronous runs are kept. Text: `sqlite`, `sqlite:PATH` or a PostgreSQL url, which is a secret."""

    driver: Annotated[Literal["sqlite", "postgres"], Plain] = "sqlite"
    path: Text | None = None
    url: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        text = plain(data)
        if not isinstance(text, str):
            return data
        if text.startswith(POSTGRES_SCHEMES):
            return {"driver": "postgres", "url": text}
        driver, _, path = text.partition(":")
        if driver != "sqlite" or (path == "" and text != "sqlite"):
            raise ValueError("must be `sqlite`, `sqlite:PATH` or `postgresql://USER:PASSWORD@HOST/DATABASE`")
        return {"driver": "sqlite", "path": path} if path else {"driver": "sqlite"}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.driver == "sqlite":
            if self.url is not None:
                raise ValueError("with `driver: sqlite` takes `path` and no `url`")
        elif self.path is not None or not (self.url or "").startswith(POSTGRES_SCHEMES):
            raise ValueError(
                "with `driver: postgres` needs a `url` that begins with postgresql://, and takes no `path`"
            )
        return self


class ControllerSpec(Spec):
    """The router and the page. `max_body_size` in bytes, durations in seconds; a count of 0 is no limit."""

    name: Text = "model-compose"
    adapters: tuple[AdapterSpec, ...] = (AdapterSpec(),)
    webui: WebUiSpec | None = None
    max_concurrent_count: Count = 0
    max_queue_length: Count = 256
    max_body_size: Bytes = 10_000_000
    run_timeout: Seconds | None = None
    retention: Seconds = 86_400
    database: DatabaseSpec = DatabaseSpec()
    auth: AuthSpec = AuthSpec()
    allowed_hosts: Texts = ()
    runtime: RuntimeSpec | None = None
    shutdown_timeout: Seconds = 30

    @property
    def adapter(self) -> AdapterSpec:
        return self.adapters[0]
