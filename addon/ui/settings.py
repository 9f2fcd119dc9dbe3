# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sets for the next sound; kept in the scene, so it travels with the .blend."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..jobs.model.request import TAKES_MAX, Options, Source
from ..service.eachlabs import mmaudio


class MMAUDIO_PG_settings(bpy.types.PropertyGroup):
    if TYPE_CHECKING:
        prompt: str
        negative_prompt: str
        seed: int
        randomize_seed: bool
        num_steps: int
        cfg_strength: float
        takes: int
        source: str
        long_clips: str
        placement: str
        mute_own_sound: bool
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
            description="Use a new seed for each strip. It is shown with the result",
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
        takes: IntProperty(
            name="Takes",
            description="How many versions to make, each with the next seed. The first is heard, the others are muted",
            default=1,
            min=1,
            max=TAKES_MAX,
        )
        source: EnumProperty(
            name="Source",
            description="What the model looks at",
            items=(
                ("STRIP", "Strip Alone", "The strip by itself, whatever lies above or below it"),
                ("TIMELINE", "Timeline", "The whole edit as it is seen in the strip's range"),
            ),
        )
        long_clips: EnumProperty(
            name="Long Strips",
            description="How a strip of more than 8 s is done. The model was trained on 8 s",
            items=(
                ("SPLIT", "In Windows", "Several runs of at most 8 s side by side, cross-faded into one sound"),
                ("SINGLE", "One Run", "One run of the whole length, which sounds worse the longer it is"),
            ),
        )
        placement: EnumProperty(
            name="Placement",
            description="On which side of its clip a sound goes to the nearest free channel",
            items=(("BELOW", "Below", "Below the clip if possible"), ("ABOVE", "Above", "Above the clip if possible")),
        )
        mute_own_sound: BoolProperty(
            name="Mute the Clip's Own Sound",
            description="Mute the sound strip that the clip came with, when the new sound is placed",
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


def options(settings: MMAUDIO_PG_settings, clip_url: str = "") -> Options:
    """What was chosen beside the model's own settings; `clip_url` is the address of a clip that was published by hand."""
    return Options(
        takes=settings.takes,
        source=Source.TIMELINE if settings.source == "TIMELINE" else Source.STRIP,
        split=settings.long_clips == "SPLIT",
        above=settings.placement == "ABOVE",
        mute_own_sound=settings.mute_own_sound,
        scenes_as_they_are=settings.scenes_as_they_are,
        clip_url=clip_url,
    )


def reuse(settings: MMAUDIO_PG_settings, made_with: Mapping[str, Any]) -> None:
    """Brings back what a sound was made with; the seed too, so a randomized one is no longer drawn."""
    settings.prompt = str(made_with.get("prompt", ""))
    settings.negative_prompt = str(made_with.get("negative_prompt", ""))
    settings.seed = int(made_with.get("seed", 0))
    settings.num_steps = int(made_with.get("num_steps", mmaudio.NUM_STEPS))
    settings.cfg_strength = float(made_with.get("cfg_strength", mmaudio.CFG_STRENGTH))
    settings.randomize_seed = False


def for_run(settings: MMAUDIO_PG_settings) -> mmaudio.Settings:
    """The settings of the first strip; a randomized seed is drawn here, and shown in the panel from then on."""
    if settings.randomize_seed:
        settings.seed = mmaudio.random_seed()
    return mmaudio.Settings(
        prompt=settings.prompt.strip(),
        negative_prompt=settings.negative_prompt.strip(),
        seed=settings.seed,
        num_steps=settings.num_steps,
        cfg_strength=round(settings.cfg_strength, 4),
    )
