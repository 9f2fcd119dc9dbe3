# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of failure: one code for each, and none that changes."""

from collections.abc import Iterator

import pytest

from addon.failure import DiskFailure, Failure, RunFailure
from addon.media.sound import NoSound
from addon.service.net.errors import NotFound, NotFoundYet, ServiceUnavailable, TemporaryFailure
from tests.addon_package import import_modules

pytestmark = pytest.mark.oldest

BASES = {RunFailure, TemporaryFailure}


def kinds(of: type[Failure] = Failure) -> Iterator[type[Failure]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.fixture(scope="module")
def all_kinds() -> set[type[Failure]]:
    import_modules()
    found = {kind for kind in kinds() if kind.__module__.startswith("addon.")}
    assert len(found) > 50
    return found


def test_each_kind_has_a_code_of_its_own_or_that_of_the_kind_it_specializes(all_kinds: set[type[Failure]]) -> None:
    owners: dict[str, type[Failure]] = {}
    for kind in sorted(all_kinds - BASES, key=lambda kind: len(kind.__mro__)):
        owner = owners.setdefault(kind.code, kind)
        assert issubclass(kind, owner), f"{kind.__name__} and {owner.__name__} share the code {kind.code}"


def test_default_hints_are_sentences(all_kinds: set[type[Failure]]) -> None:
    assert {kind.default_hint[-1:] for kind in all_kinds} == {"", "."}


@pytest.mark.parametrize("name", ["message", "hint"])
def test_a_failure_does_not_change(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(DiskFailure("The disk is full."), name, "It is not.")


def test_a_reworded_failure_is_of_the_same_kind_and_leaves_the_original_alone() -> None:
    failure = ServiceUnavailable("No.", may_be_done=False, retry_after=7)
    other = failure.reworded("Upload: No.")
    assert (other.code, other.message, other.hint) == ("service_down", "Upload: No.", failure.hint)
    assert (other.may_be_done, other.retry_after, str(other)) == (False, 7, "Upload: No.")
    assert (failure.message, failure.reworded(hint="Wait.").hint) == ("No.", "Wait.")
    assert NoSound("Silence.", 3).reworded("Take 2: silence.").index == 3


def test_a_temporary_kind_is_caught_as_the_kind_that_it_is_of() -> None:
    with pytest.raises(NotFound) as caught:
        raise NotFoundYet("Not here.", retry_after=2)
    assert isinstance(caught.value, TemporaryFailure)
    assert caught.value.code == "not_found"
