"""The rules of the house: what may import what, what must not be in a file, what is shipped.

Nearly all read the sources and run nothing of them, so that a broken rule is named as such.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("coinrun_jax", "train", "eval")
MAY_IMPORT = {"coinrun_jax": set(), "train": {"coinrun_jax"}, "eval": {"coinrun_jax", "train"}}
MAX_LINES, MAX_FUNCTION_LINES = 600, 72  # of a file; of a function without its docstring

# What `coinrun_jax` may import when it is installed without extras, and who may import more.
CORE = {"flax", "gymnax", "jax", "numpy"}
INSTALLED_AS = {
    "PIL": "pillow",
    "markupsafe": "jinja2",
    "orbax": "orbax-checkpoint",
    "yaml": "pyyaml",
}
WITH_EXTRA = {"coinrun_jax.play": {"pygame"}, "coinrun_jax.adapters": {"gymnasium"}}

UNSAFE = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}  # can run code on load
TEXT = {".cff", ".csv", ".ipynb", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work|tmp|opt|mnt|data|scratch)/\w")


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def text_files() -> list[Path]:
    folders = (*PACKAGES, "tests", "configs", "docs", "examples", "notebooks", "results", ".ci")
    inside = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    candidates = [*ROOT.iterdir(), *inside]
    named = {ROOT / "Makefile", ROOT / ".ci" / "run"}
    return sorted(p for p in candidates if p.is_file() and (p.suffix in TEXT or p in named))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in python_files(*PACKAGES)}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def nodes(tree: ast.AST, *, into_functions: bool = True) -> Iterator[ast.AST]:
    """Walks what runs: not what is under `if TYPE_CHECKING`."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    for child in ast.iter_child_nodes(tree):
        yield child
        if into_functions or not isinstance(child, functions):
            skipped = child.body if is_type_checking(child) else []
            for node in nodes(child, into_functions=into_functions):
                if node not in skipped:
                    yield node


def imports(module: str, *, into_functions: bool = True) -> set[str]:
    """The modules that a module imports, `from package import module` and relative ones too."""
    is_package = MODULES[module].name == "__init__.py"
    found = set()
    for node in nodes(TREES[module], into_functions=into_functions):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            base = base[: len(base) - node.level + is_package] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = f"{source}.{alias.name}"
                found.add(submodule if submodule in MODULES else source)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found.update(a.value for a in node.args[:1] if isinstance(a, ast.Constant))
    return found


def test_there_is_something_to_check() -> None:
    assert "coinrun_jax.coinrun.env" in MODULES
    assert "jax" in imports("coinrun_jax.coinrun.env")


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_downward(package: str) -> None:
    forbidden = set(PACKAGES) - MAY_IMPORT[package] - {package} | {"tests"}
    wrong = [
        f"{module} imports {target}"
        for module in MODULES
        if module.split(".")[0] == package
        for target in imports(module)
        if target.split(".")[0] in forbidden
    ]
    assert not wrong, wrong


TESTBEDS = ("coinrun_jax.coinrun", "coinrun_jax.exit_maze")
NOUNS = re.compile("coin|lava|saw|crate|placement", re.IGNORECASE)
PACKAGE_NAME = re.compile("coinrun[_-]jax")


def modules_of_testbeds() -> set[str]:
    """All that belongs to an environment: testbeds, and what in turn imports one of them."""
    found = {m for m in MODULES if m.startswith(TESTBEDS)}
    rest = {m for m in MODULES if m.startswith("coinrun_jax.")} - found
    while more := {m for m in rest if imports(m) & found}:
        found, rest = found | more, rest - more
    return found


def test_some_modules_belong_to_a_testbed_and_the_contract_does_not() -> None:
    found = modules_of_testbeds()
    assert {"coinrun_jax.coinrun.env", "coinrun_jax.overlap", "coinrun_jax.solver"} <= found
    contract = ("arena", "controllers", "record", "registry", "suites", "testbed", "variants")
    assert not found & {f"coinrun_jax.{name}" for name in contract}


@pytest.mark.parametrize("package", ["train", "eval"])
def test_training_and_evaluation_know_no_environment(package: str) -> None:
    """They know its contract, and of the package `coinrun_jax` itself, which has CoinRun's names,
    the version alone.
    """
    own = {name: tree for name, tree in TREES.items() if name.split(".")[0] == package}
    forbidden = modules_of_testbeds()
    wrong = [f"{name} imports {target}" for name in own for target in imports(name) & forbidden]
    for name, tree in own.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                source = node.module or ""
                targets = {f"{source}.{alias.name}" for alias in node.names} | {source}
                if under_type_checking := targets & forbidden:
                    wrong += [f"{name} imports {target}" for target in under_type_checking]
                if source == "coinrun_jax":
                    names = {alias.name for alias in node.names} - {"__version__"}
                    wrong += [
                        f"{name} imports coinrun_jax.{n}"
                        for n in names
                        if f"coinrun_jax.{n}" not in MODULES
                    ]
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "coinrun_jax":
                wrong += [f"{name}: {ast.unparse(node)}"] if node.attr != "__version__" else []
    assert not wrong, sorted(set(wrong))


@pytest.mark.parametrize("package", ["train", "eval"])
def test_training_and_evaluation_use_no_nouns_of_an_environment(package: str) -> None:
    """What people read of an environment, its testbed says; templates and scripts included."""
    files = [
        path
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert len(files) > 20
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if NOUNS.search(PACKAGE_NAME.sub("", line))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["train", "eval"])
def test_no_two_files_have_one_name(package: str) -> None:
    places: dict[str, list[str]] = {}
    for path in python_files(package):
        if path.name not in ("__init__.py", "__main__.py"):
            places.setdefault(path.name, []).append(str(path.relative_to(ROOT)))
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert not twice, twice


def test_no_import_cycles() -> None:
    """Imports inside functions count: they hide a cycle, they do not open it."""
    graph = {module: imports(module) & MODULES.keys() - {module} for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            cycle = " -> ".join([*path[path.index(module) :], module])
            pytest.fail(f"import cycle: {cycle}")
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_the_environment_needs_its_core_dependencies_only() -> None:
    wrong = []
    for module in MODULES:
        if module.split(".")[0] == "coinrun_jax":
            extra = {e for name, es in WITH_EXTRA.items() if module.startswith(name) for e in es}
            allowed = {*CORE, *extra, "coinrun_jax", "__future__", *sys.stdlib_module_names}
            names = {t.split(".")[0] for t in imports(module, into_functions=False)}
            wrong += [f"{module} imports {name}" for name in sorted(names - allowed)]
    assert not wrong, f"import it inside a function, or add it to the dependencies: {wrong}"


@pytest.mark.parametrize("package", ["train", "eval"])
def test_what_a_program_imports_is_in_its_extra(package: str) -> None:
    """Imports inside functions and those of modules of `train` that `eval` reaches included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {Requirement(r).name for r in project["optional-dependencies"][package]}
    reached: set[str] = set()
    names: set[str] = set()
    to_visit = [m for m in MODULES if m.split(".")[0] == package]
    while to_visit:
        module = to_visit.pop()
        if module not in reached:
            reached.add(module)
            to_visit += [t for t in imports(module) & MODULES.keys() if t.split(".")[0] == "train"]
            names |= {t.split(".")[0] for t in imports(module)}
    names -= {*CORE, *PACKAGES, "__future__", *sys.stdlib_module_names}
    assert {INSTALLED_AS.get(name, name) for name in names} <= declared


def test_no_pickle() -> None:
    wrong = [f"{m} imports {t}" for m in MODULES for t in imports(m) if t.split(".")[0] in UNSAFE]
    for module, tree in TREES.items():
        keywords = (node for node in ast.walk(tree) if isinstance(node, ast.keyword))
        wrong += [
            f"{module}:{keyword.value.lineno} allows pickle"
            for keyword in keywords
            if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
        ]
    assert not wrong, wrong


def test_no_paths_of_one_machine() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in text_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert not wrong, wrong


def test_files_stay_small() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in python_files(*PACKAGES, "tests", "results")
    }
    long = {name: length for name, length in lengths.items() if length > MAX_LINES}
    assert not long, long


def test_functions_stay_small() -> None:
    long = {}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                length = (node.end_lineno or 0) - node.lineno - docstring.count("\n")
                if length > MAX_FUNCTION_LINES:
                    long[f"{name}.{node.name}"] = length
    assert not long, long


def test_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (in_code,) = (
        node.value.value
        for node in TREES["coinrun_jax"].body
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "__version__"
        and isinstance(node.value, ast.Constant)
    )
    assert in_code == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def pins() -> dict[str, list[tuple[Version, Marker | None]]]:
    """Name -> its pins in constraints.txt, each with the environments that it is for."""
    entries = (ROOT / "constraints.txt").read_text().replace("\\\n", " ").splitlines()
    found: dict[str, list[tuple[Version, Marker | None]]] = {}
    for entry in entries:
        if entry and not entry.startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
            assert hashes, f"{entry}: has no hash"
            assert all(re.fullmatch("sha256:[0-9a-f]{64}", h.strip()) for h in hashes), entry
            pin = Requirement(requirement)
            (specifier,) = pin.specifier
            assert specifier.operator == "==", entry
            versions = found.setdefault(canonicalize_name(pin.name), [])
            versions.append((Version(specifier.version), pin.marker))
    return found


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_constraints_pin_what_pyproject_asks_for(python: str, system: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned_extras = extras.keys() - {"cuda", "cuda12", "cuda13", "tpu"}
    wanted = [*project["dependencies"], *(r for extra in pinned_extras for r in extras[extra])]
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_system": system,
        "sys_platform": system.lower(),
    }
    all_pins = pins()
    for requirement in map(Requirement, wanted):
        if requirement.name == project["name"]:
            continue
        versions = [
            version
            for version, marker in all_pins.get(canonicalize_name(requirement.name), [])
            if marker is None or marker.evaluate(environment)
        ]
        assert len(versions) == 1, f"{requirement}: pinned to {versions}; try `make constraints`"
        assert versions[0] in requirement.specifier, f"{requirement}: pinned to {versions[0]}"


def test_constraints_name_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE), "only pins, no options"


def test_wheel_holds_the_environment_alone(tmp_path: Path) -> None:
    shipped = ROOT / "coinrun_jax"
    ignore = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        if (ROOT / package).exists():
            shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", "dist", "."]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for path in shipped.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == expected


def test_importing_a_package_starts_no_backend() -> None:
    """It would take a GPU's memory, and `jax.distributed.initialize` would come too late.

    Modules that define environments are imported when the first is made: gymnax, which they need,
    makes arrays as it is imported.
    """
    script = f"""
import importlib
for name in {[*PACKAGES, "train.__main__", "eval.__main__"]}:
    importlib.import_module(name)
    from jax._src import xla_bridge
    assert not xla_bridge._backends, name
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
