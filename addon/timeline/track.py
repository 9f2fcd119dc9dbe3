# SPDX-License-Identifier: GPL-3.0-or-later
"""The channel that an edit's generated sounds share. Main thread."""

from collections import Counter
from collections.abc import Collection, Sequence

from ..jobs.model.request import Options, Span, Track
from . import isolate, strips
from .errors import NoChannel
from .isolate import CHANNELS
from .strip_types import Strip


def of_click(container: isolate.Container, clips: Sequence[Strip], spans: Sequence[Span], options: Options) -> Track:
    """Return the channels for the sounds of the clips, which are in one container and whose sounds cover these spans.

    The track is that of earlier sounds, or else the nearest channel below the lowest of the clips that is free for all
    sounds, or above the highest if there is none, or if that was asked for.
    """
    channels = [clip.channel for clip in clips]
    lowest, highest = min(channels), max(channels)
    below, above = range(lowest - 1, 0, -1), range(highest + 1, CHANNELS.stop)
    ordered = (*above, *below) if options.above else (*below, *above)
    free = _free(container, spans)
    in_use = _channels_in_use(container, Track(0, lowest, highest), options)
    return Track(in_use[0] if in_use else next((channel for channel in ordered if channel in free), 0), lowest, highest)


def channel(
    container: isolate.Container, visible: Span, track: Track, options: Options, *, taken: Collection[int] = ()
) -> int:
    """Return the channel for a sound, none of those that are `taken`. Raise NoChannel if none is free.

    It is that of the setting, or else the track; where something lies in the way, the nearest free one that isn't between
    the click's pictures.
    """
    # The sounds of an earlier click may have been placed since on another channel.
    in_use = _channels_in_use(container, track, options)
    common = track.channel if track.channel in in_use or not in_use else in_use[0]
    wanted = options.sound_channel or common or track.lowest
    free = _free(container, [visible]).difference(taken)
    if wanted in free and wanted in {options.sound_channel, common}:
        return wanted
    outside = [channel for channel in free if not _is_between(channel, track)] or free - {track.lowest, track.highest}
    # On the same side of the pictures first.
    is_above = wanted > track.highest
    nearest = sorted(outside, key=lambda channel: ((channel > track.highest) != is_above, abs(channel - wanted)))
    if not nearest:
        raise NoChannel(f"No channel is free and unlocked from frame {visible.start} to {visible.end}.")
    return nearest[0]


def nearest(container: isolate.Container, visible: Span, channel: int, count: int) -> list[int]:
    """Return the free channels that are nearest to `channel`. Raise NoChannel if there are fewer than `count`."""
    free = sorted(_free(container, [visible]), key=lambda other: (abs(other - channel), other > channel))[:count]
    if len(free) < count:
        raise NoChannel("Too few channels are free and unlocked there.")
    return free


def _free(container: isolate.Container, spans: Sequence[Span]) -> set[int]:
    """Return the channels that are unlocked, unmuted, and without strips in all these spans."""
    occupied = {
        strip.channel
        for strip in container.strips
        for taken in [Span(*isolate.frame_range(strip))]
        if any(taken.common(span).frames for span in spans)
    }
    settings = container.channels
    return {number for number in CHANNELS if not (number in occupied or settings[number].lock or settings[number].mute)}


def _channels_in_use(container: isolate.Container, track: Track, options: Options) -> list[int]:
    """Return the channels of the edit's generated sounds, those with most first, on which further ones may be placed."""
    sounds = [strip for strip in container.strips if strip.type == "SOUND" and strips.marks_of(strip)]
    counts = Counter(sound.channel for sound in sounds if strips.TAKES in sound[strips.METADATA_PROPERTY])
    usable = _free(container, [])
    return [
        channel
        for channel, _ in counts.most_common()
        if channel in usable and not _is_between(channel, track) and (not options.above or channel > track.highest)
    ]


def _is_between(channel: int, track: Track) -> bool:
    """Return whether the channel is one of the pictures, or between them."""
    return track.lowest <= channel <= track.highest
