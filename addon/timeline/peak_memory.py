# SPDX-License-Identifier: GPL-3.0-or-later
"""Peak memory of this process.

Runs inside the background Blender (see `render_clip.py`), so it imports no other package of the add-on.
"""

import ctypes
import sys

if sys.platform == "win32":
    from ctypes import wintypes

    class _Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of Windows."""

        _fields_ = (
            ("size", wintypes.DWORD),
            ("page_faults", wintypes.DWORD),
            ("peak_working_set", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 7),
        )

    def megabytes() -> float:
        """Return the most memory that this process has had at a time."""
        kernel32 = ctypes.WinDLL("kernel32")
        kernel32.GetCurrentProcess.restype = wintypes.HANDLE
        kernel32.K32GetProcessMemoryInfo.argtypes = (wintypes.HANDLE, wintypes.LPVOID, wintypes.DWORD)
        counters = _Counters(size=ctypes.sizeof(_Counters))
        kernel32.K32GetProcessMemoryInfo(kernel32.GetCurrentProcess(), ctypes.byref(counters), counters.size)
        return float(counters.peak_working_set / 1024**2)

else:
    import resource

    def megabytes() -> float:
        """Return the most memory that this process has had at a time."""
        # In bytes on macOS, in KiB elsewhere.
        unit = 1024**2 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
