"""What the line at the top of the page says of the router."""

import pytest

from tests.net import free_port
from tests.ui.fake_api import FakeApi, serving
from ui.client import ApiClient
from ui.page import describe_router

pytestmark = pytest.mark.server


async def test_it_names_what_is_not_ready_and_why() -> None:
    router = FakeApi()
    with serving(router.app()) as router.port:
        async with ApiClient(router.url) as client:
            assert await describe_router(client) == ""
            router.components = {
                "chat": {"stage": "ready"},
                "toy": {"stage": "absent", "message": "it was stopped"},
                "large": {"stage": "downloading", "progress": 0.25, "seconds_left": 9},
                "odd": {"stage": "loading"},
            }
            assert await describe_router(client) == (
                "Not everything is ready: toy is absent (it was stopped), large is downloading (25%), odd is loading."
            )


async def test_it_says_that_the_router_is_gone() -> None:
    port = free_port()
    async with ApiClient(f"http://127.0.0.1:{port}/api") as client:
        assert await describe_router(client) == (
            f"The router at 127.0.0.1:{port} cannot be reached. Is `model-compose up` running? "
            "It may still be starting. This page reconnects by itself."
        )
