# SPDX-License-Identifier: GPL-3.0-or-later
"""Redirects by servers that have a URL only with a trailing slash, or only without it. No bpy."""

import re
from urllib.parse import urljoin, urlsplit

from ..net.response import Response

# Statuses that web frameworks use for this. 303 is not among them: it requests a GET of another resource.
_REDIRECTS = frozenset({301, 302, 307, 308})
_PORTS = {"http": 80, "https": 443}
_Parts = tuple[str, str, int | None, str, str]
"""Scheme, host, port, path and query."""


def toggle_slash(url: str) -> str:
    """Return the URL or path with the trailing slash of its path removed, or added if there is none."""
    path, separator, query = url.partition("?")
    return (path[:-1] if path.endswith("/") else f"{path}/") + separator + query


def redirects_by_slash(response: Response, url: str) -> bool:
    """Return whether the response to a request of `url` redirects to a URL that differs only by the trailing slash.

    To follow the redirect, request `toggle_slash(url)`, never the value of the Location header: then a URL that parsers read
    in different ways can't lead to another host.
    """
    if response.status not in _REDIRECTS:
        return False
    try:
        return _target(url, response.headers.get("Location", "")) == _parts(toggle_slash(url))
    except ValueError:
        return False


def _target(url: str, location: str) -> _Parts:
    """Return the parts of the redirect's URL. Raise ValueError if parsers may read `location` in different ways."""
    given = urlsplit(location)
    without_host = not given.netloc and (given.scheme or location.startswith("//"))
    if without_host or "//" in given.path or not re.fullmatch(r"[!-\[\]-~]+", location):
        raise ValueError("ambiguous redirect")
    return _parts(urljoin(url, location))


def _parts(url: str) -> _Parts:
    """Return the parts of a URL. Raise ValueError if it has credentials or a fragment."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("a URL with credentials or a fragment")
    port = _PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname or "", port, parts.path, parts.query
