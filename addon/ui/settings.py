# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings for the next sound. They are properties of the scene, so they are saved in the .blend file."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from collections.abc import Mapping
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..jobs.model.request import CHANNELS_MAX, HANDLE_SECONDS, HANDLE_SECONDS_MAX, TAKES_MAX, Options, Source
from ..service.eachlabs import mmaudio
from ..timeline import own_prompt, shots, strips
from ..timeline.scope import Scope
from ..timeline.strip_types import PictureStrip


def selected_clips(context: bpy.types.Context) -> list[PictureStrip]:
    """Return the clips that the selected strips stand for, as far as their prompts can be changed."""
    clips = shots.clips(strips.selected(context))
    return [clip for clip in clips if strips.has_picture(clip) and strips.is_local(clip.id_data)]


def _get_strip_prompt(_: Any) -> str:
    prompts = {own_prompt.of(clip) for clip in selected_clips(bpy.context)}
    return prompts.pop() if len(prompts) == 1 else ""


def _set_strip_prompt(settings: Any, value: str) -> None:
    # Confirming the empty field of strips with different prompts must not remove them.
    if value.strip() != _get_strip_prompt(settings):
        for clip in selected_clips(bpy.context):
            own_prompt.put(clip, value)


class MMAUDIO_PG_settings(bpy.types.PropertyGroup):
    prompt: StringProperty(
        name="Prompt",
        description="What should be heard. May stay empty: the model looks at the picture first",
    )
    negative_prompt: StringProperty(
        name="Negative Prompt",
        description="What should not be heard",
        default=mmaudio.NEGATIVE_PROMPT,
    )
    seed: IntProperty(
        name="Seed",
        description="Start value of the random numbers. The same seed on the same clip gives the same sound",
        min=0,
        max=mmaudio.SEED_MAX,
    )
    randomize_seed: BoolProperty(
        name="Randomize",
        description="Use a new random seed for each strip. It is kept with the sound",
        default=True,
    )
    num_steps: IntProperty(
        name="Inference Steps",
        description="Number of sampling steps. More steps take longer and cost more",
        default=mmaudio.NUM_STEPS,
        min=1,
        soft_max=100,
        max=mmaudio.NUM_STEPS_MAX,
    )
    cfg_strength: FloatProperty(
        name="Guidance Strength",
        description="How closely the sound follows the prompt",
        default=mmaudio.CFG_STRENGTH,
        min=0.0,
        soft_max=10.0,
        max=mmaudio.CFG_STRENGTH_MAX,
    )
    takes: IntProperty(
        name="Takes",
        description="Number of versions, each with the next seed. The sound strip plays one of them at a time",
        default=1,
        min=1,
        max=TAKES_MAX,
    )
    source: EnumProperty(
        name="Source",
        description="Picture that the model looks at",
        items=(
            ("STRIP", "Strip Alone", "The strip by itself, without the strips above and below it"),
            ("TIMELINE", "Timeline", "The whole edit, as it is visible in the frame range of the strip"),
        ),
    )
    long_clips: EnumProperty(
        name="Long Strips",
        description="How strips of more than eight seconds are processed. The model was trained on eight seconds",
        items=(
            ("SPLIT", "Split into Windows", "Windows of eight seconds at most, one run each, cross-faded into one sound"),
            ("SINGLE", "One Run", "One run of the whole length. Longer runs sound worse"),
        ),
    )
    placement: EnumProperty(
        name="Placement",
        description="Side of the pictures on which the sounds are placed, all on one channel as long as that is free",
        items=(("BELOW", "Below", "Below the pictures if possible"), ("ABOVE", "Above", "Above the pictures if possible")),
    )
    sound_channel: IntProperty(
        name="Channel",
        description="Channel for the sounds. 0 uses the channel of the edit's generated sounds, or the nearest free channel",
        min=0,
        max=CHANNELS_MAX,
    )
    as_one: BoolProperty(
        name="As One",
        description="Generate one sound over the whole range of the selected strips, from the timeline as it is seen. "
        "For ambience that goes on across cuts",
    )
    skip_done: BoolProperty(
        name="Skip Strips with Sound",
        description="Leave out strips that have their sound. A single strip that is chosen always gets a further take",
        default=True,
    )
    strip_prompt: StringProperty(
        name="Strip Prompt",
        description="What should be heard in the selected strips alone. It comes before the prompt that all strips share",
        get=_get_strip_prompt,
        set=_set_strip_prompt,
    )
    scope: EnumProperty(
        name="What to Score",
        description="Strips that get a sound",
        items=(
            (Scope.SELECTED, "Selected Strips", "The selected strips. A selected sound of this add-on stands for its clip"),
            (Scope.CHANNEL, "Active Channel", "All shots on the channel of the active strip"),
            (Scope.PREVIEW_RANGE, "Preview Range", "All shots on the top level in the preview range, in whole or in part"),
            (Scope.WHOLE_EDIT, "Whole Edit", "All shots on the top level of the edit"),
        ),
    )
    handle_seconds: FloatProperty(
        name="Handles",
        description="How far the sound extends beyond both ends of its strip, hidden behind the handles, for L and J cuts "
        "and cross-fades. Handles never need another run of the model",
        default=HANDLE_SECONDS,
        min=0.0,
        max=HANDLE_SECONDS_MAX,
        step=10,
        precision=2,
        subtype="TIME_ABSOLUTE",
    )
    level: EnumProperty(
        name="Loudness",
        description="Integrated loudness that each take is brought to. Its true peak stays below -1 dBTP",
        items=(
            ("OFF", "As Generated", "Leave the loudness as the model made it"),
            ("-23", "-23 LUFS", "Loudness of programs for broadcast (EBU R 128)"),
            ("-16", "-16 LUFS", "Loudness that is usual online"),
        ),
    )
    own_sound: EnumProperty(
        name="Own Sound",
        description="What happens to the sound strip that was added with the clip when the generated sound is placed",
        items=(
            ("KEEP", "Keep", "Leave it as it is"),
            ("LOWER", "Lower", "Lower its volume"),
            ("MUTE", "Mute", "Mute it"),
        ),
    )
    own_sound_db: FloatProperty(
        name="Lower By (dB)",
        description="How much the clip's own sound is lowered",
        default=12.0,
        min=0.0,
        max=60.0,
        step=100,
        precision=1,
    )
    scenes_as_they_are: BoolProperty(
        name="Render 3D Scenes as They Are",
        description="Render scene strips with their own engine instead of Workbench. Much slower, and rarely audible",
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
    """Return the options of a request. `clip_url` is the URL of a clip that the artist has published, or empty."""
    return Options(
        takes=settings.takes,
        source=Source.TIMELINE if settings.source == "TIMELINE" else Source.STRIP,
        split=settings.long_clips == "SPLIT",
        above=settings.placement == "ABOVE",
        sound_channel=settings.sound_channel,
        as_one=settings.as_one,
        handle_seconds=round(settings.handle_seconds, 4),
        lufs=None if settings.level == "OFF" else float(settings.level),
        mute_own_sound=settings.own_sound == "MUTE",
        own_sound_db=-round(settings.own_sound_db, 4) if settings.own_sound == "LOWER" else 0.0,
        scenes_as_they_are=settings.scenes_as_they_are,
        clip_url=clip_url,
    )


def reuse(settings: MMAUDIO_PG_settings, made_with: Mapping[str, Any], strip_prompt: str) -> None:
    """Copy the settings that a sound was generated with, without the prompt that its clip has of its own.

    Turns off Randomize, so that its seed is used again.
    """
    for name, default in vars(mmaudio.Settings(prompt="", negative_prompt="", seed=0)).items():
        setattr(settings, name, type(default)(made_with.get(name, default)))
    settings.prompt = shared_prompt(settings.prompt, strip_prompt)
    settings.randomize_seed = False


def shared_prompt(prompt: str, strip_prompt: str) -> str:
    """Return the part of a take's prompt that all strips share, after the strip's own, see `Click`."""
    return "" if prompt == strip_prompt else prompt.removeprefix(f"{strip_prompt}, " if strip_prompt else "")


def skips_done(settings: MMAUDIO_PG_settings, chosen: int) -> bool:
    """Return whether strips that have their sound are left out: of several, unless they are to get further takes."""
    return chosen > 1 and settings.skip_done


def for_first_run(settings: MMAUDIO_PG_settings) -> mmaudio.Settings:
    """Return the settings for the first strip. A random seed is drawn here, and shown in the panel from then on."""
    if settings.randomize_seed:
        settings.seed = mmaudio.random_seed()
    return of_run(settings)


def of_run(settings: MMAUDIO_PG_settings) -> mmaudio.Settings:
    """Return the settings of the model."""
    return mmaudio.Settings(
        prompt=settings.prompt.strip(),
        negative_prompt=settings.negative_prompt.strip(),
        seed=settings.seed,
        num_steps=settings.num_steps,
        cfg_strength=round(settings.cfg_strength, 4),
    )
