"""Systems of papers and courses that this library reproduces, each with its command, its numbers and its picture.

    python benchmarks/systems --out runs/systems          # all that are not done yet
    python benchmarks/systems --out runs/systems S12 S15  # these, measured before or not
    python benchmarks/systems --page                      # the page of what is done

Each is written into measured.json and docs/systems.md when it is done. Runs that were interrupted go on. Numbers of zoo
entries are those of their results.
"""

import argparse
import importlib
import shlex
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE.parent)]

from catalogue import SYSTEMS, System  # noqa: E402 (the paths come first)

from keras_vae import files, presets  # noqa: E402
from keras_vae.presets.pictures import compact  # noqa: E402

PAGE, PICTURES = ROOT / "docs" / "systems.md", ROOT / "docs" / "pictures"
# {system: {what: number}}, written when it was measured.
MEASURED = HERE / "measured.json"
BEGIN = "<!-- benchmarks/systems -->"
# Pixels of a line of titles above pictures.
HEAD = 40


def measure(system: System, out: Path) -> None:
    """Runs what a system needs, and keeps its numbers and its picture."""
    numbers, runs = {}, {}
    for title, command in system.commands.items():
        run = runs[title] = out / "".join(letter if letter.isalnum() else "_" for letter in title)
        resumed = ["--resume"] if (run / presets.CONFIG).exists() else []
        words = [*shlex.split(command), "--out", str(run), *resumed]
        subprocess.run([sys.executable, "-m", "keras_vae", *words], cwd=ROOT, check=True)
        numbers |= named(presets.read_results(run / presets.RESULTS)["metrics"], system.metrics, f"{title}: ")
    if system.script:
        out.mkdir(parents=True, exist_ok=True)
        numbers |= importlib.import_module(system.script).run(out)
    if system.picture and "/" not in system.picture:
        source = out / system.picture
        if runs:
            beside({title: run / system.picture for title, run in runs.items()}, source)
        PICTURES.mkdir(exist_ok=True)
        name, write_picture = compact(source)
        write_picture(PICTURES / f"{system.name}{Path(name).suffix}")
    known = (files.read_json(MEASURED) or {}) | {system.name: numbers}
    files.replace(MEASURED, lambda partial: files.dump_json(partial, known))


def beside(pictures: dict[str, Path], path: Path) -> None:
    """Writes the upper halves of pictures of one size side by side, each below its title."""
    tiles = {title: Image.open(picture).convert("RGB") for title, picture in pictures.items()}
    width, height = next(iter(tiles.values())).size
    whole = Image.new("RGB", (len(tiles) * width, HEAD + height // 2), "white")
    draw = ImageDraw.Draw(whole)
    for column, (title, tile) in enumerate(tiles.items()):
        draw.text((column * width + width // 2, HEAD // 2), title, "black", ImageFont.load_default(24), anchor="mm")
        whole.paste(tile.crop((0, 0, width, height // 2)), (column * width, HEAD))
    whole.save(path)


def named(metrics: dict, wanted: dict[str, str], prefix: str = "") -> dict[str, float]:
    """{prefix + what it is called: value} of the metrics that there are."""
    return {prefix + title: metrics[name]["value"] for name, title in wanted.items() if name in metrics}


def section(system: System, measured: dict[str, float] | None) -> str:
    """What the page says of a system, of which some numbers were measured."""
    numbers = {}
    for entry, metrics in system.entries.items():
        results = presets.read_results(ROOT / "zoo" / entry / presets.RESULTS)
        numbers |= named(results["metrics"], metrics, f"`{entry}`, ")
    numbers |= measured or {}
    lines = [f"## {system.name}: {system.title}", ""]
    shown = [f"keras-vae {command}" for command in system.commands.values()]
    shown += [f"python benchmarks/systems {system.name}"] if system.script else list(system.shown)
    lines += ["```text", *shown, "```", ""]
    rows = [f"| {title} | {value:,.5g} |" for title, value in numbers.items()]
    if system.needs_run and not measured:
        rows.append("| not run yet | |")
    if system.published:
        rows += ["| **published** | |", *(f"| {title} | {value:,.5g} |" for title, value in system.published.items())]
    lines += ["| here | |", "|---|--:|", *rows, "", f"Source: {system.source}", ""]
    if system.remark:
        lines += [system.remark, ""]
    picture = None
    if system.picture:
        drawn = next(PICTURES.glob(f"{system.name}.*"), PICTURES / f"{system.name}.png")
        picture = f"../zoo/{system.picture}" if "/" in system.picture else f"pictures/{drawn.name}"
    if picture and (PAGE.parent / picture).exists():
        lines += [f"![{system.title}]({picture})", ""]
    return "\n".join(lines)


def write() -> None:
    """Writes the page, below what stands there by hand."""
    measured = files.read_json(MEASURED) or {}
    above, _, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    text = "\n".join([f"{above}{BEGIN}", "", *(section(system, measured.get(system.name)) for system in SYSTEMS)])
    files.replace(PAGE, lambda partial: partial.write_text(text.rstrip() + "\n", encoding="utf-8"))


def main() -> None:
    known = {system.name: system for system in SYSTEMS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", choices=[*known, []], metavar="S1", help="some of them; none: all")
    parser.add_argument("--out", type=Path, default=Path("runs/systems"))
    parser.add_argument("--page", action="store_true", help="write the page of what there is")
    options = parser.parse_args()
    measured = files.read_json(MEASURED) or {}
    missing = [name for name in known if name not in measured]
    for name in () if options.page else options.systems or missing:
        if known[name].needs_run:
            print(f"{name}: {known[name].title}", flush=True)
            measure(known[name], options.out / name)
            write()
    write()


if __name__ == "__main__":
    main()
