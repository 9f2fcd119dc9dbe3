# SPDX-License-Identifier: GPL-3.0-or-later
"""Test double of the service: an HTTP server on loopback, as strict as the real service. Only the model is not real."""
