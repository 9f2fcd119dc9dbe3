# SPDX-License-Identifier: GPL-3.0-or-later
"""MMAudio for the Sequencer: gives a strip its sound, generated from its picture."""

from . import command, ui


def register() -> None:
    ui.register()
    command.register()


def unregister() -> None:
    command.unregister()
    ui.unregister()
