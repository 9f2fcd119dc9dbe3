# SPDX-License-Identifier: GPL-3.0-or-later
"""Access to the edit in Blender's data."""
