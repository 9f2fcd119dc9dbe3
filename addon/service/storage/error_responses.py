# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures for error responses of storages. No bpy.

S3, compatible storages and Azure send an error as XML with a <Code>; WebDAV and plain servers send the status only. A body
can't be trusted, so messages contain nothing of it but a code, and no more of a URL than its host.
"""

import re
import time

from ...failure import Failure, TooLarge
from ..net.errors import InvalidResponse, NotFound, host_of
from ..net.response import Response
from .errors import (
    LinkExpired,
    NoBucket,
    NoFolder,
    NotPublic,
    Redirected,
    StorageDenied,
    StorageFull,
    StorageKeyRejected,
    StorageLoginFailed,
    StorageNotConfigured,
    StorageUnavailable,
    WrongClock,
    WrongRegion,
)

CLOCK_SECONDS = 300.0
"""Difference between the clocks above which it is given as the cause of an error; AWS accepts 15 minutes."""

_BODY_MAX = 64 * 1024
_CODE = re.compile(rb"<Code>\s*([A-Za-z]{3,60})\s*</Code>")
_CAMEL_CASE = re.compile(r"(?:[A-Z][a-z]{1,20}){1,8}")
_REGION = re.compile(r"[a-z0-9-]{2,32}")
# R2 sends this for an unknown access key.
_NO_ACCESS_KEY = re.compile(rb"(?i)credential access key has length")
_EXPIRED = re.compile(rb"(?i)expired|exceeds the maximum|not valid in the specified time")

_URL_HINT = "Check the Upload URL and the Public URL."

_NEW_SAS = "Create a new SAS for the container."
_Meaning = tuple[type[Failure], str, str | None]
"""Kind of failure, what happened, and a hint, or None for the default one."""

_WRONG_SECRET: _Meaning = (StorageKeyRejected, "the secret key is wrong, or a proxy changed the request", None)
_WRONG_TOKEN: _Meaning = (
    StorageKeyRejected,
    "the session token is wrong or has expired",
    "Get new credentials: they are valid for hours only.",
)
_DENIED: _Meaning = (StorageDenied, "these credentials don't permit it", None)
_WRONG_REGION: _Meaning = (WrongRegion, "the bucket is in another region", None)
_NO_BUCKET: _Meaning = (NoBucket, "the bucket does not exist", None)
_NO_FILE: _Meaning = (NotFound, "there is no file at that URL", _URL_HINT)
_LINK_EXPIRED: _Meaning = (LinkExpired, "the signed URL has expired", None)
_SAS_EXPIRED: _Meaning = (LinkExpired, "the signature in the URL has expired", _NEW_SAS)
_UNKNOWN_KEY: _Meaning = (StorageKeyRejected, "the access key is unknown", None)
_NOT_PUBLIC: _Meaning = (NotPublic, "it requires a login", None)

READING = "the download"
"""`action` of `storage_error` for a read through the public URL, as by the service."""

# From the error tables of Amazon S3 and of Azure Blob Storage.
_CODES: dict[str, _Meaning] = {
    "SignatureDoesNotMatch": _WRONG_SECRET,
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidSecurity": _UNKNOWN_KEY,
    "Unauthorized": _UNKNOWN_KEY,
    "InvalidToken": _WRONG_TOKEN,
    "ExpiredToken": _WRONG_TOKEN,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AuthorizationFailure": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "AuthenticationFailed": (
        StorageKeyRejected,
        "the signature in the URL is wrong",
        _NEW_SAS,
    ),
    "NoAuthenticationInformation": _NOT_PUBLIC,
    "PublicAccessNotPermitted": _NOT_PUBLIC,
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": _NO_BUCKET,
    "ContainerNotFound": _NO_BUCKET,
    "NoSuchKey": _NO_FILE,
    "BlobNotFound": _NO_FILE,
    "RequestTimeTooSkewed": (WrongClock, "this machine's clock is wrong", None),
    "PermanentRedirect": _WRONG_REGION,
    "TemporaryRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "AuthorizationQueryParametersError": _WRONG_REGION,
    "InvalidRegionName": _WRONG_REGION,
    "EntityTooLarge": (TooLarge, "the clip is too large for it", None),
    "MissingRequiredHeader": (
        StorageNotConfigured,
        "a header is missing",
        "Azure requires the header x-ms-blob-type: BlockBlob.",
    ),
}
_STATUSES: dict[int, _Meaning] = {
    401: (StorageLoginFailed, "the login is missing or wrong", None),
    403: (StorageDenied, "access is denied", "Check the login and its permissions."),
    404: _NO_FILE,
    405: (StorageNotConfigured, "the server does not allow it at that URL", _URL_HINT),
    409: (NoFolder, "the folder in that URL does not exist", None),
    410: _NO_FILE,
    413: (TooLarge, "the clip is too large for it", None),
    507: (StorageFull, "no space is left", None),
}
# 423: a WebDAV server still locks the file of an upload that was interrupted a moment ago.
_TEMPORARY = (408, 423, 425, 429)
_REDIRECTED: _Meaning = (Redirected, "it redirects to another URL", None)
_UNEXPECTED: _Meaning = (InvalidResponse, "it sent an unexpected response", "Check the URL, or retry later.")


def storage_error(response: Response, action: str, url: str) -> Failure:
    """Return the failure for an error response to `action`, such as "the upload": a TemporaryFailure if it may pass."""
    found = _CODE.search(response.body[:_BODY_MAX])
    name = found[1].decode() if found else ""
    shown = f", {name}" if name in _CODES or _CAMEL_CASE.fullmatch(name) else ""
    start, end = f"{host_of(url)} refused {action}: ", f" (HTTP {response.status}{shown})."
    if name == "RequestTimeout" or response.status in _TEMPORARY or (response.status >= 500 and response.status != 507):
        return StorageUnavailable(f"{start}the server can't process it at the moment{end}", retry_after=response.retry_after)
    kind, what, hint = _meaning(response, name, action)
    if kind is WrongRegion and _REGION.fullmatch(region := response.headers.get("x-amz-bucket-region", "")):
        what = f"the bucket is in the region {region}"
    return kind(f"{start}{what}{end}", hint)


def _meaning(response: Response, name: str, action: str) -> _Meaning:
    meaning = _CODES.get(name)
    if meaning is None and name == "InvalidArgument" and _NO_ACCESS_KEY.search(response.body[:_BODY_MAX]):
        return _UNKNOWN_KEY
    if meaning is None and action == READING and response.status in (401, 403):
        return _NOT_PUBLIC
    meaning = meaning or _STATUSES.get(response.status)
    if meaning is None:
        return _REDIRECTED if 300 <= response.status < 400 else _UNEXPECTED
    if name in ("AccessDenied", "RequestTimeTooSkewed", "AuthenticationFailed"):
        ahead = 0.0 if response.date is None else time.time() - response.date
        if abs(ahead) > CLOCK_SECONDS:
            side = "ahead" if ahead > 0 else "behind"
            return WrongClock, f"this machine's clock is {abs(ahead) / 60:.0f} minutes {side}", None
        if _EXPIRED.search(response.body[:_BODY_MAX]):
            return _SAS_EXPIRED if name == "AuthenticationFailed" else _LINK_EXPIRED
    return meaning
