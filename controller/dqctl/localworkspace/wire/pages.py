"""Lists in pages: a page begins behind the name that ended the one before, whatever came or went meanwhile."""

import base64
from collections.abc import Callable, Sequence
from typing import TypeVar

from starlette.requests import Request

from dqctl.localworkspace.wire.failures import invalid

Item = TypeVar("Item")


def page(
    request: Request, parameter: str, items: Sequence[Item], name: Callable[[Item], str], most: int
) -> tuple[list[Item], str | None]:
    """The items of the page that ``request`` asks for, in order of name, and the token of the next page.

    ``parameter`` is what the API calls the size of a page: at most ``most``, and that many when it is 0 or
    missing. ``ApiError`` when size or token make no sense.
    """
    size = _size(parameter, request.query_params.get(parameter, ""), most)
    after = _after(request.query_params.get("page_token", ""))
    rest = sorted((item for item in items if name(item) > after), key=name)
    more = len(rest) > size
    return rest[:size], base64.urlsafe_b64encode(name(rest[size - 1]).encode()).decode() if more else None


def _size(parameter: str, given: str, most: int) -> int:
    if not given:
        return most
    if not given.isascii() or not given.isdecimal():
        raise invalid(f"{parameter} is a number that is not negative")
    return min(int(given[:9]) or most, most)


def _after(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid("page_token is none that this API gave") from None
