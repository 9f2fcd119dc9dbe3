# SPDX-License-Identifier: GPL-3.0-or-later
"""MMAudio for the Sequencer: gives a strip its sound, generated from its picture."""

from . import command, preferences, ui


def register() -> None:
    preferences.register()
    ui.register()
    command.register()


def unregister() -> None:
    command.unregister()
    ui.unregister()
    preferences.unregister()
