# SPDX-License-Identifier: GPL-3.0-or-later
"""The service's double: a real server on loopback that is as strict as the real one. Only the model is not real."""
