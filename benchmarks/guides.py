"""Tables that benchmarks write into guides."""

import re
from pathlib import Path

from keras_vae import files

ROOT = Path(__file__).resolve().parent.parent


def write(script: str, guide: str, text: str) -> None:
    """Puts a table into a guide, between its lines `<!-- benchmarks/SCRIPT -->` and `<!-- end -->`.

    Args:
        script: "variants.py".
        guide: "variants.md".
        text: the table, as Markdown.
    """
    path, begin = ROOT / "docs" / guide, re.escape(f"<!-- benchmarks/{script} -->")
    old = path.read_text(encoding="utf-8")
    new = re.sub(f"({begin}\n).*?(<!-- end -->)", rf"\g<1>{text}\n\g<2>", old, flags=re.DOTALL)
    files.replace(path, lambda partial: partial.write_text(new, encoding="utf-8"))
