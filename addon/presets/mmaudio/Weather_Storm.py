# SPDX-License-Identifier: GPL-3.0-or-later
"""Preset of the prompts, see ui/prompts.py."""

import bpy

settings = getattr(bpy.context, "sequencer_scene", bpy.context.scene).mmaudio

settings.prompt = "heavy rain, rolling thunder, gusts of wind"
settings.negative_prompt = "music, speech"
