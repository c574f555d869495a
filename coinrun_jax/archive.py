"""What reading a .npz file may raise: a fact that NumPy leaves to its callers."""

from __future__ import annotations

import zipfile
import zlib

DAMAGED = (ValueError, EOFError, zipfile.BadZipFile, zlib.error)
"""Of a file that is no whole archive; where it cannot be opened at all, OSError."""
