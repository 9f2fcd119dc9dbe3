# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the model's input and durations, of file names, and of the delay of the sound in an mp4."""

import itertools
import math
import struct
import unicodedata
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest

from addon.failure import Failure
from addon.jobs.model.file_names import file_name
from addon.media.mp4 import AAC_DELAY, MP3_DELAY, unsignaled_delay
from addon.service.eachlabs.mmaudio import Settings, clip_frames, motion_segments, run_duration, run_input
from tests.standin import model

from .helpers import write_clip

pytestmark = pytest.mark.oldest

START, STEP = Fraction(16, 25), Fraction(8, 25)
RATES = [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50), Fraction(60)]


@pytest.mark.parametrize(
    ("length", "duration"),
    [
        (Fraction(1, 25), Fraction("1.28")),
        (Fraction(0), Fraction("1.28")),
        (Fraction(1), Fraction("1.28")),
        (Fraction("1.28"), Fraction("1.28")),
        (Fraction("1.29"), Fraction("1.6")),
        (Fraction("4.8"), Fraction("4.8")),
        (Fraction(5), Fraction("5.12")),
        # At 24 frames a second, frames are at 6.9583 and 7.0417; only the latter is after the last sample at 7.00.
        (Fraction(7), Fraction("7.079")),
        (Fraction("7.68"), Fraction("7.68")),
        (Fraction("7.69"), Fraction(8)),
        (Fraction(8), Fraction(8)),
        (Fraction(8) + Fraction(1, 24), Fraction("8.32")),
    ],
)
def test_a_duration_is_the_next_one_that_the_model_uses_completely(length: Fraction, duration: Fraction) -> None:
    assert run_duration(length, Fraction(24)) == duration


EVERY_RATE = [Fraction(rate) / base for rate in range(1, 241) for base in (Fraction(1), Fraction(1001, 1000))]


GRID = [(steps, START + STEP * steps) for steps in range(2, 30)]
"""Number of steps and duration in seconds, up to 10 s. Each length is rounded up to one of them."""


def test_no_clip_fills_fewer_segments_than_its_run_asks_for() -> None:
    for fps, (steps, length) in itertools.product((*EVERY_RATE, Fraction(25, 2), Fraction(15, 2)), GRID):
        duration = run_duration(length, fps)
        # The same as float(number / fps), in a fraction of the time.
        times = [number * fps.denominator / fps.numerator for number in range(clip_frames(duration, fps))]
        used = model.result_seconds(times, float(duration))
        assert model.segments(used) == model.segments(float(duration)) > steps, (fps, length)
        assert used >= float(length), (fps, length)
        assert times[-1] <= float(duration) < clip_frames(duration, fps) / fps, (fps, length)


def test_from_sixteen_frames_a_second_on_a_duration_is_the_grids_or_just_longer() -> None:
    for fps, (_, length) in itertools.product(EVERY_RATE, GRID):
        if fps >= 16 and length <= 8:
            assert run_duration(length, fps) - length in (0, Fraction("0.039")), (fps, length)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_eight_seconds_are_requested_exactly(fps: Fraction) -> None:
    assert run_duration(Fraction(8), fps) == 8


@pytest.mark.parametrize(
    ("fps", "duration", "used"),
    [(24, "7.04", 20), (16, "5.12", 14), (12, "4.48", 12), (30, "2.88", 7), (24, "7.079", 21), (25, "7.04", 21)],
)
def test_segments_are_counted_as_the_double_counts_them(fps: int, duration: str, used: int) -> None:
    assert motion_segments(Fraction(duration), Fraction(fps)) == used
    # Later frames are never read.
    times = [number / fps for number in range(fps * 20)]
    assert model.segments(model.result_seconds(times, float(duration))) == used


def test_the_input_of_a_run_has_the_settings() -> None:
    settings = Settings("rain", "speech", seed=0, num_steps=30, cfg_strength=6.5)
    assert run_input("https://cdn.example/a.mp4", Fraction("1.28"), settings) == {
        "video": "https://cdn.example/a.mp4",
        "prompt": "rain",
        "negative_prompt": "speech",
        "duration": 1.28,
        "num_steps": 30,
        "cfg_strength": 6.5,
        "seed": 0,
    }


def test_an_empty_prompt_is_left_out_but_an_empty_negative_prompt_is_not() -> None:
    asked = run_input("https://cdn.example/a.mp4", Fraction(8), Settings("", "", seed=1))
    assert "prompt" not in asked
    # Without it, the service would use "music".
    assert asked["negative_prompt"] == ""


JOB = "0123456789abcdef"


@pytest.mark.parametrize(
    ("strip", "name"),
    [
        ("Shot 1", "Shot_1-01234567-1.wav"),
        ("A001_C002.mp4", "A001_C002_mp4-01234567-1.wav"),
        ("Straße in 東京", "Straße_in_東京-01234567-1.wav"),
        (unicodedata.normalize("NFD", "Café"), "Café-01234567-1.wav"),
        ("..", "strip-01234567-1.wav"),
        ("../../etc/passwd", "etc_passwd-01234567-1.wav"),
        ("C:\\Windows\\x", "C_Windows_x-01234567-1.wav"),
        ("a'b\"c", "a_b_c-01234567-1.wav"),
        ("one\ntwo\r\x00three", "one_two_three-01234567-1.wav"),
        ("-rf *", "rf-01234567-1.wav"),
        (".hidden", "hidden-01234567-1.wav"),
        ("CON", "CON-01234567-1.wav"),
        ("", "strip-01234567-1.wav"),
        ("🎬", "strip-01234567-1.wav"),
        ("x" * 300, "x" * 40 + "-01234567-1.wav"),
    ],
)
def test_a_file_is_named_after_its_strip(strip: str, name: str) -> None:
    assert file_name(strip, JOB, 1) == name


@pytest.mark.parametrize("strip", ["東" * 300, "a/b\\c:d*e?f<g>h|i", "NUL.txt", "\u202etxt.exe", "a\tb", "con ", "  . ."])
def test_every_file_name_is_valid_on_all_systems(strip: str) -> None:
    name = file_name(strip, JOB, 1)
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name
    assert len(name.encode()) <= 255
    assert all(letter.isalnum() or letter in "_-." for letter in name)
    assert name.split("-")[0]
    assert name.endswith("-01234567-1.wav")


def test_each_take_of_each_job_has_a_file_of_its_own() -> None:
    names = {file_name("Shot 1", job, take) for job in ("a" * 32, "b" * 32) for take in (1, 2)}
    assert len(names) == 4


@pytest.fixture(scope="module")
def result(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Result as the public model code writes it."""
    target = tmp_path_factory.mktemp("result") / "result.mp4"
    model.generate(model.read_clip(clip), target, duration=1.28, seed=1)
    return target


def test_an_unsignaled_delay_is_found(result: Path) -> None:
    assert unsignaled_delay(result) == AAC_DELAY == 1024


def test_a_signaled_delay_is_left_to_the_decoder(clip: Path, tmp_path: Path) -> None:
    model.generate(model.read_clip(clip), tmp_path / "result.mp4", duration=1.28, seed=1, signalled=True)
    assert unsignaled_delay(tmp_path / "result.mp4") == 0


def test_a_result_without_sound_is_reported(clip: Path, tmp_path: Path) -> None:
    model.generate(model.read_clip(clip), tmp_path / "result.mp4", duration=1.28, seed=1, silent=True)
    with pytest.raises(Failure) as raised:
        unsignaled_delay(tmp_path / "result.mp4")
    assert raised.value.code == "no_sound"


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def big_box(kind: bytes, size: int, content: bytes = b"") -> bytes:
    """Return a box with a 64-bit size."""
    return struct.pack(">I4sQ", 1, kind, size) + content


def nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = box(b"edts", content)
    return content


GARBAGE = {
    "empty": b"",
    "text": b"<html>Sign in</html>" * 50,
    "wave": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "only a type": box(b"ftyp", b"isom"),
    "empty movie": box(b"moov"),
    "movie to the end of the file": struct.pack(">I4s", 0, b"moov") + box(b"trak", box(b"hdlr")),
    "movie below its own header": struct.pack(">I4s", 4, b"moov") + bytes(64),
    "64-bit movie below its own header": big_box(b"moov", 3, bytes(64)),
    "64-bit movie": big_box(b"moov", 16 + 8, box(b"free")),
    "64-bit size beyond all files": big_box(b"mdat", 2**64 - 1, bytes(64)),
    "64-bit size cut off": struct.pack(">I4s", 1, b"moov"),
    "box below its own header": box(b"ftyp", b"isom") + struct.pack(">I4s", 5, b"free") + bytes(64),
    "track without handler": box(b"moov", box(b"trak", box(b"mdia"))),
    "boxes in boxes without end": box(b"moov", box(b"trak", nested(5000))),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_has_no_delay_or_no_sound(garbage: bytes, tmp_path: Path) -> None:
    (tmp_path / "result.mp4").write_bytes(garbage)
    assert warning_of(tmp_path / "result.mp4") in (0, "no_sound")


def test_a_truncated_edit_list_is_read_as_far_as_possible(tmp_path: Path) -> None:
    sound = box(b"hdlr", bytes(8) + b"soun" + bytes(12))
    coding = box(b"stsd", bytes(8) + struct.pack(">I4s", 8, b"mp4a"))
    edits = box(b"elst", struct.pack(">II", 0, 2**32 - 1) + struct.pack(">IiI", 5, 1024, 1) + b"\x00\x00")
    track = box(b"trak", box(b"mdia", sound + box(b"minf", box(b"stbl", coding))) + box(b"edts", edits))
    (tmp_path / "result.mp4").write_bytes(box(b"moov", track))
    assert unsignaled_delay(tmp_path / "result.mp4") == 0
    (tmp_path / "late.mp4").write_bytes(box(b"moov", track.replace(struct.pack(">i", 1024), struct.pack(">i", -1))))
    assert unsignaled_delay(tmp_path / "late.mp4") == AAC_DELAY


def coding(entry: bytes, number: int | None = None) -> bytes:
    """Return a sample description; `number` is the codec's in ISO/IEC 14496-1, such as 0x40 for AAC."""
    decoder = b"" if number is None else b"\x04\x80\x80\x80\x0d" + bytes([number]) + bytes(12)
    stream = box(b"esds", bytes(4) + b"\x03\x80\x80\x80\x19\x00\x02\x00" + decoder) if decoder else b""
    return box(b"stsd", struct.pack(">II", 0, 1) + box(entry, bytes(28) + stream))


def track(handler: bytes, description: bytes, edits: list[tuple[int, int]], rate: int = 44_100) -> bytes:
    """Return a track. Edits are (duration in movie ticks, media time in media ticks); media time -1 is an empty edit."""
    listed = b"".join(struct.pack(">IiI", duration, media_time, 1 << 16) for duration, media_time in edits)
    about = box(b"mdhd", bytes(12) + struct.pack(">I", rate) + bytes(8)) + box(b"hdlr", bytes(8) + handler + bytes(12))
    media = box(b"mdia", about + box(b"minf", box(b"stbl", description)))
    return box(b"trak", box(b"edts", box(b"elst", struct.pack(">II", 0, len(edits)) + listed)) + media)


AAC, MP3, MP3_LATER, DOLBY = coding(b"mp4a", 0x40), coding(b"mp4a", 0x6B), coding(b"mp4a", 0x69), coding(b"mp4a", 0xA5)
WHOLE = (8000, 0)


@pytest.mark.parametrize(
    ("description", "sound", "picture", "late"),
    [
        pytest.param(AAC, [WHOLE], [WHOLE], AAC_DELAY, id="AAC, told nothing"),
        pytest.param(AAC, [], [], AAC_DELAY, id="AAC, no edit"),
        pytest.param(AAC, [(8000, 1024)], [WHOLE], 0, id="AAC, told"),
        pytest.param(AAC, [(8000, 2112)], [WHOLE], 0, id="AAC, another encoder's delay told"),
        pytest.param(AAC, [(8000, 1)], [WHOLE], AAC_DELAY - 1, id="AAC, a rounding told"),
        pytest.param(MP3, [WHOLE], [WHOLE], MP3_DELAY, id="mp3, told nothing"),
        pytest.param(MP3_LATER, [WHOLE], [WHOLE], MP3_DELAY, id="mp3 of MPEG-2, told nothing"),
        pytest.param(coding(b".mp3"), [WHOLE], [WHOLE], MP3_DELAY, id="mp3 as QuickTime names it"),
        pytest.param(MP3, [(8000, 1105)], [WHOLE], 0, id="mp3, told"),
        pytest.param(DOLBY, [WHOLE], [WHOLE], 0, id="another coding that mp4a stands for"),
        pytest.param(coding(b"Opus"), [WHOLE], [WHOLE], 0, id="Opus"),
        pytest.param(coding(b"fLaC"), [(250, -1), WHOLE], [WHOLE], -11025, id="FLAC that begins a quarter second late"),
        pytest.param(AAC, [(250, -1), WHOLE], [WHOLE], -11025, id="AAC that begins a quarter second late"),
        pytest.param(AAC, [(250, -1), (8000, 1024)], [WHOLE], -11025, id="AAC that begins late, and its delay told"),
        pytest.param(AAC, [(60, -1), WHOLE], [(80, -1), WHOLE], 882, id="sound ahead of its late picture"),
        pytest.param(AAC, [(80, -1), WHOLE], [(80, -1), WHOLE], AAC_DELAY, id="both late, told nothing of AAC"),
    ],
)
def test_how_late_a_sound_is_decoded_against_its_picture(
    description: bytes, sound: list[tuple[int, int]], picture: list[tuple[int, int]], late: int, tmp_path: Path
) -> None:
    header = box(b"mvhd", bytes(12) + struct.pack(">I", 1000) + bytes(80))
    tracks = track(b"vide", coding(b"avc1"), picture, 12_288) + track(b"soun", description, sound)
    (tmp_path / "result.mp4").write_bytes(box(b"moov", header + tracks))
    assert unsignaled_delay(tmp_path / "result.mp4") == late


def test_a_file_that_ends_early_is_no_mp4_or_has_no_sound(result: Path, tmp_path: Path) -> None:
    whole = result.read_bytes()
    header = whole.rindex(b"moov")
    cuts = [*range(0, header, math.ceil(header / 40)), *range(header, len(whole), 7)]
    for cut in cuts:
        (tmp_path / "cut.mp4").write_bytes(whole[:cut])
        assert warning_of(tmp_path / "cut.mp4") in (0, AAC_DELAY, "no_sound"), f"cut at {cut} of {len(whole)}"


def warning_of(path: Path) -> int | str:
    try:
        return unsignaled_delay(path)
    except Failure as failure:
        return failure.code


@pytest.mark.parametrize(
    ("fps", "frames", "seconds"), [(24, 192, 7.96), (24, 193, 8.0), (25, 200, 7.96), (25, 201, 8.0), (24, 400, 8.0)]
)
def test_a_result_is_as_long_as_the_public_code_makes_it(fps: int, frames: int, seconds: float) -> None:
    assert model.result_seconds(np.arange(frames) / fps, 8.0) == pytest.approx(seconds)


def test_a_clip_is_seen_as_it_is_and_one_that_is_too_short_fails(tmp_path: Path) -> None:
    seen = model.read_clip(write_clip(tmp_path / "clip.mp4", frames=14, white=9))
    assert (seen.width, seen.height, seen.fps, len(seen.times), seen.times[0]) == (64, 64, 24, 14, 0.0)
    assert list(model.flashes(seen)) == [9]
    with pytest.raises(model.RunFailed, match="too short"):
        model.generate(model.read_clip(tmp_path / "clip.mp4"), tmp_path / "result.mp4", duration=1.28, seed=1)
