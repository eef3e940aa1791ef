"""Reads a request's body within its limits: JSON, or a form with nested names."""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any

from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from services.errors import ServiceError
from services.router.values import MAX_DEPTH, Bulk, load_body

SILENCE_S = 30
"""How long a client may send nothing while its body is unfinished."""
_LARGE_BYTES = 64 * 1024
"""A body from this size on is parsed in a thread, so that others are answered meanwhile."""
_MAX_FIELDS = 1000
_NESTED = re.compile(r"([^\[\]]+)((?:\[[^\[\]]+\])*)")


async def read_body(headers: Headers, receive: Receive, max_bytes: int) -> Any:
    """The value of the body. Raises ServiceError 400, 408, 413 or 415, and ClientDisconnect when nobody is left."""
    kind, _, parameters = headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        raise _wrong_type(f'"{kind[:80]}"' if kind else "no type")
    if kind == "application/json" and "charset" in parameters and "utf-8" not in parameters.lower():
        raise _wrong_type("JSON that is not UTF-8")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _wrong_type("a compressed body")
    if kind == "multipart/form-data":
        return await _load_form(headers, bytes(await _read(headers, receive, max_bytes, None)))
    body = await _read(headers, receive, max_bytes, Bulk())
    if len(body) >= _LARGE_BYTES:
        return await asyncio.to_thread(load_body, body)
    return load_body(body)


def _wrong_type(what: str) -> ServiceError:
    return ServiceError(
        415,
        "unsupported_media_type",
        f"The body has {what}; it must be JSON in UTF-8 or a multipart form.",
        hint='Send the header "Content-Type: application/json".',
        field="Content-Type",
    )


async def _read(headers: Headers, receive: Receive, max_bytes: int, bulk: Bulk | None) -> bytearray:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    more = True
    while more:
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await receive()
        except TimeoutError:
            raise ServiceError(408, "body_timeout", f"The body did not go on for {SILENCE_S} s.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        if len(body) + len(piece) > max_bytes:
            raise _too_large(max_bytes)
        if bulk is not None:
            bulk.add(piece)
        body += piece
        more = message.get("more_body", False)
    return body


def _too_large(max_bytes: int) -> ServiceError:
    return ServiceError(
        413,
        "body_too_large",
        f"The body is larger than {max_bytes:,} bytes.",
        hint="Send less, or raise `max_body_size` in the file.",
    )


class _FormParser(MultiPartParser):
    """Knows whether the last boundary came, without which a part may be missing."""

    complete = False

    def on_end(self) -> None:
        self.complete = True


async def _load_form(headers: Headers, body: bytes) -> dict[str, Any]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = _FormParser(headers, chunks(), max_files=_MAX_FIELDS, max_fields=_MAX_FIELDS, max_part_size=len(body))
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError):
        raise _bad_form("it is cut off, or its boundary does not fit") from None
    try:
        if not parser.complete:
            raise _bad_form("it is cut off")
        value = nested(form)
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad_form(f"byte {error.start} is not UTF-8") from None
    finally:
        await form.close()
    return value


def nested(form: FormData) -> dict[str, Any]:
    """The fields as one object, `input[image]` as {"input": {"image": ...}}; raises ServiceError 400, 422."""
    value: dict[str, Any] = {}
    for name, item in form.multi_items():
        match = _NESTED.fullmatch(name)
        if match is None:
            raise _bad_form(f'"{name[:80]}" is not a name like input[prompt]')
        if not isinstance(item, str):
            raise ServiceError(
                422,
                "unsupported_file",
                f'"{name[:80]}" is a file; no task of this server reads files.',
                hint="Send its text as an ordinary field.",
                field=name[:80],
            )
        *path, last = [match[1], *re.findall(r"\[([^\[\]]+)\]", match[2])]
        if len(path) >= MAX_DEPTH:
            raise ServiceError(413, "body_too_deep", f"The form nests deeper than {MAX_DEPTH} levels.")
        place: Any = value
        for key in path:
            place = place.setdefault(key, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last in place:
            raise _bad_form(f'"{name[:80]}" stands twice')
        place[last] = item
    return value


def _bad_form(why: str) -> ServiceError:
    return ServiceError(400, "invalid_form", f"The form cannot be read: {why}.")
