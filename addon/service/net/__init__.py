# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP transport: connections, deadlines, retries, cancellation and address checks. No bpy."""
