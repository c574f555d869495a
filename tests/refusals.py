"""What a command does with input that it cannot use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest


def refusal(main: Any, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that is all that comes of it, with exit status 2."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    out, complaint = capsys.readouterr()
    assert not out
    assert complaint.startswith("error: ")
    assert complaint.count("\n") == 1
    assert complaint.endswith("\n")
    assert len(complaint) < 500
    return complaint
