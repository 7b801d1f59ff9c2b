"""axe-core finds nothing, at three widths, in both themes."""

import re
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from tests.serve.page.playground import Playground

pytestmark = pytest.mark.slow  # a browser needs a process of its own: playwright runs an event loop

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTHS = (390, 800, 1400)
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm, for axe-core")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "pack", "--silent", "axe-core@4"]
    packed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if packed.returncode:
        pytest.skip("needs axe-core, which npm did not get")
    with tarfile.open(folder / packed.stdout.strip()) as archive:
        source = archive.extractfile("package/axe.min.js")
        assert source
        return source.read().decode()


def violations(playground: Playground, axe: str) -> list[str]:
    """What axe finds on the page as it is."""
    page = playground.page
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(content=axe)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{each['id']}: {node['html'][:150]} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing(
    browser: "Browser", browser_api: Any, address: str, axe: str, theme: Any, width: int
) -> None:
    size: Any = {"width": width, "height": 900}
    # The policy of the page would keep axe out.
    with browser.new_context(viewport=size, color_scheme=theme, bypass_csp=True) as context:
        playground = Playground(context.new_page(), address, browser_api.expect).open()
        page = playground.page
        found = violations(playground, axe)
        playground.write("Once upon a time there lived a king. The fox asked 7 questions zzz.")
        page.click("#score")
        playground.wait_until_done()
        playground.hover(3)
        found += violations(playground, axe)
        page.mouse.move(1, 1)
        page.click("#compare")
        playground.set(max_tokens=12)
        playground.generate()
        found += violations(playground, axe)
        for button, dialog in (("#open-sessions", "#sessions"), ("#open-help", "#help")):
            page.click(button)
            found += violations(playground, axe)
            page.click(f"{dialog} .close")
        assert found == []


def test_the_theme_can_be_switched(playground: Playground) -> None:
    page = playground.page
    colour = "() => getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    assert light != dark
    page.click("#theme")
    playground.expect(page.locator("#theme")).to_have_text(re.compile("light"))
    assert page.evaluate(colour) == light
    playground.open()
    assert page.evaluate(colour) == light
    page.emulate_media(color_scheme="light")
    page.click("#theme")
    assert page.evaluate(colour) == dark
