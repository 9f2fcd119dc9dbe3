# SPDX-License-Identifier: GPL-3.0-or-later
"""Media files: rendering of clips to send, and joining of the sounds that come back."""
