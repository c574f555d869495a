"""Every code block of README.md, ARCHITECTURE.md and docs/ is executed, as a reader would do it.

The blocks run in one temporary checkout (links to this one's files, its own `runs/`), README.md
first and each page from top to bottom, so that a later block finds what an earlier one made:

- ```python blocks each in a fresh interpreter;
- ```bash and ```sh blocks each in a fresh `bash -eu`, one command a line, as they stand, but
  - what begins with a prefix in SHRINK gets that entry's arguments appended, so that training
    and evaluation take seconds;
  - what begins with a prefix in DRY_RUN is looked up and not run: `make` with `--dry-run`;
  - lines that begin with `git clone` or `cd` are left out: the temporary checkout is their result.

A block that cannot run here (it needs a GPU, an account or the network) says so in a comment
on the line above it, with the reason:

    <!-- test: parse, needs a GPU -->

Then python is compiled, and of bash each `python -m MODULE` is asked for `--help`, which must
know every flag of the line, each `make TARGET` is dry-run, and any other command must be in
ELSEWHERE. Those reach for the network or change the installation: they are in `parse` blocks
only. A block that quotes a file names it in the same way, and must stand in it:

    <!-- test: excerpt, tests/tiny_testbed.py -->

Fences in other languages must be in NOT_CODE, so that nothing slips through unrun.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import QUICK_COMPILE

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_LINKS = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "results").glob("*/README.md"))]

SHRINK_TRAIN = (
    "--total-steps 2048 --ppo.num-envs 16 --ppo.num-steps 32 --ppo.num-minibatches 2 "
    "--ppo.num-epochs 1 --env.pool-size 16"
)
SHRINK_EVAL = "--num-levels 4"
SHRINK_MAKE = f'TRAIN_ARGS="{SHRINK_TRAIN}" EVAL_ARGS="{SHRINK_EVAL}"'
SHRINK = {
    "make quickstart": SHRINK_MAKE,
    "make quickstart-maze": SHRINK_MAKE,
    "python -m train --resume": "",  # the run's own config, already small
    "python -m train": SHRINK_TRAIN,
    "python -m eval": SHRINK_EVAL,
    "python -m eval.audit": "--num-levels 200",
}
DRY_RUN = ("make test", "make lint", "make format", "make clean", "make constraints")
LEFT_OUT = ("git clone ", "cd ")
ELSEWHERE = ("git", "pip", "python -m pip", "wandb")
SHELL = {"bash", "sh"}
NOT_CODE = {"text", "yaml", "toml", "json", "bibtex", "mermaid"}
BLOCK_TIMEOUT = 900  # seconds: a slow machine that shares its cores


@dataclass(frozen=True)
class Block:
    """A fenced code block of a page, and the line on which it begins."""

    line: int
    language: str
    code: str
    parse_only: bool = False
    excerpt_of: str | None = None


def read_blocks(text: str) -> list[Block]:
    lines = text.splitlines()
    blocks = []
    number = 0
    while number < len(lines):
        opening = re.match(r"(\s*)(`{3,}|~{3,})\s*(\w*)", lines[number])
        if not opening:
            number += 1
            continue
        indent, fence, language = opening.groups()
        first = number + 1
        last = first
        while lines[last].strip() != fence:  # an open fence is an IndexError
            last += 1
        code = "\n".join(line.removeprefix(indent) for line in lines[first:last]) + "\n"
        above = lines[number - 1].strip() if number else ""
        parse_only, excerpt_of = False, None
        if directive := re.fullmatch(r"<!-- test: (.*) -->", above):
            kind, _, rest = directive[1].partition(", ")
            if kind not in ("parse", "excerpt") or not rest:
                expected = "`parse, REASON` or `excerpt, FILE`"
                raise ValueError(f"line {number}: {above}: expected {expected}")
            parse_only, excerpt_of = kind == "parse", rest if kind == "excerpt" else None
        blocks.append(Block(first, language, code, parse_only, excerpt_of))
        number = last + 1
    return blocks


def commands(code: str) -> list[str]:
    """The lines of a shell block: continued ones joined, comments and left-out ones gone."""
    lines = (line.strip() for line in code.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith(("#", *LEFT_OUT))]


def begins_with(command: str, prefix: str) -> bool:
    return f"{command} ".startswith(f"{prefix} ")


def as_tested(command: str) -> str:
    for prefix in ELSEWHERE:
        assert not begins_with(command, prefix), f"{command}: belongs in a `parse` block"
    if any(begins_with(command, prefix) for prefix in DRY_RUN):
        return command.replace("make", "make --dry-run", 1)
    command = re.sub(r"\s+#.*$", "", command)
    for prefix, arguments in SHRINK.items():
        if begins_with(command, prefix):
            return f"{command} {arguments}"
    return command


def run(arguments: list[str], checkout: Path) -> str:
    """Runs in the checkout, in this interpreter's environment, whoever called pytest."""
    inherited = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MFLAGS"}}
    for name in ("MAKELEVEL", "PYTHON", "VENV", "JOBS", "TRAIN_ARGS", "EVAL_ARGS"):
        inherited.pop(name, None)
    environment = {
        **inherited,
        "PATH": os.pathsep.join([str(checkout / ".venv" / "bin"), os.environ["PATH"]]),
        "MPLBACKEND": "agg",
        "SDL_VIDEODRIVER": "dummy",
        "WANDB_MODE": "offline",
        **QUICK_COMPILE,
    }
    done = subprocess.run(
        arguments,
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BLOCK_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout[-4000:]}"
    return done.stdout


def check_command(command: str, checkout: Path) -> None:
    """What `parse` asks of one line of a shell block."""
    words = shlex.split(command, comments=True)
    while words[0] == "srun" or re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    if any(begins_with(" ".join(words), prefix) for prefix in ELSEWHERE):
        return
    if words[0] == "make":
        run(["make", "--dry-run", *words[1:]], checkout)
    else:
        assert words[:2] == ["python", "-m"], f"{command}: not a command that this test knows"
        assert importlib.util.find_spec(words[2]), f"{words[2]}: no such module"
        usage = run([sys.executable, "-m", words[2], "--help"], checkout)
        known = set(re.findall(r"--[\w.-]+", usage.replace("_", "-")))
        flags = {word.split("=")[0].replace("_", "-") for word in words if word.startswith("--")}
        assert flags <= known, f"{sorted(flags - known)}: not in `python -m {words[2]} --help`"


def execute(block: Block, checkout: Path) -> None:
    if block.excerpt_of is not None:
        text = (checkout / block.excerpt_of).read_text()
        for part in block.code.split("\n\n...\n\n"):  # what is left out between them
            assert part in text, f"not in {block.excerpt_of}:\n{part}"
    elif block.language == "python":
        compile(block.code, f"line {block.line}", "exec")
        if not block.parse_only:
            run([sys.executable, "-c", block.code], checkout)
    elif block.language in SHELL:
        if block.parse_only:
            for command in commands(block.code):
                check_command(command, checkout)
        else:
            script = "\n".join(map(as_tested, commands(block.code)))
            run(["bash", "-eu", "-o", "pipefail", "-c", script], checkout)
    else:
        assert block.language in NOT_CODE, f"```{block.language}: neither run nor in NOT_CODE"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout under another name, with a `.venv` that counts as installed."""
    made = tmp_path_factory.mktemp("readme") / "coinrun_jax"
    venv = made / ".venv"
    venv.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name not in {".venv", ".git", "build", "dist", "runs", "wandb"}:
            (made / path.name).symlink_to(path)
    for path in Path(sys.prefix).iterdir():
        if path.name != ".installed":
            (venv / path.name).symlink_to(path)
    (venv / ".installed").touch()
    return made


@pytest.mark.docs
def test_every_block_runs(checkout: Path, subtests: pytest.Subtests) -> None:
    for page in PAGES:
        for block in read_blocks(page.read_text()):
            with subtests.test(f"{page.relative_to(ROOT)}:{block.line} ({block.language})"):
                execute(block, checkout)


def test_there_are_blocks_to_run() -> None:
    blocks = read_blocks(README.read_text())
    assert {block.language for block in blocks if not block.parse_only} >= {"python", "bash"}
    assert len(README.read_text().splitlines()) <= 150


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_point_at_files(page: Path) -> None:
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)", page.read_text()):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            path = page.parent / file if file else page
            if not path.is_file() or (anchor and anchor not in anchors(path)):
                missing.append(target)
    assert not missing, missing


def test_the_table_of_speeds_is_drawn_from_its_csv() -> None:
    printed = subprocess.run(
        [sys.executable, str(ROOT / "results/benchmark/table.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() in (ROOT / "docs" / "speed.md").read_text()


SAMPLE = """\
# Title

```bash
git clone https://example.org/coinrun_jax && cd coinrun_jax
make quickstart   # five minutes
make test
```

<!-- test: parse, needs a GPU -->
```sh
JAX_PLATFORMS=cuda python -m train --config configs/paper_rgb.yaml \\
  --run-dir runs/paper
```

- In a list:
  ```python
  if True:
      print(1)
  ```
"""


def test_blocks_are_found() -> None:
    bash, sh, python = read_blocks(SAMPLE)
    assert (bash.line, bash.language, bash.parse_only) == (3, "bash", False)
    assert commands(bash.code) == ["make quickstart   # five minutes", "make test"]
    shrunk = f"make quickstart {SHRINK['make quickstart']}"
    assert [as_tested(c) for c in commands(bash.code)] == [shrunk, "make --dry-run test"]
    assert sh.parse_only
    assert len(commands(sh.code)) == 1
    assert python.code == "if True:\n    print(1)\n"


def test_a_directive_gives_its_reason() -> None:
    for directive in ("skip", "parse", "excerpt"):
        with pytest.raises(ValueError, match="REASON"):
            read_blocks(f"<!-- test: {directive} -->\n```python\n1\n```\n")


def test_an_excerpt_stands_in_its_file(checkout: Path) -> None:
    directive = "<!-- test: excerpt, LICENSE -->\n"
    (block,) = read_blocks(f"{directive}```text\nMIT License\n```\n")
    execute(block, checkout)
    (block,) = read_blocks(f"{directive}```text\nGPL\n```\n")
    with pytest.raises(AssertionError, match="LICENSE"):
        execute(block, checkout)


def test_what_fails_in_a_block_fails_the_test(checkout: Path) -> None:
    for language, code in [
        ("python", "import coinrun_jax.no_such_module"),
        ("bash", "false\ntrue"),
        ("bash", "pip install coinrun-jax"),
        ("console", "$ make test"),
    ]:
        with pytest.raises(AssertionError):
            execute(Block(1, language, code), checkout)


@pytest.mark.parametrize(
    "command",
    ["make no-such-target", "python -m no_such_module", "no-such-command"],
)
def test_what_cannot_be_parsed_fails_the_test(command: str, checkout: Path) -> None:
    with pytest.raises(AssertionError):
        execute(Block(1, "bash", command, parse_only=True), checkout)
