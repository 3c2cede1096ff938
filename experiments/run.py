"""Run the same scenarios with every client, and compare lost calls, latency and the load that retries add.

Each client runs in its own process against its own simulator. Writes docs/resilience/index.md and its charts. `--only
1_crash,3_slow` selects scenarios, `--clients ours,plain` selects clients, `--json` prints the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import venv
from pathlib import Path
from typing import Any

from charts import chart

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "resilience"
TUNED = {"balancer": "p2c", "attempt_timeout_s": 0.5}
CLIENTS: dict[str, tuple[str, list[str], list[str] | None]] = {
    # name: (program, its arguments, packages of its virtual environment; `None` for the environment of this program)
    "ours": ("ours.py", [], None),
    "tuned": ("ours.py", ["--settings", json.dumps(TUNED)], None),
    "plain": ("plain.py", [], None),
    "official": ("official.py", [], ["eas-prediction==0.36", "protobuf==3.20.3"]),
}
SAYS = {
    "ours": "eas_tw",
    "tuned": "eas_tw, tuned",
    "plain": "plain round robin",
    "official": "official Python SDK",
}
PER_S = {"5_overload": 200.0, "9_storm": 200.0}


def main() -> None:
    given = _options()
    stories = [path for path in sorted((HERE / "stories").glob("*.toml")) if path.stem in given.only]
    pythons = {name: _python(given.environments, name) for name in given.clients}
    figures: dict[str, dict[str, Any]] = {}
    for story in stories:
        figures[story.stem] = {name: _play(story, pythons[name], name, given.seconds) for name in given.clients}
        print(story.stem, {name: row["lost"] for name, row in figures[story.stem].items()}, file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps(figures))
    else:
        _write(stories, figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    stories = ",".join(path.stem for path in sorted((HERE / "stories").glob("*.toml")))
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--only", type=names, default=names(stories), help="scenarios, with commas (default: all)")
    parser.add_argument("--clients", type=names, default=list(CLIENTS), help="clients, with commas (default: all)")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of each scenario (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and write no files")
    parser.add_argument(
        "--environments",
        type=Path,
        default=HERE.parent / ".tox" / "bench-peers",
        help="directory of the clients' virtual environments (default: %(default)s)",
    )
    return parser.parse_args()


def _python(environments: Path, name: str) -> str:
    """Return the interpreter of a client's environment; create the environment on first use."""
    needs = CLIENTS[name][2]
    if needs is None:
        return sys.executable
    folder = environments / name
    if not (folder / "ready").exists():
        print(f"preparing the environment of {name} …", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *needs], check=True)
        (folder / "ready").touch()
    return str(folder / "bin" / "python")


def _play(story: Path, python: str, name: str, seconds: float) -> dict[str, Any]:
    """Run one client in one scenario, and return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "simulator", "serve", "--port", "0", "--scenario", str(story)]
        server = subprocess.Popen(
            [*command, "--token", "t0ken", "--ready-file", str(ready)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            while not ready.exists():
                if not server.stdout.readline():
                    sys.exit(f"experiments: the simulator did not start: {' '.join(command)}")
            where = json.loads(ready.read_text())
            program, arguments, _ = CLIENTS[name]
            per_s = PER_S.get(story.stem, 100.0)
            done = subprocess.run(
                [python, str(HERE / "clients" / program), where["url"], "model", "t0ken", *arguments,
                 "--seconds", str(seconds), "--per-s", str(per_s)],
                check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )  # fmt: skip
            row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            row["requests"] = _count(where["admin_url"])
            row["amplification"] = row["requests"] / row["calls"]
            return row
        finally:
            server.terminate()
            server.communicate(timeout=20)


def _count(admin: str) -> int:
    request = urllib.request.Request(
        f"{admin}/v1/requests/count", b"{}", {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return int(json.loads(response.read())["count"])


def _write(stories: list[Path], figures: dict[str, dict[str, Any]]) -> None:
    PAGE.mkdir(parents=True, exist_ok=True)
    lines = [(HERE / "page.md").read_text().rstrip(), "", _machine(), ""]
    names = list(next(iter(figures.values())))
    lines += [f"| lost · p99 · requests / call | {' | '.join(SAYS[name] for name in names)} |"]
    lines += ["|" + "---|" * (len(names) + 1)]
    for story in stories:
        title = f"[{tomllib.loads(story.read_text())['title']}](#{story.stem.replace('_', '-')})"
        cells = (_cell(figures[story.stem][name]) for name in names)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    for story in stories:
        told = tomllib.loads(story.read_text())
        (PAGE / f"{story.stem}.svg").write_text(chart(figures[story.stem], SAYS), "utf-8")
        lines += ["", f"({story.stem.replace('_', '-')})=", f"## {told['title']}", "", told["story"], ""]
        lines += [f"![latency of each call]({story.stem}.svg)", ""]
        for name, row in figures[story.stem].items():
            if row["errors"]:
                what = ", ".join(f"{error} {count}" for error, count in sorted(row["errors"].items()))
                lines.append(f"- {SAYS[name]} lost: {what}")
    (PAGE / "index.md").write_text("\n".join(lines) + "\n", "utf-8")
    print(f"written: {PAGE / 'index.md'}")


def _cell(row: dict[str, Any]) -> str:
    return f"**{row['lost']:,}** · {_ms(row['p99_s'])} · {row['amplification']:.2f}"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _machine() -> str:
    import twisted

    versions = f"Python {platform.python_version()}, Twisted {twisted.__version__}"
    return f"Measured with {versions}, {os.cpu_count()} cores, {platform.machine()}."


if __name__ == "__main__":
    main()
