# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sets for the next sound; kept in the scene, so it travels with the .blend."""

import random
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..service import mmaudio


class MMAUDIO_PG_settings(bpy.types.PropertyGroup):
    if TYPE_CHECKING:
        prompt: str
        negative_prompt: str
        seed: int
        randomize_seed: bool
        num_steps: int
        cfg_strength: float
        scenes_as_they_are: bool
    else:
        prompt: StringProperty(
            name="Prompt",
            description="What should be heard. May stay empty: the model listens to the picture first",
        )
        negative_prompt: StringProperty(
            name="Negative Prompt",
            description="What should not be heard",
            default=mmaudio.NEGATIVE_PROMPT,
        )
        seed: IntProperty(
            name="Seed",
            description="The same seed on the same clip gives the same sound again",
            min=0,
            max=mmaudio.SEED_MAX,
        )
        randomize_seed: BoolProperty(
            name="Randomize",
            description="Take a new seed for each sound. It is shown with the result",
            default=True,
        )
        num_steps: IntProperty(
            name="Inference Steps",
            description="How often the model goes over the sound. More takes longer and costs more",
            default=mmaudio.NUM_STEPS,
            min=1,
            soft_max=100,
            max=200,
        )
        cfg_strength: FloatProperty(
            name="Guidance Strength",
            description="How closely the sound follows the prompt",
            default=mmaudio.CFG_STRENGTH,
            min=0.0,
            soft_max=10.0,
            max=20.0,
        )
        scenes_as_they_are: BoolProperty(
            name="Render 3D Scenes as They Are",
            description="Render scene strips with their own engine instead of Workbench. Much slower, and seldom heard",
        )


CLASSES = (MMAUDIO_PG_settings,)


def attach() -> None:
    bpy.types.Scene.mmaudio = PointerProperty(type=MMAUDIO_PG_settings)  # pyright: ignore[reportAttributeAccessIssue]


def detach() -> None:
    del bpy.types.Scene.mmaudio  # pyright: ignore[reportAttributeAccessIssue]


def of(scene: bpy.types.Scene) -> MMAUDIO_PG_settings:
    settings: Any = scene
    return settings.mmaudio


def for_run(settings: MMAUDIO_PG_settings) -> mmaudio.Settings:
    """The settings of one run; a randomized seed is drawn here, and shown in the panel from then on."""
    if settings.randomize_seed:
        settings.seed = random.randrange(mmaudio.SEED_MAX + 1)
    return mmaudio.Settings(
        prompt=settings.prompt.strip(),
        negative_prompt=settings.negative_prompt.strip(),
        seed=settings.seed,
        num_steps=settings.num_steps,
        cfg_strength=round(settings.cfg_strength, 4),
    )
