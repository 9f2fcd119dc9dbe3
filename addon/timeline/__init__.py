# SPDX-License-Identifier: GPL-3.0-or-later
"""The edit, as Blender holds it."""
