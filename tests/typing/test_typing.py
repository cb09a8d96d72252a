"""The annotations of the public face are tested by a type checker: see ``api.py`` and ``errors.py`` beside this."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
@pytest.mark.parametrize("name", ["api.py", "errors.py"])
def test_the_public_face_is_typed_as_it_is_used(tmp_path: Path, name: str) -> None:
    """What users write passes ``mypy --strict``, what they get has the promised type, and mistakes are found."""
    # A type checker goes by folder names, and a checkout may be called anything.
    (tmp_path / "walgraph").symlink_to(ROOT)
    (tmp_path / name).write_text((Path(__file__).parent / name).read_text("utf-8"), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary",
         "--cache-dir", str(ROOT / "build" / "mypy-api"), "--follow-imports", "silent", name],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout + done.stderr == ""
