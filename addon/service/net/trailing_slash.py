# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that know a URL only with its trailing slash, or only without it. No bpy."""

import re
from urllib.parse import urljoin, urlsplit

from .transport import Response

# Web frameworks redirect by one of these. 303 is not among them: it asks for a GET of another resource.
_REDIRECTS = frozenset({301, 302, 307, 308})
_PORTS = {"http": 80, "https": 443}
_Parts = tuple[str, str, int | None, str, str]


def toggle_slash(url: str) -> str:
    """Returns `url`, or a path, with the trailing slash of its path removed, or added where there is none."""
    path, mark, query = url.partition("?")
    return (path[:-1] if path.endswith("/") else f"{path}/") + mark + query


def redirects_by_slash(response: Response, url: str) -> bool:
    """Whether `answer`, to a request of `url`, redirects to a URL that differs from it by the trailing slash alone.

    To follow the redirect, request `toggle_slash(url)`, never the text of the Location header: a URL that parsers read in
    different ways can't lead to another host then.
    """
    if response.status not in _REDIRECTS:
        return False
    try:
        return _target(url, response.headers.get("Location", "")) == _parts(toggle_slash(url))
    except ValueError:
        return False


def _target(url: str, location: str) -> _Parts:
    """Parts of the URL that `location` names, relative to `url`. Raises ValueError where parsers may disagree on it."""
    given = urlsplit(location)
    without_host = not given.netloc and (given.scheme or location.startswith("//"))
    if without_host or "//" in given.path or not re.fullmatch(r"[!-\[\]-~]+", location):
        raise ValueError("ambiguous redirect")
    return _parts(urljoin(url, location))


def _parts(url: str) -> _Parts:
    """Scheme, host, port, path and query. Raises ValueError for a URL that has more than these."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("a URL with credentials or a fragment")
    port = _PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname or "", port, parts.path, parts.query
