# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that crosses the network. No bpy."""
