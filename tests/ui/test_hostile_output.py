"""What a model writes is shown and does nothing: no request, no script, no element that acts."""

import json
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.ui.browser import Visitor
from tests.ui.fake_api import FakeApi, Json, Refused, serving, text_input, workflow
from ui.client import Chunk, Finished, StreamEvent

pytestmark = pytest.mark.browser

EVIL = "http://127.0.0.1:PORT/hit"
PAYLOADS = [
    f"![picture]({EVIL})",
    f"![picture][there]\n\n[there]: {EVIL}",
    "![log out](/logout)",
    f"[![inner]({EVIL})]({EVIL})",
    f"<img src={EVIL}><picture><source srcset={EVIL}></picture>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "<script>document.title='pwned'</script>",
    f"<script src={EVIL}></script>",
    f"<iframe src={EVIL} srcdoc=\"<script>parent.document.title='pwned'</script>\"></iframe>",
    "<svg onload=\"document.title='pwned'\"><animate onbegin=\"document.title='pwned'\" /></svg>",
    "[press](javascript:document.title='pwned')",
    "<a href=\"jAvAsCrIpT:document.title='pwned'\">press</a>",
    f"<form action={EVIL}><input name=q autofocus onfocus=\"document.title='pwned'\"><button>ok</button></form>",
    f"<style>@import url({EVIL}); body {{ background: url({EVIL}) }}</style>",
    f"<link rel=stylesheet href={EVIL}><meta http-equiv=refresh content='0; url={EVIL}'><base href={EVIL}>",
    f"<video src={EVIL} autoplay></video><audio src={EVIL} autoplay></audio><object data={EVIL}></object>",
    f'```mermaid\ngraph TD; A["<img src={EVIL} onerror=document.title=1>"]; click A "{EVIL}"\n```',
    f"$$\\includegraphics{{{EVIL}}}$$ \\(\\href{{javascript:document.title=1}}{{x}}\\)",
    f"```\n<img src={EVIL}>\n```\n`<img src={EVIL}>` \\`<img src={EVIL}>\\`",
    f"````\n```\n````\n<img src={EVIL}>\n```x```\n<img src={EVIL}>",
    f"<div style='position:fixed;inset:0;background:url({EVIL})'>covers all</div>",
    "<template><img src=x onerror=\"document.title='pwned'\"></template><math><mtext></form><form><mglyph><style>"
    "</math><img src onerror=\"document.title='pwned'\">",
    f"|a|b|\n|-|-|\n|<img src={EVIL}>|![x]({EVIL})|",
    f'> - <img src={EVIL}>\n> 1. ![x](<{EVIL}> "title")',
    f"&lt;img src={EVIL}&gt; \u0000<img\u0000src={EVIL}> <<img src={EVIL}>",
]

ACTING = "img, picture, script, iframe, object, embed, form, input, video, audio, svg, style, link, meta, base, math"


@pytest.fixture
def evil() -> Iterator[tuple[int, list[str]]]:
    """A server that nobody should ask: its port, and who did."""
    hits: list[str] = []

    async def hit(request: Request) -> Response:
        hits.append(str(request.url))
        return PlainTextResponse("")

    with serving(Starlette(routes=[Route("/{path:path}", hit)])) as port:
        yield port, hits


def test_nothing_that_a_model_writes_acts(
    router: FakeApi, page_url: str, visit: Callable[[], Visitor], evil: tuple[int, list[str]]
) -> None:
    port, hits = evil
    said = [payload.replace("PORT", str(port)) for payload in PAYLOADS]
    router.workflows = [
        workflow(
            task="chat-completion",
            input=[text_input("user_prompt", required=True)],
            output=[{"name": "formatted", "type": "markdown"}, {"name": "data", "type": "json"}],
        )
    ]

    async def script(body: Json) -> AsyncIterator[StreamEvent]:
        text = said[int(body["input"]["user_prompt"])]
        yield Chunk(text, "formatted[0]")
        yield Chunk(text, f"data[{json.dumps(text)}][0]")
        formatted = [text, f"{text}\n\nend of {body['input']['user_prompt']}"]
        data = {"said": text, text: [text, {text: [[text]]}]}
        yield Finished({"formatted": formatted, "data": data}, {}, [{"code": "capped", "message": text}])

    router.script = script
    visitor = visit()
    page = visitor.open(page_url)
    expect(page).to_have_title("Test page")
    for number, payload in enumerate(said):
        page.get_by_label("User prompt *").fill(str(number))
        page.get_by_role("button", name="Run Workflow").click()
        expect(page.locator(".output").get_by_text(f"end of {number}").first).to_be_visible()
        expect(page.get_by_role("button", name="Run Workflow")).to_be_enabled()
        assert acting(page, ".output .md, .output .json-holder, .status .md") == [], payload
        assert page.title() == "Test page", payload

    page.get_by_role("tab", name="Chat", exact=True).click()
    said.append("\n\n".join(said))
    page.get_by_label("Message", exact=True).fill(str(len(PAYLOADS)))
    page.keyboard.press("Enter")
    expect(page.locator(".conversation").get_by_text(f"end of {len(PAYLOADS)}").first).to_be_visible()
    assert acting(page, ".conversation .md") == []
    assert page.title() == "Test page"
    assert [url for url in visitor.requests if "/hit" in url or "/logout" in url] == []
    assert hits == []


def test_nothing_that_a_file_says_acts(
    router: FakeApi, page_url: str, visit: Callable[[], Visitor], evil: tuple[int, list[str]]
) -> None:
    port, hits = evil
    said = "\n\n".join(PAYLOADS).replace("PORT", str(port))
    kinds = ["text", "number", "boolean", "select", "json", "image"]
    router.workflows = [
        workflow(
            title=said,
            description=said,
            input=[text_input(f"{kind} {said}", type=kind, description=said, options=[said]) for kind in kinds],
            output=[{"name": f"{kind} {said}", "type": kind} for kind in ("text", "markdown", "json")],
        )
    ]

    async def refuse(body: Json) -> AsyncIterator[StreamEvent]:
        raise Refused(422, {"code": said, "message": said, "hint": said})
        yield

    router.script = refuse
    visitor = visit()
    page = visitor.open(page_url)
    page.get_by_role("button", name="Run Workflow").click()
    expect(page.locator(".status.error p").first).to_be_visible()
    expect(page.locator(".info-text")).to_have_count(5)
    assert acting(page, ".about, .info-text, [data-testid=block-info], .block .md, [role=tablist]") == []
    assert page.title() == "Test page"
    assert [url for url in visitor.requests if "/hit" in url or "/logout" in url] == []
    assert hits == []


def acting(page: Page, places: str) -> list[str]:
    """Elements, handlers and addresses in these places that could do something."""
    found: list[str] = page.evaluate(
        """([places, acting]) => [...document.querySelectorAll(places)].flatMap((place) => [
            ...[...place.querySelectorAll(acting)].filter((e) => !e.closest("button")).map((e) => e.outerHTML),
            ...[...place.querySelectorAll("*")].filter(
                (e) => [...e.attributes].some((a) => a.name.startsWith("on") || /^\\s*javascript:/i.test(a.value))
            ).map((e) => e.outerHTML),
        ])""",
        [places, ACTING],
    )
    return found
