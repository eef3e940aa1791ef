"""What the page process reads at start."""

from pydantic import BaseModel, ConfigDict


class PageSettings(BaseModel):
    """Where the page listens and which router stands behind it. Written by `compose.plan`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = 8081
    title: str = "model-compose"
    api_url: str
    """The router with its base path, such as http://127.0.0.1:8080/api."""
    auth_token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
