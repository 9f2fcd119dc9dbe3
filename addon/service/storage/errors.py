# SPDX-License-Identifier: GPL-3.0-or-later
"""What it means when a storage says no, in plain words. No bpy.

S3, its many kin and Azure send an error as XML with a <Code>; WebDAV and plain servers have the status alone. The body is
whatever the other side likes, so nothing of it is shown but a code, and no more of an address than its host.
"""

import re
import time
from email.utils import parsedate_to_datetime

from ...failure import Failure
from ..net.errors import TemporaryFailure, host_of
from ..net.transport import Response

CLOCK_SECONDS = 300.0
"""By how much clocks may differ before a refusal is put down to that; AWS accepts a quarter of an hour."""

_BODY_MAX = 64 * 1024
_CODE = re.compile(rb"<Code>\s*([A-Za-z]{3,60})\s*</Code>")
_WORDS = re.compile(r"(?:[A-Z][a-z]{1,20}){1,8}")
_REGION = re.compile(r"[a-z0-9-]{2,32}")
# R2's way to say it.
_NO_ACCESS_KEY = re.compile(rb"(?i)credential access key has length")
_LAPSED = re.compile(rb"(?i)expired|exceeds the maximum|not valid in the specified time")

_KEYS = "Check the access key and the secret key, and the session token if there is one."
_RIGHTS = "Let this key write, read and delete objects in the bucket."
_BUCKET = "Check the bucket's name and the endpoint."
_REGIONS = "Set the bucket's own region, and the endpoint of that region."
_LOGIN = "Check the user and password, or the token."
_ADDRESS = "Check the upload and the public address."
_CLOCK = "Set this machine's clock by the network, then retry."

_SECRET = ("storage_key", "the secret key is wrong, or the address was changed on its way", _KEYS)
_TOKEN = ("storage_key", "the session token is wrong or has lapsed", "Fetch new credentials: they live for hours only.")
_DENIED = ("storage_denied", "these credentials may not do that", _RIGHTS)
_REGION_WRONG = ("region", "the bucket is in another region", _REGIONS)
_NO_BUCKET = ("no_bucket", "there is no such bucket", _BUCKET)
_NOT_THERE = ("not_found", "there is nothing at that address", _ADDRESS)
_LAPSE = ("lapsed", "the signed address has lapsed", "Retry, or set a longer life.")
_SAS_LAPSE = ("lapsed", "the signature in the address has lapsed", "Fetch a new SAS for the container.")
_ACCESS_KEY = ("storage_key", "it does not know the access key", _KEYS)
_NOT_PUBLIC = (
    "not_public",
    "it asks for a login there",
    "The service reads without one: give a public address that anyone can read, in Azure one with a SAS that may read.",
)

READING = "the reading"
"""As `doing` of `refusal`: through the public address, as the service reads."""

# Code -> (our code, what is the matter, what to do). From the error tables of Amazon S3 and of Azure Blob Storage.
_CODES = {
    "SignatureDoesNotMatch": _SECRET,
    "InvalidAccessKeyId": _ACCESS_KEY,
    "InvalidSecurity": _ACCESS_KEY,
    "Unauthorized": _ACCESS_KEY,
    "InvalidToken": _TOKEN,
    "ExpiredToken": _TOKEN,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AuthorizationFailure": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "AuthenticationFailed": ("storage_key", "the signature in the address is wrong", "Fetch a new SAS for the container."),
    "NoAuthenticationInformation": _NOT_PUBLIC,
    "PublicAccessNotPermitted": _NOT_PUBLIC,
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": _NO_BUCKET,
    "ContainerNotFound": _NO_BUCKET,
    "NoSuchKey": _NOT_THERE,
    "BlobNotFound": _NOT_THERE,
    "RequestTimeTooSkewed": ("clock", "this machine's clock is wrong", _CLOCK),
    "PermanentRedirect": _REGION_WRONG,
    "TemporaryRedirect": _REGION_WRONG,
    "AuthorizationHeaderMalformed": _REGION_WRONG,
    "AuthorizationQueryParametersError": _REGION_WRONG,
    "InvalidRegionName": _REGION_WRONG,
    "EntityTooLarge": ("too_large", "the clip is too large for it", "Shorten the strip."),
    "MissingRequiredHeader": ("storage_setup", "a header is missing", "Azure wants the header x-ms-blob-type: BlockBlob."),
}
_STATUSES = {
    401: ("storage_login", "the login is missing or wrong", _LOGIN),
    403: ("storage_denied", "it is not allowed there", "Check the login, and what it may do there."),
    404: _NOT_THERE,
    405: ("storage_setup", "it is not possible at that address", _ADDRESS),
    409: ("no_folder", "the folder of that address does not exist", "Make the folder there, or change the address."),
    410: _NOT_THERE,
    413: ("too_large", "the clip is too large for it", "Shorten the strip."),
    507: ("storage_full", "there is no space left", "Make space there, then retry."),
}
# 423: a WebDAV still holds on to an upload that has just broken off.
_PASSING = (408, 423, 425, 429)
_ELSEWHERE = ("redirected", "it points to another address", "Give the address that it points to.")
_UNEXPECTED = ("bad_answer", "it gave an unexpected answer", "Check the address, or retry in a while.")


def storage_error(response: Response, doing: str, url: str) -> Failure:
    """What `answer` means for `doing`, such as "the upload". A TryAgain where it may pass."""
    found = _CODE.search(response.body[:_BODY_MAX])
    name = found[1].decode() if found else ""
    shown = f", {name}" if name in _CODES or _WORDS.fullmatch(name) else ""
    start, end = f"{host_of(url)} refused {doing}: ", f" (HTTP {response.status}{shown})."
    if name == "RequestTimeout" or response.status in _PASSING or (response.status >= 500 and response.status != 507):
        return TemporaryFailure(
            "storage_down", f"{start}it has trouble of its own{end}", "Retry in a while.", after=response.retry_after
        )
    code, what, hint = _meaning(response, name, doing)
    if code == "region" and _REGION.fullmatch(region := response.headers.get("x-amz-bucket-region", "")):
        what = f"the bucket is in the region {region}"
    return Failure(code, f"{start}{what}{end}", hint)


def _meaning(response: Response, name: str, doing: str) -> tuple[str, str, str]:
    meaning = _CODES.get(name)
    if meaning is None and name == "InvalidArgument" and _NO_ACCESS_KEY.search(response.body[:_BODY_MAX]):
        return _ACCESS_KEY
    if meaning is None and doing == READING and response.status in (401, 403):
        return _NOT_PUBLIC
    meaning = meaning or _STATUSES.get(response.status)
    if meaning is None:
        return _ELSEWHERE if 300 <= response.status < 400 else _UNEXPECTED
    if name in ("AccessDenied", "RequestTimeTooSkewed", "AuthenticationFailed"):
        ahead = _clock_ahead(response)
        if abs(ahead) > CLOCK_SECONDS:
            side = "ahead" if ahead > 0 else "behind"
            return "clock", f"this machine's clock is {abs(ahead) / 60:.0f} minutes {side}", _CLOCK
        if _LAPSED.search(response.body[:_BODY_MAX]):
            return _SAS_LAPSE if name == "AuthenticationFailed" else _LAPSE
    return meaning


def _clock_ahead(response: Response) -> float:
    """By how many seconds this machine's clock is ahead of the server's; 0 where the server does not tell."""
    try:
        return time.time() - parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
