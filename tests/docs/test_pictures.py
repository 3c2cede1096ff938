"""The pictures of the README, and the program that makes the animated one."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # only files of this repository are parsed

from tests.browser.demo_picture import picture
from tests.docs.pages import ROOT

SVG = "{http://www.w3.org/2000/svg}"
FOLDER = ROOT / "docs" / "pictures"
OUTPUT = """Everything goes wrong

A client polls http://127.0.0.1:1.

  0.0 s  three instances <of weight 100>
instance   requests  state
echo-0            0  running
calls 0, answered 0, lost 0

  3.0 s  instance 0 crashes
instance   requests  state
echo-0            9  crashed, ejected by the client
calls 9, answered 9, lost 0

instance   requests  state
echo-0           20  running
calls 20, answered 20, lost 0

20 calls, 0 lost, 1 retries.
Discovery replies refused: none.
"""


def frames(svg: str) -> list[list[str]]:
    """Return the lines of text in each frame of an SVG."""
    root = ET.fromstring(svg)  # noqa: S314
    return [[str(line.text) for line in frame.iter(f"{SVG}text")] for frame in root.iter(f"{SVG}g")]


def test_each_table_of_the_demo_is_a_frame_and_the_last_has_the_result() -> None:
    drawn = frames(picture(OUTPUT))
    assert [lines[0] for lines in drawn] == [
        "  0.0 s  three instances <of weight 100>",
        "  3.0 s  instance 0 crashes",
        "instance   requests  state",
    ]
    assert drawn[-1][-1] == "20 calls, 0 lost, 1 retries."


def test_the_picture_in_the_readme_is_of_a_demo_that_loses_no_call() -> None:
    drawn = frames((FOLDER / "demo.svg").read_text("utf-8"))
    assert len(drawn) >= 5
    assert any("crashed" in line for lines in drawn for line in lines)
    assert " 0 lost, " in drawn[-1][-1]
