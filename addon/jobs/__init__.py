# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's life. No bpy."""
