"""What a model's page on the hub says."""

from __future__ import annotations

import json
from pathlib import Path

from vns_sam.sam.folder import CARD, WEIGHTS, read_config
from vns_sam.sam.unprompted import UNPROMPTED

_HEAD = """---
library_name: vns-sam
pipeline_tag: {task}
tags: [segmentation, segment-anything, camouflage, {kind}]
---
"""
_PAGE = """# {name}

A model of kind `{kind}`{base}, {mib:.1f} MiB of weights. Nothing has been measured on it that this page could tell.

## Use

```
pip install 'vns-sam[hub]'
vns-sam segment PICTURE {prompt}--model {repo}
```

```python
import vns_sam

predictor = vns_sam.Predictor("{repo}")
```

## Configuration

```json
{config}
```
"""


def card(folder: Path, repo: str) -> str:
    """A model's card in Markdown, with the head that the hub reads.

    Args:
        folder: The model's; the ``README.md`` in it is the card where there is one, else the card says what the model
            is and that nothing was measured.
        repo: Where it goes.

    Raises:
        CheckpointError: The folder holds no model.
    """
    config = read_config(folder)
    kind = config["model_type"]
    unprompted = kind in UNPROMPTED
    own = folder / CARD
    if own.is_file():
        page = own.read_text(encoding="utf-8")
        if page.startswith("---"):
            return page
    else:
        page = _PAGE.format(
            name=config.get("name", repo.split("/")[-1]),
            kind=kind,
            base=f" on `{config['base']}`" if "base" in config else "",
            mib=(folder / WEIGHTS).stat().st_size / 2**20,
            prompt="" if unprompted else "--box X0 Y0 X1 Y1 ",
            repo=repo,
            config=json.dumps(config, indent=2),
        )
    return _HEAD.format(task="image-segmentation" if unprompted else "mask-generation", kind=kind) + page
