# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of the add-on."""
