# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of jobs: a row for each, mirrored from the jobs in a collection of the window manager, which isn't saved.

The mirror is written by the timer and by operators, never while drawing.
"""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import bpy
from bpy.props import CollectionProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from .. import session
from ..failure import readable
from ..jobs.model.job import Job
from ..jobs.model.run import Stage
from ..service.eachlabs import mmaudio
from ..text import characters
from ..timeline import compat, strips
from . import job_text

_FILE_EXTENSION = re.compile(r"\.\w{2,4}$")

_GROUPS = ("FAILED", "AT_WORK", "WAITING", "DONE", "CANCELLED")
"""Groups of states, in the order of the list: what needs the artist first, then in the order of the work."""
_GROUP_OF = {Stage.FAILED: 0, Stage.QUEUED: 2, Stage.DONE: 3, Stage.CANCELLED: 4}
_BESIDE_NAME = 100
"""Pixels of a row beside the strip's name at scale 1: margins, icon and scroll bar."""
_TEXT_WIDTH = 50
"""Pixels of the cost."""


class MMAUDIO_PG_job(bpy.types.PropertyGroup):
    """A row. Its name is the job's id."""

    label: StringProperty()
    icon: StringProperty()
    group: IntProperty()
    text: StringProperty()
    fraction: FloatProperty(default=-1.0)


class _Row(NamedTuple):
    job: str
    """Id of the job."""
    label: str
    """Name of the strip."""
    icon: str
    group: int
    text: str
    fraction: float = -1.0
    """Progress from 0 to 1; -1 without a bar."""


def update() -> None:
    """Let the list show the jobs as they are now."""
    manager: Any = bpy.context.window_manager
    items, rows = manager.mmaudio_jobs, _rows(session.current.runner.jobs)
    shown = session.current.job_rows if len(items) == len(session.current.job_rows) else ()
    while len(items) > len(rows):
        items.remove(len(items) - 1)
    for number, row in enumerate(rows):
        if number < len(shown) and shown[number] == row:
            continue
        item = items[number] if number < len(items) else items.add()
        item.name, item.label, item.icon, item.group, item.text, item.fraction = row
    session.current.job_rows = rows


def _rows(jobs: Sequence[Job]) -> Sequence[_Row]:
    return sorted((_row(job) for job in jobs), key=lambda row: row.group)


def _row(job: Job) -> _Row:
    group = _GROUP_OF.get(job.stage, 1)
    icon = job_text.ICONS[job.stage]
    if job.stage is Stage.QUEUED and session.current.runner.is_held(job.id):
        icon = "PAUSE"
    name = readable(job.request.name)
    if group == 1:
        fraction = job_text.fraction(job)
        return _Row(job.id, name, icon, group, f"{100 * fraction:.0f}%", fraction)
    return _Row(job.id, name, icon, group, "" if job.cost is None else mmaudio.price_text(job.cost))


class MMAUDIO_UL_jobs(bpy.types.UIList):
    state: EnumProperty(
        name="State",
        description="Show only the jobs in this state",
        items=(
            ("ALL", "All", "All jobs"),
            ("FAILED", "Failed", "Jobs that have failed"),
            ("AT_WORK", "At Work", "Jobs under way"),
            ("WAITING", "Waiting", "Jobs that wait or are held"),
            ("DONE", "Done", "Jobs whose sound was placed"),
            ("CANCELLED", "Cancelled", "Jobs that were cancelled"),
        ),
    )

    def draw_filter(self, context: Any, layout: Any) -> None:
        row = layout.row(align=True)
        row.prop(self, "filter_name", text="", icon="VIEWZOOM")
        row.prop(self, "state", text="")

    def filter_items(self, context: Any, data: Any, property: str) -> tuple[Any, Any]:
        items, shown = getattr(data, property), self.bitflag_filter_item
        flags: list[int] = [shown] * len(items)
        if self.filter_name:
            helpers: Any = bpy.types.UI_UL_list
            flags = helpers.filter_items_by_name(self.filter_name, shown, items, "label")
        if self.state != "ALL":
            groups: list[int] = [0] * len(items)
            items.foreach_get("group", groups)
            wanted = _GROUPS.index(self.state)
            flags = [flag if group == wanted else 0 for flag, group in zip(flags, groups, strict=True)]
        return flags, []

    def draw_item(  # noqa: PLR0917  # Blender passes them by position
        self,
        context: Any,
        layout: Any,
        data: Any,
        item: Any,
        icon: Any,
        active_data: Any,
        active_property: Any,
        index: Any = 0,
        flt_flag: Any = 0,
    ) -> None:
        row = layout.row(align=True)
        row.label(text=shortened(item.label, context), icon=item.icon)
        right = row.row(align=True)
        right.alignment = "RIGHT"
        if item.fraction >= 0:
            right.ui_units_x = 2.5
            right.progress(factor=item.fraction, text=item.text)
        elif len(item.label) <= characters(context, _BESIDE_NAME + _TEXT_WIDTH):
            # Beside a name that is cut, there is no room for the cost.
            right.label(text=item.text)


def shortened(name: str, context: bpy.types.Context) -> str:
    """Return a strip's name without its beginning if it is too long, since names of shots differ at their ends."""
    length = max(8, characters(context, _BESIDE_NAME))
    if len(name) > length:
        name = _FILE_EXTENSION.sub("", name)
    return name if len(name) <= length else f"…{name[1 - length :]}"


def selected(context: bpy.types.Context) -> Job | None:
    """Return the job that is selected in the list."""
    manager: Any = context.window_manager
    items, index = manager.mmaudio_jobs, manager.mmaudio_active_job
    return session.current.runner.job(items[index].name) if 0 <= index < len(items) else None


def _active_marks() -> frozenset[str]:
    """Return the marks of the active clip, or of the clips of the active sound."""
    scene = compat.edited_scene(bpy.context)
    active = compat.active_strip(bpy.context) if scene is not None else None
    if active is None:
        return frozenset()
    return frozenset(strips.marks_of(active) or filter(None, [strips.mark(active)]))


def _get_active(manager: Any) -> int:
    """Return the index of the job that was clicked, or that of the strip that was selected since then."""
    chosen, marks_then = session.current.chosen_job
    marks = _active_marks()
    if marks and marks != marks_then:
        for job in reversed(session.current.runner.jobs):
            if marks & {position.mark for position in job.request.positions}:
                chosen = job.id
                break
    return manager.mmaudio_jobs.find(chosen)


def _set_active(manager: Any, index: int) -> None:
    select(manager.mmaudio_jobs[index].name)


def select(job_id: str) -> None:
    """Select a job in the list."""
    session.current.chosen_job = (job_id, _active_marks())


CLASSES = (MMAUDIO_PG_job, MMAUDIO_UL_jobs)


def attach() -> None:
    manager: Any = bpy.types.WindowManager
    manager.mmaudio_jobs = CollectionProperty(type=MMAUDIO_PG_job, options={"HIDDEN", "SKIP_SAVE"})
    manager.mmaudio_active_job = IntProperty(
        name="Selected Job", get=_get_active, set=_set_active, options={"HIDDEN", "SKIP_SAVE"}
    )


def detach() -> None:
    manager: Any = bpy.types.WindowManager
    del manager.mmaudio_jobs, manager.mmaudio_active_job
    session.current.job_rows = ()
