# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of failure of storage backends. No bpy."""

from ...failure import Failure
from ..net.errors import RETRY_LATER, TemporaryFailure

SETTINGS_HINT = "Set it in Preferences > Add-ons > MMAudio for the Sequencer > Storage."


class StorageNotConfigured(Failure):
    """The settings are incomplete or invalid."""

    code = "storage_setup"
    stops_all = True
    default_hint = SETTINGS_HINT


class StorageChanged(Failure):
    """The clip was uploaded with other settings than the current ones, so it can't be deleted with these."""

    code = "storage_changed"
    default_hint = "Delete it there yourself, or wait until it expires."

    def __init__(self) -> None:
        super().__init__("The clip is in a storage that is no longer configured, so it could not be deleted.")


class StorageKeyRejected(Failure):
    code = "storage_key"
    stops_all = True
    default_hint = "Check the access key and the secret key, and the session token if there is one."


class StorageDenied(Failure):
    code = "storage_denied"
    stops_all = True
    default_hint = "Allow this key to write, read and delete objects in the bucket."


class StorageLoginFailed(Failure):
    code = "storage_login"
    stops_all = True
    default_hint = "Check the user and password, or the token."


class StorageFull(Failure):
    code = "storage_full"
    stops_all = True
    default_hint = "Free some space there, then retry."


class StorageUnavailable(TemporaryFailure):
    code = "storage_down"
    default_hint = RETRY_LATER


class UploadRefused(Failure):
    code = "upload_refused"
    default_hint = RETRY_LATER


class UploadRefusedForNow(TemporaryFailure, UploadRefused):
    """The upload may succeed with a new upload URL."""


class WrongRegion(Failure):
    code = "region"
    stops_all = True
    default_hint = "Set the region of the bucket, and the endpoint of that region."


class NoBucket(Failure):
    code = "no_bucket"
    stops_all = True
    default_hint = "Check the bucket name and the endpoint."


class NoFolder(Failure):
    code = "no_folder"
    stops_all = True
    default_hint = "Create the folder there, or change the URL."


class LinkExpired(Failure):
    code = "lapsed"
    default_hint = "Retry, or set a longer lifetime."


class NotPublic(Failure):
    code = "not_public"
    stops_all = True
    default_hint = (
        "The service reads without a login: set a Public URL that anyone can read, for Azure one with a SAS for reading."
    )


class WrongClock(Failure):
    code = "clock"
    stops_all = True
    default_hint = "Synchronize this machine's clock with the network, then retry."


class Redirected(Failure):
    code = "redirected"
    default_hint = "Set the URL that it redirects to."


class NotAVideo(Failure):
    code = "not_a_video"
    default_hint = "Set the URL of the file itself, not of a page that shows it."


class WrongFile(Failure):
    """The file at the public URL is not the uploaded file."""

    code = "not_the_clip"
    default_hint = "Check that the Public URL and the Upload URL are of the same file."
