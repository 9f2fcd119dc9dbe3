# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs on disk: the database, the journal in it, and locks that tell which Blender processes are alive. No bpy."""
