# SPDX-License-Identifier: GPL-3.0-or-later
"""State of this Blender: its jobs, and what their work needs. The only module with state that changes. Main thread only."""

import time
from collections.abc import Sequence
from pathlib import Path

import bpy

from . import config
from .config import Config
from .jobs.model.job import Job
from .jobs.model.request import Snapshot
from .jobs.model.run import Stage
from .jobs.work.context import JobContext
from .jobs.work.key_test import KeyTest
from .jobs.work.runner import Runner
from .jobs.work.storage_test import StorageTest
from .service.eachlabs.client import CreatePaths
from .service.eachlabs.webhook import Webhook, WebhookConfig
from .service.net.clock import CLOCK
from .service.storage import StorageConfig

# Time that an aborted storage test gets to end its thread.
_ABORT_SECONDS = 0.5


class Session:
    """From the start of Blender to its end."""

    def __init__(self) -> None:
        self.runner = Runner(waits=not bpy.app.background)
        self.started = time.time()
        """In seconds since the epoch."""
        self.clock = CLOCK
        """Clock of the waits between requests."""
        self.snapshots: set[Snapshot] = set()
        """Copies of edits that were written and not removed yet."""
        self.other_projects: list[str] = []
        """Paths of other .blend files whose jobs wait for them, as of when the file was opened."""
        self.waiting_for_access: dict[str, str] = {}
        """Names of strips of the open file whose jobs wait until something can be sent, with the reason."""
        self.clip_urls: dict[int, str] = {}
        """URLs of clips that the artist published, by the scene's `session_uid`."""
        self.secrets: dict[str, str] = {}
        """Secrets that the preferences are not to remember, by the property's name."""
        self.storage_tests: list[StorageTest] = []
        """The latest test is the last; those before it are still deleting their files."""
        self.key_test: KeyTest | None = None
        """The latest test of the API key."""
        self.placed_clicks: set[Path] = set()
        """Clicks of which a sound was placed, by the path of their snapshot."""
        self.ready_since: dict[str, float] = {}
        """When sounds became ready that wait for others, by the job's id, in seconds of `time.monotonic`."""
        self.latest_operator = 0
        """Address of the operator that the artist ran last."""
        self.edited_at = 0.0
        """When it was first seen, by `time.monotonic`."""
        self.forgotten_usd = 0.0
        """What jobs of this session that are no longer listed have cost, in US dollars."""
        self.job_rows: Sequence[tuple[object, ...]] = ()
        """What the job list shows, as of the last redraw."""
        self.chosen_job: tuple[str, frozenset[str]] = ("", frozenset())
        """Id of the job that was last clicked in the list, and the marks of the clips that were active then."""
        self.ended_seen: set[str] = set()
        """Ids of jobs whose end the artist has seen: the header doesn't report them any more."""
        self.redraw_pending = False
        """Whether a job changed since the sidebars were last redrawn."""
        self.redrawn_at = 0.0
        """By `time.monotonic`."""
        self._of_other_file: set[str] = set()
        self._inserted: set[str] = set()
        self._webhook: Webhook | None = None
        self._create_paths: CreatePaths = {}

    def belongs_to_open_file(self, job: Job) -> bool:
        """Whether the job was started in the file that is open, so that its sound may be placed."""
        return job.id not in self._of_other_file

    def set_belongs_to_open_file(self, job: Job, belongs: bool) -> None:
        if belongs:
            self._of_other_file.discard(job.id)
        else:
            self._of_other_file.add(job.id)

    def waits_for_its_file(self, job: Job) -> bool:
        """Whether the job belongs to a saved .blend that is not open."""
        return not self.belongs_to_open_file(job) and bool(job.project)

    def is_unsaved(self, job: Job) -> bool:
        """Whether sounds of the job were placed in the edit, but not saved in its file yet."""
        return self.runner.is_placed_unsaved(job.id)

    def has_worker(self, job: Job) -> bool:
        """Whether a worker has the job, possibly to clean up after its end."""
        return self.runner.has_worker(job.id)

    def may_be_placed_anywhere(self, job: Job) -> bool:
        """Whether the artist wants the sounds placed even if neither their clip nor their scene is in the file."""
        return job.id in self._inserted

    def ready_to_place(self) -> list[Job]:
        """Return the jobs whose sounds can be placed in the open file."""
        return [job for job in self.runner.jobs if job.stage is Stage.PLACING and not self.waits_for_its_file(job)]

    def insert(self, job: Job) -> None:
        """Let the job's sounds be placed in the open file, whichever it belongs to."""
        self.set_belongs_to_open_file(job, True)
        self._inserted.add(job.id)

    def forget(self, job: Job) -> None:
        """Remove an ended job from the list. What it has cost is still known."""
        if job.created >= self.started:
            self.forgotten_usd += job.cost or 0.0
        self.runner.forget(job.id)

    def job_context(self, used: Config) -> JobContext:
        """Return what the jobs of a click need. Stops the webhook of other settings."""
        self.use_webhook(used.webhook)
        return JobContext(
            used.key,
            used.base_url,
            config.render_command(),
            used.work,
            used.storage,
            self._webhook,
            used.render_processes,
            self._create_paths,
            clock=self.clock,
        )

    def use_webhook(self, used: WebhookConfig | None) -> None:
        """Keep one webhook, with these settings. Another one is stopped first, since it may use the same port."""
        if self._webhook is not None and self._webhook.config != used:
            self._webhook.stop()
            self._webhook = None
        if self._webhook is None and used is not None:
            self._webhook = Webhook(used)

    @property
    def latest_storage_test(self) -> StorageTest | None:
        return self.storage_tests[-1] if self.storage_tests else None

    def start_storage_test(self, storage: StorageConfig, used: Config) -> None:
        """Test a storage, and cancel the tests that are still running."""
        for test in self.storage_tests:
            test.cancel()
        running = [test for test in self.storage_tests if test.running]
        self.storage_tests[:] = [*running, StorageTest(storage, self.job_context(used))]

    def start_key_test(self, used: Config) -> None:
        """Test the API key, and cancel a test that is still running."""
        if self.key_test is not None:
            self.key_test.cancel()
        self.key_test = KeyTest(self.job_context(used))

    @property
    def is_testing(self) -> bool:
        """Whether a storage or the API key is being tested."""
        return any(test.running for test in self.storage_tests) or (self.key_test is not None and self.key_test.running)

    def close(self, seconds: float) -> None:
        """Stop working and cancel nothing: the journal has all that is needed to continue.

        Waits for at most `seconds` for the jobs, and as long for storage tests to delete their files.
        """
        for test in self.storage_tests:
            test.cancel()
        if self.key_test is not None:
            self.key_test.cancel()
            self.key_test.join(_ABORT_SECONDS)
            self.key_test = None
        self.runner.close(seconds)
        self._join_storage_tests(seconds)
        self._of_other_file.clear()
        self._inserted.clear()
        self.placed_clicks.clear()
        self.ready_since.clear()
        self.use_webhook(None)

    def _join_storage_tests(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for test in self.storage_tests:
            test.join(max(0.0, end - time.monotonic()))
        for test in self.storage_tests:
            test.abort()
        for test in self.storage_tests:
            test.join(_ABORT_SECONDS)
        self.storage_tests.clear()


current = Session()
