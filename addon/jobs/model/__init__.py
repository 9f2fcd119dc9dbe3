# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and jobs: immutable values. No bpy."""
