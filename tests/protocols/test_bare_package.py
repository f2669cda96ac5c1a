"""Modules of a package that is not run itself; each in an interpreter of its own, which has imported nothing."""

import subprocess
import sys

ALONE = """
import sys
from protocols.bare_package import bare_package
with bare_package("aiohttp"):
    from aiohttp.http import HttpRequestParser, SERVER_SOFTWARE
assert "aiohttp.client" not in sys.modules, "the client has been imported"
"""


def in_an_interpreter(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_its_other_modules_are_not_imported() -> None:
    in_an_interpreter(ALONE)


def test_the_package_is_imported_when_it_is_asked_for_and_has_the_same_modules() -> None:
    in_an_interpreter(
        f"""{ALONE}
import aiohttp
assert aiohttp.ClientSession and sys.modules["aiohttp"] is aiohttp
assert aiohttp.http.HttpRequestParser is HttpRequestParser
assert aiohttp.__version__ in SERVER_SOFTWARE
assert aiohttp.__spec__.loader is aiohttp.__loader__ and not any("bare" in str(each) for each in sys.meta_path)
import importlib
importlib.reload(aiohttp)
"""
    )


def test_a_module_of_it_that_is_imported_afterwards_imports_the_package_first() -> None:
    in_an_interpreter(
        f"""{ALONE}
import aiohttp.web
assert aiohttp.web.Application and aiohttp.ClientSession
"""
    )


def test_a_package_that_has_been_imported_stays_as_it_is() -> None:
    in_an_interpreter(
        """
import sys
import aiohttp
from protocols.bare_package import bare_package
before = list(sys.meta_path)
with bare_package("aiohttp"):
    assert sys.modules["aiohttp"] is aiohttp
assert sys.modules["aiohttp"] is aiohttp and sys.meta_path == before
"""
    )


def test_a_package_that_fails_when_it_is_run_fails_for_each_who_asks_for_it(tmp_path: object) -> None:
    in_an_interpreter(
        f"""
import sys
from pathlib import Path
folder = Path({str(tmp_path)!r}) / "fails"
folder.mkdir()
(folder / "__init__.py").write_text("raise RuntimeError('no')")
(folder / "part.py").write_text("value = 1")
sys.path.insert(0, str(folder.parent))
import protocols.bare_package as module
module.version = lambda name: "1"
with module.bare_package("fails"):
    from fails.part import value
for _ in range(2):
    try:
        import fails
    except RuntimeError:
        continue
    raise AssertionError("it has been imported")
"""
    )
