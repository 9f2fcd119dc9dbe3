# SPDX-License-Identifier: GPL-3.0-or-later
"""The Eachlabs API: client, responses, webhook, and the figures of the MMAudio model. No bpy."""
