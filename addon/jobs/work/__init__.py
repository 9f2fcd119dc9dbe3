# SPDX-License-Identifier: GPL-3.0-or-later
"""Background work on jobs, in threads. No bpy."""
